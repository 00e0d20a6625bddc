//! The driver over the real kernel, stopped between two of its steps.

use std::io::ErrorKind;
use std::time::Duration;

use psstat_testproc::{Config, TestProcess};

use crate::classifier::{Candidate, Urgency};
use crate::driver::Driver;
use crate::image::ImageId;
use crate::live::LiveSource;
use crate::options::Options;

const A: ImageId = ImageId(0);

/// A pid belonged to another process when `stat` was read, and that one was taken for the
/// listed process. It counted once as that, and once more as itself.
#[test]
fn reused_pid_is_not_read_as_listed() {
    let word = format!("listed-{}.", std::process::id());
    let mut parent = TestProcess::spawn(&Config::new("listed-parent")).unwrap();
    let window = Duration::from_millis(1);
    let timeout = Duration::from_secs(10);
    let options = Options { cmdline_timeout: timeout, ..Options::default() };
    let mut source = LiveSource::open(&options, usize::MAX).unwrap();
    let mut driver = Driver::new(&source);
    let mut classify = |candidate: &Candidate<'_>, images: &mut Vec<ImageId>| {
        if candidate.command_line.starts_with(word.as_bytes()) {
            images.push(A);
        }
    };
    driver.open(&mut source, window, &mut classify);
    driver.close(&mut source);
    let mut first = parent.fork_child(&Config::new(&word)).unwrap();
    let pid = first.pid();
    driver.cycle += 1;
    assert!(driver.processes.list(&mut source, driver.cycle));
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
    driver.processes.read_new(&mut source, driver.cycle);
    assert_eq!(driver.processes.find(pid).unwrap().next_read, u32::MAX);
    driver.read_due_cmdlines(&mut source, Urgency::Urgent, &mut classify);
    driver.rebuild_tree(&mut source);
    driver.io.read_first(&mut source, &mut driver.tracked, driver.cycle);
    driver.release_exited();
    driver.finish(&mut source);
    for _ in 0..3 {
        driver.open(&mut source, window, &mut classify);
        let image = driver.close(&mut source).image(A);
        assert_eq!(image.processes, 1);
        let wchar = image.io.unwrap().wchar.cast_unsigned();
        assert_eq!(wchar, second.expected_io().unwrap().wchar);
    }
}
