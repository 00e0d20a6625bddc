//! Sends a signal to a process, after a question.

use std::path::Path;

use psstat_proc_parse::Stat;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::process_report::{Files, signal_name};
use crate::selector::self_pid;

/// The dialog about a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The process.
    pub(super) pid: u32,
    pub(super) starttime: u64,
    /// Its command line, escaped.
    pub(super) command: String,
    /// The name or number of the signal, as it is typed.
    pub(super) input: String,
    /// The signal that has to be confirmed.
    pub(super) signal: Option<u32>,
}

impl Question {
    pub(super) fn new(pid: u32, starttime: u64, command: String) -> Question {
        Question { pid, starttime, command, input: String::new(), signal: None }
    }

    /// The text of the dialog.
    pub(super) fn text(&self) -> String {
        let Question { pid, command, input, .. } = self;
        match self.signal {
            None => format!(
                "signal to process {pid}: {input}_  (name or number, enter: TERM, esc: none)  \
                 {command}"
            ),
            Some(signal) => format!(
                "send SIG{} ({signal}) to process {pid}? y: yes, other keys: no  {command}",
                name(signal)
            ),
        }
    }

    /// Takes over the text that was typed; a message if it is not a signal.
    pub(super) fn accept(&mut self) -> Result<(), String> {
        let text = self.input.trim();
        let signal = if text.is_empty() { Some(15) } else { parse(text) };
        self.signal = signal;
        let message = || format!("no signal `{}`", psstat_support::escape::text(text));
        signal.map(|_| ()).ok_or_else(message)
    }
}

fn name(signal: u32) -> String {
    signal_name(signal).map_or_else(|| signal.to_string(), str::to_owned)
}

/// A signal by its name, with or without `SIG`, in any case, or by its number.
fn parse(text: &str) -> Option<u32> {
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = bare.parse::<u32>().ok();
    let known = |number: &u32| signal_name(*number).is_some();
    number.filter(known).or_else(|| (1..32).find(|it| signal_name(*it) == Some(bare)))
}

/// Sends the signal that was confirmed. Returns a message about the result.
pub(super) fn send(proc: &Path, question: &Question) -> String {
    let Question { pid, starttime, signal, .. } = question;
    let signal = signal.unwrap_or(15);
    match try_send(proc, *pid, *starttime, signal) {
        Ok(()) => format!("sent SIG{} to process {pid}", name(signal)),
        Err(reason) => format!("no signal was sent to process {pid}: {reason}"),
    }
}

fn try_send(proc: &Path, pid: u32, starttime: u64, signal: u32) -> Result<(), String> {
    if self_pid(proc) != Some(std::process::id()) {
        return Err("its pid is that of another pid namespace or of a capture".to_owned());
    }
    let reason = |error: Errno| match error {
        Errno::SRCH => "it has exited".to_owned(),
        Errno::PERM => "not permitted; a process of another user needs root".to_owned(),
        other => other.to_string(),
    };
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("not a process id")?;
    let number = i32::try_from(signal).ok().and_then(Signal::from_named_raw);
    let number = number.ok_or("not a signal")?;
    let process = pidfd_open(process, PidfdFlags::empty()).map_err(reason)?;
    // After the descriptor refers to the process: its pid can be that of another one by now.
    let stat = Files::open(proc, pid).and_then(|files| files.read("stat"));
    let stat = stat.map_err(|error| error.to_string())?;
    if !Stat::parse(&stat).is_ok_and(|stat| stat.starttime.0 == starttime) {
        return Err("it has exited, and another process has its pid".to_owned());
    }
    pidfd_send_signal(process, number).map_err(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, want) in [
            ("TERM", Some(15)),
            ("sigkill", Some(9)),
            ("1", Some(1)),
            ("31", Some(31)),
            ("0", None),
            ("32", None),
            ("-9", None),
            ("", None),
            ("SIG", None),
            ("nine", None),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
        let mut question = Question::new(7, 1, "x".to_owned());
        assert_eq!((question.accept(), question.signal), (Ok(()), Some(15)));
        question.input = "\u{1b}".to_owned();
        assert_eq!(question.accept(), Err("no signal `\\x1b`".to_owned()));
        assert_eq!(question.signal, None);
    }

    /// A pid that now belongs to another process.
    #[test]
    fn another_process_with_the_pid_gets_no_signal() {
        let pid = std::process::id();
        let mut question = Question::new(pid, 1, String::new());
        question.signal = Some(9);
        let message = send(Path::new("/proc"), &question);
        assert!(message.contains("another process has its pid"), "{message}");
    }
}
