//! The threads that watch the config files.
//!
//! A read of a file may never return, for example on a network file system whose server is down,
//! and neither a cycle nor another file may wait for it. Therefore one thread watches and parses
//! the files, and passes each access to the file system to a reader thread. While a reader is
//! stuck, another one reads the other files; from time to time one tries the stuck file again,
//! because its path may lead elsewhere by then.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use psstat_matcher::ownership::OwnerPolicy;
use psstat_matcher::sources::LoadedSources;
use psstat_matcher::watcher::{ConfigWatcher, Event, InotifyLimit, Task};
use psstat_sampler::spawn_with_private_fd_table;
use psstat_support::failpoint;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};

use crate::{panic, privileges};

/// A read that takes longer than this is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(3);
/// The delay until a stuck file is read by another thread; it doubles up to the maximum.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(600);
/// The other files wait for a read for this time; then another thread reads them.
const SLOW_AFTER: Duration = Duration::from_millis(100);
/// The maximum number of reader threads. Beyond it, a stuck one has to finish before others read.
const MAX_READERS: usize = 64;
/// The stack size of the thread that parses: that of the main thread, for compiling patterns.
/// Unused pages take no memory.
const STACK_SIZE: usize = 8 << 20;
const READER_STACK_SIZE: usize = 1 << 20;

/// An update from the threads.
#[derive(Debug)]
pub(crate) enum ConfigUpdate {
    /// The state of a file has changed.
    Conf {
        /// The rules of all files, and the state of each file.
        sources: Box<LoadedSources>,
        /// The rules have changed.
        is_loaded: bool,
    },
    /// Reading or parsing the files panicked; the panic is logged.
    Panicked,
    /// The kernel does not report all changes; the files are polled.
    Shortage(InotifyLimit),
}

/// Watches the files from other threads.
#[derive(Debug)]
pub(crate) struct ConfigWatcherThread {
    /// This end of the socket pair by which the main thread and the watching thread wake each
    /// other.
    wake: UnixStream,
    mailbox: Arc<Mutex<Mailbox>>,
}

/// The watching thread's end of the socket pair.
#[derive(Debug)]
struct WorkerEnd(UnixStream);

impl AsFd for WorkerEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The data that the watching thread shares with the main thread.
#[derive(Debug, Default)]
struct Mailbox {
    updates: Vec<ConfigUpdate>,
    /// A file is being read or parsed, and is not stuck.
    is_busy: bool,
    /// Read the files even if they have not changed.
    reload: bool,
    /// The watching thread has to end.
    is_closed: bool,
}

