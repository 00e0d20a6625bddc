//! Classification: whose command lines are due, and which images they belong to.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use psstat_proc_parse::Cmdline;
use rustix::time::{ClockId, clock_gettime};

use crate::fields::FieldTexts;
use crate::image::ImageIndex;
use crate::io_counters::IoCounters;
use crate::shrink::{shrink_map, shrink_vec};
use crate::source::ProcessSource;
use crate::state::cmdline_budget::CMDLINE_UNCOUNTED;
use crate::state::process_table::{ProcessEntry, ProcessTable};
use crate::state::schedule::{is_due_when_idle, next_read};
use crate::state::tracked::TrackedProcesses;

/// Bytes of command lines that are classified together, unless one is longer. With expensive rules
/// these take 0.2 s, and only then is the cost known.
const MAX_BATCH: usize = 1 << 14;
/// Command lines are rarely longer, in bytes.
const LARGE_CMDLINE_BUFFER: usize = 1 << 16;

/// The cycle of an image that does not exist.
const NEVER: u32 = u32::MAX;

/// A process that may belong to images.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// Its pid in the procfs that is read.
    pub pid: u32,
    /// The pid of its parent; 0 when the parent is not visible.
    pub ppid: u32,
    /// `/proc/PID/cmdline` as it is, each argument terminated by NUL. It is only NULs if all
    /// arguments are empty, and one NUL if there is no argument.
    pub command_line: &'a [u8],
    /// The arguments joined by single spaces, without a trailing one. Empty if all arguments are.
    pub args_joined: &'a [u8],
    /// The name of its program, `/proc/PID/comm` without the line end. This and the following are
    /// `None` if they are not [requested](crate::Sampler::set_fields), or could not be read.
    pub comm: Option<&'a [u8]>,
    /// Its effective user id.
    pub uid: Option<u32>,
    /// The path of its control group, that of
    /// [`Cgroups::path`](psstat_proc_parse::Cgroups::path).
    pub cgroup: Option<&'a [u8]>,
}

/// The length of `comm`; the kernel cuts longer names.
const COMM_LEN: usize = 15;

impl<'a> Candidate<'a> {
    /// A process with this content of `/proc/PID/cmdline` and these arguments joined by spaces, for
    /// tests of closures. The other fields can be set.
    #[must_use]
    pub fn new(pid: u32, command_line: &'a [u8], args_joined: &'a [u8]) -> Candidate<'a> {
        Candidate { pid, command_line, args_joined, ..Candidate::default() }
    }

    /// The name of its program: `comm`, or the last part of the first argument if `comm` was not
    /// read, or is cut and that begins with it.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        let argv0 = Cmdline::new(self.command_line).argv0();
        let program = argv0.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        match self.comm {
            Some(comm) if comm.len() < COMM_LEN || !program.starts_with(comm) => comm,
            _ => program,
        }
    }
}

/// Decides which images a process belongs to and adds them to the list. Called for new
/// processes and again from time to time, since a process can become another program.
pub(crate) type Classify<'c> = dyn FnMut(&Candidate<'_>, &mut Vec<ImageIndex>) + 'c;

/// The command lines that one step reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Those that decide which processes take part in the coming window: of new and
    /// recent processes, and after signs of an exec.
    Urgent,
    /// Those that are due by the schedule.
    Scheduled,
}

/// The counters of a recent process when its command line was last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recent {
    pub(crate) io: IoCounters,
    /// The CPU time that it had used itself, in nanoseconds, if there is a CPU clock.
    pub(crate) cpu: Option<NonZeroU64>,
}

/// The images that exist, and what is needed to find those of a process.
#[derive(Debug, Default)]
pub(crate) struct Classifier {
    /// The cycle in which each image appeared, or [`NEVER`].
    image_first_cycle: Vec<u32>,
    /// The counters of recent processes that belong to no image yet, by pid.
    recent: HashMap<u32, Recent>,

    // Buffers, empty between the steps.
    /// The processes that are due.
    pub(crate) due: Vec<DueProcess>,
    /// The command line that was read last, and the fields.
    pub(crate) line: Vec<u8>,
    pub(crate) fields: FieldTexts,
    pub(crate) batch: CmdlineBatch,
}

/// A process whose command line is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DueProcess {
    /// Its position in the process table.
    pub(crate) at: usize,
    /// The pid to read it from.
    pub(crate) tid: u32,
    /// Only if it is in another control group.
    pub(crate) if_moved: bool,
}

