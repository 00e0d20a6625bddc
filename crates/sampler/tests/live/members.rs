//! Starts, exits and ages of processes, and the distance to their limit of descriptors.

use std::time::{Duration, Instant};

use crate::common::{
    A, B, C, ImageId, Options, Sample, Sampler, Watch, cycle, every_mode, has_word, options,
    short_window, testproc, word,
};
use psstat_sampler::IoStart;
use psstat_sampler::intervals::LIMITS_INTERVAL;
use psstat_testproc::{Config, TestProcess};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// Starts and exits of an image.
fn changes(sample: &Sample, image: ImageId) -> (u64, u64) {
    let image = sample.image(image);
    (image.starts, image.exits)
}

/// Runs cycles, in each of which the difference of both counters is that of the processes.
struct Checked {
    watch: Watch,
    before: Option<Sample>,
}

impl Checked {
    fn new(words: &[&String], io_start: IoStart) -> Checked {
        let watch = Watch::with(Options { io_start, ..options() }, words);
        Checked { watch, before: None }
    }

    fn cycle(&mut self) -> Sample {
        self.cycle_with(|| ())
    }

    fn cycle_with(&mut self, in_window: impl FnOnce()) -> Sample {
        let due = self.watch.open();
        in_window();
        let sample = self.watch.close(due);
        if let Some(before) = &self.before {
            for image in [A, B] {
                let [before, now] = [before, &sample].map(|sample| sample.image(image));
                assert_eq!(
                    now.processes + now.exits - before.exits,
                    before.processes + now.starts - before.starts,
                    "{before:?} {now:?}"
                );
            }
        }
        self.before = Some(sample.clone());
        sample
    }

    fn cycles(&mut self, number: usize) -> Sample {
        (1..number).for_each(|_| drop(self.cycle()));
        self.cycle()
    }
}

#[test]
fn starts_and_exits_are_counted_once() {
    for io_start in [IoStart::FirstCycle, IoStart::ProcessStart] {
        let (a, b) = (word("starts-a"), word("starts-b"));
        let [mut first, second] = [&a, &a].map(|word| testproc(word));
        let mut watch = Checked::new(&[&a, &b], io_start);
        let sample = watch.cycle();
        assert_eq!((sample.image(A).processes, changes(&sample, A)), (2, (0, 0)));
        assert_eq!(changes(&watch.cycles(3), A), (0, 0));

        let mut new: Vec<TestProcess> = (0..3).map(|_| testproc(&a)).collect();
        let mut other = testproc(&b);
        let sample = watch.cycle();
        assert_eq!([A, B].map(|image| changes(&sample, image)), [(3, 0), (1, 0)]);
        assert_eq!(changes(&watch.cycles(3), A), (3, 0));

        // Once as a zombie, and not again when it is reaped.
        first.exit(0).unwrap();
        assert_eq!(changes(&watch.cycles(3), A), (3, 1));
        first.reap().unwrap();
        assert_eq!(changes(&watch.cycles(2), A), (3, 1));
        drop(second);
        assert_eq!(changes(&watch.cycle(), A), (3, 2));

        // To another image by exec, and back.
        let moved = &mut new[0];
        moved.exec(&Config::new(&b)).unwrap();
        let sample = watch.cycles(10);
        assert_eq!([A, B].map(|image| changes(&sample, image)), [(3, 3), (2, 0)]);
        moved.exec(&Config::new(&a)).unwrap();
        let sample = watch.cycles(10);
        assert_eq!([A, B].map(|image| changes(&sample, image)), [(4, 3), (2, 1)]);

        // Found at the start of a window, and exited before its end.
        let short = testproc(&b);
        let sample = watch.cycle_with(|| drop(short));
        assert_eq!((sample.image(B).processes, changes(&sample, B)), (1, (3, 2)));
        other.exit(0).unwrap();
        // Lives between two cycles.
        drop(testproc(&b));
        let sample = watch.cycle();
        assert_eq!((sample.image(B).processes, changes(&sample, B)), (0, (3, 3)));
        drop(new);
        let sample = watch.cycles(2);
        assert_eq!((sample.image(A).processes, changes(&sample, A)), (0, (4, 6)));
    }
}

/// The exit of a main thread does not count.
#[test]
fn exit_of_the_leader_does_not_count() {
    let a = word("leader-exit");
    let mut watch = Checked::new(&[&a, &a], IoStart::FirstCycle);
    watch.cycle();
    let mut one = testproc(&a);
    assert_eq!(changes(&watch.cycle(), A), (1, 0));
    one.leader_exit().unwrap();
    assert_eq!(changes(&watch.cycles(12), A), (1, 0));
    one.kill().unwrap();
    assert_eq!(changes(&watch.cycles(2), A), (1, 1));
}

