//! The files of a recording, as the recorder writes them.
//!
//! A failed write leaves no part of a block: the file is cut to its last complete block. When the
//! recorder is killed, the part that it wrote stays until the next recorder cuts it. A recorder
//! locks the file.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::block::{FILE_HEADER, MAGIC, VERSION};
use super::reader::{self, Blocks};

/// Segments per recording: a bound is kept to this part of it.
const PARTS: u64 = 8;

/// The limits of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all files.
    pub size: u64,
    /// Time from the first frame to the last one; exceeded by up to an eighth.
    pub keep: Option<Duration>,
}

/// Why a recording cannot be continued.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file has other contents.
    #[error("exists and is not a recording")]
    NotRecording,
    /// It is locked.
    #[error("another recorder writes to it")]
    Locked,
    /// Any other error.
    #[error("cannot be opened: {0}")]
    Io(#[from] io::Error),
}

/// The files of a recording.
#[derive(Debug)]
pub(super) struct Segments {
    path: PathBuf,
    bounds: Bounds,
    file: File,
    /// The complete part of the file.
    length: u64,
    /// The time of its first block, in nanoseconds since 1970.
    begin: Option<i64>,
    /// The earlier files, oldest first.
    earlier: Vec<Earlier>,
    /// The number of the next one, after those of files of another origin as well.
    next_number: u64,
}

/// An earlier file.
#[derive(Debug)]
struct Earlier {
    number: u64,
    length: u64,
    /// The time of its first block.
    begin: Option<i64>,
}

/// The path of a segment.
pub(super) fn path_of(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number:06}"));
    PathBuf::from(name)
}

/// The numbers of the segments, ascending.
///
/// # Errors
/// When the directory cannot be read.
pub(super) fn numbers(path: &Path) -> io::Result<Vec<u64>> {
    let directory = path.parent().filter(|path| !path.as_os_str().is_empty());
    let Some(name) = path.file_name() else { return Ok(Vec::new()) };
    let mut prefix = name.to_owned();
    prefix.push(".");
    let number = |entry: io::Result<std::fs::DirEntry>| {
        let name = entry.ok()?.file_name();
        let suffix = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes())?;
        if suffix.len() < 6 || !suffix.iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(suffix).ok()?.parse().ok()
    };
    let mut numbers: Vec<u64> =
        std::fs::read_dir(directory.unwrap_or(Path::new(".")))?.filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

impl Segments {
    /// Continues the recording of this path, or begins one.
    pub(super) fn open(path: &Path, bounds: Bounds) -> Result<Segments, OpenError> {
        let file = open_locked(path)?;
        let mut earlier = Vec::new();
        let mut next_number = 1;
        for number in numbers(path)? {
            next_number = number.saturating_add(1);
            let name = path_of(path, number);
            let Ok(file) = File::open(&name) else { continue };
            let length = file.metadata()?.len();
            if is_same(&file, path) {
                // Killed in `rotate`, between its two steps.
                std::fs::remove_file(name)?;
                continue;
            }
            // A file of another origin has a name like a segment's.
            if !reader::has_magic(&file) {
                continue;
            }
            let begin = Blocks::new(&file, length).next().map(|found| found.header.time);
            earlier.push(Earlier { number, length, begin });
        }
        let mut segments = Segments {
            path: path.to_owned(),
            bounds,
            file,
            length: 0,
            begin: None,
            earlier,
            next_number,
        };
        let length = segments.file.metadata()?.len();
        match reader::version(&segments.file) {
            Some(VERSION) => {
                let mut end = FILE_HEADER as u64;
                for found in Blocks::new(&segments.file, length) {
                    if !reader::is_intact(&segments.file, &found) {
                        break;
                    }
                    segments.begin.get_or_insert(found.header.time);
                    end = found.end();
                }
                segments.length = end;
                if end < length {
                    segments.file.set_len(end)?;
                }
            }
            // A later version; it is not changed.
            Some(_) => {
                segments.length = length;
                segments.rotate()?;
            }
            // Empty, or killed before the header was complete.
            None if reader::is_part_of_header(&segments.file) => {}
            None => return Err(OpenError::NotRecording),
        }
        Ok(segments)
    }

