//! Notification of changes to the target of a path.

use std::fmt;

#[cfg(feature = "inotify")]
mod inotify;
#[cfg(feature = "inotify")]
mod path_walk;

#[cfg(feature = "inotify")]
pub(crate) use inotify::Watch;
#[cfg(not(feature = "inotify"))]
pub(crate) use noop::Watch;

/// The pending events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EventSummary {
    /// There were some.
    pub(crate) any: bool,
    /// One of them affects the path.
    pub(crate) affected: bool,
    /// Some were lost or are left, because there were too many.
    pub(crate) overflow: bool,
}

/// The kernel limit that prevents complete change notification.
///
/// [`Display`](fmt::Display) names the setting to raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InotifyLimit {
    /// inotify(7) instances, or file descriptors.
    Instances,
    /// inotify(7) watches.
    Watches,
}

impl fmt::Display for InotifyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instances => {
                "no inotify instance available: raise fs.inotify.max_user_instances or the \
                 open-files limit"
            }
            Self::Watches => "no inotify watch available: raise fs.inotify.max_user_watches",
        })
    }
}

/// Without inotify there are no events, so the caller has to poll.
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
        pub(crate) fn read_events(&mut self) -> super::EventSummary {
            super::EventSummary::default()
        }
        pub(crate) fn update_watches(&mut self, _changed: bool) {}
        pub(crate) fn is_active(&self, _inode: Option<(u64, u64)>) -> bool {
            true
        }
        pub(crate) fn limit_reached(&self) -> Option<super::InotifyLimit> {
            None
        }
        pub(crate) fn is_being_written(&self) -> bool {
            false
        }
    }
}
