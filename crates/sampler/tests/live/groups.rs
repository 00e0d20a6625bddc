//! Values that are read only if they are requested, compared with processes of known behavior.

use std::process::{Child, Command, Stdio};

use crate::common::captured_proc::write_process;
use crate::common::{A, B, Options, Watch, every_mode, options, quiesce, testproc, word};
use psstat_sampler::{IoStart, MetricGroups, StateCounts, SwitchCounts, TcpStateCounts};
use psstat_testproc::swap::ZramSwap;
use psstat_testproc::{Config, TempDir, TestProcess, oracle, wait_until};
use rustix::process::{Pid, Signal, kill_process};

fn states() -> MetricGroups {
    MetricGroups { states: true, ..MetricGroups::default() }
}

fn swap() -> MetricGroups {
    MetricGroups { swap: true, ..MetricGroups::default() }
}

/// The numbers in the order running, sleeping, disk, stopped, zombie.
fn numbers(states: Option<StateCounts>) -> [u64; 5] {
    let states = states.unwrap();
    [states.running, states.sleeping, states.disk, states.stopped, states.zombie]
}

/// A shell that never sleeps; killed when dropped.
struct Spinning(Child);

impl Spinning {
    fn start(word: &str) -> Spinning {
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done", word]).stdin(Stdio::null());
        let spinning = Spinning(command.spawn().unwrap());
        let has_word = |line: Vec<u8>| line.ends_with(format!("{word}\0").as_bytes());
        let pid = spinning.0.id();
        wait_until("exec", || oracle::cmdline(pid).is_ok_and(has_word));
        // Then it has loaded its libraries.
        let is_busy = || oracle::cpu_time(pid).unwrap() >= std::time::Duration::from_millis(30);
        wait_until("load", is_busy);
        spinning
    }
}

impl Drop for Spinning {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn send(process: &TestProcess, signal: Signal) {
    kill_process(Pid::from_raw(process.pid().cast_signed()).unwrap(), signal).unwrap();
}

#[test]
fn processes_are_counted_by_state() {
    let (a, b) = (word("state-a"), word("state-b"));
    let [sleeping, stopped, mut waiting] = [&a, &a, &a].map(|word| testproc(word));
    let spinning = Spinning::start(&a);
    send(&stopped, Signal::STOP);
    waiting.vfork().unwrap();
    let mut parent = testproc(&a);
    // Of another image, and of none.
    let mut children =
        [&b, "of-no-image"].map(|word| parent.fork_child(&Config::new(word)).unwrap());
    let mut other = testproc("parent-of-no-image");
    let mut member = other.fork_child(&Config::new(&b)).unwrap();
    quiesce(&[&sleeping, &parent, &other]);
    wait_until("stop", || oracle::state(stopped.pid()).unwrap() == 'T');
    let mut watches: Vec<Watch> = every_mode()
        .into_iter()
        .map(|options| Watch::with(Options { metrics: states(), ..options }, &[&a, &b]))
        .collect();
    let mut check = |a: [u64; 5], b: [u64; 5], what: &str| {
        for watch in &mut watches {
            let sample = watch.cycles(2);
            let found = [A, B].map(|image| numbers(sample.image(image).states));
            assert_eq!(found, [a, b], "{what}");
            for image in [A, B].map(|image| sample.image(image)) {
                let [running, sleeping, disk, stopped, _] = numbers(image.states);
                assert_eq!(running + sleeping + disk + stopped, image.processes, "{what}");
                assert_eq!((image.swap, image.unread.mem), (None, 0));
            }
        }
    };
    // The child of vfork has the command line of its parent, and has stopped.
    check([1, 2, 1, 2, 0], [0, 2, 0, 0, 0], "all live");
    children.each_mut().iter_mut().for_each(|child| child.exit(0).unwrap());
    check([1, 2, 1, 2, 2], [0, 1, 0, 0, 0], "two children have exited");
    member.exit(0).unwrap();
    check([1, 2, 1, 2, 2], [0, 0, 0, 0, 0], "the parent of the third one is in no image");
    let [first, second] = children;
    parent.wait(first).unwrap();
    check([1, 2, 1, 2, 1], [0, 0, 0, 0, 0], "one is reaped");
    drop(second);
    send(&stopped, Signal::CONT);
    stopped.quiesce().unwrap();
    check([1, 3, 1, 1, 1], [0, 0, 0, 0, 0], "continued");
    drop((spinning, waiting, parent));
    check([0, 2, 0, 0, 0], [0, 0, 0, 0, 0], "ended");
}

/// The main thread is `Z` then.
#[test]
fn state_of_a_process_without_leader_is_that_of_a_thread() {
    let word = word("state-leader");
    let mut one = testproc(&word);
    one.leader_exit().unwrap();
    one.quiesce().unwrap();
    for options in every_mode() {
        let mut watch = Watch::with(Options { metrics: states(), ..options }, &[&word]);
        assert_eq!(numbers(watch.cycles(2).image(A).states), [0, 1, 0, 0, 0]);
        send(&one, Signal::STOP);
        wait_until("stop", || oracle::task_state(one.pid(), one.tid()).unwrap() == 'T');
        assert_eq!(numbers(watch.cycle().image(A).states), [0, 0, 0, 1, 0]);
        send(&one, Signal::CONT);
        one.quiesce().unwrap();
    }
}

#[test]
fn swapped_out_memory_is_that_of_smaps() {
    let Some(_swap) = ZramSwap::new(64 << 20) else { return };
    let word = word("swap");
    let [mut one, mut two] = [&word, &word].map(|word| testproc(word));
    one.page_out(24 << 20).unwrap();
    two.page_out(8 << 20).unwrap();
    two.leader_exit().unwrap();
    quiesce(&[&one, &two]);
    let of = |process: &TestProcess| -> u64 {
        let path = format!("/proc/{}/task/{}/smaps", process.pid(), process.tid());
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("Swap:"));
        let kilobytes = |line: &str| line.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
        lines.map(|line| kilobytes(line) << 10).sum()
    };
    for options in every_mode() {
        let mut watch = Watch::with(Options { metrics: swap(), ..options }, &[&word]);
        let before = [of(&one), of(&two)];
        let image = watch.cycles(2).image(A);
        let after = [of(&one), of(&two)];
        // Nearly all that was paged out; a page that is on its way is in neither.
        assert!(before[0] > 20 << 20 && before[1] > 6 << 20, "{before:?}");
        if before == after {
            assert_eq!((image.swap, image.states), (Some(before.iter().sum()), None));
        }
    }
}

