//! How many bytes of command lines are read, and how long they are classified, in a cycle.
//!
//! A command line has up to 6 MiB, and a user can start thousands of processes with one. Reading
//! one takes 1 ms per MiB and matching it several times that, so the long ones of a cycle have a
//! budget: a common part first, then a share per user. The others are read in a later cycle.
//!
//! The time depends on the rules too: with some, a command line of 100 KB takes 60 ms. So the time
//! that the caller takes to classify one is converted to bytes, at the rate of ordinary rules,
//! and its user is charged the larger number. Short command lines have a separate budget of time
//! only, so those of a user do not wait for the long ones; without expensive ones it is not used.

use std::collections::HashMap;
use std::time::Duration;

/// A command line of at most this length is short, and not counted: reading it costs no more
/// than the other files of its process.
pub(crate) const SHORT_CMDLINE: usize = 4096;
/// Bytes of long command lines per cycle, of any user.
pub const CMDLINE_BYTES_COMMON: u64 = 16 << 20;
/// Bytes of long command lines per cycle and user, after that.
pub const CMDLINE_BYTES_PER_USER: u64 = 8 << 20;
/// Bytes of long command lines per cycle of all users: one can have many user ids.
pub const CMDLINE_BYTES_TOTAL: u64 = 64 << 20;
/// Bytes that ordinary rules match in a microsecond: CPU time for matching is converted to bytes. The
/// budgets of bytes are also budgets of CPU time: 0.1 s in common, 0.05 s per user, 0.4 s in total.
pub const CMDLINE_BYTES_PER_MICROSECOND: u64 = 168;
/// Less CPU time for matching a command line is not counted, as 500 ordinary rules take.
pub const CMDLINE_UNCOUNTED: Duration = Duration::from_micros(250);

/// A cost in bytes of all users, and of each user.
#[derive(Debug, Default)]
struct Charges {
    total: u64,
    /// By the real user id of the process, `None` if that could not be read.
    users: HashMap<Option<u32>, u64>,
}

impl Charges {
    fn clear(&mut self) {
        self.total = 0;
        self.users.clear();
    }

    fn has_common(&self) -> bool {
        self.total < CMDLINE_BYTES_COMMON
    }

    fn allows(&self, user: Option<u32>) -> bool {
        let used = self.users.get(&user).copied().unwrap_or(0);
        used < CMDLINE_BYTES_PER_USER && self.total < CMDLINE_BYTES_TOTAL
    }

    fn charge(&mut self, user: Option<Option<u32>>, bytes: u64) {
        self.total += bytes;
        if let Some(user) = user {
            *self.users.entry(user).or_default() += bytes;
        }
    }
}

/// The cost of the command lines that were read in this cycle.
#[derive(Debug, Default)]
pub(crate) struct CmdlineBudget {
    /// Bytes, and the time for matching beyond that of ordinary rules.
    long: Charges,
    /// The time for matching expensive ones.
    short: Charges,
    /// The time for a command line was counted in this cycle, and in the one before.
    is_expensive: bool,
    was_expensive: bool,
    /// The process of the first command line of this cycle that was put off.
    pub(crate) first_put_off: Option<u32>,
    /// That process in the cycle before.
    resume_at: u32,
}

impl CmdlineBudget {
    /// Begins a cycle.
    pub(crate) fn begin(&mut self) {
        self.resume_at = self.first_put_off.take().unwrap_or(0);
        self.was_expensive = std::mem::take(&mut self.is_expensive);
        self.long.clear();
        self.short.clear();
    }

    /// How many command lines are classified before the time for them is known, at most `limit`.
    pub(crate) fn batch(&self, limit: usize) -> usize {
        if self.is_expensive || self.was_expensive { 1 } else { limit }
    }

    /// The first pid to read: processes that wait for their turn come before others.
    pub(crate) fn resume_at(&self) -> u32 {
        self.resume_at
    }

