//! Writing a cycle to stdout.

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

/// Stdout, for whole cycles.
#[derive(Debug, Default)]
pub struct Output {
    /// The last write ended in the middle of a line.
    partial: bool,
}

/// What is written behind a line that was cut off, before the next one: cut in
/// the middle of a number it would otherwise be a point with a wrong value.
const TORN: &[u8] = b" torn\n";

/// How writing a cycle ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Whole.
    Complete,
    /// The reader has closed its end: nobody wants more.
    Closed,
    /// It could not be written, and is lost: the disk is full, say.
    Failed(Errno),
}

impl Output {
    /// Writes a cycle's lines, in one write where the reader keeps up. Blocks
    /// while it does not, which is what holds the next cycle back; SIGTERM
    /// ends the program all the same.
    pub fn write(&mut self, cycle: &[u8]) -> Written {
        if self.partial {
            match write_all(TORN) {
                Written::Complete => self.partial = false,
                other => return other,
            }
        }
        let mut rest = cycle;
        while !rest.is_empty() {
            match rustix::io::write(rustix::stdio::stdout(), rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(errno) => match after_partial(errno) {
                    Some(ended) => {
                        let done = cycle.get(..cycle.len() - rest.len()).unwrap_or_default();
                        self.partial = done.last().is_some_and(|&byte| byte != b'\n');
                        return ended;
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
                if let Some(ended) = after_partial(errno) {
                    return ended;
                }
            }
        }
    }
    Written::Complete
}

/// What an error of write(2) means; `None` is to try again.
fn after_partial(errno: Errno) -> Option<Written> {
    match errno {
        Errno::INTR => None,
        Errno::AGAIN => {
            // Somebody made the pipe non-blocking: wait here instead.
            let stdout = rustix::stdio::stdout();
            let _ = rustix::event::poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], None);
            None
        }
        Errno::PIPE => Some(Written::Closed),
        errno => Some(Written::Failed(errno)),
    }
}
