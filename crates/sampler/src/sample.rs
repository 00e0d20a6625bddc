//! The result of a cycle.

use std::time::Duration;

use crate::health::Health;
use crate::image::ImageId;
use crate::usage::Usage;

/// The numbers of one cycle.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub(crate) images: Vec<Usage>,
    /// How the cycle itself went.
    pub health: Health,
}

impl Sample {
    /// The numbers of an image; zeros for an unknown one.
    pub fn image(&self, image: ImageId) -> Usage {
        self.images.get(image.index()).copied().unwrap_or(Usage::ZERO)
    }

    /// All images, by ascending number.
    pub fn images(&self) -> impl Iterator<Item = (ImageId, &Usage)> {
        (0..).map(ImageId).zip(&self.images)
    }
}

/// One process: its identity and its numbers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessSample<'a> {
    /// Its pid in the procfs that is read.
    pub pid: u32,
    /// Its start time in ticks since boot (`starttime` of `/proc/PID/stat`).
    pub starttime: u64,
    /// The images it belongs to, by ascending number.
    pub images: &'a [ImageId],
    /// The time between its two readings of CPU time; `None` if it did not exist at both ends
    /// of the window.
    pub window: Option<Duration>,
    /// Its numbers.
    pub usage: Usage,
}
