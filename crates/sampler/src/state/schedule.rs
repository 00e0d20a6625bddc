//! When processes are read again.

use std::time::Duration;

/// The command line of every process that has used CPU since it was last read is read
/// again within this number of cycles: the bound within which an exec or a new title that
/// left no other trace is noticed.
///
/// A process that has used none has not changed it, since it cannot without running. So
/// only its CPU clock is read, which costs a twentieth and takes no lock of the process.
/// Where there is no such clock, all command lines are read.
pub const CMDLINE_INTERVAL: u32 = 8;

/// The command line of every process is read again within this number of cycles, CPU or
/// not: another process can write into its memory.
pub const IDLE_CMDLINE_INTERVAL: u32 = 16 * CMDLINE_INTERVAL;

/// The control group of every process is read again within this number of cycles, CPU or not, if
/// the rules need it: another process can move it.
pub const CGROUP_INTERVAL: u32 = CMDLINE_INTERVAL;

/// Whether a process that has used CPU has reaped children is read within this number of cycles,
/// if it was not known to have any; in its first cycles, and if it was, in each.
pub const REAPING_INTERVAL: u32 = 8;

/// The files of every process are read again within this number of cycles, although its CPU clock
/// has not moved: its memory can change without it (by reclaim, swap, or a write of another
/// process), and so can a table of descriptors that it shares (`CLONE_FILES`).
pub const IDLE_READ_INTERVAL: u32 = 8;

/// The udp and unix tables of a network namespace are read again within this number of cycles,
/// although no member of it has run: another process that holds one of their sockets can have
/// changed it.
pub const IDLE_TABLE_INTERVAL: u32 = 8;

/// `/proc` is listed in full at least once in this number of cycles. In between only the
/// pids that were assigned since are listed, and all where the kernel's number of
/// processes shows that one is missing.
pub const FULL_LISTING_INTERVAL: u32 = 8;

/// The limit of open descriptors of every process is read again within this number of cycles; of a
/// process that is new or has executed another program, more often.
pub const LIMITS_INTERVAL: u32 = 128;

/// A process of this age has set its limits, unless it executes another program.
pub(crate) const LIMITS_SETTLED: Duration = Duration::from_secs(60);

/// A denied file is tried again after this number of cycles: each attempt may write a
/// record into the audit log.
pub const DENIED_RETRY_INTERVAL: u32 = 64;

/// The descriptors of every process are scanned again within this number of cycles, if it
/// has used CPU since the last scan: the bound within which a descriptor is noticed that
/// became a socket while their number stayed the same.
pub const FD_SCAN_INTERVAL: u64 = 40;

/// The same for processes that have used no CPU: another process that shares its
/// descriptors (`CLONE_FILES`) can have changed them.
pub(crate) const IDLE_FD_SCAN_INTERVAL: u32 = 8 * FD_SCAN_INTERVAL as u32;

/// The TCP tables of a network namespace are walked once in this number of cycles even if no
/// counter of the kernel shows a change: the bound within which a change is noticed that the
/// kernel does not count. The namespaces are spread over the cycles.
pub const TCP_WALK_INTERVAL: u32 = 64;

/// At least this number of descriptors is scanned in each cycle (half a millisecond), so
/// that small populations are scanned completely every few cycles.
pub(crate) const MIN_FDS_PER_CYCLE: u64 = 128;

/// At most this number of descriptors is scanned in a cycle because something indicates a
/// change, and at most twice that number where the last process among them has nearly that
/// many itself (70 to 160 ms for the former, after the window). A process that exceeds the
/// limit comes first in the next cycle; a process with more descriptors than this is
/// scanned only in turn, in parts.
pub const MAX_FDS_PER_CYCLE: u64 = 32_768;

/// The cycle in which a command line is due again after a read in cycle `now`.
///
/// The command line of a recent process is read in each of its first cycles, because a
/// process between fork and exec shows that of its parent; then at growing intervals. The
/// reads of old processes are spread over the cycles by pid.
pub(crate) fn next_read(pid: u32, first_seen_cycle: u32, now: u32) -> u32 {
    let age = now.saturating_sub(first_seen_cycle);
    if age < 2 {
        now + 1
    } else if age < CMDLINE_INTERVAL {
        now + age / 2
    } else {
        now + 1 + (pid.wrapping_sub(now + 1) % CMDLINE_INTERVAL)
    }
}

