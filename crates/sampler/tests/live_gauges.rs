//! Descriptors, threads, memory, sockets and CPU of live processes, against
//! slow readings.

mod common;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use common::{A, B, Watch, assert_true, every_way, options, testproc, word};
use psstat_sampler::Options;
use psstat_testproc::{Kind, oracle};

#[test]
fn every_number_in_every_way() {
    let word = word("every");
    let (mut one, mut two) = (testproc(&word), testproc(&word));
    one.open_files(700).unwrap();
    one.threads(20).unwrap();
    one.mmap_touch(8 << 20).unwrap();
    one.write_bytes(1_000_000, 10).unwrap();
    two.read_bytes(5000, 3).unwrap();
    for (n, kind) in (2..).zip([Kind::Tcp, Kind::Udp, Kind::UnixStream, Kind::UnixDgram]) {
        one.open_sockets(kind, n).unwrap();
        two.open_sockets(kind, 1).unwrap();
    }
    if std::net::UdpSocket::bind("[::1]:0").is_ok() {
        for kind in [Kind::Tcp6, Kind::Tcp6Mapped, Kind::Udp6] {
            one.open_sockets(kind, 3).unwrap();
        }
    }
    two.non_established_sockets(2).unwrap();
    one.quiesce().unwrap();
    two.quiesce().unwrap();
    let mut samples = Vec::new();
    for options in every_way() {
        let image = Watch::with(options, &[&word]).cycles(2).image(A);
        assert_true(image, &[&one, &two]);
        samples.push(image);
    }
    for mut sample in samples.clone() {
        // The one number that wavers, held against the truth above.
        sample.rss = samples[0].rss;
        assert_eq!(sample, samples[0]);
    }
}

#[test]
fn numbers_follow_changes() {
    let word = word("follow");
    let mut one = testproc(&word);
    let mut watch = Watch::new(&[&word]);
    assert_true(watch.cycle().image(A), &[&one]);
    one.open_files(5).unwrap();
    one.tcp_pairs(3).unwrap();
    one.unix_pairs(2).unwrap();
    one.quiesce().unwrap();
    assert_true(watch.cycle().image(A), &[&one]);
    one.close_sockets(Kind::Tcp, 2).unwrap();
    one.close_files(4).unwrap();
    one.quiesce().unwrap();
    assert_true(watch.cycle().image(A), &[&one]);
    // As many descriptors as before, one socket less.
    one.replace_socket(Kind::Tcp, Kind::UnixStream).unwrap();
    one.quiesce().unwrap();
    assert_true(watch.cycles(2).image(A), &[&one]);
    one.threads(4).unwrap();
    one.end_threads(1).unwrap();
    one.quiesce().unwrap();
    assert_true(watch.cycle().image(A), &[&one]);
}

#[test]
fn a_shared_socket_counts_once_an_image() {
    let (a, b) = (word("shared-a"), word("shared-b"));
    let (mut one, mut two, mut other) = (testproc(&a), testproc(&a), testproc(&b));
    one.tcp_pairs(2).unwrap();
    one.unix_pairs(1).unwrap();
    let fd = one.share_socket(Kind::Tcp, &mut two).unwrap();
    one.share_socket(Kind::Tcp, &mut other).unwrap();
    let copy = one.fork_copy().unwrap();
    for testproc in [&one, &two, &other] {
        testproc.quiesce().unwrap();
    }
    let mut watch = Watch::new(&[&a, &b]);
    let sample = watch.cycles(2);
    assert_true(sample.image(A), &[&one, &two, &copy]);
    assert_eq!(sample.image(A).tcp, Some(4));
    assert_true(sample.image(B), &[&other]);
    assert_eq!(sample.image(B).tcp, Some(1));
    // Closed here, kept by the others.
    one.close_fd(fd).unwrap();
    one.quiesce().unwrap();
    let sample = watch.cycles(2);
    assert_eq!((sample.image(A).tcp, sample.image(B).tcp), (Some(4), Some(1)));
    assert_true(sample.image(A), &[&one, &two, &copy]);
}

#[test]
fn a_network_namespace_of_its_own() {
    let word = word("netns");
    let (mut inside, mut outside) = (testproc(&word), testproc(&word));
    match inside.unshare_net() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return println!("skipped: no right to make a network namespace");
        }
        result => result.unwrap(),
    }
    inside.tcp_pairs(3).unwrap();
    inside.unix_pairs(1).unwrap();
    outside.tcp_pairs(2).unwrap();
    inside.quiesce().unwrap();
    outside.quiesce().unwrap();
    for options in every_way() {
        let mut watch = Watch::with(options, &[&word]);
        assert_true(watch.cycles(2).image(A), &[&inside, &outside]);
    }
    let mut watch = Watch::new(&[&word]);
    assert_eq!(watch.cycles(2).image(A).tcp, Some(10));
    drop(inside);
    assert_eq!(watch.cycles(2).image(A).tcp, Some(4));
}

