//! Many processes that come and go, with rules that change: nothing panics,
//! falls or stays open. The only test of its binary: descriptors are the
//! process's.
// The permission for tests does not reach the functions beside them.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{A, B, Watch, options, word};
use rustix::process::WaitOptions;

use psstat_sampler::{Counters, ImageId, Options};

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

fn covers(now: Counters, before: Counters) -> bool {
    let fell = now.minus(before);
    let counters = [fell.rchar, fell.wchar, fell.syscr, fell.syscw, fell.read_bytes];
    counters.into_iter().chain([fell.write_bytes]).all(|grown| grown >= 0)
}

#[test]
fn a_storm() {
    const BUDGET: usize = 30;
    // Orphans come here, since not every machine's init reaps them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let words = [word("storm-a"), word("storm-b"), word("storm-c")];
    let options =
        Options { window: Duration::from_millis(15), descriptors: Some(BUDGET), ..options() };
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
    let mut last: [Option<Counters>; 3] = [None; 3];
    let mut most = 0;
    for round in 0..60 {
        children.extend((0..3).map(|n| shell(&words[(round + n) % 3], scripts[n])));
        if round % 7 == 3 {
            watch.sampler.classify_anew(3);
        }
        let due = watch.open();
        if round % 3 == 0 {
            for mut child in children.drain(..children.len() / 2) {
                child.wait().unwrap();
            }
        }
        let sample = watch.close(due);
        most = most.max(sample.health.kept);
        assert!(sample.health.kept <= BUDGET as u64, "{:?}", sample.health);
        assert!(descriptors() <= idle + BUDGET, "{} open, {idle} when idle", descriptors());
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
    assert_eq!((health.matched, health.kept), (0, 0), "{health:?}");
    assert!(descriptors() <= idle, "{} open, {idle} before", descriptors());
    drop(watch);
    assert!(descriptors() <= before_all);
}