#[test]
fn swapped_out_memory_of_a_capture() {
    let proc = TempDir::new().unwrap();
    let status = |swap: &str| format!("Name:\tx\nState:\tS (sleeping)\n{swap}Threads:\t1\n");
    for (pid, swap) in [(41, "VmSwap:\t    1240 kB\n"), (42, "VmSwap:\t       4 kB\n"), (43, "")] {
        let dir = write_process(proc.path(), pid, 1_000, 0);
        std::fs::write(dir.join("status"), status(swap)).unwrap();
    }
    let image = |metrics| {
        let options = Options { proc_root: proc.path().to_owned(), metrics, ..options() };
        Watch::with(options, &[&"worker".to_owned()]).cycle().image(A)
    };
    let found = image(swap());
    assert_eq!((found.processes, found.swap, found.states), (3, Some(1244 << 10), None));
    let found = image(states());
    assert_eq!((found.swap, numbers(found.states)), (None, [0, 3, 0, 0, 0]));
    let found = image(MetricGroups::default());
    assert_eq!((found.swap, found.states, found.oldest), (None, None, None));
    // The time to which the start times refer.
    std::fs::write(proc.join("uptime"), "123.45 200.00\n").unwrap();
    let found = image(MetricGroups::default());
    assert_eq!(found.oldest, Some(std::time::Duration::from_millis(113_450)));
}

/// An image without processes has zeros, if they are requested.
#[test]
fn empty_image_has_the_values_that_are_requested() {
    let tcp = MetricGroups { tcp: true, ..MetricGroups::default() };
    for metrics in [states(), swap(), switches(), tcp, MetricGroups::default()] {
        let unused = word("unused");
        let mut watch = Watch::with(Options { metrics, ..options() }, &[&unused]);
        watch.sampler.reclassify_all(1);
        let image = watch.cycle().image(A);
        assert_eq!(image.states, metrics.states.then(StateCounts::default));
        assert_eq!(image.swap, metrics.swap.then_some(0));
        assert_eq!(image.switches, metrics.switches.then(SwitchCounts::default));
        assert_eq!(image.tcp_states, metrics.tcp.then(TcpStateCounts::default));
    }
}

