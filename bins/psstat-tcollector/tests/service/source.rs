//! `--source`: processes read by BPF or from /proc.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use psstat_testproc::{Config, Kind, TempDir, oracle};
use rustix::process::{Pid, Signal};

use super::common::{
    Collector, Cycle, PROGRAM, Setup, conf, expected_values, is_root, testproc, word,
};
use super::privileges::{CAP_BPF, CAP_PERFMON, set_file_capabilities};

const BY_BPF: &str = "processes are read by BPF";
const BY_PROC: &str = "processes are read from /proc; BPF: ";

/// Whether a program of this build can be loaded by root here.
fn is_supported() -> bool {
    if !cfg!(all(target_endian = "little", target_pointer_width = "64")) {
        return false;
    }
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap();
    let supported = is_root()
        && fs::exists("/sys/kernel/btf/vmlinux").unwrap()
        && namespace.to_str() == Some("pid:[4026531836]");
    if !supported {
        println!("skipped: no BPF: not root, no types of the kernel, or in a pid namespace");
    }
    supported
}

fn start(path: &std::path::Path, source: &str) -> Collector {
    Setup::with(path).env("PSSTAT_SOURCE", source).spawn()
}

/// The threads of a process with this name.
fn threads(pid: u32, name: &str) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let named = tasks.filter(|task| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    });
    named.map(|task| task.file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// The BPF objects that a process holds, by the links of its descriptors.
fn bpf_descriptors(pid: u32) -> Vec<String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    let names = targets.map(|target| target.to_string_lossy().into_owned());
    names.filter(|name| name.contains("bpf")).collect()
}

/// The information of the kernel on the links.
fn link_infos(pid: u32) -> Vec<String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let links = links.filter(|link| {
        let target = fs::read_link(link.path());
        target.is_ok_and(|target| target.to_str() == Some("anon_inode:bpf_link"))
    });
    let name = |link: fs::DirEntry| link.file_name().into_string().unwrap();
    let info = |link| fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", name(link))).unwrap();
    links.map(info).collect()
}

/// Without any capability while it runs.
#[test]
fn bpf_is_used_where_it_works() {
    if !is_supported() {
        return;
    }
    let (word, temp) = (word("by-bpf"), TempDir::new().unwrap());
    let path = conf(&temp, &format!("all {word}\n"));
    let (mut one, mut two) = (testproc(&word), testproc(&word));
    one.threads(7).unwrap();
    one.open_files(500).unwrap();
    one.write_bytes(2_000_000, 5).unwrap();
    two.open_sockets(Kind::Tcp, 3).unwrap();
    two.mmap_touch(10 << 20).unwrap();
    two.setuid(65534).unwrap();
    for testproc in [&one, &two] {
        testproc.quiesce().unwrap();
    }
    // An empty variable is the default.
    for (source, ring) in [("", ""), ("auto", "64"), ("bpf", "0")] {
        let collector =
            Setup::with(&path).env("PSSTAT_SOURCE", source).env("PSSTAT_BPF_RING", ring).spawn();
        let cycle = collector.cycles(3).remove(2);
        assert_eq!(cycle.image("all"), expected_values("all", &[one.pid(), two.pid()]));
        assert_eq!(collector.logged(BY_BPF).len(), 1, "{source}: {:#?}", collector.log());
        // And that of the rules.
        assert_eq!(collector.log().len(), 2, "{source}: {:#?}", collector.log());
        // Two links of each iterator with its requests, the links of the tracepoints, and their ring. No
        // program.
        let mut descriptors = bpf_descriptors(collector.pid());
        descriptors.sort();
        let (maps, links) = if ring == "0" { (4, 4) } else { (5, 8) };
        let expected = [vec!["anon_inode:bpf-map"; maps], vec!["anon_inode:bpf_link"; links]];
        assert_eq!(descriptors, expected.concat());
        let infos = link_infos(collector.pid());
        let has = |line: &str| infos.iter().filter(|info| info.contains(line)).count();
        let iterators = (has("link_type:\titer\n"), has("target_name:\tbpf_map_elem\n"));
        assert_eq!(iterators, (4, 4), "{infos:?}");
        let tracepoints = ["fork", "exec", "exit", "free"];
        let number = usize::from(ring != "0");
        for name in tracepoints {
            assert_eq!(has(&format!("tp_name:\tsched_process_{name}\n")), number, "{infos:?}");
        }
        for task in fs::read_dir(format!("/proc/{}/task", collector.pid())).unwrap() {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            assert_no_capabilities(&status);
            assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
        }
    }
}

