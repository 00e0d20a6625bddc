//! The sampler of a procfs.

use std::os::fd::BorrowedFd;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Resource;

use crate::bpf::BpfSource;
use crate::builder::{Classifier, SamplerBuilder, check_window};
use crate::classifier::{Candidate, Classify};
use crate::driver::Driver;
use crate::executor::{Core, Executor};
use crate::fields::ProcessFields;
use crate::health::BlockedRead;
use crate::image::ImageIndex;
use crate::live::LiveSource;
use crate::options::{FastPaths, RESERVED_FDS};
use crate::read::procfs::Procfs;
use crate::read::stuck_readers::Limits;
use crate::registry::{self, ImageId, ImageRegistry, ImageSet};
use crate::sample::{ImageSums, ProcessNumbers, Sample, WallTime};
use crate::source::ProcessSource as _;
use crate::texts::{MemberText, MemberTexts};
use crate::window::{DetachedWindow, Samples, Window, sleep_until};

/// Reads live processes and computes the numbers of images from two readings of each.
///
/// An image is a named group of processes. [`every`](Sampler::every) gives a sample in each interval.
/// A program with a loop of its own [opens](Sampler::open) a window, waits, and
/// [closes](Window::close) it. The state that is kept from cycle to cycle makes both cheap and
/// counters continuous, so use one sampler for as long as numbers are needed.
#[derive(Debug)]
pub struct Sampler {
    /// `None` while a step runs.
    state: Option<Box<SamplerState>>,
    executor: Executor<Box<SamplerState>>,
    window: Duration,
    images: Arc<ImageRegistry>,
    /// The closures of the builder.
    classifiers: Vec<Classifier>,
    /// `None` if they are not kept.
    texts: Option<MemberTexts>,
    /// The number of the open window, another one for each window of the program.
    open: Option<u64>,
    /// Whether there is a sample.
    has_sample: bool,
    sample_time: WallTime,
    /// A buffer.
    removed: Vec<ImageIndex>,
}

/// The number of the next window.
static NEXT_WINDOW: AtomicU64 = AtomicU64::new(0);

/// The state that the steps change.
#[derive(Debug)]
struct SamplerState {
    source: BpfSource,
    driver: Driver<BpfSource>,
}

/// A step of the sampler.
#[derive(Debug)]
enum Step {
    Open {
        window: Duration,
        /// It begins where the last one ended.
        follows: bool,
    },
    Close,
    /// Between two windows.
    Events,
}

impl Core for Box<SamplerState> {
    type Step = Step;
    /// The instant at which the window ends, of [`Step::Open`].
    type Output = Option<Instant>;

    async fn perform(&mut self, step: Step) -> Option<Instant> {
        let SamplerState { source, driver } = &mut **self;
        match step {
            Step::Open { window, follows } => {
                driver.follow_last_window(follows);
                Some(driver.open(source, window).await)
            }
            Step::Close => {
                driver.close(source).await;
                None
            }
            Step::Events => {
                driver.read_life_events(source).await;
                None
            }
        }
    }
}

/// Why there is no sampler, or an option cannot be set.
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
    /// The window is longer than [`MAX_WINDOW`](crate::MAX_WINDOW).
    #[error("a window of {0:?} is longer than a day")]
    Window(Duration),
    /// The timeout of a read is zero, or longer than [`MAX_WINDOW`](crate::MAX_WINDOW).
    #[error("a read timeout of {0:?} is not between 0 and a day")]
    ReadTimeout(Duration),
}

impl Sampler {
    /// The options of a sampler, and its images.
    pub fn builder() -> SamplerBuilder {
        SamplerBuilder::default()
    }

