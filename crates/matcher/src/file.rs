//! The conf as a file: reading it whole, and telling one state of it from
//! another.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use thiserror::Error;

use crate::conf::{Conf, MAX_FILE_LEN};
use crate::diagnostic::Diagnostic;

/// What tells one state of a file from another: `stat(2)` of it, links
/// followed.
///
/// Two states are compared for equality only. A strict "newer than" would miss
/// an older file that is moved into place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileStamp {
    /// Device.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the content: seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Last change of content or attributes: seconds and nanoseconds.
    pub ctime: (i64, i64),
    /// Owner's user number.
    pub uid: u32,
    /// Owner's group number.
    pub gid: u32,
    /// Type and permissions, as `st_mode` has them.
    pub mode: u32,
}

impl FileStamp {
    /// Of what is no regular file, without size and times: these change with
    /// every use of a device, and it would never be still.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        let identity = Self::from(&metadata);
        if metadata.is_file() {
            return Ok(identity);
        }
        Ok(Self { size: 0, mtime: (0, 0), ctime: (0, 0), ..identity })
    }
}

impl From<&Metadata> for FileStamp {
    fn from(m: &Metadata) -> Self {
        Self {
            dev: m.dev(),
            ino: m.ino(),
            size: m.size(),
            mtime: (m.mtime(), m.mtime_nsec()),
            ctime: (m.ctime(), m.ctime_nsec()),
            uid: m.uid(),
            gid: m.gid(),
            mode: m.mode(),
        }
    }
}

/// A conf that was read from a file and has at least one good line.
#[derive(Debug)]
#[non_exhaustive]
pub struct LoadedConfig {
    /// Its rules and diagnostics.
    pub conf: Conf,
    /// The file's state at the reading; see
    /// [`ownership`](crate::ownership::ownership) for what it should be.
    pub identity: FileStamp,
}

/// Why a file gives no rules.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It cannot be opened or read: it is missing, or permission is denied, or
    /// a link leads nowhere.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It is a directory, a pipe or a device.
    #[error("is not a regular file")]
    NotAFile,
    /// It changed while it was read; reading it again will do.
    #[error("changed while it was read")]
    ChangedWhileReading,
    /// No line of it is good. What is wrong with them is inside; nothing is
    /// where the file has only comments and blank lines.
    #[error("has no rule")]
    NoRule(Vec<Diagnostic>),
}

impl LoadError {
    /// What it takes to tell two reasons apart, so that each is told once.
    pub(crate) fn kind(&self) -> (u8, Option<i32>) {
        match self {
            Self::Unreadable(e) => (0, e.raw_os_error()),
            Self::NotAFile => (1, None),
            Self::ChangedWhileReading => (2, None),
            Self::NoRule(_) => (3, None),
        }
    }
}

/// Reads the conf at `path`, once and now.
///
/// A file of more than 4 MiB is not read; it has no rule, and
/// a diagnostic says why.
///
/// # Errors
/// Where there is no rule to be had; see [`Unusable`].
pub fn load(path: &Path) -> Result<LoadedConfig, LoadError> {
    let (bytes, identity) = read(path)?;
    parse(&bytes, identity)
}

pub(crate) fn parse(bytes: &[u8], identity: FileStamp) -> Result<LoadedConfig, LoadError> {
    let conf = Conf::parse(bytes);
    if conf.rules.is_empty() {
        return Err(LoadError::NoRule(conf.diagnostics));
    }
    Ok(LoadedConfig { conf, identity })
}

/// The whole content, up to one byte beyond the limit, and the state that it
/// belongs to.
pub(crate) fn read(path: &Path) -> Result<(Vec<u8>, FileStamp), LoadError> {
    let (mut file, before) = open(path)?;
    let identity = FileStamp::from(&before);
    let mut bytes = Vec::new();
    let limit = MAX_FILE_LEN as u64 + 1;
    file.by_ref().take(limit).read_to_end(&mut bytes).map_err(LoadError::Unreadable)?;
    let after = file.metadata().map_err(LoadError::Unreadable)?;
    if FileStamp::from(&after) != identity {
        return Err(LoadError::ChangedWhileReading);
    }
    Ok((bytes, identity))
}

/// Opens a regular file, and nothing else: to open some devices does something
/// (a watchdog is started and restarts the machine), and whoever may write the
/// conf may put a link to one in its place.
fn open(path: &Path) -> Result<(File, Metadata), LoadError> {
    let open = |path: &Path, flags: OFlags| {
        OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
    };
    // Names it, and opens nothing yet.
    let named = open(path, OFlags::PATH).map_err(LoadError::Unreadable)?;
    let metadata = named.metadata().map_err(LoadError::Unreadable)?;
    if !metadata.is_file() {
        return Err(LoadError::NotAFile);
    }
    // The same, whatever the path leads to by now. A thread may have descriptors
    // of its own, which `/proc/self` does not show.
    let same = format!("/proc/thread-self/fd/{}", named.as_raw_fd());
    let file = match open(Path::new(&same), OFlags::NOCTTY) {
        // Without a procfs. A pipe that came in between must not block.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            open(path, OFlags::NOCTTY | OFlags::NONBLOCK)
        }
        opened => opened,
    };
    let file = file.map_err(LoadError::Unreadable)?;
    let metadata = file.metadata().map_err(LoadError::Unreadable)?;
    if !metadata.is_file() {
        return Err(LoadError::NotAFile);
    }
    Ok((file, metadata))
}
