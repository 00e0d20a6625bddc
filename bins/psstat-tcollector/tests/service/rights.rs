//! No more rights than it needs, and less of them without harm.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use psstat_actor::{TempDir, truth};

use super::common::{PROGRAM, Setup, actor, conf, is_root, truth_of, word};

/// Bits of `CapEff` and the like, by capabilities(7).
const CAP_DAC_READ_SEARCH: u64 = 1 << 2;
const CAP_SYS_PTRACE: u64 = 1 << 19;

fn capabilities(pid: u32, set: &str) -> u64 {
    u64::from_str_radix(&truth::status_field(pid, set).unwrap(), 16).unwrap()
}

/// Field 19 of `/proc/PID/stat`.
fn niceness(pid: u32) -> i64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.split(' ').nth(19 - 3).unwrap().parse().unwrap()
}

#[test]
fn it_keeps_two_capabilities_and_stands_back() {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("none {}\n", word("nobody")));
    let collector = Setup::with(&path).spawn();
    collector.cycles(1);
    let pid = collector.pid();
    assert_eq!(niceness(pid), (niceness(std::process::id()) + 5).min(19));
    assert_eq!(truth::status_field(pid, "NoNewPrivs").unwrap(), "1");
    assert_eq!(capabilities(pid, "CapInh"), 0);
    assert_eq!(capabilities(pid, "CapAmb"), 0);
    let own = capabilities(std::process::id(), "CapEff");
    let kept = own & (CAP_DAC_READ_SEARCH | CAP_SYS_PTRACE);
    for set in ["CapEff", "CapPrm"] {
        assert_eq!(capabilities(pid, set), kept, "{set}");
    }
    // Every thread of it.
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        for set in ["CapEff", "CapPrm"] {
            let line = format!("{set}:\t{kept:016x}\n");
            assert!(status.contains(&line), "{status}");
        }
        assert!(status.contains("NoNewPrivs:\t1\n"));
    }
    if !is_root() {
        println!("skipped: there is nothing to give up without root");
    }
}

/// Root without its capabilities does not read more than anybody else.
#[test]
fn another_user_gets_its_own_processes_whole_and_of_others_what_is_free() {
    if !is_root() {
        println!("skipped: running as another user needs root");
        return;
    }
    let (own, others) = (word("own"), word("others"));
    let mut mine = actor(&own);
    mine.tcp_pairs(2).unwrap();
    mine.open_files(7).unwrap();
    mine.setuid(65534).unwrap();
    mine.set_dumpable(true).unwrap();
    mine.write_bytes(10_000, 10).unwrap();
    mine.quiesce().unwrap();
    let mut theirs = actor(&others);
    theirs.tcp_pairs(1).unwrap();
    theirs.open_files(3).unwrap();
    theirs.quiesce().unwrap();

    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("own {own}\nothers {others}\nboth {own}|{others}\n"));
    // Where everybody may run it.
    let program = temp.join("psstat-tcollector");
    std::fs::copy(PROGRAM, &program).unwrap();
    let mut command = Command::new(&program);
    command.uid(65534).gid(65534);
    let setup = Setup::of(command).args(&["--interval", "1", "--cycles", "4", "--conf"]).arg(&path);
    let mut collector = setup.spawn();
    let cycles = collector.finish();
    let (mine_truth, theirs_truth) =
        (truth_of("own", &[mine.pid()]), truth_of("others", &[theirs.pid()]));
    for cycle in &cycles {
        assert_eq!(cycle.image("own"), mine_truth);
        for (series, value) in &theirs_truth {
            let denied = series.starts_with("io ") || series.starts_with("net ");
            match cycle.printed(series) {
                // Some kernels tell the number of descriptors freely.
                None if series.starts_with("fd ") => {}
                printed => {
                    let expected = (!denied).then(|| value.to_string());
                    assert_eq!(printed, expected.as_deref(), "{series}");
                }
            }
        }
        assert!(cycle.printed("pcpu image=others").is_some());
        // What could be read of some of an image's processes is summed.
        let io = "io image=both type=wchar";
        assert_eq!(cycle.get(io), mine_truth["io image=own type=wchar"]);
        assert_eq!(cycle.get("procs image=both"), 2);
        assert_eq!(cycle.get("collector.denied type=io"), 1);
        assert_eq!(cycle.get("collector.matched"), 2);
    }
    let log = collector.log();
    let told = collector.logged("/proc/PID/io of 1 processes may not be read");
    assert_eq!(told.len(), 1, "{log:#?}");
    assert!(told[0].contains("setcap cap_sys_ptrace,cap_dac_read_search=ep"), "{told:?}");
    let mut matters = log.clone();
    matters.sort();
    matters.dedup();
    assert_eq!(matters.len(), log.len(), "each matter is told once: {log:#?}");
    assert!(log.len() < 10, "{log:#?}");
}
