//! TCP sockets in other states than ESTABLISHED, compared with `ss` and with what this test has
//! done.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;

use crate::common::{
    A, Options, Sampler, Watch, cycle, every_mode, has_ipv6, quiesce, short_window, testproc,
    testproc_in_netns, word,
};
use psstat_sampler::{FastPaths, MetricGroups, TcpStateCounts};
use psstat_testproc::{isolated, test_name, wait_until};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

const METRICS: MetricGroups =
    MetricGroups { states: false, faults: false, swap: false, switches: false, tcp: true };

/// New namespaces, with the loopback interface up and without other processes.
#[rustfmt::skip]
const IN_NETNS: [&str; 10] = [
    "unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
    "sh", "-c", "ip link set lo up && exec \"$@\"", "sh",
];

/// In the order of the states in `ss`, below.
const STATES: [&str; 8] = [
    "LISTEN",
    "SYN-SENT",
    "SYN-RECV",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "CLOSE-WAIT",
    "LAST-ACK",
    "CLOSING",
];

fn numbers(counts: TcpStateCounts) -> [u64; 8] {
    [
        counts.listen,
        counts.syn_sent,
        counts.syn_recv,
        counts.fin_wait1,
        counts.fin_wait2,
        counts.close_wait,
        counts.last_ack,
        counts.closing,
    ]
}

/// The sockets of this namespace that have an inode, by state, from `ss`.
fn by_ss() -> [u64; 8] {
    let output = Command::new("ss").args(["-H", "-t", "-a", "-n", "-e"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let mut words = line.split_whitespace();
        let state = words.next().unwrap().to_owned();
        let has_inode = words.any(|word| word.starts_with("ino:") && word != "ino:0");
        *counts.entry(state).or_default() += u64::from(has_inode);
    }
    STATES.map(|state| counts.get(state).copied().unwrap_or(0))
}

/// Samplers of this process: by netlink and by the text tables, as if the namespace were that
/// of another process.
struct Samplers(Vec<Sampler>);

impl Samplers {
    fn new() -> Samplers {
        let modes = [true, false].map(|sock_diag| FastPaths { sock_diag, ..FastPaths::ALL });
        let sampler = |fast_paths| {
            Sampler::new(Options { fast_paths, metrics: METRICS, ..short_window() }).unwrap()
        };
        Samplers(modes.map(sampler).into())
    }

    /// Waits until the sockets of this namespace are these, and compares the samplers with them.
    #[track_caller]
    fn check(&mut self, step: &str, expected: [u64; 8]) {
        wait_until(step, || by_ss() == expected);
        let pid = std::process::id();
        for number in 0..3 {
            for (mode, sampler) in self.0.iter_mut().enumerate() {
                let image = cycle(sampler, &mut |process, images| {
                    images.extend((process.pid == pid).then_some(A));
                })
                .image(A);
                let found = numbers(image.tcp_states.unwrap());
                assert_eq!(found, expected, "{step}, sampler {mode}, cycle {number}");
                let process = sampler.processes().next().unwrap().usage;
                assert_eq!(process.tcp_states, image.tcp_states);
            }
        }
        assert_eq!(by_ss(), expected, "changed during {step}");
    }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn lo(state: &str) {
    let done = Command::new("ip").args(["link", "set", "lo", state]).status().unwrap();
    assert!(done.success());
}

#[test]
fn sockets_are_counted_by_state() {
    if !isolated(test_name!(), &IN_NETNS) {
        return;
    }
    if Command::new("ss").arg("-V").output().is_err() {
        return println!("skipped: ss is not installed");
    }
    let mut samplers = Samplers::new();
    samplers.check("none", [0; 8]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    samplers.check("listener", [1, 0, 0, 0, 0, 0, 0, 0]);
    // Each of them has two descriptors.
    let again = listener.try_clone().unwrap();
    let ipv6 = has_ipv6().then(|| TcpListener::bind("[::1]:0").unwrap());
    let listen = 1 + u64::from(ipv6.is_some());
    samplers.check("listeners", [listen, 0, 0, 0, 0, 0, 0, 0]);
    let (one, other) = pair();
    samplers.check("connected", [listen, 0, 0, 0, 0, 0, 0, 0]);
    one.shutdown(Shutdown::Write).unwrap();
    samplers.check("half closed", [listen, 0, 0, 0, 1, 1, 0, 0]);
    drop((again, ipv6));
    samplers.check("without a listener", [1, 0, 0, 0, 1, 1, 0, 0]);

    // The queue of a listener is full, so it does not respond.
    let full = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let full = full.unwrap();
    rustix::net::bind(&full, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let address = rustix::net::getsockname(&full).unwrap();
    let connecting = || -> OwnedFd {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
        let error = connect(&socket, &address).unwrap_err();
        assert_eq!(error, Errno::INPROGRESS);
        socket
    };
    let first = connecting();
    samplers.check("connected, not accepted", [2, 0, 0, 0, 1, 1, 0, 0]);
    let more = [connecting(), connecting()];
    samplers.check("connecting", [2, 2, 0, 0, 1, 1, 0, 0]);

    // Nothing arrives any more.
    let (third, fourth) = pair();
    lo("down");
    third.shutdown(Shutdown::Write).unwrap();
    other.shutdown(Shutdown::Write).unwrap();
    samplers.check("not acknowledged", [2, 2, 0, 1, 1, 0, 1, 0]);
    // Without a process.
    drop((third, other));
    samplers.check("closed", [2, 2, 0, 0, 1, 0, 0, 0]);
    drop((first, more, full, fourth, one, listener));
    samplers.check("all closed", [0; 8]);
    lo("up");
}

/// In several namespaces, and once if processes share them.
#[test]
fn shared_sockets_are_counted_once() {
    let word = word("tcp-states");
    let Some(mut inside) = testproc_in_netns(&word) else { return };
    let mut outside = testproc(&word);
    inside.non_established_sockets(3).unwrap();
    outside.non_established_sockets(2).unwrap();
    outside.tcp_pairs(1).unwrap();
    let copy = outside.fork_copy().unwrap();
    quiesce(&[&inside, &outside, &copy]);
    // A set has a listener of each family, and a socket that its peer has closed.
    let families = 1 + u64::from(has_ipv6());
    let expected = |sets: u64| [sets * families, 0, 0, 0, 0, sets, 0, 0];
    for options in every_mode() {
        let mut watch = Watch::with(Options { metrics: METRICS, ..options }, &[&word]);
        let image = watch.cycles(2).image(A);
        assert_eq!(numbers(image.tcp_states.unwrap()), expected(5));
        assert_eq!(image.tcp, Some(2));
        for process in watch.sampler.processes() {
            let sets = if process.pid == inside.pid() { 3 } else { 2 };
            assert_eq!(numbers(process.usage.tcp_states.unwrap()), expected(sets));
        }
    }
    let mut watch = Watch::new(&[&word]);
    assert_eq!(watch.cycles(2).image(A).tcp_states, None);
}
