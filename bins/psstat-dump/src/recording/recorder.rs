//! Writes recordings.

use std::io;
use std::path::Path;

use super::FRAMES_PER_KEY;
use super::block::{Compressor, Kind, block};
use super::encode::Encoder;
use super::exit_reports::ExitReports;
use super::fields::unix_nanoseconds;
use super::meta::Meta;
use super::segments::{Bounds, OpenError, Segments};
use crate::measure::Snapshot;

/// Writes windows to a recording.
#[derive(Debug)]
pub struct Recorder {
    segments: Segments,
    meta: Meta,
    encoder: Encoder,
    compressor: Compressor,
    exit_reports: ExitReports,
    frames_since_key: u32,
    /// Whether the next frame is the first one of a recorder or of a file, or follows one that
    /// could not be written.
    is_first: bool,
    frame: Vec<u8>,
    payload: Vec<u8>,
}

/// The exits that a recorder records with their status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitScope {
    /// None: the windows are not those of the procfs of this process, about whose processes the
    /// kernel reports.
    None,
    /// Those of processes with rows.
    Rows,
    /// Those of all processes: one that never has a row started and exited between two windows.
    All,
}

/// The size of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Bytes of the frame in the file.
    pub bytes: u64,
    /// Bytes of all files.
    pub total: u64,
}

impl Recorder {
    /// Continues the recording of this path, or begins one. `exits` are those that it
    /// records.
    ///
    /// # Errors
    /// When the file is something else, or is written to by another recorder.
    pub fn open(
        path: &Path,
        bounds: Bounds,
        meta: Meta,
        exits: ExitScope,
    ) -> Result<Recorder, OpenError> {
        let exit_reports = match exits {
            ExitScope::None => ExitReports::none(),
            ExitScope::Rows => ExitReports::listen(false),
            ExitScope::All => ExitReports::listen(true),
        };
        Ok(Recorder {
            segments: Segments::open(path, bounds)?,
            meta,
            encoder: Encoder::new(),
            compressor: Compressor::new(),
            exit_reports,
            frames_since_key: 0,
            is_first: true,
            frame: Vec::new(),
            payload: Vec::new(),
        })
    }

    /// Whether there are frames of an earlier recorder.
    pub fn is_continued(&self) -> bool {
        self.segments.is_continued()
    }

    /// Whether the kernel reports the exits of processes, with their status.
    pub fn has_exit_status(&self) -> bool {
        self.exit_reports.are_reported()
    }

    /// Writes a window.
    ///
    /// # Errors
    /// When it cannot be written. It is lost then; the next one can be written.
    pub fn record(&mut self, snapshot: &Snapshot) -> io::Result<Recorded> {
        let time = unix_nanoseconds(snapshot.time);
        if self.segments.is_full(time) {
            self.segments.rotate()?;
            self.is_first = true;
        }
        let is_key = self.is_first || self.frames_since_key + 1 >= FRAMES_PER_KEY;
        let removed = self.encoder.removed(snapshot);
        let report = self.exit_reports.collect(&removed, snapshot);
        self.frame.clear();
        self.encoder.encode(snapshot, &report, is_key, &mut self.frame);
        self.payload.clear();
        if is_key {
            self.compressor.reset();
        }
        self.compressor.compress(&self.frame, &mut self.payload);
        let kind = if is_key { Kind::Key } else { Kind::Delta };
        let mut blocks = Vec::new();
        if self.is_first {
            blocks = block(Kind::Meta, time, self.meta.to_json().as_bytes());
        }
        blocks.extend(block(kind, time, &self.payload));
        // Unless it is written completely.
        self.is_first = true;
        self.segments.append(&blocks, time)?;
        self.is_first = false;
        self.frames_since_key = if is_key { 0 } else { self.frames_since_key + 1 };
        Ok(Recorded { bytes: blocks.len() as u64, total: self.segments.size() })
    }
}
