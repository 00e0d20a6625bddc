//! Reading command lines, which may block.
//!
//! `/proc/PID/cmdline` takes the memory-map lock of its process, and a process
//! can hold that for long: one of many GB that forks, or one hung in the
//! kernel, for ever. So a thread of its own reads them; when it makes no
//! progress for a while, it is left behind with the process it hangs on, and
//! another takes its place.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::procfs::{Name, READ, Where};
use super::sys::leave_descriptor_table;
use crate::memory::give_back;
use crate::outcome::Outcome;

/// How many threads may be left behind in one call; what is then unread is
/// read the next time.
const PATIENCE_A_CALL: usize = 3;
/// How many threads may hang at once. More hung processes than that are only
/// looked at again when one of these comes back.
const HANGING: usize = 32;
/// A batch is handed over when it has this many bytes, so that no number of
/// long command lines fills the memory.
const HANDFUL: usize = 1 << 16;
/// So many are asked for at once, for the same reason.
const BATCH: usize = 1024;
/// Of a longer command line only so many bytes are read. `execve(2)` takes no
/// more than 6 MiB of arguments; a process that claims to have more has
/// pointed the kernel to any part of its memory (`PR_SET_MM_MAP`), which may be
/// as large as the address space.
const LONGEST: usize = 8 << 20;

/// What came of reading one command line.
#[derive(Debug)]
pub(crate) enum Answer<'a> {
    /// The raw bytes, arguments ended by NUL, or why there are none. Empty for
    /// a kernel thread and a zombie.
    Read(Outcome<&'a [u8]>),
    /// The read blocks: set the process aside until
    /// [`still_hangs`](CommandLines::still_hangs) says no.
    Blocks,
    /// Not come to in this call.
    Later,
}

/// Reads command lines without being held up.
#[derive(Debug)]
pub(crate) struct CommandLines {
    proc: PathBuf,
    patience: Duration,
    worker: Option<Worker>,
    /// Threads that were left behind, with the pid that each hangs on.
    hanging: Vec<(u32, JoinHandle<()>)>,
    /// The pids to read in the next call of [`run`](Self::run).
    pub(crate) asked: Vec<u32>,
    taken: Batch,
}

#[derive(Debug)]
struct Worker {
    desk: Arc<Desk>,
    thread: JoinHandle<()>,
}

/// Where the two threads meet.
#[derive(Debug, Default)]
struct Desk {
    batch: Mutex<Batch>,
    asked: Condvar,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct Batch {
    pids: Vec<u32>,
    /// One for each of `pids` that has been read.
    answers: Vec<Outcome<usize>>,
    /// The command lines, one behind the other; `answers` tells their lengths.
    text: Vec<u8>,
    /// Nobody waits for this desk any more.
    left: bool,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.answers.len() == self.pids.len() || self.text.len() >= HANDFUL
    }

    fn clear(&mut self) {
        self.pids.clear();
        self.answers.clear();
        self.text.clear();
        // A rare batch of huge command lines is not kept for ever.
        self.text.shrink_to(HANDFUL);
    }
}

impl CommandLines {
    pub(crate) fn new(proc: &Path, patience: Duration) -> Result<CommandLines, Errno> {
        let mut lines = CommandLines {
            proc: proc.to_owned(),
            patience,
            worker: None,
            hanging: Vec::new(),
            asked: Vec::new(),
            taken: Batch::default(),
        };
        lines.worker()?;
        Ok(lines)
    }

    /// Reads the command lines of all `asked` and empties that list. `each` is
    /// called once for each, in order, with its index.
    pub(crate) fn run(&mut self, each: &mut dyn FnMut(usize, Answer<'_>)) {
        let mut done = 0;
        let mut left_behind = 0;
        while done < self.asked.len() && left_behind < PATIENCE_A_CALL {
            let Ok(desk) = self.worker().map(Arc::clone) else { break };
            let mut batch = std::mem::take(&mut self.taken);
            batch.clear();
            batch.pids.extend(self.asked[done..].iter().take(BATCH));
            let blocked = desk.exchange(&mut batch, self.patience);
            let mut text = &batch.text[..];
            for answer in &batch.answers {
                let answer = answer.map(|length| {
                    let (line, rest) = text.split_at(length.min(text.len()));
                    text = rest;
                    line
                });
                each(done, Answer::Read(answer));
                done += 1;
            }
            if blocked
                && let (Some(worker), Some(&pid)) = (self.worker.take(), self.asked.get(done))
            {
                self.hanging.push((pid, worker.thread));
                each(done, Answer::Blocks);
                done += 1;
                left_behind += 1;
            }
            self.taken = batch;
        }
        for index in done..self.asked.len() {
            each(index, Answer::Later);
        }
        give_back(&mut self.asked);
        self.asked.clear();
    }

    /// Whether a thread still hangs on this pid's command line.
    pub(crate) fn still_hangs(&mut self, pid: u32) -> bool {
        self.hanging.retain(|(_, thread)| !thread.is_finished());
        self.hanging.iter().any(|&(hanging, _)| hanging == pid)
    }

    fn worker(&mut self) -> Result<&Arc<Desk>, Errno> {
        if self.worker.is_none() {
            self.hanging.retain(|(_, thread)| !thread.is_finished());
            if self.hanging.len() >= HANGING {
                return Err(Errno::AGAIN);
            }
            self.worker = Some(Worker::start(&self.proc)?);
        }
        self.worker.as_ref().map(|worker| &worker.desk).ok_or(Errno::AGAIN)
    }
}

impl Drop for CommandLines {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.desk.lock().left = true;
            worker.desk.asked.notify_one();
            // It waits for work, so it ends at once; those that hang do not.
            let _ = worker.thread.join();
        }
    }
}

