//! The standard streams and the terminal.

use std::io::{self, IsTerminal as _, Write as _};

use rustix::fs::FileType;

/// Writes all bytes to stdout.
///
/// # Errors
/// When they cannot be written; `BrokenPipe` for a closed pipe.
pub(crate) fn print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Writes a line to stderr. Errors are ignored: there is no other place for
/// the message.
pub(crate) fn eprint_line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes a line to stderr if that is a terminal.
pub(crate) fn hint(text: &str) {
    if io::stderr().is_terminal() {
        eprint_line(text);
    }
}

/// A message on stderr during a long operation, deleted on drop. It is not
/// shown if stderr is not a terminal.
#[derive(Debug)]
pub(crate) struct Progress(());

impl Progress {
    /// Shows the message.
    pub(crate) fn show(text: &str) -> Option<Progress> {
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
        // Return to the start of the line and clear it.
        let _ = write!(io::stderr().lock(), "\r\x1b[K");
    }
}

/// The width of the terminal on stdout. `None` if stdout is not a terminal or
/// the terminal does not report its size.
pub(crate) fn columns() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Columns and lines of a terminal that does not report its size, as a serial
/// console: `COLUMNS` and `LINES`, or 80 by 24.
pub(crate) fn fallback_size() -> (u16, u16) {
    let from_env = |name: &str, default: u16| {
        let value = std::env::var(name).ok().and_then(|value| value.parse().ok());
        value.filter(|number| *number > 0).unwrap_or(default)
    };
    (from_env("COLUMNS", 80), from_env("LINES", 24))
}

/// Whether stdout is a terminal or another character device. A terminal that is lost does
/// not report that it is one.
pub(crate) fn is_character_device() -> bool {
    let stat = rustix::fs::fstat(io::stdout());
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice)
}

/// When to color output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Colors text, or returns it unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint(bool);

impl Paint {
    /// Colors for stdout, according to the option `--color` and `NO_COLOR`.
    pub(crate) fn new(color: Color) -> Paint {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Paint(match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => !no_color && io::stdout().is_terminal(),
        })
    }

    /// No colors.
    pub(crate) const PLAIN: Paint = Paint(false);

    /// Bold text.
    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Bold red text for an error.
    pub(crate) fn error(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// Bold yellow text for a warning.
    pub(crate) fn warning(self, text: &str) -> String {
        self.with("1;33", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
