//! Reads the files of one process.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use psstat_proc_parse::{ProcessState, Stat, Status};
use psstat_sampler::capture::{self, Machine};
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, PROC_SUPER_MAGIC, StatxFlags, makedev};
use rustix::io::Errno;

use crate::blocking;

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
        let is_srch = error.raw_os_error() == Some(Errno::SRCH.raw_os_error());
        match error.kind() {
            io::ErrorKind::NotFound => ReadError::NotFound,
            io::ErrorKind::PermissionDenied => ReadError::Denied,
            _ if is_srch => ReadError::NotFound,
            _ => ReadError::Failed(error.to_string()),
        }
    }
}

impl From<Errno> for ReadError {
    fn from(errno: Errno) -> ReadError {
        io::Error::from(errno).into()
    }
}

impl From<psstat_proc_parse::Error> for ReadError {
    fn from(error: psstat_proc_parse::Error) -> ReadError {
        ReadError::Failed(error.to_string())
    }
}

/// Whether the main thread has exited while other threads live, in this state.
pub(crate) fn has_main_thread_exited(state: ProcessState, threads: u64) -> bool {
    is_dead(state) && threads > 1
}

fn is_dead(state: ProcessState) -> bool {
    matches!(state, ProcessState::Zombie | ProcessState::Dead)
}

/// The directory of one process. It always refers to this process, even if the
/// pid is reused. Its files are read in another thread: see [`blocking`].
#[derive(Debug)]
pub(crate) struct Files {
    pid: u32,
    dir: Arc<OwnedFd>,
    /// Whether it is in a procfs, not in a capture.
    is_procfs: bool,
    /// The directory of a live thread, if the main thread has exited: then the
    /// files of memory, descriptors and namespaces in `dir` are empty.
    live_thread: Option<Arc<OwnedFd>>,
    /// Its id.
    live_tid: Option<u32>,
}

/// Files that a thread without memory, descriptors and namespaces does not have.
const FILES_OF_LIVE_THREADS: [&str; 9] =
    ["statm", "cmdline", "fd", "ns", "net", "mountinfo", "cgroup", "exe", "cwd"];

/// Files that are not empty in a procfs as long as the process exists.
const NEVER_EMPTY: [&str; 3] = ["stat", "statm", "io"];

/// The type of the file system of POSIX message queues (`MQUEUE_MAGIC`).
const MQUEUE_MAGIC: u64 = 0x1980_0202;

/// A descriptor, and the target of its link.
pub(crate) type Link = (u32, Vec<u8>);

/// The file behind a descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) file_type: FileType,
    /// The device number of its file system.
    pub(crate) device: u64,
    /// The number of its names.
    pub(crate) links: Option<u32>,
}

