//! Large numbers of descriptors, threads and pages, and several network namespaces.

use crate::common::{
    A, B, Watch, assert_matches_oracle, every_mode, quiesce, testproc, testproc_in_netns, word,
};
use psstat_testproc::TestProcess;

#[test]
fn thousands_of_descriptors_and_threads() {
    let (a, b) = (word("files"), word("threads"));
    let (mut files, mut threads) = (testproc(&a), testproc(&b));
    if let Err(error) = files.open_files(3000) {
        return println!("skipped: a process may not open 3,000 files here: {error}");
    }
    if let Err(error) = threads.threads(999) {
        return println!("skipped: a process may not have 1,000 threads here: {error}");
    }
    files.tcp_pairs(5).unwrap();
    quiesce(&[&files, &threads]);
    for options in every_mode() {
        let mut watch = Watch::with(options, &[&a, &b]);
        let sample = watch.cycles(2);
        assert_matches_oracle(sample.image(A), &[&files]);
        assert_eq!(sample.image(A).fds, Some(3 + 3000 + 10));
        assert_matches_oracle(sample.image(B), &[&threads]);
        assert_eq!(sample.image(B).threads, Some(1000));
    }
    let mut watch = Watch::new(&[&a, &b]);
    watch.cycle();
    files.close_files(2500).unwrap();
    threads.end_threads(600).unwrap();
    quiesce(&[&files, &threads]);
    let sample = watch.cycle();
    assert_matches_oracle(sample.image(A), &[&files]);
    assert_matches_oracle(sample.image(B), &[&threads]);
    assert_eq!(sample.image(B).threads, Some(400));
}

#[test]
fn memory_grows_by_the_mapped_size() {
    const SIZE: u64 = 256 << 20;
    let word = word("memory");
    let mut one = testproc(&word);
    let mut watch = Watch::new(&[&word]);
    let mut memory = || {
        let image = watch.cycle().image(A);
        (image.vsize.unwrap(), image.rss.unwrap())
    };
    let (vsize, rss) = memory();
    if let Err(error) = one.mmap_touch(SIZE) {
        return println!("skipped: 256 MiB of memory are not available: {error}");
    }
    let (vsize_after, rss_after) = memory();
    assert_eq!(vsize_after - vsize, SIZE);
    // The kernel counts in batches, and may swap.
    let grown = rss_after.saturating_sub(rss);
    assert!(grown.abs_diff(SIZE) < 2 << 20, "{grown} bytes resident for {SIZE} touched");
}

/// A test process in a new network namespace, with `pairs` tcp connections, one of udp and one of
/// unix sockets.
fn connected_in_netns(word: &str, pairs: u64) -> Option<TestProcess> {
    let mut testproc = testproc_in_netns(word)?;
    testproc.tcp_pairs(pairs).unwrap();
    testproc.udp_connected(1).unwrap();
    testproc.unix_pairs(1).unwrap();
    Some(testproc)
}

#[test]
fn netns_creation_and_removal() {
    let word = word("netns");
    // The second member of each has the sockets of the first one, and others.
    let mut members = Vec::new();
    for pairs in 1..=3 {
        let Some(mut first) = connected_in_netns(&word, pairs) else { return };
        let mut second = first.fork_copy().unwrap();
        second.tcp_pairs(10).unwrap();
        quiesce(&[&first, &second]);
        members.push((first, second));
    }
    let mut watches = Watch::in_every_mode(&word);
    for watch in &mut watches {
        let testprocs: Vec<&TestProcess> = members.iter().flat_map(|(a, b)| [a, b]).collect();
        let image = watch.cycle().image(A);
        assert_matches_oracle(image, &testprocs);
        assert_eq!(image.tcp, Some(2 * (1 + 2 + 3 + 30)));
    }
    // The tables of the namespace are then read through its second member.
    let (mut first, second) = members.remove(1);
    first.kill().unwrap();
    first.reap().unwrap();
    for watch in &mut watches {
        assert_eq!(watch.cycle().image(A).tcp, Some(2 * (1 + 2 + 3 + 30)));
    }
    drop(second);
    for watch in &mut watches {
        assert_eq!(watch.cycle().image(A).tcp, Some(2 * (1 + 3 + 20)));
    }
    let Some(mut first) = connected_in_netns(&word, 7) else { return };
    let second = first.fork_copy().unwrap();
    first.quiesce().unwrap();
    members.push((first, second));
    for watch in &mut watches {
        let image = watch.cycles(2).image(A);
        assert_eq!(image.tcp, Some(2 * (1 + 3 + 20 + 7)));
        assert_eq!((image.udp, image.unix), (Some(3), Some(6)));
    }
}

/// The namespace link of an exited leader cannot be read: the tables were not read, and the
/// sockets of the process counted as 0.
#[test]
fn sockets_of_netns_with_leaderless_member() {
    let word = word("leaderless");
    let Some(mut inside) = connected_in_netns(&word, 3) else { return };
    let mut outside = testproc(&word);
    outside.tcp_pairs(2).unwrap();
    let mut watches = Watch::in_every_mode(&word);
    for watch in &mut watches {
        assert_eq!(watch.cycles(2).image(A).tcp, Some(2 * (3 + 2)));
    }
    for testproc in [&mut inside, &mut outside] {
        testproc.leader_exit().unwrap();
        testproc.quiesce().unwrap();
    }
    watches.extend(Watch::in_every_mode(&word));
    for watch in &mut watches {
        let image = watch.cycles(2).image(A);
        assert_eq!((image.tcp, image.udp, image.unix), (Some(2 * (3 + 2)), Some(1), Some(2)));
    }
}
