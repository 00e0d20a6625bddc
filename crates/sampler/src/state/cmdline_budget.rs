//! How many bytes of command lines are read and classified in a cycle.
//!
//! A command line has up to 6 MiB, and a user can start thousands of processes with one. Reading
//! one takes 1 ms per MiB and matching it several times that, so the long ones of a cycle have a
//! budget: a common part first, then a share per user. The others are read in a later cycle; the
//! short ones always in this one.

use std::collections::HashMap;

/// A command line of at most this length is short, and not counted: reading it costs no more
/// than the other files of its process.
pub(crate) const SHORT_CMDLINE: usize = 4096;
/// Bytes of long command lines per cycle, of any user.
pub const CMDLINE_BYTES_COMMON: u64 = 16 << 20;
/// Bytes of long command lines per cycle and user, after that.
pub const CMDLINE_BYTES_PER_USER: u64 = 8 << 20;
/// Bytes of long command lines per cycle of all users: one can have many user ids.
pub const CMDLINE_BYTES_TOTAL: u64 = 64 << 20;

/// The bytes that were read in this cycle.
#[derive(Debug, Default)]
pub(crate) struct CmdlineBudget {
    total: u64,
    /// By the real user id of the process, `None` if that could not be read; after the common
    /// part was used.
    users: HashMap<Option<u32>, u64>,
    /// The process of the first command line of this cycle that was put off.
    pub(crate) first_put_off: Option<u32>,
    /// That process in the cycle before.
    resume_at: u32,
}

impl CmdlineBudget {
    /// Begins a cycle.
    pub(crate) fn begin(&mut self) {
        self.resume_at = self.first_put_off.take().unwrap_or(0);
        self.total = 0;
        self.users.clear();
    }

    /// The first pid to read: processes that wait for their turn come before others.
    pub(crate) fn resume_at(&self) -> u32 {
        self.resume_at
    }

    /// Whether any command line may be read, so that the user need not be known.
    pub(crate) fn has_common(&self) -> bool {
        self.total < CMDLINE_BYTES_COMMON
    }

    /// Whether a long command line of this user may be read. If not, it is put off.
    pub(crate) fn allows(&mut self, pid: u32, user: Option<u32>) -> bool {
        let used = self.users.get(&user).copied().unwrap_or(0);
        let is_allowed = used < CMDLINE_BYTES_PER_USER && self.total < CMDLINE_BYTES_TOTAL;
        if !is_allowed {
            self.first_put_off.get_or_insert(pid);
        }
        is_allowed
    }

    /// Counts a command line that was read. `user`: `None` while the common part lasts.
    pub(crate) fn charge(&mut self, user: Option<Option<u32>>, bytes: usize) {
        if bytes <= SHORT_CMDLINE {
            return;
        }
        self.total += bytes as u64;
        if let Some(user) = user {
            *self.users.entry(user).or_default() += bytes as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: usize = 2 << 20;

    /// Reads a command line as the driver does; whether it was read.
    fn read(budget: &mut CmdlineBudget, pid: u32, user: u32, bytes: usize) -> bool {
        let user = (!budget.has_common() && bytes > SHORT_CMDLINE).then_some(Some(user));
        if let Some(user) = user
            && !budget.allows(pid, user)
        {
            return false;
        }
        budget.charge(user, bytes);
        true
    }

    /// 2,000 forks with 2 MB of arguments made a cycle take 23 s.
    #[test]
    fn long_command_lines_of_a_user_are_limited() {
        let mut budget = CmdlineBudget::default();
        let cycle = |budget: &mut CmdlineBudget, first: u32| {
            budget.begin();
            let forks = (first..2_000).filter(|&pid| read(budget, pid, 1000, LONG)).count();
            // Those of another user, and short ones of the same.
            assert!(read(budget, 3_000, 1001, LONG));
            assert!((4_000..6_000).all(|pid| read(budget, pid, 1000, SHORT_CMDLINE)));
            forks
        };
        assert_eq!(cycle(&mut budget, 0), 12);
        assert_eq!(budget.first_put_off, Some(12));
        // Those that wait come first.
        assert_eq!(cycle(&mut budget, 12), 12);
        assert_eq!((budget.resume_at(), budget.first_put_off), (12, Some(24)));
        assert_eq!(cycle(&mut budget, 1_990), 10);
        assert_eq!(budget.first_put_off, None);
        budget.begin();
        assert_eq!(budget.resume_at(), 0);
    }

    #[test]
    fn many_users_are_limited_together() {
        let mut budget = CmdlineBudget::default();
        let read = (0..1_000).filter(|&user| read(&mut budget, user, user, LONG)).count();
        assert_eq!(read as u64, CMDLINE_BYTES_TOTAL / LONG as u64);
    }
}
