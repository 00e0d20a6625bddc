//! What this user can read on this machine, and what to do about the rest.

mod hidepid;
mod machine;
mod reading;
mod rights;
mod setup;

use std::path::Path;

use crate::conf::Location;
use crate::exit::Failure;
use crate::measure;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Well,
    /// Not as it could be; the numbers are right all the same.
    Note,
    /// Numbers are missing, or will be.
    Bad,
}

impl State {
    /// The state in a word.
    pub fn word(self) -> &'static str {
        match self {
            State::Well => "ok",
            State::Note => "note",
            State::Bad => "bad",
        }
    }
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Check {
    fn well(name: &'static str, found: impl Into<String>) -> Check {
        Check { name, state: State::Well, found: found.into(), remedy: None }
    }

    fn note(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check { name, state: State::Note, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn bad(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check { name, state: State::Bad, found: found.into(), remedy: Some(remedy.into()) }
    }
}

/// Looks at everything.
///
/// # Errors
/// When the procfs cannot be read at all.
pub fn examine(proc: &Path, conf: &Location, conf_owner: &str) -> Result<Vec<Check>, Failure> {
    let here = measure::command_lines(proc)?;
    let mut checks = machine::kernel(proc)?;
    if !measure::is_copy(proc) {
        checks.push(hidepid::hidepid(proc));
        checks.push(machine::pid_namespace(proc));
    }
    checks.extend(reading::files(proc));
    checks.push(setup::descriptors(proc));
    checks.push(setup::inotify());
    checks.extend(setup::conf(conf, conf_owner));
    checks.push(setup::collector(&here));
    checks.extend(rights::capabilities(proc, &here));
    Ok(checks)
}