    pub(crate) fn from_builder(builder: SamplerBuilder) -> Result<Sampler, Error> {
        let SamplerBuilder { proc_root, window, fast_paths, read_timeout, io_start, .. } = builder;
        let budget = builder.max_open_fds.unwrap_or(usize::MAX).min(fd_limit());
        let procfs = Procfs::open(&proc_root, fast_paths)
            .map_err(|errno| Error::Procfs { path: proc_root.clone(), source: errno.into() })?;
        let (procfs, limits) = (Arc::new(procfs), Limits::DEFAULT);
        let live = LiveSource::new(Arc::clone(&procfs), limits, budget);
        let source = BpfSource::new(live, builder.bpf.as_ref());
        let mut driver = Driver::new(&source, io_start);
        driver.set_metrics(builder.metrics);
        driver.set_fields(builder.fields);
        let state = Some(Box::new(SamplerState { source, driver }));
        let executor =
            Executor::new(procfs, proc_root, read_timeout, limits.total).map_err(Error::Thread)?;
        let mut images = ImageRegistry::default();
        for name in &builder.names {
            images.add(name);
        }
        let mut sampler = Sampler {
            state,
            executor,
            window,
            images: Arc::new(images),
            classifiers: builder.classifiers,
            texts: builder.keeps_texts.then(MemberTexts::default),
            open: None,
            has_sample: false,
            sample_time: WallTime::UNIX_EPOCH,
            removed: Vec::new(),
        };
        if !builder.names.is_empty() {
            sampler.reclassify_all();
        }
        Ok(sampler)
    }

