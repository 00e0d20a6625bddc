//! The sampler of a procfs.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Resource;

use crate::bpf::BpfSource;
use crate::classifier::Classify;
use crate::driver::Driver;
use crate::executor::{Core, Executor};
use crate::fields::ProcessFields;
use crate::health::BlockedRead;
use crate::image::ImageId;
use crate::live::LiveSource;
use crate::options::{FastPaths, MAX_WINDOW, Options, RESERVED_FDS};
use crate::read::procfs::Procfs;
use crate::read::stuck_readers::Limits;
use crate::sample::{ProcessSample, Sample};
use crate::source::ProcessSource as _;

/// Reads live processes and computes the numbers of images from two readings of each.
///
/// A cycle is [`open`](Sampler::open), some time in which the caller waits, and
/// [`close`](Sampler::close). The state that is kept from cycle to cycle makes both cheap and
/// io counters continuous, so use one sampler for as long as numbers are needed.
#[derive(Debug)]
pub struct Sampler {
    /// `None` while a step runs.
    state: Option<Box<SamplerState>>,
    executor: Executor<Box<SamplerState>>,
    window: Duration,
    is_open: bool,
}

/// The state that the steps change.
#[derive(Debug)]
struct SamplerState {
    source: BpfSource,
    driver: Driver<BpfSource>,
}

/// A step of the sampler.
#[derive(Debug)]
enum Step {
    Open { window: Duration },
    Close,
}

impl Core for Box<SamplerState> {
    type Step = Step;
    /// The instant at which the window ends, of [`Step::Open`].
    type Output = Option<Instant>;

    async fn perform(&mut self, step: Step) -> Option<Instant> {
        let SamplerState { source, driver } = &mut **self;
        match step {
            Step::Open { window } => Some(driver.open(source, window).await),
            Step::Close => {
                driver.close(source).await;
                None
            }
        }
    }
}

/// Why there is no sampler.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The procfs cannot be opened.
    #[error("cannot read {}: {source}", path.display())]
    Procfs {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The thread that reads cannot be started.
    #[error("cannot start the thread that reads: {0}")]
    Thread(std::io::Error),
}

impl Sampler {
    /// Opens the procfs and probes the fast paths.
    ///
    /// # Errors
    /// When the procfs cannot be opened, or a thread not started.
    pub fn new(options: Options) -> Result<Sampler, Error> {
        let budget = options.max_open_fds.unwrap_or(usize::MAX).min(fd_limit());
        let Options { proc_root, window, fast_paths, read_timeout, io_start, metrics, bpf, .. } =
            options;
        let procfs = Procfs::open(&proc_root, fast_paths)
            .map_err(|errno| Error::Procfs { path: proc_root.clone(), source: errno.into() })?;
        let (procfs, limits) = (Arc::new(procfs), Limits::DEFAULT);
        let live = LiveSource::new(Arc::clone(&procfs), limits, budget);
        let source = BpfSource::new(live, bpf.as_ref());
        let mut driver = Driver::new(&source, io_start);
        driver.set_metrics(metrics);
        // An instant that far in the future can be represented.
        let window = window.min(MAX_WINDOW);
        let state = Some(Box::new(SamplerState { source, driver }));
        let executor =
            Executor::new(procfs, proc_root, read_timeout, limits.total).map_err(Error::Thread)?;
        Ok(Sampler { state, executor, window, is_open: false })
    }

    /// Begins a cycle: finds the processes, calls `classify` for those that are due, and
    /// reads the CPU time of all members. Gives the instant at which to close the window, 1 ms
    /// before it ends, so that a late wake-up does no harm; for a window shorter than 20 ms, its
    /// end.
    pub fn open(&mut self, classify: &mut Classify<'_>) -> Instant {
        let due = self.run(Step::Open { window: self.window }, classify);
        self.is_open = true;
        due.unwrap_or_else(Instant::now)
    }

    /// Ends a cycle: reads CPU time again and all that counts at one moment, and computes the sums.
    ///
    /// Call it at the instant that [`open`](Sampler::open) gave. It waits so that the two readings
    /// of each process are a whole number of ticks apart (a multiple of 20 ms), as a CPU clock is
    /// late by up to a tick; if it is called later, CPU is averaged over a longer time. A window of
    /// less than 20 ms ends at once. It delays the end of a window by at most 100 ms.
    ///
    /// Without [`open`](Sampler::open) before, it gives the last sample again.
    pub fn close(&mut self) -> &Sample {
        if std::mem::take(&mut self.is_open) {
            self.run(Step::Close, &mut |_, _| ());
        }
        self.state().driver.sample()
    }

    /// Sets the [window](Options::window) from the next cycle on.
    pub fn set_window(&mut self, window: Duration) {
        self.window = window.min(MAX_WINDOW);
    }

    fn run(&mut self, step: Step, classify: &mut Classify<'_>) -> Option<Instant> {
        let state = self.state.take()?;
        let finished = self.executor.run(state, step, classify);
        self.state = Some(finished.core);
        finished.result.unwrap_or_else(|payload| resume_unwind(payload))
    }

