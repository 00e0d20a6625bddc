//! Watching a path with inotify(7).
//!
//! A watch belongs to an inode, not to a path. One watch on the file reports
//! writes. One watch on every directory of the path, links resolved, reports
//! that a name of the path refers to another inode: the file was renamed over,
//! a link was switched, a directory was replaced, removed and recreated, or
//! created for the first time.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};
use rustix::io::Errno;

use super::path_walk::walk;
use super::{EventSummary, InotifyLimit};

/// Buffer size in bytes, enough for several hundred events per read.
const BUFFER_SIZE: usize = 16 << 10;
/// Reads per call, so that a flood of events costs little: about a thousand are read.
/// The kernel drops further events when its queue is full.
const MAX_READS: usize = 3;

#[derive(Debug)]
pub(crate) struct Watch {
    path: PathBuf,
    /// `None` if the kernel refused an instance; requested again by each
    /// [`update_watches`](Self::update_watches).
    inotify: Option<Inotify>,
    directories: Vec<WatchEntry>,
    file: Option<WatchDescriptor>,
    /// The file's inode when `file` was set.
    file_inode: Option<Inode>,
    /// Written since the last close by a writer.
    being_written: bool,
    limit_reached: Option<InotifyLimit>,
}

/// Device and inode number.
type Inode = (u64, u64);

/// A directory of the path and the relevant names in it.
#[derive(Debug)]
struct WatchEntry {
    directory: PathBuf,
    /// Its inode when the watch was set; `None` if it was missing.
    inode: Option<Inode>,
    /// `None` if it cannot be watched.
    descriptor: Option<WatchDescriptor>,
    names: Vec<OsString>,
}

