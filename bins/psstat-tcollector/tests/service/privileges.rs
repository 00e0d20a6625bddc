//! The collector drops the privileges that it does not need, and works with fewer.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use psstat_testproc::{TempDir, oracle};

use super::common::{PROGRAM, Setup, conf, expected_values, is_root, testproc, word};

/// Bits of `CapEff` and the other sets, see capabilities(7).
const CAP_DAC_READ_SEARCH: u64 = 1 << 2;
const CAP_SETPCAP: u64 = 1 << 8;
const CAP_SYS_PTRACE: u64 = 1 << 19;
pub(super) const CAP_PERFMON: u64 = 1 << 38;
pub(super) const CAP_BPF: u64 = 1 << 39;
const NEEDED: u64 = CAP_DAC_READ_SEARCH | CAP_SYS_PTRACE;

/// Gives capabilities to a program file, as `setcap` does.
pub(super) fn set_file_capabilities(program: &Path, set: u64) -> std::io::Result<()> {
    // struct vfs_cap_data: revision 2, effective; permitted, inheritable, of 32 bits each.
    let words = [0x0200_0001, set as u32, 0, (set >> 32) as u32, 0];
    let data = words.map(u32::to_le_bytes).concat();
    let flags = rustix::fs::XattrFlags::empty();
    Ok(rustix::fs::setxattr(program, "security.capability", &data, flags)?)
}

fn capabilities(pid: u32, set: &str) -> u64 {
    u64::from_str_radix(&oracle::status_field(pid, set).unwrap(), 16).unwrap()
}

/// Whether the tests have a capability.
pub(super) fn has_capability(bit: u64) -> bool {
    capabilities(std::process::id(), "CapEff") & bit != 0
}

/// Field 19 of `/proc/PID/stat`.
pub(super) fn niceness(pid: u32) -> i64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.split(' ').nth(19 - 3).unwrap().parse().unwrap()
}

/// Asserts that a thread neither has nor can get other capabilities than these.
fn assert_capabilities_within(status: &str, allowed: u64) {
    for line in status.lines().filter(|line| line.starts_with("Cap")) {
        let set = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        assert_eq!(set & !allowed, 0, "{line}");
    }
}

/// Asserts that a thread neither has nor can get capabilities that the collector does not need.
pub(super) fn assert_needed_capabilities(status: &str) {
    let kept = status.lines().filter(|line| !line.starts_with("CapBnd"));
    assert_capabilities_within(&kept.collect::<Vec<_>>().join("\n"), NEEDED);
}

#[test]
fn drops_privileges_and_nices() {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("none {}\n", word("unused")));
    // A stuck command line would add threads.
    let collector = Setup::with(&path).arg("--debug").spawn();
    let cycle = collector.cycles(2).remove(1);
    let pid = collector.pid();
    assert_eq!(niceness(pid), (niceness(std::process::id()) + 5).min(19));
    let own = capabilities(std::process::id(), "CapEff");
    let kept = own & (CAP_DAC_READ_SEARCH | CAP_SYS_PTRACE);
    let bounds = capabilities(std::process::id(), "CapBnd");
    let may_bound = own & CAP_SETPCAP != 0;
    let mut threads = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        for (set, value) in [("CapEff", kept), ("CapPrm", kept), ("CapInh", 0), ("CapAmb", 0)] {
            let line = format!("{set}:\t{value:016x}\n");
            assert!(status.contains(&line), "{line}{status}");
        }
        if may_bound {
            let line = format!("CapBnd:\t{:016x}\n", bounds & NEEDED);
            assert!(status.contains(&line), "{status}");
            assert_capabilities_within(&status, NEEDED);
        }
        assert!(status.contains("NoNewPrivs:\t1\n"));
        threads += 1;
    }
    assert!(threads >= 2, "the main one and the reader of command lines");
    // Its memory contains command lines of other users: it leaves no core dump.
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).collect::<Vec<_>>(), ["0", "0", "bytes"]);
    // It reports its own capabilities.
    for (name, bit) in [("sys_ptrace", CAP_SYS_PTRACE), ("dac_read_search", CAP_DAC_READ_SEARCH)] {
        let has = i64::from(kept & bit != 0);
        assert_eq!(cycle.get(&format!("collector.capability type={name}")), has);
        let with = if has == 1 { "with" } else { "without" };
        let line = collector.logged("debug: runs ").remove(0);
        assert!(line.contains(&format!("{with} CAP_{}", name.to_uppercase())), "{line}");
    }
    if !is_root() {
        println!("skipped: there are no privileges to drop without root");
    }
}

