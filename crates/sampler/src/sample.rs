//! The result of a cycle.
#![allow(clippy::disallowed_types, reason = "the time of day is only shown, not calculated with")]

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::health::Health;
use crate::image::ImageIndex;
use crate::registry::{ImageId, ImageRegistry};
use crate::sampler::Sampler;
use crate::texts::MemberText;
use crate::usage::Usage;

/// The time of day.
pub(crate) type WallTime = SystemTime;

/// The sums of one cycle, by the index of the image.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageSums {
    pub(crate) images: Vec<Usage>,
    /// How the cycle itself went.
    pub(crate) health: Health,
}

#[cfg(test)]
impl ImageSums {
    /// The numbers of an image.
    pub(crate) fn image(&self, image: ImageIndex) -> Usage {
        self.images.get(image.index()).copied().unwrap_or(Usage::ZERO)
    }
}

/// The numbers of a process.
#[derive(Clone, Debug)]
pub(crate) struct ProcessNumbers<'a> {
    pub(crate) pid: u32,
    pub(crate) ppid: u32,
    pub(crate) starttime: u64,
    pub(crate) images: &'a [ImageIndex],
    pub(crate) window: Option<Duration>,
    pub(crate) usage: Usage,
}

/// The result of a cycle: the numbers of each image and of each of their processes.
///
/// It borrows from the sampler; [`into_owned`](Self::into_owned) makes one that can be kept.
#[derive(Clone, Debug)]
pub struct Sample<'a> {
    source: Source<'a>,
}

#[derive(Clone, Debug)]
enum Source<'a> {
    Sampler(&'a Sampler),
    Owned(Arc<OwnedSample>),
}

#[derive(Debug)]
struct OwnedSample {
    sums: ImageSums,
    registry: Arc<ImageRegistry>,
    processes: Vec<OwnedProcess>,
    time: SystemTime,
}

#[derive(Debug)]
struct OwnedProcess {
    numbers: ProcessNumbers<'static>,
    images: Box<[ImageIndex]>,
    text: Option<MemberText>,
}

impl<'a> Sample<'a> {
    pub(crate) fn of(sampler: &'a Sampler) -> Sample<'a> {
        Sample { source: Source::Sampler(sampler) }
    }

    fn sums(&self) -> &ImageSums {
        match &self.source {
            Source::Sampler(sampler) => sampler.sums(),
            Source::Owned(sample) => &sample.sums,
        }
    }

    fn registry(&self) -> &Arc<ImageRegistry> {
        match &self.source {
            Source::Sampler(sampler) => sampler.registry(),
            Source::Owned(sample) => &sample.registry,
        }
    }

    fn usage(&self, index: ImageIndex) -> &Usage {
        // One that was added and that no process has been in.
        self.sums().images.get(index.index()).unwrap_or(&Usage::ZERO)
    }

    /// The numbers of an image. `None` if the sampler has no image of this name.
    pub fn image(&self, name: &str) -> Option<&Usage> {
        self.image_by_id(self.registry().find(name)?)
    }

    /// The same by id. `None` if the id is not one of this sampler, or the image was removed.
    pub fn image_by_id(&self, image: ImageId) -> Option<&Usage> {
        Some(self.usage(self.registry().index(image)?))
    }

    /// All images with their names, in the order in which they were added, as long as none is
    /// removed.
    pub fn images(&self) -> impl Iterator<Item = (&str, &Usage)> {
        self.registry().iter().map(|(index, _, name)| (name, self.usage(index)))
    }

    /// The processes of all images, each once, in no particular order.
    pub fn processes(&self) -> impl Iterator<Item = ProcessSample<'_>> {
        let (live, owned) = match &self.source {
            Source::Sampler(sampler) => {
                let numbers = sampler.process_numbers();
                let text = |pid| sampler.member_text(pid);
                (Some(numbers.map(move |numbers| (text(numbers.pid), numbers))), None)
            }
            Source::Owned(sample) => (None, Some(sample.processes.iter())),
        };
        let owned = owned.into_iter().flatten().map(|process| {
            let numbers = ProcessNumbers { images: &process.images, ..process.numbers.clone() };
            (process.text.as_ref(), numbers)
        });
        let (registry, time) = (self.registry(), self.time());
        live.into_iter()
            .flatten()
            .chain(owned)
            .map(move |(text, numbers)| ProcessSample::new(numbers, text, registry, time))
    }

