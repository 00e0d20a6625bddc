use std::io::ErrorKind;
use std::time::Duration;

use psstat_testproc::{Config, TestProcess};

use super::*;
use crate::options::Options;

const A: ImageId = ImageId(0);

/// A pid was another's when `stat` was read, and that one was taken for the
/// process that was listed. It counted once as that, and once more as itself.
#[test]
fn reused_pid_is_not_read_as_listed() {
    let word = format!("listed-{}.", std::process::id());
    let mut parent = TestProcess::spawn(&Config::new("listed-parent")).unwrap();
    let window = Duration::from_millis(1);
    let patience = Duration::from_secs(10);
    let options = Options { window, cmdline_timeout: patience, ..Options::default() };
    let mut sampler = Sampler::new(options).unwrap();
    let mut classify = |candidate: &Candidate<'_>, images: &mut Vec<ImageId>| {
        if candidate.command_line.starts_with(word.as_bytes()) {
            images.push(A);
        }
    };
    sampler.open(&mut classify);
    sampler.close();
    let mut first = parent.fork_child(&Config::new(&word)).unwrap();
    let pid = first.pid();
    sampler.cycle += 1;
    sampler.list_processes().unwrap();
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
    sampler.read_new_processes();
    assert_eq!(sampler.census.find(pid).unwrap().starttime, 0);
    sampler.read_due_cmdlines(Urgency::Urgent, &mut classify);
    sampler.rebuild_process_tree();
    sampler.read_first_io();
    sampler.finish_window();
    for _ in 0..3 {
        sampler.open(&mut classify);
        let image = sampler.close().image(A);
        assert_eq!(image.procs, 1);
        let wchar = image.io.unwrap().wchar.cast_unsigned();
        assert_eq!(wchar, second.expected_io().unwrap().wchar);
    }
}
