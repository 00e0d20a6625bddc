//! The outcome of reading a file of a process.

use rustix::io::Errno;

/// The outcome of one read of one process.
///
/// The error numbers of the kernel are sorted here into the four cases that are
/// handled differently:
///
/// * [`Value`](Outcome::Value): use the value.
/// * [`Exited`](Outcome::Exited): the process has exited. Not an error: retire it.
/// * [`Denied`](Outcome::Denied): this user may not read it, or the process has no
///   such file. Omit the value, count it, and do not retry soon (each attempt may
///   write an audit record).
/// * [`Failed`](Outcome::Failed): any other error. Omit the value and count it;
///   the next cycle may succeed.
/// * [`Unread`](Outcome::Unread): the read blocks, or was not attempted for that reason. The
///   process exists. Omit the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome<T> {
    /// The value, as reported by the kernel.
    Value(T),
    /// The process has exited: `ENOENT` at open, `ESRCH` at read, or an empty
    /// file.
    Exited,
    /// `EACCES` or `EPERM`, or `ENOENT` although the process exists.
    Denied,
    /// Any other error, or a file that the parser rejects.
    Failed(Failure),
    /// No answer from the kernel.
    Unread(Unread),
}

/// The reason of [`Outcome::Unread`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// This read blocks, or an earlier one of the same process still does.
    Blocked,
    /// Too many reads block: of processes of the same user, or in total.
    Deferred,
}

/// The reason of [`Outcome::Failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The error number of a system call.
    Errno(i32),
    /// The file could not be parsed.
    Parse(psstat_proc_parse::Error),
}

impl<T> Outcome<T> {
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Outcome::Value(value) => Some(value),
            Outcome::Exited | Outcome::Denied | Outcome::Failed(_) | Outcome::Unread(_) => None,
        }
    }

    pub(crate) fn is_exited(&self) -> bool {
        matches!(self, Outcome::Exited)
    }

    /// The same outcome with another value.
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Outcome<U> {
        self.and_then(|value| Outcome::Value(f(value)))
    }

    /// Continues to read with the value, if there is one.
    pub(crate) fn and_then<U>(self, f: impl FnOnce(T) -> Outcome<U>) -> Outcome<U> {
        match self {
            Outcome::Value(value) => f(value),
            Outcome::Exited => Outcome::Exited,
            Outcome::Denied => Outcome::Denied,
            Outcome::Failed(failure) => Outcome::Failed(failure),
            Outcome::Unread(unread) => Outcome::Unread(unread),
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