impl Worker {
    fn start(proc: &Path) -> Result<Worker, Errno> {
        let desk = Arc::new(Desk::default());
        let (theirs, proc) = (Arc::clone(&desk), proc.to_owned());
        let thread = std::thread::Builder::new()
            .name("command-lines".into())
            .stack_size(128 * 1024)
            .spawn(move || {
                leave_descriptor_table(None);
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let proc = rustix::fs::open(&proc, flags, Mode::empty());
                theirs.work(proc.as_ref());
            })
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
        Ok(Worker { desk, thread })
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Batch> {
        // Neither side leaves the batch half changed.
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands `batch.pids` over and waits for the answers: for all of them, for
    /// a handful of text, or until one blocks; then `true` is returned, the
    /// answers are those before it, and the thread is not to be used again.
    fn exchange(&self, batch: &mut Batch, patience: Duration) -> bool {
        let mut shared = self.lock();
        std::mem::swap(&mut *shared, batch);
        self.asked.notify_one();
        let mut seen = 0;
        let mut since = Instant::now();
        while !shared.is_full() {
            if shared.answers.len() > seen {
                seen = shared.answers.len();
                since = Instant::now();
            }
            let Some(left) = patience.checked_sub(since.elapsed()) else {
                shared.left = true;
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

    /// The thread's life: reads what is asked, one after the other.
    fn work(&self, proc: Result<&OwnedFd, &Errno>) {
        let mut line = Vec::with_capacity(4096);
        let mut shared = self.lock();
        loop {
            if shared.left {
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
            if shared.left {
                return;
            }
            shared.answers.push(outcome.map(|()| line.len()));
            if matches!(outcome, Outcome::There(())) {
                shared.text.extend_from_slice(&line);
            }
            if shared.is_full() {
                self.answered.notify_one();
            }
        }
    }
}

/// Reads a command line, up to [`LONGEST`].
fn read_whole(proc: &OwnedFd, pid: u32, line: &mut Vec<u8>) -> Outcome<()> {
    line.clear();
    line.shrink_to(HANDFUL);
    let mut name = Name::new();
    let name = name.of(Where::Pid(pid), c"cmdline");
    let file = match rustix::fs::openat(proc, name, READ, Mode::empty()) {
        Ok(file) => file,
        Err(errno) => return errno.into(),
    };
    loop {
        if line.len() >= LONGEST {
            line.truncate(LONGEST);
            return Outcome::There(());
        }
        if line.spare_capacity_mut().is_empty() {
            line.reserve(line.capacity());
        }
        let room = line.spare_capacity_mut().len();
        match rustix::io::read(&file, rustix::buffer::spare_capacity(line)) {
            // The kernel stops short at the end alone.
            Ok(read) if read < room => return Outcome::There(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return errno.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Patient enough for a busy machine.
    fn lines(proc: &Path) -> CommandLines {
        CommandLines::new(proc, Duration::from_secs(2)).unwrap()
    }

    #[test]
    fn own_command_line_and_one_that_is_gone() {
        let mut lines = lines(Path::new("/proc"));
        for _ in 0..3 {
            lines.asked.extend([std::process::id(), u32::MAX, std::process::id()]);
            let mut answers = Vec::new();
            lines.run(&mut |index, answer| match answer {
                Answer::Read(outcome) => {
                    assert_eq!(index, answers.len());
                    answers.push(outcome.map(<[u8]>::to_vec));
                }
                other => panic!("{other:?}"),
            });
            let own = std::fs::read("/proc/self/cmdline").unwrap();
            assert_eq!(answers, [Outcome::There(own.clone()), Outcome::Gone, Outcome::There(own)]);
        }
    }

    /// A pipe that nobody writes to blocks at open, as a locked memory map
    /// does at read.
    #[test]
    fn one_that_blocks_delays_no_other() {
        let folder = psstat_actor::TempDir::new().unwrap();
        for pid in [1, 2, 3] {
            std::fs::create_dir(folder.path().join(pid.to_string())).unwrap();
        }
        std::fs::write(folder.path().join("1/cmdline"), b"one\0").unwrap();
        std::fs::write(folder.path().join("3/cmdline"), vec![b'x'; 3 << 20]).unwrap();
        let pipe = folder.path().join("2/cmdline");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        let mut lines = lines(folder.path());
        lines.asked.extend([1, 2, 3, 1]);
        let mut seen = Vec::new();
        lines.run(&mut |_, answer| {
            seen.push(match answer {
                Answer::Read(outcome) => outcome.there().map(<[u8]>::len),
                Answer::Blocks => None,
                Answer::Later => panic!("not come to"),
            });
        });
        assert_eq!(seen, [Some(4), None, Some(3 << 20), Some(4)]);
        assert!(lines.still_hangs(2));
        assert!(!lines.still_hangs(1));
        // Opening the other end lets the thread go, and it ends.
        drop(std::fs::OpenOptions::new().write(true).open(&pipe).unwrap());
        while lines.still_hangs(2) {
            std::thread::yield_now();
        }
        assert!(lines.hanging.is_empty());
    }
}