fn switches() -> MetricGroups {
    MetricGroups { switches: true, ..MetricGroups::default() }
}

/// Checks context switches against those of getrusage(2), which a process reads shortly before it
/// waits again.
#[track_caller]
fn assert_switches(found: Option<SwitchCounts>, expected: (u64, u64)) {
    /// The process waits for its next command. On a busy machine other threads run meanwhile.
    const SLACK: u64 = 40;
    let found = found.unwrap();
    for (found, expected) in [(found.voluntary, expected.0), (found.involuntary, expected.1)] {
        assert!((expected..=expected + SLACK).contains(&found), "{found} against {expected}");
    }
}

/// `status` of a process has only those of its main thread.
#[test]
fn switches_of_all_threads_are_counted() {
    for options in every_mode() {
        let word = word("switches");
        let mut one = testproc(&word);
        let mut watch = Watch::with(Options { metrics: switches(), ..options }, &[&word]);
        // Read first: while it answers it can be preempted.
        let expected = one.switches().unwrap();
        assert_switches(watch.cycle().image(A).switches, expected);
        let threads = one.switch(3, 700).unwrap();
        assert!(threads.0 > 2100);
        assert_switches(watch.cycle().image(A).switches, threads);
        // The counts of threads that exit stay.
        one.end_threads(2).unwrap();
        one.quiesce().unwrap();
        let ended = one.switches().unwrap();
        one.quiesce().unwrap();
        let before = watch.cycles(2).image(A).switches.unwrap();
        assert!(before.voluntary >= threads.0 && before.voluntary <= ended.0 + 40, "{before:?}");
        // So do those of a main thread, and of the process.
        one.leader_exit().unwrap();
        one.quiesce().unwrap();
        let after = one.switch(1, 300).unwrap();
        one.quiesce().unwrap();
        let now = watch.cycles(2).image(A).switches.unwrap();
        assert!(now.voluntary >= before.voluntary + 300, "{before:?} {now:?}");
        assert!(now.voluntary <= after.0 + 40, "{now:?} {after:?}");
        drop(one);
        assert_eq!(watch.cycles(2).image(A).switches, Some(now));
        // Another process counts in addition.
        let mut two = testproc(&word);
        let more = two.switch(2, 100).unwrap();
        let (voluntary, involuntary) = (now.voluntary + more.0, now.involuntary + more.1);
        assert_switches(watch.cycle().image(A).switches, (voluntary, involuntary));
    }
}

/// An idle process has no new ones, and its threads are not read.
#[test]
fn switches_begin_with_the_first_cycle() {
    let (a, b) = (word("switches-a"), word("switches-b"));
    let mut one = testproc(&a);
    one.switch(2, 400).unwrap();
    let io_start = IoStart::FirstCycle;
    let options = Options { metrics: switches(), io_start, ..options() };
    let mut watch = Watch::with(options, &[&a, &b]);
    assert_eq!(watch.cycle().image(A).switches, Some(SwitchCounts::default()));
    let before = watch.cycle().image(A).switches.unwrap();
    let start = one.switches().unwrap();
    let end = one.switch(2, 300).unwrap();
    let grown = watch.cycle().image(A).switches.unwrap().voluntary - before.voluntary;
    let expected = end.0 - start.0;
    assert!((expected..=expected + 80).contains(&grown), "{grown} against {expected}");
    // A process that starts later counts from its start.
    let mut two = testproc(&b);
    let all = two.switch(1, 500).unwrap();
    assert_switches(watch.cycle().image(B).switches, all);
    // After an exec, what it did before is that of the other image.
    let before = watch.cycle().image(A).switches.unwrap();
    two.exec(&Config::new(&a)).unwrap();
    let sample = watch.cycles(10);
    let [now, other] = [A, B].map(|image| sample.image(image).switches.unwrap());
    assert!(now.voluntary - before.voluntary < 300, "{before:?} {now:?}");
    assert!(other.voluntary >= all.0, "{other:?} {all:?}");
}
