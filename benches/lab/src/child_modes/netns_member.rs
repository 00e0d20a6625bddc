//! A process in a network namespace of its own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::{Result, sys};

/// The connections in the namespace, and the number of ESTABLISHED sockets if it is constant.
pub(crate) const STATES: [(&str, Option<u64>); 5] = [
    ("no connection", Some(0)),
    ("a connection without traffic", Some(2)),
    ("short connections, twice per second", None),
    ("a connection with traffic, twice per second", Some(2)),
    ("the same over IPv4 and over IPv6", Some(4)),
];
/// Between two segments or connections.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs the mode: `[state]`. Prints a line when the sockets are there.
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[state] = fields else { return Err("wrong number of fields".into()) };
    sys::enter_namespaces()?;
    let ipv4: SocketAddr = ([127, 0, 0, 1], 0).into();
    let ipv6 = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0));
    let addresses: &[SocketAddr] = match state {
        1 | 3 => &[ipv4],
        4 => &[ipv4, ipv6],
        _ => &[],
    };
    let mut pairs =
        addresses.iter().map(|&address| connect(address)).collect::<Result<Vec<_>>>()?;
    println!("ready");
    loop {
        std::thread::sleep(PAUSE);
        match state {
            2 => drop(connect(ipv4)?),
            3 | 4 => {
                for (one, other) in &mut pairs {
                    one.write_all(b"x")?;
                    other.read_exact(&mut [0])?;
                }
            }
            _ => {}
        }
    }
}

/// Both ends of a connection.
fn connect(address: SocketAddr) -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(address)?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((client, listener.accept()?.0))
}
