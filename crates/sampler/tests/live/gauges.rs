//! Descriptors, threads, memory and sockets of live processes, compared with the oracle.

use crate::common::{
    A, B, C, Watch, assert_matches_oracle, every_mode, has_ipv6, in_every_mode, procs, quiesce,
    tcp, testproc, testproc_in_netns, word,
};
use psstat_testproc::{Config, Kind, oracle};

#[test]
fn every_value_in_every_mode() {
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
    if has_ipv6() {
        for kind in [Kind::Tcp6, Kind::Tcp6Mapped, Kind::Udp6] {
            one.open_sockets(kind, 3).unwrap();
        }
    }
    two.non_established_sockets(2).unwrap();
    quiesce(&[&one, &two]);
    let mut samples = Vec::new();
    for options in every_mode() {
        let image = Watch::with(options, &[&word]).cycles(2).image(A);
        assert_matches_oracle(image, &[&one, &two]);
        samples.push(image);
    }
    for mut sample in samples.clone() {
        // The only values that vary; they were compared with the oracle above.
        (sample.rss, sample.shared) = (samples[0].rss, samples[0].shared);
        // Those of another moment, and in ticks or in nanoseconds.
        (sample.oldest, sample.youngest) = (samples[0].oldest, samples[0].youngest);
        sample.cpu = samples[0].cpu;
        assert_eq!(sample, samples[0]);
    }
}

/// Shared memory counts as shared and as resident, private memory only as resident.
#[test]
fn shared_memory_is_a_part_of_resident_memory() {
    const SHARED: u64 = 24 << 20;
    const PRIVATE: u64 = 8 << 20;
    const SLACK: u64 = 2 << 20;
    in_every_mode("shared", |watch, word| {
        let mut one = testproc(word);
        let mut read = || {
            let image = watch.cycle().image(A);
            (image.shared.unwrap(), image.rss.unwrap())
        };
        let before = read();
        one.share_touch(SHARED).unwrap();
        let shared = read();
        one.mmap_touch(PRIVATE).unwrap();
        let both = read();
        for (now, before, grown) in [
            (shared.0, before.0, SHARED),
            (shared.1, before.1, SHARED),
            (both.0, shared.0, 0),
            (both.1, shared.1, PRIVATE),
        ] {
            let wrong = now.abs_diff(before + grown);
            assert!(wrong <= SLACK, "{before:?} {shared:?} {both:?}");
        }
        assert!(both.0 <= both.1, "{both:?}");
        // By another file.
        let of = |name| oracle::status_field(one.pid(), name).unwrap();
        let kilobytes = |name| -> u64 {
            let text: String = of(name);
            text.trim().trim_end_matches(" kB").parse().unwrap()
        };
        let expected = (kilobytes("RssFile") + kilobytes("RssShmem")) << 10;
        assert!(both.0.abs_diff(expected) <= 512 << 10, "{both:?} {expected}");
    });
}

#[test]
fn values_follow_changes() {
    let word = word("follow");
    let mut one = testproc(&word);
    let mut watch = Watch::new(&[&word]);
    assert_matches_oracle(watch.cycle().image(A), &[&one]);
    one.open_files(5).unwrap();
    one.tcp_pairs(3).unwrap();
    one.unix_pairs(2).unwrap();
    one.quiesce().unwrap();
    assert_matches_oracle(watch.cycle().image(A), &[&one]);
    one.close_sockets(Kind::Tcp, 2).unwrap();
    one.close_files(4).unwrap();
    one.quiesce().unwrap();
    assert_matches_oracle(watch.cycle().image(A), &[&one]);
    // The number of descriptors stays the same.
    one.replace_socket(Kind::Tcp, Kind::UnixStream).unwrap();
    one.quiesce().unwrap();
    assert_matches_oracle(watch.cycles(2).image(A), &[&one]);
    one.threads(4).unwrap();
    one.end_threads(1).unwrap();
    one.quiesce().unwrap();
    assert_matches_oracle(watch.cycle().image(A), &[&one]);
}

