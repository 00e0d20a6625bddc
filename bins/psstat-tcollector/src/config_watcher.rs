//! The conf's file, followed by a thread of its own.
//!
//! A look at the file may take for ever: it may lie on a network file system
//! whose server is gone. The cycle must not wait for that. So a thread follows
//! it, and parses it too; when it hangs in a look, it is left behind, and from
//! time to time another tries, since the path may lead elsewhere by then.

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

/// A look that takes longer than this hangs.
const STUCK_AFTER: Duration = Duration::from_secs(3);
/// When another thread tries after one that hangs; the time doubles up to the
/// longest.
const RETRY: Duration = Duration::from_secs(5);
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(600);
/// How many threads may hang at once. When there are more, one has to come back
/// before another tries.
const MAX_STUCK: usize = 32;
/// A pattern is parsed and compiled with as much room as on the main thread;
/// what is not used takes no memory.
const STACK: usize = 8 << 20;

/// What a look at the file gave, and how its following goes.
#[derive(Debug)]
pub enum ConfigUpdate {
    /// The file has changed; what is wrong with its ownership.
    Conf(Event, Vec<OwnershipIssue>),
    /// A defect showed while it was read; it is logged.
    Panicked,
    /// The kernel tells of changes no longer, or not of all.
    Shortage(InotifyLimit),
    /// The look hangs. Told once until there is other news of the file.
    Stuck,
}

/// Follows the file.
#[derive(Debug)]
pub struct ConfigWatcherThread {
    path: PathBuf,
    /// Whom it should belong to.
    owner: String,
    /// What the thread rings, and is rung by.
    wake_rx: UnixStream,
    worker_end: Arc<RemoteEnd>,
    current: WorkerHandle,
    /// Threads that were left behind.
    hanging: Vec<JoinHandle<()>>,
    /// It was told that a look hangs.
    last_reported: bool,
    retry: Duration,
}

/// The thread's end of the bell.
#[derive(Debug)]
struct RemoteEnd(UnixStream);

impl AsFd for RemoteEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The thread that follows the file now.
#[derive(Debug)]
struct WorkerHandle {
    desk: Arc<Mutex<Mailbox>>,
    thread: JoinHandle<()>,
}

/// Where the two threads meet.
#[derive(Debug, Default)]
struct Mailbox {
    news: Vec<ConfigUpdate>,
    /// Since when it looks at the file, while it does.
    busy_since: Option<Instant>,
    /// It looks at the file, or parses what it found.
    is_busy: bool,
    /// It was told that this look hangs.
    stuck_reported: bool,
    /// The file is to be read, changed or not.
    reload: bool,
    /// Nobody waits for this thread any more.
    abandoned: bool,
}

impl Mailbox {
    /// For how long the look hangs, if it does.
    fn stuck_duration(&self) -> Option<Duration> {
        self.busy_since.and_then(|since| since.elapsed().checked_sub(STUCK_AFTER))
    }

    /// Keeps what matters of what nobody has taken yet: the last good rules, and
    /// what was told since.
    fn put(&mut self, news: ConfigUpdate) {
        match news {
            ConfigUpdate::Conf(Event::Loaded(_), _) => {
                self.news.retain(|n| !matches!(n, ConfigUpdate::Conf(..)));
            }
            ConfigUpdate::Conf(..) => {
                let is_good =
                    |n: &ConfigUpdate| matches!(n, ConfigUpdate::Conf(Event::Loaded(_), _));
                self.news.retain(|n| !matches!(n, ConfigUpdate::Conf(..)) || is_good(n));
            }
            _ => {}
        }
        self.news.push(news);
    }
}

fn lock(desk: &Mutex<Mailbox>) -> MutexGuard<'_, Mailbox> {
    // Neither side leaves the desk half changed.
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ConfigWatcherThread {
    /// Follows this file, which should belong to `owner`, from now on.
    ///
    /// # Errors
    /// When the system has no descriptor or thread left.
    pub fn start(path: PathBuf, owner: String) -> std::io::Result<ConfigWatcherThread> {
        // A later chdir must not lead to another file.
        let path = std::path::absolute(&path).unwrap_or(path);
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let far = Arc::new(RemoteEnd(far));
        let current = WorkerHandle::spawn_worker(&path, &owner, &far)?;
        Ok(ConfigWatcherThread {
            path,
            owner,
            wake_rx: near,
            worker_end: far,
            current,
            hanging: Vec::new(),
            last_reported: false,
            retry: RETRY,
        })
    }

    /// The file that is followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What becomes readable when there is news.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.wake_rx.as_fd()
    }

    /// Whether the file is being looked at or parsed.
    pub fn is_busy(&self) -> bool {
        lock(&self.current.desk).is_busy
    }

    /// Has the file read, changed or not.
    pub fn reload(&mut self) {
        let mut desk = lock(&self.current.desk);
        desk.reload = true;
        let hangs = desk.stuck_duration().is_some();
        drop(desk);
        wake(&self.wake_rx);
        if hangs {
            self.respawn();
        }
    }

    /// What there is to know since the last time.
    pub fn news(&mut self) -> Vec<ConfigUpdate> {
        drain_wake(&self.wake_rx);
        let mut desk = lock(&self.current.desk);
        let mut news = std::mem::take(&mut desk.news);
        let hangs_for = desk.stuck_duration();
        desk.stuck_reported |= hangs_for.is_some();
        drop(desk);
        if news.iter().any(|n| matches!(n, ConfigUpdate::Conf(..))) {
            self.last_reported = false;
            self.retry = RETRY;
        }
        let Some(time) = hangs_for else { return news };
        if !std::mem::replace(&mut self.last_reported, true) {
            news.push(ConfigUpdate::Stuck);
        }
        // It is the current one until another tries: it may come back.
        if time > self.retry {
            self.retry = (self.retry * 2).min(MAX_RETRY_INTERVAL);
            self.respawn();
        }
        news
    }

    /// Leaves the thread behind, if there may be another.
    fn respawn(&mut self) {
        self.hanging.retain(|thread| !thread.is_finished());
        if self.hanging.len() >= MAX_STUCK {
            return;
        }
        let Ok(next) = WorkerHandle::spawn_worker(&self.path, &self.owner, &self.worker_end) else {
            return;
        };
        let left = std::mem::replace(&mut self.current, next);
        lock(&left.desk).abandoned = true;
        self.hanging.push(left.thread);
    }
}

