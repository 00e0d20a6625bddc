//! Idle processes, whose files are read in turn: what they do shows at once, and what others do to
//! them within the interval.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;

use crate::common::{
    A, B, ImageId, Options, Sampler, Watch, assert_matches_oracle, bpf, cycle, has_word, is_root,
    quiesce, short_window, testproc, word,
};
use psstat_sampler::intervals::{IDLE_READ_INTERVAL, IDLE_TABLE_INTERVAL};
use psstat_sampler::{FastPaths, IoStart};
use psstat_testproc::{Config, Kind, TestProcess};
use rustix::net::{AddressFamily, SocketType, connect, getpeername, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// One exact thing of each kind, each after a number of cycles in which nothing happens, and each
/// complete in the next cycle.
fn each_change_shows(options: &Options, idle: usize) {
    let word = word("idle");
    let mut one = testproc(&word);
    let mut other = testproc(&word);
    quiesce(&[&one, &other]);
    let mut watch = Watch::with(options.clone(), &[&word]);
    let mut check = |one: &TestProcess, others: &[&TestProcess]| {
        one.quiesce().unwrap();
        let all: Vec<&TestProcess> = std::iter::once(one).chain(others.iter().copied()).collect();
        assert_matches_oracle(watch.cycle().image(A), &all);
        assert_matches_oracle(watch.cycles(idle).image(A), &all);
    };
    check(&one, &[&other]);
    one.write_bytes(12_345, 1).unwrap();
    check(&one, &[&other]);
    one.open_files(1).unwrap();
    check(&one, &[&other]);
    one.mmap_touch(8 << 20).unwrap();
    check(&one, &[&other]);
    one.threads(1).unwrap();
    check(&one, &[&other]);
    one.tcp_pairs(1).unwrap();
    check(&one, &[&other]);
    one.udp_connected(1).unwrap();
    check(&one, &[&other]);
    one.unix_pairs(1).unwrap();
    check(&one, &[&other]);
    one.close_sockets(Kind::Udp, 1).unwrap();
    check(&one, &[&other]);
    let mut child = one.fork_child(&Config::new(&word)).unwrap();
    child.write_bytes(1_000_000, 1).unwrap();
    child.quiesce().unwrap();
    check(&one, &[&other, &child]);
    child.exit(0).unwrap();
    one.wait(child).unwrap();
    check(&one, &[&other]);
    // The other one has run in no cycle since the first.
    other.read_bytes(1, 1).unwrap();
    other.quiesce().unwrap();
    check(&one, &[&other]);
}

#[test]
fn idle_process_shows_each_change_in_the_next_cycle() {
    let by_bpf = bpf().map(|bpf| Options { bpf: Some(bpf), ..short_window() });
    for options in std::iter::once(short_window()).chain(by_bpf) {
        // Not only where it is its turn.
        for idle in [2, 3] {
            each_change_shows(&options, idle);
        }
    }
}

/// Frees the largest shared mapping of a process, which does not run for this.
fn free_shared_memory(pid: u32) {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let range = maps.lines().filter(|line| line.contains(" rw-s ")).max_by_key(|line| {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        end - start
    });
    let range = range.unwrap().split_once(' ').unwrap().0;
    let path = format!("/proc/{pid}/map_files/{range}");
    let file = std::fs::OpenOptions::new().write(true).custom_flags(libc::O_CLOEXEC).open(path);
    file.unwrap().set_len(0).unwrap();
}

#[test]
fn memory_that_another_process_frees_shows_within_the_interval() {
    const SHARED: u64 = 24 << 20;
    const SLACK: u64 = 2 << 20;
    if !is_root() {
        return;
    }
    let all = FastPaths { idle_processes: false, ..FastPaths::ALL };
    let mut modes = vec![(short_window(), IDLE_READ_INTERVAL as usize)];
    // Where nothing is left out.
    modes.push((Options { fast_paths: all, ..short_window() }, 1));
    let by_bpf = bpf().map(|bpf| Options { bpf: Some(bpf), ..short_window() });
    modes.extend(by_bpf.map(|options| (options, IDLE_READ_INTERVAL as usize)));
    for (options, cycles) in modes {
        let word = word("freed");
        let mut one = testproc(&word);
        one.share_touch(SHARED).unwrap();
        one.quiesce().unwrap();
        let mut watch = Watch::with(options, &[&word]);
        // In some of the first cycles the limit of descriptors is read, and all else.
        let before = watch.cycles(7).image(A);
        free_shared_memory(one.pid());
        let after = watch.cycles(cycles).image(A);
        for (before, after) in [(before.rss, after.rss), (before.shared, after.shared)] {
            let wrong = before.unwrap().abs_diff(after.unwrap() + SHARED);
            assert!(wrong <= SLACK, "{cycles}: {before:?} {after:?}");
        }
        assert_eq!(after.io, before.io);
    }
}

/// An unconnected UDP socket of a process.
fn unconnected_udp(pid: u32) -> OwnedFd {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let fds = (0..64).filter_map(|fd| pidfd_getfd(&pidfd, fd, PidfdGetfdFlags::empty()).ok());
    let is_unconnected = |fd: &OwnedFd| {
        sockopt::socket_domain(fd) == Ok(AddressFamily::INET)
            && sockopt::socket_type(fd) == Ok(SocketType::DGRAM)
            && getpeername(fd).is_err()
    };
    fds.into_iter().find(is_unconnected).unwrap()
}

#[test]
fn socket_that_another_process_connects_shows_within_the_interval() {
    if !is_root() {
        return;
    }
    let all = FastPaths { idle_processes: false, ..FastPaths::ALL };
    let mut modes = vec![(short_window(), IDLE_TABLE_INTERVAL as usize)];
    modes.push((Options { fast_paths: all, ..short_window() }, 1));
    let by_bpf = bpf().map(|bpf| Options { bpf: Some(bpf), ..short_window() });
    modes.extend(by_bpf.map(|options| (options, IDLE_TABLE_INTERVAL as usize)));
    for (options, cycles) in modes {
        let word = word("connected");
        let mut one = testproc(&word);
        one.non_established_sockets(1).unwrap();
        one.udp_connected(1).unwrap();
        one.quiesce().unwrap();
        let mut watch = Watch::with(options, &[&word]);
        assert_eq!(watch.cycles(9).image(A).udp, Some(1));
        let socket = unconnected_udp(one.pid());
        connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9)).unwrap();
        assert_eq!(watch.cycles(cycles).image(A).udp, Some(2), "{cycles}");
    }
}