#[test]
fn shared_socket_counts_once_per_image() {
    let (a, b) = (word("shared-a"), word("shared-b"));
    let (mut one, mut two, mut other) = (testproc(&a), testproc(&a), testproc(&b));
    one.tcp_pairs(2).unwrap();
    one.unix_pairs(1).unwrap();
    let fd = one.share_socket(Kind::Tcp, &mut two).unwrap();
    one.share_socket(Kind::Tcp, &mut other).unwrap();
    let copy = one.fork_copy().unwrap();
    quiesce(&[&one, &two, &other]);
    let mut watch = Watch::new(&[&a, &b]);
    let sample = watch.cycles(2);
    assert_eq!(tcp(&sample, [A, B]), [Some(4), Some(1)]);
    assert_matches_oracle(sample.image(A), &[&one, &two, &copy]);
    assert_matches_oracle(sample.image(B), &[&other]);
    one.close_fd(fd).unwrap();
    one.quiesce().unwrap();
    let sample = watch.cycles(2);
    assert_eq!(tcp(&sample, [A, B]), [Some(4), Some(1)]);
    assert_matches_oracle(sample.image(A), &[&one, &two, &copy]);
}

#[test]
fn sockets_of_another_netns_are_counted() {
    let word = word("netns");
    let Some(mut inside) = testproc_in_netns(&word) else { return };
    let mut outside = testproc(&word);
    inside.tcp_pairs(3).unwrap();
    inside.unix_pairs(1).unwrap();
    outside.tcp_pairs(2).unwrap();
    quiesce(&[&inside, &outside]);
    for mut watch in Watch::in_every_mode(&word) {
        assert_matches_oracle(watch.cycles(2).image(A), &[&inside, &outside]);
    }
    let mut watch = Watch::new(&[&word]);
    assert_eq!(watch.cycles(2).image(A).tcp, Some(10));
    drop(inside);
    assert_eq!(watch.cycles(2).image(A).tcp, Some(4));
}

#[test]
fn process_without_leader_keeps_its_gauges() {
    let word = word("leader");
    let mut one = testproc(&word);
    one.open_files(30).unwrap();
    one.tcp_pairs(2).unwrap();
    let before = Watch::new(&[&word]).cycles(2).image(A);
    let mut watch = Watch::new(&[&word]);
    watch.cycle();
    one.leader_exit().unwrap();
    one.quiesce().unwrap();
    for (case, mut watch) in [("read before", watch), ("new", Watch::new(&[&word]))] {
        let image = watch.cycles(3).image(A);
        assert_eq!(image.processes, 1, "{case}");
        assert_eq!(image.fds, before.fds, "{case}");
        assert_eq!(image.tcp, Some(4), "{case}");
        assert_eq!(image.threads, Some(oracle::threads(one.pid()).unwrap()), "{case}");
        assert!(image.vsize >= before.vsize, "{case}: {:?}", image.vsize);
    }
}

/// Until a zombie was reaped, its image, which had no other process, continued to count a socket
/// that the zombie had shared with a process of another image.
#[test]
fn zombie_is_not_a_process_and_has_no_socket() {
    let (a, b, c) = (word("server"), word("zombie"), word("zombie-and-other"));
    let (mut server, other, mut parent) = (testproc(&a), testproc(&c), testproc("zombies-parent"));
    let mut child = parent.fork_child(&Config::new(&b).arg(&c)).unwrap();
    server.tcp_pairs(2).unwrap();
    server.share_socket(Kind::Tcp, &mut child).unwrap();
    let mut watch = Watch::new(&[&a, &b, &c]);
    let sample = watch.cycles(2);
    assert_eq!(procs(&sample, [A, B, C]), [1, 1, 2]);
    assert_eq!(tcp(&sample, [A, B, C]), [Some(4), Some(1), Some(1)]);
    child.exit(0).unwrap();
    for _ in 0..3 {
        let sample = watch.cycle();
        assert_eq!(procs(&sample, [A, B, C]), [1, 0, 1]);
        assert_eq!(tcp(&sample, [A, B, C]), [Some(4), Some(0), Some(0)]);
        let image = sample.image(C);
        assert_eq!(image.threads, Some(1));
        assert_eq!(image.fds, Some(oracle::fds(other.pid()).unwrap()));
    }
}
