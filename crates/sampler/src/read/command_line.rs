//! Reading command lines, which may block.
//!
//! `/proc/PID/cmdline` takes the memory-map lock of its process, and a process
//! can hold that for long: one of many GB that forks, or one hung in the
//! kernel, for ever. So a thread of its own reads them; when it makes no
//! progress for a while, it is left behind with the process it hangs on, and
//! another takes its place.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use psstat_proc_parse::{ProcessState, StatCore, Status};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::procfs::{ProcDir, ProcPath, READ, pread_start};
use super::stuck_readers::{Limits, StuckReaders};
use super::sys::unshare_fd_table;
use crate::read::outcome::Outcome;
use crate::shrink::shrink_vec;

/// How many threads may be left behind in one call, and of these on processes
/// of one user; what is then unread is read the next time.
const MAX_STUCK_PER_CALL: usize = 3;
const MAX_STUCK_PER_USER: usize = 2;
/// How often in a batch the patience is renewed for a thread that does not block but
/// waits for a processor.
const MAX_EXTENSIONS: usize = 10;
/// A batch is handed over when it has this many bytes, so that no number of
/// long command lines fills the memory.
const BATCH_BYTES: usize = 1 << 16;
/// So many are asked for at once, for the same reason.
const BATCH: usize = 1024;
/// Of a longer command line only so many bytes are read. `execve(2)` takes no
/// more than 6 MiB of arguments; a process that claims to have more has
/// pointed the kernel to any part of its memory (`PR_SET_MM_MAP`), which may be
/// as large as the address space.
const MAX_CMDLINE: usize = 8 << 20;

/// What came of reading one command line.
#[derive(Debug)]
pub(crate) enum CmdlineResult<'a> {
    /// The raw bytes, arguments ended by NUL, or why there are none. Empty for
    /// a kernel thread and a zombie.
    Read(Outcome<&'a [u8]>),
    /// The read blocks: set the process aside until
    /// [`still_hangs`](CommandLines::still_hangs) says no.
    Blocked,
    /// Not come to in this call, because others block: too many in it, or so
    /// many of its user's, or of all, that no more may.
    Deferred,
}

/// Reads command lines without being held up.
#[derive(Debug)]
pub(crate) struct CmdlineReader {
    proc: PathBuf,
    /// The same, to see whose a process is.
    folder: OwnedFd,
    patience: Duration,
    worker: Option<Worker>,
    hanging: StuckReaders,
    /// The pids to read in the next call of [`run`](Self::run).
    pub(crate) requested: Vec<u32>,
    /// The indices of those that are still to be read in it.
    open: Vec<usize>,
    taken: Batch,
}

#[derive(Debug)]
struct Worker {
    desk: Arc<Mailbox>,
    thread: JoinHandle<()>,
}

/// Where the two threads meet.
#[derive(Debug, Default)]
struct Mailbox {
    batch: Mutex<Batch>,
    asked: Condvar,
    answered: Condvar,
    /// `stat` of the thread that reads, in the procfs that it reads.
    stat: OnceLock<PathBuf>,
}

#[derive(Debug, Default)]
struct Batch {
    pids: Vec<u32>,
    /// One for each of `pids` that has been read.
    answers: Vec<Outcome<usize>>,
    /// The command lines, one behind the other; `answers` tells their lengths.
    text: Vec<u8>,
    /// Nobody waits for this desk any more.
    abandoned: bool,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.answers.len() == self.pids.len() || self.text.len() >= BATCH_BYTES
    }

    fn clear(&mut self) {
        self.pids.clear();
        self.answers.clear();
        self.text.clear();
        // A rare batch of huge command lines is not kept for ever.
        self.text.shrink_to(BATCH_BYTES);
    }
}

impl CmdlineReader {
    pub(crate) fn new(proc: &Path, patience: Duration) -> Result<CmdlineReader, Errno> {
        CmdlineReader::run_with_timeout(Limits::DEFAULT, proc, patience)
    }

