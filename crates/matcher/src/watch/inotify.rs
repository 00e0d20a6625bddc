//! Watching paths with inotify(7).
//!
//! A watch belongs to an inode, not to a path. One watch on a file reports
//! writes. One watch on every directory of its path, links resolved, reports
//! that a name of the path refers to another inode: the file was renamed over,
//! a link was switched, a directory was replaced, removed and recreated, or
//! created for the first time.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};
use rustix::io::Errno;

use super::path_walk::walk;
use super::{EventSummary, InotifyLimit};
use crate::sources::is_conf_name;

/// Buffer size in bytes, enough for several hundred events per read.
const BUFFER_SIZE: usize = 16 << 10;
/// Reads per call, so that a flood of events costs little: about a thousand are read.
/// The kernel drops further events when its queue is full.
const MAX_READS: usize = 3;

/// An inotify instance.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    /// `None` if the kernel refused an instance; requested again by each
    /// [`start`](Self::start).
    inotify: Option<Inotify>,
    is_refused: bool,
}

/// An event of a watch.
pub(crate) type Event<'a> = inotify::Event<&'a OsStr>;
/// Where watches are set.
pub(crate) type WatchSet = Watches;
/// A watch.
pub(crate) type Descriptor = WatchDescriptor;

impl Notifier {
    /// Requests an instance, unless there is one.
    pub(crate) fn start(&mut self) {
        if self.inotify.is_none() {
            self.inotify = Inotify::init().ok();
            self.is_refused = self.inotify.is_none();
        }
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(Inotify::as_fd)
    }

    pub(crate) fn watch_set(&self) -> Option<WatchSet> {
        self.inotify.as_ref().map(Inotify::watches)
    }

    /// The kernel limit that prevented an instance.
    pub(crate) fn limit_reached(&self) -> Option<InotifyLimit> {
        self.is_refused.then_some(InotifyLimit::Instances)
    }

    /// Removes a watch. Fails if the kernel removed it together with its inode.
    pub(crate) fn remove(&self, descriptor: Descriptor) {
        if let Some(inotify) = &self.inotify {
            let _ = inotify.watches().remove(descriptor);
        }
    }

