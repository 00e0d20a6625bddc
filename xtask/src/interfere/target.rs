//! The process that is observed: it does what an observer might disturb, and
//! times each operation itself.

use std::fs::File;
use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::histogram::Histogram;
use crate::compare::member::own_address;
use crate::{Result, sys};

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Eight threads map 64 KiB, touch each page and unmap it: the lock of the
    /// address space.
    Faults,
    /// Four threads open and close a file: the table of descriptors.
    Files,
    /// Connects, accepts and closes: the tables of sockets.
    Connections,
    /// A request and its answer between two threads, without a pause.
    Requests,
}

impl Work {
    pub(crate) const ALL: [Work; 4] =
        [Work::Faults, Work::Files, Work::Connections, Work::Requests];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Work::Faults => "map, touch, unmap",
            Work::Files => "open, close",
            Work::Connections => "connect, close",
            Work::Requests => "request, answer",
        }
    }

    fn threads(self) -> usize {
        match self {
            Work::Faults => 8,
            Work::Files => 4,
            Work::Connections | Work::Requests => 1,
        }
    }

    /// Between two operations of a thread: the threads are to meet the
    /// observer and not each other.
    fn pause(self) -> Duration {
        match self {
            Work::Faults | Work::Files => Duration::from_millis(1),
            Work::Connections => Duration::from_millis(2),
            Work::Requests => Duration::ZERO,
        }
    }

    /// Does it again and again.
    fn work(self, times: &Histogram) -> Result<()> {
        match self {
            Work::Faults => self.repeat(times, || Ok(sys::map_touch_unmap(64 << 10)?)),
            Work::Files => self.repeat(times, || {
                // Closed at once.
                File::open("/dev/null")?;
                Ok(())
            }),
            Work::Connections => {
                let listener = TcpListener::bind(own_address(0))?;
                let at = listener.local_addr()?;
                self.repeat(times, || {
                    let near = TcpStream::connect(at)?;
                    let far = listener.accept()?.0;
                    // Reset, so that none is left in TIME_WAIT.
                    for end in [&near, &far] {
                        rustix::net::sockopt::set_socket_linger(end, Some(Duration::ZERO))?;
                    }
                    Ok(())
                })
            }
            Work::Requests => {
                let (mut near, mut far) = UnixStream::pair()?;
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while far.read_exact(&mut byte).and_then(|()| far.write_all(&byte)).is_ok() {}
                });
                self.repeat(times, || {
                    let mut byte = [1];
                    near.write_all(&byte)?;
                    Ok(near.read_exact(&mut byte)?)
                })
            }
        }
    }

    fn repeat(self, times: &Histogram, mut operation: impl FnMut() -> Result<()>) -> Result<()> {
        loop {
            let start = Instant::now();
            operation()?;
            times.add(start.elapsed());
            if !self.pause().is_zero() {
                std::thread::sleep(self.pause());
            }
        }
    }
}

/// The process's life: `[MiB of memory, descriptors]`. For each line on stdin
/// it writes what it did since the one before, a line for each [`Work`].
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[memory, descriptors] = fields else { return Err("wrong number of fields".into()) };
    // Memory that a reader of smaps has to walk, page by page.
    sys::make_resident(usize::try_from(memory << 20)?)?;
    let null = File::open("/dev/null")?;
    let held = (0..descriptors).map(|_| null.try_clone());
    let _held = held.collect::<std::io::Result<Vec<_>>>()?;
    let histograms = Work::ALL.map(|work| (work, Arc::new(Histogram::new())));
    for (work, times) in &histograms {
        for _ in 0..work.threads() {
            let (work, times) = (*work, Arc::clone(times));
            std::thread::spawn(move || {
                if let Err(error) = work.work(&times) {
                    eprintln!("{}: {error}", work.name());
                    std::process::exit(1);
                }
            });
        }
    }
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        line?;
        for (_, times) in &histograms {
            writeln!(out, "{}", times.take().line())?;
        }
        out.flush()?;
    }
    Ok(())
}
