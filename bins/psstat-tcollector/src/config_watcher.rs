//! The thread that watches the config file.
//!
//! A read of the file may never return, for example on a network file system whose server is
//! down, and a cycle must not wait for it. Therefore a worker thread watches, reads and parses
//! the file. If it is stuck in a read, it is abandoned, and from time to time a new worker tries
//! again, because the path may lead to another file by then.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use psstat_matcher::ownership::{OwnershipIssue, check_ownership};
use psstat_matcher::watcher::{ConfigWatcher, Event, InotifyLimit};
use psstat_sampler::spawn_with_private_fd_table;
use psstat_support::failpoint;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::{panic, privileges};

/// A read that takes longer than this is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(3);
/// The delay until a new worker replaces a stuck one; it doubles up to the maximum.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(600);
/// The maximum number of abandoned workers. Beyond it, one has to finish before a new one
/// starts.
const MAX_STUCK: usize = 32;
/// The stack size of a worker: that of the main thread, for parsing and compiling patterns.
/// Unused pages take no memory.
const STACK_SIZE: usize = 8 << 20;

/// An update from the worker thread.
#[derive(Debug)]
pub(crate) enum ConfigUpdate {
    /// The file has changed; the issues with its owner and permissions.
    Conf(Event, Vec<OwnershipIssue>),
    /// Loading the file panicked; the panic is logged.
    Panicked,
    /// The kernel does not report all changes; the file is polled.
    Shortage(InotifyLimit),
    /// The read is stuck. Reported once until the file gives another update.
    Stuck,
}

/// Watches the file from a worker thread.
#[derive(Debug)]
pub(crate) struct ConfigWatcherThread {
    path: PathBuf,
    /// The expected owner.
    owner: String,
    /// This end of the socket pair by which the two threads wake each other.
    wake: UnixStream,
    worker_end: Arc<WorkerEnd>,
    current: WorkerHandle,
    /// Abandoned workers.
    abandoned: Vec<JoinHandle<()>>,
    /// A stuck read has been reported.
    stuck_reported: bool,
    retry_interval: Duration,
}

/// The worker's end of the socket pair.
#[derive(Debug)]
struct WorkerEnd(UnixStream);

impl AsFd for WorkerEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The current worker.
#[derive(Debug)]
struct WorkerHandle {
    mailbox: Arc<Mutex<Mailbox>>,
    thread: JoinHandle<()>,
}

/// The data that a worker shares with the main thread.
#[derive(Debug, Default)]
struct Mailbox {
    updates: Vec<ConfigUpdate>,
    /// The start of the read in progress.
    read_since: Option<Instant>,
    /// The file is being read or parsed.
    is_busy: bool,
    /// The read in progress has been reported as stuck.
    stuck_reported: bool,
    /// Read the file even if it has not changed.
    reload: bool,
    /// The worker has been replaced and has to end.
    abandoned: bool,
}

impl Mailbox {
    /// The time for which the read has been stuck, if it is.
    fn stuck_duration(&self) -> Option<Duration> {
        self.read_since.and_then(|since| since.elapsed().checked_sub(STUCK_AFTER))
    }

    /// Adds an update and removes obsolete ones: of the pending updates of the file, only the
    /// last valid rules and the last error after them are kept.
    fn put(&mut self, update: ConfigUpdate) {
        match update {
            ConfigUpdate::Conf(Event::Loaded(_), _) => {
                self.updates.retain(|u| !matches!(u, ConfigUpdate::Conf(..)));
            }
            ConfigUpdate::Conf(..) => {
                let is_loaded =
                    |u: &ConfigUpdate| matches!(u, ConfigUpdate::Conf(Event::Loaded(_), _));
                self.updates.retain(|u| !matches!(u, ConfigUpdate::Conf(..)) || is_loaded(u));
            }
            _ => {}
        }
        self.updates.push(update);
    }
}

fn lock(mailbox: &Mutex<Mailbox>) -> MutexGuard<'_, Mailbox> {
    // No thread panics between two changes that belong together.
    mailbox.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ConfigWatcherThread {
    /// Starts to watch a file with this expected owner.
    ///
    /// # Errors
    /// No descriptor or thread is available.
    pub(crate) fn start(path: PathBuf, owner: String) -> std::io::Result<ConfigWatcherThread> {
        // A later chdir must not lead to another file.
        let path = std::path::absolute(&path).unwrap_or(path);
        let (wake, worker_end) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        worker_end.set_nonblocking(true)?;
        let worker_end = Arc::new(WorkerEnd(worker_end));
        let current = WorkerHandle::spawn(&path, &owner, &worker_end)?;
        Ok(ConfigWatcherThread {
            path,
            owner,
            wake,
            worker_end,
            current,
            abandoned: Vec::new(),
            stuck_reported: false,
            retry_interval: RETRY_INTERVAL,
        })
    }

    /// The watched file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A descriptor that is readable when there is an update.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Whether the file is being read or parsed at present.
    pub(crate) fn is_busy(&self) -> bool {
        lock(&self.current.mailbox).is_busy
    }

    /// Requests that the file is read again, even if it has not changed.
    pub(crate) fn reload(&mut self) {
        let mut mailbox = lock(&self.current.mailbox);
        mailbox.reload = true;
        let is_stuck = mailbox.stuck_duration().is_some();
        drop(mailbox);
        wake(&self.wake);
        if is_stuck {
            self.respawn();
        }
    }

    /// The updates since the last call. Replaces the worker if it has been stuck for too long.
    pub(crate) fn updates(&mut self) -> Vec<ConfigUpdate> {
        drain_wake(&self.wake);
        let mut mailbox = lock(&self.current.mailbox);
        let mut updates = std::mem::take(&mut mailbox.updates);
        let stuck_duration = mailbox.stuck_duration();
        mailbox.stuck_reported |= stuck_duration.is_some();
        drop(mailbox);
        if updates.iter().any(|u| matches!(u, ConfigUpdate::Conf(..))) {
            self.stuck_reported = false;
            self.retry_interval = RETRY_INTERVAL;
        }
        let Some(stuck_duration) = stuck_duration else { return updates };
        if !std::mem::replace(&mut self.stuck_reported, true) {
            updates.push(ConfigUpdate::Stuck);
        }
        // Until then its read may still return.
        if stuck_duration > self.retry_interval {
            self.retry_interval = (self.retry_interval * 2).min(MAX_RETRY_INTERVAL);
            self.respawn();
        }
        updates
    }

    /// Abandons the worker and starts a new one, if the limit of abandoned workers allows it.
    fn respawn(&mut self) {
        self.abandoned.retain(|thread| !thread.is_finished());
        if self.abandoned.len() >= MAX_STUCK {
            return;
        }
        let Ok(next) = WorkerHandle::spawn(&self.path, &self.owner, &self.worker_end) else {
            return;
        };
        let previous = std::mem::replace(&mut self.current, next);
        lock(&previous.mailbox).abandoned = true;
        self.abandoned.push(previous.thread);
    }
}