/// A change of the rules makes neither starts nor exits.
#[test]
fn change_of_rules_makes_no_start() {
    let (a, b, c) = (word("rules-a"), word("rules-b"), word("rules-c"));
    let testprocs = [&a, &b, &b, &c].map(|word| testproc(word));
    let mut sampler = Sampler::new(Options { io_start: IoStart::FirstCycle, ..options() }).unwrap();
    // The words of each image.
    let mut run = |images: &[&[&String]], cycles: usize, is_reload: bool| {
        if is_reload {
            sampler.reclassify_all(images.len());
        }
        let mut sample = Sample::default();
        for _ in 0..cycles {
            sample = cycle(&mut sampler, &mut |process, found| {
                for (number, words) in (0..).zip(images) {
                    if words.iter().any(|word| has_word(process, word)) {
                        found.push(ImageId(number));
                    }
                }
            })
            .clone();
        }
        [A, B, C].map(|image| (sample.image(image).processes, changes(&sample, image)))
    };
    assert_eq!(run(&[&[&a]], 3, true)[0], (1, (0, 0)));
    // Another image.
    assert_eq!(run(&[&[&a], &[&b]], 3, true)[..2], [(1, (0, 0)), (2, (0, 0))]);
    let mut new = testproc(&b);
    assert_eq!(run(&[&[&a], &[&b]], 1, false)[1], (3, (1, 0)));
    // Other rules of an image.
    assert_eq!(run(&[&[&a, &c], &[&b]], 3, true)[..2], [(2, (0, 0)), (3, (1, 0))]);
    assert_eq!(run(&[&[&a], &[], &[&b]], 3, true), [(1, (0, 0)), (0, (1, 0)), (3, (0, 0))]);
    new.exit(0).unwrap();
    assert_eq!(run(&[&[&a], &[], &[&b]], 2, false), [(1, (0, 0)), (0, (1, 0)), (2, (0, 1))]);
    // Back again, with the counters of before, and a process that starts meanwhile.
    let another = testproc(&b);
    assert_eq!(run(&[&[&a], &[&b]], 2, true)[..2], [(1, (0, 0)), (3, (2, 0))]);
    drop((testprocs, another));
    assert_eq!(run(&[&[&a], &[&b]], 1, false), [(0, (0, 1)), (0, (2, 3)), (0, (0, 1))]);
}

/// The ages are those by the clock of the test.
#[test]
fn ages_of_the_oldest_and_the_youngest() {
    /// Start times are in ticks.
    const TICK: Duration = Duration::from_millis(10);
    struct Timed {
        before: Instant,
        process: TestProcess,
        after: Instant,
    }
    let word = word("age");
    let start = || {
        let before = Instant::now();
        let process = testproc(&word);
        Timed { before, process, after: Instant::now() }
    };
    let mut watch = Watch::new(&[&word]);
    let none = watch.cycle().image(A);
    assert_eq!((none.oldest, none.youngest), (Some(Duration::ZERO), Some(Duration::ZERO)));
    let mut check = |oldest: &Timed, youngest: &Timed| {
        let due = watch.open();
        let before = Instant::now();
        let image = watch.close(due).image(A);
        let after = Instant::now();
        for (age, timed) in [(image.oldest, oldest), (image.youngest, youngest)] {
            let age = age.unwrap();
            let range = before - timed.after..=after - timed.before + TICK;
            assert!(range.contains(&age), "{age:?} {range:?}");
        }
    };
    let first = start();
    check(&first, &first);
    std::thread::sleep(Duration::from_millis(300));
    let mut second = start();
    check(&first, &second);
    std::thread::sleep(Duration::from_millis(300));
    let third = start();
    check(&first, &third);
    // An exec does not change the start time.
    second.process.exec(&Config::new(&word).arg("again")).unwrap();
    drop(third);
    check(&first, &second);
    drop(first);
    check(&second, &second);
}

/// Sets the soft limit of descriptors of a process.
fn limit(process: &TestProcess, soft: u64) {
    let pid = Pid::from_raw(process.pid().cast_signed());
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(soft), maximum }).unwrap();
}

#[test]
fn descriptors_of_the_process_nearest_to_its_limit() {
    const INTERVAL: usize = LIMITS_INTERVAL as usize;
    for options in every_mode() {
        let word = word("limit");
        let [mut one, mut two] = [&word, &word].map(|word| testproc(word));
        assert_eq!((one.open_files(22).unwrap(), two.open_files(397).unwrap()), (25, 400));
        limit(&one, 100);
        limit(&two, 2_000);
        let mut watch = Watch::with(Options { window: short_window().window, ..options }, &[&word]);
        let ratio = |sample: Sample| sample.image(A).fd_percent.unwrap();
        assert_eq!(ratio(watch.cycle()), 25.0);
        let of_process = |watch: &Watch, process: &TestProcess| {
            let mut all = watch.sampler.processes();
            all.find(|sample| sample.pid == process.pid()).unwrap().usage.fd_percent
        };
        assert_eq!((of_process(&watch, &one), of_process(&watch, &two)), (Some(25.0), Some(20.0)));
        // Another number of descriptors shows at once.
        two.open_files(200).unwrap();
        assert_eq!(ratio(watch.cycle()), 30.0);
        // A new limit within some cycles of a new process, later within the interval.
        limit(&one, 50);
        assert_eq!(ratio(watch.cycles(3)), 50.0);
        watch.cycles(INTERVAL);
        limit(&one, 20);
        assert_eq!(ratio(watch.cycles(INTERVAL)), 125.0);
        drop(one);
        assert_eq!(ratio(watch.cycle()), 30.0);
        drop(two);
        assert_eq!(ratio(watch.cycle()), 0.0);
    }
}
