//! Exit statuses and errors.

use std::io;

use psstat_support::escape;
use rustix::io::Errno;

/// Success.
pub const SUCCESS: u8 = 0;
/// No process matched; for `check`, a line of the config file is invalid; for
/// `doctor`, a check failed.
pub const NO_MATCH: u8 = 1;
/// Usage error: invalid options, a file that cannot be read.
pub const USAGE: u8 = 2;

/// The result of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Status [`SUCCESS`].
    Match,
    /// Status [`NO_MATCH`].
    NoMatch,
}

impl Outcome {
    /// [`Outcome::Match`] if `condition` is true.
    pub fn when(condition: bool) -> Outcome {
        if condition { Outcome::Match } else { Outcome::NoMatch }
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Invalid arguments, or a request for `--help` or `--version`.
    #[error("{0}")]
    Arguments(#[from] clap::Error),
    /// Conflicting options or an invalid value.
    #[error("{0}")]
    Usage(String),
    /// The processes cannot be read.
    #[error(transparent)]
    Sampler(#[from] psstat_sampler::Error),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    /// The text for stdout if this is a request for `--help` or `--version`.
    pub fn help(&self) -> Option<String> {
        match self {
            Error::Arguments(error) if !error.use_stderr() => Some(error.render().to_string()),
            _ => None,
        }
    }

    /// Whether the output has no reader: it has closed the pipe, or the terminal is lost.
    fn is_output_closed(&self) -> bool {
        let Error::Output(error) = self else { return false };
        // Of a file or a disk, EIO is an error.
        let is_lost_terminal = error.raw_os_error() == Some(Errno::IO.raw_os_error())
            && crate::terminal::is_character_device();
        error.kind() == io::ErrorKind::BrokenPipe || is_lost_terminal
    }

    /// The exit status. A reader that closes the pipe early is not an error.
    pub fn status(&self) -> u8 {
        match self {
            Error::Output(_) if self.is_output_closed() => SUCCESS,
            _ => USAGE,
        }
    }

    /// The message for stderr, if any.
    pub fn message(&self) -> Option<String> {
        match self {
            Error::Output(_) if self.is_output_closed() => None,
            Error::Arguments(error) => {
                // It quotes arguments, which can contain any bytes.
                let text = error.render().to_string();
                Some(text.trim_end().lines().map(escape::text).collect::<Vec<_>>().join("\n"))
            }
            // It contains the path from the arguments.
            Error::Sampler(error) => {
                Some(format!("psstat-dump: {}", escape::text(&error.to_string())))
            }
            other => Some(format!("psstat-dump: {other}")),
        }
    }
}