    fn run_with_timeout(
        limits: Limits,
        proc: &Path,
        patience: Duration,
    ) -> Result<CmdlineReader, Errno> {
        let mut lines = CmdlineReader {
            proc: proc.to_owned(),
            folder: open_folder(proc)?,
            patience,
            worker: None,
            hanging: StuckReaders::new(limits),
            requested: Vec::new(),
            open: Vec::new(),
            taken: Batch::default(),
        };
        lines.worker()?;
        Ok(lines)
    }

    /// Reads the command lines of all `asked` and empties that list. `each` is
    /// called once for each, with its index; in order, but for those for which
    /// it is [`Answer::Later`].
    pub(crate) fn run(&mut self, each: &mut dyn FnMut(usize, CmdlineResult<'_>)) {
        let mut left_behind = [None; MAX_STUCK_PER_CALL];
        let mut times = 0;
        self.open.clear();
        self.open.extend(0..self.requested.len());
        shrink_vec(&mut self.open);
        shrink_vec(&mut self.requested);
        if self.hanging.any_user_at_limit() {
            self.skip_limited_users(&[], each);
        }
        while !self.open.is_empty() && times < MAX_STUCK_PER_CALL {
            let Ok(desk) = self.worker().map(Arc::clone) else { break };
            let mut batch = std::mem::take(&mut self.taken);
            batch.clear();
            batch.pids.extend(self.open.iter().take(BATCH).map(|&index| self.requested[index]));
            let blocked = desk.submit_and_wait(&mut batch, self.patience);
            let mut text = &batch.text[..];
            let answered = batch.answers.len().min(self.open.len());
            for (answer, index) in batch.answers.iter().zip(self.open.drain(..answered)) {
                let answer = answer.map(|length| {
                    let (line, rest) = text.split_at(length.min(text.len()));
                    text = rest;
                    line
                });
                each(index, CmdlineResult::Read(answer));
            }
            self.taken = batch;
            if blocked
                && let Some(worker) = self.worker.take()
                && !self.open.is_empty()
            {
                let index = self.open.remove(0);
                let pid = self.requested[index];
                let user = self.real_uid(pid);
                self.hanging.add(pid, user, worker.thread);
                each(index, CmdlineResult::Blocked);
                left_behind[times] = Some(user);
                times += 1;
                self.skip_limited_users(&left_behind, each);
            }
        }
        for index in self.open.drain(..) {
            each(index, CmdlineResult::Deferred);
        }
        self.requested.clear();
        self.taken.clear();
    }

    /// Leaves those for later whose users' processes hang too often already:
    /// in all, or in this call.
    fn skip_limited_users(
        &mut self,
        left_behind: &[Option<Option<u32>>],
        each: &mut dyn FnMut(usize, CmdlineResult<'_>),
    ) {
        let mut open = std::mem::take(&mut self.open);
        open.retain(|&index| {
            let user = self.real_uid(self.requested[index]);
            let times = left_behind.iter().filter(|&&one| one == Some(user)).count();
            let stays = times < MAX_STUCK_PER_USER && !self.hanging.is_full_for(user);
            if !stays {
                each(index, CmdlineResult::Deferred);
            }
            stays
        });
        self.open = open;
    }

    /// Whose a process is, by its real user id: the owner of its folder is root
    /// for whoever wants that (`PR_SET_DUMPABLE`). Takes no lock that could
    /// block.
    fn real_uid(&self, pid: u32) -> Option<u32> {
        let mut name = ProcPath::new();
        let mut buffer = [0; 4096];
        let name = name.of(ProcDir::Pid(pid), c"status");
        let file = rustix::fs::openat(&self.folder, name, READ, Mode::empty()).ok()?;
        let text = pread_start(&file, &mut buffer).value()?;
        // Of one with very many groups there is a part.
        let end = text.iter().rposition(|&byte| byte == b'\n')?;
        let status = Status::parse(&text[..=end]).ok()?;
        status.uid.map(|ids| ids.real)
    }

    /// Takes note of those that hang no more.
    pub(crate) fn review(&mut self) {
        self.hanging.review();
    }

    /// Whether a thread still hung on this pid's command line at the last
    /// [`review`](Self::review).
    pub(crate) fn is_still_stuck(&self, pid: u32) -> bool {
        self.hanging.is_stuck_on(pid)
    }

    fn worker(&mut self) -> Result<&Arc<Mailbox>, Errno> {
        if self.worker.is_none() {
            self.hanging.review();
            if self.hanging.is_full() {
                return Err(Errno::AGAIN);
            }
            self.worker = Some(Worker::start(&self.proc)?);
        }
        self.worker.as_ref().map(|worker| &worker.desk).ok_or(Errno::AGAIN)
    }
}

impl Drop for CmdlineReader {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.desk.lock().abandoned = true;
            worker.desk.asked.notify_one();
            // It waits for work, so it ends at once; those that hang do not.
            let _ = worker.thread.join();
        }
    }
}

