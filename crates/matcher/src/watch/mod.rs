//! Notification of changes to the target of a path.

use std::fmt;

#[cfg(feature = "inotify")]
mod inotify;
#[cfg(feature = "inotify")]
mod path_walk;

#[cfg(feature = "inotify")]
pub(crate) use inotify::{Descriptor, Event, Notifier, PathWatch, WatchSet};
#[cfg(not(feature = "inotify"))]
pub(crate) use noop::{Descriptor, Event, Notifier, PathWatch, WatchSet};

/// The pending events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EventSummary {
    /// There were some.
    pub(crate) any: bool,
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
    use std::path::Path;
    use std::sync::Arc;

    /// There are none.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Descriptor {}
    pub(crate) type Event<'a> = &'a Descriptor;
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct WatchSet;

    #[derive(Debug, Default)]
    pub(crate) struct Notifier {}

    impl Notifier {
        pub(crate) fn start(&mut self) {}
        pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
            None
        }
        pub(crate) fn watch_set(&self) -> Option<WatchSet> {
            None
        }
        pub(crate) fn limit_reached(&self) -> Option<super::InotifyLimit> {
            None
        }
        pub(crate) fn remove(&self, _descriptor: Descriptor) {}
        pub(crate) fn read_events(
            &mut self,
            _on_event: &mut dyn FnMut(&Event<'_>),
        ) -> super::EventSummary {
            super::EventSummary::default()
        }
    }

    #[derive(Debug)]
    pub(crate) struct PathWatch;

    impl PathWatch {
        pub(crate) fn new(_path: Arc<Path>, _is_entry: bool) -> Self {
            Self
        }
        pub(crate) fn is_being_written(&self) -> bool {
            false
        }
        pub(crate) fn limit_reached(&self) -> Option<super::InotifyLimit> {
            None
        }
        pub(crate) fn is_active(&self, _inode: Option<(u64, u64)>) -> bool {
            true
        }
        pub(crate) fn is_affected(&mut self, _event: &Event<'_>) -> bool {
            false
        }
        pub(crate) fn uses(&self, _descriptor: &Descriptor) -> bool {
            false
        }
        pub(crate) fn take_obsolete(&mut self) -> Option<Descriptor> {
            None
        }
        pub(crate) fn clear(&mut self) {}
        pub(crate) fn update(&mut self, _watch_set: Option<&WatchSet>, _changed: bool) {}
    }
}
