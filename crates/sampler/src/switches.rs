//! Context switches of processes: sums over their threads that do not fall when a thread exits.

use std::num::NonZeroU64;

use crate::read::status::ThreadSwitches;
use crate::state::tracked::FileState;

/// Context switches of all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SwitchCounts {
    /// The thread had to wait (`voluntary_ctxt_switches`).
    pub voluntary: u64,
    /// The thread had used its time, or another one was to run (`nonvoluntary_ctxt_switches`).
    pub involuntary: u64,
}

impl SwitchCounts {
    pub(crate) const ZERO: SwitchCounts = SwitchCounts { voluntary: 0, involuntary: 0 };

    pub(crate) fn plus(self, other: SwitchCounts) -> SwitchCounts {
        SwitchCounts {
            voluntary: self.voluntary.saturating_add(other.voluntary),
            involuntary: self.involuntary.saturating_add(other.involuntary),
        }
    }
}

impl ThreadSwitches {
    /// The growth since an earlier reading; `None` if that is of another thread.
    fn since(&self, before: &ThreadSwitches) -> Option<SwitchCounts> {
        Some(SwitchCounts {
            voluntary: self.voluntary.checked_sub(before.voluntary)?,
            involuntary: self.involuntary.checked_sub(before.involuntary)?,
        })
    }
}

/// The switches of one process.
#[derive(Debug)]
pub(crate) struct ProcessSwitches {
    /// How the last read ended.
    pub(crate) state: FileState,
    /// Its CPU time before that, if there is a CPU clock.
    pub(crate) cpu: Option<NonZeroU64>,
    /// Its threads at the last reading, by id.
    threads: Vec<ThreadSwitches>,
    /// Of all threads that were read since its first reading, with what they did before that.
    pub(crate) total: SwitchCounts,
}

impl Default for ProcessSwitches {
    fn default() -> ProcessSwitches {
        let (state, total) = (FileState::Never, SwitchCounts::ZERO);
        ProcessSwitches { state, cpu: None, threads: Vec::new(), total }
    }
}

impl ProcessSwitches {
    /// Applies a reading of all threads, by id. Gives the growth since the one before, which for a
    /// thread that was not read before is all that it did.
    ///
    /// It is never too much: if the id of a thread that has exited belongs to another one, only the
    /// growth above the former's counts, unless they are smaller. A thread that executes a program
    /// gets the id of the process, and the other threads exit; so if all others have exited, the
    /// growth of the main thread is the smallest one above any of them.
    pub(crate) fn update(&mut self, pid: u32, now: &[ThreadSwitches]) -> SwitchCounts {
        let before = &self.threads;
        let find = |tid: u32| {
            before.binary_search_by_key(&tid, |thread| thread.tid).ok().map(|at| &before[at])
        };
        let is_left = |thread: &ThreadSwitches| thread.tid != pid && find(thread.tid).is_some();
        let may_have_executed = before.len() > 1 && !now.iter().any(is_left);
        let mut growth = SwitchCounts::ZERO;
        for thread in now {
            let all = SwitchCounts { voluntary: thread.voluntary, involuntary: thread.involuntary };
            let grown = if thread.tid == pid && may_have_executed {
                let each = before.iter().filter_map(|before| thread.since(before));
                each.min_by_key(|grown| grown.voluntary.saturating_add(grown.involuntary))
            } else {
                find(thread.tid).and_then(|before| thread.since(before))
            };
            growth = growth.plus(grown.unwrap_or(all));
        }
        self.threads.clear();
        self.threads.extend_from_slice(now);
        self.total = self.total.plus(growth);
        growth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_of_threads_are_counted_once() {
        let mut process = ProcessSwitches::default();
        let mut update = |threads: &[(u32, u64, u64)]| {
            let threads: Vec<ThreadSwitches> = threads
                .iter()
                .map(|&(tid, voluntary, involuntary)| ThreadSwitches {
                    tid,
                    voluntary,
                    involuntary,
                })
                .collect();
            let growth = process.update(10, &threads);
            (growth.voluntary, growth.involuntary)
        };
        assert_eq!(update(&[(10, 5, 1), (11, 7, 0)]), (12, 1));
        assert_eq!(update(&[(10, 5, 1), (11, 7, 0)]), (0, 0));
        // A thread starts, another one exits.
        assert_eq!(update(&[(10, 6, 1), (11, 9, 2), (12, 4, 0)]), (7, 2));
        assert_eq!(update(&[(10, 6, 1), (12, 5, 0)]), (1, 0));
        // The id of a thread belongs to another one.
        assert_eq!(update(&[(10, 6, 1), (12, 2, 1)]), (2, 1));
        // Thread 12 has executed a program.
        assert_eq!(update(&[(10, 5, 1)]), (3, 0));
        assert_eq!(update(&[(10, 6, 1), (13, 1, 1)]), (2, 1));
        // All others have exited.
        assert_eq!(update(&[(10, 9, 4)]), (3, 3));
        assert_eq!(process.total, SwitchCounts { voluntary: 30, involuntary: 8 });
    }
}