/// A program file with capabilities reads the I/O of other users' processes for every user who can
/// run it, but no config file that the user may not read.
#[test]
fn file_caps_do_not_open_config() {
    if !is_root() {
        println!("skipped: capabilities of a file need root");
        return;
    }
    let others = word("others");
    let theirs = testproc(&others);
    let temp = TempDir::new().unwrap();
    let secret = conf(&temp, "root:$6$secret hash\nsecret word\n");
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::create_dir(temp.join("own")).unwrap();
    let open = temp.join("own/psstat.conf");
    super::common::write_conf(&open, &format!("others {others}\n"));
    let program = temp.join("psstat-tcollector");
    psstat_testproc::copy_program(PROGRAM, &program).unwrap();
    if let Err(error) = set_file_capabilities(&program, NEEDED) {
        println!("skipped: no capabilities on files of {}: {error}", temp.path().display());
        return;
    }
    let run = |conf: &Path| {
        let mut command = Command::new(&program);
        command.uid(65534).gid(65534).env_clear().arg("--conf").arg(conf);
        command
    };
    let (status, stdout, stderr) = super::common::outcome(run(&secret).arg("--check"));
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("Permission denied") && !stderr.contains("word"), "{stderr}");
    let mut collector = Setup::of(run(&secret)).args(&["--interval", "1", "--cycles", "2"]).spawn();
    for cycle in collector.finish() {
        assert_eq!(cycle.images(), [""; 0]);
    }
    assert_eq!(collector.logged("cannot be read: Permission denied").len(), 1);
    assert!(collector.log().iter().all(|line| !line.contains("hash") && !line.contains("word")));
    // For everything else the capabilities are used.
    let setup = Setup::of(run(&open)).args(&["--interval", "1", "--cycles", "2"]);
    for cycle in setup.spawn().finish() {
        assert_eq!(cycle.image("others"), expected_values("others", &[theirs.pid()]));
    }
}

/// The system calls that open files, by strace.
#[test]
fn opens_only_expected_files() {
    let word = word("traced");
    let mut traced = testproc(&word);
    traced.tcp_pairs(1).unwrap();
    traced.unshare_net().unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("traced {word}\n"));
    let record = temp.join("record");
    let trace = "trace=%file,%desc,%net,%process,ptrace,kill,tkill,tgkill,process_vm_readv,\
                 process_vm_writev,pidfd_open,pidfd_getfd,pidfd_send_signal";
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-qq", "-s", "200", "-e", trace, "-o"]).arg(&record).arg(PROGRAM);
    strace.args(["--conf-owner", "root", "--cycles", "3", "--interval", "1", "--conf"]).arg(&path);
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: no strace");
        return;
    }
    let mut collector = Setup::of(strace).spawn();
    assert_eq!(collector.finish().len(), 3);
    let record = std::fs::read_to_string(&record).unwrap();
    let calls: Vec<&str> = record
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, call)| call.trim())
        .collect();
    let named =
        |name: &str| calls.iter().filter(|call| call.split('(').next() == Some(name)).count();
    assert!(named("openat") > 10, "{record}");
    // No call that changes a file, stops or signals a process, or reads its memory.
    for call in [
        "creat",
        "truncate",
        "ftruncate",
        "fallocate",
        "rename",
        "renameat",
        "renameat2",
        "unlink",
        "unlinkat",
        "mkdir",
        "mkdirat",
        "rmdir",
        "link",
        "linkat",
        "symlink",
        "symlinkat",
        "mknod",
        "mknodat",
        "chmod",
        "fchmod",
        "fchmodat",
        "chown",
        "fchown",
        "lchown",
        "fchownat",
        "utimensat",
        "setxattr",
        "fsetxattr",
        "lsetxattr",
        "removexattr",
        "ptrace",
        "kill",
        "tkill",
        "process_vm_readv",
        "process_vm_writev",
        "pidfd_open",
        "pidfd_getfd",
        "pidfd_send_signal",
        "connect",
        "bind",
        "listen",
        "accept",
        "accept4",
        "fork",
        "vfork",
    ] {
        assert_eq!(named(call), 0, "{call}");
    }
    assert_eq!(named("execve"), 1, "itself");
    for call in &calls {
        if call.starts_with("open") {
            let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"];
            assert!(writes.iter().all(|flag| !call.contains(flag)), "{call}");
        }
        if call.starts_with("write(") || call.starts_with("writev(") {
            assert!(
                call.starts_with("write(1,") || call.starts_with("write(2,") || is_wake_up(call),
                "{call}"
            );
        }
        if call.starts_with("socket(") {
            assert!(call.contains("NETLINK_SOCK_DIAG"), "{call}");
        }
        for file in ["maps", "numa_maps", "environ", "exe", "mem", "root", "cwd", "pagemap", "auxv"]
        {
            // The runtime reads one of its own: the location of its stack.
            let opened =
                call.contains(&format!("/{file}\"")) && !call.contains("\"/proc/self/maps\"");
            assert!(!opened, "{call}");
        }
    }
}

