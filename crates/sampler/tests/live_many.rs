//! Many descriptors, threads, pages and network namespaces.

mod common;

use std::io::ErrorKind;

use common::{A, B, Watch, assert_true, every_way, testproc, word};
use psstat_testproc::TestProcess;

#[test]
fn thousands_of_descriptors_and_threads() {
    let (a, b) = (word("many"), word("threads"));
    let (mut files, mut threads) = (testproc(&a), testproc(&b));
    if let Err(error) = files.open_files(3000) {
        return println!("skipped: no process may open 3,000 files here: {error}");
    }
    if let Err(error) = threads.threads(999) {
        return println!("skipped: no process may have 1,000 threads here: {error}");
    }
    files.tcp_pairs(5).unwrap();
    files.quiesce().unwrap();
    threads.quiesce().unwrap();
    for options in every_way() {
        let mut watch = Watch::with(options, &[&a, &b]);
        let sample = watch.cycles(2);
        assert_true(sample.image(A), &[&files]);
        assert_eq!(sample.image(A).descriptors, Some(3 + 3000 + 10));
        assert_true(sample.image(B), &[&threads]);
        assert_eq!(sample.image(B).threads, Some(1000));
    }
    let mut watch = Watch::new(&[&a, &b]);
    watch.cycle();
    files.close_files(2500).unwrap();
    threads.end_threads(600).unwrap();
    files.quiesce().unwrap();
    threads.quiesce().unwrap();
    let sample = watch.cycle();
    assert_true(sample.image(A), &[&files]);
    assert_true(sample.image(B), &[&threads]);
    assert_eq!(sample.image(B).threads, Some(400));
}

#[test]
fn memory_grows_by_what_is_mapped_and_touched() {
    const SIZE: u64 = 256 << 20;
    let word = word("memory");
    let mut one = testproc(&word);
    let mut watch = Watch::new(&[&word]);
    let memory = |watch: &mut Watch| {
        let image = watch.cycle().image(A);
        (image.vsize.unwrap(), image.rss.unwrap())
    };
    let (vsize, rss) = memory(&mut watch);
    if let Err(error) = one.mmap_touch(SIZE) {
        return println!("skipped: there are no 256 MiB: {error}");
    }
    let (vsize_after, rss_after) = memory(&mut watch);
    assert_eq!(vsize_after - vsize, SIZE);
    // The kernel counts in batches, and may swap.
    let grown = rss_after.saturating_sub(rss);
    assert!(grown.abs_diff(SIZE) < 2 << 20, "{grown} bytes resident for {SIZE} touched");
}

/// A test process in a new network namespace with this many pairs; nothing where that
/// is not allowed.
fn in_namespace(word: &str, pairs: u64) -> Option<TestProcess> {
    let mut testproc = testproc(word);
    match testproc.unshare_net() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            println!("skipped: no right to make a network namespace");
            return None;
        }
        result => result.unwrap(),
    }
    testproc.tcp_pairs(pairs).unwrap();
    testproc.udp_connected(1).unwrap();
    testproc.unix_pairs(1).unwrap();
    Some(testproc)
}

#[test]
fn network_namespaces_come_and_go() {
    let word = word("spaces");
    // Each with a second member, which has the first one's sockets and its own.
    let mut members = Vec::new();
    for pairs in 1..=3 {
        let Some(mut first) = in_namespace(&word, pairs) else { return };
        let mut second = first.fork_copy().unwrap();
        second.tcp_pairs(10).unwrap();
        first.quiesce().unwrap();
        second.quiesce().unwrap();
        members.push((first, second));
    }
    let all = |members: &[(TestProcess, TestProcess)], watch: &mut Watch| {
        let testprocs: Vec<&TestProcess> = members.iter().flat_map(|(a, b)| [a, b]).collect();
        let image = watch.cycle().image(A);
        assert_true(image, &testprocs);
        image.tcp.unwrap()
    };
    let mut watches: Vec<Watch> =
        every_way().into_iter().map(|options| Watch::with(options, &[&word])).collect();
    for watch in &mut watches {
        assert_eq!(all(&members, watch), 2 * (1 + 2 + 3 + 30));
    }
    // Its first member alone: the namespace stays, read by way of the second.
    let (mut first, second) = members.remove(1);
    first.kill().unwrap();
    first.reap().unwrap();
    for watch in &mut watches {
        assert_eq!(watch.cycle().image(A).tcp, Some(2 * (1 + 2 + 3 + 30)));
    }
    drop(second);
    for watch in &mut watches {
        let tcp = watch.cycle().image(A).tcp;
        assert_eq!(tcp, Some(2 * (1 + 3 + 20)), "the namespace went with its last member");
    }
    let Some(mut first) = in_namespace(&word, 7) else { return };
    let second = first.fork_copy().unwrap();
    first.quiesce().unwrap();
    members.push((first, second));
    for watch in &mut watches {
        let image = watch.cycles(2).image(A);
        assert_eq!(image.tcp, Some(2 * (1 + 3 + 20 + 7)));
        assert_eq!((image.udp, image.unix), (Some(3), Some(6)));
    }
}

/// A leader that has ended has no namespace to be seen: the tables were not
/// read, and its sockets were 0.
#[test]
fn sockets_of_a_namespace_whose_only_member_lost_its_leader() {
    let word = word("headless");
    let Some(mut inside) = in_namespace(&word, 3) else { return };
    let mut outside = testproc(&word);
    outside.tcp_pairs(2).unwrap();
    let mut watches: Vec<Watch> =
        every_way().into_iter().map(|options| Watch::with(options, &[&word])).collect();
    for watch in &mut watches {
        assert_eq!(watch.cycles(2).image(A).tcp, Some(2 * (3 + 2)));
    }
    for testproc in [&mut inside, &mut outside] {
        testproc.leader_exit().unwrap();
        testproc.quiesce().unwrap();
    }
    watches.extend(every_way().into_iter().map(|options| Watch::with(options, &[&word])));
    for watch in &mut watches {
        let image = watch.cycles(2).image(A);
        assert_eq!((image.tcp, image.udp, image.unix), (Some(2 * (3 + 2)), Some(1), Some(2)));
    }
}
