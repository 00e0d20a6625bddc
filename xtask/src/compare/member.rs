//! A process of the population: so many descriptors and sockets, and then it
//! sleeps, or does what is asked of it. It is this program under another name, and touches little memory,
//! since there are thousands.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::helpers;
use crate::sys::close_from;

/// What a process of the population holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// Descriptors in all, sockets and the standard ones included. 0 closes
    /// even those.
    pub(crate) descriptors: u64,
    /// Established connections to itself, two sockets each.
    pub(crate) tcp_pairs: u64,
    /// Connected udp sockets.
    pub(crate) udp: u64,
    /// Pairs of unix sockets.
    pub(crate) unix_pairs: u64,
    pub(crate) activity: Activity,
    /// Milliseconds until its first connection is replaced, and from then on
    /// until it is again.
    pub(crate) replacing: Option<(u64, u64)>,
}

/// What a process of the population does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Activity {
    #[default]
    Nothing,
    /// Runs for a moment twice a second.
    Little,
    /// Writes, computes, takes and returns memory and descriptors.
    Everything,
}

impl Holdings {
    /// How many sockets these are.
    pub(crate) fn sockets(self) -> u64 {
        2 * self.tcp_pairs + self.udp + 2 * self.unix_pairs
    }

    /// The command of such a process; `number` is its own among all.
    pub(crate) fn command(self, number: u64) -> Command {
        let mut command = helpers::command(helpers::MEMBER);
        let Holdings { descriptors, tcp_pairs, udp, unix_pairs, activity, replacing } = self;
        let (first, period) = replacing.unwrap_or_default();
        let fields =
            [number, descriptors, tcp_pairs, udp, unix_pairs, activity as u64, first, period];
        command.args(fields.map(|field| field.to_string()));
        command
    }
}

/// The process's life: takes what it is to hold, says so with one byte on
/// stdout, and sleeps.
pub(crate) fn live(fields: &[u64]) -> Result<()> {
    let &[number, descriptors, tcp_pairs, udp, unix_pairs, activity, first, period] = fields else {
        return Err("wrong number of fields".into());
    };
    let all = [Activity::Nothing, Activity::Little, Activity::Everything];
    let activity = *all.get(usize::try_from(activity)?).ok_or("no such activity")?;
    let replacing = (period > 0).then_some((first, period));
    let holdings = Holdings { descriptors, tcp_pairs, udp, unix_pairs, activity, replacing };
    // Whatever came down from the one who started xtask.
    close_from(3);
    let address = own_address(number);
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
    // stdin, stdout, stderr and `null` are there.
    for _ in 4 + holdings.sockets()..descriptors {
        held.push(null.try_clone()?.into());
    }
    std::io::stdout().write_all(b".")?;
    std::io::stdout().flush()?;
    if descriptors == 0 {
        close_from(0);
    } else {
        // The pipe to xtask is no longer needed.
        rustix::stdio::dup2_stdout(&null)?;
    }
    if activity == Activity::Everything {
        return work(&null, number);
    }
    stir(activity == Activity::Little, replacing, || {
        // The new one first: their number of sockets is never less.
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

/// How often one that does little runs.
const LITTLE: Duration = Duration::from_millis(500);

/// Sleeps for ever, but for running a little, and for replacing a connection
/// now and then.
fn stir(
    runs: bool,
    replacing: Option<(u64, u64)>,
    mut replace: impl FnMut() -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    let mut run_at = runs.then_some(start + LITTLE);
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
            *at = now + LITTLE;
        }
        if let (Some(at), Some((_, period))) = (replace_at.as_mut(), replacing)
            && *at <= now
        {
            replace()?;
            *at += millis(period);
        }
    }
}

/// A little of all that a busy process does: it writes, computes, and now and
/// then takes and returns memory and a descriptor.
fn work(mut null: &File, number: u64) -> Result<()> {
    for round in number.. {
        null.write_all(&[0; 100])?;
        // About a tenth of a percent of a core.
        std::hint::black_box((0..100_000u64).fold(round, |sum, n| sum.rotate_left(3) ^ n));
        let taken = vec![1u8; (1 + round as usize % 4) << 16];
        let further = if round.is_multiple_of(3) { Some(null.try_clone()?) } else { None };
        std::thread::sleep(Duration::from_millis(200 + number % 50));
        drop((std::hint::black_box(taken), further));
    }
    Err("it has worked for ever".into())
}

/// A loopback address of its own, so that no number of connections uses up
/// the ports of one address.
pub(crate) fn own_address(number: u64) -> SocketAddr {
    let [.., high, low] = number.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 1, high, low), 0))
}
