//! How the program ends.

use std::io;

use crate::escape;

/// Everything went well.
pub const SUCCESS: u8 = 0;
/// Nothing matched: no process of what was asked for, or, for `check`, a bad
/// line in the conf.
pub const NOTHING: u8 = 1;
/// Wrong use: options that do not exist or do not go together, a file that
/// cannot be read.
pub const USAGE: u8 = 2;

/// Whether what was asked for is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is: status [`SUCCESS`].
    Match,
    /// It is not: status [`NOTHING`].
    NoMatch,
}

impl Outcome {
    /// Something where `condition` holds.
    pub fn when(condition: bool) -> Outcome {
        if condition { Outcome::Match } else { Outcome::NoMatch }
    }
}

/// Why the program could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the option parser has to say; `--help` comes this way too.
    #[error("{0}")]
    Arguments(#[from] clap::Error),
    /// Options that do not go together, or a value that does not do.
    #[error("{0}")]
    Usage(String),
    /// No processes can be read.
    #[error(transparent)]
    Sampler(#[from] psstat_sampler::Error),
    /// The result cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    /// The exit status. A reader that has seen enough and closed the pipe is
    /// no failure.
    pub fn status(&self) -> u8 {
        match self {
            Error::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => SUCCESS,
            Error::Arguments(error) if !error.use_stderr() => SUCCESS,
            _ => USAGE,
        }
    }

    /// What to print on stderr, if there is anything to say.
    pub fn message(&self) -> Option<String> {
        match self {
            Error::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Error::Arguments(error) if !error.use_stderr() => None,
            Error::Arguments(error) => {
                // What was typed is quoted in it and may hold anything.
                let text = error.render().to_string();
                Some(text.trim_end().lines().map(escape::text).collect::<Vec<_>>().join("\n"))
            }
            // It names the folder that was typed.
            Error::Sampler(error) => {
                Some(format!("psstat-dump: {}", escape::text(&error.to_string())))
            }
            other => Some(format!("psstat-dump: {other}")),
        }
    }
}
