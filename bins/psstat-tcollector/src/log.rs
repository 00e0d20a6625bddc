//! Log lines on stderr, which tcollector adds to its log. A line is written at once or not at
//! all, and an issue that persists is logged once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use psstat_support::escape;
use rustix::event::{PollFd, PollFlags, Timespec};

/// The maximum length of a line with its newline: a pipe that is writable accepts this number of
/// bytes at once (`PIPE_BUF`, pipe(7)).
const MAX_LINE: usize = 4096;

/// The number of lines that could not be written.
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// The last line was written partially, because a disk is full.
static PARTIAL: AtomicBool = AtomicBool::new(false);
/// Whether lines that report no issue are left out.
static QUIET: AtomicBool = AtomicBool::new(false);
/// Held from the check whether stderr is writable until the write.
static WRITER: Mutex<()> = Mutex::new(());

/// Writes a line if stderr is writable. It never waits for a reader, which would delay the
/// points: lines that cannot be written are counted, and their number is logged once stderr is
/// writable again. A closed stderr is ignored.
pub(crate) fn line(message: &str) {
    let line = format_line(message);
    let _writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    if !report_dropped() || !try_write(&line) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Leaves out what [`info`] would write.
pub(crate) fn set_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Writes a line that reports no issue.
pub(crate) fn info(message: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        line(message);
    }
}

/// Logs the number of dropped lines, if there are any and stderr is writable.
pub(crate) fn flush_dropped() {
    if DROPPED.load(Ordering::Relaxed) > 0 {
        let _writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
        report_dropped();
    }
}

fn report_dropped() -> bool {
    let dropped = DROPPED.load(Ordering::Relaxed);
    if dropped == 0 {
        return true;
    }
    let message = format!("{dropped} log lines dropped: stderr was not being read");
    let written = try_write(&format_line(&message));
    if written {
        DROPPED.fetch_sub(dropped, Ordering::Relaxed);
    }
    written
}

/// The line with a newline in front, which ends a partial line before it.
fn format_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len() + 16);
    line.push_str("\npsstat: ");
    line.push_str(&escape::text(message));
    if line.len() > MAX_LINE {
        let room = MAX_LINE - "…\n".len();
        let end = (0..=room).rev().find(|&end| line.is_char_boundary(end));
        line.truncate(end.unwrap_or(0));
        line.push('…');
    }
    line.push('\n');
    line
}

fn try_write(line: &str) -> bool {
    let after_partial = PARTIAL.load(Ordering::Relaxed);
    let line = if after_partial { line } else { line.get(1..).unwrap_or_default() };
    let stderr = rustix::stdio::stderr();
    let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    if !matches!(rustix::event::poll(&mut fds, Some(&no_wait)), Ok(1..)) {
        return false;
    }
    let Ok(written) = rustix::io::write(stderr, line.as_bytes()) else { return false };
    PARTIAL.store(written < line.len(), Ordering::Relaxed);
    written == line.len()
}

/// The keys of the issues that have been logged, so that each is logged once.
#[derive(Debug, Default)]
pub(crate) struct OnceLog(HashSet<String>);

/// The maximum number of different issues; further ones are not logged.
const MAX_KEYS: usize = 1_000;

impl OnceLog {
    /// Logs the issue with this key, unless it has been logged.
    pub(crate) fn log_once(&mut self, key: &str, message: impl FnOnce() -> String) {
        if self.0.len() < MAX_KEYS && !self.0.contains(key) {
            self.0.insert(key.to_owned());
            line(&message());
        }
    }

    /// Forgets an issue that is resolved: if it occurs again, it is logged again.
    pub(crate) fn reset(&mut self, key: &str) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_fits_one_pipe_write() {
        for length in [MAX_LINE - 10, MAX_LINE, 3 * MAX_LINE] {
            let line = format_line(&"ä".repeat(length));
            assert!(line.len() <= MAX_LINE + 1 && line.ends_with("ä…\n"), "{}", line.len());
        }
        assert_eq!(format_line("a\nb"), "\npsstat: a\\x0ab\n");
    }

    #[test]
    fn issue_is_logged_once() {
        let (mut log, mut lines) = (OnceLog::default(), 0);
        let mut log_once = |log: &mut OnceLog, key: &str| {
            log.log_once(key, || {
                lines += 1;
                format!("{key}, for a test")
            });
        };
        for _ in 0..3 {
            for number in 0..2 * MAX_KEYS {
                log_once(&mut log, &format!("issue {number}"));
            }
        }
        // After it is resolved, it can be logged again.
        log.reset("issue 7");
        log_once(&mut log, "issue 7");
        assert_eq!(lines, MAX_KEYS + 1);
    }
}