impl Mailbox {
    /// Adds an update. One that the main thread has not taken yet is replaced, but the files that
    /// had changed for it are still marked.
    fn put(&mut self, mut update: ConfigUpdate) {
        if let ConfigUpdate::Conf { sources, is_loaded } = &mut update {
            let pending = self.updates.iter().position(|u| matches!(u, ConfigUpdate::Conf { .. }));
            if let Some(ConfigUpdate::Conf { sources: earlier, is_loaded: was_loaded }) =
                pending.map(|at| self.updates.remove(at))
            {
                *is_loaded |= was_loaded;
                for file in earlier.files {
                    let is_same = |one: &&mut psstat_matcher::sources::SourceFile| {
                        one.path == file.path && !file.is_removed
                    };
                    match sources.files.iter_mut().find(is_same) {
                        Some(one) => one.has_changed |= file.has_changed,
                        None if file.is_removed => sources.files.push(file),
                        None => {}
                    }
                }
            }
        }
        self.updates.push(update);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No thread panics between two changes that belong together.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ConfigWatcherThread {
    /// Starts to watch files and directories with this expected owner.
    ///
    /// # Errors
    /// No descriptor or thread is available.
    pub(crate) fn start(paths: &[PathBuf], owner: OwnerPolicy) -> std::io::Result<Self> {
        let watcher = ConfigWatcher::of_paths(paths.iter().cloned(), Some(owner));
        let (wake, worker_end) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        worker_end.set_nonblocking(true)?;
        let mailbox = Arc::new(Mutex::new(Mailbox { is_busy: true, ..Mailbox::default() }));
        let shared = Arc::clone(&mailbox);
        let thread = Builder::new().name("conf".into()).stack_size(STACK_SIZE);
        spawn_with_private_fd_table(thread, Arc::new(WorkerEnd(worker_end)), move |wake_up| {
            privileges::with_user_privileges(|| {
                match Readers::new() {
                    Ok(readers) => Worker::new(shared, &wake_up.0, watcher, readers).run(),
                    // Without any descriptor nothing can be watched.
                    Err(_) => lock(&shared).put(ConfigUpdate::Panicked),
                }
            });
        })?;
        Ok(ConfigWatcherThread { wake, mailbox })
    }

    /// A descriptor that is readable when there is an update.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Whether a file is being read or parsed at present, and not stuck.
    pub(crate) fn is_busy(&self) -> bool {
        lock(&self.mailbox).is_busy
    }

    /// Requests that the files are read again, even if they have not changed.
    pub(crate) fn reload(&self) {
        lock(&self.mailbox).reload = true;
        wake(&self.wake);
    }

    /// The updates since the last call.
    pub(crate) fn updates(&self) -> Vec<ConfigUpdate> {
        drain_wake(&self.wake);
        std::mem::take(&mut lock(&self.mailbox).updates)
    }
}

impl Drop for ConfigWatcherThread {
    fn drop(&mut self) {
        lock(&self.mailbox).is_closed = true;
        wake(&self.wake);
    }
}

/// The watching thread.
struct Worker<'w> {
    mailbox: Arc<Mutex<Mailbox>>,
    wake_up: &'w UnixStream,
    watcher: ConfigWatcher,
    readers: Readers,
    /// The files that do not respond.
    stuck: Vec<Stuck>,
    shortage: Option<InotifyLimit>,
}

/// A file that does not respond.
#[derive(Debug)]
struct Stuck {
    path: Arc<Path>,
    /// The task that reads it.
    id: u64,
    /// The delay of the next try.
    interval: Duration,
    retry_at: Instant,
}

impl<'w> Worker<'w> {
    fn new(
        mailbox: Arc<Mutex<Mailbox>>,
        wake_up: &'w UnixStream,
        watcher: ConfigWatcher,
        readers: Readers,
    ) -> Self {
        Worker { mailbox, wake_up, watcher, readers, stuck: Vec::new(), shortage: None }
    }

    /// Reads the files after each change, until the thread has to end.
    fn run(mut self) {
        loop {
            drain_wake(self.wake_up);
            let mut shared = lock(&self.mailbox);
            if shared.is_closed {
                return;
            }
            let reload = std::mem::take(&mut shared.reload);
            shared.is_busy = true;
            drop(shared);
            let result = panic::catch(|| self.step(reload));
            let mut shared = lock(&self.mailbox);
            shared.is_busy = false;
            match result {
                Some(update) => update.into_iter().for_each(|update| shared.put(update)),
                None => shared.put(ConfigUpdate::Panicked),
            }
            if self.readers.take_panicked() {
                shared.put(ConfigUpdate::Panicked);
            }
            let shortage = self.watcher.inotify_limit();
            if std::mem::replace(&mut self.shortage, shortage) != shortage
                && let Some(shortage) = shortage
            {
                shared.put(ConfigUpdate::Shortage(shortage));
            }
            let has_updates = !shared.updates.is_empty();
            drop(shared);
            if has_updates {
                wake(self.wake_up);
            }
            self.sleep();
        }
    }

