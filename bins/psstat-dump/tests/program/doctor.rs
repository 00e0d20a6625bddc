//! `doctor`.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use psstat_testproc::TempDir;
use serde_json::{Value, json};

use crate::run::{copy_program, csv, json as json_of, run, stdout, testproc, unique};

fn check<'d>(document: &'d Value, name: &str) -> &'d Value {
    document["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

fn assert_status_and_help(status: i32, document: &Value) {
    let checks = document["checks"].as_array().unwrap();
    let has_failed = checks.iter().any(|check| check["status"] == "fail");
    assert_eq!((status, &document["ok"]), (i32::from(has_failed), &json!(!has_failed)));
    for check in checks {
        assert_eq!(check["status"] == "ok", check["help"] == Value::Null, "{check}");
    }
}

#[test]
fn all_output_formats() {
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, "a b\nc d\na e\n").unwrap();
    let args = ["doctor", "--conf", conf.to_str().unwrap()];
    let (status, document) = json_of(&[&args[..], &["--json"]].concat());
    assert_status_and_help(status, &document);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(check(&document, "kernel")["result"], format!("Linux {}", release.trim()));
    let result = check(&document, "conf")["result"].as_str().unwrap();
    assert!(result.ends_with(": 3 rules for 2 images"), "{result}");
    for name in ["io", "fd", "hidepid", "pid_namespace", "descriptors", "inotify", "collector"] {
        check(&document, name);
    }
    // The program inherits the capabilities of this test.
    let effective = psstat_testproc::oracle::status_field(std::process::id(), "CapEff").unwrap();
    let has_none = effective.trim_matches('0').is_empty();
    let result = check(&document, "capabilities")["result"].as_str().unwrap();
    assert_eq!(result == "effective: none", has_none, "{result}");
    let text = stdout(&run(&args));
    assert!(text.lines().next().unwrap().ends_with(&format!("Linux {}", release.trim())), "{text}");
    // Collectors of other tests can start and exit at any time.
    let is_fixed = |name: &&str| !name.starts_with("collector");
    let checks = document["checks"].as_array().unwrap().iter();
    let names: Vec<&str> = checks.filter_map(|one| one["name"].as_str()).filter(is_fixed).collect();
    let records = csv(&stdout(&run(&[&args[..], &["--csv"]].concat())));
    let of_csv = records[1..].iter().map(|record| &*record[0]).filter(is_fixed);
    assert_eq!(of_csv.collect::<Vec<_>>(), names);
}

