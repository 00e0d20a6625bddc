//! The two streams, and the terminal that may be behind them.

use std::io::{self, IsTerminal as _, Write as _};

use crate::args::Color;

/// Writes all of it to stdout.
///
/// # Errors
/// When it cannot be written; a closed pipe is `BrokenPipe`.
pub fn print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Writes a line to stderr. If that is closed, there is nobody to be told.
pub fn eprint_line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says something that only a person at a terminal wants to know.
pub fn hint(text: &str) {
    if io::stderr().is_terminal() {
        eprint_line(text);
    }
}

/// A word on stderr while something takes its time; gone when dropped. There
/// is none where stderr is no terminal.
#[derive(Debug)]
pub struct Progress(());

impl Progress {
    /// Shows the word.
    pub fn show(text: &str) -> Option<Progress> {
        let mut stderr = io::stderr().lock();
        if !stderr.is_terminal() {
            return None;
        }
        let _ = write!(stderr, "{text}");
        let _ = stderr.flush();
        Some(Progress(()))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // To the start of the line, and clear it.
        let _ = write!(io::stderr().lock(), "\r\x1b[K");
    }
}

/// How many columns the terminal behind stdout has. `None`: there is none, or
/// it does not say.
pub fn columns() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Adds colour, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(bool);

impl Paint {
    /// Colour for stdout as it was asked for.
    pub fn new(color: Color) -> Paint {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Paint(match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => wanted && io::stdout().is_terminal(),
        })
    }

    /// No colour.
    pub const PLAIN: Paint = Paint(false);

    /// In bold.
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// In red and bold: an error.
    pub fn error(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// In yellow and bold: a warning.
    pub fn warning(self, text: &str) -> String {
        self.with("1;33", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