    /// Whether the file has frames that were written before.
    pub(super) fn is_continued(&self) -> bool {
        self.begin.is_some()
    }

    /// Whether the next block must be in a new file.
    pub(super) fn is_full(&self, time: i64) -> bool {
        let age = self.begin.map_or(0, |begin| time.saturating_sub(begin).max(0).unsigned_abs());
        let keep = self.bounds.keep.map(|keep| keep.as_nanos() / u128::from(PARTS));
        self.length > self.bounds.size / PARTS || keep.is_some_and(|keep| u128::from(age) > keep)
    }

    /// Begins a new file.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        let number = self.next_number;
        // First locked, then named: the file of this path is always a locked one.
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        let new = PathBuf::from(name);
        let file = options().truncate(true).open(&new)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let segment = path_of(&self.path, number);
        // Two names at first, so that the path always exists.
        if std::fs::hard_link(&self.path, &segment).is_err() {
            // A file system without links.
            std::fs::rename(&self.path, &segment)?;
        }
        std::fs::rename(&new, &self.path)?;
        self.next_number = number.saturating_add(1);
        self.earlier.push(Earlier { number, length: self.length, begin: self.begin });
        (self.file, self.length, self.begin) = (file, 0, None);
        Ok(())
    }

    /// Appends blocks, of which the first has this time. After an error, nothing of them is in the
    /// file.
    pub(super) fn append(&mut self, blocks: &[u8], time: i64) -> io::Result<()> {
        let mut header = Vec::new();
        if self.length == 0 {
            header.extend_from_slice(&MAGIC);
            header.extend_from_slice(&VERSION.to_le_bytes());
        }
        let added = (header.len() + blocks.len()) as u64;
        self.delete_old(added, time);
        let bytes = if header.is_empty() { blocks } else { &[&header, blocks].concat() };
        if let Err(error) = self.file.write_all_at(bytes, self.length) {
            // If this fails as well, the next block overwrites the part.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += added;
        self.begin.get_or_insert(time);
        Ok(())
    }

    /// Deletes the earlier files that exceed the bounds with this number of bytes added.
    fn delete_old(&mut self, added: u64, time: i64) {
        let Bounds { size, keep } = self.bounds;
        let mut total = self.length + added;
        total += self.earlier.iter().map(|earlier| earlier.length).sum::<u64>();
        while let Some(oldest) = self.earlier.first() {
            // The end of a file is the begin of the next one.
            let end = self.earlier.get(1).map_or(self.begin, |next| next.begin);
            let age = end.map_or(0, |end| time.saturating_sub(end).max(0).unsigned_abs());
            let is_old = keep.is_some_and(|keep| u128::from(age) > keep.as_nanos());
            if total <= size && !is_old {
                return;
            }
            let path = path_of(&self.path, oldest.number);
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return,
                _ => total -= oldest.length,
            }
            self.earlier.remove(0);
        }
    }

    /// Bytes of all files.
    pub(super) fn size(&self) -> u64 {
        self.length + self.earlier.iter().map(|earlier| earlier.length).sum::<u64>()
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // Command lines can contain secrets.
    options.read(true).write(true).create(true).mode(0o600);
    options
}

fn open_locked(path: &Path) -> Result<File, OpenError> {
    loop {
        let file = options().truncate(false).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(OpenError::NotRecording);
        }
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(OpenError::Locked);
        }
        // Another recorder can have renamed it in the meantime.
        if is_same(&file, path) {
            return Ok(file);
        }
    }
}

/// Whether a path is that of an open file.
fn is_same(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    (named.dev(), named.ino()) == (open.dev(), open.ino())
}
