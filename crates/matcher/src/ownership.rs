//! Whom the conf should belong to.

use thiserror::Error;

use crate::file::FileStamp;
use crate::user::{UidLookup, lookup_uid};

/// What is wrong with the ownership of a conf.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OwnershipIssue {
    /// It belongs to somebody who has no business with it.
    #[error(
        "belongs to uid {uid}, not to {user}, root or the collector's own user; \
         `chown {user}` mends that"
    )]
    Owner {
        /// Whom it belongs to.
        uid: u32,
        /// Whom it should belong to.
        user: String,
    },
    /// It should belong to a user who is not there.
    #[error(
        "belongs to uid {uid}, not to root or the collector's own user, and there is no user \
         {user} here; `chown root` mends that"
    )]
    NoSuchUser {
        /// Whom it belongs to.
        uid: u32,
        /// Whom it should belong to.
        user: String,
    },
    /// Whether it belongs to the right one could not be found out.
    #[error(
        "belongs to uid {uid}, and the name service does not say in time whether that is {user}; \
         a number instead of the name needs no name service"
    )]
    LookupTimedOut {
        /// Whom it belongs to.
        uid: u32,
        /// Whom it should belong to.
        user: String,
    },
    /// Everybody may write it.
    #[error("is writable by others (mode {mode:04o}); `chmod o-w` mends that")]
    WritableByOthers {
        /// Its permissions.
        mode: u32,
    },
}

/// What is wrong with the ownership of a conf in this state; nothing where it
/// belongs to `user` (a name or a number), root or this process's own effective
/// user and is not writable by others.
///
/// Whoever can write the conf chooses what is measured, and how much work
/// that is.
///
/// Only where it belongs to neither root nor the own user, the name is looked up:
/// in `/etc/passwd`, and then with getent(1), for which this waits up to 2 s. It
/// is anew each time, since a user may come later than the conf.
pub fn check_ownership(file: &FileStamp, user: &str) -> Vec<OwnershipIssue> {
    check(file, user, rustix::process::geteuid().as_raw(), lookup_uid)
}

fn check(
    file: &FileStamp,
    user: &str,
    own: u32,
    look_up: impl FnOnce(&str) -> UidLookup,
) -> Vec<OwnershipIssue> {
    let mut complaints = Vec::new();
    if file.uid != 0 && file.uid != own {
        let (uid, name) = (file.uid, user.to_owned());
        match look_up(user) {
            UidLookup::Is(right) if right == uid => {}
            UidLookup::Is(_) => complaints.push(OwnershipIssue::Owner { uid, user: name }),
            UidLookup::Unknown => complaints.push(OwnershipIssue::NoSuchUser { uid, user: name }),
            UidLookup::Unanswered => {
                complaints.push(OwnershipIssue::LookupTimedOut { uid, user: name });
            }
        }
    }
    if file.mode & 0o002 != 0 {
        complaints.push(OwnershipIssue::WritableByOthers { mode: file.mode & 0o7777 });
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(uid: u32, mode: u32) -> FileStamp {
        let zero = (0, 0);
        FileStamp { dev: 0, ino: 0, size: 0, mtime: zero, ctime: zero, uid, gid: 0, mode }
    }

    fn of(uid: u32, mode: u32, found: UidLookup) -> Vec<OwnershipIssue> {
        check(&file(uid, mode), "appsc", 1000, |user| {
            assert_eq!(user, "appsc");
            found
        })
    }

    #[test]
    fn three_owners_are_right() {
        let user = || "appsc".to_owned();
        assert_eq!(of(7, 0o100_664, UidLookup::Is(7)), []);
        assert_eq!(
            of(8, 0o100_644, UidLookup::Is(7)),
            [OwnershipIssue::Owner { uid: 8, user: user() }]
        );
        let complaint = OwnershipIssue::NoSuchUser { uid: 7, user: user() };
        assert_eq!(of(7, 0o100_644, UidLookup::Unknown), [complaint]);
        let complaint = OwnershipIssue::LookupTimedOut { uid: 7, user: user() };
        assert_eq!(of(7, 0o100_644, UidLookup::Unanswered), [complaint]);
        // Without asking anybody.
        for uid in [0, 1000] {
            assert_eq!(check(&file(uid, 0o100_664), "appsc", 1000, |_| unreachable!()), []);
        }
    }

    #[test]
    fn world_writable_is_rejected() {
        let complaint = OwnershipIssue::WritableByOthers { mode: 0o666 };
        assert_eq!(of(1000, 0o100_666, UidLookup::Unknown), std::slice::from_ref(&complaint));
        assert_eq!(
            complaint.to_string(),
            "is writable by others (mode 0666); `chmod o-w` mends that"
        );
    }
}
