//! The files of one process.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::fs::{Dir, Mode, OFlags};

/// How long a command line may take. The kernel holds a reader up while the
/// process has its memory map locked, which may be for ever.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Why something of a process could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// The process has ended, or there never was one.
    #[error("no such process")]
    Gone,
    /// This user may not read it.
    #[error("permission denied")]
    Denied,
    /// The reader is held up; the process is locked in the kernel.
    #[error("the process holds its readers up")]
    Blocked,
    /// Anything else, and what it is.
    #[error("{0}")]
    Failed(String),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        // ESRCH has no kind of its own.
        let is_gone = error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error());
        match error.kind() {
            io::ErrorKind::NotFound => ReadError::Gone,
            io::ErrorKind::PermissionDenied => ReadError::Denied,
            _ if is_gone => ReadError::Gone,
            _ => ReadError::Failed(error.to_string()),
        }
    }
}

impl From<rustix::io::Errno> for ReadError {
    fn from(errno: rustix::io::Errno) -> ReadError {
        io::Error::from(errno).into()
    }
}

impl From<psstat_proc_parse::Error> for ReadError {
    fn from(error: psstat_proc_parse::Error) -> ReadError {
        ReadError::Failed(error.to_string())
    }
}

/// The folder of one process. It stays that of this very process, even if
/// another one gets its pid.
#[derive(Debug)]
pub(crate) struct Files {
    dir: OwnedFd,
}

/// A descriptor's number, and what its link says.
pub(crate) type Link = (u32, Vec<u8>);

impl Files {
    /// Opens the folder.
    ///
    /// # Errors
    /// When there is no such process.
    pub(crate) fn open(proc: &Path, pid: u32) -> Result<Files, ReadError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(proc.join(pid.to_string()), flags, Mode::empty())?;
        Ok(Files { dir })
    }

    fn file(&self, name: &str) -> Result<File, ReadError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.dir, name, flags, Mode::empty())?.into())
    }

    /// The whole of a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        self.file(name)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// `cmdline`, as it is, unless it takes too long.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn command_line(&self) -> Result<Vec<u8>, ReadError> {
        let mut file = self.file("cmdline")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = file.read_to_end(&mut bytes).map(|_| bytes);
            // Nobody listens any more where it took too long.
            let _ = sender.send(read);
        });
        match receiver.recv_timeout(READ_TIMEOUT) {
            Ok(read) => Ok(read?),
            Err(_) => Err(ReadError::Blocked),
        }
    }

    /// What a link says.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn link(&self, name: &str) -> Result<Vec<u8>, ReadError> {
        Ok(rustix::fs::readlinkat(&self.dir, name, Vec::new())?.into_bytes())
    }

    /// The descriptors by number.
    ///
    /// # Errors
    /// When they may not be listed.
    pub(crate) fn descriptors(&self) -> Result<Vec<Link>, ReadError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(&self.dir, "fd", flags, Mode::empty())?;
        let mut links = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(number) = name.to_str().ok().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // One that was closed meanwhile is none.
            if let Ok(link) = rustix::fs::readlinkat(&folder, name, Vec::new()) {
                links.push((number, link.into_bytes()));
            }
        }
        links.sort_unstable();
        Ok(links)
    }
}
