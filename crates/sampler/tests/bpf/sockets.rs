//! The sockets of processes by BPF: their descriptors and states in one pass.

use psstat_testproc::{Kind, TestProcess, oracle};

use crate::common::{A, Options, Watch, options, quiesce, testproc, testproc_in_netns, word};
use crate::{ALL, Both, assert_same, load};

const KINDS: [Kind; 7] = [
    Kind::Tcp,
    Kind::Tcp6,
    Kind::Tcp6Mapped,
    Kind::Udp,
    Kind::Udp6,
    Kind::UnixStream,
    Kind::UnixDgram,
];

/// The numbers of ESTABLISHED sockets of an image: tcp, udp, unix.
type Counts = [Option<u64>; 3];

fn counts(watch: &mut Watch) -> Counts {
    let image = watch.cycle().image(A);
    [image.tcp, image.udp, image.unix]
}

/// The same by links and tables.
fn expected(processes: &[&TestProcess]) -> Counts {
    let sockets = processes.iter().map(|process| oracle::established(process.pid()).unwrap());
    let sockets = sockets.reduce(|all, more| all.union(&more)).unwrap();
    [sockets.all_tcp(), sockets.all_udp(), sockets.unix.len() as u64].map(Some)
}

fn watch(word: &String) -> Option<Watch> {
    let bpf = load()?;
    assert!(bpf.sockets_error().is_none(), "{:?}", bpf.sockets_error());
    Some(Watch::with(Options { bpf: Some(bpf), metrics: ALL, ..options() }, &[word]))
}

/// In this network namespace and another one.
#[test]
fn sockets_of_all_kinds_are_counted() {
    let word = word("kinds");
    let Some(mut both) = Both::new(&Options { metrics: ALL, ..options() }, &[&word]) else {
        return;
    };
    let mut outside = testproc(&word);
    let Some(mut inside) = testproc_in_netns(&word) else { return };
    let has_ipv6 = crate::common::has_ipv6();
    for (n, kind) in (1..).zip(KINDS) {
        if has_ipv6 || !matches!(kind, Kind::Tcp6 | Kind::Tcp6Mapped | Kind::Udp6) {
            outside.open_sockets(kind, n).unwrap();
            inside.open_sockets(kind, n + 1).unwrap();
        }
    }
    outside.non_established_sockets(2).unwrap();
    inside.non_established_sockets(3).unwrap();
    let copy = outside.fork_copy().unwrap();
    let all = [&outside, &inside, &copy];
    quiesce(&all);
    for cycle in 0..3 {
        for process in all {
            let read = both.read(process);
            assert_eq!(read.1.tcp, Some(oracle::established(process.pid()).unwrap().all_tcp()));
            if cycle > 0 {
                assert_same("kinds", read);
            }
        }
        let image = both.bpf.sampler.sample().image(A);
        assert_eq!([image.tcp, image.udp, image.unix], expected(&all));
        assert_eq!(image.tcp_states, both.proc.sampler.sample().image(A).tcp_states);
    }
}

/// A process that does nothing while its peer closes: in the next cycle.
#[test]
fn closed_peers_show_in_the_next_cycle() {
    let (word, other) = (word("closed"), word("peer"));
    let Some(mut watch) = watch(&word) else { return };
    let (mut process, mut peer) = (testproc(&word), testproc(&other));
    process.tcp_pairs(3).unwrap();
    let fd = process.share_socket(Kind::Tcp, &mut peer).unwrap();
    process.close_fd(fd).unwrap();
    quiesce(&[&process, &peer]);
    for _ in 0..2 {
        assert_eq!(counts(&mut watch), [Some(5), Some(0), Some(0)]);
    }
    peer.exit(0).unwrap();
    while oracle::established(process.pid()).unwrap().all_tcp() != 4 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(counts(&mut watch), [Some(4), Some(0), Some(0)]);
}

/// Without a main thread the descriptors are those of another thread.
#[test]
fn sockets_without_main_thread_are_counted() {
    let word = word("leader");
    let Some(mut watch) = watch(&word) else { return };
    let mut process = testproc(&word);
    process.threads(20).unwrap();
    process.tcp_pairs(2).unwrap();
    process.unix_pairs(3).unwrap();
    process.leader_exit().unwrap();
    process.quiesce().unwrap();
    for _ in 0..3 {
        assert_eq!(counts(&mut watch), [Some(4), Some(0), Some(6)]);
    }
    // The same number of descriptors, one socket less.
    process.replace_socket(Kind::UnixStream, Kind::Tcp).unwrap();
    process.quiesce().unwrap();
    assert_eq!(counts(&mut watch), [Some(4), Some(0), Some(5)]);
}

/// More sockets of one process than the kernel gives at once, read without tables and, with more
/// descriptors, by tables.
#[test]
fn sockets_of_a_process_with_many_are_counted() {
    let word = word("many");
    let Some(mut watch) = watch(&word) else { return };
    let mut process = testproc(&word);
    process.tcp_pairs(1).unwrap();
    let mut pairs = 0;
    for more in [1900, 700] {
        process.unix_pairs(more).unwrap();
        process.quiesce().unwrap();
        pairs += more;
        for _ in 0..2 {
            assert_eq!(counts(&mut watch), [Some(2), Some(0), Some(2 * pairs)]);
        }
    }
    process.close_sockets(Kind::UnixStream, 2500).unwrap();
    process.quiesce().unwrap();
    assert_eq!(counts(&mut watch), expected(&[&process]));
}