impl Worker {
    fn start(proc: &Path) -> Result<Worker, Errno> {
        let desk = Arc::new(Mailbox::default());
        let (theirs, proc) = (Arc::clone(&desk), proc.to_owned());
        let thread = std::thread::Builder::new()
            .name("command-lines".into())
            // There may be hundreds.
            .stack_size(64 * 1024)
            .spawn(move || {
                unshare_fd_table(None);
                if let Ok(own) = std::fs::read_link(proc.join("thread-self")) {
                    let _ = theirs.stat.set(proc.join(own).join("stat"));
                }
                theirs.work(open_folder(&proc).as_ref());
            })
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
        Ok(Worker { desk, thread })
    }
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Batch> {
        // Neither side leaves the batch half changed.
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands `batch.pids` over and waits for the answers: for all of them, for
    /// a handful of text, or until one blocks; then `true` is returned, the
    /// answers are those before it, and the thread is not to be used again.
    fn submit_and_wait(&self, batch: &mut Batch, patience: Duration) -> bool {
        let mut shared = self.lock();
        std::mem::swap(&mut *shared, batch);
        self.asked.notify_one();
        let mut seen = 0;
        let mut since = Instant::now();
        let mut renewals = MAX_EXTENSIONS;
        while !shared.is_full() {
            if shared.answers.len() > seen {
                seen = shared.answers.len();
                since = Instant::now();
            }
            let Some(left) = patience.checked_sub(since.elapsed()) else {
                if renewals > 0 {
                    // Unlocked: it must not wait for this.
                    drop(shared);
                    let is_running = self.is_running();
                    shared = self.lock();
                    if is_running || shared.answers.len() > seen {
                        renewals -= 1;
                        since = Instant::now();
                        continue;
                    }
                }
                shared.abandoned = true;
                batch.pids.clear();
                std::mem::swap(&mut batch.answers, &mut shared.answers);
                std::mem::swap(&mut batch.text, &mut shared.text);
                return true;
            };
            shared =
                self.answered.wait_timeout(shared, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut *shared, batch);
        shared.clear();
        false
    }

    /// Whether the thread runs, or would if a processor were free for it: on a busy
    /// machine it has to wait for one, and so it has when the machine stood still.
    fn is_running(&self) -> bool {
        let stat = self.stat.get().and_then(|path| std::fs::read(path).ok());
        let state = stat.and_then(|stat| StatCore::parse(&stat).ok().map(|stat| stat.state));
        state == Some(ProcessState::Running)
    }

    /// The thread's life: reads what is asked, one after the other.
    fn work(&self, proc: Result<&OwnedFd, &Errno>) {
        let mut line = Vec::with_capacity(4096);
        let mut shared = self.lock();
        loop {
            if shared.abandoned {
                return;
            }
            let next = shared.pids.get(shared.answers.len()).copied();
            let Some(pid) = next.filter(|_| !shared.is_full()) else {
                shared = self.asked.wait(shared).unwrap_or_else(PoisonError::into_inner);
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
            shared.answers.push(outcome.map(|()| line.len()));
            if matches!(outcome, Outcome::Value(())) {
                shared.text.extend_from_slice(&line);
            }
            line.clear();
            line.shrink_to(BATCH_BYTES);
            if shared.is_full() {
                self.answered.notify_one();
            }
        }
    }
}

fn open_folder(proc: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(proc, flags, Mode::empty())
}

/// Reads a command line, up to [`LONGEST`], into an empty buffer.
fn read_whole(proc: &OwnedFd, pid: u32, line: &mut Vec<u8>) -> Outcome<()> {
    let mut name = ProcPath::new();
    let name = name.of(ProcDir::Pid(pid), c"cmdline");
    let file = match rustix::fs::openat(proc, name, READ, Mode::empty()) {
        Ok(file) => file,
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
        let room = line.spare_capacity_mut().len();
        match rustix::io::read(&file, rustix::buffer::spare_capacity(line)) {
            // The kernel stops short at the end alone.
            Ok(read) if read < room => return Outcome::Value(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return errno.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Patient enough for a busy machine.
    fn lines(proc: &Path) -> CmdlineReader {
        CmdlineReader::new(proc, Duration::from_secs(2)).unwrap()
    }

    #[test]
    fn reads_self_and_reports_exited() {
        let mut lines = lines(Path::new("/proc"));
        for _ in 0..3 {
            lines.requested.extend([std::process::id(), u32::MAX, std::process::id()]);
            let mut answers = Vec::new();
            lines.run(&mut |index, answer| match answer {
                CmdlineResult::Read(outcome) => {
                    assert_eq!(index, answers.len());
                    answers.push(outcome.map(<[u8]>::to_vec));
                }
                other => panic!("{other:?}"),
            });
            let own = std::fs::read("/proc/self/cmdline").unwrap();
            assert_eq!(
                answers,
                [Outcome::Value(own.clone()), Outcome::Exited, Outcome::Value(own)]
            );
        }
    }

    /// A process of a user; a pipe that nobody writes to blocks at open, as a
    /// locked memory map does at read.
    fn process(folder: &Path, pid: u32, user: u32, command_line: Option<&[u8]>) -> PathBuf {
        let folder = folder.join(pid.to_string());
        std::fs::create_dir(&folder).unwrap();
        let status = format!("Name:\tworker\nUid:\t{user}\t0\t0\t0\n");
        std::fs::write(folder.join("status"), status).unwrap();
        let path = folder.join("cmdline");
        match command_line {
            Some(command_line) => std::fs::write(&path, command_line).unwrap(),
            None => {
                let kind = rustix::fs::FileType::Fifo;
                let mode = Mode::RUSR | Mode::WUSR;
                rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
            }
        }
        path
    }

    /// What came of reading these: the length, nothing where it blocks; without
    /// those for later.
    fn read(lines: &mut CmdlineReader, pids: &[u32]) -> Vec<(u32, Option<usize>)> {
        lines.requested.extend(pids);
        let mut seen = Vec::new();
        let mut later = 0;
        lines.run(&mut |index, answer| match answer {
            CmdlineResult::Read(outcome) => {
                seen.push((pids[index], outcome.value().map(<[u8]>::len)));
            }
            CmdlineResult::Blocked => seen.push((pids[index], None)),
            CmdlineResult::Deferred => later += 1,
        });
        assert_eq!(seen.len() + later, pids.len());
        seen
    }

    /// Opening the other end lets the thread go, and it ends; for both ways, for on a
    /// machine that stalled it may have given up before it came to it.
    fn let_go(lines: &mut CmdlineReader, pid: u32, pipe: &Path) {
        drop(std::fs::OpenOptions::new().read(true).write(true).open(pipe).unwrap());
        while lines.is_still_stuck(pid) {
            std::thread::yield_now();
            lines.review();
        }
    }

    #[test]
    fn one_that_blocks_delays_no_other() {
        let folder = psstat_testproc::TempDir::new().unwrap();
        process(folder.path(), 1, 0, Some(b"one\0"));
        let pipe = process(folder.path(), 2, 0, None);
        process(folder.path(), 3, 0, Some(&vec![b'x'; 3 << 20]));
        let mut lines = lines(folder.path());
        let seen = read(&mut lines, &[1, 2, 3, 1]);
        assert_eq!(seen, [(1, Some(4)), (2, None), (3, Some(3 << 20)), (1, Some(4))]);
        assert!(lines.is_still_stuck(2));
        assert!(!lines.is_still_stuck(1));
        let_go(&mut lines, 2, &pipe);
    }

    /// On a busy machine, processes were said to block that did not.
    #[test]
    fn runnable_reader_is_not_blocked() {
        let folder = psstat_testproc::TempDir::new().unwrap();
        let pipe = process(folder.path(), 1, 0, None);
        // Held up by the pipe, and a thread that runs by its state.
        std::os::unix::fs::symlink("reader", folder.join("thread-self")).unwrap();
        std::fs::create_dir(folder.join("reader")).unwrap();
        let line = std::fs::read_to_string("/proc/self/stat").unwrap();
        let behind = line.rsplit_once(") ").unwrap().1;
        let stat = format!("1 (reader) R{}", &behind[1..]);
        std::fs::write(folder.join("reader/stat"), stat).unwrap();
        let patience = Duration::from_millis(500);
        let mut lines = CmdlineReader::new(folder.path(), patience).unwrap();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(2 * patience);
            std::fs::write(pipe, "late\0").unwrap();
        });
        assert_eq!(read(&mut lines, &[1]), [(1, Some(5))]);
        writer.join().unwrap();
    }

    /// Once as many processes hung as might, whoever they belonged to, no
    /// command line was read any more.
    #[test]
    fn per_user_limit() {
        let folder = psstat_testproc::TempDir::new().unwrap();
        let hung: Vec<PathBuf> =
            (1..=6).map(|pid| process(folder.path(), pid, 1000, None)).collect();
        process(folder.path(), 7, 1000, Some(b"theirs\0"));
        process(folder.path(), 8, 1001, Some(b"another\0"));
        let limits = Limits { per_user: 4, total: 6 };
        // Patient enough for a busy machine.
        let patience = Duration::from_secs(1);
        let mut lines = CmdlineReader::run_with_timeout(limits, folder.path(), patience).unwrap();
        // Not all the patience of a call is for one user's.
        let all: Vec<u32> = (1..=8).collect();
        assert_eq!(read(&mut lines, &all), [(1, None), (2, None), (8, Some(8))]);
        assert_eq!(read(&mut lines, &all[2..]), [(3, None), (4, None), (8, Some(8))]);
        // It has its share.
        assert_eq!(read(&mut lines, &all[4..]), [(8, Some(8))]);
        assert_eq!(read(&mut lines, &[7, 8, 7]), [(8, Some(8))]);
        // When one comes back there is room.
        let_go(&mut lines, 1, &hung[0]);
        assert_eq!(read(&mut lines, &[7, 8]), [(7, Some(7)), (8, Some(8))]);
        // More users, and there is no room for any.
        let others = [9, 10, 11].map(|pid| process(folder.path(), pid, 2000 + pid, None));
        assert_eq!(read(&mut lines, &[9, 10, 11]), [(9, None), (10, None), (11, None)]);
        assert_eq!(read(&mut lines, &[7, 8]), []);
        for (pid, pipe) in [2, 3, 4, 9, 10, 11].into_iter().zip(hung[1..4].iter().chain(&others)) {
            let_go(&mut lines, pid, pipe);
        }
        assert_eq!(read(&mut lines, &[7, 8]), [(7, Some(7)), (8, Some(8))]);
    }
}