    /// How the cycle itself went.
    pub fn health(&self) -> &Health {
        &self.sums().health
    }

    /// When it was taken.
    pub fn time(&self) -> SystemTime {
        match &self.source {
            Source::Sampler(sampler) => sampler.sample_time(),
            Source::Owned(sample) => sample.time,
        }
    }

    /// A copy that does not borrow from the sampler.
    pub fn into_owned(self) -> Sample<'static> {
        let sampler = match self.source {
            Source::Sampler(sampler) => sampler,
            Source::Owned(sample) => return Sample { source: Source::Owned(sample) },
        };
        let processes = sampler.process_numbers().map(|numbers| OwnedProcess {
            images: numbers.images.into(),
            text: sampler.member_text(numbers.pid).cloned(),
            numbers: ProcessNumbers { images: &[], ..numbers },
        });
        let sample = OwnedSample {
            processes: processes.collect(),
            sums: sampler.sums().clone(),
            registry: Arc::clone(sampler.registry()),
            time: sampler.sample_time(),
        };
        Sample { source: Source::Owned(Arc::new(sample)) }
    }
}

/// One process: its identity and its numbers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessSample<'a> {
    /// Its pid in the procfs that is read.
    pub pid: u32,
    /// The pid of its parent; 0 if the parent is not visible.
    pub ppid: u32,
    /// Its start time in ticks since boot (`starttime` of `/proc/PID/stat`). It identifies the
    /// process together with the pid.
    pub starttime: u64,
    /// When it started, to about the resolution of `starttime`. `None` if that is unknown.
    pub started: Option<SystemTime>,
    /// Its effective user id when it was last classified. `None` if it is not
    /// [requested](crate::ProcessFields::user) or could not be read.
    pub uid: Option<u32>,
    /// The time between its two readings of CPU time; `None` if it did not exist at both ends
    /// of the window.
    pub window: Option<Duration>,
    /// Its numbers. Counters are the kernel's, since its start.
    pub usage: Usage,
    images: &'a [ImageIndex],
    registry: &'a ImageRegistry,
    text: Option<&'a MemberText>,
}

impl<'a> ProcessSample<'a> {
    fn new(
        numbers: ProcessNumbers<'a>,
        text: Option<&'a MemberText>,
        registry: &'a ImageRegistry,
        time: SystemTime,
    ) -> ProcessSample<'a> {
        let ProcessNumbers { pid, ppid, starttime, images, window, usage } = numbers;
        let started = usage.oldest.and_then(|age| time.checked_sub(age));
        let uid = text.and_then(|text| text.uid);
        ProcessSample { pid, ppid, starttime, started, uid, window, usage, images, registry, text }
    }

    /// The names of the images it belongs to.
    pub fn images(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let registry = self.registry;
        self.images.iter().filter_map(|&index| Some(registry.get(index)?.1))
    }

    /// Whether it belongs to an image.
    pub fn is_in(&self, image: ImageId) -> bool {
        self.registry.index(image).is_some_and(|index| self.images.contains(&index))
    }

    /// The name of its program, as [`Candidate::name`](crate::Candidate::name) when it was last
    /// classified. Empty if [texts are not kept](crate::SamplerBuilder::keep_texts).
    pub fn name(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.text.map_or(&[], |text| &text.name))
    }

    /// The arguments joined by single spaces, when it was last classified. Empty if it has none, or
    /// if [texts are not kept](crate::SamplerBuilder::keep_texts).
    pub fn command_line(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.command_line_bytes())
    }

    /// The same without replacing what is not UTF-8.
    pub fn command_line_bytes(&self) -> &'a [u8] {
        self.text.map_or(&[], |text| &text.args_joined)
    }
}