    /// Takes a sample in each interval. See [`Samples`].
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use psstat_sampler::Sampler;
    ///
    /// let mut sampler =
    ///     Sampler::builder().image("web", |process| process.name() == b"nginx").build()?;
    /// for sample in sampler.every(Duration::from_secs(1)) {
    ///     for process in sample.processes() {
    ///         println!("{} {:?}", process.command_line(), process.usage.cpu_percent);
    ///     }
    /// }
    /// # Ok::<(), psstat_sampler::Error>(())
    /// ```
    pub fn every(&mut self, interval: Duration) -> Samples<'_> {
        Samples::new(self, interval)
    }

    /// Takes one sample: opens a window, waits, and closes it.
    pub fn measure(&mut self) -> Sample<'_> {
        let window = self.open();
        sleep_until(window.deadline());
        window.close()
    }

    /// Begins a cycle: finds the processes, calls the closures of the builder for those that are
    /// due, and reads the CPU time of all processes of images.
    pub fn open(&mut self) -> Window<'_> {
        self.open_with(|_, _| ())
    }

    /// The same, with a further closure that adds the images of a process. It is called for new
    /// processes, and again from time to time, since a process can become another program; so it
    /// has to be the same in each cycle, or [all processes are to be
    /// reclassified](Self::reclassify_all).
    pub fn open_with(
        &mut self,
        classify: impl FnMut(&Candidate<'_>, &mut ImageSet<'_>),
    ) -> Window<'_> {
        self.open_window(self.window, false, classify)
    }

    /// Opens a window that begins where the last one ended, for those processes that were in it.
    pub(crate) fn open_following(&mut self, window: Duration, follows: bool) -> Window<'_> {
        self.open_window(window, follows, |_, _| ())
    }

    fn open_window(
        &mut self,
        window: Duration,
        follows: bool,
        classify: impl FnMut(&Candidate<'_>, &mut ImageSet<'_>),
    ) -> Window<'_> {
        self.open = None;
        let deadline = self.run_classifying(Step::Open { window, follows }, classify);
        self.open = Some(NEXT_WINDOW.fetch_add(1, Ordering::Relaxed));
        Window::new(self, deadline.unwrap_or_else(Instant::now))
    }

    /// Runs a step that classifies processes.
    fn run_classifying(
        &mut self,
        step: Step,
        mut classify: impl FnMut(&Candidate<'_>, &mut ImageSet<'_>),
    ) -> Option<Instant> {
        let Sampler { state, executor, images, classifiers, texts, .. } = self;
        run(state, executor, step, &mut |process, found| {
            let mut set = ImageSet::new(images, found);
            for Classifier(classify) in &mut *classifiers {
                classify(process, &mut set);
            }
            classify(process, &mut set);
            let is_member = !set.is_empty();
            if let Some(texts) = texts {
                texts.update(process, is_member);
            }
        })
    }

    /// Empties the [ring](crate::Bpf::with_ring) of starts and ends of processes. Each window begins
    /// with that. A program whose windows are seconds apart calls it in between whenever
    /// [`events_fd`](Self::events_fd) is readable, so that the ring does not overflow. Without a ring
    /// it does nothing.
    pub fn read_events(&mut self) {
        self.read_events_with(|_, _| ());
    }

    /// The same, with a further closure that adds the images of a process, as in
    /// [`open_with`](Self::open_with).
    pub fn read_events_with(&mut self, classify: impl FnMut(&Candidate<'_>, &mut ImageSet<'_>)) {
        if self.events_fd().is_some() {
            self.run_classifying(Step::Events, classify);
        }
    }

    /// A descriptor that becomes readable (poll(2)) when the [ring](crate::Bpf::with_ring) is half
    /// full, until it is read. `None` without a ring.
    pub fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        self.state().source.events_fd()
    }

    /// Closes the open window.
    pub(crate) fn close(&mut self) -> Sample<'_> {
        self.open = None;
        run(&mut self.state, &mut self.executor, Step::Close, &mut |_, _| ());
        (self.sample_time, self.has_sample) = (WallTime::now(), true);
        if let Some(mut texts) = self.texts.take() {
            let driver = &self.state().driver;
            texts.prune(driver.sample().health.matched, |pid| driver.is_member(pid));
            self.texts = Some(texts);
        }
        Sample::of(self)
    }

    /// The number of the open window.
    pub(crate) fn open_serial(&self) -> u64 {
        // No window has that one.
        self.open.unwrap_or(u64::MAX)
    }

    /// Continues with a window that was [detached](Window::detach). `None` if it is not the one that
    /// is open: another one was opened since, or it is one of another sampler.
    pub fn attach(&mut self, window: DetachedWindow) -> Option<Window<'_>> {
        let DetachedWindow { serial, deadline } = window;
        (self.open == Some(serial)).then(|| Window::new(self, deadline))
    }

    /// Sets the [window](SamplerBuilder::window) from the next cycle on.
    ///
    /// # Errors
    /// When it is too long.
    pub fn set_window(&mut self, window: Duration) -> Result<(), Error> {
        check_window(window)?;
        self.window = window;
        Ok(())
    }

    // The state is missing only while `run` has it, which has it for itself.
    #[allow(clippy::expect_used)]
    fn state(&self) -> &SamplerState {
        self.state.as_deref().expect("no step runs")
    }

    #[allow(clippy::expect_used)]
    fn state_mut(&mut self) -> &mut SamplerState {
        self.state.as_deref_mut().expect("no step runs")
    }

    /// The id of the image with this name, which begins at 0 if there is none. The images of the
    /// builder exist already, and those that a closure adds begin with their first process.
    ///
    /// If processes belong to a new image by rules that have changed,
    /// [reclassify all](Self::reclassify_all) after this.
    pub fn add_image(&mut self, name: &str) -> ImageId {
        registry::add(&mut self.images, name)
    }

    /// The id of the image with this name, if there is one.
    pub fn image_id(&self, name: &str) -> Option<ImageId> {
        self.images.find(name)
    }

    /// The name of an image. `None` if the id is not one of this sampler, or the image was removed.
    pub fn image_name(&self, image: ImageId) -> Option<&str> {
        Some(self.images.get(self.images.index(image)?)?.1)
    }

    /// Removes images: their counters, and what is known of what their processes did. An image that is
    /// added later with one of these names begins at 0. Ids that are not those of an image of this
    /// sampler are ignored.
    ///
    /// If an image has processes, they leave it, until they are classified again.
    pub fn remove_images(&mut self, images: impl IntoIterator<Item = ImageId>) {
        let mut removed = std::mem::take(&mut self.removed);
        for image in images {
            if self.images.index(image).is_some() {
                removed.extend(Arc::make_mut(&mut self.images).remove(image));
            }
        }
        if !removed.is_empty() {
            removed.sort_unstable();
            self.state_mut().driver.release_images(&removed);
            removed.clear();
        }
        self.removed = removed;
    }

    /// Makes the images those with these names, after a change of rules: adds the new ones, removes
    /// the others, and [reclassifies all processes](Self::reclassify_all). Images that stay keep
    /// their counters.
    pub fn set_images<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) {
        let ids: Vec<ImageId> = names.into_iter().map(|name| self.add_image(name)).collect();
        let others: Vec<ImageId> =
            self.images.iter().map(|(_, id, _)| id).filter(|id| !ids.contains(id)).collect();
        self.remove_images(others);
        self.reclassify_all();
    }

    /// Classifies all processes again in the next cycle, because the closures or their rules have
    /// changed. Images that exist keep their counters, and those that were added since the last
    /// cycle begin at 0 with the next one.
    pub fn reclassify_all(&mut self) {
        let end = self.images.end();
        self.state_mut().driver.reclassify_all(end);
    }

    /// Sets which [fields](ProcessFields) of processes the rules need. Call it before
    /// [`reclassify_all`](Sampler::reclassify_all); without that, they are read in turn.
    pub fn set_fields(&mut self, fields: ProcessFields) {
        self.state_mut().driver.set_fields(fields);
    }

    /// The last sample again. `None` before the first one.
    pub fn last_sample(&self) -> Option<Sample<'_>> {
        self.has_sample.then(|| Sample::of(self))
    }

    pub(crate) fn sums(&self) -> &ImageSums {
        self.state().driver.sample()
    }

    pub(crate) fn registry(&self) -> &Arc<ImageRegistry> {
        &self.images
    }

    pub(crate) fn registry_mut(&mut self) -> &mut Arc<ImageRegistry> {
        &mut self.images
    }

    pub(crate) fn process_numbers(&self) -> impl Iterator<Item = ProcessNumbers<'_>> {
        self.state().driver.processes()
    }

    pub(crate) fn member_text(&self, pid: u32) -> Option<&MemberText> {
        self.texts.as_ref()?.get(pid)
    }

    pub(crate) fn sample_time(&self) -> WallTime {
        self.sample_time
    }

    /// Restores order after a panic in the middle of a cycle, from a bug here or in
    /// `classify`. Counters are kept; the next cycle repeats the steps that the interrupted
    /// one had begun.
    pub fn recover_after_panic(&mut self) {
        self.open = None;
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

    /// Why the last pass of the [BPF program](crate::Bpf) that failed did. See
    /// [`Health::failed_bpf_passes`](crate::Health::failed_bpf_passes).
    pub fn bpf_error(&self) -> Option<std::io::Error> {
        self.state().source.last_error().map(Into::into)
    }

    /// How many descriptors may be kept open.
    pub fn descriptor_budget(&self) -> usize {
        self.state().source.live.budget()
    }
}

