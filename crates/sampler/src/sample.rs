//! What a cycle gives.

use std::time::Duration;

use crate::health::Health;
use crate::image::ImageId;
use crate::numbers::Numbers;

/// One cycle's numbers.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub(crate) images: Vec<Numbers>,
    /// How the sampler itself fared.
    pub health: Health,
}

impl Sample {
    /// The numbers of an image; those of an image without processes for a
    /// number that was never heard of.
    pub fn image(&self, image: ImageId) -> Numbers {
        self.images.get(image.index()).copied().unwrap_or(Numbers::ZERO)
    }

    /// All images by number.
    pub fn images(&self) -> impl Iterator<Item = (ImageId, &Numbers)> {
        (0..).map(ImageId).zip(&self.images)
    }
}

/// One process: who it is, and its numbers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessSample<'a> {
    /// Its pid in the procfs that is read.
    pub pid: u32,
    /// Its start time in ticks since boot (`starttime` of `/proc/PID/stat`).
    pub starttime: u64,
    /// The images it belongs to, by ascending number.
    pub images: &'a [ImageId],
    /// The time between its two readings of CPU time; `None` when it was not
    /// there at both ends of the window.
    pub window: Option<Duration>,
    /// What it uses.
    pub numbers: Numbers,
}
