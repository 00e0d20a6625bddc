//! `--source`: processes read by BPF or from /proc.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use psstat_testproc::{Kind, TempDir, oracle};

use super::common::{Collector, PROGRAM, Setup, conf, expected_values, is_root, testproc, word};
use super::privileges::assert_needed_capabilities;

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

/// The BPF objects that a process holds, by the links of its descriptors.
fn bpf_descriptors(pid: u32) -> Vec<String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    let names = targets.map(|target| target.to_string_lossy().into_owned());
    names.filter(|name| name.contains("bpf")).collect()
}

/// With no other capabilities than by /proc while it runs.
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
    for source in ["auto", "bpf"] {
        let collector = start(&path, source);
        let cycle = collector.cycles(3).remove(2);
        assert_eq!(cycle.image("all"), expected_values("all", &[one.pid(), two.pid()]));
        assert_eq!(collector.logged(BY_BPF).len(), 1, "{source}: {:#?}", collector.log());
        // And that of the rules.
        assert_eq!(collector.log().len(), 2, "{source}: {:#?}", collector.log());
        // The link of the iterator, and nothing that can be changed.
        assert_eq!(bpf_descriptors(collector.pid()), ["anon_inode:bpf_link"]);
        for task in fs::read_dir(format!("/proc/{}/task", collector.pid())).unwrap() {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            assert_needed_capabilities(&status);
            assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
        }
    }
}

#[test]
fn proc_is_used_on_request() {
    let (word, temp) = (word("by-proc"), TempDir::new().unwrap());
    let path = conf(&temp, &format!("all {word}\n"));
    let one = testproc(&word);
    one.quiesce().unwrap();
    // By default, too.
    for source in ["", "proc"] {
        let collector = start(&path, source);
        let cycle = collector.cycles(2).remove(1);
        assert_eq!(cycle.image("all"), expected_values("all", &[one.pid()]));
        // That of the rules.
        assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
        assert_eq!(bpf_descriptors(collector.pid()), <[String; 0]>::default());
    }
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