impl Drop for ConfigWatcherThread {
    fn drop(&mut self) {
        lock(&self.current.mailbox).abandoned = true;
        wake(&self.wake);
    }
}

impl WorkerHandle {
    fn spawn(
        path: &Path,
        owner: &str,
        worker_end: &Arc<WorkerEnd>,
    ) -> std::io::Result<WorkerHandle> {
        let mailbox = Arc::new(Mutex::new(Mailbox { is_busy: true, ..Mailbox::default() }));
        let (shared, path, owner) = (Arc::clone(&mailbox), path.to_owned(), owner.to_owned());
        let thread = Builder::new().name("conf".into()).stack_size(STACK_SIZE);
        let thread = spawn_with_private_fd_table(thread, Arc::clone(worker_end), move |end| {
            privileges::with_user_privileges(|| {
                run_worker(&shared, &end.0, ConfigWatcher::new(path), &owner);
            });
        })?;
        Ok(WorkerHandle { mailbox, thread })
    }
}

/// The loop of a worker: reads the file after each change, until the worker is abandoned.
fn run_worker(
    mailbox: &Mutex<Mailbox>,
    wake_up: &UnixStream,
    mut watcher: ConfigWatcher,
    owner: &str,
) {
    let mut shortage = None;
    loop {
        drain_wake(wake_up);
        let mut shared = lock(mailbox);
        if shared.abandoned {
            return;
        }
        if std::mem::take(&mut shared.reload) {
            watcher.reload();
        }
        let now = Instant::now();
        shared.read_since = Some(now);
        shared.is_busy = true;
        drop(shared);
        let result = panic::catch(|| {
            let raw = watcher.read_raw(now);
            lock(mailbox).read_since = None;
            let event = watcher.parse_and_report(raw?)?;
            failpoint::hit("conf");
            let issues = match &event {
                // This may query a name service, which may be slow.
                Event::Loaded(loaded) => check_ownership(&loaded.stamp, owner),
                _ => Vec::new(),
            };
            Some(ConfigUpdate::Conf(event, issues))
        });
        let mut shared = lock(mailbox);
        (shared.read_since, shared.is_busy) = (None, false);
        if shared.abandoned {
            return;
        }
        if std::mem::take(&mut shared.stuck_reported) && matches!(result, Some(None)) {
            // Report the file again, because the stuck read was reported since.
            watcher.reload();
        }
        let changed =
            std::mem::replace(&mut shortage, watcher.inotify_limit()) != watcher.inotify_limit();
        match result {
            Some(update) => update.into_iter().for_each(|update| shared.put(update)),
            None => shared.put(ConfigUpdate::Panicked),
        }
        if let (true, Some(shortage)) = (changed, shortage) {
            shared.put(ConfigUpdate::Shortage(shortage));
        }
        let has_updates = !shared.updates.is_empty();
        drop(shared);
        if has_updates {
            wake(wake_up);
        }
        sleep(wake_up, &watcher);
    }
}

/// Sleeps until the file may have changed, the next read is due, or the main thread wakes the
/// worker.
fn sleep(wake_up: &UnixStream, watcher: &ConfigWatcher) {
    let deadline = watcher.deadline().unwrap_or_else(Instant::now);
    let timeout = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
    let wake_up = PollFd::from_borrowed_fd(wake_up.as_fd(), PollFlags::IN);
    // An interrupted sleep causes one more read.
    let _ = match watcher.fd() {
        Some(events) => {
            let events = PollFd::from_borrowed_fd(events, PollFlags::IN);
            rustix::event::poll(&mut [wake_up, events], timeout.as_ref())
        }
        None => rustix::event::poll(&mut [wake_up], timeout.as_ref()),
    };
}

/// Wakes the thread at the other end.
fn wake(mut end: &UnixStream) {
    // If the buffer is full, a wake-up is pending.
    let _ = end.write(&[1]);
}

fn drain_wake(mut end: &UnixStream) {
    let mut buffer = [0; 64];
    while matches!(end.read(&mut buffer), Ok(1..)) {}
}
