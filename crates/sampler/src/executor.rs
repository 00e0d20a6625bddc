//! Runs the driver so that a read which never returns delays nothing else.
//!
//! The steps of the driver are futures. One thread, the reader, polls them; when a future requests
//! a [`Read`] that can block, the reader performs it while it owns nothing but that request, and
//! polls the future again with the result. The caller's thread waits meanwhile and watches: if a
//! read takes too long, it abandons the reader with the request, starts another reader, and the
//! future continues without the value. An abandoned reader drops its request and ends when its
//! read returns. So there is no hand-over per read, and no allocation.
//!
//! All readers share the descriptors that are held open.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use psstat_proc_parse::{ProcessState, StatCore};

use crate::classifier::{Classify, CmdlineBatch};
use crate::read::blocking::Read;
use crate::read::procfs::Procfs;

/// How often the timeout of one read is extended if its thread does not block but waits for a CPU.
const MAX_EXTENSIONS: usize = 10;
/// The number of reads of a step that may block for the whole timeout. The timeout of the next
/// ones is shorter, so that many processes at once delay the others little.
const FULL_TIMEOUTS: u32 = 3;
/// The memory of a thread that is stuck is the part of its stack that was used.
const STACK_SIZE: usize = 256 * 1024;

type Payload = Box<dyn Any + Send>;

/// A request of a future.
enum Question {
    Read(Read),
    Classify(CmdlineBatch),
}

/// The reply to a question.
enum Reply {
    Read(Read),
    Blocked(JoinHandle<()>),
    Classified(Result<CmdlineBatch, Payload>),
}

/// The result of a read.
pub(crate) enum Answer {
    /// Performed; or not, if its outcome is still the one of before.
    Read(Read),
    /// It blocks in this thread, which ends when it returns.
    Blocked(JoinHandle<()>),
}

thread_local! {
    /// From the future that this thread polls, and to it.
    static QUESTION: Cell<Option<Question>> = const { Cell::new(None) };
    static REPLY: Cell<Option<Reply>> = const { Cell::new(None) };
}

async fn exchange(question: Question) -> Option<Reply> {
    let mut question = Some(question);
    std::future::poll_fn(move |_| {
        if let Some(question) = question.take() {
            QUESTION.set(Some(question));
            return Poll::Pending;
        }
        Poll::Ready(REPLY.take())
    })
    .await
}

/// Performs a read.
pub(crate) async fn request(read: Read) -> Answer {
    match exchange(Question::Read(read)).await {
        Some(Reply::Read(read)) => Answer::Read(read),
        Some(Reply::Blocked(thread)) => Answer::Blocked(thread),
        Some(Reply::Classified(_)) | None => unreachable!("each question has its reply"),
    }
}

/// Classifies command lines in the caller's thread. If the caller's closure panics, this does.
pub(crate) async fn classify(batch: CmdlineBatch) -> CmdlineBatch {
    match exchange(Question::Classify(batch)).await {
        Some(Reply::Classified(Ok(batch))) => batch,
        Some(Reply::Classified(Err(payload))) => resume_unwind(payload),
        Some(Reply::Read(_) | Reply::Blocked(_)) | None => {
            unreachable!("each question has its reply")
        }
    }
}

/// The future of a step has ended, or has a request.
enum Polled<C, T> {
    Read(Read),
    Classify(CmdlineBatch),
    Finished(Finished<C, T>),
}

/// The end of a step: its state, and its result or the panic that ended it.
pub(crate) struct Finished<C, T> {
    pub(crate) core: C,
    pub(crate) result: Result<T, Payload>,
}

/// State that is owned by the future of a step while it runs.
pub(crate) trait Core: Send + Sized + 'static {
    type Step: Send + 'static;
    type Output: Send + 'static;

    /// Performs a step.
    fn perform(&mut self, step: Self::Step) -> impl Future<Output = Self::Output> + Send;
}

