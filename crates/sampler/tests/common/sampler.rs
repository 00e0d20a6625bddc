//! The sampler as the tests use it: options are a value, images are numbers, and a window is open or
//! not. Its calls are those of the interface.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use psstat_sampler::{
    Bpf, Candidate, DetachedWindow, FastPaths, Health, ImageSet, IoStart, MetricGroups,
    ProcessFields, Usage,
};
use rustix::event::{PollFd, PollFlags};
use rustix::time::Timespec;

/// An image by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ImageId(pub(crate) u32);

/// The options of a sampler.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) proc_root: PathBuf,
    pub(crate) window: Duration,
    pub(crate) max_open_fds: Option<usize>,
    pub(crate) fast_paths: FastPaths,
    pub(crate) io_start: IoStart,
    pub(crate) metrics: MetricGroups,
    pub(crate) bpf: Option<Bpf>,
    pub(crate) read_timeout: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            proc_root: PathBuf::from("/proc"),
            window: Duration::from_secs(1),
            max_open_fds: None,
            fast_paths: FastPaths::ALL,
            io_start: IoStart::FirstCycle,
            metrics: MetricGroups::default(),
            bpf: None,
            read_timeout: Duration::from_millis(100),
        }
    }
}

/// The images of a process.
pub(crate) struct Images<'a, 'b> {
    set: &'a mut ImageSet<'b>,
    ids: &'a [psstat_sampler::ImageId],
}

impl Images<'_, '_> {
    pub(crate) fn push(&mut self, image: ImageId) {
        match self.ids.get(image.0 as usize) {
            Some(&id) => assert!(self.set.add_id(id)),
            None => self.set.add(&image.0.to_string()),
        }
    }
}

impl Extend<ImageId> for Images<'_, '_> {
    fn extend<T: IntoIterator<Item = ImageId>>(&mut self, images: T) {
        images.into_iter().for_each(|image| self.push(image));
    }
}

pub(crate) type Classify<'c> = dyn FnMut(&Candidate<'_>, &mut Images<'_, '_>) + 'c;

/// A process of a sample.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) starttime: u64,
    pub(crate) images: Vec<ImageId>,
    pub(crate) window: Option<Duration>,
    pub(crate) usage: Usage,
}

#[derive(Debug)]
pub(crate) struct Sampler {
    inner: psstat_sampler::Sampler,
    window: Option<DetachedWindow>,
    /// The ids of the first numbers, as far as they are all known.
    ids: Vec<psstat_sampler::ImageId>,
    sample: Sample,
    /// A buffer.
    name: String,
}

/// An image that never has a process.
const UNUSED: &str = "unused";

impl Sampler {
    pub(crate) fn new(options: Options) -> Result<Sampler, psstat_sampler::Error> {
        let mut builder = psstat_sampler::Sampler::builder()
            .proc_root(options.proc_root)
            .window(options.window)
            .fast_paths(options.fast_paths)
            .io_start(options.io_start)
            .metrics(options.metrics)
            .read_timeout(options.read_timeout)
            .fields(ProcessFields::NONE)
            .keep_texts(false);
        if let Some(number) = options.max_open_fds {
            builder = builder.max_open_fds(number);
        }
        if let Some(bpf) = options.bpf {
            builder = builder.bpf(bpf);
        }
        let mut inner = builder.build()?;
        inner.add_image(UNUSED);
        Ok(Sampler {
            inner,
            window: None,
            ids: Vec::new(),
            sample: Sample::default(),
            name: String::new(),
        })
    }

    pub(crate) fn into_inner(self) -> psstat_sampler::Sampler {
        self.inner
    }

    pub(crate) fn open(&mut self, classify: &mut Classify<'_>) -> Instant {
        loop {
            self.name.clear();
            write!(self.name, "{}", self.ids.len()).unwrap();
            let Some(id) = self.inner.image_id(&self.name) else { break };
            self.ids.push(id);
        }
        let ids = &self.ids;
        let window = self
            .inner
            .open_with(|process, set| classify(process, &mut Images { set, ids }))
            .detach();
        let deadline = window.deadline();
        self.window = Some(window);
        deadline
    }

    /// Reads the events if the ring is half full.
    pub(crate) fn read_events(&mut self, classify: &mut Classify<'_>) {
        let fd = self.inner.events_fd().expect("there is a ring");
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        let ready = rustix::event::poll(&mut fds, Some(&Timespec::default())).unwrap();
        if ready > 0 {
            let ids = &self.ids;
            let classify = |process: &Candidate<'_>, set: &mut ImageSet<'_>| {
                classify(process, &mut Images { set, ids });
            };
            self.inner.read_events_with(classify);
        }
    }

    pub(crate) fn close(&mut self) -> &Sample {
        let window = self.window.take().expect("a window is open");
        let window = self.inner.attach(window).expect("it is the open one");
        self.sample.update(&window.close());
        &self.sample
    }

    pub(crate) fn sample(&self) -> &Sample {
        &self.sample
    }

    /// The processes of the last sample.
    pub(crate) fn processes(&self) -> impl Iterator<Item = Process> {
        let sample = self.inner.last_sample();
        let processes = sample.iter().flat_map(psstat_sampler::Sample::processes);
        let processes = processes.map(|process| Process {
            pid: process.pid,
            starttime: process.starttime,
            images: process.images().map(|name| ImageId(name.parse().unwrap())).collect(),
            window: process.window,
            usage: process.usage,
        });
        processes.collect::<Vec<_>>().into_iter()
    }

    pub(crate) fn reclassify_all(&mut self, images: usize) {
        for number in self.ids.len()..images {
            self.ids.push(self.inner.add_image(&number.to_string()));
        }
        self.inner.reclassify_all();
    }
}

impl std::ops::Deref for Sampler {
    type Target = psstat_sampler::Sampler;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl std::ops::DerefMut for Sampler {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}

/// The numbers of images, and the health.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    images: Vec<Usage>,
    /// Those of a number that no process ever had.
    unused: Usage,
    pub(crate) health: Health,
}

impl Sample {
    fn update(&mut self, sample: &psstat_sampler::Sample<'_>) {
        self.unused = *sample.image(UNUSED).unwrap();
        self.health = *sample.health();
        self.images.clear();
        for (name, usage) in sample.images() {
            let Ok(number) = name.parse::<usize>() else { continue };
            self.images.resize(self.images.len().max(number + 1), self.unused);
            self.images[number] = *usage;
        }
    }

    /// Zeros for a number that no process ever had.
    pub(crate) fn image(&self, image: ImageId) -> Usage {
        self.images.get(image.0 as usize).copied().unwrap_or(self.unused)
    }
}
