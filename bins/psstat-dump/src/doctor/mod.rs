//! What this user can read on this machine, and what to do about the rest.

mod environment;
mod file_access;
mod hidepid;
mod machine;
mod rights;

use std::path::Path;

use crate::conf::Location;
use crate::exit::Error;
use crate::measure;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// Not as it could be; the numbers are right all the same.
    Warn,
    /// Numbers are missing, or will be.
    Fail,
}

impl State {
    /// The state in a word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warn => "note",
            State::Fail => "bad",
        }
    }
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// What was found.
    pub finding: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Check {
        Check { name, state: State::Ok, finding: found.into(), help: None }
    }

    fn note(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check { name, state: State::Warn, finding: found.into(), help: Some(remedy.into()) }
    }

    fn bad(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check { name, state: State::Fail, finding: found.into(), help: Some(remedy.into()) }
    }
}

/// Looks at everything.
///
/// # Errors
/// When the procfs cannot be read at all.
pub(crate) fn run_checks(
    proc: &Path,
    conf: &Location,
    conf_owner: &str,
) -> Result<Vec<Check>, Error> {
    let here = measure::command_lines(proc)?;
    let mut checks = machine::kernel(proc)?;
    if !measure::is_capture(proc) {
        checks.push(hidepid::hidepid(proc));
        checks.push(machine::pid_namespace(proc));
    }
    checks.extend(file_access::files(proc));
    checks.push(environment::descriptors(proc));
    checks.push(environment::inotify());
    checks.extend(environment::conf(conf, conf_owner));
    checks.push(environment::collector(&here));
    checks.extend(rights::capabilities(proc, &here));
    Ok(checks)
}