/// Runs one step.
fn run(
    state: &mut Option<Box<SamplerState>>,
    executor: &mut Executor<Box<SamplerState>>,
    step: Step,
    classify: &mut Classify<'_>,
) -> Option<Instant> {
    let finished = executor.run(state.take()?, step, classify);
    *state = Some(finished.core);
    finished.result.unwrap_or_else(|payload| resume_unwind(payload))
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
    use crate::options::MAX_WINDOW;

    /// An end of the window beyond the range of `Instant` was a panic.
    #[test]
    fn longest_window() {
        let pid = std::process::id();
        let builder = || Sampler::builder().image("self", move |process| process.pid == pid);
        for window in [MAX_WINDOW + Duration::from_nanos(1), Duration::MAX] {
            assert!(matches!(builder().window(window).build(), Err(Error::Window(_))));
            assert!(matches!(builder().read_timeout(window).build(), Err(Error::ReadTimeout(_))));
        }
        assert!(builder().read_timeout(Duration::ZERO).build().is_err());
        let mut sampler = builder().window(MAX_WINDOW).build().unwrap();
        assert!(sampler.set_window(Duration::MAX).is_err());
        let begin = Instant::now();
        let window = sampler.open();
        let due = window.deadline() + Duration::from_millis(1);
        assert!(due >= begin + MAX_WINDOW && due <= Instant::now() + MAX_WINDOW);
        assert_eq!(window.close().image("self").unwrap().processes, 1);
    }
}