/// Two collectors under tcollector send the same series; an exporter sends none.
#[test]
fn second_collector_is_reported() {
    let start = |stdout: Stdio| {
        let mut command = Command::new("sleep");
        command.arg0("psstat-tcollector").arg("600").stdout(stdout).spawn().unwrap()
    };
    let mut processes = [Stdio::piped(), Stdio::null(), Stdio::piped()].map(start);
    let document = json_of(&["doctor", "--json", "--no-conf"]).1;
    for process in &mut processes {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let collector = check(&document, "collector");
    assert_eq!(collector["status"], "warn", "{collector}");
    // Other tests can run collectors.
    let (_, pids) = collector["result"].as_str().unwrap().split_once(": processes ").unwrap();
    let [first, exporter, second] = processes.map(|process| process.id().to_string());
    let found = |pid: &str| pids.split(", ").any(|one| one == pid);
    assert!(found(&first) && found(&second) && !found(&exporter), "{collector}");
}

#[test]
fn invalid_config_fails() {
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    let path = conf.to_str().unwrap();
    for (lines, result, want) in [
        (None, "does not exist; the collector has nothing to collect", "--conf"),
        (Some("a b\nc (\n"), "1 diagnostic", "psstat-dump check"),
    ] {
        if let Some(lines) = lines {
            std::fs::write(&conf, lines).unwrap();
        }
        let (status, document) = json_of(&["doctor", "--json", "--conf", path]);
        assert_eq!(status, 1);
        let conf = check(&document, "conf");
        assert_eq!(conf["status"], "fail");
        assert!(conf["result"].as_str().unwrap().contains(result), "{conf}");
        assert!(conf["help"].as_str().unwrap().contains(want), "{conf}");
    }
}

#[test]
fn no_conf_option_omits_the_config_file() {
    let (_, document) = json_of(&["doctor", "--json", "--no-conf"]);
    let checks = document["checks"].as_array().unwrap();
    assert!(checks.len() > 5 && checks.iter().all(|check| check["name"] != "conf"), "{document}");
}

#[test]
fn unprivileged_run_reports_denied_files() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: not root");
    }
    let _testproc = testproc(&unique("doctored"));
    let temp = TempDir::new().unwrap();
    let program = temp.join("psstat-dump");
    copy_program(&program);
    let mut command = Command::new(&program);
    command.args(["doctor", "--json"]).uid(65534).gid(65534).current_dir("/");
    let output = command.output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_status_and_help(output.status.code().unwrap(), &document);
    assert_eq!(output.status.code(), Some(1));
    for name in ["io", "fd", "ns/net"] {
        let check = check(&document, name);
        assert_eq!(check["status"], "fail");
        assert!(check["result"].as_str().unwrap().starts_with("denied for "), "{check}");
        let setcap = format!("setcap cap_sys_ptrace,cap_dac_read_search+ep {}", program.display());
        assert!(check["help"].as_str().unwrap().contains(&setcap), "{check}");
    }
    assert_eq!(check(&document, "statm")["status"], "ok");
    // The programs cannot be loaded without capabilities.
    let (_, as_root) = json_of(&["doctor", "--json", "--no-conf"]);
    for name in ["bpf", "bpf_sockets", "bpf_ring"] {
        if check(&as_root, name)["status"] != "ok" {
            println!("skipped: {}", check(&as_root, name));
            continue;
        }
        let check = check(&document, name);
        assert_eq!(check["status"], "warn", "{check}");
        let result = check["result"].as_str().unwrap();
        assert!(result.ends_with("; BPF: needs CAP_BPF and CAP_PERFMON"), "{check}");
        assert!(check["help"].as_str().unwrap().contains("root, or CAP_BPF"), "{check}");
    }
}

/// The size is that of the option, its variable, or the collector's options.
#[test]
fn size_of_the_bpf_ring() {
    let ring = |args: &[&str], variable: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_psstat-dump"));
        command.args(["doctor", "--json", "--no-conf"]).args(args);
        let output = command.env("PSSTAT_BPF_RING", variable).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        check(&document, "bpf_ring").clone()
    };
    let not_counted = "processes between two cycles are not counted";
    for (args, variable) in [(&["--bpf-ring", "0"][..], "64"), (&[], "0")] {
        let off = ring(args, variable);
        assert_eq!(off["result"], format!("off (--bpf-ring 0): {not_counted}"));
        assert_eq!(off["status"], "ok");
    }
    let invalid = ring(&["--bpf-ring", "1M"], "");
    let result = "--bpf-ring 1M: expected 0, or 64 to 1048576 KiB; the collector does not start";
    assert_eq!((&invalid["status"], &invalid["result"]), (&json!("fail"), &json!(result)));

    if let Some(output) =
        with_collector_options("PSSTAT_BPF_RING=0\n", &["doctor", "--json", "--no-conf"])
    {
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let result = check(&document, "bpf_ring")["result"].as_str().unwrap();
        assert_eq!(
            result,
            format!("off (PSSTAT_BPF_RING=0 in /etc/default/psstat): {not_counted}")
        );
    } else {
        println!("skipped: no mount namespace, or no /etc/default");
    }

    if check(&json_of(&["doctor", "--json", "--no-conf"]).1, "bpf")["status"] != "ok" {
        return println!("skipped: no BPF");
    }
    for (args, kib) in [(&[][..], 1024), (&["--bpf-ring", "65"], 128)] {
        let size = format!("processes between two cycles can be counted: a ring of {kib} KiB");
        assert_eq!(ring(args, "")["result"], size);
    }
}

