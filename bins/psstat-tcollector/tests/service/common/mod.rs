//! Runs the collector and checks its output.

mod collector;
mod cycle;
mod lines;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use psstat_testproc::oracle::{self, Sockets};
use psstat_testproc::{Config, TempDir, TestProcess};
pub(crate) use psstat_testproc::{TIMEOUT, unique_word as word, wait_until as until};

pub(crate) use collector::{Collector, Setup};
pub(crate) use cycle::{
    Cycle, MAX_DELAY, assert_on_time, assert_skips_needed, mean_load, moves, parse_cycles,
};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_psstat-tcollector");

/// A test process whose command line is one word.
pub(crate) fn testproc(word: &str) -> TestProcess {
    TestProcess::spawn(&Config::new(word)).unwrap()
}

/// Writes a config file without diagnostics and returns its path.
pub(crate) fn conf(temp: &TempDir, text: &str) -> PathBuf {
    let path = temp.join("psstat.conf");
    write_conf(&path, text);
    wait_settled();
    path
}

/// Waits until a config file that was just written is loaded at its first read. The collector waits
/// for that too, but one second at most: on a machine that stalls for that second, the first cycle
/// has no rules.
pub(crate) fn wait_settled() {
    std::thread::sleep(psstat_matcher::watcher::SETTLE_TIME + Duration::from_millis(100));
}

/// Writes a config file that only its owner can write.
pub(crate) fn write_conf(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap();
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a program to its exit: status, stdout, stderr.
pub(crate) fn outcome(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Every value that does not [move](moves) and that an image of these processes must have according
/// to the kernel's files, in the form of the collector's lines, without prefix and time.
pub(crate) fn expected_values(image: &str, pids: &[u32]) -> BTreeMap<String, i64> {
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
    for kind in ["io", "net", "fd", "mem", "cpu"] {
        add("unread", kind, 0);
    }
    values
}

/// The number of bytes in a pipe.
pub(crate) fn waiting(reader: &std::io::PipeReader) -> u64 {
    rustix::io::ioctl_fionread(reader).unwrap()
}
