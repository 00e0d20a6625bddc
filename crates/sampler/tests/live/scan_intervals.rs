//! The intervals in which idle processes are read, and in which changes are detected that leave
//! no trace except the CPU time that they took.

use crate::common::{
    A, B, Options, Sampler, Watch, cycle, procs, short_window, tcp, testproc, word,
};
use psstat_sampler::FastPaths;
use psstat_sampler::intervals::{
    CMDLINE_INTERVAL, FD_SCAN_INTERVAL, FULL_LISTING_INTERVAL, IDLE_CMDLINE_INTERVAL,
};
use psstat_testproc::{Config, Kind, TestProcess};

/// Runs cycles over one process; gives the number of reads of its command line.
fn count_reads(sampler: &mut Sampler, pid: u32, cycles: u32) -> u32 {
    let mut reads = 0;
    for _ in 0..cycles {
        cycle(sampler, &mut |process, images| {
            if process.pid == pid {
                reads += 1;
                images.extend(process.args_joined.starts_with(b"matched").then_some(A));
            }
        });
    }
    reads
}

/// An unmatched test process whose title can be overwritten by a word that matches.
fn unmatched() -> TestProcess {
    let testproc = TestProcess::spawn(&Config::new("unmatched").arg("x".repeat(200))).unwrap();
    testproc.quiesce().unwrap();
    testproc
}

#[test]
fn idle_cmdline_is_read_once_per_interval() {
    let testproc = unmatched();
    let mut sampler = Sampler::new(short_window()).unwrap();
    // In its first cycles it is read more often.
    count_reads(&mut sampler, testproc.pid(), 2 * CMDLINE_INTERVAL);
    if !sampler.fast_paths().cpu_clock {
        return println!("skipped: CPU clocks are not available");
    }
    assert_eq!(count_reads(&mut sampler, testproc.pid(), IDLE_CMDLINE_INTERVAL), 1);
}

#[test]
fn title_change_is_detected_within_interval() {
    for fast_paths in [FastPaths::ALL, FastPaths::NONE] {
        for delay in 0..CMDLINE_INTERVAL {
            let mut testproc = unmatched();
            let mut sampler = Sampler::new(Options { fast_paths, ..short_window() }).unwrap();
            count_reads(&mut sampler, testproc.pid(), 2 * CMDLINE_INTERVAL + delay);
            assert_eq!(sampler.sample().image(A).processes, 0);
            testproc.overwrite_title("matched").unwrap();
            count_reads(&mut sampler, testproc.pid(), CMDLINE_INTERVAL);
            assert_eq!(sampler.sample().image(A).processes, 1, "{fast_paths:?}, {delay}");
        }
    }
}

/// The same program with the same memory size: no other value shows the exec of an unmatched
/// process.
#[test]
fn exec_of_unmatched_process_is_detected() {
    let mut testproc = unmatched();
    let mut sampler = Sampler::new(short_window()).unwrap();
    count_reads(&mut sampler, testproc.pid(), 3 * CMDLINE_INTERVAL);
    testproc.exec(&Config::new("matched")).unwrap();
    count_reads(&mut sampler, testproc.pid(), CMDLINE_INTERVAL);
    assert_eq!(sampler.sample().image(A).processes, 1);
}

/// One of two processes that share their sockets replaces one of them: the number of its
/// descriptors stays the same, and the tables do not change.
#[test]
fn replaced_fd_is_detected_within_interval() {
    let (a, b) = (word("parent"), word("child"));
    let mut parent = TestProcess::spawn(&Config::new(&a).arg("x".repeat(200))).unwrap();
    parent.tcp_pairs(1).unwrap();
    parent.udp_connected(2).unwrap();
    let mut child = parent.fork_copy().unwrap();
    child.overwrite_title(&b).unwrap();
    // The second window leaves no time for the round-robin scan, as on a very busy machine.
    for (window, udp) in [(short_window().window, 2), (std::time::Duration::ZERO, 1)] {
        let mut watch = Watch::with(Options { window, ..short_window() }, &[&a, &b]);
        let before = watch.cycles(3).image(B);
        assert_eq!((before.tcp, before.udp), (Some(2), Some(udp)), "{window:?}");
        child.replace_socket(Kind::Udp, Kind::Tcp).unwrap();
        let after = watch.cycles(usize::try_from(FD_SCAN_INTERVAL).unwrap());
        assert_eq!(tcp(&after, [A, B]), [Some(2), Some(2)]);
        assert_eq!((after.image(A).udp, after.image(B).udp), (Some(2), Some(udp - 1)));
    }
}

/// In the cycles between two full listings too.
#[test]
fn start_and_exit_are_detected_next_cycle() {
    let (a, b) = (word("starts"), word("stays"));
    let _other = testproc(&b);
    let mut watch = Watch::with(short_window(), &[&a, &b]);
    watch.cycles(3);
    let end = |mut testproc: TestProcess| {
        testproc.kill().unwrap();
        testproc.reap().unwrap();
    };
    for round in 0..2 * FULL_LISTING_INTERVAL {
        let one = testproc(&a);
        assert_eq!(procs(&watch.cycle(), [A]), [1], "{round}");
        let two = testproc(&a);
        end(one);
        assert_eq!(procs(&watch.cycle(), [A, B]), [1, 1], "{round}");
        end(two);
        assert_eq!(procs(&watch.cycle(), [A]), [0], "{round}");
    }
}
