//! The observed process of the overhead experiment: it performs operations that an observer might
//! slow down, and times each of them.

use std::fs::File;
use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::histogram::Histogram;
use super::member::loopback_address;
use crate::{Result, sys};

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Eight threads map 64 KiB, touch each page and unmap it: the lock of the address space.
    Faults,
    /// Four threads open and close a file: the fd table.
    Files,
    /// Connects, accepts and closes: the socket tables.
    Connections,
    /// A request and its response between two threads, without a pause.
    Requests,
}

impl Operation {
    pub(crate) const ALL: [Operation; 4] =
        [Operation::Faults, Operation::Files, Operation::Connections, Operation::Requests];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Operation::Faults => "map, touch, unmap",
            Operation::Files => "open, close",
            Operation::Connections => "connect, close",
            Operation::Requests => "request, response",
        }
    }

    fn threads(self) -> usize {
        match self {
            Operation::Faults => 8,
            Operation::Files => 4,
            Operation::Connections | Operation::Requests => 1,
        }
    }

    /// Between two operations of a thread: the threads should contend with the observer, not with
    /// each other.
    fn pause(self) -> Duration {
        match self {
            Operation::Faults | Operation::Files => Duration::from_millis(1),
            Operation::Connections => Duration::from_millis(2),
            Operation::Requests => Duration::ZERO,
        }
    }

    fn run(self, durations: &Histogram) -> Result<()> {
        match self {
            Operation::Faults => self.repeat(durations, || Ok(sys::map_touch_unmap(64 << 10)?)),
            Operation::Files => self.repeat(durations, || {
                drop(File::open("/dev/null")?);
                Ok(())
            }),
            Operation::Connections => {
                let listener = TcpListener::bind(loopback_address(0))?;
                let address = listener.local_addr()?;
                self.repeat(durations, || {
                    let client = TcpStream::connect(address)?;
                    let server = listener.accept()?.0;
                    // Reset, so that none remains in TIME_WAIT.
                    for end in [&client, &server] {
                        rustix::net::sockopt::set_socket_linger(end, Some(Duration::ZERO))?;
                    }
                    Ok(())
                })
            }
            Operation::Requests => {
                let (mut client, mut server) = UnixStream::pair()?;
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while server
                        .read_exact(&mut byte)
                        .and_then(|()| server.write_all(&byte))
                        .is_ok()
                    {}
                });
                self.repeat(durations, || {
                    let mut byte = [1];
                    client.write_all(&byte)?;
                    Ok(client.read_exact(&mut byte)?)
                })
            }
        }
    }

    fn repeat(
        self,
        durations: &Histogram,
        mut operation: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        loop {
            let start = Instant::now();
            operation()?;
            durations.add(start.elapsed());
            if !self.pause().is_zero() {
                std::thread::sleep(self.pause());
            }
        }
    }
}

/// Runs the mode: `[MiB of memory, file descriptors]`. For each line on stdin it writes the
/// durations since the previous one, a line for each [`Operation`].
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[memory, fds] = fields else { return Err("wrong number of fields".into()) };
    // A reader of smaps has to walk it page by page.
    sys::make_resident(usize::try_from(memory << 20)?)?;
    let null = File::open("/dev/null")?;
    let _held = (0..fds).map(|_| null.try_clone()).collect::<std::io::Result<Vec<_>>>()?;
    let histograms = Operation::ALL.map(|operation| (operation, Arc::new(Histogram::new())));
    for (operation, durations) in &histograms {
        for _ in 0..operation.threads() {
            let (operation, durations) = (*operation, Arc::clone(durations));
            std::thread::spawn(move || {
                if let Err(error) = operation.run(&durations) {
                    eprintln!("{}: {error}", operation.name());
                    std::process::exit(1);
                }
            });
        }
    }
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        line?;
        for (_, durations) in &histograms {
            writeln!(out, "{}", durations.take().line())?;
        }
        out.flush()?;
    }
    Ok(())
}
