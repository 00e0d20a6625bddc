//! Signals that end a loop.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Signals such as ctrl-c, after which a loop ends. A second one ends the program immediately, in
/// case it is blocked.
pub(super) struct Interrupt(UnixStream);

impl Interrupt {
    pub(super) fn listen(signals: &[i32]) -> io::Result<Interrupt> {
        let (reader, writer) = UnixStream::pair()?;
        let received = Arc::new(AtomicBool::new(false));
        for &signal in signals {
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&received))?;
            signal_hook::flag::register(signal, Arc::clone(&received))?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Interrupt(reader))
    }

    /// Waits until `due`. Returns whether a signal was received before.
    pub(super) fn wait_until(&self, due: Instant) -> io::Result<bool> {
        loop {
            let remaining = due.saturating_duration_since(Instant::now());
            // An interval is at most a day.
            let remaining = Timespec::try_from(remaining).unwrap_or_default();
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&remaining)) {
                Ok(ready) => return Ok(ready > 0),
                // A signal; the next poll detects it.
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