    /// Checks the files that are due, and parses all of them if one has changed.
    fn step(&mut self, reload: bool) -> Option<ConfigUpdate> {
        let now = Instant::now();
        if reload {
            self.watcher.reload();
            self.stuck.iter_mut().for_each(|stuck| stuck.retry_at = now);
        }
        self.check_stuck(now);
        self.watcher.begin(now);
        loop {
            while let Some(task) = self.watcher.next_task(now) {
                self.readers.submit(task);
            }
            self.readers.wait();
            let mut is_done = true;
            while let Some(task) = self.readers.take_done() {
                is_done = false;
                let id = task.id();
                self.stuck.retain(|stuck| stuck.id != id);
                self.watcher.finish(task);
            }
            // The listing of a directory can make its files due.
            if is_done {
                break;
            }
        }
        let event = self.watcher.take_event(now)?;
        failpoint::hit("conf");
        let (sources, is_loaded) = match event {
            Event::Loaded(sources) => (sources, true),
            Event::Unusable(sources) => (sources, false),
            _ => return None,
        };
        Some(ConfigUpdate::Conf { sources, is_loaded })
    }

    /// Reports files that are stuck, and reads them again from time to time.
    fn check_stuck(&mut self, now: Instant) {
        let Self { readers, stuck, watcher, .. } = self;
        readers.for_each_running(|id, path, since| {
            if now.saturating_duration_since(since) < STUCK_AFTER {
                return;
            }
            match stuck.iter_mut().find(|one| one.path == *path) {
                Some(one) => one.id = one.id.max(id),
                None => stuck.push(Stuck {
                    path: Arc::clone(path),
                    id,
                    interval: RETRY_INTERVAL,
                    retry_at: since + STUCK_AFTER + RETRY_INTERVAL,
                }),
            }
        });
        for stuck in stuck {
            watcher.set_not_responding(stuck.id);
            if stuck.retry_at <= now && readers.can_start() {
                stuck.interval = (stuck.interval * 2).min(MAX_RETRY_INTERVAL);
                stuck.retry_at = now + stuck.interval;
                if let Some(id) = watcher.restart(stuck.id, now) {
                    stuck.id = id;
                }
            }
        }
    }

    /// Sleeps until a file may have changed, the next check is due, a reader has finished, or the
    /// main thread wakes it.
    fn sleep(&self) {
        let mut deadline = self.watcher.deadline().unwrap_or_else(Instant::now);
        for stuck in &self.stuck {
            deadline = deadline.min(stuck.retry_at);
        }
        self.readers.for_each_running(|_, path, since| {
            if !self.stuck.iter().any(|stuck| stuck.path == *path) {
                deadline = deadline.min(since + STUCK_AFTER);
            }
        });
        let timeout = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
        let [wake_up, done] = [self.wake_up.as_fd(), self.readers.shared.done_fd.as_fd()]
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        // An interrupted sleep causes one more check.
        let _ = match self.watcher.fd() {
            Some(events) => {
                let events = PollFd::from_borrowed_fd(events, PollFlags::IN);
                rustix::event::poll(&mut [wake_up, done, events], timeout.as_ref())
            }
            None => rustix::event::poll(&mut [wake_up, done], timeout.as_ref()),
        };
    }
}

/// Threads that run tasks, of which usually one is needed.
#[derive(Debug)]
struct Readers {
    shared: Arc<SharedReaders>,
}

#[derive(Debug)]
struct SharedReaders {
    state: Mutex<ReadersState>,
    available: Condvar,
    /// Readable when no task is left in the queue, or one is done that took long.
    done_fd: OwnedFd,
}

#[derive(Debug, Default)]
struct ReadersState {
    queue: VecDeque<Task>,
    running: Vec<Running>,
    done: Vec<Task>,
    /// Threads that wait for a task.
    idle: usize,
    threads: usize,
    has_panicked: bool,
    is_closed: bool,
}

/// A task that a thread runs.
#[derive(Debug)]
struct Running {
    id: u64,
    path: Arc<Path>,
    since: Instant,
}

impl Readers {
    fn new() -> std::io::Result<Readers> {
        let done_fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let state = Mutex::default();
        Ok(Readers {
            shared: Arc::new(SharedReaders { state, available: Condvar::new(), done_fd }),
        })
    }

