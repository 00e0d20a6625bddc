//! The resources of a process: connections, files, threads.

use std::fs::File;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use super::member::loopback_address;
use super::rng::Rng;
use crate::Result;

/// The number of each.
#[derive(Clone, Copy, Debug)]
struct Amounts {
    tcp_pairs: usize,
    udp: usize,
    unix_pairs: usize,
    files: usize,
    threads: usize,
}

/// In the quiescent phases.
const STABLE: Amounts = Amounts { tcp_pairs: 6, udp: 3, unix_pairs: 5, files: 12, threads: 3 };

/// Open resources.
#[derive(Debug)]
pub(crate) struct ResourceHolder {
    listener: TcpListener,
    udp_address: SocketAddr,
    tcp: Vec<(TcpStream, TcpStream)>,
    udp: Vec<UdpSocket>,
    unix: Vec<(UnixStream, UnixStream)>,
    files: Vec<File>,
    threads: Vec<(Sender<()>, JoinHandle<()>)>,
}

impl ResourceHolder {
    /// Opens a listener only. Processes with odd numbers use IPv6 where it is available.
    pub(crate) fn new(number: u64) -> Result<ResourceHolder> {
        let udp_address = loopback_address(number);
        let ipv6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        let listener = match TcpListener::bind(ipv6) {
            Ok(listener) if !number.is_multiple_of(2) => listener,
            _ => TcpListener::bind(udp_address)?,
        };
        Ok(ResourceHolder {
            listener,
            udp_address,
            tcp: Vec::new(),
            udp: Vec::new(),
            unix: Vec::new(),
            files: Vec::new(),
            threads: Vec::new(),
        })
    }

    /// Holds the amounts of the quiescent phases.
    pub(crate) fn set_stable(&mut self) -> Result<()> {
        self.set(STABLE)
    }

    /// Changes some of the amounts at random.
    pub(crate) fn change(&mut self, rng: &mut Rng) -> Result<()> {
        let mut amount = |now: usize, max: u64| {
            // Each changes in every other step on average, independently of the others.
            if rng.below(2) == 0 { now } else { rng.below(max + 1) as usize }
        };
        self.set(Amounts {
            tcp_pairs: amount(self.tcp.len(), 12),
            udp: amount(self.udp.len(), 6),
            unix_pairs: amount(self.unix.len(), 10),
            files: amount(self.files.len(), 40),
            threads: amount(self.threads.len(), 6),
        })
    }

    fn set(&mut self, amounts: Amounts) -> Result<()> {
        let listener = &self.listener;
        adjust(&mut self.tcp, amounts.tcp_pairs, || {
            let client = TcpStream::connect(listener.local_addr()?)?;
            Ok((client, listener.accept()?.0))
        })?;
        let address = self.udp_address;
        adjust(&mut self.udp, amounts.udp, || {
            let socket = UdpSocket::bind(address)?;
            socket.connect(socket.local_addr()?)?;
            Ok(socket)
        })?;
        adjust(&mut self.unix, amounts.unix_pairs, || Ok(UnixStream::pair()?))?;
        adjust(&mut self.files, amounts.files, || Ok(File::open("/dev/null")?))?;
        while self.threads.len() > amounts.threads
            && let Some((end, thread)) = self.threads.pop()
        {
            drop(end);
            let _ = thread.join();
        }
        adjust(&mut self.threads, amounts.threads, || {
            let (end, ended) = channel::<()>();
            let sleep = move || {
                let _ = ended.recv();
            };
            Ok((end, std::thread::Builder::new().stack_size(64 << 10).spawn(sleep)?))
        })
    }
}

/// Closes the oldest or opens new ones.
fn adjust<T>(held: &mut Vec<T>, amount: usize, mut open: impl FnMut() -> Result<T>) -> Result<()> {
    held.drain(..held.len().saturating_sub(amount));
    while held.len() < amount {
        held.push(open()?);
    }
    Ok(())
}
