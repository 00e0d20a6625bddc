//! Reads of processes that can block, possibly indefinitely.
//!
//! The kernel takes locks of a process to read its files. A process that is stuck while it
//! holds one, for example in an exec that closes a file of a server that does not respond,
//! blocks every reader. So another thread reads, and is abandoned when it blocks. It ends with
//! this program: these waits are killable.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use psstat_proc_parse::{ProcessState, StatCore};

/// The time limit of the first read that blocks. The limit is halved for each further one, so
/// that all of them together take two seconds at most.
const TIMEOUT: Duration = Duration::from_millis(500);
const MIN_TIMEOUT: Duration = Duration::from_millis(5);
/// Maximum number of abandoned threads. At the limit all reads count as blocked.
const MAX_ABANDONED: usize = 200;
/// How often the time limit is extended for a thread that does not block but waits for a CPU.
const MAX_EXTENSIONS: u32 = 10;
const EXTENSION: Duration = Duration::from_millis(100);
/// The files behind a lock that blocked are read again after this time; the live view runs
/// longer than that.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The lock of a process that the kernel takes for a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum KernelLock {
    /// `exec_update_lock`, which an exec holds.
    Exec,
    /// That of the memory map.
    Memory,
    /// None that is held for long.
    Other,
}

impl KernelLock {
    /// The lock for reading a file, or a link, in the directory of a process.
    fn of(name: &str) -> KernelLock {
        let in_thread = name.strip_prefix("task/").and_then(|name| name.split_once('/'));
        match in_thread.map_or(name, |(_, name)| name) {
            "cmdline" => KernelLock::Memory,
            "stat" | "io" => KernelLock::Exec,
            // Since Linux 6.16 for every link.
            "exe" | "cwd" | "root" => KernelLock::Exec,
            name if name.starts_with("fd/") || name.starts_with("ns/") => KernelLock::Exec,
            _ => KernelLock::Other,
        }
    }
}

/// The read blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocked;

type Job = Box<dyn FnOnce() + Send>;

/// A thread that runs one job at a time.
#[derive(Debug)]
struct Reader {
    jobs: Sender<Job>,
    /// The path of the thread's `stat`.
    stat: Option<PathBuf>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Readers {
    idle: Option<Reader>,
    abandoned: Vec<JoinHandle<()>>,
    /// When a read that takes a lock of a process blocked.
    blocked: BTreeMap<(u32, KernelLock), Instant>,
}

static READERS: Mutex<Readers> =
    Mutex::new(Readers { idle: None, abandoned: Vec::new(), blocked: BTreeMap::new() });

fn readers() -> MutexGuard<'static, Readers> {
    READERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the file `name` of the process `pid` by calling `read` in another thread.
///
/// # Errors
/// When it blocks, or another read of the process that takes the same lock did.
pub(crate) fn read<T: Send + 'static>(
    pid: u32,
    name: &str,
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Blocked> {
    let key = (pid, KernelLock::of(name));
    let (reader, timeout) = readers().reader(key)?;
    let (sender, receiver) = mpsc::channel();
    let job: Job = Box::new(move || {
        // The receiver is dropped after the time limit.
        let _ = sender.send(read());
    });
    let result = match reader.jobs.send(job) {
        Ok(()) => reader.wait(&receiver, timeout),
        Err(_) => Err(Blocked),
    };
    readers().put_back(reader, key, result.is_err());
    result
}

/// Calls `read` for each of these processes in another thread, in this order: one thread for all,
/// until it blocks. `name` is a file that `read` reads, for its lock. `None` for a process for
/// which it blocks, or which a previous read has found to block.
pub(crate) fn read_each<T: Send + 'static>(
    pids: &[u32],
    name: &str,
    read: impl Fn(u32) -> T + Send + Sync + 'static,
) -> Vec<Option<T>> {
    let lock = KernelLock::of(name);
    let read = Arc::new(read);
    let mut results = Vec::with_capacity(pids.len());
    while let Some(rest) = pids.get(results.len()..).filter(|rest| !rest.is_empty()) {
        let next = rest.first().copied().unwrap_or_default();
        let Ok((reader, timeout)) = readers().reader((next, lock)) else {
            results.push(None);
            continue;
        };
        let batch = Arc::new(Batch::default());
        let (sender, done) = mpsc::channel();
        let job: Job = {
            let (batch, read, pids) = (Arc::clone(&batch), Arc::clone(&read), rest.to_vec());
            Box::new(move || {
                // Dropped at the end, which wakes the receiver.
                let _sender = sender;
                for pid in pids {
                    if batch.is_abandoned.load(Ordering::Relaxed) {
                        break;
                    }
                    let result = read(pid);
                    batch.results().push(result);
                }
            })
        };
        let blocked_at = match reader.jobs.send(job) {
            Ok(()) => reader.wait_for(&done, &batch, timeout).err(),
            Err(_) => Some(0),
        };
        batch.is_abandoned.store(true, Ordering::Relaxed);
        // A result that comes later is discarded.
        let finished = std::mem::take(&mut *batch.results());
        // Otherwise it has continued in the meantime, and ends.
        let is_blocked = blocked_at == Some(finished.len());
        results.extend(finished.into_iter().map(Some));
        let blocked = pids.get(results.len()).filter(|_| is_blocked);
        readers().put_back(reader, (blocked.copied().unwrap_or(next), lock), blocked.is_some());
        if blocked.is_some() {
            results.push(None);
        }
    }
    results
}

