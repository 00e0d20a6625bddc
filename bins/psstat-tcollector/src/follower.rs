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

use psstat_matcher::live::{Event, LiveConf, Shortage};
use psstat_matcher::ownership::{Complaint, ownership};
use psstat_sampler::spawn_apart;
use rustix::event::{PollFd, PollFlags};

use crate::cycle::protected;
use crate::fault;
use crate::rights;
use crate::wait::timespec;

/// A look that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(3);
/// When another thread tries after one that hangs; the time doubles up to the
/// longest.
const RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(600);
/// How many threads may hang at once. When there are more, one has to come back
/// before another tries.
const HANGING: usize = 32;
/// A pattern is parsed and compiled with as much room as on the main thread;
/// what is not used takes no memory.
const STACK: usize = 8 << 20;

/// What a look at the file gave, and how its following goes.
#[derive(Debug)]
pub enum News {
    /// The file has changed; what is wrong with its ownership.
    Conf(Event, Vec<Complaint>),
    /// A defect showed while it was read; it is logged.
    Defect,
    /// The kernel tells of changes no longer, or not of all.
    Shortage(Shortage),
    /// The look hangs. Told once until there is other news of the file.
    Hangs,
}

/// Follows the file.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    /// Whom it should belong to.
    owner: String,
    /// What the thread rings, and is rung by.
    near: UnixStream,
    far: Arc<Far>,
    current: Current,
    /// Threads that were left behind.
    hanging: Vec<JoinHandle<()>>,
    /// It was told that a look hangs.
    told: bool,
    retry: Duration,
}

/// The thread's end of the bell.
#[derive(Debug)]
struct Far(UnixStream);

impl AsFd for Far {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The thread that follows the file now.
#[derive(Debug)]
struct Current {
    desk: Arc<Mutex<Desk>>,
    thread: JoinHandle<()>,
}

/// Where the two threads meet.
#[derive(Debug, Default)]
struct Desk {
    news: Vec<News>,
    /// Since when it looks at the file, while it does.
    looks_since: Option<Instant>,
    /// It looks at the file, or parses what it found.
    is_busy: bool,
    /// It was told that this look hangs.
    hang_told: bool,
    /// The file is to be read, changed or not.
    reload: bool,
    /// Nobody waits for this thread any more.
    left: bool,
}

impl Desk {
    /// For how long the look hangs, if it does.
    fn hangs_for(&self) -> Option<Duration> {
        self.looks_since.and_then(|since| since.elapsed().checked_sub(PATIENCE))
    }

    /// Keeps what matters of what nobody has taken yet: the last good rules, and
    /// what was told since.
    fn put(&mut self, news: News) {
        match news {
            News::Conf(Event::Loaded(_), _) => self.news.retain(|n| !matches!(n, News::Conf(..))),
            News::Conf(..) => {
                let is_good = |n: &News| matches!(n, News::Conf(Event::Loaded(_), _));
                self.news.retain(|n| !matches!(n, News::Conf(..)) || is_good(n));
            }
            _ => {}
        }
        self.news.push(news);
    }
}

fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    // Neither side leaves the desk half changed.
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Follower {
    /// Follows this file, which should belong to `owner`, from now on.
    ///
    /// # Errors
    /// When the system has no descriptor or thread left.
    pub fn start(path: PathBuf, owner: String) -> std::io::Result<Follower> {
        // A later chdir must not lead to another file.
        let path = std::path::absolute(&path).unwrap_or(path);
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let far = Arc::new(Far(far));
        let current = Current::hire(&path, &owner, &far)?;
        Ok(Follower {
            path,
            owner,
            near,
            far,
            current,
            hanging: Vec::new(),
            told: false,
            retry: RETRY,
        })
    }

    /// The file that is followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What becomes readable when there is news.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.near.as_fd()
    }

    /// Whether the file is being looked at or parsed.
    pub fn is_busy(&self) -> bool {
        lock(&self.current.desk).is_busy
    }

    /// Has the file read, changed or not.
    pub fn reload(&mut self) {
        let mut desk = lock(&self.current.desk);
        desk.reload = true;
        let hangs = desk.hangs_for().is_some();
        drop(desk);
        ring(&self.near);
        if hangs {
            self.try_again();
        }
    }