/// The future of a step, in memory that is allocated once.
trait Job<C: Core>: Send {
    fn start(&mut self, core: C, step: C::Step);
    fn poll(&mut self) -> Poll<Finished<C, C::Output>>;
}

struct Place<F, N> {
    future: Pin<Box<Option<F>>>,
    new: N,
}

fn place<C, F, N>(new: N) -> Box<dyn Job<C>>
where
    C: Core,
    F: Future<Output = Finished<C, C::Output>> + Send + 'static,
    N: Fn(C, C::Step) -> F + Send + 'static,
{
    Box::new(Place { future: Box::pin(None), new })
}

impl<C, F, N> Job<C> for Place<F, N>
where
    C: Core,
    F: Future<Output = Finished<C, C::Output>> + Send,
    N: Fn(C, C::Step) -> F + Send,
{
    fn start(&mut self, core: C, step: C::Step) {
        self.future.as_mut().set(Some((self.new)(core, step)));
    }

    fn poll(&mut self) -> Poll<Finished<C, C::Output>> {
        let Some(future) = self.future.as_mut().as_pin_mut() else { return Poll::Pending };
        let polled = future.poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_ready() {
            self.future.as_mut().set(None);
        }
        polled
    }
}

/// Performs a step; a panic in it leaves the state as it is.
async fn perform<C: Core>(mut core: C, step: C::Step) -> Finished<C, C::Output> {
    let result = {
        let mut work = pin!(core.perform(step));
        let poll = |context: &mut Context<'_>| match catch_unwind(AssertUnwindSafe(|| {
            work.as_mut().poll(context)
        })) {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        };
        std::future::poll_fn(poll).await
    };
    Finished { core, result }
}

/// Runs one step after the other.
pub(crate) struct Executor<C: Core> {
    shared: Arc<Shared<C>>,
    /// `None` if no thread could be started, or too many are stuck.
    reader: Option<Reader>,
    timeout: Duration,
    /// How many threads may be stuck.
    max_stuck: usize,
}

struct Reader {
    thread: JoinHandle<()>,
    /// The path of the thread's `stat`, in the procfs that it reads.
    stat: Arc<OnceLock<PathBuf>>,
}

struct Shared<C: Core> {
    procfs: Arc<Procfs>,
    proc_root: PathBuf,
    state: Mutex<State<C>>,
    /// For the reader: there is something to do.
    resumed: Condvar,
    /// For the caller: the step has ended, or needs the caller.
    suspended: Condvar,
}

struct State<C: Core> {
    job: Box<dyn Job<C>>,
    /// The future can be polled, with this reply.
    runnable: Option<Option<Reply>>,
    /// The reader performs a read.
    is_reading: bool,
    /// Counts the reads.
    reads: u64,
    /// To be classified by the caller.
    batch: Option<CmdlineBatch>,
    finished: Option<Finished<C, C::Output>>,
    /// The number of the reader that is in charge. The others are to end.
    generation: u64,
}

impl<C: Core> State<C> {
    /// Polls the future once.
    fn poll(&mut self, reply: Option<Reply>) -> Polled<C, C::Output> {
        REPLY.set(reply);
        match self.job.poll() {
            Poll::Ready(finished) => Polled::Finished(finished),
            Poll::Pending => match QUESTION.take() {
                Some(Question::Read(read)) => Polled::Read(read),
                Some(Question::Classify(batch)) => Polled::Classify(batch),
                None => unreachable!("a future that waits has a request"),
            },
        }
    }
}