/// A process that no cycle sees counts to the byte.
#[test]
fn processes_between_two_cycles_count() {
    if !is_supported() {
        return;
    }
    let (word, temp) = (word("between"), TempDir::new().unwrap());
    let path = conf(&temp, &format!("all {word}\n"));
    let mut parent = testproc("of no image");
    let collector =
        Setup::with(&path).env("PSSTAT_SOURCE", "bpf").env("PSSTAT_INTERVAL", "3").spawn();
    // In some virtual machines not every end is reported.
    for round in 1..=5 {
        let before = collector.next_cycle();
        assert_eq!(before.get("procs image=all"), 0);
        let was = before.printed("io image=all type=wchar").map_or(0, |was| was.parse().unwrap());
        let exits = before.get("exits image=all");
        let mut child = parent.fork_child(&Config::new(&word)).unwrap();
        child.write_bytes(300_000 * round, round).unwrap();
        child.exit(0).unwrap();
        let wrote = i64::try_from(child.expected_io().unwrap().wchar).unwrap();
        parent.wait(child).unwrap();
        for _ in 0..3 {
            let after = collector.next_cycle();
            if after.get("exits image=all") > exits {
                let now = after.get("io image=all type=wchar");
                assert_eq!(now - was, wrote);
                assert_eq!(after.get("starts image=all"), after.get("exits image=all"));
                return;
            }
        }
    }
    panic!("no process was counted");
}

#[test]
fn proc_is_used_on_request() {
    let (word, temp) = (word("by-proc"), TempDir::new().unwrap());
    let path = conf(&temp, &format!("all {word}\n"));
    let one = testproc(&word);
    one.quiesce().unwrap();
    let collector = start(&path, "proc");
    let cycle = collector.cycles(2).remove(1);
    assert_eq!(cycle.image("all"), expected_values("all", &[one.pid()]));
    // That of the rules.
    assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
    assert_eq!(bpf_descriptors(collector.pid()), <[String; 0]>::default());
    // One cycle is not worth the time to load it.
    let once = Setup::bare().env("PSSTAT_SOURCE", "auto").arg("--once").arg("--conf").arg(&path);
    let mut once = once.spawn();
    assert_eq!(once.finish()[0].get("procs image=all"), 1);
    assert_eq!(once.log().len(), 1, "{:#?}", once.log());
}

/// Without the capabilities to load the program, and in a pid namespace, the log has one line with the
/// reason, which is a warning only if BPF was requested.
#[test]
fn proc_is_used_where_bpf_does_not_work() {
    if !is_supported() {
        return;
    }
    let (word, temp) = (word("no-bpf"), TempDir::new().unwrap());
    let path = conf(&temp, &format!("all {word}\n"));
    fs::set_permissions(temp.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut one = testproc(&word);
    one.setuid(65534).unwrap();
    one.quiesce().unwrap();
    let program = temp.join("psstat-tcollector");
    psstat_testproc::copy_program(PROGRAM, &program).unwrap();
    let as_user = || {
        let mut command = Command::new(&program);
        command.uid(65534).gid(65534);
        command
    };
    let in_namespace = || {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(PROGRAM);
        command
    };
    let capabilities = "needs CAP_BPF and CAP_PERFMON";
    let namespace = "the procfs is not that of the initial pid namespace";
    for (source, warning) in [("auto", ""), ("bpf", "warning: ")] {
        for (command, reason) in [(as_user(), capabilities), (in_namespace(), namespace)] {
            let setup = Setup::of(command).env("PSSTAT_SOURCE", source).env("PSSTAT_INTERVAL", "1");
            let collector = setup.arg("--conf").arg(&path).spawn();
            let cycle = collector.cycles(2).remove(1);
            let expected = format!("psstat: {warning}{BY_PROC}{reason}");
            let lines: Vec<String> = collector.logged(BY_PROC);
            assert_eq!(lines, [expected], "{:#?}", collector.log());
            if reason == capabilities {
                let expected = expected_values("all", &[one.pid()]);
                assert_eq!(
                    cycle.image("all")["fd image=all type=open"],
                    expected["fd image=all type=open"]
                );
            }
        }
    }
    assert!(oracle::state(one.pid()).is_ok());
}

#[track_caller]
fn assert_no_capabilities(status: &str) {
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000\n")), "{status}");
    }
}

/// The program may load it and has no other capability, and then none at all: it reads everything of
/// other users' processes.
#[test]
fn nothing_is_missing_without_capabilities() {
    if !is_supported() {
        return;
    }
    let (word, temp) = (word("unprivileged"), TempDir::new().unwrap());
    let path = conf(&temp, &format!("all {word}\n"));
    fs::set_permissions(temp.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut one = testproc(&word);
    one.threads(3).unwrap();
    one.open_files(100).unwrap();
    one.write_bytes(500_000, 5).unwrap();
    one.tcp_pairs(1).unwrap();
    one.quiesce().unwrap();
    let program = temp.join("psstat-tcollector");
    psstat_testproc::copy_program(PROGRAM, &program).unwrap();
    if let Err(error) = set_file_capabilities(&program, CAP_BPF | CAP_PERFMON) {
        println!("skipped: no capabilities on files of {}: {error}", temp.path().display());
        return;
    }
    let mut command = Command::new(&program);
    command.uid(65534).gid(65534);
    let setup = Setup::of(command).by_default().env("PSSTAT_INTERVAL", "1");
    let collector = setup.arg("--conf").arg(&path).spawn();
    for cycle in collector.cycles(4) {
        assert_eq!(cycle.image("all"), expected_values("all", &[one.pid()]));
    }
    assert_eq!(collector.logged(BY_BPF).len(), 1, "{:#?}", collector.log());
    // A process executes a program of the image and writes before the next cycle.
    let mut late = testproc("another");
    late.write_bytes(1000, 1).unwrap();
    let listed = collector.count() + 1;
    let written = |cycle: &Cycle| cycle.image("all")["io image=all type=wchar"];
    let before = written(collector.cycles(listed).last().unwrap());
    late.exec(&Config::new(&word)).unwrap();
    late.write_bytes(300_000, 1).unwrap();
    let grown = written(collector.cycles(listed + 4).last().unwrap()) - before;
    assert!((300_000..310_000).contains(&grown), "{grown}");
    for task in fs::read_dir(format!("/proc/{}/task", collector.pid())).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert_no_capabilities(&status);
    }
}

