//! Reads recordings.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::SystemTime;

use super::block::{Decompressor, FILE_HEADER, HEADER, Header, Kind, MAGIC, MARKER, VERSION};
use super::decode::Decoder;
use super::fields::{time_of, unix_nanoseconds};
use super::{Exit, Frame, Meta, segments};
use crate::table::row::Row;

/// A block in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) offset: u64,
    bytes: [u8; HEADER],
    pub(super) header: Header,
}

impl Found {
    /// The offset of the next block.
    pub(super) fn end(&self) -> u64 {
        self.offset + HEADER as u64 + u64::from(self.header.length)
    }
}

/// The complete blocks of a file, found by their headers.
#[derive(Debug)]
pub(super) struct Blocks<'f> {
    file: &'f File,
    offset: u64,
    end: u64,
}

impl<'f> Blocks<'f> {
    pub(super) fn new(file: &'f File, end: u64) -> Blocks<'f> {
        Blocks { file, offset: FILE_HEADER as u64, end }
    }

    /// The offset of the next marker after this one.
    fn find_marker(&self, mut offset: u64) -> Option<u64> {
        let mut buffer = vec![0; 64 << 10];
        while offset < self.end {
            let count = self.file.read_at(&mut buffer, offset).ok()?;
            let read = buffer.get(..count)?;
            if let Some(at) = read.windows(MARKER.len()).position(|bytes| bytes == MARKER) {
                return Some(offset + at as u64);
            }
            // A marker can be in two buffers.
            let step = count.checked_sub(MARKER.len() - 1).filter(|step| *step > 0)?;
            offset += step as u64;
        }
        None
    }
}

impl Iterator for Blocks<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            let mut bytes = [0; HEADER];
            if self.offset + HEADER as u64 > self.end {
                return None;
            }
            self.file.read_exact_at(&mut bytes, self.offset).ok()?;
            if let Some(header) = Header::parse(&bytes) {
                let found = Found { offset: self.offset, bytes, header };
                if found.end() <= self.end {
                    self.offset = found.end();
                    return Some(found);
                }
            }
            // Damaged: the next one is further on, unless this is a torn end.
            self.offset = self.find_marker(self.offset + 1)?;
        }
    }
}

/// The payload of a block; `None` if it is damaged.
fn payload(file: &File, found: &Found) -> Option<Vec<u8>> {
    let mut payload = vec![0; usize::try_from(found.header.length).ok()?];
    file.read_exact_at(&mut payload, found.offset + HEADER as u64).ok()?;
    found.header.is_of(&found.bytes, &payload).then_some(payload)
}

/// Whether a block is not damaged.
pub(super) fn is_intact(file: &File, found: &Found) -> bool {
    payload(file, found).is_some()
}

fn header_of(file: &File) -> Option<[u8; FILE_HEADER]> {
    let mut bytes = [0; FILE_HEADER];
    file.read_exact_at(&mut bytes, 0).ok().map(|()| bytes)
}

/// Whether a file is a recording.
pub(super) fn has_magic(file: &File) -> bool {
    header_of(file).is_some_and(|bytes| bytes.starts_with(&MAGIC))
}

/// The version of the format of a file; `None` if it is not a recording.
pub(super) fn version(file: &File) -> Option<u32> {
    let bytes = header_of(file)?;
    let version = bytes.strip_prefix(&MAGIC)?;
    Some(u32::from_le_bytes(version.try_into().ok()?))
}

/// Whether a file contains no more than a part of the header.
pub(super) fn is_part_of_header(file: &File) -> bool {
    let mut bytes = [0; FILE_HEADER];
    let count = file.read_at(&mut bytes, 0).unwrap_or(FILE_HEADER);
    let header = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
    count < FILE_HEADER && header.starts_with(bytes.get(..count).unwrap_or_default())
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The file is something else.
    #[error("is not a recording")]
    NotRecording,
    /// It is of a later version of psstat-dump.
    #[error("has version {0} of the format; this psstat-dump reads version {VERSION}")]
    Version(u32),
    /// There is nothing in it yet.
    #[error("has no complete frame")]
    Empty,
}

/// A recording: all its files, as they were when it was opened.
#[derive(Debug)]
pub struct Recording {
    files: Vec<File>,
    frames: Vec<FrameAt>,
    metas: Vec<Meta>,
    decoder: Decoder,
    decompressor: Decompressor,
    /// The next frame that the decoder can read, and the meta of the frame before it.
    next: Option<(usize, usize)>,
    damaged: usize,
}

/// The data of a process in one frame.
#[derive(Debug)]
pub struct ProcessFrame {
    /// Its row; `None` if it is not there.
    pub row: Option<Row>,
    /// The ends of processes with its pid since the previous frame.
    pub exits: Vec<Exit>,
}

/// The place of a frame.
#[derive(Clone, Copy, Debug)]
struct FrameAt {
    file: usize,
    meta: usize,
    found: Found,
}