impl<C: Core> Shared<C> {
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        // Panics of the futures are caught, and no other code leaves the state inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the other thread, unlocked: otherwise it would be woken only to wait for the lock.
    fn notify<'s>(
        &'s self,
        state: MutexGuard<'s, State<C>>,
        other: &Condvar,
    ) -> MutexGuard<'s, State<C>> {
        drop(state);
        other.notify_one();
        self.lock()
    }

    /// Polls and reads as long as this thread is in charge.
    fn work(&self, generation: u64) {
        let mut state = self.lock();
        while state.generation == generation {
            let Some(reply) = state.runnable.take() else {
                state = self.resumed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            match state.poll(reply) {
                Polled::Read(mut read) => {
                    state.is_reading = true;
                    state.reads += 1;
                    drop(state);
                    read.perform(&self.procfs);
                    state = self.lock();
                    if state.generation == generation {
                        state.is_reading = false;
                        state.runnable = Some(Some(Reply::Read(read)));
                    }
                }
                Polled::Classify(batch) => {
                    state.batch = Some(batch);
                    state = self.notify(state, &self.suspended);
                }
                Polled::Finished(finished) => {
                    state.finished = Some(finished);
                    state = self.notify(state, &self.suspended);
                }
            }
        }
    }
}

/// Watches the reads of a step.
struct Watch {
    timeout: Duration,
    /// The number of the read, and since when it is in progress.
    read: u64,
    since: Instant,
    extensions: usize,
    /// How many reads were abandoned.
    stuck: u32,
}

impl Watch {
    fn new(timeout: Duration) -> Watch {
        Watch { timeout, read: 0, since: Instant::now(), extensions: 0, stuck: 0 }
    }

    /// The time that one read may take.
    fn timeout(&self) -> Duration {
        match self.stuck {
            0..FULL_TIMEOUTS => self.timeout,
            FULL_TIMEOUTS..32 => self.timeout / 4,
            _ => self.timeout / 20,
        }
    }

    /// How long to wait before the next look.
    fn tick(&self) -> Duration {
        (self.timeout() / 4).max(Duration::from_millis(1))
    }

    /// Whether this read takes too long.
    fn is_overdue(&mut self, read: u64) -> bool {
        if self.read != read {
            (self.read, self.since, self.extensions) = (read, Instant::now(), MAX_EXTENSIONS);
        }
        self.since.elapsed() >= self.timeout()
    }

    /// Gives a read more time because its thread waits for a CPU; false if it has had enough.
    fn extend(&mut self) -> bool {
        self.since = Instant::now();
        let may_extend = self.extensions > 0;
        self.extensions = self.extensions.saturating_sub(1);
        may_extend
    }
}

impl<C: Core> Executor<C> {
    /// Starts the reader. A read that takes longer than `timeout` is abandoned, and at most
    /// `max_stuck` at a time.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn new(
        procfs: Arc<Procfs>,
        proc_root: PathBuf,
        timeout: Duration,
        max_stuck: usize,
    ) -> std::io::Result<Executor<C>> {
        let state = State {
            job: place(perform::<C>),
            runnable: None,
            is_reading: false,
            reads: 0,
            batch: None,
            finished: None,
            generation: 0,
        };
        let shared = Arc::new(Shared {
            procfs,
            proc_root,
            state: Mutex::new(state),
            resumed: Condvar::new(),
            suspended: Condvar::new(),
        });
        let reader = Some(Reader::start(&shared, 0)?);
        Ok(Executor { shared, reader, timeout, max_stuck })
    }

    /// Runs one step to its end.
    pub(crate) fn run(
        &mut self,
        core: C,
        step: C::Step,
        classify: &mut Classify<'_>,
    ) -> Finished<C, C::Output> {
        let Executor { shared, reader, timeout, max_stuck } = self;
        let mut watch = Watch::new(*timeout);
        let mut state = shared.lock();
        state.job.start(core, step);
        state.runnable = Some(None);
        if reader.is_none() {
            *reader = Reader::start_another(shared, &state, *max_stuck);
        }
        state = shared.notify(state, &shared.resumed);
        loop {
            if let Some(finished) = state.finished.take() {
                return finished;
            }
            if let Some(mut batch) = state.batch.take() {
                drop(state);
                let result = catch_unwind(AssertUnwindSafe(|| {
                    batch.classify(classify);
                    batch
                }));
                state = shared.lock();
                state.runnable = Some(Some(Reply::Classified(result)));
                state = shared.notify(state, &shared.resumed);
                continue;
            }
            let Some(active) = reader else {
                let Some(reply) = state.runnable.take() else {
                    unreachable!("without a reader the future is not polled elsewhere")
                };
                match state.poll(reply) {
                    // Not performed.
                    Polled::Read(read) => state.runnable = Some(Some(Reply::Read(read))),
                    Polled::Classify(batch) => state.batch = Some(batch),
                    Polled::Finished(finished) => return finished,
                }
                continue;
            };
            let waited = shared.suspended.wait_timeout(state, watch.tick());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !state.is_reading || !watch.is_overdue(state.reads) {
                continue;
            }
            // Unlocked, so that the reader does not wait for this.
            drop(state);
            let is_extended = active.is_running() && watch.extend();
            state = shared.lock();
            if is_extended || !state.is_reading || watch.read != state.reads {
                continue;
            }
            watch.stuck += 1;
            state.generation += 1;
            state.is_reading = false;
            if let Some(left) = reader.take() {
                state.runnable = Some(Some(Reply::Blocked(left.thread)));
            }
            *reader = Reader::start_another(shared, &state, *max_stuck);
        }
    }
}

