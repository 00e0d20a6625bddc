//! Reads the files of one process.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use psstat_proc_parse::{ProcessState, Stat};
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, PROC_SUPER_MAGIC, StatxFlags, makedev};

/// Time limit for a command line. The kernel blocks the reader while the
/// process's memory map is locked, possibly indefinitely.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Why data of a process could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// The process exited or does not exist.
    #[error("no such process")]
    NotFound,
    /// Permission denied.
    #[error("permission denied")]
    Denied,
    /// The read blocks; the process is locked in the kernel.
    #[error("reading it blocks")]
    Blocked,
    /// Any other error.
    #[error("{0}")]
    Failed(String),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        // ESRCH has no ErrorKind.
        let is_srch = error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error());
        match error.kind() {
            io::ErrorKind::NotFound => ReadError::NotFound,
            io::ErrorKind::PermissionDenied => ReadError::Denied,
            _ if is_srch => ReadError::NotFound,
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

/// Whether the main thread has exited while other threads live.
pub(crate) fn has_main_thread_exited(stat: &Stat<'_>) -> bool {
    is_dead(stat.state) && stat.num_threads > 1
}

fn is_dead(state: ProcessState) -> bool {
    matches!(state, ProcessState::Zombie | ProcessState::Dead)
}

/// The directory of one process. It always refers to this process, even if the
/// pid is reused.
#[derive(Debug)]
pub(crate) struct Files {
    dir: OwnedFd,
    /// The directory of a live thread, if the main thread has exited: then the
    /// files of memory, descriptors and namespaces in `dir` are empty.
    live_thread: Option<OwnedFd>,
}

/// Files that a thread without memory, descriptors and namespaces does not have.
const FILES_OF_LIVE_THREADS: [&str; 6] = ["statm", "cmdline", "fd", "ns", "net", "mountinfo"];

/// A descriptor, and the target of its link.
pub(crate) type Link = (u32, Vec<u8>);

impl Files {
    /// Opens the directory.
    ///
    /// # Errors
    /// When the process does not exist.
    pub(crate) fn open(proc: &Path, pid: u32) -> Result<Files, ReadError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(proc.join(pid.to_string()), flags, Mode::empty())?;
        let mut files = Files { dir, live_thread: None };
        files.live_thread = files.find_live_thread();
        Ok(files)
    }

    fn find_live_thread(&self) -> Option<OwnedFd> {
        let bytes = self.read("stat").ok()?;
        if !has_main_thread_exited(&Stat::parse(&bytes).ok()?) {
            return None;
        }
        let is_live = |tid: &u32| {
            let bytes = self.read(&format!("task/{tid}/stat")).unwrap_or_default();
            Stat::parse(&bytes).is_ok_and(|stat| !is_dead(stat.state))
        };
        let tid = self.numbered("task").ok()?.into_iter().find(is_live)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.dir, format!("task/{tid}"), flags, Mode::empty()).ok()
    }

    /// The directory that contains this file.
    fn dir_of(&self, name: &str) -> &OwnedFd {
        let first = name.split('/').next().unwrap_or(name);
        match &self.live_thread {
            Some(thread) if FILES_OF_LIVE_THREADS.contains(&first) => thread,
            _ => &self.dir,
        }
    }

    fn file(&self, name: &str) -> Result<File, ReadError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self.dir_of(name), name, flags, Mode::empty())?.into())
    }

    /// The contents of a file of a live thread, if the main thread has exited.
    pub(crate) fn read_live_thread(&self, name: &str) -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let dir = self.live_thread.as_ref()?;
        let mut file = File::from(rustix::fs::openat(dir, name, flags, Mode::empty()).ok()?);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// The contents of a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        self.file(name)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The contents of `cmdline`.
    ///
    /// # Errors
    /// When it cannot be read within the time limit.
    pub(crate) fn command_line(&self) -> Result<Vec<u8>, ReadError> {
        let mut file = self.file("cmdline")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = file.read_to_end(&mut bytes).map(|_| bytes);
            // The receiver is dropped after the time limit.
            let _ = sender.send(read);
        });
        match receiver.recv_timeout(READ_TIMEOUT) {
            Ok(read) => Ok(read?),
            Err(_) => Err(ReadError::Blocked),
        }
    }

    /// The target of a link.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn link(&self, name: &str) -> Result<Vec<u8>, ReadError> {
        Ok(rustix::fs::readlinkat(self.dir_of(name), name, Vec::new())?.into_bytes())
    }

    /// The number of open descriptors from the size of `fd`, which needs no
    /// permission. `None` before Linux 6.2, which prints 0, and in a capture.
    pub(crate) fn fd_count(&self) -> Option<u64> {
        let stat = rustix::fs::statat(self.dir_of("fd"), "fd", AtFlags::empty()).ok()?;
        u64::try_from(stat.st_size).ok().filter(|size| *size > 0 && self.is_procfs())
    }

    /// Type and device number of the file behind a descriptor. `None` in a capture.
    pub(crate) fn target_type(&self, fd: u32) -> Option<(FileType, u64)> {
        if !self.is_procfs() {
            return None;
        }
        // Cached attributes: the server of a network file system may not respond.
        let flags = AtFlags::STATX_DONT_SYNC;
        let mask = StatxFlags::TYPE;
        let stat = rustix::fs::statx(self.dir_of("fd"), format!("fd/{fd}"), flags, mask).ok()?;
        let file_type = FileType::from_raw_mode(stat.stx_mode.into());
        Some((file_type, makedev(stat.stx_dev_major, stat.stx_dev_minor)))
    }

    /// Whether a descriptor is that of an MPTCP socket. Its rows in the tables are those of its
    /// connections.
    pub(crate) fn is_mptcp(&self, fd: &str) -> bool {
        if !self.is_procfs() {
            return false;
        }
        let path = format!("/proc/self/fd/{}/fd/{fd}", self.dir_of("fd").as_raw_fd());
        let mut name = [0; 32];
        let length = rustix::fs::getxattr(path, "system.sockprotoname", &mut name);
        length.is_ok_and(|length| name.get(..length).unwrap_or_default().starts_with(b"MPTCP"))
    }

    /// Whether the directory is that of a procfs, not of a capture.
    fn is_procfs(&self) -> bool {
        rustix::fs::fstatfs(&self.dir).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC)
    }

    /// The entries of a directory that are numbers, in ascending order.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub(crate) fn numbered(&self, name: &str) -> Result<Vec<u32>, ReadError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(self.dir_of(name), name, flags, Mode::empty())?;
        let mut numbers = Vec::new();
        for entry in Dir::read_from(&dir)? {
            numbers
                .extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The open descriptors, in ascending order.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub(crate) fn descriptors(&self) -> Result<Vec<Link>, ReadError> {
        let fds = self.numbered("fd")?.into_iter();
        // A descriptor can be closed in the meantime.
        Ok(fds.filter_map(|fd| Some((fd, self.link(&format!("fd/{fd}")).ok()?))).collect())
    }
}
