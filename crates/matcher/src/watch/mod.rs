//! Being told when a path may lead to something new.

use std::fmt;

#[cfg(feature = "inotify")]
mod inotify;
#[cfg(feature = "inotify")]
mod path_walk;

#[cfg(feature = "inotify")]
pub(crate) use inotify::Watch;
#[cfg(not(feature = "inotify"))]
pub(crate) use noop::Watch;

/// What the kernel has too little of to tell of every change at once.
///
/// [`Display`](fmt::Display) says how to give it more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InotifyLimit {
    /// inotify(7) instances, or descriptors.
    Instances,
    /// inotify(7) watches.
    Watches,
}

impl fmt::Display for InotifyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instances => {
                "the kernel gives no inotify instance: raise fs.inotify.max_user_instances, \
                 or the limit of open files"
            }
            Self::Watches => "the kernel gives no inotify watch: raise fs.inotify.max_user_watches",
        })
    }
}

/// Without inotify nothing is told, and whoever asks has to look.
#[cfg(not(feature = "inotify"))]
mod noop {
    use std::os::fd::BorrowedFd;
    use std::path::PathBuf;

    #[derive(Debug)]
    pub(crate) struct Watch;

    impl Watch {
        pub(crate) fn new(_path: PathBuf) -> Self {
            Self
        }
        pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
            None
        }
        pub(crate) fn read_events(&mut self) -> bool {
            false
        }
        pub(crate) fn update_watches(&mut self, _changed: bool) {}
        pub(crate) fn is_active(&self, _inode: Option<(u64, u64)>) -> bool {
            true
        }
        pub(crate) fn shortage(&self) -> Option<super::InotifyLimit> {
            None
        }
        pub(crate) fn is_being_written(&self) -> bool {
            false
        }
    }
}
