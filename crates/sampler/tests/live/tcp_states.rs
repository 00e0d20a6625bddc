//! The TCP tables are left out of cycles in which the kernel's counters show no change: in every
//! cycle the sockets of this test, in a network namespace of its own, are compared with a walk
//! through the tables.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{A, Options, Sampler, bpf, cycle, has_ipv6, short_window};
use psstat_sampler::FastPaths;
use psstat_testproc::{isolated, oracle, test_name};

/// A new namespace, with the loopback interface up.
#[rustfmt::skip]
const IN_NETNS: [&str; 6] = [
    "unshare", "--net",
    "sh", "-c", "ip link set lo up && exec \"$@\"", "sh",
];

/// Samplers of this process: by netlink, by the text tables, as if the namespace were that
/// of another process, and by BPF.
struct Samplers(Vec<Sampler>);

impl Samplers {
    fn new() -> Samplers {
        let modes = [true, false].map(|sock_diag| FastPaths { sock_diag, ..FastPaths::ALL });
        let by_proc = modes.map(|fast_paths| Options { fast_paths, ..short_window() });
        let by_bpf = bpf().map(|bpf| Options { bpf: Some(bpf), ..short_window() });
        let sampler = |options| Sampler::new(options).unwrap();
        let mut samplers = Samplers(by_proc.into_iter().chain(by_bpf).map(sampler).collect());
        assert!(samplers.0.iter().all(|sampler| sampler.fast_paths().socket_counters));
        samplers.check("first");
        samplers
    }

    /// Runs some cycles, and compares each with the tables. `step`: what happened before.
    #[track_caller]
    fn check(&mut self, step: &str) -> u64 {
        let pid = std::process::id();
        let expected = oracle::established(pid).unwrap();
        for number in 0..3 {
            for (mode, sampler) in self.0.iter_mut().enumerate() {
                let sample = cycle(sampler, &mut |process, images| {
                    images.extend((process.pid == pid).then_some(A));
                });
                let image = sample.image(A);
                assert_eq!(
                    (image.tcp, image.udp),
                    (Some(expected.all_tcp()), Some(expected.all_udp())),
                    "{step}, sampler {mode}, cycle {number}"
                );
            }
        }
        assert_eq!(oracle::established(pid).unwrap(), expected, "changed during {step}");
        expected.all_tcp()
    }
}

