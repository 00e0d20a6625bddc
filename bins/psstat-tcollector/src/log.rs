//! Log lines on stderr, which end in tcollector's log: whole, one a matter, and
//! each matter once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec};

/// The longest line, its newline included: a pipe that has room at all takes so
/// much at once (`PIPE_BUF`, pipe(7)).
const LONGEST: usize = 4096;

/// Lines that nobody took.
static LOST: AtomicU64 = AtomicU64::new(0);
/// The last line was written in part, since a disk is full.
static TORN: AtomicBool = AtomicBool::new(false);
/// Held by the thread that looks whether there is room, until it has used it.
static TURN: Mutex<()> = Mutex::new(());

/// Writes a line, if there is room for it. It never waits for a reader, which
/// would hold up the points: a line that nobody takes is counted, and the count
/// told when there is room. A stderr that is closed is no reason to stop.
pub fn line(message: &str) {
    let line = composed(message);
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if !told_what_was_lost() || !is_put(&line) {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// Tells how many lines were lost, if it was not told and there is room.
pub fn catch_up() {
    if LOST.load(Ordering::Relaxed) > 0 {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        told_what_was_lost();
    }
}

fn told_what_was_lost() -> bool {
    let lost = LOST.load(Ordering::Relaxed);
    if lost == 0 {
        return true;
    }
    let told = is_put(&composed(&format!("{lost} lines of this log were lost: nobody took them")));
    if told {
        LOST.fetch_sub(lost, Ordering::Relaxed);
    }
    told
}

/// A newline, for the case that what was written before has none, and the line.
fn composed(message: &str) -> String {
    let mut line = String::with_capacity(message.len() + 16);
    line.push_str("\npsstat: ");
    line.push_str(&harmless(message));
    if line.len() > LONGEST {
        let room = LONGEST - "…\n".len();
        let end = (0..=room).rev().find(|&end| line.is_char_boundary(end));
        line.truncate(end.unwrap_or(0));
        line.push('…');
    }
    line.push('\n');
    line
}

fn is_put(line: &str) -> bool {
    let torn = TORN.load(Ordering::Relaxed);
    let line = if torn { line } else { line.get(1..).unwrap_or_default() };
    let stderr = rustix::stdio::stderr();
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut room = [PollFd::new(&stderr, PollFlags::OUT)];
    if !matches!(rustix::event::poll(&mut room, Some(&at_once)), Ok(1..)) {
        return false;
    }
    let Ok(written) = rustix::io::write(stderr, line.as_bytes()) else { return false };
    TORN.store(written < line.len(), Ordering::Relaxed);
    written == line.len()
}

/// Strangers' text that never begins a line of its own or moves a cursor.
pub fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            harmless.extend(c.escape_default());
        } else {
            harmless.push(c);
        }
    }
    harmless
}

/// The defect that was told last.
static DEFECT: Mutex<String> = Mutex::new(String::new());

fn last_defect() -> MutexGuard<'static, String> {
    DEFECT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All has gone well for a cycle: a defect that shows from now on is told,
/// whether or not it was told before.
pub fn no_defect() {
    last_defect().clear();
}

/// Makes a panic one log line, and the same one in cycle after cycle no other.
pub fn panics_in_one_line() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let payload = info.payload();
        let reason = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no reason given");
        let message = format!("defect at {place}: {reason}; please report it");
        let mut last = last_defect();
        if *last != message {
            line(&message);
            *last = message;
        }
    }));
}

/// Which matters have been told, so that none is told again and again.
#[derive(Debug, Default)]
pub struct Told(std::collections::HashSet<String>);

/// More different matters than that are not told; something else is wrong then.
const MATTERS: usize = 1_000;

impl Told {
    /// Logs a matter the first time.
    pub fn once(&mut self, matter: &str, message: impl FnOnce() -> String) {
        if self.0.len() < MATTERS && !self.0.contains(matter) {
            self.0.insert(matter.to_owned());
            line(&message());
        }
    }

    /// The matter is settled: should it come up again, it is told again.
    pub fn settled(&mut self, matter: &str) {
        self.0.remove(matter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_write_of_a_pipe() {
        for long in [LONGEST - 10, LONGEST, 3 * LONGEST] {
            let line = composed(&"ä".repeat(long));
            assert!(line.len() <= LONGEST + 1 && line.ends_with("ä…\n"), "{}", line.len());
        }
        assert_eq!(composed("a\nb"), "\npsstat: a\\nb\n");
    }

    #[test]
    fn issue_is_logged_once() {
        let (mut told, mut lines) = (Told::default(), 0);
        let mut tell = |told: &mut Told, matter: &str| {
            told.once(matter, || {
                lines += 1;
                format!("{matter}, for a test")
            });
        };
        for _ in 0..3 {
            for number in 0..2 * MATTERS {
                tell(&mut told, &format!("matter {number}"));
            }
        }
        // Settled, it may be told again.
        told.settled("matter 7");
        tell(&mut told, "matter 7");
        assert_eq!(lines, MATTERS + 1);
    }
}
