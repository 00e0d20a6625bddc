//! Reads command lines, which may block.
//!
//! `/proc/PID/cmdline` takes the memory-map lock of its process. A process can hold that lock for
//! long (one of many GB that forks), or indefinitely (one stuck in the kernel). So a separate
//! thread reads the command lines. When it makes no progress within a timeout, the thread is
//! abandoned with the process that it is stuck on, and another one replaces it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use psstat_proc_parse::{ProcessState, StatCore, Status};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::procfs::{ProcDir, ProcPath, READ, pread_start, without_file};
use super::stuck_readers::{Limits, StuckReaders};
use super::sys::unshare_fd_table;
use crate::read::outcome::Outcome;
use crate::shrink::shrink_vec;

/// The number of threads that may get stuck per call, and per call on processes of one user.
/// The other command lines are read in a later call.
const MAX_STUCK_PER_CALL: usize = 3;
const MAX_STUCK_PER_USER: usize = 2;
/// How often per batch the timeout is extended for a thread that does not block but waits for a
/// CPU.
const MAX_EXTENSIONS: usize = 10;
/// A batch is returned at this number of bytes, which bounds the memory for long command lines.
const BATCH_BYTES: usize = 1 << 16;
/// The largest number of pids per batch, for the same reason.
const BATCH: usize = 1024;
/// A longer command line is truncated. `execve(2)` accepts at most 6 MiB of arguments; a process
/// with more has pointed the kernel to any part of its memory (`PR_SET_MM_MAP`), which may be as
/// large as the address space.
const MAX_CMDLINE: usize = 8 << 20;

/// The result of reading one command line.
#[derive(Debug)]
pub(crate) enum CmdlineResult<'a> {
    /// The raw bytes, arguments terminated by NUL. Empty for a kernel thread and a zombie.
    Read(Outcome<&'a [u8]>),
    /// The read blocks: skip the process while [`is_still_stuck`](CmdlineReader::is_still_stuck).
    Blocked,
    /// Not read in this call, since too many threads are stuck: in this call, on processes of
    /// the same user, or in total.
    Deferred,
}

/// Reads command lines without blocking the caller.
#[derive(Debug)]
pub(crate) struct CmdlineReader {
    proc: PathBuf,
    /// The open `proc`, to read the users of processes.
    dir: OwnedFd,
    timeout: Duration,
    worker: Option<Worker>,
    stuck: StuckReaders,
    /// The pids to read in the next call of [`run`](Self::run).
    pub(crate) requested: Vec<u32>,
    /// Indices in `requested` that are not read yet.
    pending: Vec<usize>,
    /// The buffers of the last batch.
    spare: Batch,
}

#[derive(Debug)]
struct Worker {
    mailbox: Arc<Mailbox>,
    thread: JoinHandle<()>,
}

/// Shared by the caller and the thread that reads.
#[derive(Debug, Default)]
struct Mailbox {
    batch: Mutex<Batch>,
    submitted: Condvar,
    completed: Condvar,
    /// The path of the thread's `stat`, in the procfs that it reads.
    stat: OnceLock<PathBuf>,
}

#[derive(Debug, Default)]
struct Batch {
    pids: Vec<u32>,
    /// The lengths of the command lines of the first of `pids`.
    results: Vec<Outcome<usize>>,
    /// The command lines, concatenated.
    bytes: Vec<u8>,
    /// The caller no longer waits for this batch.
    abandoned: bool,
}

impl Batch {
    fn is_complete(&self) -> bool {
        self.results.len() == self.pids.len() || self.bytes.len() >= BATCH_BYTES
    }

    fn clear(&mut self) {
        self.pids.clear();
        self.results.clear();
        self.bytes.clear();
        // The memory of a rare batch of huge command lines is freed.
        self.bytes.shrink_to(BATCH_BYTES);
    }
}

impl CmdlineReader {
    pub(crate) fn new(proc: &Path, timeout: Duration) -> Result<CmdlineReader, Errno> {
        CmdlineReader::with_limits(Limits::DEFAULT, proc, timeout)
    }

