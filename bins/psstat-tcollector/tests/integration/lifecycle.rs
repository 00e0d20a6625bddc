//! The life cycle of the collector under tcollector, with shortened intervals.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use psstat_testproc::TempDir;
use rustix::process::{Pid, Signal};

use crate::common::{PROGRAM, conf, until, word};
use crate::fake_tcollector::{Clock, FakeTcollector, Record, Site};

/// A directory with a config file, and a link to the collector in `collectors/0`.
struct CollectorDir {
    temp: TempDir,
    conf: PathBuf,
}

impl CollectorDir {
    fn new() -> CollectorDir {
        let temp = TempDir::new().unwrap();
        let conf = conf(&temp, &format!("none {}\n", word("unused")));
        std::fs::create_dir_all(temp.join("collectors/0")).unwrap();
        CollectorDir { temp, conf }
    }

    fn place(&self) -> PathBuf {
        self.temp.join("collectors/0/psstat")
    }

    fn with_link(self) -> CollectorDir {
        std::os::unix::fs::symlink(PROGRAM, self.place()).unwrap();
        self
    }

    /// A script in its place that sets options and executes the collector.
    fn with_script(self, options: &str) -> CollectorDir {
        let script = format!("#!/bin/sh\n{options} exec {PROGRAM}\n");
        // Not written in place: it may be running.
        let new = self.temp.join("new");
        std::fs::write(&new, script).unwrap();
        std::fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::rename(new, self.place()).unwrap();
        self
    }

    fn site(&self, conf: &Path) -> Site {
        Site {
            collectors: self.temp.join("collectors"),
            environment: vec![
                ("PSSTAT_CONF", conf.display().to_string()),
                ("PSSTAT_INTERVAL", "1".to_owned()),
            ],
            clock: Clock::SHORT,
            tags: "host=a",
            stores: Vec::new(),
        }
    }

    fn start(&self) -> FakeTcollector {
        self.site(&self.conf).start()
    }
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn has_lines(record: &Record) -> bool {
    !record.lines.is_empty()
}

#[test]
fn wrapper_script_sets_options_by_environment() {
    let dir = CollectorDir::new().with_script("PSSTAT_TAG=dc=ams3");
    let tcollector = dir.start();
    let record = tcollector.wait("a line", has_lines);
    assert!(record.lines.iter().all(|line| line.ends_with(" dc=ams3")), "{record:#?}");
    // The script's process becomes the collector: signals to the group reach it.
    let (status, record) = tcollector.shut_down();
    assert_eq!(status.code(), Some(0));
    assert_eq!(record.starts.len(), 1);
}

/// It prints points with and without a config file, so tcollector does not kill it.
#[test]
fn collector_is_never_silent() {
    let dir = CollectorDir::new().with_link();
    let without = CollectorDir::new().with_link();
    let silence = Duration::from_secs(12);
    let tcollectors =
        [dir.site(&dir.conf), without.site(&without.temp.join("missing"))].map(|mut site| {
            site.clock.silence = silence;
            site.start()
        });
    for tcollector in &tcollectors {
        // Longer than the limit of silence.
        let record = tcollector.wait("a line after the time for silence", |record| {
            record
                .starts
                .first()
                .is_some_and(|first| first.0.elapsed() > silence + Duration::from_secs(2))
                && record.lines.last().is_some_and(|line| line.contains("collector"))
        });
        assert_eq!((record.silences, record.starts.len()), (0, 1), "{:#?}", record.log);
        assert!(tcollector.cycles().len() > 5);
    }
}

/// A stopped collector is killed and replaced by a new one.
#[test]
fn restarted_after_silence_kill() {
    let dir = CollectorDir::new().with_link();
    let mut site = dir.site(&dir.conf);
    site.clock.silence = Duration::from_secs(8);
    site.clock.mercy = Duration::from_secs(1);
    let tcollector = site.start();
    let before = tcollector.wait("a line", has_lines);
    let still = before.starts.last().unwrap().1;
    // A stopped process handles SIGTERM only after SIGCONT, so it gets SIGKILL.
    signal(still, Signal::STOP);
    let record = tcollector
        .wait("another", |record| record.starts.last().is_some_and(|last| last.1 != still));
    assert!(record.silences > before.silences, "{:#?}", record.log);
    assert!(record.ends.is_empty(), "it ended by itself: {:?}", record.ends);
    let lines = record.lines.len();
    tcollector.wait("its lines", |record| record.lines.len() > lines);
}

/// tcollector soon restarts a collector that exited with 0, and any other much later.
#[test]
fn restarted_after_sigterm() {
    let dir = CollectorDir::new().with_link();
    let tcollector = dir.start();
    for count in 1..=2 {
        let lines = tcollector.record().lines.len();
        let record = tcollector.wait("lines", |record| record.lines.len() > lines);
        signal(record.starts.last().unwrap().1, [Signal::TERM, Signal::INT][count - 1]);
        let record = tcollector.wait("the next one", |record| record.starts.len() > count);
        assert_eq!(record.ends.last().unwrap().code(), Some(0));
    }
}

#[test]
fn invalid_options_delay_the_restart() {
    let dir = CollectorDir::new().with_script("PSSTAT_INTERVAL=0");
    let tcollector = dir.start();
    let record = tcollector.wait("its end", |record| !record.ends.is_empty());
    assert_eq!(record.ends[0].code(), Some(2));
    // Not PSSTAT_INTERVAL=0: the environment of tcollector sets 1.
    let dir = dir.with_script("");
    let record = tcollector.wait("lines", has_lines);
    assert!(record.starts[1].0 - record.starts[0].0 >= Clock::SHORT.dead);
    assert!(record.log.iter().any(|line| line.contains("--interval")), "{:#?}", record.log);
    drop(dir);
}

/// Nothing but UTF-8 is printed, for any bytes in the config file.
#[test]
fn non_utf8_input_is_survived() {
    let dir = CollectorDir::new().with_link();
    let mut bytes = format!("good {}\n", word("unused")).into_bytes();
    bytes.extend_from_slice(b"caf\xe9 \xff\xfe\nother [\xe9\nthird a\xffb\n");
    std::fs::write(&dir.conf, bytes).unwrap();
    let tcollector = dir.start();
    let record = tcollector.wait("lines of the good image", |record| {
        record.lines.iter().any(|line| line.contains("image=good"))
    });
    assert_eq!(record.lost, 0);
    assert!(!tcollector.cycles().is_empty());
    // The diagnostic is in the log.
    tcollector.wait("a log line", |record| {
        record.log.iter().any(|line| line.contains("psstat.conf:2:") && line.contains("error"))
    });
}

/// For the collector, this is a closed pipe.
#[test]
fn collector_exits_with_tcollector() {
    let dir = CollectorDir::new().with_link();
    let tcollector = dir.start();
    tcollector.wait("a line", has_lines);
    let mut child = tcollector.die();
    let mut status = None;
    until("its end", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(0));
}

/// SIGTERM is enough, long before SIGKILL.
#[test]
fn shuts_down_before_sigkill() {
    let dir = CollectorDir::new().with_link();
    let tcollector = dir.start();
    tcollector.wait("a line", has_lines);
    let (status, record) = tcollector.shut_down();
    // A killed process has no status.
    assert_eq!(status.code(), Some(0), "{record:#?}");
}