fn pair(address: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Waits until no segment is under way any more: the number of established sockets is this.
#[track_caller]
fn settle(tcp: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while oracle::established(std::process::id()).unwrap().all_tcp() != tcp {
        assert!(Instant::now() < deadline, "the sockets do not become {tcp}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Closes a socket by RST.
fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO)).unwrap();
}

fn lo(state: &str) {
    let done = Command::new("ip").args(["link", "set", "lo", state]).status().unwrap();
    assert!(done.success());
}

#[test]
fn sockets_are_counted_in_every_state() {
    if !isolated(test_name!(), &IN_NETNS) {
        return;
    }
    let mut samplers = Samplers::new();
    let (mut one, mut other) = pair("127.0.0.1:0");
    assert_eq!(samplers.check("connected"), 2);
    assert_eq!(samplers.check("idle"), 2);
    one.write_all(b"data").unwrap();
    other.read_exact(&mut [0; 4]).unwrap();
    assert_eq!(samplers.check("data"), 2);

    // One end in FIN_WAIT2, the other one in CLOSE_WAIT.
    one.shutdown(std::net::Shutdown::Write).unwrap();
    settle(0);
    assert_eq!(samplers.check("half closed"), 0);
    // Two connections are half closed and one is opened: the number of sockets that are
    // ESTABLISHED or CLOSE_WAIT is the same.
    let pairs = [pair("127.0.0.1:0"), pair("127.0.0.1:0")];
    assert_eq!(samplers.check("two more"), 4);
    let third = pair("127.0.0.1:0");
    pairs.each_ref().iter().for_each(|(end, _)| end.shutdown(std::net::Shutdown::Write).unwrap());
    settle(2);
    assert_eq!(samplers.check("two half closed, one opened"), 2);

    // In the queue of the listener, and accepted later, which sends nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(samplers.check("not accepted"), 3);
    let server = listener.accept().unwrap().0;
    assert_eq!(samplers.check("accepted"), 4);

    reset(server);
    settle(2);
    assert_eq!(samplers.check("reset"), 2);
    drop((client, pairs, third, one, other));
    settle(0);
    assert_eq!(samplers.check("closed"), 0);
}

#[test]
fn sockets_are_counted_in_both_families() {
    if !isolated(test_name!(), &IN_NETNS) || !has_ipv6() {
        return;
    }
    let mut samplers = Samplers::new();
    let ipv6 = pair("[::1]:0");
    assert_eq!(samplers.check("only IPv6"), 2);
    let mut again = pair("[::1]:0");
    assert_eq!(samplers.check("more of IPv6, whose table is read first"), 4);
    let ipv4 = pair("127.0.0.1:0");
    assert_eq!(samplers.check("both"), 6);
    drop(ipv6);
    settle(4);
    // The client in tcp, the server's end in tcp6.
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    assert_eq!(samplers.check("dual stack, not accepted"), 5);
    let server = listener.accept().unwrap().0;
    assert_eq!(samplers.check("dual stack"), 6);
    drop((ipv4, client, server));
    settle(2);
    assert_eq!(samplers.check("one of IPv6"), 2);
    again.0.write_all(b"data").unwrap();
    assert_eq!(samplers.check("data"), 2);
    drop(again);
    settle(0);
    assert_eq!(samplers.check("none"), 0);
}

#[test]
fn half_open_socket_is_counted() {
    if !isolated(test_name!(), &IN_NETNS) {
        return;
    }
    let mut samplers = Samplers::new();
    let (one, other) = pair("127.0.0.1:0");
    assert_eq!(samplers.check("connected"), 2);
    // Nothing arrives any more.
    lo("down");
    assert_eq!(samplers.check("no network"), 2);
    drop(one);
    settle(1);
    assert_eq!(samplers.check("half open"), 1);
    reset(other);
    settle(0);
    assert_eq!(samplers.check("reset without the peer"), 0);
    lo("up");
}

#[test]
fn udp_sockets_are_counted() {
    if !isolated(test_name!(), &IN_NETNS) {
        return;
    }
    let mut samplers = Samplers::new();
    let mut sockets = Vec::new();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        if address.starts_with('[') && !has_ipv6() {
            continue;
        }
        let socket = UdpSocket::bind(address).unwrap();
        samplers.check("not connected");
        socket.connect(socket.local_addr().unwrap()).unwrap();
        samplers.check("connected");
        sockets.push(socket);
    }
    let expected = oracle::established(std::process::id()).unwrap().all_udp();
    assert_eq!(expected, sockets.len() as u64);
    sockets.remove(0);
    samplers.check("one is closed");
    sockets.clear();
    samplers.check("none");
}

/// MPTCP, whose subflows are the sockets of the tables, and are counted as TCP.
#[test]
fn mptcp_sockets_are_counted() {
    if !isolated(test_name!(), &IN_NETNS) {
        return;
    }
    use rustix::net::{AddressFamily, Protocol, SocketType, accept, bind, connect, getsockname};
    // IPPROTO_MPTCP
    let mptcp = Protocol::from_raw(262.try_into().unwrap());
    let socket = |family| rustix::net::socket(family, SocketType::STREAM, Some(mptcp));
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        let Ok(listener) = socket(family) else {
            println!("skipped: no MPTCP here");
            continue;
        };
        let mut samplers = Samplers::new();
        let any = if family == AddressFamily::INET { "127.0.0.1:0" } else { "[::1]:0" };
        let any: SocketAddr = any.parse().unwrap();
        bind(&listener, &any).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        let address = getsockname(&listener).unwrap();
        let client = socket(family).unwrap();
        connect(&client, &address).unwrap();
        samplers.check("not accepted");
        let server = accept(&listener).unwrap();
        assert_eq!(samplers.check("connected"), 2);
        drop(server);
        samplers.check("closed by the peer");
        drop((client, listener));
        settle(0);
        samplers.check("closed");
    }
}