/// Command lines that are classified together, and then the images of each.
///
/// The closure that finds images runs in the thread of the caller, and the driver in another one,
/// so several command lines share one hand-over.
#[derive(Debug, Default)]
pub(crate) struct CmdlineBatch {
    items: Vec<BatchItem>,
    /// The command lines, each followed by the fields, concatenated.
    texts: Vec<u8>,
    /// The images, concatenated.
    images: Vec<ImageIndex>,
    // Buffers.
    args_joined: Vec<u8>,
    found: Vec<ImageIndex>,
}

#[derive(Clone, Copy, Debug)]
struct BatchItem {
    /// The position in the process table.
    at: usize,
    pid: u32,
    ppid: u32,
    /// The end of its command line, and of its other texts.
    line_end: usize,
    end: usize,
    /// The lengths of these.
    comm: Option<usize>,
    cgroup: Option<usize>,
    uid: Option<u32>,
    /// The end of its images.
    images_end: usize,
    /// The CPU time of the caller's closure, if that is more than is not counted.
    time: Duration,
}

impl CmdlineBatch {
    /// Adds the command line of a process, which is at this position of the process table.
    pub(crate) fn push(
        &mut self,
        at: usize,
        entry: &ProcessEntry,
        command_line: &[u8],
        fields: &FieldTexts,
    ) {
        let (pid, ppid, uid) = (entry.pid, entry.ppid, fields.uid);
        self.texts.extend_from_slice(command_line);
        let line_end = self.texts.len();
        let mut push = |text: Option<&[u8]>| {
            self.texts.extend_from_slice(text.unwrap_or_default());
            text.map(<[u8]>::len)
        };
        let (comm, cgroup) = (push(fields.comm()), push(fields.cgroup()));
        let (end, images_end, time) = (self.texts.len(), 0, Duration::ZERO);
        self.items.push(BatchItem {
            at,
            pid,
            ppid,
            line_end,
            end,
            comm,
            cgroup,
            uid,
            images_end,
            time,
        });
    }

    /// Whether it is to be classified before another command line is read.
    pub(crate) fn is_full(&self, limit: usize) -> bool {
        self.items.len() >= limit || self.texts.len() >= MAX_BATCH
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.items.clear();
        self.texts.clear();
        self.images.clear();
        // The memory of a rare large command line is freed.
        self.texts.shrink_to(2 * LARGE_CMDLINE_BUFFER);
    }

    /// Finds the images for every command line. They are sorted, each once.
    pub(crate) fn classify(&mut self, classify: &mut Classify<'_>) {
        let CmdlineBatch { items, texts, images, args_joined, found } = self;
        images.clear();
        let mut start = 0;
        // The CPU clock of the thread is a system call, and hardly any command line needs it.
        let mut used = thread_cpu_time();
        for item in items {
            let command_line = texts.get(start..item.line_end).unwrap_or_default();
            start = item.end;
            if !command_line.is_empty() {
                args_joined.extend(Cmdline::new(command_line).joined());
                let cgroup_start = item.line_end + item.comm.unwrap_or(0);
                let candidate = Candidate {
                    pid: item.pid,
                    ppid: item.ppid,
                    command_line,
                    args_joined,
                    comm: item.comm.and_then(|_| texts.get(item.line_end..cgroup_start)),
                    uid: item.uid,
                    cgroup: item.cgroup.and_then(|_| texts.get(cgroup_start..item.end)),
                };
                let started = Instant::now();
                classify(&candidate, found);
                let elapsed = started.elapsed();
                if elapsed > CMDLINE_UNCOUNTED {
                    let before = std::mem::replace(&mut used, thread_cpu_time());
                    item.time = elapsed.min(used.saturating_sub(before));
                }
                args_joined.clear();
                args_joined.shrink_to(LARGE_CMDLINE_BUFFER);
                found.sort_unstable();
                found.dedup();
                images.append(found);
            }
            item.images_end = images.len();
        }
    }

    /// The pid of a process, the length of its command line, and the CPU time of the
    /// closure.
    pub(crate) fn cost(&self, index: usize) -> Option<(u32, usize, Duration)> {
        let item = self.items.get(index)?;
        let before = index.checked_sub(1).and_then(|before| self.items.get(before));
        let start = before.map_or(0, |before| before.end);
        Some((item.pid, item.line_end - start, item.time))
    }

    /// How many command lines there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// The position of a process in the process table, and its images; `None` in place of these
    /// if its command line has no byte: it shows no program then, whereas one NUL is an empty
    /// argument.
    pub(crate) fn get(&self, index: usize) -> Option<(usize, Option<&[ImageIndex]>)> {
        let item = self.items.get(index)?;
        let before = index.checked_sub(1).and_then(|before| self.items.get(before));
        let (line, images) = before.map_or((0, 0), |before| (before.end, before.images_end));
        let images = self.images.get(images..item.images_end).filter(|_| line < item.line_end);
        Some((item.at, images))
    }
}

