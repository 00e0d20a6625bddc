//! Processes that are stuck in the kernel, with a locked memory map or with files on a server that
//! does not respond. Reads of their command lines are stuck too.
//!
//! Processes of other tests can be blocked at the same time, so `blocked` may be higher.

use psstat_testproc::{TempDir, oracle};
use rustix::process::Signal;

use super::common::{Setup, conf, expected_values, testproc, until, word, write_conf};
use super::stuck_process::StuckProcess;

/// Maps the file, writes to it, and maps something else in its place: the kernel waits until the
/// server has taken the written data, and holds the lock of the memory map.
const LOCK_THE_MAP: &str = r#"
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
fd = os.open(sys.argv[1] + "/file", os.O_RDWR)
at = libc.mmap(None, 4096, 3, 1, fd, 0)
ctypes.string_at(at, 1)
open(sys.argv[2] + ".awaited", "w").close()
while not os.path.exists(sys.argv[2]):
    time.sleep(0.05)
ctypes.memset(at, 65, 4096)
libc.mmap(at, 4096, 3, 0x32, -1, 0)
"#;

#[test]
fn process_with_locked_memory_map_delays_nothing_else() {
    let _alone = super::alone();
    let (hung_word, quiet_word) = (word("hung"), word("quiet"));
    let temp = TempDir::new().unwrap();
    let (directory, script, go) = (temp.join("fs"), temp.join("lock.py"), temp.join("go"));
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(&script, LOCK_THE_MAP).unwrap();
    let command = format!(
        "exec python3 {} $P {} {hung_word} >/dev/null 2>&1",
        script.display(),
        go.display()
    );
    let Some(stuck) = StuckProcess::run(&directory, &command, "hang") else { return };
    let mut quiet = testproc(&quiet_word);
    quiet.tcp_pairs(2).unwrap();
    quiet.quiesce().unwrap();
    let rules = format!("hung {hung_word}$\nquiet {quiet_word}\n");
    let path = conf(&temp, &rules);
    let before = Setup::with(&path).spawn();
    before.cycle("the process that will hang", |cycle| cycle.get("procs image=hung") == 1);
    let expected = expected_values("quiet", &[quiet.pid()]);

    // A process has its command line before it has loaded its program, and meanwhile waits for a
    // disk or the server; from here on, this state means that it waits for the lock.
    until("it is about to hang", || temp.join("go.awaited").exists());
    std::fs::write(&go, "").unwrap();
    until("it hangs", || oracle::state(stuck.pid()).unwrap() == 'D');
    let io = oracle::io(stuck.pid()).unwrap();
    let after = Setup::with(&path).spawn();
    // Its command line is read again after a reload, otherwise within eight cycles.
    write_conf(&path, &format!("{rules}also {quiet_word}\n"));
    let logged = format!("reading cmdline of process {} blocks", stuck.pid());
    for collector in [&before, &after] {
        collector.wait_for_log(1, &logged);
    }
    let cycle = before.cycle("blocked", |cycle| cycle.get("collector.blocked") >= 1);
    assert_eq!(cycle.get("procs image=hung"), 1, "it is what it was");
    assert_eq!(cycle.get("io image=hung type=rchar"), io["rchar"]);
    let cycle = before.next_cycle();
    assert_eq!(cycle.get("io image=hung type=rchar"), io["rchar"]);
    assert_eq!(cycle.image("quiet"), expected);
    // A new collector cannot classify it.
    for cycle in &after.cycles(3)[1..] {
        assert_eq!(cycle.get("procs image=hung"), 0);
        assert!(cycle.get("collector.blocked") >= 1);
        assert_eq!(cycle.image("quiet"), expected);
    }
    drop(stuck);
    for collector in [&before, &after] {
        assert_eq!(collector.logged(&logged).len(), 1, "{:#?}", collector.logged("blocks"));
        let end = collector.cycle("its end", |cycle| cycle.get("collector.blocked") == 0);
        assert_eq!(end.image("quiet"), expected);
        let exited = collector.cycle("its exit", |cycle| cycle.get("procs image=hung") == 0);
        assert_eq!((exited.image("quiet"), exited.get("collector.panics")), (expected.clone(), 0));
        collector.assert_on_time();
        let loaded = collector.logged(": loaded ").len();
        assert_eq!(collector.log().len(), loaded, "{:#?}", collector.log());
    }
}

