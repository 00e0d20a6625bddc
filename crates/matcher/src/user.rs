//! Lookup of a user's uid.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Time limit for the name service, which may query an unreachable server.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// Output limit of getent, longer than any passwd(5) entry.
const MAX_GETENT_OUTPUT: u64 = 64 << 10;

/// The result of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UidLookup {
    /// The user's uid.
    Found(u32),
    /// The user does not exist.
    NotFound,
    /// The name service did not respond in time.
    TimedOut,
}

/// The uid of a user. A number is a uid; a name is searched in `/etc/passwd` and
/// then with the name service (getent(1)), at most for [`LOOKUP_TIMEOUT`].
pub(crate) fn lookup_uid(user: &str) -> UidLookup {
    if let Ok(uid) = user.parse() {
        return UidLookup::Found(uid);
    }
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    uid_in(&passwd, user).map_or_else(|| getent(user), UidLookup::Found)
}

fn getent(user: &str) -> UidLookup {
    let mut getent = Command::new("getent");
    getent.args(["passwd", "--", user]);
    getent.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = getent.spawn() else { return UidLookup::NotFound };
    let deadline = Instant::now() + LOOKUP_TIMEOUT;
    let output = child.stdout.take().and_then(|stdout| read_until(stdout, deadline));
    // Its output is complete, or the time limit has passed.
    let _ = child.kill();
    let _ = child.wait();
    match output {
        Some(output) => uid_in(&output, user).map_or(UidLookup::NotFound, UidLookup::Found),
        None => UidLookup::TimedOut,
    }
}

/// Reads until the end; `None` if the deadline passes first.
fn read_until(stdout: ChildStdout, deadline: Instant) -> Option<Vec<u8>> {
    let mut stdout = stdout.take(MAX_GETENT_OUTPUT);
    let mut output = Vec::new();
    loop {
        let timeout = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let mut fds = [PollFd::from_borrowed_fd(stdout.get_ref().as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return None,
            Ok(_) => {
                let mut chunk = [0; 4096];
                match stdout.read(&mut chunk).ok()? {
                    0 => return Some(output),
                    count => output.extend_from_slice(chunk.get(..count)?),
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// The uid of `user` in lines of passwd(5).
fn uid_in(passwd: &[u8], user: &str) -> Option<u32> {
    passwd.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let is_user = fields.next() == Some(user.as_bytes());
        let uid = fields.nth(1).filter(|_| is_user)?;
        std::str::from_utf8(uid).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_user_in_passwd() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n\nbroken\napp:x:12x:1\nappsc:x:4711:4::/:\n";
        assert_eq!(uid_in(passwd, "appsc"), Some(4711));
        assert_eq!(uid_in(passwd, "root"), Some(0));
        for missing in ["app", "broken", "x", ""] {
            assert_eq!(uid_in(passwd, missing), None, "{missing}");
        }
    }

    #[test]
    fn lookup_takes_numbers_and_names() {
        assert_eq!(lookup_uid("17"), UidLookup::Found(17));
        assert_eq!(lookup_uid("root"), UidLookup::Found(0));
        // On a busy host the name service may time out.
        let mut attempts = (0..20).map(|_| lookup_uid("missing-user"));
        assert_eq!(attempts.find(|l| *l != UidLookup::TimedOut), Some(UidLookup::NotFound));
    }
}
