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
use std::path::{Path, PathBuf};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};

use super::route::walk;

/// Room for some hundred events; more are read in turns.
const BUFFER: usize = 16 << 10;
/// Turns of reading a drain: an endless stream of events must not hold us.
const TURNS: usize = 64;

#[derive(Debug)]
pub(crate) struct Watch {
    path: PathBuf,
    /// `None` where the kernel gives none; asked for again at each arming.
    inotify: Option<Inotify>,
    directories: Vec<Watched>,
    file: Option<WatchDescriptor>,
    /// Written and not closed since.
    being_written: bool,
}

/// A directory and the names in it that matter.
#[derive(Debug)]
struct Watched {
    descriptor: WatchDescriptor,
    names: Vec<OsString>,
}

impl Watch {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, inotify: None, directories: Vec::new(), file: None, being_written: false }
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(Inotify::as_fd)
    }

    /// Whether somebody has written the file and not closed it since.
    pub(crate) fn is_being_written(&self) -> bool {
        self.being_written
    }

    /// Takes all events and says whether one of them concerns the path.
    pub(crate) fn drain(&mut self) -> bool {
        let mut touched = false;
        let mut buffer = [0; BUFFER];
        for _ in 0..TURNS {
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
                        touched |= file || concerns(&self.directories, &event);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return touched,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // A descriptor that cannot be read would wake its owner
                    // for ever. The next arming asks for a new one.
                    self.forget();
                    return true;
                }
            }
        }
        touched
    }

    /// Sets the watches that the path needs now and removes all others.
    ///
    /// Where the kernel has none left, those it gave stay; the rest is left
    /// to looking.
    pub(crate) fn arm(&mut self) {
        if self.inotify.is_none() {
            self.inotify = Inotify::init().ok();
        }
        let Some(inotify) = &self.inotify else { return };
        let mut watches = inotify.watches();
        let mut directories: Vec<Watched> = Vec::new();
        let end = walk(&self.path, |step| {
            // The same inode gives the same descriptor again.
            let Ok(descriptor) = watches.add(&step.directory, directory_mask()) else { return };
            match directories.iter_mut().find(|w| w.descriptor == descriptor) {
                Some(watched) => watched.names.push(step.name),
                None => directories.push(Watched { descriptor, names: vec![step.name] }),
            }
        });
        let file = add_file(&mut watches, &end);
        if file != self.file {
            self.being_written = false;
        }
        let stale = self.directories.drain(..).map(|w| w.descriptor).chain(self.file.take());
        for descriptor in stale {
            let kept = file.as_ref() == Some(&descriptor)
                || directories.iter().any(|w| w.descriptor == descriptor);
            if !kept {
                // Fails where the kernel removed it with its inode.
                let _ = watches.remove(descriptor);
            }
        }
        self.directories = directories;
        self.file = file;
    }

    fn forget(&mut self) {
        self.inotify = None;
        self.directories.clear();
        self.file = None;
        self.being_written = false;
    }
}

fn add_file(watches: &mut inotify::Watches, path: &Path) -> Option<WatchDescriptor> {
    // A directory in the file's place is one of the names on the way; to
    // watch it as a file would replace its own mask.
    if path.is_dir() {
        return None;
    }
    watches.add(path, file_mask()).ok()
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
fn concerns(directories: &[Watched], event: &inotify::Event<&OsStr>) -> bool {
    if event.mask.contains(EventMask::Q_OVERFLOW) {
        return true;
    }
    let Some(watched) = directories.iter().find(|w| w.descriptor == event.wd) else {
        // Left over from a watch that was removed.
        return false;
    };
    // Without a name the directory itself is meant (IN_IGNORED, IN_MOVE_SELF,
    // IN_UNMOUNT).
    event.name.is_none_or(|name| watched.names.iter().any(|n| n.as_os_str() == name))
}