/// The CPU time of the calling thread.
fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
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

    /// Notes that images exist, in ascending order. Those that did not exist before appear in cycle
    /// `first`.
    pub(crate) fn note_images(&mut self, images: &[ImageIndex], first: u32) {
        if let Some(last) = images.last() {
            self.ensure_images(last.index() + 1, NEVER);
        }
        for image in images {
            if let Some(cycle) = self.image_first_cycle.get_mut(image.index())
                && *cycle == NEVER
            {
                *cycle = first;
            }
        }
    }

    /// Forgets images.
    pub(crate) fn release(&mut self, images: &[ImageIndex]) {
        for image in images {
            if let Some(cycle) = self.image_first_cycle.get_mut(image.index()) {
                *cycle = NEVER;
            }
        }
    }

    /// Whether an image appeared after the process was last classified.
    pub(crate) fn is_new_to(&self, entry: &ProcessEntry, image: ImageIndex) -> bool {
        let first = self.image_first_cycle.get(image.index());
        first.is_some_and(|&first| first > entry.last_classified)
    }

    /// Whether an image appeared after this cycle.
    pub(crate) fn is_later(&self, image: ImageIndex, cycle: u32) -> bool {
        self.image_first_cycle.get(image.index()).is_some_and(|&first| first > cycle)
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
        self.due.clear();
        let has_kernel_threads = source.has_kernel_threads();
        for (at, entry) in (0..).zip(&mut processes.entries) {
            let is_urgent = entry.is_recent(cycle) || entry.next_read < cycle;
            if entry.next_read > cycle || is_urgent != (urgency == Urgency::Urgent) {
                continue;
            }
            // It runs without a command line. A program that the kernel starts has the same parent
            // at first.
            let is_kernel_thread = has_kernel_threads && entry.may_be_kernel_thread();
            if is_kernel_thread && !is_urgent && !is_due_when_idle(entry.pid, cycle) {
                entry.next_read = next_read(entry.pid, entry.first_seen_cycle, cycle);
                continue;
            }
            let tid = entry.live_thread.unwrap_or(entry.pid);
            if source.is_cmdline_blocked(entry.pid) {
                continue;
            }
            // Before the command line, so that what the process does meanwhile shows.
            let member = entry.slot.and_then(|slot| tracked.get(slot));
            let cpu = match member.filter(|member| member.cpu.opened.is_some()) {
                _ if !source.has_cpu_clock() => None,
                // Just read.
                Some(member) => NonZeroU64::new(member.cpu.last.total),
                None => source.cpu_clock(entry.pid).and_then(NonZeroU64::new),
            };
            let is_idle = cpu.is_some() && cpu == entry.cpu;
            if is_idle && !is_urgent && !is_due_when_idle(entry.pid, cycle) {
                entry.next_read = next_read(entry.pid, entry.first_seen_cycle, cycle);
                if entry.cgroup.is_some() {
                    self.due.push(DueProcess { at, tid, if_moved: true });
                }
                continue;
            }
            entry.cpu = cpu;
            self.due.push(DueProcess { at, tid, if_moved: false });
        }
        shrink_vec(&mut self.due);
    }

    /// Notes the counters of a recent process that belongs to no image: it may be about to
    /// become a program that does, and they are not that image's until then.
    pub(crate) fn record_recent(&mut self, pid: u32, recent: Recent) {
        self.recent.insert(pid, recent);
    }

    /// The counters of a recent process when its command line was last read.
    pub(crate) fn recent(&self, pid: u32) -> Option<Recent> {
        self.recent.get(&pid).copied()
    }

    /// Removes the processes that have exited or are no longer recent.
    pub(crate) fn drop_old(&mut self, processes: &ProcessTable, cycle: u32) {
        // The pid can be that of another recent process now.
        for exited in &processes.exited {
            self.recent.remove(&exited.pid);
        }
        self.recent
            .retain(|pid, _| processes.find(*pid).is_some_and(|entry| entry.is_recent(cycle)));
        shrink_map(&mut self.recent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pid: u32, last_classified: u32) -> ProcessEntry {
        ProcessEntry { ppid: 1, last_classified, ..ProcessEntry::new(pid, u64::from(pid), 4) }
    }

    #[test]
    fn name_of_the_program() {
        let name = |line: &'static str, comm: Option<&'static str>| {
            let line = line.as_bytes();
            let process =
                Candidate { comm: comm.map(str::as_bytes), ..Candidate::new(1, line, b"") };
            String::from_utf8_lossy(process.name()).into_owned()
        };
        assert_eq!(name("/usr/bin/cat\0/x/y\0", None), "cat");
        assert_eq!(name("postgres: writer\0", Some("postgres")), "postgres");
        assert_eq!(
            name("/b/prometheus-pushgateway\0", Some("prometheus-push")),
            "prometheus-pushgateway"
        );
        assert_eq!(name("/b/else\0", Some("prometheus-push")), "prometheus-push");
        assert_eq!(name("\0", None), "");
    }

    #[test]
    fn images_are_sorted_and_distinct() {
        let mut batch = CmdlineBatch::default();
        for _ in 0..2 {
            let mut seen = Vec::new();
            let lines = [&b"a\0b c\0"[..], b"", b"d\0", b"\0"];
            for (at, line) in lines.into_iter().enumerate() {
                batch.push(at, &entry(5, 0), line, &FieldTexts::default());
            }
            batch.classify(&mut |process, images| {
                seen.push((process.pid, process.ppid, process.args_joined.to_vec()));
                let image = process.args_joined.len() as u32;
                images.extend([image, 1, image].map(ImageIndex));
            });
            let images = [
                Some(&[ImageIndex(1), ImageIndex(5)][..]),
                None,
                Some(&[ImageIndex(1)]),
                Some(&[ImageIndex(0), ImageIndex(1)]),
            ];
            for (at, images) in images.into_iter().enumerate() {
                assert_eq!(batch.get(at), Some((at, images)));
            }
            assert_eq!((batch.get(4), batch.len()), (None, 4));
            let texts = [&b"a b c"[..], b"d", b""];
            assert_eq!(seen, texts.map(|text| (5, 1, text.to_vec())));
            batch.clear();
        }
    }

    #[test]
    fn fields_of_each_process() {
        let mut batch = CmdlineBatch::default();
        let mut texts = FieldTexts::default();
        for (line, comm, cgroup) in
            [(&b"a\0"[..], "", ""), (b"b\0", "sh", "/x"), (b"", "sh", "/x"), (b"c\0", "", "/")]
        {
            texts.clear();
            texts.comm_buffer().extend_from_slice(comm.as_bytes());
            texts.cgroup_buffer().extend_from_slice(cgroup.as_bytes());
            // The name of a program can be empty, the path cannot.
            texts.set_read(line != b"a\0", true);
            texts.uid = (line == b"c\0").then_some(7);
            batch.push(0, &entry(5, 0), line, &texts);
        }
        let mut seen = Vec::new();
        batch.classify(&mut |process, _| {
            let text = |text: Option<&[u8]>| text.map(<[u8]>::to_vec);
            let line = process.args_joined.to_vec();
            seen.push((line, text(process.comm), process.uid, text(process.cgroup)));
        });
        let text = |text: &[u8]| Some(text.to_vec());
        let expected = [
            (b"a".to_vec(), None, None, None),
            (b"b".to_vec(), text(b"sh"), None, text(b"/x")),
            (b"c".to_vec(), text(b""), Some(7), text(b"/")),
        ];
        assert_eq!(seen, expected);
        assert_eq!(batch.cost(3).map(|cost| cost.1), Some(2));
    }

    #[test]
    fn image_is_new_to_those_classified_before_it() {
        let mut classifier = Classifier::default();
        classifier.ensure_images(1, 0);
        classifier.ensure_images(2, 7);
        classifier.ensure_images(2, 9);
        let is_new = |cycle, image| classifier.is_new_to(&entry(5, cycle), ImageIndex(image));
        assert_eq!([is_new(0, 0), is_new(6, 1), is_new(7, 1)], [false, true, false]);
    }

    #[test]
    fn released_image_appears_again() {
        let mut classifier = Classifier::default();
        classifier.ensure_images(1, 0);
        classifier.note_images(&[ImageIndex(0), ImageIndex(2)], 5);
        let later = |classifier: &Classifier, image| classifier.is_later(ImageIndex(image), 4);
        assert_eq!([0, 2].map(|image| later(&classifier, image)), [false, true]);
        classifier.release(&[ImageIndex(2), ImageIndex(9)]);
        classifier.note_images(&[ImageIndex(2)], 3);
        assert!(!later(&classifier, 2));
    }

    #[test]
    fn recent_processes_are_kept_for_two_cycles() {
        let mut classifier = Classifier::default();
        let mut processes = ProcessTable::default();
        processes.entries.push(entry(5, 0));
        let recent = Recent { io: IoCounters::ZERO, cpu: NonZeroU64::new(7) };
        for pid in [5, 6] {
            classifier.record_recent(pid, recent);
        }
        classifier.drop_old(&processes, 5);
        assert_eq!((classifier.recent(5), classifier.recent(6)), (Some(recent), None));
        classifier.drop_old(&processes, 6);
        assert_eq!(classifier.recent(5), None);
    }
}
