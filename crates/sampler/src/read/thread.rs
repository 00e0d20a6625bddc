//! Threads that do not slow down the system calls of the sampler.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use super::sys::{self, unshare_fd_table};

/// Starts a thread with a private descriptor table.
///
/// If threads share one table, each lookup of a descriptor costs more, and a sample makes
/// thousands of them. The private table contains stdin, stdout, stderr and `kept` (before Linux
/// 5.9: all descriptors that were open). Other descriptors of the program are not valid in the
/// thread, and descriptors that it opens are not valid in other threads. So `work` must not
/// capture any except `kept`, and the last owner of `kept` should be another thread.
///
/// # Errors
/// When a thread cannot be started.
///
/// ```
/// use std::io::{Read as _, Write as _};
/// use std::os::unix::net::UnixStream;
/// use std::sync::Arc;
///
/// let (mut receiver, sender) = UnixStream::pair()?;
/// let sender = Arc::new(sender);
/// let thread = psstat_sampler::spawn_with_private_fd_table(
///     std::thread::Builder::new(),
///     Arc::clone(&sender),
///     |sender| drop((&*sender).write_all(b"sent")),
/// )?;
/// let mut received = [0; 4];
/// receiver.read_exact(&mut received)?;
/// assert_eq!(&received, b"sent");
/// # drop(thread.join());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn spawn_with_private_fd_table<T: AsFd + Send + Sync + 'static>(
    thread: Builder,
    kept: Arc<T>,
    work: impl FnOnce(Arc<T>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread.spawn(move || {
        unshare_fd_table(Some(kept.as_fd()));
        work(kept);
    })
}

/// Unblocks these signals in the calling thread and in threads that it starts later.
///
/// A program inherits the blocked signals of the program that started it. A blocked SIGTERM never
/// ends it, whatever handler it installs.
///
/// ```
/// # const SIGTERM: i32 = 15;
/// psstat_sampler::unblock_signals(&[SIGTERM]);
/// ```
pub fn unblock_signals(signals: &[i32]) {
    sys::unblock_signals(signals);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::{AsRawFd as _, RawFd};

    fn open_fds() -> Vec<RawFd> {
        let dir = std::fs::read_dir("/proc/thread-self/fd").unwrap();
        dir.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn private_fd_table() {
        // Descriptors below and above the kept one too.
        let files: Vec<Arc<File>> =
            (0..9).map(|_| Arc::new(File::open("/dev/null").unwrap())).collect();
        for kept in [&files[0], &files[4], &files[8]] {
            let thread = spawn_with_private_fd_table(Builder::new(), Arc::clone(kept), |kept| {
                let open = open_fds();
                assert!(open.contains(&kept.as_raw_fd()), "{open:?}");
                let others = open.iter().filter(|&&fd| fd > 2 && fd != kept.as_raw_fd());
                assert_eq!(others.count(), 1, "more than that of the listing: {open:?}");
            });
            thread.unwrap().join().unwrap();
        }
        let open = open_fds();
        assert!(files.iter().all(|file| open.contains(&file.as_raw_fd())), "{open:?}");
    }
}