    // The state is missing only while `run` has it, which has this sampler for itself.
    #[allow(clippy::expect_used)]
    fn state(&self) -> &SamplerState {
        self.state.as_deref().expect("no step runs")
    }

    #[allow(clippy::expect_used)]
    fn state_mut(&mut self) -> &mut SamplerState {
        self.state.as_deref_mut().expect("no step runs")
    }

    /// Classifies all processes again in the next cycle, because the rules have changed.
    /// `images` is the number of images now; earlier images keep their numbers and counters.
    pub fn reclassify_all(&mut self, images: usize) {
        self.state_mut().driver.reclassify_all(images);
    }

    /// Sets which [fields](ProcessFields) of processes the rules need. Call it before
    /// [`reclassify_all`](Sampler::reclassify_all); without that, they are read in turn.
    pub fn set_fields(&mut self, fields: ProcessFields) {
        self.state_mut().driver.set_fields(fields);
    }

    /// Forgets images without processes: their counters, and what is known of what their processes
    /// did. Their numbers can be given to other images, which begin at 0. Not between
    /// [`open`](Sampler::open) and [`close`](Sampler::close).
    ///
    /// If an image has processes, they leave it, until they are classified again.
    pub fn release_images(&mut self, images: &mut [ImageId]) {
        if !images.is_empty() {
            images.sort_unstable();
            self.state_mut().driver.release_images(images);
        }
    }

    /// The numbers of the last cycle again.
    pub fn sample(&self) -> &Sample {
        self.state().driver.sample()
    }

    /// Restores order after a panic in the middle of a cycle, from a bug here or in
    /// `classify`. Counters are kept; the next cycle repeats the steps that the interrupted
    /// one had begun.
    pub fn recover_after_panic(&mut self) {
        self.is_open = false;
        self.state_mut().driver.recover();
    }

    /// The first process whose command line is classified in a later cycle, see
    /// [`Health::long_cmdlines`](crate::Health::long_cmdlines).
    pub fn first_long_cmdline(&self) -> Option<u32> {
        self.state().driver.first_long_cmdline()
    }

    /// The reads that block, at most three of each process: `cmdline`, one of the other fields, and
    /// one of the others.
    pub fn blocked_reads(&self) -> impl Iterator<Item = BlockedRead> {
        self.state().source.blocked_reads()
    }

    /// The processes of the last sample, in no particular order.
    pub fn processes(&self) -> impl Iterator<Item = ProcessSample<'_>> {
        self.state().driver.processes()
    }

    /// The fast paths that are in use.
    pub fn fast_paths(&self) -> FastPaths {
        self.state().source.live.fast_paths()
    }

    /// Tries to read the sockets of each protocol (`tcp`, `udp`, `unix`) by netlink, and returns
    /// for which it works. The others are read from text tables. A kernel can lack the support for
    /// some protocols, which shows only when it is used; from then on
    /// [`fast_paths`](Self::fast_paths) reports it as well.
    pub fn probe_sock_diag(&mut self) -> [(&'static str, bool); 3] {
        let [tcp, udp, unix] = self.state_mut().source.live.probe_sock_diag();
        [("tcp", tcp), ("udp", udp), ("unix", unix)]
    }

    /// The files of a process that this kernel does not have, such as `io` without
    /// `CONFIG_TASK_IO_ACCOUNTING`. Their values are absent, and every process counts under
    /// [`Health::denied`](crate::Health::denied), except that without `ns/net` all processes
    /// are in one network namespace. Unknown, and so empty, for a captured procfs.
    pub fn missing_files(&self) -> &[&'static str] {
        self.state().source.live.missing_files()
    }

    /// Bytes per page of the machine of the procfs. For a captured one it is that of
    /// [`Machine`](crate::capture::Machine), or that of this machine if the capture does not
    /// show it.
    pub fn page_size(&self) -> u64 {
        self.state().source.page_size()
    }

    /// How many descriptors may be kept open.
    pub fn descriptor_budget(&self) -> usize {
        self.state().source.live.budget()
    }
}

/// The soft limit of descriptors, less a reserve.
fn fd_limit() -> usize {
    let limit = rustix::process::getrlimit(Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    limit.saturating_sub(RESERVED_FDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An end of the window beyond the range of `Instant` was a panic.
    #[test]
    fn longest_window() {
        let options = Options { window: Duration::MAX, ..Options::default() };
        let mut sampler = Sampler::new(options).unwrap();
        let begin = Instant::now();
        let mut opened = 0;
        let due = sampler.open(&mut |process, images| {
            if process.pid == std::process::id() {
                images.push(ImageId(0));
                opened += 1;
            }
        });
        let due = due + Duration::from_millis(1);
        assert!(due >= begin + MAX_WINDOW && due <= Instant::now() + MAX_WINDOW);
        assert_eq!((sampler.close().image(ImageId(0)).processes, opened), (1, 1));
    }
}