impl Drop for ConfigWatcherThread {
    fn drop(&mut self) {
        lock(&self.current.desk).abandoned = true;
        wake(&self.wake_rx);
    }
}

impl WorkerHandle {
    fn spawn_worker(
        path: &Path,
        owner: &str,
        far: &Arc<RemoteEnd>,
    ) -> std::io::Result<WorkerHandle> {
        let desk = Arc::new(Mutex::new(Mailbox { is_busy: true, ..Mailbox::default() }));
        let (theirs, path, owner) = (Arc::clone(&desk), path.to_owned(), owner.to_owned());
        let thread = Builder::new().name("conf".into()).stack_size(STACK);
        let thread = spawn_with_private_fd_table(thread, Arc::clone(far), move |far| {
            privileges::with_user_privileges(|| {
                follow(&theirs, &far.0, ConfigWatcher::new(path), &owner);
            });
        })?;
        Ok(WorkerHandle { desk, thread })
    }
}

/// The thread's life.
fn follow(desk: &Mutex<Mailbox>, far: &UnixStream, mut live: ConfigWatcher, owner: &str) {
    let mut shortage = None;
    loop {
        drain_wake(far);
        let mut shared = lock(desk);
        if shared.abandoned {
            return;
        }
        if std::mem::take(&mut shared.reload) {
            live.reload();
        }
        let now = Instant::now();
        shared.busy_since = Some(now);
        shared.is_busy = true;
        drop(shared);
        let looked = panic::catch(|| {
            let found = live.read_raw(now);
            lock(desk).busy_since = None;
            let event = live.parse_and_report(found?)?;
            failpoint::hit("conf");
            let complaints = match &event {
                // May ask a name service, which may be slow.
                Event::Loaded(loaded) => check_ownership(&loaded.stamp, owner),
                _ => Vec::new(),
            };
            Some(ConfigUpdate::Conf(event, complaints))
        });
        let mut shared = lock(desk);
        (shared.busy_since, shared.is_busy) = (None, false);
        if shared.abandoned {
            return;
        }
        if std::mem::take(&mut shared.stuck_reported) && matches!(looked, Some(None)) {
            // What is there is news again.
            live.reload();
        }
        let short = std::mem::replace(&mut shortage, live.inotify_limit()) != live.inotify_limit();
        match looked {
            Some(news) => news.into_iter().for_each(|news| shared.put(news)),
            None => shared.put(ConfigUpdate::Panicked),
        }
        if let (true, Some(shortage)) = (short, shortage) {
            shared.put(ConfigUpdate::Shortage(shortage));
        }
        let is_news = !shared.news.is_empty();
        drop(shared);
        if is_news {
            wake(far);
        }
        sleep(far, &live);
    }
}

/// Until something may have changed, the time has come to look, or the bell.
fn sleep(far: &UnixStream, live: &ConfigWatcher) {
    let deadline = live.deadline().unwrap_or_else(Instant::now);
    let timeout = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
    let far = PollFd::from_borrowed_fd(far.as_fd(), PollFlags::IN);
    // An interrupted sleep is one more look.
    let _ = match live.fd() {
        Some(events) => {
            let events = PollFd::from_borrowed_fd(events, PollFlags::IN);
            rustix::event::poll(&mut [far, events], timeout.as_ref())
        }
        None => rustix::event::poll(&mut [far], timeout.as_ref()),
    };
}

fn wake(mut bell: &UnixStream) {
    // When it is full, it has been rung.
    let _ = bell.write(&[1]);
}

fn drain_wake(mut bell: &UnixStream) {
    let mut buffer = [0; 64];
    while matches!(bell.read(&mut buffer), Ok(1..)) {}
}