#[test]
fn a_leader_that_exited_is_still_a_process() {
    let word = word("leader");
    let mut one = testproc(&word);
    one.open_files(30).unwrap();
    one.tcp_pairs(2).unwrap();
    let before = Watch::new(&[&word]).cycles(2).image(A);
    let mut watch = Watch::new(&[&word]);
    watch.cycle();
    one.leader_exit().unwrap();
    one.quiesce().unwrap();
    for (case, mut watch) in [("seen before", watch), ("new", Watch::new(&[&word]))] {
        let image = watch.cycles(3).image(A);
        assert_eq!(image.procs, 1, "{case}");
        assert_eq!(image.descriptors, before.descriptors, "{case}");
        assert_eq!(image.tcp, Some(4), "{case}");
        assert_eq!(image.threads, Some(oracle::threads(one.pid()).unwrap()), "{case}");
        assert!(image.vsize >= before.vsize, "{case}: {:?}", image.vsize);
    }
}

#[test]
fn a_zombie_is_no_process() {
    let word = word("zombie");
    let (mut parent, other) = (testproc("zombies-parent"), testproc(&word));
    let mut child = parent.fork_child(&psstat_testproc::Config::new(&word)).unwrap();
    let mut watch = Watch::new(&[&word]);
    assert_eq!(watch.cycle().image(A).procs, 2);
    child.exit(0).unwrap();
    for _ in 0..3 {
        let image = watch.cycle().image(A);
        assert_eq!(image.procs, 1);
        assert_eq!(image.threads, Some(1));
        assert_eq!(image.descriptors, Some(oracle::fds(other.pid()).unwrap()));
    }
}

/// Until its parent waited for it, what it had shared with a process of another
/// image went on counting in its own, which had no process any more.
#[test]
fn a_zombie_holds_no_socket() {
    let (a, b) = (word("server"), word("zombie"));
    let (mut server, mut parent) = (testproc(&a), testproc("zombies-parent"));
    let mut child = parent.fork_child(&psstat_testproc::Config::new(&b)).unwrap();
    server.tcp_pairs(2).unwrap();
    server.share_socket(Kind::Tcp, &mut child).unwrap();
    let mut watch = Watch::new(&[&a, &b]);
    let sample = watch.cycles(2);
    assert_eq!((sample.image(A).tcp, sample.image(B).tcp), (Some(4), Some(1)));
    child.exit(0).unwrap();
    for _ in 0..3 {
        let sample = watch.cycle();
        assert_eq!((sample.image(B).procs, sample.image(B).tcp), (0, Some(0)));
        assert_eq!(sample.image(A).tcp, Some(4));
    }
}

#[test]
fn cpu_is_what_the_process_used() {
    let word = word("burn");
    let mut one = testproc(&word);
    one.burn_until_stopped(30.0, 1).unwrap();
    let options = Options { window: Duration::from_millis(200), ..options() };
    let mut watch = Watch::with(options, &[&word]);
    watch.cycle();
    let used = || oracle::cpu_time(one.pid()).unwrap().as_secs_f64();
    for _ in 0..6 {
        let before = used();
        let due = watch.open();
        let opened = used();
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let closing = used();
        let pcpu = watch.close(due).image(A).pcpu.unwrap();
        let after = used();
        let window = watch.sampler.processes().next().unwrap().window.unwrap();
        let measured = pcpu / 100.0 * window.as_secs_f64();
        // No more than was used around the window and no less than within it, however
        // busy the machine is; of a thread that runs the kernel tells up to a tick late.
        let (most, least) = (after - before + 0.01, closing - opened - 0.01);
        assert!((least..=most).contains(&measured), "{measured} s, not {least} to {most}");
    }
    assert!(one.stop_burning().unwrap().cpu > Duration::ZERO);
}

#[test]
fn start_and_exit_in_window() {
    let word = word("comes");
    let (steady, mut busy) = (testproc(&word), testproc(&word));
    busy.burn(100.0, Duration::from_millis(100)).unwrap();
    steady.quiesce().unwrap();
    let mut watch = Watch::new(&[&word]);
    watch.cycle();
    let due = watch.open();
    busy.kill().unwrap();
    drop(busy);
    let mut late = testproc(&word);
    late.burn(100.0, Duration::from_millis(50)).unwrap();
    let image = watch.close(due).image(A);
    assert_eq!(image.pcpu, Some(0.0));
    assert_eq!(image.procs, 1);
    let image = watch.cycle().image(A);
    assert!(image.pcpu.unwrap() < 50.0, "{:?}", image.pcpu);
    assert_eq!(image.procs, 2);
}