impl Watch {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            inotify: None,
            directories: Vec::new(),
            file: None,
            file_inode: None,
            being_written: false,
            limit_reached: None,
        }
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(Inotify::as_fd)
    }

    /// Whether a writer has changed the file and not closed it yet.
    pub(crate) fn is_being_written(&self) -> bool {
        self.being_written
    }

    /// Reads the pending events.
    pub(crate) fn read_events(&mut self) -> EventSummary {
        let mut summary = EventSummary::default();
        let mut buffer = [0; BUFFER_SIZE];
        for _ in 0..MAX_READS {
            let Some(inotify) = &mut self.inotify else { return summary };
            match inotify.read_events(&mut buffer) {
                Ok(events) => {
                    for event in events {
                        let is_file = self.file.as_ref() == Some(&event.wd);
                        if is_file && event.mask.contains(EventMask::MODIFY) {
                            self.being_written = true;
                        } else if is_file && event.mask.contains(EventMask::CLOSE_WRITE) {
                            self.being_written = false;
                        }
                        summary.any = true;
                        summary.overflow |= event.mask.contains(EventMask::Q_OVERFLOW);
                        summary.affected |= is_file || is_relevant(&self.directories, &event);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return summary,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // An unreadable descriptor would wake its poller
                    // indefinitely. The next update requests a new one.
                    self.remove_watches();
                    return EventSummary { any: true, affected: true, overflow: true };
                }
            }
        }
        // Those that are left may affect the path.
        summary.overflow = true;
        summary
    }

    /// The kernel limit that prevented some of the watches.
    pub(crate) fn limit_reached(&self) -> Option<InotifyLimit> {
        self.limit_reached
    }

    /// Whether the file had this inode when its watch was set.
    pub(crate) fn is_active(&self, inode: Option<Inode>) -> bool {
        self.file_inode == inode
    }

    /// Sets the watches that the path needs now and removes all others.
    ///
    /// Unless `changed`, it first checks whether the watched directories are
    /// still those of the path. If so, it returns after one `stat` per
    /// directory, without an allocation.
    ///
    /// If the kernel's limit on watches is reached, the watches set so far
    /// stay. The rest of the path is polled, and its watches are requested
    /// again by the next call.
    pub(crate) fn update_watches(&mut self, changed: bool) {
        if !changed && self.is_up_to_date() {
            return;
        }
        self.limit_reached = None;
        if self.inotify.is_none() {
            match Inotify::init() {
                Ok(inotify) => self.inotify = Some(inotify),
                Err(_) => self.limit_reached = Some(InotifyLimit::Instances),
            }
        }
        let Some(inotify) = &self.inotify else { return };
        let mut setup = WatchSetup { watches: inotify.watches(), limit_hit: false };
        let mut directories: Vec<WatchEntry> = Vec::new();
        let resolved = walk(&self.path, |component| {
            // First the inode, then the watch: if the directory is replaced in
            // between, the next update finds the difference.
            let inode = inode_of(&component.directory);
            // The same inode returns the same descriptor again.
            let descriptor = setup.add(&component.directory, directory_mask());
            let is_same = |entry: &&mut WatchEntry| {
                if descriptor.is_some() {
                    entry.descriptor == descriptor
                } else {
                    entry.directory == component.directory
                }
            };
            match directories.iter_mut().find(is_same) {
                Some(entry) => entry.names.push(component.name),
                None => directories.push(WatchEntry {
                    directory: component.directory,
                    inode,
                    descriptor,
                    names: vec![component.name],
                }),
            }
        });
        self.file_inode = inode_of(&self.path);
        // A directory in the file's place is already watched as part of the
        // path; a watch with the file's mask would replace its mask.
        let file = if resolved.is_dir() { None } else { setup.add(&resolved, file_mask()) };
        if file != self.file {
            self.being_written = false;
        }
        let previous =
            self.directories.drain(..).filter_map(|w| w.descriptor).chain(self.file.take());
        for descriptor in previous {
            let descriptor = Some(descriptor);
            let is_used =
                file == descriptor || directories.iter().any(|w| w.descriptor == descriptor);
            if let (false, Some(descriptor)) = (is_used, descriptor) {
                // Fails if the kernel removed it together with its inode.
                let _ = setup.watches.remove(descriptor);
            }
        }
        self.limit_reached = setup.limit_hit.then_some(InotifyLimit::Watches);
        self.directories = directories;
        self.file = file;
    }

    /// Whether all directories are watched and have the same inodes as then. A
    /// watch that the kernel removes produces an event.
    fn is_up_to_date(&self) -> bool {
        self.inotify.is_some()
            && self.limit_reached.is_none()
            && !self.directories.is_empty()
            && self.directories.iter().all(|w| inode_of(&w.directory) == w.inode)
    }

    fn remove_watches(&mut self) {
        self.inotify = None;
        self.directories.clear();
        self.file = None;
        self.file_inode = None;
        self.being_written = false;
    }
}

/// One update of the watches.
struct WatchSetup {
    watches: Watches,
    /// The kernel refused a watch because of a limit.
    limit_hit: bool,
}

impl WatchSetup {
    fn add(&mut self, path: &Path, mask: WatchMask) -> Option<WatchDescriptor> {
        match self.watches.add(path, mask) {
            Ok(descriptor) => Some(descriptor),
            Err(error) => {
                // Other errors are caused by the path: missing, not a
                // directory, permission denied.
                let errno = Errno::from_io_error(&error);
                self.limit_hit |= matches!(errno, Some(Errno::NOSPC | Errno::NOMEM));
                None
            }
        }
    }
}

fn inode_of(path: &Path) -> Option<Inode> {
    std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

fn directory_mask() -> WatchMask {
    WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::ATTRIB
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR
}

fn file_mask() -> WatchMask {
    WatchMask::MODIFY
        | WatchMask::CLOSE_WRITE
        | WatchMask::ATTRIB
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::DONT_FOLLOW
}

/// Whether an event of a directory affects the path. Unrelated files in the
/// same directories produce events too.
fn is_relevant(directories: &[WatchEntry], event: &inotify::Event<&OsStr>) -> bool {
    let Some(entry) = directories.iter().find(|w| w.descriptor.as_ref() == Some(&event.wd)) else {
        // Left over from a watch that was removed.
        return false;
    };
    // An event without a name is about the directory itself (IN_IGNORED,
    // IN_MOVE_SELF, IN_UNMOUNT).
    event.name.is_none_or(|name| entry.names.iter().any(|n| n.as_os_str() == name))
}
