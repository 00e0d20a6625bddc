//! Lines that another process writes, read continuously.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Instant;

use super::TIMEOUT;

/// A line and the time at which it was read.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) at: Instant,
    pub(crate) text: String,
}

/// The lines of a stream.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    read: Mutex<Vec<Line>>,
    ended: AtomicBool,
    came: Condvar,
}

impl Lines {
    /// Reads a stream to its end in a thread. A partial last line, of a writer that was killed, is
    /// dropped.
    pub(crate) fn follow(stream: impl Read + Send + 'static) -> (Arc<Lines>, JoinHandle<()>) {
        let lines = Arc::new(Lines::default());
        let theirs = Arc::clone(&lines);
        let thread = std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
                if line.pop() == Some(b'\n') {
                    let text = String::from_utf8(std::mem::take(&mut line)).expect("not UTF-8");
                    theirs.lock().push(Line { at: Instant::now(), text });
                    theirs.came.notify_all();
                }
            }
            // With the lock held, because a waiting thread may have checked the flag before it
            // waits.
            let _lines = theirs.lock();
            theirs.ended.store(true, Ordering::Relaxed);
            theirs.came.notify_all();
        });
        (lines, thread)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.read.lock().unwrap()
    }

    /// All lines so far.
    pub(crate) fn snapshot(&self) -> Vec<Line> {
        self.lock().clone()
    }

    /// Waits until `enough` returns a value for the lines so far, and returns that value.
    pub(crate) fn wait<T>(&self, what: &str, enough: impl Fn(&[Line]) -> Option<T>) -> T {
        let deadline = Instant::now() + TIMEOUT;
        let mut lines = self.lock();
        loop {
            if let Some(found) = enough(&lines) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = self.ended.load(Ordering::Relaxed);
            if left.is_zero() || ended {
                let tail: Vec<&str> =
                    lines.iter().rev().take(60).rev().map(|line| line.text.as_str()).collect();
                let why = if ended { "it has ended" } else { "it takes too long" };
                panic!("{what}: {why}; the last lines:\n{}", tail.join("\n"));
            }
            lines = self.came.wait_timeout(lines, left).unwrap().0;
        }
    }
}