/// The results of one thread of [`read_each`].
struct Batch<T> {
    results: Mutex<Vec<T>>,
    is_abandoned: AtomicBool,
}

impl<T> Default for Batch<T> {
    fn default() -> Batch<T> {
        Batch { results: Mutex::default(), is_abandoned: AtomicBool::new(false) }
    }
}

impl<T> Batch<T> {
    fn results(&self) -> MutexGuard<'_, Vec<T>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readers {
    fn reader(&mut self, key: (u32, KernelLock)) -> Result<(Reader, Duration), Blocked> {
        if self.blocked.get(&key).is_some_and(|at| at.elapsed() < RETRY_AFTER) {
            return Err(Blocked);
        }
        self.blocked.remove(&key);
        self.abandoned.retain(|thread| !thread.is_finished());
        if self.abandoned.len() >= MAX_ABANDONED {
            return Err(Blocked);
        }
        let halvings = u32::try_from(self.abandoned.len()).unwrap_or(u32::MAX).min(16);
        let timeout = (TIMEOUT / 2_u32.pow(halvings)).max(MIN_TIMEOUT);
        let reader = self.idle.take().or_else(Reader::start).ok_or(Blocked)?;
        Ok((reader, timeout))
    }

    fn put_back(&mut self, reader: Reader, key: (u32, KernelLock), blocked: bool) {
        if blocked {
            self.blocked.insert(key, Instant::now());
            // Without its sender the thread ends after the read.
            self.abandoned.push(reader.thread);
        } else {
            self.idle = Some(reader);
        }
    }
}

impl Reader {
    fn start() -> Option<Reader> {
        let (jobs, received) = mpsc::channel::<Job>();
        let (sender, stat) = mpsc::channel();
        let work = move || {
            let this = std::fs::read_link("/proc/thread-self");
            let _ =
                sender.send(this.ok().map(|this| PathBuf::from("/proc").join(this).join("stat")));
            received.into_iter().for_each(|job| job());
        };
        let thread = std::thread::Builder::new().name("reader".to_owned()).spawn(work).ok()?;
        let stat = stat.recv().ok().flatten();
        Some(Reader { jobs, stat, thread })
    }

    fn wait<T>(&self, receiver: &Receiver<T>, timeout: Duration) -> Result<T, Blocked> {
        let mut limit = timeout;
        for _ in 0..=MAX_EXTENSIONS {
            match receiver.recv_timeout(limit) {
                Ok(value) => return Ok(value),
                Err(RecvTimeoutError::Timeout) if self.is_running() => limit = EXTENSION,
                // It can have become ready in the meantime.
                Err(RecvTimeoutError::Timeout) => return receiver.try_recv().map_err(|_| Blocked),
                Err(RecvTimeoutError::Disconnected) => return Err(Blocked),
            }
        }
        Err(Blocked)
    }

