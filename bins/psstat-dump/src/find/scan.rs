//! The descriptors of all processes: one pass over `/proc/PID/fd`, in a thread that is abandoned
//! if it blocks.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::Arc;

use psstat_proc_parse::FdTarget;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::paths::{self, FileId, PathTarget};
use crate::blocking;
use crate::process_report::{Files, ReadError, Target, descriptor_kind};

/// The search. The numbers are those of the arguments.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    /// Whether sockets are needed, to compare their inodes with the tables.
    pub(super) sockets: bool,
    pub(super) inodes: Vec<(usize, u64)>,
    pub(super) paths: Vec<(usize, PathTarget)>,
}

/// How a process holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HeldBy {
    /// The program that it runs.
    Exe,
    /// Its working directory.
    Cwd,
    /// Its root directory.
    Root,
    /// An open descriptor.
    Fd(u32),
}

/// A file or a pipe that was searched for.
#[derive(Clone, Debug)]
pub(crate) struct HeldFile {
    pub(super) target: usize,
    pub(crate) held_by: HeldBy,
    pub(crate) kind: &'static str,
    /// The path or, of a pipe, the text of its link.
    pub(crate) path: Vec<u8>,
    pub(crate) is_deleted: bool,
    pub(crate) inode: Option<u64>,
    /// `r`, `w` or `rw`.
    pub(crate) access: Option<&'static str>,
}

/// The objects of one process.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The inode of its network namespace.
    pub(super) namespace: Option<u64>,
    /// Descriptors and inodes.
    pub(super) sockets: Vec<(u32, u64)>,
    pub(super) files: Vec<HeldFile>,
}

/// The objects of each of these processes.
pub(super) fn scan(
    proc: &Path,
    pids: &[u32],
    query: Query,
) -> Result<Vec<Result<Held, ReadError>>, Errno> {
    if crate::measure::is_capture(proc) {
        return Ok(pids.iter().map(|&pid| in_capture(proc, pid, &query)).collect());
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let scanner = Arc::new(Scanner { proc: rustix::fs::open(proc, flags, Mode::empty())?, query });
    // A link of a descriptor takes the same lock as the other links.
    let read = &|pids: &[u32]| {
        let scanner = Arc::clone(&scanner);
        blocking::read_each(pids, "fd/", move |pid| scanner.read(pid))
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let mut parts = pids.chunks(pids.len().div_ceil(cpus).max(MIN_PROCESSES));
    let first = parts.next().unwrap_or_default();
    let results = std::thread::scope(|scope| {
        let start = |part| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, move || read(part));
            (part, thread)
        };
        let others: Vec<_> = parts.map(start).collect();
        let mut results = read(first);
        for (part, thread) in others {
            // Without another thread, this one reads them.
            let of_part = thread.ok().and_then(|thread| thread.join().ok());
            results.extend(of_part.unwrap_or_else(|| read(part)));
        }
        results
    });
    Ok(results.into_iter().map(|result| result.unwrap_or(Err(ReadError::Blocked))).collect())
}

/// The limit of threads that read at the same time.
const MAX_THREADS: usize = 4;
/// The number of processes from which on another thread reads some of them.
const MIN_PROCESSES: usize = 200;

struct Scanner {
    proc: OwnedFd,
    query: Query,
}

impl Scanner {
    fn read(&self, pid: u32) -> Result<Held, ReadError> {
        let mut held = Held::default();
        let count = self.read_descriptors(pid, &format!("{pid}/fd"), &mut held)?;
        if count == 0 {
            // The main thread has exited, and others live.
            self.read_threads(pid, &mut held);
        }
        if self.query.sockets && !held.sockets.is_empty() {
            let mut buffer = [MaybeUninit::uninit(); 64];
            let link = rustix::fs::readlinkat_raw(&self.proc, format!("{pid}/ns/net"), &mut buffer);
            held.namespace = link.ok().and_then(|(link, _)| namespace(link));
        }
        if !self.query.paths.is_empty() || !self.query.inodes.is_empty() {
            for (name, by) in [("exe", HeldBy::Exe), ("cwd", HeldBy::Cwd), ("root", HeldBy::Root)] {
                let link = rustix::fs::readlinkat(&self.proc, format!("{pid}/{name}"), Vec::new());
                if let Ok(link) = link
                    && !(by == HeldBy::Root && link.to_bytes() == b"/")
                {
                    self.file(
                        pid,
                        &self.proc,
                        &format!("{pid}/{name}"),
                        link.to_bytes(),
                        by,
                        &mut held,
                    );
                }
            }
        }
        Ok(held)
    }

