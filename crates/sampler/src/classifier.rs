//! Classification: whose command lines are due, and which images they belong to.

use std::collections::HashMap;
use std::num::NonZeroU64;

use psstat_proc_parse::Cmdline;

use crate::image::ImageId;
use crate::io_counters::IoCounters;
use crate::shrink::{shrink_map, shrink_vec};
use crate::source::ProcessSource;
use crate::state::process_table::{ProcessEntry, ProcessTable};
use crate::state::schedule::{is_due_when_idle, next_read};
use crate::state::tracked::TrackedProcesses;

/// Command lines are rarely longer, in bytes.
const LARGE_CMDLINE_BUFFER: usize = 1 << 16;

/// A process that may belong to images.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its pid in the procfs that is read.
    pub pid: u32,
    /// The pid of its parent; 0 when the parent is not visible.
    pub ppid: u32,
    /// `/proc/PID/cmdline` as it is, each argument terminated by NUL. Never empty.
    pub command_line: &'a [u8],
    /// The arguments joined by single spaces, without a trailing one.
    pub args_joined: &'a [u8],
}

/// Decides which images a process belongs to and adds them to the list. Called for new
/// processes and again from time to time, since a process can become another program.
pub type Classify<'c> = dyn FnMut(&Candidate<'_>, &mut Vec<ImageId>) + 'c;

/// The command lines that one step reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Those that decide which processes take part in the coming window: of new and
    /// recent processes, and after signs of an exec.
    Urgent,
    /// Those that are due by the schedule.
    Scheduled,
}

/// The images that exist, and what is needed to find those of a process.
#[derive(Debug, Default)]
pub(crate) struct Classifier {
    /// The cycle in which each image appeared.
    image_first_cycle: Vec<u32>,
    /// io of recent processes that belong to no image yet, by pid.
    recent_io: HashMap<u32, IoCounters>,

    // Buffers, empty between the steps.
    /// The positions in the process table of those whose command line is read, and
    pub(crate) requested: Vec<usize>,
    /// the pids to read it from.
    pub(crate) pids: Vec<u32>,
    images: Vec<ImageId>,
    args_joined: Vec<u8>,
}

impl Classifier {
    /// How many images there are.
    pub(crate) fn images(&self) -> usize {
        self.image_first_cycle.len()
    }

    /// Makes room for this number of images; new ones appear in cycle `first`.
    pub(crate) fn ensure_images(&mut self, count: usize, first: u32) {
        if self.image_first_cycle.len() < count {
            self.image_first_cycle.resize(count, first);
        }
    }

    /// Whether an image appeared after the process was last classified.
    pub(crate) fn is_new_to(&self, entry: &ProcessEntry, image: ImageId) -> bool {
        let first = self.image_first_cycle.get(image.index());
        first.is_some_and(|&first| first > entry.last_classified)
    }

    /// Selects the processes whose command lines are due in this step.
    pub(crate) fn select<S: ProcessSource>(
        &mut self,
        source: &mut S,
        processes: &mut ProcessTable,
        tracked: &TrackedProcesses<S::Handles>,
        cycle: u32,
        urgency: Urgency,
    ) {
        self.requested.clear();
        self.pids.clear();
        for (at, entry) in (0..).zip(&mut processes.entries) {
            let is_urgent = entry.is_recent(cycle) || entry.next_read < cycle;
            if entry.next_read > cycle || is_urgent != (urgency == Urgency::Urgent) {
                continue;
            }
            let pid = entry.live_thread.unwrap_or(entry.pid);
            if entry.blocked && source.is_still_stuck(pid) {
                continue;
            }
            // Before the command line, so that what the process does meanwhile shows.
            let member = entry.slot.and_then(|slot| tracked.get(slot));
            let cpu = match member.filter(|member| member.cpu.opened.is_some()) {
                _ if !source.has_cpu_clock() => None,
                // Just read.
                Some(member) => NonZeroU64::new(member.cpu.last),
                None => source.cpu_clock(entry.pid).and_then(NonZeroU64::new),
            };
            let is_idle = cpu.is_some() && cpu == entry.cpu;
            if is_idle && !is_urgent && !is_due_when_idle(entry.pid, cycle) {
                entry.next_read = next_read(entry.pid, entry.first_seen_cycle, cycle);
                continue;
            }
            entry.cpu = cpu;
            self.requested.push(at);
            self.pids.push(pid);
        }
        shrink_vec(&mut self.requested);
    }