/// The kernel may load the program for processes and none of the others.
#[test]
fn bpf_programs_are_reported_one_by_one() {
    if check(&json_of(&["doctor", "--json", "--no-conf"]).1, "bpf")["status"] != "ok" {
        return println!("skipped: no BPF");
    }
    let temp = TempDir::new().unwrap();
    let log = temp.join("log");
    let doctor = |options: &[&str]| {
        let mut command = Command::new("strace");
        command.arg("-o").arg(&log).args(options).arg(env!("CARGO_BIN_EXE_psstat-dump"));
        let output = command.args(["doctor", "--json", "--no-conf"]).output().ok()?;
        serde_json::from_slice::<Value>(&output.stdout).ok()
    };
    if doctor(&["-e", "trace=bpf"]).is_none() {
        return println!("skipped: no strace");
    }
    let calls = std::fs::read_to_string(&log).unwrap();
    for (program, name, help) in [
        ("sockets", "bpf_sockets", "keeps CAP_SYS_PTRACE"),
        ("on_exec", "bpf_ring", "a smaller ring"),
    ] {
        let is_load = |line: &str| {
            line.starts_with("bpf(BPF_PROG_LOAD")
                && line.contains(&format!("prog_name=\"{program}\""))
        };
        let call = calls.lines().position(is_load).unwrap() + 1;
        let document = doctor(&["-e", &format!("inject=bpf:error=EINVAL:when={call}")]).unwrap();
        for other in ["bpf", "bpf_sockets", "bpf_ring"].iter().filter(|other| **other != name) {
            assert_eq!(check(&document, other)["status"], "ok", "{document}");
        }
        let check = check(&document, name);
        assert_eq!(check["status"], "warn", "{check}");
        assert!(check["result"].as_str().unwrap().contains("Invalid argument"), "{check}");
        assert!(check["help"].as_str().unwrap().contains(help), "{check}");
    }
}

/// Root without capabilities can list the descriptors of root's processes, but cannot read their
/// links. That was reported as readable.
#[test]
fn listed_descriptors_are_not_readable_descriptors() {
    let testproc = testproc(&unique("listed"));
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all"]);
    let pid = testproc.pid();
    let script = format!("ls /proc/{pid}/fd >&2 && ! readlink /proc/{pid}/fd/0 >&2 && exec \"$@\"");
    command.args(["sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_psstat-dump")]);
    let output = command.args(["doctor", "--no-conf", "--json"]).output();
    let Some(output) = output.ok().filter(|output| !output.stdout.is_empty()) else {
        return println!("skipped: no setpriv, or not root with capabilities");
    };
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_status_and_help(output.status.code().unwrap(), &document);
    let check = check(&document, "fd");
    assert_ne!(check["status"], "ok");
    assert!(check["result"].as_str().unwrap().starts_with("denied for "), "{check}");
}

#[test]
fn low_descriptor_limit_warns() {
    // A shell sets the limit for the program only.
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 70; exec \"$0\" doctor --json"]);
    let output = shell.arg(env!("CARGO_BIN_EXE_psstat-dump")).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let check = check(&document, "descriptors");
    assert_eq!(check["status"], "warn", "{check}");
    assert!(check["result"].as_str().unwrap().starts_with("70 allowed; "), "{check}");
}

