//! `pid`.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use psstat_testproc::{Config, Kind, TempDir, TestProcess, oracle, wait_until};
use serde_json::{Value, json};

use crate::run::{
    assert_resident, copy_program, csv, json as json_of, run, stderr, stdout, testproc, unique,
};

/// Waits until a shell has executed `sleep`.
fn wait_for_sleep(pid: u32) {
    wait_until("exec of sleep", || {
        oracle::comm(pid).unwrap() == b"sleep" && oracle::state(pid).unwrap() == 'S'
    });
}

fn kilobytes(pid: u32, name: &str) -> i64 {
    let line = oracle::status_field(pid, name).unwrap();
    line.strip_suffix(" kB").unwrap().trim().parse::<i64>().unwrap() * 1024
}

/// A clock tick of 10 ms, and what the clock was adjusted meanwhile.
const TICK: Duration = Duration::from_millis(12);

#[test]
fn matches_procfs() {
    let name = unique("paged");
    let started = SystemTime::now();
    let parent_name = oracle::comm(std::process::id()).unwrap();
    let mut testproc = TestProcess::spawn(&Config::new(&name).arg("two words")).unwrap();
    let running = SystemTime::now();
    testproc.open_files(4).unwrap();
    testproc.tcp_pairs(2).unwrap();
    testproc.udp_connected(1).unwrap();
    testproc.unix_pairs(1).unwrap();
    testproc.non_established_sockets(1).unwrap();
    testproc.threads(2).unwrap();
    testproc.write_bytes(10_000, 3).unwrap();
    testproc.quiesce().unwrap();
    let pid = testproc.pid();
    let (status, report) = json_of(&["pid", &pid.to_string(), "--json"]);
    assert_eq!((status, &report["kind"], &report["pid"]), (0, &json!("process"), &json!(pid)));

    let identity = &report["identity"];
    assert_eq!(identity["command_line"], format!("{name} two words"));
    assert_eq!(identity["name"].as_str().unwrap().as_bytes(), oracle::comm(pid).unwrap());
    assert_eq!(identity["state"], "S (sleeping)");
    assert_eq!(identity["ppid"], std::process::id());
    assert_eq!(identity["parents"][0]["pid"], std::process::id());
    assert_eq!(identity["parents"][0]["name"].as_str().unwrap().as_bytes(), parent_name);
    assert_eq!(identity["starttime_ticks"], oracle::starttime(pid).unwrap());
    assert_eq!(identity["threads"], 3);
    let uid: u32 =
        oracle::status_field(pid, "Uid").unwrap().split('\t').next().unwrap().parse().unwrap();
    assert_eq!(identity["uid"], uid);
    let start = Duration::from_secs_f64(identity["started_unix_seconds"].as_f64().unwrap());
    let [first, last] =
        [started, running].map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    // The kernel rounds down to a tick.
    assert!(first < start + TICK && start < last + TICK, "{start:?} {first:?} {last:?}");

    let memory = &report["memory"];
    assert_resident(&memory["vm_rss_bytes"], kilobytes(pid, "VmRSS"));
    assert_eq!(memory["vm_data_bytes"], kilobytes(pid, "VmData"));
    assert_eq!(memory["vsize_bytes"], oracle::memory(pid).unwrap().total);
    for (key, value) in oracle::io(pid).unwrap() {
        let field = if key.starts_with("sysc") {
            format!("{key}_calls")
        } else if key.ends_with("bytes") {
            key
        } else {
            format!("{key}_bytes")
        };
        assert_eq!(report["io"][&field], value, "{field}");
    }

    let fds = oracle::fds(pid).unwrap();
    let descriptors = report["descriptors"]["list"].as_array().unwrap();
    assert_eq!(report["descriptors"]["open"], fds);
    assert_eq!(descriptors.len() as u64, fds);
    for descriptor in descriptors {
        let link = format!("/proc/{pid}/fd/{}", descriptor["fd"]);
        let target = std::fs::read_link(link).unwrap();
        assert_eq!(descriptor["target"], target.to_str().unwrap());
    }
    let sockets = descriptors.iter().filter(|d| d["kind"] == "socket").count();
    assert_eq!(report["descriptors"]["sockets"], sockets);

    let open = report["limits"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .find(|limit| limit["name"] == "Max open files")
        .unwrap();
    assert_eq!(open["used"], fds);
    let soft = open["soft"].as_u64().unwrap();
    let percent = open["used_percent"].as_f64().unwrap();
    assert!((percent - fds as f64 / soft as f64 * 100.0).abs() < 0.001);

    assert_sockets(pid, &report["sockets"]);
}

#[test]
fn contains_all_fields_of_the_files() {
    // Ignored signals are preserved by exec.
    let mut child = std::process::Command::new("sh")
        .args(["-c", "trap '' USR1 TERM; echo; exec sleep 1000"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    wait_for_sleep(pid);
    let (status, report) = json_of(&["pid", &pid.to_string(), "--json"]);
    assert_eq!(status, 0);
    let line = |name: &str| oracle::status_field(pid, name).unwrap();
    let of = |section: &str, field: &str| report[section][field].clone();

    for (names, line) in [
        (["uid", "euid", "suid", "fsuid"], line("Uid")),
        (["gid", "egid", "sgid", "fsgid"], line("Gid")),
    ] {
        for (name, id) in names.into_iter().zip(line.split('\t')) {
            assert_eq!(of("identity", name), id.parse::<u32>().unwrap(), "{name}");
        }
    }
    for (field, name) in [
        ("cap_eff", "CapEff"),
        ("cap_prm", "CapPrm"),
        ("cap_inh", "CapInh"),
        ("cap_bnd", "CapBnd"),
        ("cap_amb", "CapAmb"),
    ] {
        assert_eq!(of("privileges", field), line(name), "{field}");
    }
    assert_eq!(of("privileges", "no_new_privs").to_string(), line("NoNewPrivs"));
    let ignored = of("signals", "ignored");
    let ignored: Vec<&str> = ignored.as_str().unwrap().split(' ').collect();
    assert!(ignored.contains(&"USR1") && ignored.contains(&"TERM"), "{ignored:?}");
    for (field, name) in
        [("blocked", "SigBlk"), ("ignored", "SigIgn"), ("caught", "SigCgt"), ("pending", "ShdPnd")]
    {
        let set = u64::from_str_radix(&line(name), 16).unwrap().count_ones();
        let names = of("signals", field);
        let names = names.as_str().unwrap().split(' ').filter(|name| *name != "none").count();
        assert_eq!(names, set as usize, "{field}");
    }
    // The number includes other processes of the user.
    assert!(of("signals", "sigqueue_used").is_u64());
    assert_eq!(
        of("signals", "sigqueue_limit").to_string(),
        line("SigQ").split_once('/').unwrap().1
    );
    assert_eq!(of("main_thread", "mems_allowed"), line("Mems_allowed_list"));
    assert_eq!(of("descriptors", "slots").to_string(), line("FDSize"));
    assert_eq!(of("identity", "tgid").to_string(), line("Tgid"));

    // By their numbers in proc_pid_stat(5).
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let stat: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split_whitespace().collect();
    for (section, field, number) in [
        ("identity", "tty_nr", 7),
        ("identity", "tpgid", 8),
        ("identity", "exit_signal", 38),
        ("memory", "minor_faults", 10),
        ("memory", "children_minor_faults", 11),
        ("memory", "children_major_faults", 13),
        ("main_thread", "rt_priority", 40),
    ] {
        assert_eq!(of(section, field).to_string(), stat[number - 3], "{field}");
    }
    let hex = |number: usize| format!("0x{:x}", stat[number - 3].parse::<u64>().unwrap());
    let addresses = ["start_code", "end_code", "start_stack"].into_iter().zip(26..);
    let others = ["start_data", "end_data", "start_brk", "arg_start", "arg_end", "env_start"];
    for (field, number) in addresses.chain(others.into_iter().zip(45..)) {
        assert_eq!(of("addresses", field), hex(number), "{field}");
    }
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    let statm: Vec<u64> = statm.split_whitespace().map(|pages| pages.parse().unwrap()).collect();
    for (field, at) in [("statm_text_bytes", 3), ("statm_data_bytes", 5)] {
        assert_eq!(of("memory", field), statm[at] * rustix::param::page_size() as u64, "{field}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The established sockets are those of the reference reader. The test process has
/// both endpoints of each TCP connection, so each is listed from both sides.
fn assert_sockets(pid: u32, section: &Value) {
    let truth = oracle::established(pid).unwrap();
    let list = section["list"].as_array().unwrap();
    let count = |protocol: &str, state: &str| {
        list.iter().filter(|s| s["protocol"] == protocol && s["state"] == state).count()
    };
    assert_eq!(count("tcp", "ESTABLISHED"), truth.tcp.len());
    assert_eq!(count("tcp6", "ESTABLISHED"), truth.tcp6.len());
    assert_eq!(count("udp", "ESTABLISHED"), truth.udp.len());
    let unix = list.iter().filter(|s| s["state"] == "CONNECTED").count();
    assert_eq!(unix, truth.unix.len());
    let all = truth.all_tcp() + truth.all_udp() + truth.unix.len() as u64;
    assert_eq!(section["established"], all);
    assert!(count("tcp", "LISTEN") >= 1);
    let ends: BTreeSet<(String, String)> = list
        .iter()
        .filter(|s| s["protocol"] == "tcp" && s["state"] == "ESTABLISHED")
        .map(|s| (s["local"].as_str().unwrap().into(), s["remote"].as_str().unwrap().into()))
        .collect();
    assert_eq!(ends.len(), 4);
    for (local, remote) in &ends {
        assert!(local.starts_with("127.0.0.1:"), "{local}");
        assert!(ends.contains(&(remote.clone(), local.clone())), "{ends:?}");
    }
}

#[test]
fn output_is_escaped() {
    let name = unique("report-text");
    let mut testproc =
        TestProcess::spawn(&Config::new(&name).arg("\x1b[2J\u{202e}\n日本")).unwrap();
    testproc.set_comm("\x1b[31m\n)").unwrap();
    testproc.open_sockets(Kind::UnixStream, 1).unwrap();
    testproc.quiesce().unwrap();
    let pid = testproc.pid().to_string();
    let text = stdout(&run(&["pid", &pid]));
    for want in [
        &format!("process {pid}\n"),
        "  \\x1b[31m\\x0a)\n",
        &format!("  {name} \\x1b[2J\\u{{202e}}\\x0a日本\n"),
        "\ndescriptors\n  open  ",
        "unix stream CONNECTED ",
        "  Max open files ",
    ] {
        assert!(text.contains(want), "{want}\n--\n{text}");
    }
    assert!(!text.contains(['\x1b', '\u{202e}']));
    let exact = stdout(&run(&["pid", "--exact", &pid]));
    let data = kilobytes(testproc.pid(), "VmData");
    assert!(exact.contains(&format!("  vm data                {data}\n")), "{exact}");

    let records = csv(&stdout(&run(&["pid", &pid, "--csv"])));
    assert_eq!(records[0], ["pid", "section", "index", "field", "value"]);
    assert!(records.contains(&vec![
        pid.clone(),
        "descriptors".into(),
        String::new(),
        "open".into(),
        "5".into()
    ]));
    assert!(records.iter().all(|record| record.len() == 5));
}

#[test]
fn several_pids_and_no_pid() {
    let name = unique("pages");
    let (one, other) = (testproc(&name), testproc(&name));
    // Larger than any pid.
    let none = "4194305";
    let pids = [one.pid().to_string(), none.to_owned(), other.pid().to_string()];
    let output = run(&["pid", &pids[0], &pids[1], &pids[2], "--json"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), format!("psstat-dump: no process {none}\n"));
    let found: Vec<Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["pid"].clone())
        .collect();
    assert_eq!(found, [json!(one.pid()), json!(other.pid())]);
    let output = run(&["pid", none]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), String::new()));
    for wrong in [&["pid"][..], &["pid", "0"], &["pid", "1", "--proc", "/nowhere"]] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// The values of the main thread used to be those of the process.
#[test]
fn switches_are_sums_over_threads() {
    let mut testproc = testproc(&unique("switching"));
    testproc.threads(3).unwrap();
    testproc.quiesce().unwrap();
    let pid = testproc.pid();
    let sum = || -> u64 {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let switches = |thread: std::io::Result<std::fs::DirEntry>| -> u64 {
            let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            let line = |line: &str| line.strip_prefix("voluntary_ctxt_switches:\t")?.parse().ok();
            status.lines().find_map(line).unwrap()
        };
        threads.map(switches).sum()
    };
    let low = sum();
    let (_, report) = json_of(&["pid", &pid.to_string(), "--json"]);
    let reported = report["cpu"]["voluntary_ctxt_switches"].as_u64().unwrap();
    assert!((low..=sum()).contains(&reported), "{low} {reported}");
    assert_eq!(report["main_thread"]["policy"], "SCHED_OTHER");
}

/// The name and state of the thread used to be shown with the sums of its process.
#[test]
fn thread_id_selects_its_process() {
    let mut testproc = testproc(&unique("threaded"));
    testproc.threads(1).unwrap();
    let pid = testproc.pid();
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let tids = threads.map(|thread| thread.unwrap().file_name().into_string().unwrap());
    let tid = tids.map(|tid| tid.parse::<u32>().unwrap()).find(|tid| *tid != pid).unwrap();
    let note = format!("psstat-dump: {tid} is a thread of process {pid}\n");
    let temp = TempDir::new().unwrap();
    let dir = temp.join("capture").display().to_string();
    let tid = tid.to_string();
    for args in [&["pid", &tid][..], &["explain", &tid, "-e", "."]] {
        let output = run(&[args, &["--json"]].concat());
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&document["pid"], stderr(&output)), (&json!(pid), note.clone()));
    }
    let output = run(&["capture", &dir, "--pid", &tid]);
    assert_eq!(stderr(&output), note);
    assert!(temp.join(format!("capture/{pid}/stat")).exists());
}

/// The files of such a process are those of its main thread, which has nothing: it
/// used to be shown as a zombie without memory, descriptors and command line.
#[test]
fn main_thread_has_exited() {
    let name = unique("leaderless");
    let mut testproc = testproc(&name);
    testproc.threads(2).unwrap();
    testproc.tcp_pairs(1).unwrap();
    testproc.leader_exit().unwrap();
    testproc.quiesce().unwrap();
    let (pid, tid) = (testproc.pid(), testproc.tid());
    let fds = std::fs::read_dir(format!("/proc/{pid}/task/{tid}/fd")).unwrap().count();
    let (_, report) = json_of(&["pid", &pid.to_string(), "--json"]);
    let identity = &report["identity"];
    assert_eq!(
        (&identity["main_thread_exited"], &identity["state"]),
        (&json!(true), &json!("S (sleeping)"))
    );
    assert_eq!(identity["command_line"], name);
    assert_eq!(
        identity["ns_pids"].as_str().unwrap().split(' ').next_back(),
        Some(&*pid.to_string())
    );
    assert!(report["memory"]["vm_rss_bytes"].as_u64().unwrap() > 0, "{report}");
    assert!(report["memory"]["statm_resident_bytes"].as_u64().unwrap() > 0, "{report}");
    assert!(report["memory"]["vsize_bytes"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(
        (&report["descriptors"]["open"], &report["sockets"]["established"]),
        (&json!(fds), &json!(2))
    );
    let limits = report["limits"]["list"].as_array().unwrap();
    let limit = limits.iter().find(|limit| limit["name"] == "Max open files").unwrap();
    assert_eq!(limit["used"], fds);
    assert!(stdout(&run(&["pid", &pid.to_string()])).contains("\n  main thread exited  yes\n"));

    let (status, document) = json_of(&["explain", &pid.to_string(), "-e", &name, "--json"]);
    assert_eq!((status, &document["command_line"]), (0, &json!(name)));

    let temp = TempDir::new().unwrap();
    let dir = temp.join("capture").display().to_string();
    assert_eq!(run(&["capture", &dir, "--pid", &pid.to_string()]).status.code(), Some(0));
    let (status, document) = json_of(&["--proc", &dir, "--no-conf", "--json", &name]);
    let row = &document["rows"][0];
    assert_eq!((status, &row["fds"], &row["tcp_established"]), (0, &json!(fds), &json!(2)));
    assert!(row["rss_bytes"].as_u64().unwrap() > 0, "{row}");
    let (_, captured) = json_of(&["pid", &pid.to_string(), "--proc", &dir, "--json"]);
    assert_eq!(captured["identity"]["command_line"], name);
    assert_eq!(captured["sockets"]["established"], 2);
    // As in `/proc`: the files of the main thread are empty, those of the thread are complete.
    let files = |file: &str| std::fs::read(format!("{dir}/{pid}/{file}")).unwrap();
    assert_eq!((files("cmdline"), files("statm")), (Vec::new(), b"0 0 0 0 0 0 0\n".to_vec()));
    let threads = std::fs::read_dir(format!("{dir}/{pid}/task")).unwrap();
    let threads: Vec<_> = threads.map(|thread| thread.unwrap().file_name()).collect();
    assert_eq!(threads.len(), 1);
    let tid = threads[0].to_str().unwrap();
    assert_eq!(files(&format!("task/{tid}/cmdline")), [name.as_bytes(), b"\0"].concat());
    for (section, field) in [
        ("identity", "main_thread_exited"),
        ("identity", "state"),
        ("identity", "threads"),
        ("memory", "vsize_bytes"),
        ("memory", "vm_data_bytes"),
        ("descriptors", "open"),
        ("io", "wchar_bytes"),
    ] {
        assert_eq!(captured[section][field], report[section][field], "{section} {field}");
    }
    assert_resident(
        &captured["memory"]["statm_resident_bytes"],
        report["memory"]["statm_resident_bytes"].as_i64().unwrap(),
    );
    // Those of the other threads are unknown.
    assert_eq!(captured["cpu"]["voluntary_ctxt_switches"], Value::Null);
    // A process of which only one thread was captured runs, one without any is a zombie.
    let (_, live) = json_of(&["-p", "--no-conf", "--json", &name]);
    let (_, table) = json_of(&["-p", "--no-conf", "--json", "--proc", &dir]);
    for field in ["pid", "fds", "threads", "tcp_established", "vsize_bytes", "command_line"] {
        assert_eq!(table["rows"][0][field], live["rows"][0][field], "{field}");
    }
    let again = temp.join("again").display().to_string();
    let copied = run(&["capture", &again, "--proc", &dir, "--pid", &pid.to_string()]);
    assert_eq!(copied.status.code(), Some(0));
    let (_, copy) = json_of(&["pid", &pid.to_string(), "--proc", &again, "--json"]);
    assert_eq!(copy, captured);
    std::fs::remove_dir_all(format!("{dir}/{pid}/task")).unwrap();
    let (_, zombie) = json_of(&["-p", "--no-conf", "--json", "--proc", &dir]);
    assert_eq!(zombie["rows"], json!([]));

    let (_, report) = json_of(&["pid", &std::process::id().to_string(), "--json"]);
    assert_eq!(report["identity"]["main_thread_exited"], false);
}

/// They used to be files and devices.
#[test]
fn kinds_of_special_descriptors() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let temp = TempDir::new().unwrap();
    let open = |path: &std::path::Path| {
        std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
    };
    let fifo = temp.join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let shared = std::path::PathBuf::from("/dev/shm").join(unique("shared"));
    let (named, deleted) = (temp.join("named (deleted)"), temp.join("without a name"));
    let _open = [&fifo, &shared, &named, &deleted].map(|path| open(path).unwrap());
    std::fs::remove_file(&shared).unwrap();
    std::fs::remove_file(&deleted).unwrap();
    let kinds = |pid: u32| -> Vec<(String, String)> {
        let (_, report) = json_of(&["pid", &pid.to_string(), "--json"]);
        let list = report["descriptors"]["list"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        list.iter().map(|one| (text(&one["target"]), text(&one["kind"]))).collect()
    };
    let of_self = kinds(std::process::id());
    for (path, kind) in [
        (fifo.display().to_string(), "fifo"),
        (format!("{} (deleted)", shared.display()), "shared memory"),
        (named.display().to_string(), "file"),
        (format!("{} (deleted)", deleted.display()), "deleted file"),
    ] {
        assert!(of_self.contains(&(path.clone(), kind.to_owned())), "{path} {of_self:?}");
    }

    // Without a mount in the namespace of the process, the queue used to be a file.
    for (directory, close) in [("mounted", "rm mounted/q"), ("detached", "umount -l detached")] {
        let mut shell = std::process::Command::new("unshare");
        let script = format!(
            "mkdir {directory} && mount -t mqueue none {directory} && touch {directory}/q && \
             exec 3<>{directory}/q && {close} && echo && exec sleep 1000"
        );
        // Other IPC namespaces have other queues.
        shell.args(["--mount", "--ipc", "sh", "-c", &script]).current_dir(temp.path());
        let mut child = shell.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let ready = std::io::Read::read(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let of_shell = (ready == 1).then(|| kinds(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        let Some(of_shell) = of_shell else { return println!("skipped: no mqueue") };
        let is_queue = |(target, kind): &(String, String)| {
            target.trim_end_matches(" (deleted)").ends_with("/q") && kind == "message queue"
        };
        assert!(of_shell.iter().any(is_queue), "{directory}: {of_shell:?}");
    }
}

/// Without `kernel.task_delayacct` the kernel prints 0.
#[test]
fn unaccounted_delay_is_unknown() {
    let testproc = testproc(&unique("delayed"));
    let (_, report) = json_of(&["pid", &testproc.pid().to_string(), "--json"]);
    let accounted =
        std::fs::read_to_string("/proc/sys/kernel/task_delayacct").map(|on| on != "0\n");
    let is_known = accounted.unwrap_or(true);
    assert_eq!(report["cpu"]["blkio_delay_seconds"].is_number(), is_known);
    // The text has the row, with a dash.
    let text = stdout(&run(&["pid", &testproc.pid().to_string()]));
    let row = text.lines().find_map(|line| line.strip_prefix("  blkio delay ")).unwrap();
    assert_eq!(row.trim() == "-", !is_known, "{text}");
}

#[test]
fn zombie() {
    let mut testproc = testproc(&unique("zombie"));
    testproc.exit(0).unwrap();
    let (status, report) = json_of(&["pid", &testproc.pid().to_string(), "--json"]);
    assert_eq!((status, &report["identity"]["state"]), (0, &json!("Z (zombie)")));
    assert_eq!(report["memory"]["vm_rss_bytes"], Value::Null);
}

#[test]
fn denied_sections_are_reported() {
    use std::os::unix::process::CommandExt as _;
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: not root");
    }
    let testproc = testproc(&unique("report-denied"));
    let temp = TempDir::new().unwrap();
    let program = temp.join("psstat-dump");
    copy_program(&program);
    let mut command = std::process::Command::new(&program);
    command
        .args(["pid", &testproc.pid().to_string(), "--json"])
        .uid(65534)
        .gid(65534)
        .current_dir("/");
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for section in ["io", "descriptors", "sockets"] {
        assert_eq!(report[section]["unread"], "permission denied", "{section}");
    }
    assert_eq!(report["io"].get("rchar_bytes"), None);
    assert_eq!(report["identity"]["threads"], 1);
    // Since Linux 6.2 the size of the directory is the number of descriptors.
    let size = std::fs::metadata(format!("/proc/{}/fd", testproc.pid())).unwrap().len();
    let fds = oracle::fds(testproc.pid()).unwrap();
    let want = if size == fds { json!(fds) } else { Value::Null };
    assert_eq!(report["descriptors"]["open"], want);
    let limits = report["limits"]["list"].as_array().unwrap();
    let limit = limits.iter().find(|limit| limit["name"] == "Max open files").unwrap();
    assert_eq!(limit["used"], want);
}

/// Compares with the kernel's table.
#[test]
fn limits_show_usage() {
    let mut shell = std::process::Command::new("sh");
    let script = "ulimit -S -f 1000; ulimit -S -n 77; exec nice -n 3 sleep 1000";
    let mut child = shell.args(["-c", script]).spawn().unwrap();
    let pid = child.id();
    wait_for_sleep(pid);
    let table = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let (status, report) = json_of(&["pid", &pid.to_string(), "--json"]);
    let text = stdout(&run(&["pid", &pid.to_string()]));
    let records = csv(&stdout(&run(&["pid", &pid.to_string(), "--csv"])));
    let nice = report["main_thread"]["nice"].as_i64().unwrap();
    let (stack, locked) = (kilobytes(pid, "VmStk"), kilobytes(pid, "VmLck"));
    let (data, resident) = (kilobytes(pid, "VmData"), kilobytes(pid, "VmRSS"));
    let fds = oracle::fds(pid).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    assert_eq!(status, 0);
    let list = report["limits"]["list"].as_array().unwrap();
    let limit = |name: &str| list.iter().find(|limit| limit["name"] == name).unwrap();
    let lines: Vec<&str> = table.lines().skip(1).collect();
    assert_eq!(lines.len(), list.len());
    for (line, limit) in lines.iter().zip(list) {
        let (name, rest) = line.split_at(26);
        assert_eq!(limit["name"], name.trim());
        for (field, word) in ["soft", "hard"].into_iter().zip(rest.split_whitespace()) {
            let is_none = word == "unlimited";
            assert_eq!(limit[format!("{field}_unlimited")], is_none, "{limit}");
            assert_eq!(limit[field], json!(word.parse::<u64>().ok()), "{limit}");
        }
    }
    let file_size = limit("Max file size");
    let soft = (&file_size["soft"], &file_size["soft_unlimited"]);
    // POSIX's blocks, or kibibytes as bash has it.
    assert!(soft.1 == false && [512_000, 1_024_000].contains(&soft.0.as_u64().unwrap()));
    for (name, used) in [
        ("Max cpu time", 0),
        ("Max data size", data),
        ("Max stack size", stack),
        ("Max locked memory", locked),
        ("Max address space", report["memory"]["vsize_bytes"].as_i64().unwrap()),
        ("Max open files", i64::try_from(fds).unwrap()),
        ("Max pending signals", report["signals"]["sigqueue_used"].as_i64().unwrap()),
        // It counts down from 20.
        ("Max nice priority", 20 - nice),
        ("Max realtime priority", report["main_thread"]["rt_priority"].as_i64().unwrap()),
    ] {
        assert_eq!(limit(name)["used"], used, "{name}");
    }
    assert_resident(&limit("Max resident set")["used"], resident);
    for name in ["Max processes", "Max msgqueue size", "Max file size"] {
        assert_eq!(limit(name)["used"], Value::Null, "{name}");
    }
    assert!(text.contains("  Max open files ") && text.contains(" unlimited "), "{text}");
    let number = list.iter().position(|limit| limit["name"] == "Max cpu time").unwrap();
    let record = |field: &str, value: &str| {
        let record = [&pid.to_string(), "limits", &number.to_string(), field, value];
        records.contains(&record.map(str::to_owned).to_vec())
    };
    assert!(record("list.soft", "") && record("list.soft_unlimited", "true"), "{records:?}");
}

/// A `stat` line with arbitrary numbers.
fn stat(pid: u32, name: &[u8], ppid: u32) -> Vec<u8> {
    let numbers = " 0".repeat(48);
    [format!("{pid} (").as_bytes(), name, format!(") S {ppid}{numbers}\n").as_bytes()].concat()
}

/// Ancestors used to be one line of text, without the end of a name with a comma
/// and the bytes of a name that is not UTF-8.
#[test]
fn lists_all_ancestors() {
    let temp = TempDir::new().unwrap();
    for (pid, name, ppid) in [(7, &b"it"[..], 5), (5, b"a, 1 b", 3), (3, b"\xff", 0)] {
        let dir = temp.join(pid.to_string());
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("stat"), stat(pid, name, ppid)).unwrap();
    }
    let proc = temp.path().to_str().unwrap();
    let (_, report) = json_of(&["pid", "7", "--json", "--proc", proc]);
    let want = json!([
        {"pid": 5, "name": "a, 1 b"},
        {"pid": 3, "name": "\u{fffd}", "name_hex": "ff"},
    ]);
    assert_eq!(report["identity"]["parents"], want);
    let text = stdout(&run(&["pid", "7", "--proc", proc]));
    assert!(text.contains("\n  parents\n    PID NAME\n    5   a, 1 b\n    3   \\xff\n"), "{text}");
}

/// The open of a pipe without a writer blocks.
#[test]
fn pipe_in_a_capture_is_not_read() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let temp = TempDir::new().unwrap();
    let dir = temp.join("7");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("stat"), stat(7, b"odd", 0)).unwrap();
    mknodat(CWD, dir.join("cmdline"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let args = ["pid", "7", "--proc", temp.path().to_str().unwrap()];
    let (status, report) = json_of(&[&args[..], &["--json"]].concat());
    let identity = &report["identity"];
    let error = "not a regular file";
    assert_eq!((status, &identity["command_line"]), (0, &Value::Null));
    assert_eq!(identity["command_line_error"], error);
    let text = stdout(&run(&args));
    assert!(text.contains(&format!("  command line error  {error}\n")), "{text}");
    let (_, report) = json_of(&["pid", &std::process::id().to_string(), "--json"]);
    assert_eq!(report["identity"]["command_line_error"], Value::Null);
}

/// In a time namespace whose boot is later than the start, the kernel's start time wraps: it was
/// in the year 2611, and the age 0 s.
#[test]
fn start_before_the_boot_of_a_time_namespace() {
    let before = SystemTime::now();
    let testproc = testproc(&unique("earlier"));
    let after = SystemTime::now();
    std::thread::sleep(Duration::from_millis(1500));
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec;
    let offset = format!("-{uptime}");
    let in_namespace = |program: &str, args: &[&str]| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--time", "--boottime", &offset, "--fork", program]).args(args);
        command.output()
    };
    let trial = in_namespace("true", &[]);
    if !trial.as_ref().is_ok_and(|output| output.status.success()) {
        println!("skipped: no right to make a time namespace: {trial:?}");
        return;
    }
    let pid = testproc.pid().to_string();
    let output = in_namespace(env!("CARGO_BIN_EXE_psstat-dump"), &["pid", &pid, "--json"]);
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let end = SystemTime::now();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let identity = &report["identity"];
    let ticks = identity["starttime_ticks"].as_u64().unwrap();
    assert!(ticks > 1 << 40, "not before the boot: {ticks}");
    let seconds = |field: &str| Duration::from_secs_f64(identity[field].as_f64().unwrap());
    let since_1970 = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let started = seconds("started_unix_seconds");
    assert!(
        started + TICK > since_1970(before) && started < since_1970(after) + TICK,
        "{started:?}"
    );
    let age = seconds("age_seconds");
    assert!(age + TICK > Duration::from_millis(1500), "{age:?}");
    assert!(age < end.duration_since(before).unwrap() + TICK, "{age:?}");
    assert!(report["cpu"]["cpu_since_start_percent"].as_f64().unwrap() < 200.0);
}

/// `fd` and sockets are those of one thread; others with tables of their own were not mentioned.
#[test]
fn threads_with_descriptor_tables_of_their_own() {
    let mut testproc = testproc(&unique("tables"));
    let report = |testproc: &TestProcess| {
        json_of(&["pid", &testproc.pid().to_string(), "--json"]).1["descriptors"].clone()
    };
    testproc.threads(2).unwrap();
    let field = "threads_with_other_descriptors";
    assert_eq!(report(&testproc)[field], Value::Null);
    testproc.unshare_files().unwrap();
    testproc.open_files(7).unwrap();
    testproc.quiesce().unwrap();
    let pid = testproc.pid();
    let of_threads: Vec<usize> = std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .map(|thread| std::fs::read_dir(thread.unwrap().path().join("fd")).unwrap().count())
        .collect();
    let own = of_threads.iter().max().unwrap();
    let others = of_threads.iter().filter(|count| *count != own).count();
    assert_eq!((of_threads.len(), others), (3, 2));
    let report = report(&testproc);
    if std::fs::metadata(format!("/proc/{pid}/fd")).unwrap().len() == 0 {
        println!("skipped: before Linux 6.2");
        return;
    }
    assert_eq!((&report["open"], &report[field]), (&json!(own), &json!(2)));
    let text = stdout(&run(&["pid", &pid.to_string()]));
    assert!(text.contains("\n  threads with other descriptors  2\n"), "{text}");
}

/// By the name of a process, if only one has it; otherwise they are listed.
#[test]
fn by_name() {
    let name = unique("by-name");
    let one = testproc(&name);
    let (status, report) = json_of(&["pid", &name, "--json"]);
    assert_eq!((status, &report["pid"]), (0, &json!(one.pid())));
    // The name of an image.
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, format!("by/image ^{name}\n")).unwrap();
    let conf = ["--conf", conf.to_str().unwrap()];
    let (status, report) = json_of(&[&["pid", "by/image", "--json"][..], &conf].concat());
    assert_eq!((status, &report["pid"]), (0, &json!(one.pid())));
    let other = testproc(&name);
    let output = run(&["pid", &name]);
    let message = stderr(&output);
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(2), ""), "{message}");
    assert!(message.contains(&format!("2 processes are named `{name}`; choose one")), "{message}");
    for pid in [one.pid(), other.pid()] {
        assert!(message.lines().any(|line| line.trim().starts_with(&pid.to_string())), "{message}");
    }
    let output = run(&["pid", &format!("{name}x\x1b[31m")]);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    let want = format!("no process is named `{name}x\\x1b[31m`; did you mean `{name}`?");
    assert!(message.contains(&want), "{message}");
}

/// The rows are those of processes of any image, or without one, until they exit.
#[test]
fn table_of_followed_processes() {
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, format!("x {}-no-process\n", unique("follow"))).unwrap();
    let processes = [unique("follow-one"), unique("follow-two")].map(|name| testproc(&name));
    let pids: Vec<String> = processes.iter().map(|process| process.pid().to_string()).collect();
    let both = pids.join(",");
    let args = ["--pid", &both, "--conf", conf.to_str().unwrap(), "--json"];
    let (status, table) = json_of(&args);
    let found: Vec<String> =
        table["rows"].as_array().unwrap().iter().map(|row| row["pid"].to_string()).collect();
    assert_eq!((status, found.len()), (0, 2), "{table}");
    assert!(pids.iter().all(|pid| found.contains(pid)));
    assert_eq!((&table["kind"], &table["rows"][0]["images"]), (&json!("processes"), &json!([])));
    assert_eq!(table["total"]["processes"], 2);
    assert!(table["rows"][0]["rss_bytes"].as_u64().unwrap() > 0);
    drop(processes);
    let output = run(&["--pid", &both, "--no-conf"]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(stderr(&output).contains("no process matches"));
}

fn summary(pid: u32) -> Value {
    let (status, report) = json_of(&["pid", &pid.to_string(), "--json"]);
    assert_eq!(status, 0);
    report["summary"].clone()
}

/// The page begins with program, working directory, user and images.
#[test]
fn summary_of_a_process() {
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, "sleepers ^sleep\nall .\n").unwrap();
    let mut sleep = std::process::Command::new("sleep");
    let mut sleep = sleep.arg("1000").current_dir(temp.path()).spawn().unwrap();
    wait_for_sleep(sleep.id());
    let pid = sleep.id().to_string();
    let args = ["pid", &pid, "--conf", conf.to_str().unwrap()];
    let (_, report) = json_of(&[&args[..], &["--json"]].concat());
    let text = stdout(&run(&args));
    sleep.kill().unwrap();
    sleep.wait().unwrap();
    let summary = &report["summary"];
    let program = std::fs::canonicalize(which("sleep")).unwrap();
    assert_eq!(summary["exe"], program.to_str().unwrap());
    let directory = temp.path().canonicalize().unwrap();
    assert_eq!(summary["cwd"], directory.to_str().unwrap());
    assert_eq!(summary["images"], "sleepers all");
    assert_eq!(summary["started_unix_seconds"], report["identity"]["started_unix_seconds"]);
    assert_resident(
        &summary["resident_bytes"],
        report["memory"]["statm_resident_bytes"].as_i64().unwrap(),
    );
    assert_eq!(summary["wchar_bytes_per_second"], 0);
    let id = std::process::Command::new("id").arg("-un").output().unwrap();
    assert_eq!(summary["user"], stdout(&id).trim());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[2]), (&*format!("process {pid}"), "summary"), "{text}");
    assert_eq!(lines[3].split_whitespace().collect::<Vec<_>>(), ["exe", program.to_str().unwrap()]);
    assert!(lines[3..11].iter().any(|line| line.trim().starts_with("age ")), "{text}");
    assert!(lines.iter().any(|line| line.trim().starts_with("wchar per second  ")), "{text}");
}