    /// Whether any command line may be read, so that the user need not be known.
    pub(crate) fn has_common(&self) -> bool {
        self.long.has_common() && self.short.has_common()
    }

    /// Whether any command line of this length may be classified.
    pub(crate) fn has_common_for(&self, bytes: usize) -> bool {
        if bytes > SHORT_CMDLINE { self.long.has_common() } else { self.short.has_common() }
    }

    /// Whether a command line of this user and length may be classified. If not, it is put off.
    pub(crate) fn allows(&mut self, pid: u32, user: Option<u32>, bytes: usize) -> bool {
        let charges = if bytes > SHORT_CMDLINE { &self.long } else { &self.short };
        let is_allowed = charges.allows(user);
        if !is_allowed {
            self.first_put_off.get_or_insert(pid);
        }
        is_allowed
    }

    /// Counts a command line that was read. `user`: `None` while the common part lasts.
    pub(crate) fn charge(&mut self, user: Option<Option<u32>>, bytes: usize) {
        if bytes > SHORT_CMDLINE {
            self.long.charge(user, bytes as u64);
        }
    }

    /// Counts the CPU time for matching a command line. `user` is called if it is more than
    /// ordinary rules take: such time is the user's also while the common part lasts.
    pub(crate) fn charge_time(
        &mut self,
        bytes: usize,
        time: Duration,
        user: impl FnOnce() -> Option<u32>,
    ) {
        let is_long = bytes > SHORT_CMDLINE;
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let counted = if is_long { bytes as u64 } else { 0 };
        let cost = microseconds.saturating_mul(CMDLINE_BYTES_PER_MICROSECOND);
        let excess = cost.saturating_sub(counted);
        if time <= CMDLINE_UNCOUNTED || excess == 0 {
            return;
        }
        self.is_expensive = true;
        let charges = if is_long { &mut self.long } else { &mut self.short };
        charges.charge(Some(user()), excess);
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
            && !budget.allows(pid, user, bytes)
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

    /// 160 arguments of 100 KB and eight rules, each of which takes 60 ms, made a cycle take 9.8 s.
    #[test]
    fn time_for_matching_is_limited_per_user() {
        let expensive = Duration::from_millis(60);
        for bytes in [100_000, 4_000] {
            let mut budget = CmdlineBudget::default();
            for _ in 0..2 {
                budget.begin();
                let mut classified = 0;
                for pid in 0..160 {
                    if budget.has_common_for(bytes) || budget.allows(pid, Some(1000), bytes) {
                        budget.charge(None, bytes);
                        budget.charge_time(bytes, expensive, || Some(1000));
                        classified += 1;
                    }
                }
                assert_eq!(budget.batch(1024), 1);
                assert_eq!((classified, budget.first_put_off), (2, Some(2)), "{bytes}");
                // Others, and those of the other kind of the same user.
                let other_kind = 104_000 - bytes;
                assert!(budget.allows(500, Some(1001), bytes));
                assert!(budget.has_common_for(other_kind) && !budget.has_common());
            }
            assert_eq!(budget.resume_at(), 2);
            // Many users have a limit together.
            budget.begin();
            let classified = (0..160).filter(|&user| {
                let is_read =
                    budget.has_common_for(bytes) || budget.allows(user, Some(user), bytes);
                if is_read {
                    budget.charge_time(bytes, expensive, || Some(user));
                }
                is_read
            });
            assert_eq!(classified.count(), 7);
        }
    }

    /// Ordinary rules: neither the user is read, nor does a command line wait.
    #[test]
    fn ordinary_time_is_not_counted() {
        let mut budget = CmdlineBudget::default();
        let unknown = || -> Option<u32> { panic!("the user is not needed") };
        for _ in 0..100_000 {
            budget.charge_time(SHORT_CMDLINE, CMDLINE_UNCOUNTED, unknown);
            budget.charge_time(LONG, Duration::from_millis(12), unknown);
        }
        assert!(budget.has_common());
        assert_eq!(budget.batch(1024), 1024);
    }
}
