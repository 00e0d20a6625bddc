//! A user's number.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long the name service may take. It may ask a server that is gone.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// More than an entry has.
const MAX_GETENT_OUTPUT: u64 = 64 << 10;

/// What is known of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UidLookup {
    /// There is one, of this number.
    Is(u32),
    /// There is none.
    Unknown,
    /// The name service did not answer in time.
    Unanswered,
}

/// Looks a user up: a number is one; else by name in `/etc/passwd`, and where it
/// is not there, with the name service (getent(1)), which gets [`LIMIT`].
pub(crate) fn lookup_uid(user: &str) -> UidLookup {
    if let Ok(uid) = user.parse() {
        return UidLookup::Is(uid);
    }
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    uid_in(&passwd, user).map_or_else(|| getent(user), UidLookup::Is)
}

fn getent(user: &str) -> UidLookup {
    let mut getent = Command::new("getent");
    getent.args(["passwd", "--", user]);
    getent.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = getent.spawn() else { return UidLookup::Unknown };
    let deadline = Instant::now() + LOOKUP_TIMEOUT;
    let answer = child.stdout.take().and_then(|stdout| read(stdout, deadline));
    // It has said all, or is too late.
    let _ = child.kill();
    let _ = child.wait();
    match answer {
        Some(answer) => uid_in(&answer, user).map_or(UidLookup::Unknown, UidLookup::Is),
        None => UidLookup::Unanswered,
    }
}

/// All that comes until the end, or nothing if that does not come in time.
fn read(stdout: ChildStdout, deadline: Instant) -> Option<Vec<u8>> {
    let mut stdout = stdout.take(MAX_GETENT_OUTPUT);
    let mut answer = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut waited_for = [PollFd::from_borrowed_fd(stdout.get_ref().as_fd(), PollFlags::IN)];
        match poll(&mut waited_for, Some(&left)) {
            Ok(0) => return None,
            Ok(_) => {
                let mut piece = [0; 4096];
                match stdout.read(&mut piece).ok()? {
                    0 => return Some(answer),
                    count => answer.extend_from_slice(piece.get(..count)?),
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// The number of `user` in lines of passwd(5).
fn uid_in(passwd: &[u8], user: &str) -> Option<u32> {
    passwd.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let is_it = fields.next() == Some(user.as_bytes());
        let uid = fields.nth(1).filter(|_| is_it)?;
        std::str::from_utf8(uid).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_in_passwd() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n\nbroken\napp:x:12x:1\nappsc:x:4711:4::/:\n";
        assert_eq!(uid_in(passwd, "appsc"), Some(4711));
        assert_eq!(uid_in(passwd, "root"), Some(0));
        for none in ["app", "broken", "x", ""] {
            assert_eq!(uid_in(passwd, none), None, "{none}");
        }
    }

    #[test]
    fn a_number_or_a_name() {
        assert_eq!(lookup_uid("17"), UidLookup::Is(17));
        assert_eq!(lookup_uid("root"), UidLookup::Is(0));
        // On a busy machine the name service may answer too late.
        let mut tries = (0..20).map(|_| lookup_uid("nobody-of-that-name"));
        assert_eq!(tries.find(|user| *user != UidLookup::Unanswered), Some(UidLookup::Unknown));
    }
}