#[test]
fn summary_has_unit_and_container() {
    let temp = TempDir::new().unwrap();
    let id = "0123456789abcdef".repeat(4);
    let proc = temp.path().to_str().unwrap();
    std::fs::create_dir(temp.join("7")).unwrap();
    std::fs::write(temp.join("7/status"), "Name:\tx\nUid:\t0\t4242\t0\t0\n").unwrap();
    for (group, unit, container) in [
        ("/system.slice/nginx.service", json!("nginx.service"), Value::Null),
        (
            &format!("/system.slice/docker-{id}.scope"),
            json!(format!("docker-{id}.scope")),
            json!(id),
        ),
        ("/", Value::Null, Value::Null),
    ] {
        std::fs::write(temp.join("7/cgroup"), format!("0::{group}\n")).unwrap();
        let (status, report) = json_of(&["pid", "7", "--proc", proc, "--json"]);
        let summary = &report["summary"];
        assert_eq!((status, &summary["unit"], &summary["container"]), (0, &unit, &container));
        assert_eq!(summary["user"], "4242");
    }
}

/// The path of a program on the search path.
fn which(name: &str) -> std::path::PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.exists()).unwrap()
}

#[test]
fn summary_has_load_of_a_second() {
    let (mut writer, mut burner) = (testproc(&unique("writes")), testproc(&unique("burns")));
    burner.burn_until_stopped(50.0, 1).unwrap();
    let pids = [writer.pid().to_string(), burner.pid().to_string()];
    let mut total = 0;
    // A busy machine can delay the end of the window for too long.
    for _ in 0..5 {
        let mut child = crate::run::command(&["pid", &pids[0], &pids[1], "--json"]);
        let mut child = child.stdout(std::process::Stdio::piped()).spawn().unwrap();
        while child.try_wait().unwrap().is_none() {
            writer.write_bytes(1000, 1).unwrap();
            total += 1000;
        }
        let text = stdout(&child.wait_with_output().unwrap());
        let summaries: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["summary"].clone())
            .collect();
        let rate = summaries[0]["wchar_bytes_per_second"].as_u64();
        let percent = summaries[1]["cpu_percent"].as_f64();
        if let Some((rate, percent)) = rate.zip(percent) {
            assert!((1..=total).contains(&rate), "{rate} of {total}");
            // A busy machine gives it less than it takes.
            assert!(percent > 1.0 && percent < 80.0, "{percent}");
            return;
        }
    }
    panic!("no values in five tries");
}

#[test]
fn summary_has_listeners_and_peers() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = |_| std::net::TcpStream::connect(address).unwrap();
    let clients: Vec<_> = (0..3).map(connect).collect();
    let servers: Vec<_> = (0..2).map(|_| listener.accept().unwrap()).collect();
    let summary = summary(std::process::id());
    drop((clients, servers));
    let find = |list: &str, field: &str, value: &str| {
        let rows = summary[list].as_array().unwrap().iter();
        rows.filter(|row| row[field] == value).cloned().collect::<Vec<_>>()
    };
    let listening = find("listening", "local", &address.to_string());
    assert_eq!((listening.len(), &listening[0]["accept_queue"]), (1, &json!(1)));
    let to_server = find("peers", "local", &format!(":{}", address.port()));
    let want = json!({"direction": "in", "protocol": "tcp", "local": format!(":{}", address.port()),
        "remote": "127.0.0.1", "connections": 2});
    assert_eq!(to_server, [want]);
    let from_client = find("peers", "remote", &address.to_string());
    assert_eq!((from_client.len(), &from_client[0]["direction"]), (1, &json!("out")));
    assert_eq!(from_client[0]["connections"], 3);
}
