//! What a process holds: connections, descriptors, threads.

use std::fs::File;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use super::chance::Chance;
use crate::Result;
use crate::compare::member::own_address;

/// How many of each.
#[derive(Clone, Copy, Debug)]
struct Amounts {
    tcp_pairs: usize,
    udp: usize,
    unix_pairs: usize,
    files: usize,
    threads: usize,
}

/// In a calm.
const CALM: Amounts = Amounts { tcp_pairs: 6, udp: 3, unix_pairs: 5, files: 12, threads: 3 };

/// Things held. Whatever is dropped is closed.
#[derive(Debug)]
pub(crate) struct Holder {
    listener: TcpListener,
    udp_at: SocketAddr,
    tcp: Vec<(TcpStream, TcpStream)>,
    udp: Vec<UdpSocket>,
    unix: Vec<(UnixStream, UnixStream)>,
    files: Vec<File>,
    threads: Vec<(Sender<()>, JoinHandle<()>)>,
}

impl Holder {
    /// Holds a listener only. Processes with odd numbers have IPv6, where that
    /// is.
    pub(crate) fn new(number: u64) -> Result<Holder> {
        let udp_at = own_address(number);
        let six = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        let listener = match TcpListener::bind(six) {
            Ok(listener) if !number.is_multiple_of(2) => listener,
            _ => TcpListener::bind(udp_at)?,
        };
        Ok(Holder {
            listener,
            udp_at,
            tcp: Vec::new(),
            udp: Vec::new(),
            unix: Vec::new(),
            files: Vec::new(),
            threads: Vec::new(),
        })
    }

    /// Holds as much as in each calm.
    pub(crate) fn calm(&mut self) -> Result<()> {
        self.hold(CALM)
    }

    /// Holds something else than before.
    pub(crate) fn shift(&mut self, chance: &mut Chance) -> Result<()> {
        let mut to = |now: usize, most: u64| {
            // Each has a change in every other turn, so that they differ.
            if chance.below(2) == 0 { now } else { chance.below(most + 1) as usize }
        };
        self.hold(Amounts {
            tcp_pairs: to(self.tcp.len(), 12),
            udp: to(self.udp.len(), 6),
            unix_pairs: to(self.unix.len(), 10),
            files: to(self.files.len(), 40),
            threads: to(self.threads.len(), 6),
        })
    }

    fn hold(&mut self, wanted: Amounts) -> Result<()> {
        let listener = &self.listener;
        adjust(&mut self.tcp, wanted.tcp_pairs, || {
            let near = TcpStream::connect(listener.local_addr()?)?;
            Ok((near, listener.accept()?.0))
        })?;
        let at = self.udp_at;
        adjust(&mut self.udp, wanted.udp, || {
            let socket = UdpSocket::bind(at)?;
            socket.connect(socket.local_addr()?)?;
            Ok(socket)
        })?;
        adjust(&mut self.unix, wanted.unix_pairs, || Ok(UnixStream::pair()?))?;
        adjust(&mut self.files, wanted.files, || Ok(File::open("/dev/null")?))?;
        while self.threads.len() > wanted.threads
            && let Some((end, thread)) = self.threads.pop()
        {
            drop(end);
            let _ = thread.join();
        }
        adjust(&mut self.threads, wanted.threads, || {
            let (end, ended) = channel::<()>();
            let sleep = move || {
                let _ = ended.recv();
            };
            Ok((end, std::thread::Builder::new().stack_size(64 << 10).spawn(sleep)?))
        })
    }
}

/// Closes the oldest or opens new ones.
fn adjust<T>(held: &mut Vec<T>, wanted: usize, mut open: impl FnMut() -> Result<T>) -> Result<()> {
    held.drain(..held.len().saturating_sub(wanted));
    while held.len() < wanted {
        held.push(open()?);
    }
    Ok(())
}
