//! The procfs as a whole: its directory, fast paths and units.

use std::ffi::CStr;
use std::path::Path;
use std::time::Duration;

use psstat_proc_parse::net::snmp::TcpCounters;
use psstat_proc_parse::{FdTarget, StatCore, Status};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::capture::{self, Machine};
use crate::options::FastPaths;
use crate::read::outcome::Outcome;

/// An open procfs, or a captured one in a directory.
#[derive(Debug)]
pub(crate) struct Procfs {
    pub(crate) dir: OwnedFd,
    /// The enabled fast paths that this kernel supports.
    pub(crate) fast: FastPaths,
    /// Not a captured procfs.
    pub(crate) is_live: bool,
    /// The files of a process that this kernel does not have; unknown of a captured procfs.
    pub(crate) missing: Vec<&'static str>,
    /// The inode of this process's network namespace, if this is a live procfs.
    pub(crate) self_netns: Option<u32>,
    /// Bytes per page, for `statm`.
    pub(crate) page_size: u64,
    /// Nanoseconds per clock tick, for `stat`.
    pub(crate) tick_nanoseconds: u64,
}

impl Procfs {
    pub(crate) fn open(path: &Path, enabled: FastPaths) -> Result<Procfs, Errno> {
        let dir = rustix::fs::open(
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        // In a captured procfs, sizes and link counts have another meaning.
        let is_live =
            rustix::fs::fstatfs(&dir).is_ok_and(|fs| fs.f_type == rustix::fs::PROC_SUPER_MAGIC);
        let machine = if is_live { Machine::default() } else { Machine::of_capture(&dir) };
        let page_size = machine.page_size.unwrap_or(rustix::param::page_size() as u64);
        let ticks = machine.ticks_per_second.unwrap_or(rustix::param::clock_ticks_per_second());
        let tick_nanoseconds = 1_000_000_000 / ticks.max(1);
        let mut procfs = Procfs {
            dir,
            fast: FastPaths::NONE,
            is_live,
            missing: Vec::new(),
            self_netns: None,
            page_size,
            tick_nanoseconds,
        };
        procfs.fast = procfs.probe(enabled);
        Ok(procfs)
    }

    /// Tries each fast path on this process, whose values are known.
    fn probe(&mut self, enabled: FastPaths) -> FastPaths {
        if !self.is_live {
            return FastPaths::NONE;
        }
        self.missing = self.missing_files();
        self.self_netns = self.read_netns(ProcDir::SelfDir).value();
        let fd = self.statat(c"self/fd").value();
        // Threads may start or exit between the two reads.
        let task_links = |_| {
            let task = self.statat(c"self/task").value();
            task.is_some_and(|stat| links(&stat).checked_sub(2) == self.self_thread_count())
        };
        let is_own_pid_namespace = self.is_own_pid_namespace();
        let cpu_clock = enabled.cpu_clock && is_own_pid_namespace;
        FastPaths {
            cpu_clock,
            // 0 before Linux 6.2; this process has descriptors.
            fd_count_from_size: enabled.fd_count_from_size
                && fd.is_some_and(|stat| stat.st_size > 0),
            thread_count_from_links: enabled.thread_count_from_links && (0..10).any(task_links),
            sock_diag: enabled.sock_diag && self.self_netns.is_some(),
            partial_listing: enabled.partial_listing
                && is_own_pid_namespace
                && self.is_initial_pid_namespace()
                // A procfs that is mounted with `subset=pid` does not have it.
                && self.statat(c"loadavg").value().is_some(),
            socket_counters: enabled.socket_counters
                && self.read_tcp_counters(ProcDir::SelfDir, &mut [0; 4096]).is_some(),
            idle_processes: enabled.idle_processes && cpu_clock && has_fine_cpu_clock(),
        }
    }

    /// Whether this is the live procfs of the initial pid namespace, and this process is in that.
    pub(crate) fn is_initial(&self) -> bool {
        self.is_live && self.is_own_pid_namespace() && self.is_initial_pid_namespace()
    }

    /// Whether pids in this procfs are valid for this process's system calls.
    ///
    /// `NSpid` in `status` lists a process's pid in each namespace from that of the
    /// procfs down to the process's: one number means that both are the same.
    fn is_own_pid_namespace(&self) -> bool {
        let mut buffer = [0; 4096];
        let Outcome::Value(bytes) = self.read(c"self/status", &mut buffer) else { return false };
        let Ok(status) = Status::parse(bytes) else { return false };
        let Some(pids) = status.ns_pid else { return false };
        pids.iter().eq([rustix::process::getpid().as_raw_nonzero().get()])
    }

    /// Whether this process is in the initial pid namespace: then the kernel's
    /// count of processes is that of the namespace.
    fn is_initial_pid_namespace(&self) -> bool {
        // PROC_PID_INIT_INO of linux/proc_ns.h, since Linux 3.8.
        const INITIAL: u64 = 0xefff_fffc;
        let mut buffer = [0; 64];
        let link = read_link(&self.dir, c"self/ns/pid", &mut buffer).value();
        matches!(link.map(FdTarget::parse), Some(FdTarget::Namespace { inode: INITIAL, .. }))
    }

    /// The current time in ticks since boot, comparable with `starttime`.
    pub(crate) fn boot_ticks(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        // Not negative: the clock starts at 0.
        let nanoseconds = i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec);
        (nanoseconds / i128::from(self.tick_nanoseconds.max(1))) as u64
    }

