//! What is left alone while it is idle, and how soon a change is noticed that
//! left no trace but the CPU it took.

mod common;

use std::time::{Duration, Instant};

use common::{A, B, Watch, options, testproc, word};
use psstat_sampler::intervals::{
    CMDLINE_INTERVAL, FD_SCAN_INTERVAL, FULL_LISTING_INTERVAL, IDLE_CMDLINE_INTERVAL,
};
use psstat_sampler::{FastPaths, ImageId, Options, Sampler};
use psstat_testproc::{Config, Kind, TestProcess};

const SHORT: Duration = Duration::from_millis(2);

/// Cycles over one process; gives how often its command line was read.
fn looks(sampler: &mut Sampler, pid: u32, cycles: u32) -> u32 {
    let mut looks = 0;
    for _ in 0..cycles {
        let due = sampler.open(&mut |process, images| {
            if process.pid == pid {
                looks += 1;
                images.extend(process.args_joined.starts_with(b"matched").then_some(ImageId(0)));
            }
        });
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        sampler.close();
    }
    looks
}

/// A test process whose title can be overwritten by a word that matches.
fn idle_stranger() -> TestProcess {
    let testproc = TestProcess::spawn(&Config::new("stranger").arg("x".repeat(200))).unwrap();
    testproc.quiesce().unwrap();
    testproc
}

fn end(mut testproc: TestProcess) {
    testproc.kill().unwrap();
    testproc.reap().unwrap();
}

#[test]
fn an_idle_command_line_is_read_once_in_a_long_turn() {
    let testproc = idle_stranger();
    let mut sampler = Sampler::new(Options { window: SHORT, ..options() }).unwrap();
    // Past its first cycles, in which it is looked at more often.
    looks(&mut sampler, testproc.pid(), 2 * CMDLINE_INTERVAL);
    if !sampler.fast_paths().cpu_clock {
        return println!("skipped: no CPU clocks");
    }
    let turn = looks(&mut sampler, testproc.pid(), IDLE_CMDLINE_INTERVAL);
    assert_eq!(turn, 1);
}

#[test]
fn title_change_is_detected_within_interval() {
    for fast in [FastPaths::ALL, FastPaths::NONE] {
        for wait in 0..CMDLINE_INTERVAL {
            let mut testproc = idle_stranger();
            let mut sampler =
                Sampler::new(Options { window: SHORT, fast_paths: fast, ..options() }).unwrap();
            looks(&mut sampler, testproc.pid(), 2 * CMDLINE_INTERVAL + wait);
            assert_eq!(sampler.sample().image(A).procs, 0);
            testproc.overwrite_title("matched").unwrap();
            looks(&mut sampler, testproc.pid(), CMDLINE_INTERVAL);
            assert_eq!(sampler.sample().image(A).procs, 1, "{fast:?}, {wait}");
        }
    }
}

/// The same program, as large as before: nothing of a stranger tells.
#[test]
fn exec_of_unmatched_process_is_detected() {
    let mut testproc = idle_stranger();
    let mut sampler = Sampler::new(Options { window: SHORT, ..options() }).unwrap();
    looks(&mut sampler, testproc.pid(), 3 * CMDLINE_INTERVAL);
    testproc.exec(&Config::new("matched")).unwrap();
    looks(&mut sampler, testproc.pid(), CMDLINE_INTERVAL);
    assert_eq!(sampler.sample().image(A).procs, 1);
}

/// Of two that share their sockets one puts a socket in the place of another:
/// as many descriptors as before, and no table changes.
#[test]
fn replaced_fd_is_detected_within_interval() {
    let (a, b) = (word("holder"), word("heir"));
    let mut holder = TestProcess::spawn(&Config::new(&a).arg("x".repeat(200))).unwrap();
    holder.tcp_pairs(1).unwrap();
    holder.udp_connected(2).unwrap();
    let mut heir = holder.fork_copy().unwrap();
    heir.overwrite_title(&b).unwrap();
    // A machine so busy that its window leaves no time for it changes nothing.
    for (window, udp) in [(SHORT, 2), (Duration::ZERO, 1)] {
        let mut watch = Watch::with(Options { window, ..options() }, &[&a, &b]);
        let before = watch.cycles(3).image(B);
        assert_eq!((before.tcp, before.udp), (Some(2), Some(udp)), "{window:?}");
        heir.replace_socket(Kind::Udp, Kind::Tcp).unwrap();
        let after = watch.cycles(usize::try_from(FD_SCAN_INTERVAL).unwrap());
        assert_eq!((after.image(B).tcp, after.image(B).udp), (Some(2), Some(udp - 1)));
        assert_eq!((after.image(A).tcp, after.image(A).udp), (Some(2), Some(2)));
    }
}

/// Between two whole listings too, whoever comes is there in the next cycle,
/// and whoever goes is not.
#[test]
fn start_and_exit_are_detected_next_cycle() {
    let (a, b) = (word("comes"), word("stays"));
    let _other = testproc(&b);
    let mut watch = Watch::with(Options { window: SHORT, ..options() }, &[&a, &b]);
    watch.cycles(3);
    for round in 0..2 * FULL_LISTING_INTERVAL {
        let one = testproc(&a);
        let sample = watch.cycle();
        assert_eq!(sample.image(A).procs, 1, "{round}");
        let two = testproc(&a);
        end(one);
        let sample = watch.cycle();
        assert_eq!((sample.image(A).procs, sample.image(B).procs), (1, 1), "{round}");
        end(two);
        assert_eq!(watch.cycle().image(A).procs, 0, "{round}");
    }
}