impl Files {
    /// Opens the directory.
    ///
    /// # Errors
    /// When the process does not exist.
    pub(crate) fn open(proc: &Path, pid: u32) -> Result<Files, ReadError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::open(proc, flags, Mode::empty())?;
        let proc = Dir { fd: &proc, is_procfs: is_procfs(&proc) };
        let dir = Arc::new(proc.open(&pid.to_string(), flags)?);
        let is_procfs = proc.is_procfs;
        let mut files = Files { pid, dir, is_procfs, live_thread: None, live_tid: None };
        (files.live_tid, files.live_thread) = files.find_live_thread().unzip();
        Ok(files)
    }

    /// Whether it is in a procfs, not in a capture.
    pub(crate) fn is_procfs(&self) -> bool {
        self.is_procfs
    }

    fn find_live_thread(&self) -> Option<(u32, Arc<OwnedFd>)> {
        let (state, threads) = self.state("")?;
        if !is_dead(state) || threads.is_some_and(|threads| threads < 2) {
            return None;
        }
        let is_live = |tid: &u32| {
            self.state(&format!("task/{tid}/")).is_some_and(|(state, _)| !is_dead(state))
        };
        let tid = self.numbered("task").ok()?.into_iter().find(is_live)?;
        let dir = Dir { fd: &self.dir, is_procfs: self.is_procfs };
        let thread = dir.open(&format!("task/{tid}"), OFlags::PATH | OFlags::DIRECTORY).ok()?;
        Some((tid, Arc::new(thread)))
    }

    /// The state of a thread and the number of threads, from `status`, which never
    /// blocks; a capture can lack it.
    fn state(&self, dir: &str) -> Option<(ProcessState, Option<u64>)> {
        if let Ok(bytes) = self.read(&format!("{dir}status"))
            && let Ok(Status { state: Some(state), threads, .. }) = Status::parse(&bytes)
        {
            return Some((state, threads));
        }
        let bytes = self.read(&format!("{dir}stat")).ok()?;
        Stat::parse(&bytes).ok().map(|stat| (stat.state, Some(stat.num_threads)))
    }

    /// The directory that contains this file.
    fn dir_of(&self, name: &str) -> &Arc<OwnedFd> {
        let first = name.split('/').next().unwrap_or(name);
        match &self.live_thread {
            Some(thread) if FILES_OF_LIVE_THREADS.contains(&first) => thread,
            _ => &self.dir,
        }
    }

    /// Calls `read` with a directory and a name in it, in another thread. The files
    /// of a capture do not block.
    fn guarded<T: Send + 'static>(
        &self,
        dir: &Arc<OwnedFd>,
        name: &str,
        read: fn(Dir<'_>, &str) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        if !self.is_procfs {
            return read(Dir { fd: dir, is_procfs: false }, name);
        }
        let (dir, path) = (Arc::clone(dir), name.to_owned());
        blocking::read(self.pid, name, move || read(Dir { fd: &dir, is_procfs: true }, &path))
            .unwrap_or(Err(ReadError::Blocked))
    }

    /// The id of the thread whose memory, descriptors and namespaces are read, if the main
    /// thread has exited.
    pub(crate) fn live_tid(&self) -> Option<u32> {
        self.live_tid
    }

    /// The contents of a file of the main thread, which is empty if it has exited.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read_main_thread(&self, name: &str) -> Result<Vec<u8>, ReadError> {
        self.guarded(&self.dir, name, read_file)
    }

    /// The contents of a file of a live thread, if the main thread has exited.
    pub(crate) fn read_live_thread(&self, name: &str) -> Option<Vec<u8>> {
        self.guarded(self.live_thread.as_ref()?, name, read_file).ok()
    }

    /// The contents of a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, ReadError> {
        let bytes = self.guarded(self.dir_of(name), name, read_file)?;
        // A copy that was not permitted leaves an empty file.
        if bytes.is_empty() && !self.is_procfs && NEVER_EMPTY.contains(&name) {
            return Err(ReadError::NotFound);
        }
        Ok(bytes)
    }

    /// The target of a link.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn link(&self, name: &str) -> Result<Vec<u8>, ReadError> {
        self.guarded(self.dir_of(name), name, read_link)
    }

    /// The number of open descriptors from the size of `fd`, which needs no
    /// permission. `None` before Linux 6.2, which prints 0, and in a capture.
    pub(crate) fn fd_count(&self) -> Option<u64> {
        let size = self.guarded(self.dir_of("fd"), "fd", |dir, name| {
            Ok(rustix::fs::statat(dir.fd, name, AtFlags::empty())?.st_size)
        });
        u64::try_from(size.ok()?).ok().filter(|size| *size > 0 && self.is_procfs)
    }

    /// The number of threads with a descriptor table of another size than the process's:
    /// they have a table of their own (`unshare(CLONE_FILES)`). `None` before Linux 6.2 and in
    /// a capture.
    pub(crate) fn threads_with_other_fds(&self) -> Option<u64> {
        // The process can open and close descriptors between the reads: a table of its own has
        // another size in all of them.
        const READS: usize = 5;
        if !self.is_procfs {
            return None;
        }
        let mut others = None::<Vec<u32>>;
        for _ in 0..READS {
            let before = self.fd_count()?;
            let sizes = self.guarded(&self.dir, "task", fd_counts).ok()?;
            let after = self.fd_count()?;
            let differs = |count: u64| ![0, before, after].contains(&count);
            let found = sizes.into_iter().filter(|(_, count)| differs(*count));
            let found = found.map(|(thread, _)| thread).filter(|thread| {
                others.as_ref().is_none_or(|others| others.binary_search(thread).is_ok())
            });
            let found: Vec<u32> = found.collect();
            if found.is_empty() {
                return Some(0);
            }
            others = Some(found);
        }
        others.map(|others| others.len() as u64)
    }

    /// The files behind these descriptors; unknown in a capture.
    pub(crate) fn targets(&self, links: &[Link]) -> Vec<Option<Target>> {
        let unknown = vec![None; links.len()];
        if !self.is_procfs {
            return unknown;
        }
        let dir = Arc::clone(self.dir_of("fd"));
        let fds: Vec<u32> = links.iter().map(|(fd, _)| *fd).collect();
        let read = move || fds.into_iter().map(|fd| target(&dir, fd)).collect();
        blocking::read(self.pid, "fd/", read).unwrap_or(unknown)
    }

    /// Whether the file behind a descriptor is a POSIX message queue, by the type of its file
    /// system. This can block for a file system of a server.
    pub(crate) fn is_message_queue(&self, fd: u32) -> bool {
        let path = format!("/proc/self/fd/{}/fd/{fd}", self.dir_of("fd").as_raw_fd());
        let read = move || {
            let system = rustix::fs::statfs(path);
            // The type has 32 bits on some machines, and a sign on others.
            system.is_ok_and(|system| system.f_type as u64 == MQUEUE_MAGIC)
        };
        self.is_procfs && blocking::read(self.pid, "file system", read).unwrap_or(false)
    }

    /// Whether a descriptor is that of an MPTCP socket. Its rows in the tables are those of its
    /// connections.
    pub(crate) fn is_mptcp(&self, fd: &str) -> bool {
        if !self.is_procfs {
            return false;
        }
        let path = format!("/proc/self/fd/{}/fd/{fd}", self.dir_of("fd").as_raw_fd());
        let read = move || {
            let mut name = [0; 32];
            let length = rustix::fs::getxattr(path, "system.sockprotoname", &mut name);
            length.is_ok_and(|length| name.get(..length).unwrap_or_default().starts_with(b"MPTCP"))
        };
        blocking::read(self.pid, "fd/", read).unwrap_or(false)
    }

    /// The entries of a directory that are numbers, in ascending order.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub(crate) fn numbered(&self, name: &str) -> Result<Vec<u32>, ReadError> {
        self.guarded(self.dir_of(name), name, list_numbers)
    }

    /// The open descriptors, in ascending order.
    ///
    /// # Errors
    /// When they cannot be listed, or reading their links blocks.
    pub(crate) fn descriptors(&self) -> Result<Vec<Link>, ReadError> {
        self.guarded(self.dir_of("fd"), "fd/", |dir, _| {
            let fds = list_numbers(dir, "fd")?.into_iter();
            // A descriptor can be closed in the meantime.
            Ok(fds.filter_map(|fd| Some((fd, read_link(dir, &format!("fd/{fd}")).ok()?))).collect())
        })
    }
}

