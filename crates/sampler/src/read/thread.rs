//! Threads that do not make the sampler's system calls dearer.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use super::sys::unshare_fd_table;

/// Starts a thread beside the sampler that has a descriptor table of its own.
///
/// Where threads share one table, each look-up of a descriptor costs more, and
/// a sample makes thousands of them. The thread's table holds stdin, stdout,
/// stderr and `kept` (before Linux 5.9: all that were open); other descriptors
/// of the program mean nothing there, and what it opens means nothing to other
/// threads. So `work` must bring none but `kept`, and the last owner of `kept`
/// should be another thread.
///
/// # Errors
/// When there can be no more threads.
///
/// ```
/// use std::io::{Read as _, Write as _};
/// use std::os::unix::net::UnixStream;
/// use std::sync::Arc;
///
/// let (mut near, far) = UnixStream::pair()?;
/// let far = Arc::new(far);
/// let thread = psstat_sampler::spawn_apart(
///     std::thread::Builder::new(),
///     Arc::clone(&far),
///     |far| drop((&*far).write_all(b"here")),
/// )?;
/// let mut heard = [0; 4];
/// near.read_exact(&mut heard)?;
/// assert_eq!(&heard, b"here");
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::{AsRawFd as _, RawFd};

    fn open_descriptors() -> Vec<RawFd> {
        let folder = std::fs::read_dir("/proc/thread-self/fd").unwrap();
        folder.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn private_fd_table() {
        // Some on either side of the one that is kept.
        let files: Vec<Arc<File>> =
            (0..9).map(|_| Arc::new(File::open("/dev/null").unwrap())).collect();
        for kept in [&files[0], &files[4], &files[8]] {
            let thread = spawn_with_private_fd_table(Builder::new(), Arc::clone(kept), |kept| {
                let open = open_descriptors();
                assert!(open.contains(&kept.as_raw_fd()), "{open:?}");
                let others = open.iter().filter(|&&fd| fd > 2 && fd != kept.as_raw_fd());
                assert_eq!(others.count(), 1, "not the listing's own alone: {open:?}");
            });
            thread.unwrap().join().unwrap();
        }
        let open = open_descriptors();
        assert!(files.iter().all(|file| open.contains(&file.as_raw_fd())), "{open:?}");
    }
}