    /// Waits for the end of a batch.
    ///
    /// # Errors
    /// The number of results if the thread blocks: it adds none within the time limit, although
    /// it does not wait for a CPU.
    fn wait_for<T>(
        &self,
        done: &Receiver<()>,
        batch: &Batch<T>,
        timeout: Duration,
    ) -> Result<(), usize> {
        let (mut count, mut since, mut extensions) = (0, Instant::now(), 0);
        loop {
            match done.recv_timeout((timeout / 4).max(MIN_TIMEOUT / 2)) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return Ok(()),
            }
            let progress = batch.results().len();
            if progress > count {
                (count, since, extensions) = (progress, Instant::now(), 0);
            } else if since.elapsed() >= timeout + EXTENSION * extensions {
                if extensions == MAX_EXTENSIONS || !self.is_running() {
                    return Err(count);
                }
                extensions += 1;
            }
        }
    }

    /// Whether the thread runs or waits for a CPU.
    fn is_running(&self) -> bool {
        let stat = self.stat.as_ref().and_then(|path| std::fs::read(path).ok());
        let state = stat.and_then(|stat| StatCore::parse(&stat).ok().map(|stat| stat.state));
        state == Some(ProcessState::Running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_of_files() {
        for (name, lock) in [
            ("stat", KernelLock::Exec),
            ("io", KernelLock::Exec),
            ("task/7/stat", KernelLock::Exec),
            ("task/7/status", KernelLock::Other),
            ("fd", KernelLock::Other),
            ("fd/3", KernelLock::Exec),
            ("ns/net", KernelLock::Exec),
            ("exe", KernelLock::Exec),
            ("cwd", KernelLock::Exec),
            ("net/tcp", KernelLock::Other),
            ("cmdline", KernelLock::Memory),
            ("task/7/cmdline", KernelLock::Memory),
        ] {
            assert_eq!(KernelLock::of(name), lock, "{name}");
        }
    }

    /// The pids do not exist.
    #[test]
    fn processes_that_block_are_passed_over() {
        const FIRST: u32 = u32::MAX - 1000;
        let (release, blocker) = mpsc::channel::<()>();
        let blocker = Mutex::new(blocker);
        let pids: Vec<u32> = (FIRST..FIRST + 100).collect();
        let blocks = |pid: u32| pid == FIRST || pid % 40 == 7;
        let start = Instant::now();
        let results = read_each(&pids, "fd/", move |pid| {
            if blocks(pid) {
                let _ = blocker.lock().unwrap_or_else(PoisonError::into_inner).recv();
            }
            pid
        });
        let want: Vec<_> = pids.iter().map(|&pid| (!blocks(pid)).then_some(pid)).collect();
        assert_eq!(results, want);
        assert!(start.elapsed() < 6 * TIMEOUT, "{:?}", start.elapsed());
        assert_eq!(read(FIRST, "fd/3", || 1), Err(Blocked), "the same lock");
        drop(release);
        assert_eq!(read_each(&[FIRST, 1], "fd/", |pid| pid), [None, Some(1)], "known to block");
        assert!(read_each(&[], "fd/", |pid| pid).is_empty());
    }

    /// The pids do not exist.
    #[test]
    fn blocked_read_delays_nothing_else() {
        let start = Instant::now();
        let (release, blocker) = mpsc::channel::<()>();
        let blocked = read(u32::MAX, "stat", move || blocker.recv().is_ok());
        assert_eq!(blocked, Err(Blocked));
        assert_eq!(read(u32::MAX, "io", || 1), Err(Blocked), "the same lock");
        assert_eq!(read(u32::MAX, "cmdline", || 2), Ok(2), "another lock");
        assert_eq!(read(u32::MAX - 1, "stat", || 3), Ok(3), "another process");
        let (hold, blockers) = mpsc::channel::<()>();
        let blockers = Arc::new(Mutex::new(blockers));
        for pid in 1..=10 {
            let blockers = Arc::clone(&blockers);
            let wait = move || blockers.lock().unwrap().recv().is_ok();
            assert_eq!(read(u32::MAX - 1 - pid, "stat", wait), Err(Blocked));
        }
        assert!(start.elapsed() < 10 * TIMEOUT, "{:?}", start.elapsed());
        // An abandoned thread ends when its read returns.
        drop((release, hold));
        while readers().abandoned.iter().any(|thread| !thread.is_finished()) {
            std::thread::yield_now();
        }
    }
}