    /// Finds the images for a command line that is not empty. They are sorted, each once.
    /// Give the list back with [`return_buffer`](Self::return_buffer).
    pub(crate) fn classify(
        &mut self,
        entry: &ProcessEntry,
        command_line: &[u8],
        classify: &mut Classify<'_>,
    ) -> Vec<ImageId> {
        let mut images = self.take_buffer();
        self.args_joined.extend(Cmdline::new(command_line).joined());
        let candidate = Candidate {
            pid: entry.pid,
            ppid: entry.ppid,
            command_line,
            args_joined: &self.args_joined,
        };
        classify(&candidate, &mut images);
        self.args_joined.clear();
        // A rare large one does not stay in memory.
        self.args_joined.shrink_to(LARGE_CMDLINE_BUFFER);
        images.sort_unstable();
        images.dedup();
        images
    }

    /// An empty list of images.
    pub(crate) fn take_buffer(&mut self) -> Vec<ImageId> {
        let mut images = std::mem::take(&mut self.images);
        images.clear();
        images
    }

    pub(crate) fn return_buffer(&mut self, images: Vec<ImageId>) {
        self.images = images;
    }

    /// Notes the io of a recent process that belongs to no image: it may be about to
    /// become a program that does, and its io until then is not that image's.
    pub(crate) fn record_recent_io(&mut self, pid: u32, counters: IoCounters) {
        self.recent_io.insert(pid, counters);
    }

    /// The io of a recent process when its command line was last read.
    pub(crate) fn recent_io(&self, pid: u32) -> Option<IoCounters> {
        self.recent_io.get(&pid).copied()
    }

    /// Removes the processes that have exited or are no longer recent.
    pub(crate) fn drop_old(&mut self, processes: &ProcessTable, cycle: u32) {
        self.recent_io
            .retain(|pid, _| processes.find(*pid).is_some_and(|entry| entry.is_recent(cycle)));
        shrink_map(&mut self.recent_io);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pid: u32, last_classified: u32) -> ProcessEntry {
        ProcessEntry { ppid: 1, last_classified, ..ProcessEntry::new(pid, u64::from(pid), 4) }
    }

    #[test]
    fn images_are_sorted_and_distinct() {
        let mut classifier = Classifier::default();
        for _ in 0..2 {
            let mut seen = Vec::new();
            let images = classifier.classify(&entry(5, 0), b"a\0b c\0", &mut |process, images| {
                seen.push((process.pid, process.ppid, process.args_joined.to_vec()));
                images.extend([3, 1, 3].map(ImageId));
            });
            assert_eq!(images, [ImageId(1), ImageId(3)]);
            assert_eq!(seen, [(5, 1, b"a b c".to_vec())]);
            classifier.return_buffer(images);
        }
    }

    #[test]
    fn image_is_new_to_those_classified_before_it() {
        let mut classifier = Classifier::default();
        classifier.ensure_images(1, 0);
        classifier.ensure_images(2, 7);
        classifier.ensure_images(2, 9);
        let is_new = |cycle, image| classifier.is_new_to(&entry(5, cycle), ImageId(image));
        assert_eq!([is_new(0, 0), is_new(6, 1), is_new(7, 1)], [false, true, false]);
    }

    #[test]
    fn io_of_recent_processes_is_kept_for_two_cycles() {
        let mut classifier = Classifier::default();
        let mut processes = ProcessTable::default();
        processes.entries.push(entry(5, 0));
        for pid in [5, 6] {
            classifier.record_recent_io(pid, IoCounters::ZERO);
        }
        classifier.drop_old(&processes, 5);
        assert_eq!(
            (classifier.recent_io(5), classifier.recent_io(6)),
            (Some(IoCounters::ZERO), None)
        );
        classifier.drop_old(&processes, 6);
        assert_eq!(classifier.recent_io(5), None);
    }
}