impl<C: Core> Drop for Executor<C> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.generation += 1;
        let is_reading = state.is_reading;
        drop(state);
        self.shared.resumed.notify_all();
        if let Some(reader) = self.reader.take()
            && !is_reading
        {
            // It waits for a step, so it ends at once; stuck threads are not joined.
            let _ = reader.thread.join();
        }
    }
}

impl<C: Core> fmt::Debug for Executor<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Reader {
    fn start<C: Core>(shared: &Arc<Shared<C>>, generation: u64) -> std::io::Result<Reader> {
        let stat = Arc::new(OnceLock::new());
        let (theirs, its_stat) = (Arc::clone(shared), Arc::clone(&stat));
        let work = move || {
            if let Ok(thread_dir) = std::fs::read_link(theirs.proc_root.join("thread-self")) {
                let _ = its_stat.set(theirs.proc_root.join(thread_dir).join("stat"));
            }
            theirs.work(generation);
        };
        let thread = std::thread::Builder::new().name("reader".into()).stack_size(STACK_SIZE);
        Ok(Reader { thread: thread.spawn(work)?, stat })
    }

    /// Starts a reader unless too many are stuck.
    fn start_another<C: Core>(
        shared: &Arc<Shared<C>>,
        state: &State<C>,
        max_stuck: usize,
    ) -> Option<Reader> {
        // Each thread has a reference, and the executor.
        let stuck = Arc::strong_count(shared) - 1;
        if stuck >= max_stuck { None } else { Reader::start(shared, state.generation).ok() }
    }

    /// Whether the thread runs or is runnable: on a busy machine, and after the machine was
    /// suspended, it waits for a CPU.
    fn is_running(&self) -> bool {
        let stat = self.stat.get().and_then(|path| std::fs::read(path).ok());
        let state = stat.and_then(|stat| StatCore::parse(&stat).ok().map(|stat| stat.state));
        state == Some(ProcessState::Running)
    }
}

