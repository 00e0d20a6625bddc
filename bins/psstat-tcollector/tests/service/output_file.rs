//! `--output`: a file that contains the last cycle.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use psstat_testproc::TempDir;
use psstat_testproc::formats::openmetrics;
use rustix::process::Signal;

use super::common::{Setup, conf, testproc, until, word};

fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// At any time, a reader finds a whole exposition, until the collector ends.
#[test]
fn output_file_is_always_whole_and_removed_at_the_end() {
    for signal in [Signal::TERM, Signal::INT] {
        let word = word("output");
        let _testproc = testproc(&word);
        let temp = TempDir::new().unwrap();
        let directory = TempDir::new().unwrap();
        let path = directory.join("psstat.prom");
        let setup = Setup::with(&conf(&temp, &format!("output {word}\n")));
        let mut collector = setup.arg("--output").arg(&path).other_format("prometheus").spawn();
        until("a file", || path.exists());
        let mut versions = Vec::new();
        until("three cycles", || {
            let text = fs::read(&path).unwrap();
            let points = openmetrics::parse_prometheus(&text).unwrap();
            let procs = points.iter().find(|point| point.metric == "proc_stat_ps_procs").unwrap();
            assert_eq!((procs.number(), procs.tag("image")), (1.0, Some("output")));
            if versions.last() != Some(&text) {
                versions.push(text);
            }
            versions.len() >= 3
        });
        let sent = Instant::now();
        collector.signal(signal);
        assert_eq!(collector.end(), Some(0));
        // Far less than the tcollector's five seconds before SIGKILL.
        assert!(sent.elapsed() < Duration::from_secs(4));
        assert_eq!(names(directory.path()), [""; 0]);
        assert_eq!(collector.printed(), [""; 0]);
    }
}

#[test]
fn output_file_stays_after_the_last_cycle() {
    let temp = TempDir::new().unwrap();
    let directory = TempDir::new().unwrap();
    let path = directory.join("points");
    let setup = Setup::with(&conf(&temp, "none ^none$\n"));
    let mut collector = setup.arg("--once").arg("--output").arg(&path).spawn();
    assert_eq!(collector.end(), Some(0));
    assert_eq!(names(directory.path()), ["points"]);
    assert!(fs::read_to_string(&path).unwrap().contains("proc.stat.ps.procs "));
}

/// The directory is missing for a while: one message, and the next cycle that can be written is.
#[test]
fn unwritable_output_file_is_logged_once() {
    let temp = TempDir::new().unwrap();
    let outer = TempDir::new().unwrap();
    let directory = outer.join("directory");
    let path = directory.join("psstat.prom");
    let setup = Setup::with(&conf(&temp, "none ^none$\n")).args(&["--debug"]);
    let mut collector = setup.arg("--output").arg(&path).other_format("prometheus").spawn();
    collector.wait_for_log(3, "debug: cycle ");
    let logged = collector.logged("cannot write to");
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].contains(path.to_str().unwrap()), "{logged:?}");
    fs::create_dir(&directory).unwrap();
    until("a file", || path.exists());
    collector.signal(Signal::TERM);
    assert_eq!(collector.end(), Some(0));
    assert_eq!(names(&directory), [""; 0]);
}
