//! Many processes that come and go, with rules that change: nothing panics,
//! falls, counts twice or stays open. The only test of its binary: descriptors are the
//! process's.

mod common;

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{A, B, Watch, options, word};
use psstat_testproc::oracle;
use rustix::process::WaitOptions;

use psstat_sampler::{ImageId, IoCounters, Options, Sample};

fn shell(word: &str, script: &str) -> Child {
    Command::new("/bin/sh")
        .args(["-c", script, word])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn covers(now: IoCounters, before: IoCounters) -> bool {
    let fell = now.saturating_sub(before);
    let counters = [fell.rchar, fell.wchar, fell.syscr, fell.syscw, fell.read_bytes];
    counters.into_iter().chain([fell.write_bytes]).all(|grown| grown >= 0)
}

/// What the processes of all images have written.
fn written(sample: &Sample) -> u64 {
    let images = [A, B, ImageId(2)].into_iter();
    images.map(|image| sample.image(image).io.unwrap_or_default().wchar.cast_unsigned()).sum()
}

/// What each of the scripts has its processes write.
const WRITTEN: [u64; 3] = [600_000, 11_000, 12_000];

#[test]
fn a_storm() {
    const BUDGET: usize = 30;
    // Orphans come here, since not every machine's init reaps them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let words = [word("storm-a"), word("storm-b"), word("storm-c")];
    let options =
        Options { window: Duration::from_millis(15), max_open_fds: Some(BUDGET), ..options() };
    let before_all = descriptors();
    let mut watch = Watch::with(options, &[&words[0], &words[1], &words[2]]);
    watch.cycle();
    let idle = descriptors();
    // Copies of the shell, of which some are waited for, some end as orphans,
    // and children that are strangers.
    let scripts = [
        "for i in 1 2 3; do (head -c 100000 /dev/zero | cat >/dev/null; read x </dev/null); done",
        "(exec head -c 10000 /dev/zero) & (sleep 0.05; head -c 1000 /dev/zero) & sleep 0.02",
        "trap '' CHLD; (head -c 5000 /dev/zero; :) & (head -c 7000 /dev/zero; :) & sleep 0.04",
    ];
    let mut children: Vec<Child> = Vec::new();
    let mut last: [Option<IoCounters>; 3] = [None; 3];
    let mut most = 0;
    let mut most_written = 0;
    for round in 0..60 {
        most_written += WRITTEN.iter().sum::<u64>();
        children.extend((0..3).map(|n| shell(&words[(round + n) % 3], scripts[n])));
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
        most = most.max(sample.health.fds_held);
        assert!(sample.health.fds_held <= BUDGET as u64, "{:?}", sample.health);
        assert!(descriptors() <= idle + BUDGET, "{} open, {idle} when idle", descriptors());
        assert!(written(&sample) <= most_written, "{} of {most_written}", written(&sample));
        for (image, last) in [A, B, ImageId(2)].into_iter().zip(&mut last) {
            let now = sample.image(image).io;
            if let (Some(now), Some(before)) = (now, *last) {
                assert!(covers(now, before), "{image:?} fell from {before:?} to {now:?}");
            }
            assert!(sample.image(image).pcpu.is_none_or(|pcpu| pcpu >= 0.0));
            *last = now.or(*last);
        }
    }
    assert!(most > 0);
    for mut child in children {
        child.wait().unwrap();
    }
    while rustix::process::wait(WaitOptions::empty()).is_ok() {}
    let sample = watch.cycles(12);
    let health = sample.health;
    assert_eq!((health.matched, health.fds_held), (0, 0), "{health:?}");
    assert!(descriptors() <= idle, "{} open, {idle} before", descriptors());
    assert!(written(&sample) <= most_written, "{} of {most_written}", written(&sample));

    // Of those that are seen before they begin and after they have ended not a
    // byte is missing, however their children come and go.
    let before = written(&sample);
    let script = format!("read go; {}; read end", scripts[0]);
    let mut told: Vec<Child> = (0..9)
        .map(|n| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &script, &words[n % 3]]);
            command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    assert_eq!(watch.cycles(2).health.matched, 9);
    for child in &mut told {
        child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }
    watch.cycles(5);
    told.iter_mut().for_each(|child| drop(child.stdin.take()));
    let begun = Instant::now();
    while told.iter().any(|child| oracle::state(child.id()).unwrap() != 'Z') {
        assert!(begun.elapsed() < Duration::from_secs(60));
        watch.cycle();
    }
    watch.cycle();
    told.iter_mut().for_each(|child| assert!(child.wait().is_ok()));
    assert_eq!(written(&watch.cycles(3)) - before, 9 * WRITTEN[0]);
    drop(watch);
    assert!(descriptors() <= before_all);
}