    /// Reads the pending events.
    pub(crate) fn read_events(&mut self, on_event: &mut dyn FnMut(&Event<'_>)) -> EventSummary {
        let mut summary = EventSummary::default();
        let mut buffer = [0; BUFFER_SIZE];
        for _ in 0..MAX_READS {
            let Some(inotify) = &mut self.inotify else { return summary };
            match inotify.read_events(&mut buffer) {
                Ok(events) => {
                    for event in events {
                        summary.any = true;
                        summary.overflow |= event.mask.contains(EventMask::Q_OVERFLOW);
                        on_event(&event);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return summary,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // An unreadable descriptor would wake its poller
                    // indefinitely. The next start requests a new one.
                    self.inotify = None;
                    return EventSummary { any: true, overflow: true };
                }
            }
        }
        // Those that are left may affect any path.
        summary.overflow = true;
        summary
    }
}

/// The watches of a path.
#[derive(Debug)]
pub(crate) struct PathWatch {
    path: Arc<Path>,
    /// A file of a directory whose path has watches of its own: only the
    /// directory's and those of a link's target are needed.
    is_entry: bool,
    directories: Vec<WatchEntry>,
    file: Option<WatchDescriptor>,
    /// The file's inode when `file` was set.
    file_inode: Option<Inode>,
    /// Written since the last close by a writer.
    being_written: bool,
    limit_reached: bool,
    /// The watches were set.
    is_set: bool,
    /// Watches that are no longer needed.
    obsolete: Vec<WatchDescriptor>,
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
    /// All names of config files are relevant too.
    has_conf_files: bool,
    /// The directory's path is checked by another watch.
    is_checked_elsewhere: bool,
}

impl PathWatch {
    pub(crate) fn new(path: Arc<Path>, is_entry: bool) -> Self {
        Self {
            path,
            is_entry,
            directories: Vec::new(),
            file: None,
            file_inode: None,
            being_written: false,
            limit_reached: false,
            is_set: false,
            obsolete: Vec::new(),
        }
    }

    /// Whether a writer has changed the file and not closed it yet.
    pub(crate) fn is_being_written(&self) -> bool {
        self.being_written
    }

    /// The kernel limit that prevented some of the watches.
    pub(crate) fn limit_reached(&self) -> Option<InotifyLimit> {
        self.limit_reached.then_some(InotifyLimit::Watches)
    }

    /// Whether the file had this inode when its watch was set.
    pub(crate) fn is_active(&self, inode: Option<Inode>) -> bool {
        self.file_inode == inode
    }

    /// Whether an event affects the path. Unrelated files in the same
    /// directories produce events too.
    pub(crate) fn is_affected(&mut self, event: &Event<'_>) -> bool {
        if self.file.as_ref() == Some(&event.wd) {
            if event.mask.contains(EventMask::MODIFY) {
                self.being_written = true;
            } else if event.mask.contains(EventMask::CLOSE_WRITE) {
                self.being_written = false;
            }
            return true;
        }
        let Some(entry) =
            self.directories.iter().find(|w| w.descriptor.as_ref() == Some(&event.wd))
        else {
            // Of another path, or left over from a watch that was removed.
            return false;
        };
        // An event without a name is about the directory itself (IN_IGNORED,
        // IN_MOVE_SELF, IN_UNMOUNT).
        event.name.is_none_or(|name| {
            entry.names.iter().any(|n| n.as_os_str() == name)
                || (entry.has_conf_files
                    && !event.mask.contains(EventMask::ATTRIB)
                    && is_conf_name(name))
        })
    }

    /// Whether it needs a watch.
    pub(crate) fn uses(&self, descriptor: &Descriptor) -> bool {
        self.file.as_ref() == Some(descriptor)
            || self.directories.iter().any(|w| w.descriptor.as_ref() == Some(descriptor))
    }

    /// Takes the watches that it no longer needs. Another path may need them.
    pub(crate) fn take_obsolete(&mut self) -> Option<Descriptor> {
        self.obsolete.pop()
    }

    /// Makes all watches obsolete.
    pub(crate) fn clear(&mut self) {
        let Self { directories, file, obsolete, .. } = self;
        obsolete.extend(directories.drain(..).filter_map(|w| w.descriptor).chain(file.take()));
        self.file_inode = None;
        self.being_written = false;
        self.is_set = false;
    }

    /// Sets the watches that the path needs now.
    ///
    /// Unless `changed`, it first checks whether the watched directories are
    /// still those of the path. If so, it returns after one `stat` per
    /// directory, without an allocation.
    ///
    /// If the kernel's limit on watches is reached, the watches set so far
    /// stay. The rest of the path is polled, and its watches are requested
    /// again by the next call.
    pub(crate) fn update(&mut self, watch_set: Option<&WatchSet>, changed: bool) {
        if !changed && self.is_up_to_date() {
            return;
        }
        self.limit_reached = false;
        let Some(watch_set) = watch_set else { return };
        let mut setup = WatchSetup { watches: watch_set.clone(), limit_hit: false };
        let mut directories: Vec<WatchEntry> = Vec::new();
        let mut add = |setup: &mut WatchSetup, directory: PathBuf, name: Option<OsString>| {
            // First the inode, then the watch: if the directory is replaced in
            // between, the next update finds the difference.
            let inode = inode_of(&directory);
            // The same inode returns the same descriptor again.
            let descriptor = setup.add(&directory, directory_mask());
            let is_same = |entry: &&mut WatchEntry| {
                if descriptor.is_some() {
                    entry.descriptor == descriptor
                } else {
                    entry.directory == directory
                }
            };
            let has_conf_files = name.is_none();
            match directories.iter_mut().find(is_same) {
                Some(entry) => {
                    entry.names.extend(name);
                    entry.has_conf_files |= has_conf_files;
                }
                None => directories.push(WatchEntry {
                    directory,
                    inode,
                    descriptor,
                    names: name.into_iter().collect(),
                    has_conf_files,
                    is_checked_elsewhere: false,
                }),
            }
        };
        let is_link = || std::fs::symlink_metadata(&self.path).is_ok_and(|m| m.is_symlink());
        let parent = self.path.parent().zip(self.path.file_name());
        let resolved = match parent.filter(|_| self.is_entry && !is_link()) {
            Some((directory, name)) => {
                add(&mut setup, directory.to_owned(), Some(name.to_owned()));
                directories.iter_mut().for_each(|entry| entry.is_checked_elsewhere = true);
                self.path.to_path_buf()
            }
            None => walk(&self.path, |component| {
                add(&mut setup, component.directory, Some(component.name));
            }),
        };
        self.file_inode = inode_of(&self.path);
        // A directory in the file's place can be watched as part of the path; a
        // watch with the file's mask would replace its mask.
        let file = if !resolved.is_dir() {
            setup.add(&resolved, file_mask())
        } else {
            if !self.is_entry {
                let inode = inode_of(&resolved);
                let descriptor = setup.add(&resolved, directory_mask());
                match directories.iter_mut().find(|w| w.descriptor == descriptor) {
                    Some(entry) if descriptor.is_some() => entry.has_conf_files = true,
                    _ => directories.push(WatchEntry {
                        directory: resolved,
                        inode,
                        descriptor,
                        names: Vec::new(),
                        has_conf_files: true,
                        is_checked_elsewhere: false,
                    }),
                }
            }
            None
        };
        if file != self.file {
            self.being_written = false;
        }
        let previous =
            self.directories.drain(..).filter_map(|w| w.descriptor).chain(self.file.take());
        for descriptor in previous {
            let is_used = file.as_ref() == Some(&descriptor)
                || directories.iter().any(|w| w.descriptor.as_ref() == Some(&descriptor));
            if !is_used {
                self.obsolete.push(descriptor);
            }
        }
        self.limit_reached = setup.limit_hit;
        self.directories = directories;
        self.file = file;
        self.is_set = true;
    }

    /// Whether all directories are watched and have the same inodes as then. A
    /// watch that the kernel removes produces an event.
    fn is_up_to_date(&self) -> bool {
        self.is_set
            && !self.limit_reached
            && (self.directories.iter())
                .all(|w| w.is_checked_elsewhere || inode_of(&w.directory) == w.inode)
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
