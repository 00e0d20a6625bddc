//! Log lines on stderr, which end in tcollector's log: whole, one a matter, and
//! each matter once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use psstat_support::escape;
use rustix::event::{PollFd, PollFlags, Timespec};

/// The longest line, its newline included: a pipe that has room at all takes so
/// much at once (`PIPE_BUF`, pipe(7)).
const LONGEST: usize = 4096;

/// Lines that nobody took.
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// The last line was written in part, since a disk is full.
static PARTIAL: AtomicBool = AtomicBool::new(false);
/// Held by the thread that looks whether there is room, until it has used it.
static TURN: Mutex<()> = Mutex::new(());

/// Writes a line, if there is room for it. It never waits for a reader, which
/// would hold up the points: a line that nobody takes is counted, and the count
/// told when there is room. A stderr that is closed is no reason to stop.
pub fn line(message: &str) {
    let line = format_line(message);
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if !report_dropped() || !try_write(&line) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Tells how many lines were lost, if it was not told and there is room.
pub fn flush_dropped() {
    if DROPPED.load(Ordering::Relaxed) > 0 {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        report_dropped();
    }
}

fn report_dropped() -> bool {
    let lost = DROPPED.load(Ordering::Relaxed);
    if lost == 0 {
        return true;
    }
    let told =
        try_write(&format_line(&format!("{lost} lines of this log were lost: nobody took them")));
    if told {
        DROPPED.fetch_sub(lost, Ordering::Relaxed);
    }
    told
}

/// A newline, for the case that what was written before has none, and the line.
fn format_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len() + 16);
    line.push_str("\npsstat: ");
    line.push_str(&escape::text(message));
    if line.len() > LONGEST {
        let room = LONGEST - "…\n".len();
        let end = (0..=room).rev().find(|&end| line.is_char_boundary(end));
        line.truncate(end.unwrap_or(0));
        line.push('…');
    }
    line.push('\n');
    line
}

fn try_write(line: &str) -> bool {
    let torn = PARTIAL.load(Ordering::Relaxed);
    let line = if torn { line } else { line.get(1..).unwrap_or_default() };
    let stderr = rustix::stdio::stderr();
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut room = [PollFd::new(&stderr, PollFlags::OUT)];
    if !matches!(rustix::event::poll(&mut room, Some(&at_once)), Ok(1..)) {
        return false;
    }
    let Ok(written) = rustix::io::write(stderr, line.as_bytes()) else { return false };
    PARTIAL.store(written < line.len(), Ordering::Relaxed);
    written == line.len()
}

/// Which matters have been told, so that none is told again and again.
#[derive(Debug, Default)]
pub struct OnceLog(std::collections::HashSet<String>);

/// More different matters than that are not told; something else is wrong then.
const MAX_KEYS: usize = 1_000;

impl OnceLog {
    /// Logs a matter the first time.
    pub fn log_once(&mut self, matter: &str, message: impl FnOnce() -> String) {
        if self.0.len() < MAX_KEYS && !self.0.contains(matter) {
            self.0.insert(matter.to_owned());
            line(&message());
        }
    }

    /// The matter is settled: should it come up again, it is told again.
    pub fn reset(&mut self, matter: &str) {
        self.0.remove(matter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_write_of_a_pipe() {
        for long in [LONGEST - 10, LONGEST, 3 * LONGEST] {
            let line = format_line(&"ä".repeat(long));
            assert!(line.len() <= LONGEST + 1 && line.ends_with("ä…\n"), "{}", line.len());
        }
        assert_eq!(format_line("a\nb"), "\npsstat: a\\x0ab\n");
    }

    #[test]
    fn issue_is_logged_once() {
        let (mut told, mut lines) = (OnceLog::default(), 0);
        let mut tell = |told: &mut OnceLog, matter: &str| {
            told.log_once(matter, || {
                lines += 1;
                format!("{matter}, for a test")
            });
        };
        for _ in 0..3 {
            for number in 0..2 * MAX_KEYS {
                tell(&mut told, &format!("matter {number}"));
            }
        }
        // Settled, it may be told again.
        told.reset("matter 7");
        tell(&mut told, "matter 7");
        assert_eq!(lines, MAX_KEYS + 1);
    }
}