    /// What there is to know since the last time.
    pub fn news(&mut self) -> Vec<News> {
        silence(&self.near);
        let mut desk = lock(&self.current.desk);
        let mut news = std::mem::take(&mut desk.news);
        let hangs_for = desk.hangs_for();
        desk.hang_told |= hangs_for.is_some();
        drop(desk);
        if news.iter().any(|n| matches!(n, News::Conf(..))) {
            self.told = false;
            self.retry = RETRY;
        }
        let Some(time) = hangs_for else { return news };
        if !std::mem::replace(&mut self.told, true) {
            news.push(News::Hangs);
        }
        // It is the current one until another tries: it may come back.
        if time > self.retry {
            self.retry = (self.retry * 2).min(LONGEST_RETRY);
            self.try_again();
        }
        news
    }

    /// Leaves the thread behind, if there may be another.
    fn try_again(&mut self) {
        self.hanging.retain(|thread| !thread.is_finished());
        if self.hanging.len() >= HANGING {
            return;
        }
        let Ok(next) = Current::hire(&self.path, &self.owner, &self.far) else { return };
        let left = std::mem::replace(&mut self.current, next);
        lock(&left.desk).left = true;
        self.hanging.push(left.thread);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        lock(&self.current.desk).left = true;
        ring(&self.near);
    }
}

impl Current {
    fn hire(path: &Path, owner: &str, far: &Arc<Far>) -> std::io::Result<Current> {
        let desk = Arc::new(Mutex::new(Desk { is_busy: true, ..Desk::default() }));
        let (theirs, path, owner) = (Arc::clone(&desk), path.to_owned(), owner.to_owned());
        let thread = Builder::new().name("conf".into()).stack_size(STACK);
        let thread = spawn_apart(thread, Arc::clone(far), move |far| {
            rights::as_the_user(|| follow(&theirs, &far.0, LiveConf::new(path), &owner));
        })?;
        Ok(Current { desk, thread })
    }
}

/// The thread's life.
fn follow(desk: &Mutex<Desk>, far: &UnixStream, mut live: LiveConf, owner: &str) {
    let mut shortage = None;
    loop {
        silence(far);
        let mut shared = lock(desk);
        if shared.left {
            return;
        }
        if std::mem::take(&mut shared.reload) {
            live.reload();
        }
        let now = Instant::now();
        shared.looks_since = Some(now);
        shared.is_busy = true;
        drop(shared);
        let looked = protected(|| {
            let found = live.look(now);
            lock(desk).looks_since = None;
            let event = live.understand(found?)?;
            fault::perhaps(format_args!("conf"));
            let complaints = match &event {
                // May ask a name service, which may be slow.
                Event::Loaded(loaded) => ownership(&loaded.identity, owner),
                _ => Vec::new(),
            };
            Some(News::Conf(event, complaints))
        });
        let mut shared = lock(desk);
        (shared.looks_since, shared.is_busy) = (None, false);
        if shared.left {
            return;
        }
        if std::mem::take(&mut shared.hang_told) && matches!(looked, Some(None)) {
            // What is there is news again.
            live.reload();
        }
        let short = std::mem::replace(&mut shortage, live.shortage()) != live.shortage();
        match looked {
            Some(news) => news.into_iter().for_each(|news| shared.put(news)),
            None => shared.put(News::Defect),
        }
        if let (true, Some(shortage)) = (short, shortage) {
            shared.put(News::Shortage(shortage));
        }
        let is_news = !shared.news.is_empty();
        drop(shared);
        if is_news {
            ring(far);
        }
        sleep(far, &live);
    }
}

/// Until something may have changed, the time has come to look, or the bell.
fn sleep(far: &UnixStream, live: &LiveConf) {
    let deadline = live.deadline().unwrap_or_else(Instant::now);
    let timeout = timespec(deadline.saturating_duration_since(Instant::now()));
    let far = PollFd::from_borrowed_fd(far.as_fd(), PollFlags::IN);
    // An interrupted sleep is one more look.
    let _ = match live.fd() {
        Some(events) => {
            let events = PollFd::from_borrowed_fd(events, PollFlags::IN);
            rustix::event::poll(&mut [far, events], Some(&timeout))
        }
        None => rustix::event::poll(&mut [far], Some(&timeout)),
    };
}

fn ring(mut bell: &UnixStream) {
    // When it is full, it has been rung.
    let _ = bell.write(&[1]);
}

fn silence(mut bell: &UnixStream) {
    let mut buffer = [0; 64];
    while matches!(bell.read(&mut buffer), Ok(1..)) {}
}