    fn with_limits(limits: Limits, proc: &Path, timeout: Duration) -> Result<CmdlineReader, Errno> {
        let mut reader = CmdlineReader {
            proc: proc.to_owned(),
            dir: open_proc(proc)?,
            timeout,
            worker: None,
            stuck: StuckReaders::new(limits),
            requested: Vec::new(),
            pending: Vec::new(),
            spare: Batch::default(),
        };
        reader.mailbox()?;
        Ok(reader)
    }

    /// Reads the command lines of `requested` and empties that list. `each` is called once per
    /// pid, with its index; in order, except for [`CmdlineResult::Deferred`].
    pub(crate) fn run(&mut self, each: &mut dyn FnMut(usize, CmdlineResult<'_>)) {
        let mut stuck_users = [None; MAX_STUCK_PER_CALL];
        let mut stuck = 0;
        self.pending.clear();
        self.pending.extend(0..self.requested.len());
        shrink_vec(&mut self.pending);
        shrink_vec(&mut self.requested);
        if self.stuck.any_user_at_limit() {
            self.skip_limited_users(&[], each);
        }
        while !self.pending.is_empty() && stuck < MAX_STUCK_PER_CALL {
            let Ok(mailbox) = self.mailbox().map(Arc::clone) else { break };
            let mut batch = std::mem::take(&mut self.spare);
            batch.clear();
            batch.pids.extend(self.pending.iter().take(BATCH).map(|&index| self.requested[index]));
            let blocked = mailbox.submit_and_wait(&mut batch, self.timeout);
            let mut bytes = &batch.bytes[..];
            let completed = batch.results.len().min(self.pending.len());
            for (result, index) in batch.results.iter().zip(self.pending.drain(..completed)) {
                let result = result.map(|length| {
                    let (line, rest) = bytes.split_at(length.min(bytes.len()));
                    bytes = rest;
                    line
                });
                each(index, CmdlineResult::Read(result));
            }
            self.spare = batch;
            if blocked
                && let Some(worker) = self.worker.take()
                && !self.pending.is_empty()
            {
                let index = self.pending.remove(0);
                let pid = self.requested[index];
                let user = self.real_uid(pid);
                self.stuck.add(pid, user, worker.thread);
                each(index, CmdlineResult::Blocked);
                stuck_users[stuck] = Some(user);
                stuck += 1;
                self.skip_limited_users(&stuck_users, each);
            }
        }
        for index in self.pending.drain(..) {
            each(index, CmdlineResult::Deferred);
        }
        self.requested.clear();
        self.spare.clear();
    }

    /// Defers the processes of users at a limit, in total or in this call.
    fn skip_limited_users(
        &mut self,
        stuck_users: &[Option<Option<u32>>],
        each: &mut dyn FnMut(usize, CmdlineResult<'_>),
    ) {
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain(|&index| {
            let user = self.real_uid(self.requested[index]);
            let stuck = stuck_users.iter().filter(|&&stuck_user| stuck_user == Some(user)).count();
            let stays = stuck < MAX_STUCK_PER_USER && !self.stuck.is_user_at_limit(user);
            if !stays {
                each(index, CmdlineResult::Deferred);
            }
            stays
        });
        self.pending = pending;
    }

    /// The real user id of a process. The owner of its directory does not identify the user: a
    /// process can make root the owner (`PR_SET_DUMPABLE`). Reading `status` takes no lock that
    /// could block.
    fn real_uid(&self, pid: u32) -> Option<u32> {
        let mut name = ProcPath::new();
        let mut buffer = [0; 4096];
        let name = name.build(ProcDir::Pid(pid), c"status");
        let file = rustix::fs::openat(&self.dir, name, READ, Mode::empty()).ok()?;
        let text = pread_start(&file, &mut buffer).value()?;
        // With very many groups the text does not fit.
        let end = text.iter().rposition(|&byte| byte == b'\n')?;
        let status = Status::parse(&text[..=end]).ok()?;
        status.uid.map(|ids| ids.real)
    }

    /// Removes the threads that have finished.
    pub(crate) fn review(&mut self) {
        self.stuck.review();
    }

    /// Whether a thread was still stuck on this pid's command line at the last
    /// [`review`](Self::review).
    pub(crate) fn is_still_stuck(&self, pid: u32) -> bool {
        self.stuck.is_stuck_on(pid)
    }

    /// The mailbox of the worker, which is started if there is none.
    fn mailbox(&mut self) -> Result<&Arc<Mailbox>, Errno> {
        if self.worker.is_none() {
            self.stuck.review();
            if self.stuck.is_full() {
                return Err(Errno::AGAIN);
            }
            self.worker = Some(Worker::start(&self.proc)?);
        }
        self.worker.as_ref().map(|worker| &worker.mailbox).ok_or(Errno::AGAIN)
    }
}

impl Drop for CmdlineReader {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.mailbox.lock().abandoned = true;
            worker.mailbox.submitted.notify_one();
            // The worker waits for a batch, so it ends at once; stuck threads are not joined.
            let _ = worker.thread.join();
        }
    }
}

