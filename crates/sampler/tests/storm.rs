//! Many processes start and exit while the rules change: no panic, no decrease, nothing counted
//! twice, no descriptor left open. The only test of its binary, since the descriptors are those
//! of the process.

mod common;

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{A, B, C, Options, Sample, Watch, options, word};
use psstat_testproc::{oracle, wait_until};
use rustix::process::WaitOptions;

use psstat_sampler::IoCounters;

fn shell(word: &str, script: &str, stdin: Stdio) -> Child {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, word]).stdin(stdin).stdout(Stdio::null()).spawn().unwrap()
}

fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn has_decreased(now: IoCounters, before: IoCounters) -> bool {
    let IoCounters { rchar, wchar, syscr, syscw, read_bytes, write_bytes, .. } =
        now.saturating_sub(before);
    [rchar, wchar, syscr, syscw, read_bytes, write_bytes].iter().any(|&growth| growth < 0)
}

/// The bytes written by the processes of all images.
fn written(sample: &Sample) -> u64 {
    let wchar = [A, B, C].map(|image| sample.image(image).io.unwrap_or_default().wchar);
    wchar.iter().map(|wchar| wchar.cast_unsigned()).sum()
}

/// The bytes that the processes of each script write.
const WRITTEN: [u64; 3] = [600_000, 11_000, 12_000];

#[test]
fn counters_and_fds_in_a_fork_storm() {
    const BUDGET: usize = 30;
    // This process adopts the orphans, since not every init reaps them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let words = [word("storm-a"), word("storm-b"), word("storm-c")];
    let options =
        Options { window: Duration::from_millis(15), max_open_fds: Some(BUDGET), ..options() };
    let fds_at_start = open_fds();
    let mut watch = Watch::with(options, &[&words[0], &words[1], &words[2]]);
    watch.cycle();
    let idle_fds = open_fds();
    // Forks of the shell, some of them reaped and some orphaned, and unmatched children.
    let scripts = [
        "for i in 1 2 3; do (head -c 100000 /dev/zero | cat >/dev/null; read x </dev/null); done",
        "(exec head -c 10000 /dev/zero) & (sleep 0.05; head -c 1000 /dev/zero) & sleep 0.02",
        "trap '' CHLD; (head -c 5000 /dev/zero; :) & (head -c 7000 /dev/zero; :) & sleep 0.04",
    ];
    let mut children: Vec<Child> = Vec::new();
    let mut last: [Option<IoCounters>; 3] = [None; 3];
    let mut most_held = 0;
    let mut max_written = 0;
    for round in 0..60 {
        max_written += WRITTEN.iter().sum::<u64>();
        let start = |n: usize| shell(&words[(round + n) % 3], scripts[n], Stdio::null());
        children.extend((0..3).map(start));
        if round % 7 == 3 {
            watch.sampler.reclassify_all(3);
        }
        let due = watch.open();
        if round % 3 == 0 {
            for mut child in children.drain(..children.len() / 2) {
                child.wait().unwrap();
            }
        }
        let sample = watch.close(due);
        most_held = most_held.max(sample.health.fds_held);
        assert!(sample.health.fds_held <= BUDGET as u64, "{:?}", sample.health);
        assert!(open_fds() <= idle_fds + BUDGET, "{} open, {idle_fds} when idle", open_fds());
        assert!(written(&sample) <= max_written, "{} of {max_written}", written(&sample));
        for (image, last) in [A, B, C].into_iter().zip(&mut last) {
            let now = sample.image(image).io;
            if let (Some(now), Some(before)) = (now, *last) {
                assert!(!has_decreased(now, before), "{image:?} from {before:?} to {now:?}");
            }
            assert!(sample.image(image).cpu_percent.is_none_or(|pcpu| pcpu >= 0.0));
            *last = now.or(*last);
        }
    }
    assert!(most_held > 0);
    for mut child in children {
        child.wait().unwrap();
    }
    while rustix::process::wait(WaitOptions::empty()).is_ok() {}
    let sample = watch.cycles(12);
    let health = sample.health;
    assert_eq!((health.matched, health.fds_held), (0, 0), "{health:?}");
    assert!(open_fds() <= idle_fds, "{} open, {idle_fds} when idle", open_fds());
    assert!(written(&sample) <= max_written, "{} of {max_written}", written(&sample));

    // The sum is exact for processes that are read before their first write and after their
    // exit, whenever their children start and exit.
    let before = written(&sample);
    let script = format!("read go; {}; read end", scripts[0]);
    let mut shells: Vec<Child> =
        (0..9).map(|n| shell(&words[n % 3], &script, Stdio::piped())).collect();
    assert_eq!(watch.cycles(2).health.matched, 9);
    for shell in &mut shells {
        shell.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }
    watch.cycles(5);
    shells.iter_mut().for_each(|shell| drop(shell.stdin.take()));
    wait_until("exit of the shells", || {
        watch.cycle();
        shells.iter().all(|shell| oracle::state(shell.id()).unwrap() == 'Z')
    });
    watch.cycle();
    shells.iter_mut().for_each(|shell| assert!(shell.wait().is_ok()));
    assert_eq!(written(&watch.cycles(3)) - before, 9 * WRITTEN[0]);
    drop(watch);
    assert!(open_fds() <= fds_at_start);
}
