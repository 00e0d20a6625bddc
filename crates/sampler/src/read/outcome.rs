//! What can come of reading something of a process.

use rustix::io::Errno;

/// What came of one read of one process.
///
/// The kernel's many error numbers are sorted once, here, into the four cases
/// that lead to different answers:
///
/// * [`There`](Outcome::There): use the value.
/// * [`Gone`](Outcome::Gone): the process has ended. No error: forget it.
/// * [`Denied`](Outcome::Denied): this user may not read it. Leave the value
///   out, count it, and do not try again soon (each try may write an audit
///   record).
/// * [`Failed`](Outcome::Failed): anything else. Leave the value out and count
///   it; the next cycle may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome<T> {
    /// The value, as the kernel gave it.
    Value(T),
    /// The process has ended: `ENOENT` at open, `ESRCH` at read, or an empty
    /// file.
    Exited,
    /// `EACCES` or `EPERM`.
    Denied,
    /// Any other error, or a file in a form that the parser does not know.
    Failed(Failure),
}

/// Why a read failed that was neither denied nor too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The error number of a system call.
    Errno(i32),
    /// The kernel's answer could not be parsed.
    Parse(psstat_proc_parse::Error),
}

impl<T> Outcome<T> {
    /// The value, if it is there.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Outcome::Value(value) => Some(value),
            Outcome::Exited | Outcome::Denied | Outcome::Failed(_) => None,
        }
    }

    /// Whether the process has ended.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Outcome::Exited)
    }

    /// The same outcome with another value.
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Outcome<U> {
        self.and_then(|value| Outcome::Value(f(value)))
    }

    /// Goes on reading with the value, if it is there.
    pub(crate) fn and_then<U>(self, f: impl FnOnce(T) -> Outcome<U>) -> Outcome<U> {
        match self {
            Outcome::Value(value) => f(value),
            Outcome::Exited => Outcome::Exited,
            Outcome::Denied => Outcome::Denied,
            Outcome::Failed(failure) => Outcome::Failed(failure),
        }
    }
}

impl<T> From<Errno> for Outcome<T> {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::SRCH => Outcome::Exited,
            Errno::ACCESS | Errno::PERM => Outcome::Denied,
            other => Outcome::Failed(Failure::Errno(other.raw_os_error())),
        }
    }
}

impl<T> From<Result<T, Errno>> for Outcome<T> {
    fn from(result: Result<T, Errno>) -> Self {
        match result {
            Ok(value) => Outcome::Value(value),
            Err(errno) => errno.into(),
        }
    }
}

impl<T> From<psstat_proc_parse::Error> for Outcome<T> {
    fn from(error: psstat_proc_parse::Error) -> Self {
        Outcome::Failed(Failure::Parse(error))
    }
}