impl Worker {
    fn start(proc: &Path) -> Result<Worker, Errno> {
        let mailbox = Arc::new(Mailbox::default());
        let (shared, proc) = (Arc::clone(&mailbox), proc.to_owned());
        let thread = std::thread::Builder::new()
            .name("command-lines".into())
            // There may be hundreds.
            .stack_size(64 * 1024)
            .spawn(move || {
                unshare_fd_table(None);
                if let Ok(thread_dir) = std::fs::read_link(proc.join("thread-self")) {
                    let _ = shared.stat.set(proc.join(thread_dir).join("stat"));
                }
                shared.work(open_proc(&proc).as_ref());
            })
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
        Ok(Worker { mailbox, thread })
    }
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Batch> {
        // Neither side leaves the batch in an inconsistent state.
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Submits `batch.pids` and waits until all are read, or [`BATCH_BYTES`], or one blocks.
    /// Returns `true` if one blocks: then the results are those before it, and the thread must
    /// not be used again.
    fn submit_and_wait(&self, batch: &mut Batch, timeout: Duration) -> bool {
        let mut shared = self.lock();
        std::mem::swap(&mut *shared, batch);
        self.submitted.notify_one();
        let mut completed = 0;
        let mut since = Instant::now();
        let mut extensions = MAX_EXTENSIONS;
        while !shared.is_complete() {
            if shared.results.len() > completed {
                completed = shared.results.len();
                since = Instant::now();
            }
            let Some(remaining) = timeout.checked_sub(since.elapsed()) else {
                if extensions > 0 {
                    // Unlocked, so that the thread does not wait for this.
                    drop(shared);
                    let is_running = self.is_running();
                    shared = self.lock();
                    if is_running || shared.results.len() > completed {
                        extensions -= 1;
                        since = Instant::now();
                        continue;
                    }
                }
                shared.abandoned = true;
                batch.pids.clear();
                std::mem::swap(&mut batch.results, &mut shared.results);
                std::mem::swap(&mut batch.bytes, &mut shared.bytes);
                return true;
            };
            let wait = self.completed.wait_timeout(shared, remaining);
            shared = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut *shared, batch);
        shared.clear();
        false
    }

    /// Whether the thread runs or is runnable: on a busy machine, and after the machine was
    /// suspended, it waits for a CPU.
    fn is_running(&self) -> bool {
        let stat = self.stat.get().and_then(|path| std::fs::read(path).ok());
        let state = stat.and_then(|stat| StatCore::parse(&stat).ok().map(|stat| stat.state));
        state == Some(ProcessState::Running)
    }

    /// Reads the submitted command lines, one after the other, until it is abandoned.
    fn work(&self, proc: Result<&OwnedFd, &Errno>) {
        let mut line = Vec::with_capacity(4096);
        let mut shared = self.lock();
        loop {
            if shared.abandoned {
                return;
            }
            let next = shared.pids.get(shared.results.len()).copied();
            let Some(pid) = next.filter(|_| !shared.is_complete()) else {
                shared = self.submitted.wait(shared).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(shared);
            let outcome = match proc {
                Ok(proc) => read_whole(proc, pid, &mut line),
                Err(&errno) => errno.into(),
            };
            shared = self.lock();
            if shared.abandoned {
                return;
            }
            shared.results.push(outcome.map(|()| line.len()));
            if matches!(outcome, Outcome::Value(())) {
                shared.bytes.extend_from_slice(&line);
            }
            line.clear();
            line.shrink_to(BATCH_BYTES);
            if shared.is_complete() {
                self.completed.notify_one();
            }
        }
    }
}

fn open_proc(proc: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(proc, flags, Mode::empty())
}

/// Reads a command line, up to [`MAX_CMDLINE`], into an empty buffer.
fn read_whole(proc: &OwnedFd, pid: u32, line: &mut Vec<u8>) -> Outcome<()> {
    let mut name = ProcPath::new();
    let name = name.build(ProcDir::Pid(pid), c"cmdline");
    let file = match rustix::fs::openat(proc, name, READ, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => {
            return without_file(proc, ProcPath::new().build(ProcDir::Pid(pid), c"stat"));
        }
        Err(errno) => return errno.into(),
    };
    loop {
        if line.len() >= MAX_CMDLINE {
            line.truncate(MAX_CMDLINE);
            return Outcome::Value(());
        }
        if line.spare_capacity_mut().is_empty() {
            line.reserve(line.capacity());
        }
        let spare = line.spare_capacity_mut().len();
        match rustix::io::read(&file, rustix::buffer::spare_capacity(line)) {
            // The kernel returns fewer bytes only at the end.
            Ok(read) if read < spare => return Outcome::Value(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return errno.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(proc: &Path) -> CmdlineReader {
        // Long enough for a busy machine.
        CmdlineReader::new(proc, Duration::from_secs(2)).unwrap()
    }

    #[test]
    fn reads_self_and_reports_exited() {
        let mut reader = reader(Path::new("/proc"));
        for _ in 0..3 {
            reader.requested.extend([std::process::id(), u32::MAX, std::process::id()]);
            let mut results = Vec::new();
            reader.run(&mut |index, result| match result {
                CmdlineResult::Read(outcome) => {
                    assert_eq!(index, results.len());
                    results.push(outcome.map(<[u8]>::to_vec));
                }
                other => panic!("{other:?}"),
            });
            let cmdline = Outcome::Value(std::fs::read("/proc/self/cmdline").unwrap());
            assert_eq!(results, [cmdline.clone(), Outcome::Exited, cmdline]);
        }
    }

    /// Writes the files of a process. `None` makes `cmdline` a pipe without a writer, which
    /// blocks at open as a locked memory map does at read.
    fn process(proc: &Path, pid: u32, user: u32, cmdline: Option<&[u8]>) -> PathBuf {
        let dir = proc.join(pid.to_string());
        std::fs::create_dir(&dir).unwrap();
        let status = format!("Name:\tworker\nUid:\t{user}\t0\t0\t0\n");
        std::fs::write(dir.join("status"), status).unwrap();
        let path = dir.join("cmdline");
        match cmdline {
            Some(cmdline) => std::fs::write(&path, cmdline).unwrap(),
            None => {
                let kind = rustix::fs::FileType::Fifo;
                let mode = Mode::RUSR | Mode::WUSR;
                rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
            }
        }
        path
    }

    /// Reads command lines; gives the length of each, or `None` if it blocks, without the
    /// deferred ones.
    fn read(reader: &mut CmdlineReader, pids: &[u32]) -> Vec<(u32, Option<usize>)> {
        reader.requested.extend(pids);
        let mut results = Vec::new();
        let mut deferred = 0;
        reader.run(&mut |index, result| match result {
            CmdlineResult::Read(outcome) => {
                results.push((pids[index], outcome.value().map(<[u8]>::len)));
            }
            CmdlineResult::Blocked => results.push((pids[index], None)),
            CmdlineResult::Deferred => deferred += 1,
        });
        assert_eq!(results.len() + deferred, pids.len());
        results
    }

    /// Opens the other end of the pipe, so that the stuck thread ends. Opened for reading too,
    /// since the open for writing alone blocks if the thread has not opened its end yet.
    fn release(reader: &mut CmdlineReader, pid: u32, pipe: &Path) {
        drop(std::fs::OpenOptions::new().read(true).write(true).open(pipe).unwrap());
        while reader.is_still_stuck(pid) {
            std::thread::yield_now();
            reader.review();
        }
    }

    #[test]
    fn blocking_process_does_not_delay_others() {
        let proc = psstat_testproc::TempDir::new().unwrap();
        process(proc.path(), 1, 0, Some(b"one\0"));
        let pipe = process(proc.path(), 2, 0, None);
        process(proc.path(), 3, 0, Some(&vec![b'x'; 3 << 20]));
        let mut reader = reader(proc.path());
        let results = read(&mut reader, &[1, 2, 3, 1]);
        assert_eq!(results, [(1, Some(4)), (2, None), (3, Some(3 << 20)), (1, Some(4))]);
        assert!(reader.is_still_stuck(2));
        assert!(!reader.is_still_stuck(1));
        release(&mut reader, 2, &pipe);
    }

    /// On a busy machine, processes were reported as blocked that did not block.
    #[test]
    fn runnable_reader_is_not_blocked() {
        let proc = psstat_testproc::TempDir::new().unwrap();
        let pipe = process(proc.path(), 1, 0, None);
        // The thread waits for the pipe, but its `stat` contains the state of a running one.
        std::os::unix::fs::symlink("reader", proc.join("thread-self")).unwrap();
        std::fs::create_dir(proc.join("reader")).unwrap();
        let line = std::fs::read_to_string("/proc/self/stat").unwrap();
        let after_comm = line.rsplit_once(") ").unwrap().1;
        let stat = format!("1 (reader) R{}", &after_comm[1..]);
        std::fs::write(proc.join("reader/stat"), stat).unwrap();
        let timeout = Duration::from_millis(500);
        let mut reader = CmdlineReader::new(proc.path(), timeout).unwrap();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(2 * timeout);
            std::fs::write(pipe, "late\0").unwrap();
        });
        assert_eq!(read(&mut reader, &[1]), [(1, Some(5))]);
        writer.join().unwrap();
    }

    /// Once the maximum number of threads was stuck, on processes of any user, no command line
    /// was read any more.
    #[test]
    fn per_user_limit() {
        let proc = psstat_testproc::TempDir::new().unwrap();
        let pipes: Vec<PathBuf> =
            (1..=6).map(|pid| process(proc.path(), pid, 1000, None)).collect();
        process(proc.path(), 7, 1000, Some(b"theirs\0"));
        process(proc.path(), 8, 1001, Some(b"another\0"));
        let limits = Limits { per_user: 4, total: 6 };
        // Long enough for a busy machine.
        let timeout = Duration::from_secs(1);
        let mut reader = CmdlineReader::with_limits(limits, proc.path(), timeout).unwrap();
        // At the limit per user and call.
        let all: Vec<u32> = (1..=8).collect();
        assert_eq!(read(&mut reader, &all), [(1, None), (2, None), (8, Some(8))]);
        assert_eq!(read(&mut reader, &all[2..]), [(3, None), (4, None), (8, Some(8))]);
        // At the limit per user.
        assert_eq!(read(&mut reader, &all[4..]), [(8, Some(8))]);
        assert_eq!(read(&mut reader, &[7, 8, 7]), [(8, Some(8))]);
        // Below it.
        release(&mut reader, 1, &pipes[0]);
        assert_eq!(read(&mut reader, &[7, 8]), [(7, Some(7)), (8, Some(8))]);
        // At the total limit.
        let others = [9, 10, 11].map(|pid| process(proc.path(), pid, 2000 + pid, None));
        assert_eq!(read(&mut reader, &[9, 10, 11]), [(9, None), (10, None), (11, None)]);
        assert_eq!(read(&mut reader, &[7, 8]), []);
        for (pid, pipe) in [2, 3, 4, 9, 10, 11].into_iter().zip(pipes[1..4].iter().chain(&others)) {
            release(&mut reader, pid, pipe);
        }
        assert_eq!(read(&mut reader, &[7, 8]), [(7, Some(7)), (8, Some(8))]);
    }
}
