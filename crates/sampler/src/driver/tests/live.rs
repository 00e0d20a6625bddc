//! The driver over the real kernel, stopped between two of its steps.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use psstat_testproc::{Config, TestProcess};

use crate::classifier::{Candidate, Urgency};
use crate::driver::Driver;
use crate::executor::run_here;
use crate::image::ImageIndex;
use crate::live::LiveSource;
use crate::options::{FastPaths, IoStart};
use crate::read::procfs::Procfs;
use crate::read::stuck_readers::Limits;

const A: ImageIndex = ImageIndex(0);

/// A pid belonged to another process when `stat` was read, and that one was taken for the
/// listed process. It counted once as that, and once more as itself.
#[test]
fn reused_pid_is_not_read_as_listed() {
    let word = format!("listed-{}.", std::process::id());
    let mut parent = TestProcess::spawn(&Config::new("listed-parent")).unwrap();
    let window = Duration::from_millis(1);
    let procfs = Arc::new(Procfs::open(Path::new("/proc"), FastPaths::ALL).unwrap());
    let mut source = LiveSource::new(Arc::clone(&procfs), Limits::DEFAULT, usize::MAX);
    let mut driver = Driver::new(&source, IoStart::ProcessStart);
    let mut classify = |candidate: &Candidate<'_>, images: &mut Vec<ImageIndex>| {
        if candidate.command_line.starts_with(word.as_bytes()) {
            images.push(A);
        }
    };
    // Runs a step of the driver.
    macro_rules! run {
        ($step:expr) => {
            run_here(&procfs, &mut classify, $step)
        };
    }
    run!(driver.open(&mut source, window));
    run!(driver.close(&mut source));
    let mut first = parent.fork_child(&Config::new(&word)).unwrap();
    let pid = first.pid();
    driver.cycle += 1;
    assert!(driver.processes.list(&mut source, driver.cycle).is_some());
    first.exit(0).unwrap();
    parent.wait(first).unwrap();
    let mut second = match parent.fork_child_as(pid, &Config::new(&word)) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return println!("skipped: no right to choose a pid");
        }
        result => result.unwrap(),
    };
    second.write_bytes(1_000_000, 1).unwrap();
    second.quiesce().unwrap();
    run!(driver.processes.read_new(&mut source, driver.cycle));
    assert_eq!(driver.processes.find(pid).unwrap().next_read, u32::MAX);
    run!(driver.read_due_cmdlines(&mut source, Urgency::Urgent));
    driver.rebuild_tree(&mut source);
    run!(driver.io.read_first(&mut source, &mut driver.tracked, driver.cycle));
    driver.release_exited();
    run!(driver.finish(&mut source));
    for _ in 0..3 {
        run!(driver.open(&mut source, window));
        run!(driver.close(&mut source));
        let image = driver.sample().image(A);
        assert_eq!(image.processes, 1);
        let wchar = image.io.unwrap().wchar.cast_unsigned();
        assert_eq!(wchar, second.expected_io().unwrap().wchar);
    }
}