/// Runs `doctor` in a new mount namespace on a procfs with these mount options,
/// as the user and with the capabilities that the options of setpriv select.
/// Returns the number of visible processes and the check. `None` if this is not
/// possible.
fn hidepid(options: &str, setpriv: &str, proc: &str) -> Option<(i32, Value)> {
    let temp = TempDir::new().unwrap();
    let program = temp.join("psstat-dump");
    copy_program(&program);
    // A new user without other processes for each call.
    static USERS: AtomicU32 = AtomicU32::new(1);
    let user = std::process::id() * 100 + USERS.fetch_add(1, Ordering::Relaxed);
    let setpriv = setpriv.replace("USER", &user.to_string());
    std::fs::create_dir(temp.join("proc")).unwrap();
    std::os::unix::fs::symlink("proc", temp.join("link")).unwrap();
    let script = format!(
        "mount -t proc -o {options} proc proc && exec setpriv {setpriv} \
         ./psstat-dump doctor --json --proc {proc}"
    );
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", &script]).current_dir(temp.path());
    let output = match shell.output() {
        Ok(output) if !output.stdout.is_empty() => output,
        other => {
            println!("skipped: {script}: {other:?}");
            return None;
        }
    };
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_status_and_help(output.status.code().unwrap(), &document);
    let stat = document["checks"].as_array().unwrap().iter().find(|c| c["name"] == "stat");
    let words = stat.unwrap()["result"].as_str().unwrap().split(' ').rev();
    // "readable for all N processes: …"
    let number = words.filter_map(|word| word.parse().ok()).next().unwrap();
    Some((number, check(&document, "hidepid").clone()))
}

/// `USER` is replaced by a number.
const UNPRIVILEGED: &str = "--reuid USER --regid USER --clear-groups";

/// The check failed for all users except root, even after its help text was
/// followed, and passed for root without capabilities.
#[test]
fn hidepid_fails_for_unprivileged_users() {
    let group = "--reuid USER --regid USER --groups 4711";
    let traces = format!(
        "{UNPRIVILEGED} --inh-caps +sys_ptrace,+dac_read_search \
         --ambient-caps +sys_ptrace,+dac_read_search"
    );
    let weak_root = "--bounding-set -sys_ptrace --groups 65534 --regid 65534";
    let root = "--groups 0";
    for (options, setpriv, want) in [
        ("hidepid=0", UNPRIVILEGED, "ok"),
        ("hidepid=2", UNPRIVILEGED, "fail"),
        ("hidepid=2,gid=4711", UNPRIVILEGED, "fail"),
        ("hidepid=2,gid=4711", group, "ok"),
        ("hidepid=1,gid=4711", group, "ok"),
        ("hidepid=4,gid=4711", group, "fail"),
        ("hidepid=2", &traces, "ok"),
        ("hidepid=4", &traces, "ok"),
        ("hidepid=2", root, "ok"),
        ("hidepid=2", weak_root, "fail"),
    ] {
        let Some((visible, check)) = hidepid(options, setpriv, "proc") else { return };
        assert_eq!(check["status"], want, "{options} {setpriv}: {check}");
        let result = check["result"].as_str().unwrap();
        assert_eq!(result.contains("all users"), options == "hidepid=0", "{check}");
        // Whether the kernel shows the process of this test.
        if !options.starts_with("hidepid=1") && setpriv != weak_root {
            assert_eq!(visible > 1, want == "ok", "{options} {setpriv}: {visible} processes");
        }
    }
    let (_, check) = hidepid("hidepid=2,gid=4711", UNPRIVILEGED, "proc").unwrap();
    assert!(check["help"].as_str().unwrap().contains("in group 4711"), "{check}");
    let (_, check) = hidepid("hidepid=4,gid=4711", UNPRIVILEGED, "proc").unwrap();
    assert!(!check["help"].as_str().unwrap().contains("4711"), "{check}");
}

/// Paths that are not the mount point itself used to pass the check.
#[test]
fn hidepid_is_detected_by_any_path() {
    for path in ["link", "./proc", "link/../proc"] {
        let Some((_, check)) = hidepid("hidepid=2", UNPRIVILEGED, path) else { return };
        assert_eq!(check["status"], "fail", "{path}: {check}");
    }
}