/// A write of one or eight bytes that wakes another thread of the program.
fn is_wake_up(call: &str) -> bool {
    let is_short = |call: &str| call.ends_with(", 1") || call.ends_with(", 8");
    // With several threads, the result can be on another line.
    match call.split_once(" <unfinished") {
        Some((call, _)) => is_short(call),
        None => call.ends_with(" = 1") || call.ends_with(" = 8"),
    }
}

/// Root without capabilities can read no more than other users.
#[test]
fn unprivileged_user_sees_own_io() {
    if !is_root() {
        println!("skipped: running as another user needs root");
        return;
    }
    let (own, others) = (word("own"), word("others"));
    let mut mine = testproc(&own);
    mine.tcp_pairs(2).unwrap();
    mine.open_files(7).unwrap();
    mine.setuid(65534).unwrap();
    mine.set_dumpable(true).unwrap();
    mine.write_bytes(10_000, 10).unwrap();
    mine.quiesce().unwrap();
    let mut theirs = testproc(&others);
    theirs.tcp_pairs(1).unwrap();
    theirs.open_files(3).unwrap();
    theirs.quiesce().unwrap();

    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("own {own}\nothers {others}\nboth {own}|{others}\n"));
    // A copy that every user may run.
    let program = temp.join("psstat-tcollector");
    psstat_testproc::copy_program(PROGRAM, &program).unwrap();
    let mut command = Command::new(&program);
    command.uid(65534).gid(65534);
    let setup = Setup::of(command).args(&["--interval", "1", "--cycles", "4", "--conf"]).arg(&path);
    let mut collector = setup.spawn();
    let cycles = collector.finish();
    let (mine_expected, theirs_expected) =
        (expected_values("own", &[mine.pid()]), expected_values("others", &[theirs.pid()]));
    for cycle in &cycles {
        assert_eq!(cycle.image("own"), mine_expected);
        for (series, value) in &theirs_expected {
            let denied = series.starts_with("io ") || series.starts_with("net ");
            match cycle.printed(series) {
                // Some kernels give the number of descriptors to all users.
                None if series.starts_with("fd ") => {}
                _ if series.starts_with("unread ") => {}
                printed => {
                    let expected = (!denied).then(|| value.to_string());
                    assert_eq!(printed, expected.as_deref(), "{series}");
                }
            }
        }
        assert!(cycle.printed("pcpu image=others").is_some());
        for image in ["others", "both"] {
            let unread = ["io", "net", "mem", "cpu"]
                .map(|kind| cycle.get(&format!("unread image={image} type={kind}")));
            assert_eq!(unread, [1, 1, 0, 0], "{image}");
        }
        // The values of an image's readable processes are summed.
        let io = "io image=both type=wchar";
        assert_eq!(cycle.get(io), mine_expected["io image=own type=wchar"]);
        assert_eq!(cycle.get("procs image=both"), 2);
        assert_eq!(cycle.get("collector.denied type=io"), 1);
        assert_eq!(cycle.get("collector.matched"), 2);
    }
    let log = collector.log();
    let logged = collector.logged("permission denied for /proc/PID/io of 1 process");
    assert_eq!(logged.len(), 1, "{log:#?}");
    assert!(logged[0].contains("setcap cap_sys_ptrace,cap_dac_read_search=ep"), "{logged:?}");
    let mut issues = log.clone();
    issues.sort();
    issues.dedup();
    assert_eq!(issues.len(), log.len(), "each issue is logged once: {log:#?}");
    assert!(log.len() < 10, "{log:#?}");
}

/// In a user namespace of its own the collector has all capabilities, and none towards the
/// processes outside of it.
#[test]
fn capabilities_of_another_user_namespace_are_none() {
    let run = |options: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(options).arg(PROGRAM);
        command
    };
    let outside = &["--user", "--map-root-user"][..];
    let inside = &["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"][..];
    for (options, held) in [(outside, 0), (inside, 1)] {
        let mut probe = Command::new("unshare");
        if !probe.args(options).arg("true").status().is_ok_and(|status| status.success()) {
            println!("skipped: cannot create the namespaces of {options:?}");
            continue;
        }
        let temp = TempDir::new().unwrap();
        let path = conf(&temp, "none ^no such process$\n");
        let mut command = run(options);
        command.arg("--conf").arg(&path);
        let setup = Setup::of(command).args(&["--interval", "1", "--cycles", "1", "--debug"]);
        let mut collector = setup.spawn();
        let cycle = collector.finish().remove(0);
        for name in ["sys_ptrace", "dac_read_search"] {
            let series = format!("collector.capability type={name}");
            assert_eq!(cycle.get(&series), held, "{options:?} {name}");
        }
        let line = collector.logged("debug: runs ").remove(0);
        assert_eq!(line.contains("does not contain the processes"), held == 0, "{line}");
    }
}