/// Runs a future of the driver in this thread, with reads that do not block.
#[cfg(test)]
pub(crate) fn run_here<T>(
    procfs: &Procfs,
    classify: &mut Classify<'_>,
    future: impl Future<Output = T>,
) -> T {
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => return output,
            Poll::Pending => REPLY.set(match QUESTION.take() {
                Some(Question::Read(mut read)) => {
                    read.perform(procfs);
                    Some(Reply::Read(read))
                }
                Some(Question::Classify(mut batch)) => {
                    batch.classify(classify);
                    Some(Reply::Classified(Ok(batch)))
                }
                None => panic!("a future that waits has a request"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use psstat_testproc::TempDir;
    use rustix::fs::Mode;

    use super::*;
    use crate::options::FastPaths;
    use crate::read::blocking::{Lock, unread};
    use crate::read::outcome::{Outcome, Unread};
    use crate::read::procfs::ProcDir;
    use crate::read::reads::Reads;
    use crate::read::stuck_readers::Limits;
    use crate::read::text_file::TextFile;

    const BLOCKED: Outcome<usize> = Outcome::Unread(Unread::Blocked);
    const DEFERRED: Outcome<usize> = Outcome::Unread(Unread::Deferred);

    /// Reads the lengths of command lines.
    struct Lines(Reads);

    impl Core for Lines {
        type Step = Vec<u32>;
        type Output = Vec<(u32, Outcome<usize>)>;

        async fn perform(&mut self, pids: Vec<u32>) -> Self::Output {
            self.0.stuck.review();
            let mut results = Vec::new();
            for tid in pids {
                let process = ProcDir::Pid(tid);
                let (file, limit, text) = (TextFile::Cmdline, usize::MAX, Vec::new());
                let read = Read::Text { process, file, limit, text, outcome: unread() };
                let outcome = match self.0.refusal(tid, Lock::AddressSpace) {
                    Some(unread) => Outcome::Unread(unread),
                    None => match self.0.request(tid, read).await {
                        Some(Read::Text { text, outcome, .. }) => outcome.map(|()| text.len()),
                        _ => BLOCKED,
                    },
                };
                results.push((tid, outcome));
            }
            assert!(results.first().is_none_or(|&(pid, _)| pid != 999), "a bug");
            results
        }
    }

    struct Reader {
        lines: Option<Lines>,
        executor: Executor<Lines>,
    }

    impl Reader {
        fn new(proc: &Path, limits: Limits, timeout: Duration) -> Reader {
            let procfs = Arc::new(Procfs::open(proc, FastPaths::ALL).unwrap());
            let lines = Some(Lines(Reads::new(Arc::clone(&procfs), limits)));
            let executor = Executor::new(procfs, proc.to_owned(), timeout, limits.total).unwrap();
            Reader { lines, executor }
        }

        fn read(&mut self, pids: &[u32]) -> Vec<(u32, Outcome<usize>)> {
            let lines = self.lines.take().unwrap();
            let finished = self.executor.run(lines, pids.to_vec(), &mut |_, _| ());
            self.lines = Some(finished.core);
            finished.result.unwrap_or_else(|payload| resume_unwind(payload))
        }

        /// Opens the other end of the pipe, so that the stuck thread ends. Opened for reading too,
        /// since the open for writing alone blocks if the thread has not opened its end yet.
        fn release(&mut self, pid: u32, pipe: &Path) {
            drop(std::fs::OpenOptions::new().read(true).write(true).open(pipe).unwrap());
            let stuck = &mut self.lines.as_mut().unwrap().0.stuck;
            while stuck.is_stuck_on(pid) {
                std::thread::yield_now();
                stuck.review();
            }
        }
    }

    /// Writes the files of a process. `None` makes `cmdline` a pipe without a writer, which
    /// blocks at open as a lock of the process does at read.
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

    /// Long enough for a busy machine.
    const TIMEOUT: Duration = Duration::from_secs(1);

    #[test]
    fn reads_self_and_reports_exited() {
        let mut reader = Reader::new(Path::new("/proc"), Limits::DEFAULT, TIMEOUT);
        let own = std::process::id();
        let line = Outcome::Value(std::fs::read("/proc/self/cmdline").unwrap().len());
        for _ in 0..3 {
            let results = reader.read(&[own, u32::MAX, own]);
            assert_eq!(results, [(own, line), (u32::MAX, Outcome::Exited), (own, line)]);
        }
    }

    #[test]
    fn blocking_process_does_not_delay_others() {
        let proc = TempDir::new().unwrap();
        process(proc.path(), 1, 0, Some(b"one\0"));
        let pipe = process(proc.path(), 2, 0, None);
        process(proc.path(), 3, 0, Some(&vec![b'x'; 3 << 20]));
        let mut reader = Reader::new(proc.path(), Limits::DEFAULT, TIMEOUT);
        let [one, large] = [4, 3 << 20].map(Outcome::Value);
        for _ in 0..2 {
            assert_eq!(reader.read(&[1, 2, 3, 1]), [(1, one), (2, BLOCKED), (3, large), (1, one)]);
        }
        reader.release(2, &pipe);
        std::fs::remove_file(&pipe).unwrap();
        std::fs::write(&pipe, "late\0").unwrap();
        assert_eq!(reader.read(&[2]), [(2, Outcome::Value(5))]);
    }

    /// On a busy machine, processes were reported as blocked that did not block.
    #[test]
    fn runnable_reader_is_not_blocked() {
        let proc = TempDir::new().unwrap();
        let pipe = process(proc.path(), 1, 0, None);
        // The thread waits for the pipe, but its `stat` contains the state of a running one.
        std::os::unix::fs::symlink("reader", proc.join("thread-self")).unwrap();
        std::fs::create_dir(proc.join("reader")).unwrap();
        let line = std::fs::read_to_string("/proc/self/stat").unwrap();
        let after_comm = line.rsplit_once(") ").unwrap().1;
        let stat = format!("1 (reader) R{}", &after_comm[1..]);
        std::fs::write(proc.join("reader/stat"), stat).unwrap();
        let timeout = Duration::from_millis(500);
        let mut reader = Reader::new(proc.path(), Limits::DEFAULT, timeout);
        let writer = std::thread::spawn(move || {
            std::thread::sleep(2 * timeout);
            std::fs::write(pipe, "late\0").unwrap();
        });
        assert_eq!(reader.read(&[1]), [(1, Outcome::Value(5))]);
        writer.join().unwrap();
    }

    /// Once the maximum number of threads was stuck, on processes of any user, no command line
    /// was read any more.
    #[test]
    fn limits() {
        let proc = TempDir::new().unwrap();
        let pipes: Vec<PathBuf> =
            (1..=5).map(|pid| process(proc.path(), pid, 1000, None)).collect();
        process(proc.path(), 7, 1000, Some(b"theirs\0"));
        process(proc.path(), 8, 1001, Some(b"another\0"));
        let limits = Limits { per_user: 4, total: 6 };
        let mut reader = Reader::new(proc.path(), limits, TIMEOUT);
        let [theirs, another] = [7, 8].map(Outcome::Value);
        // The limit per user.
        let blocked = [1, 2, 3, 4].map(|pid| (pid, BLOCKED));
        for _ in 0..2 {
            let results = reader.read(&[1, 2, 3, 4, 5, 7, 8]);
            assert_eq!(results[..4], blocked);
            assert_eq!(results[4..], [(5, DEFERRED), (7, DEFERRED), (8, another)]);
        }
        reader.release(1, &pipes[0]);
        assert_eq!(reader.read(&[7, 8]), [(7, theirs), (8, another)]);
        // The total limit: no thread is left.
        let others = [9, 10, 11].map(|pid| process(proc.path(), pid, 2000 + pid, None));
        assert_eq!(reader.read(&[9, 10, 11]), [9, 10, 11].map(|pid| (pid, BLOCKED)));
        assert_eq!(reader.read(&[7, 8]), [(7, DEFERRED), (8, DEFERRED)]);
        for (pid, pipe) in [2, 3, 4, 9, 10, 11].into_iter().zip(pipes[1..4].iter().chain(&others)) {
            reader.release(pid, pipe);
        }
        assert_eq!(reader.read(&[7, 8]), [(7, theirs), (8, another)]);
    }

    /// The state stays with the caller, and the next step works.
    #[test]
    fn panic_in_a_step() {
        let mut reader = Reader::new(Path::new("/proc"), Limits::DEFAULT, TIMEOUT);
        let panicked = catch_unwind(AssertUnwindSafe(|| reader.read(&[999])));
        assert!(panicked.is_err());
        let own = std::process::id();
        assert!(matches!(reader.read(&[own])[..], [(_, Outcome::Value(_))]));
    }
}