    /// The time since boot to which start times refer; of a capture, if `uptime` is in it.
    pub(crate) fn since_boot(&self) -> Option<Duration> {
        if self.is_live {
            // `uptime` has hundredths of a second, and can be another file in a container (lxcfs).
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
            return Duration::try_from(now).ok();
        }
        let mut buffer = [0; 64];
        let text = self.read(c"uptime", &mut buffer).value()?;
        let seconds = str::from_utf8(text).ok()?.split(' ').next()?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    fn self_thread_count(&self) -> Option<u64> {
        let mut buffer = [0; 1024];
        let bytes = self.read(c"self/stat", &mut buffer).value()?;
        Some(StatCore::parse(bytes).ok()?.num_threads)
    }

    /// The files that this process does not have, though it has `stat`.
    fn missing_files(&self) -> Vec<&'static str> {
        let has = |file: &CStr| {
            let mut name = ProcPath::new();
            let name = name.build(ProcDir::SelfDir, file);
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            !matches!(rustix::fs::statat(&self.dir, name, flags), Err(Errno::NOENT))
        };
        let files = [c"io", c"statm", c"fd", c"task", NETNS];
        let missing = files.into_iter().filter(|file| has(c"stat") && !has(file));
        missing.filter_map(|file| file.to_str().ok()).collect()
    }

    /// The outcome for a file that does not exist in the directory of a process.
    fn without_file<T>(&self, process: ProcDir) -> Outcome<T> {
        without_file(&self.dir, ProcPath::new().build(process, c"stat"))
    }

    /// Opens a file of a process by its path.
    pub(crate) fn open_file(
        &self,
        process: ProcDir,
        file: &CStr,
        flags: OFlags,
    ) -> Outcome<OwnedFd> {
        let mut name = ProcPath::new();
        match self.open_in(&self.dir, name.build(process, file), flags) {
            Err(Errno::NOENT) => self.without_file(process),
            opened => opened.into(),
        }
    }

    /// stat(2) of a file of a process by its path.
    pub(crate) fn stat_file(&self, process: ProcDir, file: &CStr) -> Outcome<rustix::fs::Stat> {
        let mut name = ProcPath::new();
        let name = name.build(process, file);
        match self.try_statat(name) {
            Err(Errno::NOENT) => self.without_file(process),
            stat => stat.into(),
        }
    }

    /// stat(2) of a path relative to `/proc`.
    pub(crate) fn statat(&self, path: &CStr) -> Outcome<rustix::fs::Stat> {
        self.try_statat(path).into()
    }

    fn try_statat(&self, path: &CStr) -> Result<rustix::fs::Stat, Errno> {
        if self.is_live {
            return rustix::fs::statat(&self.dir, path, rustix::fs::AtFlags::empty());
        }
        rustix::fs::fstat(capture::open(&self.dir, path, OFlags::PATH)?)
    }

    /// Opens a path relative to a directory of this procfs. The entries of a captured one can be
    /// anything: see [`capture`].
    pub(crate) fn open_in(
        &self,
        dir: impl AsFd,
        path: &CStr,
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        if self.is_live {
            return rustix::fs::openat(dir, path, flags, Mode::empty());
        }
        capture::open(dir, path, flags)
    }

