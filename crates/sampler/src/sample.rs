//! What a cycle gives.

use std::time::Duration;

use crate::image::ImageId;
pub use crate::numbers::table::Numbers;

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

/// How a cycle went. Numbers of processes, unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Processes in `/proc`.
    pub processes: u64,
    /// Those that belong to an image, zombies not counted.
    pub matched: u64,
    /// Those of which a file may not be read, by file.
    pub denied: PerFile,
    /// Reads of this cycle that failed in another way, by file.
    pub failed: PerFile,
    /// Those whose command line blocks its reader.
    pub blocked: u64,
    /// Those whose command line was due and not read, because others block their
    /// readers and no more may: too many in this cycle, of the same user, or in
    /// all. They are counted under `failed` too.
    pub cmdlines_deferred: u64,
    /// Descriptors kept open.
    pub fds_held: u64,
    /// `/proc` could not be listed; the numbers are of those known before.
    pub listing_failed: bool,
}

/// A number for each of a process's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerFile {
    /// `cmdline`
    pub command_line: u64,
    /// `io`
    pub io: u64,
    /// `fd`: the descriptors' links, or their number
    pub fd: u64,
    /// `ns/net`
    pub netns: u64,
    /// `statm`
    pub statm: u64,
    /// `stat`, the CPU clock, `task`
    pub stat: u64,
    /// `net/*`, or sock_diag (tables, not processes)
    pub net: u64,
}

impl PerFile {
    pub(crate) fn add(&mut self, other: PerFile) {
        let PerFile { command_line, io, fd, netns, statm, stat, net } = other;
        self.command_line += command_line;
        self.io += io;
        self.fd += fd;
        self.netns += netns;
        self.statm += statm;
        self.stat += stat;
        self.net += net;
    }
}