/// A process executes a program, and the close of one of its files waits for a server meanwhile:
/// `io`, `stat`, `ns/net` and the links of its descriptors block every reader. No collector came
/// back, whether a rule matched the process or not, and SIGTERM had no effect.
#[test]
fn process_stuck_in_exec_delays_nothing_else() {
    let _alone = super::alone();
    let quiet_word = word("quiet");
    let hung_word = format!("86400.{}", digits(&quiet_word));
    let temp = TempDir::new().unwrap();
    let (directory, go) = (temp.join("fs"), temp.join("go"));
    std::fs::create_dir(&directory).unwrap();
    // Perl opens files so that an exec closes them.
    let command = format!(
        "exec perl -e 'open(F, \"<\", shift) or die; open(G, \">\", \"$ARGV[0].awaited\"); \
         until (-e $ARGV[0]) {{ select(undef, undef, undef, 0.02) }} exec \"sleep\", $ARGV[1]' \
         $P/file {} {hung_word} >/dev/null 2>&1",
        go.display()
    );
    let Some(mut stuck) = StuckProcess::run(&directory, &command, "hang") else { return };
    until("it has opened its files", || temp.join("go.awaited").exists());
    let quiet = testproc(&quiet_word);
    quiet.quiesce().unwrap();
    let rules = format!("hung {hung_word}$\nquiet {quiet_word}\n");
    let path = conf(&temp, &rules);
    let mut before = Setup::with(&path).spawn();
    before.cycle("the process that will hang", |cycle| cycle.get("procs image=hung") == 1);
    before.next_cycle();
    let expected = expected_values("quiet", &[quiet.pid()]);

    stuck.hold_closes(true);
    std::fs::write(&go, "").unwrap();
    let cmdline = || std::fs::read(format!("/proc/{}/cmdline", stuck.pid())).unwrap();
    until("it hangs", || cmdline().is_empty());
    let after = Setup::with(&path).spawn();
    let logged = format!("of process {} blocks", stuck.pid());
    before.wait_for_log(1, &logged);
    let cycle = before.cycle("blocked", |cycle| cycle.get("collector.blocked") >= 1);
    assert_eq!((cycle.get("procs image=hung"), cycle.image("quiet")), (1, expected.clone()));
    // Reloads work meanwhile, and the process stays in its image.
    before.signal(Signal::HUP);
    before.wait_loaded(2);
    after.wait_loaded(1);
    write_conf(&path, &format!("{rules}also {quiet_word}\n"));
    let cycle = before.cycle("reloaded", |cycle| cycle.images().contains(&"also"));
    assert_eq!((cycle.get("procs image=hung"), cycle.get("procs image=also")), (1, 1));
    assert!(cycle.get("collector.blocked") >= 1);
    // Its io is missing in the sum; its memory and CPU time are still read.
    assert_eq!(cycle.get("unread image=hung type=io"), 1);
    assert_eq!(
        ["mem", "cpu"].map(|kind| cycle.get(&format!("unread image=hung type={kind}"))),
        [0; 2]
    );
    assert_eq!(cycle.image("quiet"), expected);
    assert_eq!(after.cycles(2)[1].image("quiet"), expected);
    before.signal(Signal::TERM);
    assert_eq!(before.end(), Some(0));
    stuck.hold_closes(false);

    assert_eq!(before.logged(&logged).len(), 1, "{:#?}", before.log());
    after.cycle("it is matched", |cycle| {
        cycle.get("procs image=hung") == 1 && cycle.get("collector.blocked") == 0
    });
    let cycle = after.next_cycle();
    assert_eq!(cycle.image("hung"), expected_values("hung", &[stuck.pid()]));
    assert_eq!((cycle.image("quiet"), cycle.get("collector.panics")), (expected, 0));
    let loaded = after.logged(": loaded ").len();
    assert_eq!(after.log().len(), loaded, "{:#?}", after.log());
}

/// Reading the link of a descriptor needs no request to the file system, which may not respond.
#[test]
fn fds_on_unresponsive_server_are_counted() {
    let _alone = super::alone();
    let stuck = word("stuck");
    let temp = TempDir::new().unwrap();
    let directory = temp.join("fs");
    std::fs::create_dir(&directory).unwrap();
    // Its working directory and its files are all there.
    let command =
        format!("cd $P; exec 3<file 4<file 5<. 6<file; exec sleep 86400.{}", digits(&stuck));
    let Some(mut stuck) = StuckProcess::run(&directory, &command, "hang") else { return };
    let sleep = format!("sleep\0{}\0", command.rsplit(' ').next().unwrap());
    // A process has its command line before it has loaded its libraries.
    until("it sleeps", || {
        oracle::cmdline(stuck.pid()).unwrap() == sleep.as_bytes()
            && oracle::state(stuck.pid()).unwrap() == 'S'
    });
    stuck.stop_server();
    let path =
        conf(&temp, &format!("stuck ^{}$\n", sleep.trim_end_matches('\0').replace('\0', " ")));
    let collector = Setup::with(&path).spawn();
    let expected = expected_values("stuck", &[stuck.pid()]);
    assert!(expected["fd image=stuck type=open"] >= 4 + 3, "{expected:?}");
    for cycle in collector.cycles(3) {
        assert_eq!(cycle.image("stuck"), expected);
        assert_eq!(cycle.get("collector.failed type=fd"), 0);
        assert_eq!(cycle.get("collector.panics"), 0);
    }
    collector.assert_on_time();
    assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
}

fn digits(word: &str) -> String {
    word.chars().filter(char::is_ascii_digit).collect()
}
