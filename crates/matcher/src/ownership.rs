//! Owner and permissions of the config file.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::file::FileStamp;
use crate::user::{UidLookup, lookup_uid};

/// A problem with the owner or the permissions of a config file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OwnershipIssue {
    /// The file is owned by an unexpected user.
    #[error(
        "is owned by uid {uid}; expected {user}, root or the collector's user; fix with \
         `chown {user}`"
    )]
    Owner {
        /// The file's owner.
        uid: u32,
        /// The expected owner.
        user: String,
    },
    /// The file is owned by an unexpected user, and the expected user does not
    /// exist.
    #[error(
        "is owned by uid {uid}; expected root or the collector's user ({user} does not exist); fix \
         with `chown root`"
    )]
    NoSuchUser {
        /// The file's owner.
        uid: u32,
        /// The expected owner.
        user: String,
    },
    /// Whether the owner is the expected user could not be determined in time.
    #[error(
        "is owned by uid {uid}; looking up {user} timed out; give a numeric uid to avoid the lookup"
    )]
    LookupTimedOut {
        /// The file's owner.
        uid: u32,
        /// The expected owner.
        user: String,
    },
    /// All users can write the file.
    #[error("is writable by others (mode {mode:04o}); fix with `chmod o-w`")]
    WritableByOthers {
        /// The file's permissions.
        mode: u32,
    },
}

/// The time for which a result of the name service is used.
const LOOKUP_LIFETIME: Duration = Duration::from_secs(5);

/// The expected owner of config files, and whether others are used.
#[derive(Debug)]
pub struct OwnerPolicy {
    user: String,
    is_strict: bool,
    /// The last lookup of the user. Each of many files would cause one.
    last_lookup: Mutex<Option<(Instant, UidLookup)>>,
}

impl OwnerPolicy {
    /// The expected owner, a name or a number. If `is_strict`, a file with an
    /// [`OwnershipIssue`] is not used.
    pub fn new(user: impl Into<String>, is_strict: bool) -> Self {
        Self { user: user.into(), is_strict, last_lookup: Mutex::new(None) }
    }

    /// Whether a file with an issue is not used.
    pub fn is_strict(&self) -> bool {
        self.is_strict
    }

    /// Forgets the last lookup of the user.
    pub(crate) fn forget(&self) {
        // It is locked during a lookup, which is recent.
        if let Ok(mut last) = self.last_lookup.try_lock() {
            *last = None;
        }
    }

    /// The issues of a file or directory; see [`check_ownership`]. The result of
    /// a lookup is used for some seconds.
    pub fn check(&self, file: &FileStamp) -> Vec<OwnershipIssue> {
        check(file, &self.user, rustix::process::geteuid().as_raw(), |user| {
            let mut last = self.last_lookup.lock().unwrap_or_else(PoisonError::into_inner);
            match *last {
                Some((at, found)) if at.elapsed() < LOOKUP_LIFETIME => found,
                _ => {
                    let found = lookup_uid(user);
                    *last = Some((Instant::now(), found));
                    found
                }
            }
        })
    }
}

/// Checks the owner and the permissions of a config file. There is no issue if
/// the owner is `user` (a name or a number), root or this process's effective
/// user, and other users cannot write the file.
///
/// A user who can write the config file chooses the measured processes and the
/// amount of work.
///
/// The name is looked up only if the owner is neither root nor this process's
/// user: in `/etc/passwd`, then with getent(1), which can take up to 2 s. The
/// result is not cached, because the user can be created after the file.
pub fn check_ownership(file: &FileStamp, user: &str) -> Vec<OwnershipIssue> {
    check(file, user, rustix::process::geteuid().as_raw(), lookup_uid)
}

fn check(
    file: &FileStamp,
    user: &str,
    effective_uid: u32,
    lookup: impl FnOnce(&str) -> UidLookup,
) -> Vec<OwnershipIssue> {
    let mut issues = Vec::new();
    if file.uid != 0 && file.uid != effective_uid {
        let (uid, name) = (file.uid, user.to_owned());
        match lookup(user) {
            UidLookup::Found(expected) if expected == uid => {}
            UidLookup::Found(_) => issues.push(OwnershipIssue::Owner { uid, user: name }),
            UidLookup::NotFound => issues.push(OwnershipIssue::NoSuchUser { uid, user: name }),
            UidLookup::TimedOut => issues.push(OwnershipIssue::LookupTimedOut { uid, user: name }),
        }
    }
    if file.mode & 0o002 != 0 {
        issues.push(OwnershipIssue::WritableByOthers { mode: file.mode & 0o7777 });
    }
    issues
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(uid: u32, mode: u32) -> FileStamp {
        let zero = (0, 0);
        FileStamp { dev: 0, ino: 0, size: 0, mtime: zero, ctime: zero, uid, gid: 0, mode, nlink: 1 }
    }

    /// Issues of a file if the lookup of `appsc` has this result.
    fn issues(uid: u32, mode: u32, lookup: UidLookup) -> Vec<OwnershipIssue> {
        check(&stamp(uid, mode), "appsc", 1000, |user| {
            assert_eq!(user, "appsc");
            lookup
        })
    }

    #[test]
    fn accepts_three_owners() {
        let user = || "appsc".to_owned();
        assert_eq!(issues(7, 0o100_664, UidLookup::Found(7)), []);
        assert_eq!(
            issues(8, 0o100_644, UidLookup::Found(7)),
            [OwnershipIssue::Owner { uid: 8, user: user() }]
        );
        let issue = OwnershipIssue::NoSuchUser { uid: 7, user: user() };
        assert_eq!(issues(7, 0o100_644, UidLookup::NotFound), [issue]);
        let issue = OwnershipIssue::LookupTimedOut { uid: 7, user: user() };
        assert_eq!(issues(7, 0o100_644, UidLookup::TimedOut), [issue]);
        // Accepted without a lookup.
        for uid in [0, 1000] {
            assert_eq!(check(&stamp(uid, 0o100_664), "appsc", 1000, |_| unreachable!()), []);
        }
    }

    #[test]
    fn world_writable_is_rejected() {
        let issue = OwnershipIssue::WritableByOthers { mode: 0o666 };
        assert_eq!(issues(1000, 0o100_666, UidLookup::NotFound), std::slice::from_ref(&issue));
        assert!(issue.to_string().contains("mode 0666"), "{issue}");
    }
}
