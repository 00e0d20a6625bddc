//! Checks which data this user can read on this host.

mod bpf;
mod capabilities;
mod environment;
mod file_access;
mod hidepid;
mod kernel;

use std::path::Path;

use crate::conf::{Location, RingSize};
use crate::exit::Error;
use crate::measure;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Passed.
    Ok,
    /// Could be better; at most the values of a few processes are missing.
    Warn,
    /// Values of many processes are missing, or will be.
    Fail,
}

impl Status {
    /// The status as a word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "fail",
        }
    }
}

/// A check and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// The name of the check.
    pub name: &'static str,
    /// Whether it passed.
    pub status: Status,
    /// The finding.
    pub result: String,
    /// How to fix it.
    pub help: Option<String>,
}

impl Check {
    fn ok(name: &'static str, result: impl Into<String>) -> Check {
        Check { name, status: Status::Ok, result: result.into(), help: None }
    }

    fn warn(name: &'static str, result: impl Into<String>, help: impl Into<String>) -> Check {
        Check { name, status: Status::Warn, result: result.into(), help: Some(help.into()) }
    }

    fn fail(name: &'static str, result: impl Into<String>, help: impl Into<String>) -> Check {
        Check { name, status: Status::Fail, result: result.into(), help: Some(help.into()) }
    }
}

/// Runs all checks, that of the config file only if there is one.
///
/// # Errors
/// When the procfs cannot be read.
pub(crate) fn run_checks(
    proc: &Path,
    conf: Option<&Location>,
    conf_owner: &str,
    ring: &RingSize,
) -> Result<Vec<Check>, Error> {
    let command_lines = measure::command_lines(proc)?;
    let mut checks = kernel::kernel(proc)?;
    if !measure::is_capture(proc) {
        checks.extend(bpf::bpf(proc, ring));
        checks.push(hidepid::hidepid(proc));
        checks.push(kernel::pid_namespace(proc));
    }
    checks.extend(file_access::files(proc));
    checks.push(environment::descriptors(proc));
    checks.push(environment::inotify());
    if let Some(conf) = conf {
        checks.extend(environment::conf(conf, conf_owner));
    }
    checks.push(environment::collector(proc, &command_lines));
    checks.extend(capabilities::capabilities(proc, &command_lines));
    Ok(checks)
}
