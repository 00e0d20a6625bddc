//! Running the collector, and what its output has to be held against.

mod collector;
mod cycle;
mod lines;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use psstat_testproc::oracle::{self, Sockets};
use psstat_testproc::{Config, TempDir, TestProcess};

pub(crate) use collector::{Collector, Setup};
pub(crate) use cycle::{Cycle, TARDY, judge, left_out_by_need, mean_load, on_time};

/// How long a test waits for what must come. A machine with other work to do
/// may take its time; nothing that is right waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_psstat-tcollector");

/// A word that is in no other process's command line.
pub(crate) fn word(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{name}_{}_{number}x", std::process::id())
}

/// A test process with a command line of one word.
pub(crate) fn testproc(word: &str) -> TestProcess {
    TestProcess::spawn(&Config::new(word)).unwrap()
}

/// Writes a conf that nobody complains about, and gives its path.
pub(crate) fn conf(temp: &TempDir, text: &str) -> PathBuf {
    let path = temp.join("psstat.conf");
    write_conf(&path, text);
    let_conf_be_still();
    path
}

/// Until a conf that was just written is taken at the first look at it. The
/// collector waits for that too, but a second at most: on a machine that stands
/// still in that second, the first cycle has no rules.
pub(crate) fn let_conf_be_still() {
    std::thread::sleep(psstat_matcher::live::QUIET + Duration::from_millis(100));
}

/// Writes a conf that only its owner can write.
pub(crate) fn write_conf(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap();
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a program to its end: status, stdout, stderr.
pub(crate) fn outcome(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Every value but pcpu and resident memory that an image of these processes
/// must have, by the kernel's own files: as the collector's lines say it, without
/// prefix and time.
pub(crate) fn truth_of(image: &str, pids: &[u32]) -> BTreeMap<String, i64> {
    let mut values = BTreeMap::new();
    let mut add = |metric: &str, of: &str, value: i64| {
        let tag = if of.is_empty() { String::new() } else { format!(" type={of}") };
        *values.entry(format!("{metric} image={image}{tag}")).or_insert(0) += value;
    };
    let count = |number: u64| i64::try_from(number).unwrap();
    let kinds =
        ["rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes"];
    let mut sockets = Sockets::default();
    for kind in kinds {
        add("io", kind, 0);
    }
    for &pid in pids {
        let io = oracle::io(pid).unwrap();
        for kind in kinds {
            add("io", kind, io[kind]);
        }
        sockets = sockets.union(&oracle::established(pid).unwrap());
    }
    let sum = |of: &dyn Fn(u32) -> u64| count(pids.iter().map(|&pid| of(pid)).sum());
    add("fd", "open", sum(&|pid| oracle::fds(pid).unwrap()));
    add("threads", "", sum(&|pid| oracle::threads(pid).unwrap()));
    add("mem", "total", sum(&|pid| oracle::memory(pid).unwrap().total));
    add("procs", "", count(pids.len() as u64));
    add("net", "tcp", count(sockets.all_tcp()));
    add("net", "udp", count(sockets.all_udp()));
    add("net", "unix", count(sockets.unix.len() as u64));
    values
}

/// How many bytes wait in a pipe.
pub(crate) fn waiting(reader: &std::io::PipeReader) -> u64 {
    rustix::io::ioctl_fionread(reader).unwrap()
}
