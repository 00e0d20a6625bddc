//! Writes cycles to stdout.

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::controlling_terminal::is_hung_up;

/// Stdout, written in whole cycles.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// The last write ended within a line.
    partial: bool,
}

/// Written after a partial line. Without it, a line that ends within a number would be a point
/// with a wrong value.
const PARTIAL_LINE_END: &[u8] = b" torn\n";

/// The result of writing a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// The whole cycle was written.
    Complete,
    /// The reader has closed the pipe, or the terminal is lost.
    Closed,
    /// The cycle could not be written and is lost, for example because a disk is full.
    Failed(Errno),
}

impl Output {
    /// Writes the lines of a cycle, in one write if the reader keeps up. Otherwise it blocks,
    /// which delays the next cycle; SIGTERM ends the program in any case.
    pub(crate) fn write(&mut self, cycle: &[u8]) -> Written {
        if self.partial {
            match write_all(PARTIAL_LINE_END) {
                Written::Complete => self.partial = false,
                other => return other,
            }
        }
        let mut rest = cycle;
        while !rest.is_empty() {
            match rustix::io::write(rustix::stdio::stdout(), rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(errno) => match result_of(errno) {
                    Some(result) => {
                        let written = cycle.get(..cycle.len() - rest.len()).unwrap_or_default();
                        self.partial = written.last().is_some_and(|&byte| byte != b'\n');
                        return result;
                    }
                    None => continue,
                },
            }
        }
        Written::Complete
    }
}

fn write_all(mut bytes: &[u8]) -> Written {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(errno) => {
                if let Some(result) = result_of(errno) {
                    return result;
                }
            }
        }
    }
    Written::Complete
}

/// The result that an error of write(2) causes; `None` to retry.
fn result_of(errno: Errno) -> Option<Written> {
    match errno {
        Errno::INTR => None,
        Errno::AGAIN => {
            // Another process has made the pipe non-blocking.
            let stdout = rustix::stdio::stdout();
            let _ = rustix::event::poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], None);
            None
        }
        Errno::PIPE => Some(Written::Closed),
        // A disk that fails gives the same errno.
        Errno::IO if is_hung_up(rustix::stdio::stdout()) => Some(Written::Closed),
        errno => Some(Written::Failed(errno)),
    }
}
