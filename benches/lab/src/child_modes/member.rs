//! A process of an observed population: it holds file descriptors and sockets, and sleeps or runs
//! a little. It touches little memory, since there are thousands of them.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::sys::close_from;

/// The resources of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    /// File descriptors, with the sockets and the standard ones. 0 closes even those.
    pub(crate) fds: u64,
    /// Established connections to itself, two sockets each.
    pub(crate) tcp_pairs: u64,
    /// Connected udp sockets.
    pub(crate) udp: u64,
    /// Pairs of unix sockets.
    pub(crate) unix_pairs: u64,
    /// Whether it runs for some microseconds twice per second.
    pub(crate) is_active: bool,
    /// Milliseconds until its first connection is replaced, and per replacement after that.
    pub(crate) replacing: Option<(u64, u64)>,
}

impl Resources {
    /// The number of sockets.
    pub(crate) fn sockets(self) -> u64 {
        2 * self.tcp_pairs + self.udp + 2 * self.unix_pairs
    }

    /// The command of the process with this number.
    pub(crate) fn command(self, number: u64) -> Command {
        let mut command = super::command(super::MEMBER);
        let Resources { fds, tcp_pairs, udp, unix_pairs, is_active, replacing } = self;
        let (first, period) = replacing.unwrap_or_default();
        let fields = [number, fds, tcp_pairs, udp, unix_pairs, is_active.into(), first, period];
        command.args(fields.map(|field| field.to_string()));
        command
    }
}

/// Runs the mode with the fields of [`Resources::command`]: opens the resources, writes one byte to
/// stdout, and sleeps.
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[number, fds, tcp_pairs, udp, unix_pairs, is_active, first, period] = fields else {
        return Err("wrong number of fields".into());
    };
    let is_active = is_active != 0;
    let replacing = (period > 0).then_some((first, period));
    let resources = Resources { fds, tcp_pairs, udp, unix_pairs, is_active, replacing };
    // Descriptors inherited from the process that started the experiment.
    close_from(3);
    let address = loopback_address(number);
    let mut held: Vec<OwnedFd> = Vec::new();
    if tcp_pairs > 0 {
        let listener = TcpListener::bind(address)?;
        for _ in 0..tcp_pairs {
            held.extend(connection(&listener)?);
        }
    }
    for _ in 0..udp {
        let socket = UdpSocket::bind(address)?;
        socket.connect(socket.local_addr()?)?;
        held.push(socket.into());
    }
    for _ in 0..unix_pairs {
        let (one, other) = UnixStream::pair()?;
        held.extend([OwnedFd::from(one), other.into()]);
    }
    let null = File::options().read(true).write(true).open("/dev/null")?;
    // Four are open already: stdin, stdout, stderr and `null`.
    for _ in 4 + resources.sockets()..fds {
        held.push(null.try_clone()?.into());
    }
    std::io::stdout().write_all(b".")?;
    std::io::stdout().flush()?;
    if fds == 0 {
        close_from(0);
    } else {
        // The pipe to the experiment is no longer needed.
        rustix::stdio::dup2_stdout(&null)?;
    }
    exercise(is_active, replacing, || {
        // The new one first: the number of sockets never decreases.
        let new = connection(&TcpListener::bind(address)?)?;
        for (held, new) in held.iter_mut().zip(new) {
            *held = new;
        }
        Ok(())
    })
}

/// Both ends of a connection.
fn connection(listener: &TcpListener) -> Result<[OwnedFd; 2]> {
    let one = TcpStream::connect(listener.local_addr()?)?;
    Ok([one.into(), listener.accept()?.0.into()])
}

/// How often an active process runs.
const LIGHT_INTERVAL: Duration = Duration::from_millis(500);

/// Sleeps; runs a little and replaces a connection from time to time.
fn exercise(
    runs: bool,
    replacing: Option<(u64, u64)>,
    mut replace: impl FnMut() -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    let mut run_at = runs.then_some(start + LIGHT_INTERVAL);
    let millis = Duration::from_millis;
    let mut replace_at = replacing.map(|(first, _)| start + millis(first));
    loop {
        let Some(next) = run_at.into_iter().chain(replace_at).min() else {
            rustix::event::pause();
            continue;
        };
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        if let Some(at) = run_at.as_mut().filter(|at| **at <= now) {
            std::hint::black_box((0..2000u64).fold(1, |sum: u64, n| sum.rotate_left(3) ^ n));
            *at = now + LIGHT_INTERVAL;
        }
        if let (Some(at), Some((_, period))) = (replace_at.as_mut(), replacing)
            && *at <= now
        {
            replace()?;
            *at += millis(period);
        }
    }
}

/// The loopback address of a process: one for each, so that the ports of an address never run out.
pub(crate) fn loopback_address(number: u64) -> SocketAddr {
    let [.., high, low] = number.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 1, high, low), 0))
}
