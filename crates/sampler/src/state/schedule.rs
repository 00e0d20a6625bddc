//! When to look at a process again.

use super::process_table::ProcessEntry;

/// The command line of every process that has used CPU since it was last read
/// is read again within so many cycles: the bound within which an exec or a
/// title that left no other trace is noticed.
///
/// One that has used none has not changed it: neither works without running.
/// So it is asked for its CPU clock, which costs a twentieth and takes no lock
/// of the process's. Where there is no such clock, all are read.
pub const CMDLINE_INTERVAL: u32 = 8;

/// The command line of every process is read again within so many cycles, CPU
/// or not: another process can write into its memory.
pub const IDLE_CMDLINE_INTERVAL: u32 = 16 * CMDLINE_INTERVAL;

/// `/proc` is listed whole at least once in so many cycles. In between, what
/// came is looked for among the pids given out since, and it is listed whole
/// where the kernel's count of processes says that somebody is missing.
pub const FULL_LISTING_INTERVAL: u32 = 8;

/// A denied file is tried again after so many cycles: each try of a denied
/// file may write a record into the audit log.
pub const DENIED_RETRY_INTERVAL: u32 = 64;

/// Every process's descriptors are looked at again within so many cycles, if it
/// has used CPU since the last look: the bound within which a descriptor is
/// noticed that became a socket while their number stayed the same.
pub const FD_SCAN_INTERVAL: u64 = 40;

/// The same for those that have used no CPU: another process with which one
/// shares its descriptors (`CLONE_FILES`) can have changed them.
pub(crate) const IDLE_FD_SCAN_INTERVAL: u32 = 8 * FD_SCAN_INTERVAL as u32;

/// So many descriptors are looked at each cycle at least (half a millisecond),
/// so that small populations are looked at whole every few cycles.
pub(crate) const MIN_FDS_PER_CYCLE: u64 = 128;

/// So many descriptors are looked at in a cycle at most because something points
/// to a change, and at most twice as many where the last process among them
/// has nearly that many itself (70 to 160 ms for the former, after the window).
/// Whoever comes too late is among the first in the next cycle; a process with more
/// than these has its turn alone, in parts.
pub const MAX_FDS_PER_CYCLE: u64 = 32_768;

/// The cycle in which a command line is due again after a look in cycle `now`.
///
/// The young are looked at in each of their first cycles, for a process seen
/// between fork and exec shows its parent's command line; then ever more
/// rarely. The old are spread over the cycles by pid.
pub(crate) fn next_read(seen: &ProcessEntry, now: u32) -> u32 {
    let age = now.saturating_sub(seen.first_seen_cycle);
    if age < 2 {
        now + 1
    } else if age < CMDLINE_INTERVAL {
        now + age / 2
    } else {
        now + 1 + (seen.pid.wrapping_sub(now + 1) % CMDLINE_INTERVAL)
    }
}

/// Whether a command line that is due is to be read although its process has
/// used no CPU since the last time.
pub(crate) fn is_due_when_idle(seen: &ProcessEntry, now: u32) -> bool {
    // An old one is due where this is a multiple of its turn.
    now.wrapping_sub(seen.pid).is_multiple_of(IDLE_CMDLINE_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(pid: u32) -> Vec<u32> {
        let seen = ProcessEntry::new(pid, 1, 5);
        let (mut at, mut looks) = (5, Vec::new());
        while at < 405 {
            looks.push(at);
            at = next_read(&seen, at);
        }
        looks
    }

    #[test]
    fn old_processes_are_read_once_per_interval() {
        let mut a_cycle = [0; CMDLINE_INTERVAL as usize];
        for pid in 1000..1800 {
            let looks = looks(pid);
            assert_eq!(looks[..4], [5, 6, 7, 8]);
            for pair in looks.windows(2) {
                assert!((1..=CMDLINE_INTERVAL).contains(&(pair[1] - pair[0])));
            }
            let last = looks.last().copied().unwrap_or_default();
            a_cycle[(last % CMDLINE_INTERVAL) as usize] += 1;
            let seen = ProcessEntry::new(pid, 1, 5);
            let idle: Vec<_> =
                looks.iter().filter(|&&at| at > 20 && is_due_when_idle(&seen, at)).collect();
            assert!(idle.windows(2).all(|pair| pair[1] - pair[0] == IDLE_CMDLINE_INTERVAL));
            assert!(idle.len() >= 2, "{pid}: {idle:?}");
        }
        assert_eq!(a_cycle, [100; CMDLINE_INTERVAL as usize]);
    }
}