/// A config file that only its owner and a capability may read: that one is kept.
#[test]
fn capability_to_read_a_config_file_is_kept() {
    if !is_supported() {
        return;
    }
    let (word, temp) = (word("private"), TempDir::new().unwrap());
    let path = conf(&temp, &format!("all {word}\n"));
    fs::set_permissions(temp.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    let one = testproc(&word);
    one.quiesce().unwrap();
    let collector = Setup::with(&path).by_default().spawn();
    assert_eq!(collector.cycles(2)[1].image("all"), expected_values("all", &[one.pid()]));
    let line = "processes are read by BPF; CAP_DAC_READ_SEARCH is held to read a config file";
    assert_eq!(collector.logged(line).len(), 1, "{:#?}", collector.log());
    let status = fs::read_to_string(format!("/proc/{}/status", collector.pid())).unwrap();
    assert!(status.contains("CapEff:\t0000000000000004\n"), "{status}");
}

/// While the program cannot be run, cycles are read from /proc, which is logged once. Values that may not
/// be read there are missing until it works again.
#[test]
fn failed_passes_are_read_from_proc() {
    if !is_supported() {
        return;
    }
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: no strace");
        return;
    }
    let (word, temp) = (word("failing"), TempDir::new().unwrap());
    let path = conf(&temp, &format!("all {word}\n"));
    let mut one = testproc(&word);
    one.threads(3).unwrap();
    one.write_bytes(500_000, 5).unwrap();
    one.quiesce().unwrap();
    let collector = Setup::with(&path).by_default().spawn();
    collector.cycles(2);
    assert_eq!(collector.logged(BY_BPF).len(), 1, "{:#?}", collector.log());
    let [reader] = threads(collector.pid(), "reader")[..] else { panic!("one thread reads") };
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-e", "trace=bpf", "-e", "inject=bpf:error=ENFILE", "-o", "/dev/null"]);
    let mut strace = Reaped(strace.arg("-p").arg(reader.to_string()).spawn().unwrap());
    let failing = "warning: processes are read from /proc: the BPF program cannot be run: ";
    let line = collector.wait_for_log(1, failing);
    assert!(line.text.contains("Too many open files in system"), "{}", line.text);
    assert!(line.text.contains("values of other users' processes are missing"), "{}", line.text);
    for _ in 0..2 {
        let cycle = collector.next_cycle();
        assert_eq!(cycle.get("procs image=all"), 1);
        for (series, value) in expected_values("all", &[one.pid()]) {
            let printed = cycle.printed(&series);
            let is_missing = printed.is_none() || series.starts_with("unread ");
            assert!(is_missing || printed == Some(&*value.to_string()), "{series} {printed:?}");
        }
    }
    let pid = i32::try_from(strace.0.id()).ok().and_then(Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    strace.0.wait().unwrap();
    collector.wait_for_log(1, "processes are read by BPF again");
    assert_eq!(collector.next_cycle().image("all"), expected_values("all", &[one.pid()]));
    assert_eq!(collector.logged(failing).len(), 1, "{:#?}", collector.log());
}

/// A child that is killed and reaped when the test ends.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The types of the kernel take 20 MB while the program is loaded. The allocator kept 13 MB of them.
#[test]
fn memory_for_loading_is_released() {
    if !is_supported() {
        return;
    }
    const MAX: u64 = 6 << 20;
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("none {}\n", word("unused")));
    let collectors = ["proc", "auto"].map(|source| start(&path, source));
    let [by_proc, by_bpf] = collectors.each_ref().map(|collector| {
        collector.cycles(4);
        let status = |name| oracle::status_field(collector.pid(), name).unwrap();
        let kib: u64 = status("VmRSS").trim_end_matches(" kB").trim().parse().unwrap();
        kib << 10
    });
    assert_eq!(collectors[1].logged(BY_BPF).len(), 1, "{:#?}", collectors[1].log());
    assert!(by_bpf < by_proc + MAX, "{by_bpf} bytes by BPF, {by_proc} from /proc");
}