/// The threads in a directory with the sizes of their descriptor tables, in ascending order. A
/// thread that has exited has none.
fn fd_counts(dir: Dir<'_>, name: &str) -> Result<Vec<(u32, u64)>, ReadError> {
    let count = |thread: u32| {
        let stat = rustix::fs::statat(dir.fd, format!("{name}/{thread}/fd"), AtFlags::empty());
        Some((thread, stat.ok()?.st_size.cast_unsigned()))
    };
    Ok(list_numbers(dir, name)?.into_iter().filter_map(count).collect())
}

/// A directory in a procfs or a capture.
#[derive(Clone, Copy)]
struct Dir<'a> {
    fd: &'a OwnedFd,
    is_procfs: bool,
}

impl Dir<'_> {
    fn open(self, name: &str, flags: OFlags) -> Result<OwnedFd, ReadError> {
        let flags = flags | OFlags::CLOEXEC;
        if self.is_procfs {
            return Ok(rustix::fs::openat(self.fd, name, flags, Mode::empty())?);
        }
        let path = CString::new(name).map_err(|_| ReadError::NotFound)?;
        capture::open(self.fd, &path, flags).map_err(|errno| match errno {
            Errno::INVAL | Errno::ISDIR => ReadError::Failed("not a regular file".to_owned()),
            Errno::NOTDIR => ReadError::Failed("not a directory".to_owned()),
            Errno::LOOP => ReadError::Failed("a symbolic link, which is not followed".to_owned()),
            Errno::FBIG => ReadError::Failed("larger than 64 MiB".to_owned()),
            errno => errno.into(),
        })
    }
}