    /// The inode of a process's network namespace, from `ns/net`. Needs ptrace
    /// access (`PTRACE_MODE_READ`). A kernel without network namespaces has one for all.
    pub(crate) fn read_netns(&self, process: ProcDir) -> Outcome<u32> {
        if self.missing.iter().any(|file| file.as_bytes() == NETNS.to_bytes()) {
            return Outcome::Value(ONLY_NETNS);
        }
        let mut name = ProcPath::new();
        let mut buffer = [0; 64];
        let name = name.build(process, NETNS);
        let link = if self.is_live {
            read_link(&self.dir, name, &mut buffer)
        } else {
            match capture::open(&self.dir, name, OFlags::PATH) {
                Ok(link) => read_link(&link, c"", &mut buffer),
                Err(errno) => errno.into(),
            }
        };
        // A zombie has the file, and has exited for the kernel.
        if link.is_exited() && !self.is_live {
            return self.without_file(process);
        }
        link.and_then(|link| match FdTarget::parse(link) {
            // The kernel assigns these inodes from 32 bits.
            FdTarget::Namespace { inode, .. } => {
                Outcome::from(u32::try_from(inode).map_err(|_| Errno::OVERFLOW))
            }
            _ => Errno::INVAL.into(),
        })
    }

    /// Reads a whole small file. It is empty if the process has exited.
    pub(crate) fn read<'b>(&self, name: &CStr, buffer: &'b mut [u8]) -> Outcome<&'b [u8]> {
        match self.open_in(&self.dir, name, READ) {
            Ok(file) => pread_start(&file, buffer),
            Err(errno) => errno.into(),
        }
    }

    /// The TCP counters of the network namespace of a process.
    pub(crate) fn read_tcp_counters(
        &self,
        process: ProcDir,
        buffer: &mut [u8],
    ) -> Option<TcpCounters> {
        TcpCounters::parse(self.read_net(process, c"net/snmp", buffer)?).ok()
    }

    /// Reads a small file of a network namespace. It is not kept open, since a descriptor
    /// would keep the namespace alive.
    pub(crate) fn read_net<'b>(
        &self,
        process: ProcDir,
        file: &CStr,
        buffer: &'b mut [u8],
    ) -> Option<&'b [u8]> {
        let name = &mut ProcPath::new();
        let file = self.open_in(&self.dir, name.build(process, file), READ);
        let file = file.ok()?;
        loop {
            // Not pread, which some kernels refuse here.
            match rustix::io::read(&file, &mut *buffer) {
                Ok(length) => return buffer.get(..length),
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// Reads a small file of a process.
    pub(crate) fn read_process_file<'b>(
        &self,
        pid: u32,
        file: &CStr,
        buffer: &'b mut [u8],
    ) -> Outcome<&'b [u8]> {
        let mut name = ProcPath::new();
        self.read(name.build(ProcDir::Pid(pid), file), buffer)
    }
}

/// The link that identifies the network namespace.
const NETNS: &CStr = c"ns/net";
/// Stands for the inode of a kernel's only network namespace; 0 means none.
const ONLY_NETNS: u32 = 1;

/// Whether CPU clocks show a run that is shorter than a tick, by this process's own, which it reads
/// for some microseconds. Some kernels have no clock for that, and emulations of Linux count ticks.
fn has_fine_cpu_clock() -> bool {
    const READINGS: usize = 64;
    let mut last = None;
    let steps = (0..READINGS).filter(|_| {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        last.replace(now) != Some(now)
    });
    steps.count() > READINGS / 4
}

/// The outcome for a file that does not exist. Either the process has exited, or, if its `stat`
/// exists, it has no such file: the kernel lacks it, or a captured procfs has no copy.
pub(crate) fn without_file<T>(dir: impl AsFd, stat: &CStr) -> Outcome<T> {
    match rustix::fs::statat(dir, stat, rustix::fs::AtFlags::empty()) {
        Ok(_) => Outcome::Denied,
        Err(errno) => errno.into(),
    }
}

/// Flags for reading a file of procfs.
pub(crate) const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);
/// Flags for a descriptor that only names a directory: it needs no permission
/// for the directory, and `fstat` and `openat` work on it.
pub(crate) const O_PATH_DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Reads, from the start, a file that the kernel generates at each read.
pub(crate) fn pread_start(file: impl AsFd, buffer: &mut [u8]) -> Outcome<&[u8]> {
    loop {
        match rustix::io::pread(&file, &mut *buffer, 0) {
            Ok(0) => return Outcome::Exited,
            Ok(n) => return Outcome::Value(buffer.get(..n).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(errno) => return errno.into(),
        }
    }
}

/// Reads a link of `/proc/PID/fd` or `/proc/PID/ns`. Never blocks. A link
/// longer than the buffer is truncated.
pub(crate) fn read_link<'b>(
    dir: impl AsFd,
    name: &CStr,
    buffer: &'b mut [u8],
) -> Outcome<&'b [u8]> {
    let result = rustix::fs::readlinkat_raw(dir, name, &mut *buffer);
    Outcome::from(result).map(|n| buffer.get(..n).unwrap_or_default())
}

