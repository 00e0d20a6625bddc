//! Watching a path with inotify(7).
//!
//! A watch belongs to an inode, not to a path. So there is one on the file,
//! which tells of writing, and one on every directory that the way to it
//! leads through, links resolved, which tells when a name on that way gets
//! another meaning: the file renamed over, a link swapped, a directory
//! replaced, removed and made anew, or appearing for the first time.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};
use rustix::io::Errno;

use super::InotifyLimit;
use super::path_walk::walk;

/// Room for some hundred events; more are read in turns.
const BUFFER: usize = 16 << 10;
/// Turns of reading a drain: an endless stream of events must not hold us.
const MAX_READS: usize = 64;

#[derive(Debug)]
pub(crate) struct Watch {
    path: PathBuf,
    /// `None` where the kernel gives none; asked for again at each arming.
    inotify: Option<Inotify>,
    directories: Vec<WatchEntry>,
    file: Option<WatchDescriptor>,
    /// The inode that `file` was set on, or was to be.
    file_inode: Option<Inode>,
    /// Written and not closed since.
    being_written: bool,
    shortage: Option<InotifyLimit>,
}

/// Device and number.
type Inode = (u64, u64);

/// A directory and the names in it that matter.
#[derive(Debug)]
struct WatchEntry {
    directory: PathBuf,
    /// What it was when the watch was set; `None` where there was nothing.
    inode: Option<Inode>,
    /// `None` where it cannot be watched.
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
            shortage: None,
        }
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(Inotify::as_fd)
    }

    /// Whether somebody has written the file and not closed it since.
    pub(crate) fn is_being_written(&self) -> bool {
        self.being_written
    }

    /// Takes all events and says whether one of them concerns the path.
    pub(crate) fn read_events(&mut self) -> bool {
        let mut touched = false;
        let mut buffer = [0; BUFFER];
        for _ in 0..MAX_READS {
            let Some(inotify) = &mut self.inotify else { return touched };
            match inotify.read_events(&mut buffer) {
                Ok(events) => {
                    for event in events {
                        let file = self.file.as_ref() == Some(&event.wd);
                        if file && event.mask.contains(EventMask::MODIFY) {
                            self.being_written = true;
                        } else if file && event.mask.contains(EventMask::CLOSE_WRITE) {
                            self.being_written = false;
                        }
                        touched |= file || is_relevant(&self.directories, &event);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return touched,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // A descriptor that cannot be read would wake its owner
                    // for ever. The next arming asks for a new one.
                    self.remove_watches();
                    return true;
                }
            }
        }
        touched
    }

    /// What the kernel has too little of for all watches.
    pub(crate) fn shortage(&self) -> Option<InotifyLimit> {
        self.shortage
    }

    /// Whether the file's watch is on this inode, or there is none to watch.
    pub(crate) fn is_active(&self, inode: Option<Inode>) -> bool {
        self.file_inode == inode
    }

    /// Sets the watches that the path needs now and removes all others.
    ///
    /// Unless `changed`, it first looks whether the directories of the way are
    /// still those that are watched, and then does nothing: no allocation, one
    /// `stat` a directory.
    ///
    /// Where the kernel has no watch left, those it gave stay; the rest is left
    /// to looking, and asked for again at the next arming.
    pub(crate) fn update_watches(&mut self, changed: bool) {
        if !changed && self.is_up_to_date() {
            return;
        }
        self.shortage = None;
        if self.inotify.is_none() {
            match Inotify::init() {
                Ok(inotify) => self.inotify = Some(inotify),
                Err(_) => self.shortage = Some(InotifyLimit::Instances),
            }
        }
        let Some(inotify) = &self.inotify else { return };
        let mut arming = WatchSetup { watches: inotify.watches(), limit_hit: false };
        let mut directories: Vec<WatchEntry> = Vec::new();
        let end = walk(&self.path, |step| {
            // First what it is, then the watch: should another take its place
            // between the two, the next look sees that they differ.
            let inode = inode_of(&step.directory);
            // The same inode gives the same descriptor again.
            let descriptor = arming.add(&step.directory, directory_mask());
            let same = |w: &&mut WatchEntry| {
                if descriptor.is_some() {
                    w.descriptor == descriptor
                } else {
                    w.directory == step.directory
                }
            };
            match directories.iter_mut().find(same) {
                Some(watched) => watched.names.push(step.name),
                None => directories.push(WatchEntry {
                    directory: step.directory,
                    inode,
                    descriptor,
                    names: vec![step.name],
                }),
            }
        });
        self.file_inode = inode_of(&self.path);
        // A directory in the file's place is one of the names on the way; to
        // watch it as a file would replace its own mask.
        let file = if end.is_dir() { None } else { arming.add(&end, file_mask()) };
        if file != self.file {
            self.being_written = false;
        }
        let stale = self.directories.drain(..).filter_map(|w| w.descriptor).chain(self.file.take());
        for descriptor in stale {
            let descriptor = Some(descriptor);
            let kept = file == descriptor || directories.iter().any(|w| w.descriptor == descriptor);
            if let (false, Some(descriptor)) = (kept, descriptor) {
                // Fails where the kernel removed it with its inode.
                let _ = arming.watches.remove(descriptor);
            }
        }
        self.shortage = arming.limit_hit.then_some(InotifyLimit::Watches);
        self.directories = directories;
        self.file = file;
    }

    /// Whether everything is watched, and is still what it was then. A watch
    /// that the kernel takes back makes an event.
    fn is_up_to_date(&self) -> bool {
        self.inotify.is_some()
            && self.shortage.is_none()
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

/// Watches that are being set.
struct WatchSetup {
    watches: Watches,
    /// One was refused because there are too many.
    limit_hit: bool,
}

impl WatchSetup {
    fn add(&mut self, path: &Path, mask: WatchMask) -> Option<WatchDescriptor> {
        match self.watches.add(path, mask) {
            Ok(descriptor) => Some(descriptor),
            Err(error) => {
                // Other reasons lie in the path: nothing there, no directory,
                // no right to read it.
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

/// Whether an event of a directory concerns the way. Others' files come and
/// go in the same directories.
fn is_relevant(directories: &[WatchEntry], event: &inotify::Event<&OsStr>) -> bool {
    if event.mask.contains(EventMask::Q_OVERFLOW) {
        return true;
    }
    let Some(watched) = directories.iter().find(|w| w.descriptor.as_ref() == Some(&event.wd))
    else {
        // Left over from a watch that was removed.
        return false;
    };
    // Without a name the directory itself is meant (IN_IGNORED, IN_MOVE_SELF,
    // IN_UNMOUNT).
    event.name.is_none_or(|name| watched.names.iter().any(|n| n.as_os_str() == name))
}