#[test]
fn unknown_mount_is_reported_as_unknown() {
    let temp = TempDir::new().unwrap();
    std::fs::create_dir(temp.join("proc")).unwrap();
    let mut shell = Command::new("unshare");
    let script = "mount -t proc -o hidepid=2 proc proc && echo && exec sleep 1000";
    shell.args(["--mount", "sh", "-c", script]).current_dir(temp.path());
    let mut child = shell.stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0];
    let length = std::io::Read::read(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let path = format!("/proc/{}/root{}/proc", child.id(), temp.path().display());
    let document = (length == 1).then(|| json_of(&["doctor", "--json", "--proc", &path]).1);
    child.kill().unwrap();
    child.wait().unwrap();
    let Some(document) = document else { return println!("skipped: no mount namespace") };
    let check = check(&document, "hidepid");
    assert_eq!(check["status"], "warn", "{check}");
    assert!(check["result"].as_str().unwrap().starts_with("unknown"), "{check}");
}

/// Runs the program with these arguments in a mount namespace whose `/etc/default/psstat` has this
/// text. `None` if this is not possible.
fn with_collector_options(text: &str, args: &[&str]) -> Option<std::process::Output> {
    let temp = TempDir::new().unwrap();
    std::fs::write(temp.join("psstat"), text).unwrap();
    let script = "mount --bind \"$0\" /etc/default && echo && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(temp.path());
    command.arg(env!("CARGO_BIN_EXE_psstat-dump")).args(args);
    for name in ["PSSTAT_CONF", "PSSTAT_CLASS", "PSSTAT_CONF_OWNER", "PSSTAT_BPF_RING"] {
        command.env_remove(name);
    }
    let mut output = command.output().ok()?;
    // The mount succeeded.
    (output.stdout.first() == Some(&b'\n')).then(|| output.stdout.remove(0))?;
    Some(output)
}

/// The collector's script reads this file, so "nothing to collect" was wrong.
#[test]
fn collector_options_name_the_config_file() {
    let temp = TempDir::new().unwrap();
    let conf = temp.join("named.conf");
    let path = conf.to_str().unwrap();
    let name = unique("configured");
    let testproc = testproc(&name);
    std::fs::write(&conf, format!("configured ^{name}$\n")).unwrap();
    let options = format!("# a comment\nPSSTAT_CONF='{path}' # another\n");
    let Some(output) = with_collector_options(&options, &["doctor", "--json"]) else {
        return println!("skipped: no mount namespace, or no /etc/default");
    };
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = check(&document, "conf")["result"].as_str().unwrap().to_owned();
    assert!(result.starts_with(path) && result.contains("/etc/default/psstat"), "{result}");
    assert!(result.ends_with(": 1 rule for 1 image"), "{result}");
    // The table as well, and an option comes first.
    let table = |args: &[&str]| {
        let output = with_collector_options(&options, args).unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let document = table(&["--json", "-p"]);
    assert_eq!((&document["rows"][0]["pid"]), &json!(testproc.pid()), "{document}");
    assert_eq!(document["images_from"], json!({"source": "conf", "conf": path}));
    assert_eq!(table(&["--json", "--no-conf", &name])["images_from"]["source"], "executable");

    // A file that does not exist.
    std::fs::remove_file(&conf).unwrap();
    let output = with_collector_options(&options, &["doctor", "--json"]).unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let missing = check(&document, "conf");
    assert_eq!(missing["status"], "fail");
    assert!(missing["help"].as_str().unwrap().contains("--conf"), "{missing}");
    let output = with_collector_options(&options, &[]).unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    for want in [path, "PSSTAT_CONF in /etc/default/psstat", "--conf", "--no-conf"] {
        assert!(message.contains(want), "{message}");
    }
}

/// All capabilities are effective in a user namespace of its own, and give no access to the
/// processes outside of it.
#[test]
fn capabilities_of_a_user_namespace() {
    let doctor = |options: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(options).arg(env!("CARGO_BIN_EXE_psstat-dump"));
        let output = command.args(["doctor", "--json", "--no-conf"]).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).ok()
    };
    let Some(outside) = doctor(&["--user", "--map-root-user"]) else {
        return println!("skipped: no user namespace");
    };
    let capabilities = check(&outside, "capabilities");
    assert_eq!(capabilities["status"], "warn", "{capabilities}");
    let result = capabilities["result"].as_str().unwrap();
    assert!(result.contains("user namespace without these processes"), "{result}");
    if let Some(help) = check(&outside, "io")["help"].as_str() {
        assert!(help.contains("user namespace") && !help.contains("nothing to do"), "{help}");
    }
    // Its own processes only.
    let inside = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let Some(inside) = doctor(&inside) else {
        return println!("skipped: no procfs in a user namespace");
    };
    assert_eq!(check(&inside, "capabilities")["status"], "ok", "{inside}");
    assert_eq!(check(&inside, "io")["status"], "ok", "{inside}");
}