/// The number of links. Its type differs between architectures.
pub(crate) fn links(stat: &rustix::fs::Stat) -> u64 {
    fn widen(links: impl Into<u64>) -> u64 {
        links.into()
    }
    widen(stat.st_nlink)
}

/// A directory of a process in `/proc`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ProcDir {
    /// `/proc/self`
    SelfDir,
    /// `/proc/PID`
    Pid(u32),
    /// `/proc/PID/task/TID`
    Thread(u32, u32),
}

/// A buffer for paths such as `1234/ns/net`, relative to `/proc`, which are built
/// without allocation.
pub(crate) struct ProcPath([u8; 64]);

impl ProcPath {
    pub(crate) fn new() -> ProcPath {
        ProcPath([0; 64])
    }

    /// The path of `file` in a process's directory; of the directory itself if
    /// `file` is empty.
    pub(crate) fn build(&mut self, process: ProcDir, file: &CStr) -> &CStr {
        let mut end = 0;
        match process {
            ProcDir::SelfDir => self.push(&mut end, b"self"),
            ProcDir::Pid(pid) => self.push_number(&mut end, pid),
            ProcDir::Thread(pid, tid) => {
                self.push_number(&mut end, pid);
                self.push(&mut end, b"/task/");
                self.push_number(&mut end, tid);
            }
        }
        if !file.is_empty() {
            self.push(&mut end, b"/");
            self.push(&mut end, file.to_bytes());
        }
        self.push(&mut end, b"\0");
        // 10 digits, "/task/", 10 digits and a file name of at most 20 bytes fit.
        // Otherwise the empty path is an error at open.
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }

    /// The path `TID/status` in the directory `task`.
    pub(crate) fn thread_status(&mut self, tid: u32) -> &CStr {
        let mut end = 0;
        self.push_number(&mut end, tid);
        self.push(&mut end, b"/status\0");
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }

    fn push(&mut self, end: &mut usize, bytes: &[u8]) {
        if let Some(target) = self.0.get_mut(*end..*end + bytes.len()) {
            target.copy_from_slice(bytes);
            *end += bytes.len();
        }
    }

    fn push_number(&mut self, end: &mut usize, number: u32) {
        let mut digits = [0; 10];
        let mut first = digits.len();
        let mut rest = number;
        loop {
            first -= 1;
            // A digit fits a byte.
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.push(end, &digits[first..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_relative_to_proc() {
        let mut name = ProcPath::new();
        assert_eq!(name.build(ProcDir::Pid(1), c"io"), c"1/io");
        assert_eq!(name.build(ProcDir::SelfDir, c"ns/net"), c"self/ns/net");
        assert_eq!(
            name.build(ProcDir::Thread(u32::MAX, u32::MAX), c"statm"),
            c"4294967295/task/4294967295/statm"
        );
        assert_eq!(name.build(ProcDir::Pid(4194304), c""), c"4194304");
    }

    /// A kernel without some options, as a copy of its files. A copy is not probed.
    #[test]
    fn files_that_the_kernel_lacks_are_probed() {
        let live = Procfs::open(Path::new("/proc"), FastPaths::ALL).unwrap();
        assert_eq!(live.missing, [""; 0]);
        let proc = psstat_testproc::TempDir::new().unwrap();
        let mut kernel = Procfs::open(proc.path(), FastPaths::ALL).unwrap();
        assert_eq!(kernel.missing_files(), [""; 0], "no process of this pid namespace");
        std::fs::create_dir_all(proc.join("self/task")).unwrap();
        for file in ["stat", "statm"] {
            std::fs::write(proc.join("self").join(file), "").unwrap();
        }
        assert_eq!(kernel.missing_files(), ["io", "fd", "ns/net"]);
        assert_eq!(
            (&*kernel.missing, kernel.read_netns(ProcDir::SelfDir)),
            (&[][..], Outcome::Denied)
        );
        kernel.missing = kernel.missing_files();
        for process in [ProcDir::SelfDir, ProcDir::Pid(1)] {
            assert_eq!(kernel.read_netns(process), Outcome::Value(ONLY_NETNS));
        }
    }

    #[test]
    fn fast_paths_are_probed() {
        let procfs = Procfs::open(Path::new("/proc"), FastPaths::ALL).unwrap();
        assert!(procfs.self_netns.is_some());
        assert!(procfs.fast.thread_count_from_links);
        let none = Procfs::open(Path::new("/proc"), FastPaths::NONE).unwrap();
        assert_eq!(none.fast, FastPaths::NONE);
        let not_procfs = Procfs::open(Path::new("/"), FastPaths::ALL).unwrap();
        assert_eq!(not_procfs.fast, FastPaths::NONE);
    }
}
