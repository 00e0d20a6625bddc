//! Recordings: the windows of a [`Measurer`](crate::measure::Measurer) in files, and the way back.
//!
//! A recording is the file that the user names, which grows, and the files before it with a number
//! as suffix, the segments: `FILE.000001`, `FILE.000002` … When the file has an eighth of the size
//! or of the time to keep, it becomes the next segment, and a new one begins. The oldest segments
//! are deleted. Each file can be read without the others.
//!
//! A file is a sequence of blocks (`block`), each written with one call and checked by a
//! checksum. A block is a frame (`encode`, `decode`): one [`Snapshot`], as the differences to the
//! previous one. Each `FRAMES_PER_KEY`th frame is complete.
//! `docs/recording.md` is the specification.

mod block;
mod bytes;
mod decode;
mod encode;
mod exit_reports;
pub mod exits;
mod fields;
mod health;
mod meta;
pub mod process;
mod reader;
mod recorder;
mod segments;
#[cfg(test)]
mod tests;

use crate::measure::Snapshot;
pub use exits::{Exit, ExitStatus, Exits};
pub use meta::Meta;
pub use reader::Recording;
pub use recorder::{ExitScope, Recorded, Recorder};
pub use segments::{Bounds, OpenError};

/// Frames from one key frame to the next one.
const FRAMES_PER_KEY: u32 = 60;

/// A window of a recording.
#[derive(Debug)]
pub struct Frame {
    /// Its values, as they were measured.
    pub snapshot: Snapshot,
    /// The processes that ended since the previous frame.
    pub exits: Exits,
}
