//! The counters of page faults of live processes.

use crate::common::{A, Options, Watch, every_mode, options, quiesce, testproc, word};
use psstat_sampler::{FaultCounts, IoStart, MetricGroups};
use psstat_testproc::{Config, TestProcess};

fn with_faults(options: Options) -> Options {
    Options { metrics: MetricGroups { faults: true, ..MetricGroups::default() }, ..options }
}

/// `minflt`, `cminflt`, `majflt` and `cmajflt` of `stat`.
fn stat_faults(testproc: &TestProcess) -> [u64; 4] {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", testproc.pid())).unwrap();
    let (_, fields) = text.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    [7, 8, 9, 10].map(|at: usize| fields[at].parse().unwrap())
}

/// Those of processes and of the children that these reaped.
fn faults(testprocs: &[&TestProcess]) -> (u64, u64) {
    quiesce(testprocs);
    let all = testprocs.iter().map(|testproc| stat_faults(testproc));
    all.fold((0, 0), |(minor, major), [minflt, cminflt, majflt, cmajflt]| {
        (minor + minflt + cminflt, major + majflt + cmajflt)
    })
}

fn counted(watch: &mut Watch) -> (u64, u64) {
    let FaultCounts { minor, major, .. } = watch.cycle().image(A).faults.unwrap();
    (minor, major)
}

#[test]
fn reaped_child_counts_once() {
    for options in every_mode() {
        let word = word("faults");
        let mut watch = Watch::with(with_faults(options), &[&word]);
        let mut parent = testproc(&word);
        let mut child = parent.fork_child(&Config::new(&word)).unwrap();
        let before = faults(&[&parent, &child]);
        assert_eq!(counted(&mut watch), before);
        child.mmap_touch(8 << 20).unwrap();
        let touched = faults(&[&parent, &child]);
        // A fault per page, or per huge page.
        assert!(touched.0 >= before.0 + 4, "{before:?} {touched:?}");
        assert_eq!(counted(&mut watch), touched);
        child.exit(0).unwrap();
        parent.wait(child).unwrap();
        let (minor, major) = faults(&[&parent]);
        // Exiting costs some, which only the parent shows.
        assert!(minor >= touched.0 && major >= touched.1);
        for _ in 0..2 {
            assert_eq!(counted(&mut watch), (minor, major));
        }
    }
}

#[test]
fn counters_begin_at_zero() {
    let word = word("faults-zero");
    let options = with_faults(Options { io_start: IoStart::FirstCycle, ..options() });
    let mut testproc = testproc(&word);
    testproc.mmap_touch(8 << 20).unwrap();
    let before = faults(&[&testproc]);
    let mut watch = Watch::with(options, &[&word]);
    assert_eq!(counted(&mut watch), (0, 0));
    testproc.mmap_touch(8 << 20).unwrap();
    let now = faults(&[&testproc]);
    assert_eq!(counted(&mut watch), (now.0 - before.0, now.1 - before.1));
}

#[test]
fn no_faults_without_the_group() {
    let word = word("no-faults");
    let _testproc = testproc(&word);
    assert_eq!(Watch::new(&[&word]).cycle().image(A).faults, None);
}
