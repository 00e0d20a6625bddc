//! The options of a sampler, and its images.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::bpf::Bpf;
use crate::classifier::Candidate;
use crate::fields::ProcessFields;
use crate::options::{FastPaths, IoStart, MAX_WINDOW, MetricGroups};
use crate::registry::ImageSet;
use crate::sampler::{Error, Sampler};

/// Makes a [`Sampler`]. Each option has a default that suits a program on a live machine.
///
/// ```
/// use psstat_sampler::Sampler;
///
/// let mut sampler = Sampler::builder()
///     .image("shells", |process| [&b"sh"[..], b"bash", b"zsh"].contains(&process.name()))
///     .build()?;
/// # Ok::<(), psstat_sampler::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "it makes a sampler by `build`"]
pub struct SamplerBuilder {
    pub(crate) proc_root: PathBuf,
    pub(crate) window: Duration,
    pub(crate) max_open_fds: Option<usize>,
    pub(crate) fast_paths: FastPaths,
    pub(crate) io_start: IoStart,
    pub(crate) metrics: MetricGroups,
    pub(crate) bpf: Option<Bpf>,
    pub(crate) read_timeout: Duration,
    pub(crate) fields: ProcessFields,
    pub(crate) keeps_texts: bool,
    pub(crate) names: Vec<String>,
    pub(crate) classifiers: Vec<Classifier>,
}

/// A closure that adds the images of a process.
pub(crate) struct Classifier(pub(crate) Box<ClassifyFn>);

pub(crate) type ClassifyFn = dyn FnMut(&Candidate<'_>, &mut ImageSet<'_>) + Send;

impl fmt::Debug for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Classifier")
    }
}

impl Default for SamplerBuilder {
    fn default() -> Self {
        SamplerBuilder {
            proc_root: PathBuf::from("/proc"),
            window: Duration::from_secs(1),
            max_open_fds: None,
            fast_paths: FastPaths::ALL,
            io_start: IoStart::default(),
            metrics: MetricGroups::default(),
            bpf: None,
            read_timeout: Duration::from_millis(100),
            fields: ProcessFields { comm: true, user: true, cgroup: false },
            keeps_texts: true,
            names: Vec::new(),
            classifiers: Vec::new(),
        }
    }
}

impl SamplerBuilder {
    /// Adds an image: the processes for which `is_member` returns true. Several calls with one name
    /// make one image of all these processes.
    pub fn image(
        mut self,
        name: impl Into<String>,
        mut is_member: impl FnMut(&Candidate<'_>) -> bool + Send + 'static,
    ) -> Self {
        let name = name.into();
        self.names.push(name.clone());
        self.classify(move |process, images| {
            if is_member(process) {
                images.add(&name);
            }
        })
    }

    /// Adds a closure that adds the images of each process by name, for images that are not known
    /// before, such as one for each program.
    pub fn classify(
        mut self,
        classify: impl FnMut(&Candidate<'_>, &mut ImageSet<'_>) + Send + 'static,
    ) -> Self {
        self.classifiers.push(Classifier(Box::new(classify)));
        self
    }

    /// The procfs to read; default `/proc`. A captured one in a directory works too, without fast
    /// paths.
    pub fn proc_root(mut self, path: impl Into<PathBuf>) -> Self {
        self.proc_root = path.into();
        self
    }

    /// Time between the two readings of CPU time, except in [`Sampler::every`]; default 1 s, at
    /// most [`MAX_WINDOW`].
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Maximum number of descriptors held open, up to [`FDS_PER_PROCESS`](crate::FDS_PER_PROCESS) per
    /// process; with fewer, some files are reopened at each reading. Default and upper bound: the
    /// descriptors available under the soft limit (`RLIMIT_NOFILE`) when the sampler is created,
    /// minus [`RESERVED_FDS`](crate::RESERVED_FDS).
    pub fn max_open_fds(mut self, number: usize) -> Self {
        self.max_open_fds = Some(number);
        self
    }

    /// The fast paths to use if the kernel supports them; default all.
    pub fn fast_paths(mut self, fast_paths: FastPaths) -> Self {
        self.fast_paths = fast_paths;
        self
    }

    /// Where the counters of images begin; default [`IoStart::FirstCycle`].
    pub fn io_start(mut self, io_start: IoStart) -> Self {
        self.io_start = io_start;
        self
    }

    /// The values to read in addition; default none.
    pub fn metrics(mut self, metrics: MetricGroups) -> Self {
        self.metrics = metrics;
        self
    }

    /// Reads the numbers of processes by BPF instead of from files, where that has them. It has to
    /// be loaded with the [procfs](Self::proc_root) of this sampler.
    pub fn bpf(mut self, bpf: Bpf) -> Self {
        self.bpf = Some(bpf);
        self
    }

    /// Maximum time of one read of a process before it counts as blocked; default 100 ms, at most
    /// [`MAX_WINDOW`]. While the reader does not block but waits for a CPU, up to ten times that is
    /// added. After some reads of a step that block, the time is shorter for the next ones of that
    /// step. The kernel blocks a reader while the process has its memory map or its program locked.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// The files of a process that are read before it is classified; default `comm` for
    /// [`Candidate::name`] and the user. Each of them costs a read of every process of the host when
    /// it is classified.
    pub fn fields(mut self, fields: ProcessFields) -> Self {
        self.fields = fields;
        self
    }

    /// Whether a [`ProcessSample`](crate::ProcessSample) has a name, a command line, and a user;
    /// default true. This needs the memory of these texts for each process of an image.
    pub fn keep_texts(mut self, keep: bool) -> Self {
        self.keeps_texts = keep;
        self
    }

    /// Opens the procfs, and probes the fast paths.
    ///
    /// # Errors
    /// When the procfs cannot be opened, or a thread not started, or a time is too long.
    pub fn build(self) -> Result<Sampler, Error> {
        check_window(self.window)?;
        if self.read_timeout > MAX_WINDOW || self.read_timeout.is_zero() {
            return Err(Error::ReadTimeout(self.read_timeout));
        }
        Sampler::from_builder(self)
    }
}

/// Rejects a window that is too long.
pub(crate) fn check_window(window: Duration) -> Result<(), Error> {
    if window > MAX_WINDOW { Err(Error::Window(window)) } else { Ok(()) }
}