/// The cycle in which the limit of open descriptors is due again after a read in cycle `now`.
/// `first`: that of the first read since the process was found or has executed another program,
/// since programs set their limits when they start.
pub(crate) fn next_limits_read(pid: u32, first: u32, now: u32) -> u32 {
    let age = now.wrapping_sub(first);
    if age < LIMITS_INTERVAL / 4 {
        now + (3 * age).max(1)
    } else {
        now + 1 + (pid.wrapping_sub(now + 1) % LIMITS_INTERVAL)
    }
}

/// Whether a command line that is due is read although its process has used no CPU since
/// the last read.
pub(crate) fn is_due_when_idle(pid: u32, now: u32) -> bool {
    // An old process is due where this is a multiple of its interval.
    now.wrapping_sub(pid).is_multiple_of(IDLE_CMDLINE_INTERVAL)
}

/// Whether to read in this cycle what a process without known children has reaped.
pub(crate) fn is_reaping_check_due(pid: u32, tracked_in: u32, now: u32) -> bool {
    now.saturating_sub(tracked_in) < REAPING_INTERVAL
        || now.wrapping_sub(pid).is_multiple_of(REAPING_INTERVAL)
}

/// Whether the files of a process are read in this cycle although it is idle.
pub(crate) fn is_idle_read_due(pid: u32, now: u32) -> bool {
    now.wrapping_sub(pid).is_multiple_of(IDLE_READ_INTERVAL)
}

/// Whether the udp and unix tables of a network namespace are read in this cycle although no member
/// has run.
pub(crate) fn is_idle_table_due(netns: u32, now: u32) -> bool {
    now.wrapping_add(netns).is_multiple_of(IDLE_TABLE_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(pid: u32) -> Vec<u32> {
        let (mut at, mut reads) = (5, Vec::new());
        while at < 405 {
            reads.push(at);
            at = next_read(pid, 5, at);
        }
        reads
    }

    #[test]
    fn limits_are_read_once_per_interval() {
        let mut per_cycle = [0; LIMITS_INTERVAL as usize];
        for pid in 1000..1640 {
            let (mut at, mut reads) = (5, Vec::new());
            while at < 1000 {
                reads.push(at);
                at = next_limits_read(pid, 5, at);
            }
            assert_eq!(reads[..5], [5, 6, 9, 21, 69]);
            let intervals: Vec<u32> = reads.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(intervals.iter().all(|interval| (1..=LIMITS_INTERVAL).contains(interval)));
            assert_eq!(intervals.last(), Some(&LIMITS_INTERVAL), "{pid}: {reads:?}");
            let second = next_limits_read(pid, 5_u32.wrapping_sub(LIMITS_INTERVAL), 5);
            assert_eq!(second % LIMITS_INTERVAL, pid % LIMITS_INTERVAL);
            per_cycle[(at % LIMITS_INTERVAL) as usize] += 1;
        }
        assert_eq!(per_cycle, [5; LIMITS_INTERVAL as usize]);
    }

    #[test]
    fn old_processes_are_read_once_per_interval() {
        let mut per_cycle = [0; CMDLINE_INTERVAL as usize];
        for pid in 1000..1800 {
            let reads = reads(pid);
            assert_eq!(reads[..4], [5, 6, 7, 8]);
            for pair in reads.windows(2) {
                assert!((1..=CMDLINE_INTERVAL).contains(&(pair[1] - pair[0])));
            }
            let last = reads.last().copied().unwrap_or_default();
            per_cycle[(last % CMDLINE_INTERVAL) as usize] += 1;
            let idle: Vec<_> =
                reads.iter().filter(|&&at| at > 20 && is_due_when_idle(pid, at)).collect();
            assert!(idle.windows(2).all(|pair| pair[1] - pair[0] == IDLE_CMDLINE_INTERVAL));
            assert!(idle.len() >= 2, "{pid}: {idle:?}");
        }
        assert_eq!(per_cycle, [100; CMDLINE_INTERVAL as usize]);
    }
}