    fn submit(&self, task: Task) {
        lock(&self.shared.state).queue.push_back(task);
        self.shared.available.notify_one();
    }

    /// Waits until each task has been run, except those that take long.
    fn wait(&self) {
        loop {
            let state = lock(&self.shared.state);
            let ages = state.running.iter().map(|running| running.since.elapsed());
            let rest = ages.filter_map(|age| SLOW_AFTER.checked_sub(age)).min();
            let has_queue = !state.queue.is_empty();
            let is_idle = state.idle > 0;
            let (can_start, threads) = (state.threads < MAX_READERS, state.threads);
            drop(state);
            let rest = match rest {
                None if !has_queue => break,
                // All threads are stuck.
                None if !is_idle => {
                    if !can_start || self.start_thread().is_err() {
                        if threads > 0 {
                            break;
                        }
                        // There is no thread at all: this one reads.
                        self.shared.run_next();
                    }
                    SLOW_AFTER
                }
                None => SLOW_AFTER,
                Some(rest) => rest,
            };
            let done = PollFd::from_borrowed_fd(self.shared.done_fd.as_fd(), PollFlags::IN);
            let timeout = Timespec::try_from(rest).ok();
            let _ = rustix::event::poll(&mut [done], timeout.as_ref());
            self.shared.drain_done();
        }
        self.shared.drain_done();
    }

    fn start_thread(&self) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        lock(&shared.state).threads += 1;
        let thread = Builder::new().name("conf-read".into()).stack_size(READER_STACK_SIZE);
        let started = thread.spawn(move || shared.run());
        if started.is_err() {
            lock(&self.shared.state).threads -= 1;
        }
        started.map(|_| ())
    }

    fn can_start(&self) -> bool {
        let state = lock(&self.shared.state);
        // Half of them are for files that have not been stuck.
        state.idle > 0 || state.threads < MAX_READERS / 2
    }

    fn take_done(&self) -> Option<Task> {
        lock(&self.shared.state).done.pop()
    }

    fn take_panicked(&self) -> bool {
        std::mem::take(&mut lock(&self.shared.state).has_panicked)
    }

    fn for_each_running(&self, mut visit: impl FnMut(u64, &Arc<Path>, Instant)) {
        for Running { id, path, since } in &lock(&self.shared.state).running {
            visit(*id, path, *since);
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        lock(&self.shared.state).is_closed = true;
        self.shared.available.notify_all();
    }
}

impl SharedReaders {
    /// The loop of a thread.
    fn run(&self) {
        loop {
            let mut state = lock(&self.state);
            while state.queue.is_empty() && !state.is_closed {
                if state.idle > 0 {
                    // One is enough.
                    state.threads -= 1;
                    return;
                }
                state.idle += 1;
                state = self.available.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
            if state.is_closed {
                return;
            }
            drop(state);
            self.run_next();
        }
    }

    /// Runs the next task.
    fn run_next(&self) {
        let mut state = lock(&self.state);
        let Some(mut task) = state.queue.pop_front() else { return };
        let id = task.id();
        let since = Instant::now();
        state.running.push(Running { id, path: Arc::clone(task.path()), since });
        drop(state);
        let result = panic::catch(|| task.run());
        let mut state = lock(&self.state);
        state.running.retain(|running| running.id != id);
        state.has_panicked |= result.is_none();
        state.done.push(task);
        let is_last = state.queue.is_empty() || since.elapsed() >= SLOW_AFTER;
        drop(state);
        if is_last {
            // If the counter is at its maximum, it is readable.
            let _ = rustix::io::write(&self.done_fd, &1_u64.to_ne_bytes());
        }
    }

    fn drain_done(&self) {
        let mut buffer = [0; 8];
        let _ = rustix::io::read(&self.done_fd, &mut buffer);
    }
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