fn read_file(dir: Dir<'_>, name: &str) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    File::from(dir.open(name, OFlags::RDONLY)?).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_link(dir: Dir<'_>, name: &str) -> Result<Vec<u8>, ReadError> {
    let link = if dir.is_procfs {
        rustix::fs::readlinkat(dir.fd, name, Vec::new())
    } else {
        rustix::fs::readlinkat(dir.open(name, OFlags::PATH)?, "", Vec::new())
    };
    Ok(link?.into_bytes())
}

/// The contents of a file of the host.
pub(crate) fn read_host_file(proc: &Path, name: &str) -> Result<Vec<u8>, ReadError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(proc, flags, Mode::empty())?;
    read_file(Dir { fd: &dir, is_procfs: is_procfs(&dir) }, name)
}

/// The machine of a procfs or a capture.
pub(crate) fn machine(proc: &Path) -> Machine {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(dir) = rustix::fs::open(proc, flags, Mode::empty()) else { return Machine::default() };
    if is_procfs(&dir) { this_machine() } else { Machine::of_capture(&dir) }
}

/// This machine.
fn this_machine() -> Machine {
    let name = rustix::system::uname();
    let text = |text: &std::ffi::CStr| Some(text.to_string_lossy().into_owned());
    Machine {
        architecture: text(name.machine()),
        kernel: text(name.release()),
        page_size: Some(rustix::param::page_size() as u64),
        ticks_per_second: Some(rustix::param::clock_ticks_per_second()),
        is_big_endian: Some(cfg!(target_endian = "big")),
        boot_time_unix_nanoseconds: u64::try_from(boot_time().as_nanos()).ok(),
    }
}

/// The time of boot, since 1970, by the clocks of this process. `btime` in `/proc/stat` is
/// rounded down to seconds.
fn boot_time() -> Duration {
    // This process can be preempted between the clocks.
    let read = |_| {
        let before = uptime();
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        (uptime().saturating_sub(before), since_1970.unwrap_or_default().saturating_sub(before))
    };
    let closest = (0..3).map(read).min_by_key(|(distance, _)| *distance);
    closest.map(|(_, boot_time)| boot_time).unwrap_or_default()
}

/// The time since boot in the time namespace of this process, to which start times in its
/// `/proc` refer. `/proc/uptime` has hundredths of a second, and can be another file in a
/// container (lxcfs).
pub(super) fn uptime() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}

fn is_procfs(dir: &OwnedFd) -> bool {
    rustix::fs::fstatfs(dir).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC)
}

fn target(dir: &OwnedFd, fd: u32) -> Option<Target> {
    // Cached attributes: the server of a network file system may not respond.
    let flags = AtFlags::STATX_DONT_SYNC;
    let mask = StatxFlags::TYPE | StatxFlags::NLINK;
    let stat = rustix::fs::statx(dir, format!("fd/{fd}"), flags, mask).ok()?;
    let has_links = stat.stx_mask & StatxFlags::NLINK.bits() != 0;
    Some(Target {
        file_type: FileType::from_raw_mode(stat.stx_mode.into()),
        device: makedev(stat.stx_dev_major, stat.stx_dev_minor),
        links: has_links.then_some(stat.stx_nlink),
    })
}

fn list_numbers(dir: Dir<'_>, name: &str) -> Result<Vec<u32>, ReadError> {
    let dir = dir.open(name, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut numbers = Vec::new();
    for entry in rustix::fs::Dir::read_from(&dir)? {
        let entry = entry?;
        numbers.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}
