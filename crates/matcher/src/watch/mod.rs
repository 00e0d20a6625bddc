//! Being told when a path may lead to something new.

#[cfg(feature = "inotify")]
mod events;
#[cfg(feature = "inotify")]
mod route;

#[cfg(feature = "inotify")]
pub(crate) use events::Watch;
#[cfg(not(feature = "inotify"))]
pub(crate) use silent::Watch;

/// Without inotify nothing is told, and whoever asks has to look.
#[cfg(not(feature = "inotify"))]
mod silent {
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
        pub(crate) fn drain(&mut self) -> bool {
            false
        }
        pub(crate) fn arm(&mut self) {}
        pub(crate) fn is_being_written(&self) -> bool {
            false
        }
    }
}