/// The rules change, and an idle process belongs to another image too: that begins with 0 in the same
/// cycle, and has all that the process does then.
#[test]
fn idle_process_joins_an_image_at_once() {
    let word = word("joins");
    let mut one = testproc(&word);
    one.quiesce().unwrap();
    let options = Options { io_start: IoStart::FirstCycle, ..short_window() };
    let mut sampler = Sampler::new(options).unwrap();
    let mut io_of_both = |cycles: usize, images: &[ImageId]| {
        let mut io = None;
        for _ in 0..cycles {
            let sample = cycle(&mut sampler, &mut |process, found| {
                found.extend(images.iter().copied().filter(|_| has_word(process, &word)));
            });
            io = sample.image(B).io.map(|io| io.wchar.cast_unsigned());
        }
        sampler.reclassify_all(2);
        io
    };
    // In one of these cycles it would be its turn.
    for _ in 0..3 {
        io_of_both(3, &[A]);
        let before = one.expected_io().unwrap().wchar;
        let first = io_of_both(1, &[A, B]).unwrap();
        one.write_bytes(777, 1).unwrap();
        one.quiesce().unwrap();
        let done = one.expected_io().unwrap().wchar - before;
        assert_eq!(io_of_both(1, &[A, B]), Some(first + done));
    }
}
