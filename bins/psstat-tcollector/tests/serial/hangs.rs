//! Processes that hang in the kernel, with their memory map locked or with
//! files on a server that is gone: whoever reads their command line hangs too.

use psstat_testproc::{TempDir, oracle};

use super::common::{Setup, conf, testproc, truth_of, until, word};
use super::stuck_process::StuckProcess;

/// Maps the file, writes to it, and maps something else in its place: the
/// kernel then waits for the server to take what was written, and holds the
/// lock of the memory map.
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
fn a_process_that_hangs_with_its_memory_map_locked_delays_nothing_else() {
    let _alone = super::alone();
    let (hung_word, calm_word) = (word("hung"), word("calm"));
    let temp = TempDir::new().unwrap();
    let (folder, script, go) = (temp.join("fs"), temp.join("lock.py"), temp.join("go"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(&script, LOCK_THE_MAP).unwrap();
    let command = format!(
        "exec python3 {} $P {} {hung_word} >/dev/null 2>&1",
        script.display(),
        go.display()
    );
    let Some(stuck) = StuckProcess::run(&folder, &command, "hang") else { return };
    let mut calm = testproc(&calm_word);
    calm.tcp_pairs(2).unwrap();
    calm.quiesce().unwrap();
    let path = conf(&temp, &format!("hung {hung_word}$\ncalm {calm_word}\n"));
    let before = Setup::with(&path).spawn();
    before.cycle("the process that will hang", |cycle| cycle.get("procs image=hung") == 1);
    let truth = truth_of("calm", &[calm.pid()]);

    // It has its command line before it has loaded what it runs, and waits for a disk
    // or the server meanwhile; from here on, it waits in this way for one thing.
    until("it is about to hang", || temp.join("go.awaited").exists());
    std::fs::write(&go, "").unwrap();
    until("it hangs", || oracle::state(stuck.pid()).unwrap() == 'D');
    let io = oracle::io(stuck.pid()).unwrap();
    let after = Setup::with(&path).spawn();
    // It is looked at again within eight cycles.
    let cycle = before.cycle("blocked", |cycle| cycle.get("collector.blocked") == 1);
    assert_eq!(cycle.get("procs image=hung"), 1, "it is what it was");
    assert_eq!(cycle.get("io image=hung type=rchar"), io["rchar"]);
    let cycle = before.fresh();
    assert_eq!(cycle.get("io image=hung type=rchar"), io["rchar"]);
    assert_eq!(cycle.image("calm"), truth);
    // Whoever starts now cannot tell what it is.
    for cycle in &after.cycles(4)[1..] {
        assert_eq!(cycle.get("procs image=hung"), 0);
        assert_eq!(cycle.get("collector.blocked"), 1);
        assert_eq!(cycle.image("calm"), truth);
    }
    for collector in [&before, &after] {
        let told = format!("reading the command line of process {} blocks", stuck.pid());
        collector.hear(1, &told);
        collector.fresh();
        assert_eq!(collector.logged(&told).len(), 1, "{:#?}", collector.logged("blocks"));
        assert_eq!(collector.fresh().get("collector.panics"), 0);
    }
    drop(stuck);
    for collector in [&before, &after] {
        let end = collector.cycle("its end", |cycle| cycle.get("collector.blocked") == 0);
        assert_eq!(end.image("calm"), truth);
        let gone = collector.cycle("it is gone", |cycle| cycle.get("procs image=hung") == 0);
        assert_eq!(gone.image("calm"), truth);
        collector.on_time();
        assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
    }
}

/// To say where a descriptor leads asks no file system, which may not answer.
#[test]
fn descriptors_on_a_server_that_is_gone_are_counted() {
    let _alone = super::alone();
    let stuck = word("stuck");
    let temp = TempDir::new().unwrap();
    let folder = temp.join("fs");
    std::fs::create_dir(&folder).unwrap();
    // Its working folder, its root of a sort, and its files are all there.
    let command =
        format!("cd $P; exec 3<file 4<file 5<. 6<file; exec sleep 86400.{}", digits(&stuck));
    let Some(mut stuck) = StuckProcess::run(&folder, &command, "hang") else { return };
    let sleep = format!("sleep\0{}\0", command.rsplit(' ').next().unwrap());
    // It has its command line before it has loaded its libraries.
    until("it sleeps", || {
        oracle::cmdline(stuck.pid()).unwrap() == sleep.as_bytes()
            && oracle::state(stuck.pid()).unwrap() == 'S'
    });
    stuck.stop_server();
    let path =
        conf(&temp, &format!("stuck ^{}$\n", sleep.trim_end_matches('\0').replace('\0', " ")));
    let collector = Setup::with(&path).spawn();
    let truth = truth_of("stuck", &[stuck.pid()]);
    assert!(truth["fd image=stuck type=open"] >= 4 + 3, "{truth:?}");
    for cycle in collector.cycles(3) {
        assert_eq!(cycle.image("stuck"), truth);
        assert_eq!(cycle.get("collector.failed type=fd"), 0);
        assert_eq!(cycle.get("collector.panics"), 0);
    }
    collector.on_time();
    assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
}

fn digits(word: &str) -> String {
    word.chars().filter(char::is_ascii_digit).collect()
}