/// A service with RestrictAddressFamilies= cannot open netlink sockets, and a kernel can lack the
/// module of one protocol.
#[test]
fn socket_tables_in_use_are_reported() {
    let doctor = |inject: &str| {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e", inject]);
        command.arg(env!("CARGO_BIN_EXE_psstat-dump")).args(["doctor", "--json", "--no-conf"]);
        let output = command.output().ok()?;
        serde_json::from_slice::<Value>(&output.stdout).ok()
    };
    let Some(denied) = doctor("inject=socket:error=EAFNOSUPPORT") else {
        return println!("skipped: no strace");
    };
    let all = check(&denied, "sock_diag");
    assert_eq!(all["status"], "warn");
    assert!(all["result"].as_str().unwrap().ends_with(": tcp, udp, unix"), "{all}");
    let help = all["help"].as_str().unwrap();
    assert!(help.contains("AF_NETLINK") && !help.contains("modprobe"), "{help}");
    // The first request is that for tcp.
    let missing = doctor("inject=sendto:error=ENOENT:when=1").unwrap();
    let one = check(&missing, "sock_diag");
    assert_eq!(one["status"], "warn", "{one}");
    let result = one["result"].as_str().unwrap();
    assert!(result.ends_with(": tcp; by netlink: udp, unix"), "{result}");
    assert_eq!(one["help"], "`modprobe -a tcp_diag` may help");
}

/// Its `self` does not exist, and the causes that were named were wrong.
#[test]
fn procfs_of_a_pid_namespace_without_this_program() {
    let temp = TempDir::new().unwrap();
    std::fs::create_dir(temp.join("proc")).unwrap();
    // The first process of the namespace writes its pid in this one.
    let script = "mkfifo pid; \
        unshare --pid --fork --kill-child \
            sh -c 'read -r pid rest </proc/self/stat; echo $pid >pid; exec sleep 1000' >&- 2>&- & \
        trap 'kill -9 $!' EXIT; \
        read -r child <pid; \
        mount -t proc -o pidns=/proc/$child/ns/pid proc proc || exit; \
        \"$0\" doctor --json --no-conf --proc proc";
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", script]).arg(env!("CARGO_BIN_EXE_psstat-dump"));
    let output = shell.current_dir(temp.path()).output().unwrap();
    let Ok(document) = serde_json::from_slice::<Value>(&output.stdout) else {
        return println!("skipped: no mount option pidns=, which Linux 6.17 has");
    };
    for name in ["cpu_clock", "fd_size", "task_links", "partial_listing", "sock_diag"] {
        let check = check(&document, name);
        assert_eq!(check["status"], "warn", "{check}");
        assert!(check["help"].as_str().unwrap().contains("not in this procfs"), "{check}");
    }
    assert_eq!(check(&document, "hidepid")["status"], "ok");
    let namespace = check(&document, "pid_namespace")["result"].as_str().unwrap();
    assert!(namespace.contains("without this program"), "{namespace}");
    check(&document, "capabilities");
    assert_eq!(check(&document, "io")["status"], "ok");
}

