//! Log lines on stderr, which end in tcollector's log: whole, one a matter, and
//! each matter once.

use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Writes a line. A stderr that is closed or full is no reason to stop.
pub fn line(message: &str) {
    let mut line = String::with_capacity(message.len() + 16);
    line.push_str("psstat: ");
    line.push_str(&harmless(message));
    line.push('\n');
    let _ = std::io::stderr().write_all(line.as_bytes());
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
    fn a_matter_is_told_once_and_not_without_end() {
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
