//! Whom the conf should belong to.

use thiserror::Error;

use crate::file::Identity;

/// What is wrong with the ownership of a conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Complaint {
    /// It belongs to somebody who has no business with it.
    #[error("belongs to uid {uid}, not to the conf's owner, root or the collector's own user")]
    Owner {
        /// Whom it belongs to.
        uid: u32,
    },
    /// Everybody may write it.
    #[error("is writable by others (mode {mode:04o}); `chmod o-w` mends that")]
    WritableByOthers {
        /// Its permissions.
        mode: u32,
    },
}

/// What is wrong with the ownership of a conf in this state; nothing where it
/// belongs to `owner`, root or this process's own effective user and is not
/// writable by others.
///
/// Whoever can write the conf chooses what is measured, and how much work
/// that is.
pub fn ownership(file: &Identity, owner: Option<u32>) -> Vec<Complaint> {
    check(file, owner, rustix::process::geteuid().as_raw())
}

fn check(file: &Identity, owner: Option<u32>, own: u32) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    if file.uid != 0 && file.uid != own && Some(file.uid) != owner {
        complaints.push(Complaint::Owner { uid: file.uid });
    }
    if file.mode & 0o002 != 0 {
        complaints.push(Complaint::WritableByOthers { mode: file.mode & 0o7777 });
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(uid: u32, mode: u32) -> Identity {
        let zero = (0, 0);
        Identity { dev: 0, ino: 0, size: 0, mtime: zero, ctime: zero, uid, gid: 0, mode }
    }

    #[test]
    fn three_owners_are_right() {
        for uid in [0, 7, 1000] {
            assert_eq!(check(&file(uid, 0o100_664), Some(7), 1000), []);
        }
        assert_eq!(check(&file(8, 0o100_644), Some(7), 1000), [Complaint::Owner { uid: 8 }]);
        assert_eq!(check(&file(7, 0o100_644), None, 1000), [Complaint::Owner { uid: 7 }]);
    }

    #[test]
    fn others_must_not_write() {
        let complaint = Complaint::WritableByOthers { mode: 0o666 };
        assert_eq!(check(&file(0, 0o100_666), None, 0), [complaint]);
        assert_eq!(
            complaint.to_string(),
            "is writable by others (mode 0666); `chmod o-w` mends that"
        );
    }
}