/// It has only the directories of processes. Partial listings, which need `loadavg`, were reported
/// as working.
#[test]
fn procfs_mounted_with_subset_pid() {
    let temp = TempDir::new().unwrap();
    std::fs::create_dir(temp.join("proc")).unwrap();
    let name = unique("subset");
    let testproc = testproc(&name);
    let pid = testproc.pid().to_string();
    let run_there = |args: &[&str]| -> Option<Value> {
        let script = "mount -t proc -o subset=pid proc proc && echo && ! test -e proc/loadavg && \
                      exec \"$@\" --json --proc proc";
        let mut shell = Command::new("unshare");
        shell.args(["--mount", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_psstat-dump")]);
        let output = shell.args(args).current_dir(temp.path()).output().ok()?;
        // The mount succeeded.
        let json = output.stdout.strip_prefix(b"\n")?;
        Some(serde_json::from_slice(json).unwrap())
    };
    let Some(document) = run_there(&["doctor", "--no-conf"]) else {
        return println!("skipped: no mount namespace, or no mount option subset=pid (Linux 5.8)");
    };
    let listing = check(&document, "partial_listing");
    assert_eq!(listing["status"], "warn", "{listing}");
    let has_initial_namespace = std::fs::read_link("/proc/self/ns/pid").unwrap();
    if has_initial_namespace.to_str() == Some("pid:[4026531836]") {
        assert!(listing["help"].as_str().unwrap().contains("`subset=pid`"), "{listing}");
    }
    // All else works as with the whole procfs.
    let (_, whole) = json_of(&["doctor", "--no-conf", "--json"]);
    for name in ["cpu_clock", "fd_size", "task_links", "sock_diag", "socket_counters", "hidepid"] {
        assert_eq!(check(&document, name)["status"], check(&whole, name)["status"], "{name}");
    }
    assert_eq!(check(&document, "pid_namespace"), check(&whole, "pid_namespace"));
    assert_eq!(check(&document, "capabilities"), check(&whole, "capabilities"));

    let table = run_there(&["-p", "-e", &format!("^{name}$")]).unwrap();
    let row = &table["rows"][0];
    assert_eq!((&row["pid"], &row["threads"]), (&json!(testproc.pid()), &json!(1)));
    for field in ["pcpu_percent", "rss_bytes", "fds", "tcp_established", "rchar_bytes_per_second"] {
        assert!(row[field].is_number(), "{field}: {row}");
    }
    let report = run_there(&["pid", &pid]).unwrap();
    for field in ["started_unix_seconds", "age_seconds"] {
        assert!(report["identity"][field].is_number(), "{field}: {report}");
    }
}

/// The reported fast paths are those of the kernel.
#[test]
fn reports_fast_paths() {
    use std::os::unix::fs::MetadataExt as _;
    let (_, document) = json_of(&["doctor", "--json"]);
    let works = |name: &str| check(&document, name)["status"] == "ok";
    let mut testproc = testproc(&unique("fast"));
    let threads = testproc.threads(3).unwrap();
    let of = |file: &str| std::fs::metadata(format!("/proc/{}/{file}", testproc.pid())).unwrap();
    let fds = psstat_testproc::oracle::fds(testproc.pid()).unwrap();
    assert_eq!(works("fd_size"), of("fd").len() == fds);
    assert_eq!(works("task_links"), of("task").nlink() == threads + 2);
    // A single pid: the procfs is that of this test's pid namespace.
    let pids = psstat_testproc::oracle::status_field(std::process::id(), "NSpid").unwrap();
    assert_eq!(works("cpu_clock"), pids == std::process::id().to_string());
    let first = std::fs::read_link("/proc/self/ns/pid").unwrap();
    let is_first = first.to_str() == Some("pid:[4026531836]");
    assert_eq!(works("partial_listing"), works("cpu_clock") && is_first);
    assert_eq!(works("idle_processes"), works("cpu_clock"));
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::NETLINK,
        rustix::net::SocketType::DGRAM,
        Some(rustix::net::netlink::SOCK_DIAG),
    );
    assert_eq!(works("sock_diag"), socket.is_ok());
    let counters = std::fs::read_to_string("/proc/self/net/snmp");
    assert_eq!(works("socket_counters"), counters.is_ok_and(|text| text.contains("CurrEstab")));
}