    fn read_threads(&self, pid: u32, held: &mut Held) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let task = rustix::fs::openat(&self.proc, format!("{pid}/task"), flags, Mode::empty());
        let Ok(task) = task else { return };
        let Ok(threads) = rustix::fs::Dir::read_from(&task) else { return };
        for thread in threads.map_while(Result::ok) {
            let tid = thread.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok());
            let Some(tid) = tid.filter(|tid| *tid != pid) else { continue };
            let path = format!("{pid}/task/{tid}/fd");
            if self.read_descriptors(pid, &path, held).is_ok_and(|count| count > 0) {
                return;
            }
        }
    }

    /// Reads the links in a directory. Returns their number.
    fn read_descriptors(&self, pid: u32, path: &str, held: &mut Held) -> Result<usize, ReadError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&self.proc, path, flags, Mode::empty())?;
        let mut entries = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(&dir, &mut entries);
        let mut link = [MaybeUninit::uninit(); 4096];
        let mut count = 0;
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                // It exited, or it is a thread without descriptors.
                Err(Errno::NOENT | Errno::SRCH) => break,
                Err(errno) => return Err(errno.into()),
            };
            let name = entry.file_name();
            let Some(fd) = name.to_str().ok().and_then(|name| name.parse().ok()) else { continue };
            count += 1;
            match rustix::fs::readlinkat_raw(&dir, name, &mut link) {
                Ok((link, _)) => self.link(pid, &dir, name, fd, link, held),
                // It was closed in the meantime.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(count)
    }

    fn link(&self, pid: u32, dir: &OwnedFd, name: &CStr, fd: u32, link: &[u8], held: &mut Held) {
        if link.first() == Some(&b's')
            && let FdTarget::Socket(inode) = FdTarget::parse(link)
        {
            if self.query.sockets {
                held.sockets.push((fd, inode));
            }
        } else if !self.query.paths.is_empty() || !self.query.inodes.is_empty() {
            let before = held.files.len();
            self.file(pid, dir, name, link, HeldBy::Fd(fd), held);
            if held.files.len() > before {
                let access = access(dir, name);
                held.files.iter_mut().skip(before).for_each(|file| file.access = access);
            }
        }
    }

    /// Adds a file or a pipe for each target that it belongs to.
    fn file(
        &self,
        pid: u32,
        dir: &OwnedFd,
        name: impl rustix::path::Arg + Copy,
        link: &[u8],
        held_by: HeldBy,
        held: &mut Held,
    ) {
        let is_path = link.starts_with(b"/");
        let file = is_path.then(|| FileId::at(dir, name)).flatten();
        let has_same_mounts = || self.has_same_mounts(pid);
        add_matches(&self.query, link, file.as_ref(), held_by, has_same_mounts, held);
    }

    fn has_same_mounts(&self, pid: u32) -> bool {
        let link = |path: String| rustix::fs::readlinkat(&self.proc, path, Vec::new());
        let own = link("self/ns/mnt".to_owned());
        own.is_ok_and(|own| link(format!("{pid}/ns/mnt")).is_ok_and(|other| other == own))
    }
}

/// Adds a file or a pipe for each target that it belongs to.
fn add_matches(
    query: &Query,
    link: &[u8],
    file: Option<&FileId>,
    held_by: HeldBy,
    has_same_mounts: impl Fn() -> bool,
    held: &mut Held,
) {
    let inode = match FdTarget::parse(link) {
        FdTarget::Pipe(inode) => Some(inode),
        _ => file.map(|file| file.inode),
    };
    let by_inode = query.inodes.iter().filter(|(_, query)| Some(*query) == inode);
    let by_path = query
        .paths
        .iter()
        .filter(|(_, path)| link.starts_with(b"/") && path.contains(link, file, &has_same_mounts));
    let targets = by_inode.map(|(target, _)| *target).chain(by_path.map(|(target, _)| *target));
    for target in targets {
        held.files.push(HeldFile {
            target,
            held_by,
            kind: kind(link, file),
            path: paths::without_deleted(link, file).to_vec(),
            is_deleted: paths::is_deleted(link, file),
            inode,
            access: None,
        });
    }
}

fn kind(link: &[u8], file: Option<&FileId>) -> &'static str {
    if file.is_some_and(|file| file.file_type == rustix::fs::FileType::Directory) {
        return "directory";
    }
    let target = file.map(|file| Target {
        file_type: file.file_type,
        device: file.device,
        links: file.links,
    });
    match descriptor_kind(link, target) {
        // The state says that.
        "deleted file" => "file",
        kind => kind,
    }
}

/// How a descriptor is opened, from the permissions of its link.
fn access(dir: &OwnedFd, name: &CStr) -> Option<&'static str> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    match (mode.contains(Mode::RUSR), mode.contains(Mode::WUSR)) {
        (true, true) => Some("rw"),
        (true, false) => Some("r"),
        (false, true) => Some("w"),
        // O_PATH
        (false, false) => None,
    }
}

/// The inode in `net:[4026531840]`.
pub(super) fn namespace(link: &[u8]) -> Option<u64> {
    match FdTarget::parse(link) {
        FdTarget::Namespace { inode, .. } => Some(inode),
        _ => None,
    }
}

/// The objects of a process of a capture, which has the links but not the files.
fn in_capture(proc: &Path, pid: u32, query: &Query) -> Result<Held, ReadError> {
    let files = Files::open(proc, pid)?;
    let namespace = files.link("ns/net").ok().and_then(|link| namespace(&link));
    let mut held = Held { namespace, ..Held::default() };
    for (fd, link) in files.descriptors()? {
        match FdTarget::parse(&link) {
            FdTarget::Socket(inode) if query.sockets => held.sockets.push((fd, inode)),
            _ => add_matches(query, &link, None, HeldBy::Fd(fd), || true, &mut held),
        }
    }
    Ok(held)
}