impl Recording {
    /// Opens the file and the segments before it.
    ///
    /// # Errors
    /// When there is no frame.
    pub fn open(path: &Path) -> Result<Recording, ReadError> {
        // The recorder can rename it in the meantime: then it is the last segment as well.
        let last = File::open(path)?;
        let stat = last.metadata()?;
        if !stat.is_file() {
            return Err(ReadError::NotRecording);
        }
        let mut files: Vec<File> = Vec::new();
        for number in segments::numbers(path).unwrap_or_default() {
            // It can have been deleted.
            let Ok(file) = File::open(segments::path_of(path, number)) else { continue };
            let is_last = file.metadata().is_ok_and(|one| one.ino() == stat.ino());
            if !is_last && has_magic(&file) {
                files.push(file);
            }
        }
        match version(&last) {
            Some(_) => files.push(last),
            None if is_part_of_header(&last) => {}
            None => return Err(ReadError::NotRecording),
        }
        let mut recording = Recording {
            files,
            frames: Vec::new(),
            metas: Vec::new(),
            decoder: Decoder::new(&[]),
            decompressor: Decompressor::new(),
            next: None,
            damaged: 0,
        };
        recording.index()?;
        Ok(recording)
    }

    fn index(&mut self) -> Result<(), ReadError> {
        let mut later = None;
        for (number, file) in self.files.iter().enumerate() {
            match version(file) {
                Some(version) if version > VERSION => {
                    later = Some(version);
                    continue;
                }
                _ => {}
            }
            // The frames before the first key frame belong to none.
            let mut meta = None;
            let mut has_key = false;
            for found in Blocks::new(file, file.metadata()?.len()) {
                match found.header.kind {
                    Kind::Meta => {
                        has_key = false;
                        meta = payload(file, &found).and_then(|json| Meta::from_json(&json));
                        self.damaged += usize::from(meta.is_none());
                        self.metas.extend(meta.iter().cloned());
                    }
                    Kind::Key => has_key = true,
                    Kind::Delta => {}
                    Kind::Other => continue,
                }
                if found.header.kind != Kind::Meta && has_key && meta.is_some() {
                    let meta = self.metas.len() - 1;
                    self.frames.push(FrameAt { file: number, meta, found });
                }
            }
        }
        match later {
            _ if !self.frames.is_empty() => Ok(()),
            Some(version) => Err(ReadError::Version(version)),
            None => Err(ReadError::Empty),
        }
    }

    /// The number of frames.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is no frame; never, as there would be no recording.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The number of damaged blocks that were found so far; they are left out.
    pub fn damaged(&self) -> usize {
        self.damaged
    }

    /// The time of a frame.
    pub fn time(&self, frame: usize) -> Option<SystemTime> {
        self.frames.get(frame).map(|at| time_of(at.found.header.time))
    }

    /// The properties of the recorder of a frame.
    pub fn meta(&self, frame: usize) -> Option<&Meta> {
        self.metas.get(self.frames.get(frame)?.meta)
    }

    /// The last frame at this time or before it.
    pub fn find(&self, time: SystemTime) -> Option<usize> {
        let time = unix_nanoseconds(time);
        // Clocks can be set back, so this is not a sorted list.
        self.frames.iter().rposition(|at| at.found.header.time <= time)
    }

    /// A frame; `None` if it is damaged, or one that it depends on. Fast for the frame after the
    /// previous one.
    pub fn frame(&mut self, frame: usize) -> Option<Frame> {
        self.seek(frame)?;
        Some(Frame { snapshot: self.decoder.snapshot(), exits: self.decoder.last_exits().clone() })
    }

    /// The row of a process in a frame, and its end. `None` as for [`frame`](Self::frame).
    pub fn process(&mut self, frame: usize, pid: u32) -> Option<ProcessFrame> {
        self.seek(frame)?;
        let exits = self.decoder.last_exits().exits.iter();
        let exits = exits.filter(|exit| exit.id.pid == pid).cloned().collect();
        Some(ProcessFrame { row: self.decoder.row_of(pid), exits })
    }

    fn seek(&mut self, frame: usize) -> Option<()> {
        let is_key = |at: &FrameAt| at.found.header.kind == Kind::Key;
        let key = self.frames.get(..=frame)?.iter().rposition(is_key)?;
        let meta = self.frames.get(frame)?.meta;
        let start = match self.next {
            Some((next, of)) if of == meta && (key..=frame).contains(&next) => next,
            // The frame that was decoded last.
            Some((next, of)) if of == meta && next == frame + 1 => return Some(()),
            _ => key,
        };
        self.next = None;
        for at in start..=frame {
            if self.decode(at).is_none() {
                self.damaged += 1;
                return None;
            }
        }
        self.next = Some((frame + 1, meta));
        Some(())
    }

    fn decode(&mut self, frame: usize) -> Option<()> {
        let FrameAt { file, meta, found } = *self.frames.get(frame)?;
        let payload = payload(self.files.get(file)?, &found)?;
        let is_key = found.header.kind == Kind::Key;
        if is_key {
            self.decompressor.reset();
            self.decoder = Decoder::new(&self.metas.get(meta)?.fields);
        }
        let bytes = self.decompressor.decompress(&payload).ok()?;
        self.decoder.decode(&bytes, is_key).ok()
    }
}
