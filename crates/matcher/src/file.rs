//! Reading the config file as a whole, and detecting that it has changed.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use thiserror::Error;

use crate::conf::{Conf, MAX_FILE_LEN, of_file};
use crate::diagnostic::{Diagnostic, Severity};
use crate::ownership::OwnershipIssue;

/// The attributes that identify one version of a file: its `stat(2)`, links
/// followed.
///
/// Stamps are compared for equality only. "Newer than" would miss an older file
/// that is moved into place.
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
    /// Owner's user id.
    pub uid: u32,
    /// Owner's group id.
    pub gid: u32,
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Number of hard links.
    pub nlink: u64,
}

impl FileStamp {
    /// The stamp of the file at `path`. If it is neither a regular file nor a
    /// directory, size and times are 0, because each use of a device changes them.
    pub(crate) fn of_path(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        let stamp = Self::from(&metadata);
        if metadata.is_file() || metadata.is_dir() {
            return Ok(stamp);
        }
        Ok(Self { size: 0, mtime: (0, 0), ctime: (0, 0), ..stamp })
    }
}

impl FileStamp {
    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.mode & S_IFMT == S_IFDIR
    }

    /// Whether it is a regular file.
    pub(crate) fn is_regular(&self) -> bool {
        self.mode & S_IFMT == S_IFREG
    }
}

/// Types in `st_mode`, see inode(7).
const S_IFMT: u32 = 0o170_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;

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
            nlink: m.nlink(),
        }
    }
}

/// A config file that was read and has at least one valid rule.
#[derive(Debug)]
#[non_exhaustive]
pub struct LoadedConfig {
    /// Its rules and diagnostics.
    pub conf: Conf,
    /// The version of the file that was read. See
    /// [`check_ownership`](crate::ownership::check_ownership) for its expected
    /// owner.
    pub stamp: FileStamp,
}

/// The reason why a file gives no rules.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It cannot be opened or read: it is missing, permission is denied, or a
    /// link is dangling.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It is a directory, a pipe or a device.
    #[error("is not a regular file")]
    NotAFile,
    /// It changed while it was read. A later attempt can succeed.
    #[error("changed while it was read")]
    ChangedWhileReading,
    /// It has another owner or is writable by others, and
    /// [`OwnerPolicy`](crate::ownership::OwnerPolicy) refuses it.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Ownership(Vec<OwnershipIssue>),
    /// The file system does not respond. The caller of
    /// [`ConfigWatcher`](crate::watcher::ConfigWatcher) has reported this.
    #[error("file system not responding")]
    NotResponding,
    /// All files together exceed [`MAX_TOTAL_LEN`](crate::sources::MAX_TOTAL_LEN),
    /// and it is one of the largest. It has this number of bytes.
    #[error(
        "is not used: all config files together have more than 8 MiB, and it is one of the largest \
         ({0} bytes)"
    )]
    TotalTooLarge(usize),
    /// The directory has no file `*.conf`.
    #[error("has no file `*.conf`")]
    NoFile,
    /// None of its lines is a valid rule. The diagnostics are empty if the file
    /// has only comments and blank lines.
    #[error("has no rule")]
    NoRule(Vec<Diagnostic>),
}

impl LoadError {
    /// Equal for the same reason, so that it is reported once.
    pub(crate) fn kind(&self) -> (u8, Option<i32>) {
        match self {
            Self::Unreadable(e) => (0, e.raw_os_error()),
            Self::NotAFile => (1, None),
            Self::ChangedWhileReading => (2, None),
            Self::NoRule(_) => (3, None),
            Self::Ownership(_) => (4, None),
            Self::NotResponding => (5, None),
            Self::TotalTooLarge(_) => (6, None),
            Self::NoFile => (7, None),
        }
    }
}

impl From<LoadError> for io::Error {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unreadable(e) => e,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// Reads the config file at `path` once, immediately.
///
/// A file of more than 4 MiB is not parsed: it has no rule, and a diagnostic
/// states the reason.
///
/// # Errors
/// If the file gives no rules; see [`LoadError`].
pub fn load(path: &Path) -> Result<LoadedConfig, LoadError> {
    let (bytes, stamp) = read(path)?;
    parse(&bytes, stamp)
}

pub(crate) fn parse(bytes: &[u8], stamp: FileStamp) -> Result<LoadedConfig, LoadError> {
    let mut conf = Conf::parse(bytes);
    if stamp.nlink == 0 {
        conf.diagnostics.insert(0, unlinked());
    }
    if conf.rules.is_empty() {
        return Err(LoadError::NoRule(conf.diagnostics));
    }
    Ok(LoadedConfig { conf, stamp })
}

/// The warning for a file without a name. A file that is mounted as such, into a
/// container for example, stays the same when it is replaced at its source.
pub(crate) fn unlinked() -> Diagnostic {
    of_file(
        Severity::Warning,
        "the file was replaced or removed where it comes from (its link count is 0); changes there \
         have no effect here",
        "mount its directory instead of the file, or mount the file again",
    )
}

/// The content, up to one byte beyond the limit, and the stamp of the version
/// that was read.
pub(crate) fn read(path: &Path) -> Result<(Vec<u8>, FileStamp), LoadError> {
    let (mut file, before) = open(path)?;
    let stamp = FileStamp::from(&before);
    let mut bytes = Vec::new();
    let limit = MAX_FILE_LEN as u64 + 1;
    file.by_ref().take(limit).read_to_end(&mut bytes).map_err(LoadError::Unreadable)?;
    let after = file.metadata().map_err(LoadError::Unreadable)?;
    if FileStamp::from(&after) != stamp {
        return Err(LoadError::ChangedWhileReading);
    }
    Ok((bytes, stamp))
}

/// Opens a regular file only. Opening a device can have side effects (opening a
/// watchdog starts it, and it restarts the machine), and a user who can write
/// the config file can replace it by a link to a device.
fn open(path: &Path) -> Result<(File, Metadata), LoadError> {
    let open = |path: &Path, flags: OFlags| {
        OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
    };
    // O_PATH: refers to the file without opening it.
    let handle = open(path, OFlags::PATH).map_err(LoadError::Unreadable)?;
    let metadata = handle.metadata().map_err(LoadError::Unreadable)?;
    if !metadata.is_file() {
        return Err(LoadError::NotAFile);
    }
    // The same file, even if the path refers to another one now. A thread may
    // have a private fd table, which `/proc/self` does not show.
    let magic_link = format!("/proc/thread-self/fd/{}", handle.as_raw_fd());
    let file = match open(Path::new(&magic_link), OFlags::NOCTTY) {
        // There is no procfs. O_NONBLOCK, in case the file was replaced by a
        // pipe in between.
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
