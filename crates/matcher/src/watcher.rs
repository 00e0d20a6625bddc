//! A conf that is followed while it changes.
//!
//! When a change is in force: a new state of the file is taken once it has
//! been still for [`QUIET`], or, where events tell that somebody has written
//! and not yet closed it, for [`QUIET_OPEN`], and did not change while it was
//! read. So a file that is written in pieces is taken when it is
//! complete, as long as the pauses are shorter than that, and a change is in
//! force well within a second of the last write. Without events (no inotify,
//! or a network file system) a change is seen at the next look, at most
//! [`LOOK`] later, and taken at the one after it.
//!
//! A file that is missing, unreadable or without a good line is told once;
//! whoever follows it keeps the rules it had.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::file::{self, FileStamp, LoadError, LoadedConfig};
pub use crate::watch::InotifyLimit;
use crate::watch::Watch;

/// How long a changed file must be still before it is taken.
pub const SETTLE_TIME: Duration = Duration::from_millis(400);
/// The same while a writer has it open.
pub const SETTLE_TIME_WHILE_OPEN: Duration = Duration::from_millis(700);
/// How often it is looked at without an event.
pub const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// The shortest time between two looks that events cause.
const MIN_POLL_GAP: Duration = Duration::from_millis(20);
/// Timestamps of some file systems have a step of 2 s; a file that was
/// younger than this when it was taken is read once more when it is not.
const MTIME_GRANULARITY: Duration = Duration::from_millis(2_500);

/// What [`LiveConf::poll`] tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// There are rules, new or changed. They replace the ones before. The
    /// diagnostics of a file that not everybody may read quote nothing of it.
    Loaded(Box<LoadedConfig>),
    /// The file gives no rules any more, or none yet. The ones before stay.
    Unusable(LoadError),
}

/// What [`LiveConf::look`] read: a file's content, or why there is none.
#[derive(Debug)]
pub struct RawConfig(Result<(Vec<u8>, FileStamp), LoadError>);

/// Follows a conf file through every way of changing it.
///
/// Wait with `poll(2)` on [`fd`](Self::fd) until [`deadline`](Self::deadline),
/// then call [`poll`](Self::poll); or just call `poll` often.
///
/// Reading the file may block where it lies on a network file system whose
/// server is gone.
///
/// ```no_run
/// use psstat_matcher::watcher::{Event, LiveConf};
/// use std::time::{Duration, Instant};
///
/// let mut live = LiveConf::new("/pxy/shared/conf/psstat.conf");
/// loop {
///     match live.poll(Instant::now()) {
///         Some(Event::Loaded(loaded)) => println!("{} rules", loaded.conf.rules.rules().len()),
///         Some(Event::Unusable(reason)) => eprintln!("the conf {reason}"),
///         _ => std::thread::sleep(Duration::from_millis(100)),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct ConfigWatcher {
    path: PathBuf,
    watch: Watch,
    /// The state that was dealt with last.
    current: Option<State>,
    /// A state that is not yet dealt with, and since when it is still.
    pending: Option<(State, Instant)>,
    /// The last event that is not yet followed by a look.
    last_event: Option<Instant>,
    last_poll: Option<Instant>,
    /// What was told last.
    told: Option<LastReported>,
    next_poll: Option<Instant>,
    /// When to read a young file once more.
    needs_recheck: Option<Instant>,
}

/// What a look at the path gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    File(FileStamp),
    /// The number of the error.
    Failed(Option<i32>),
}

impl State {
    fn of(path: &Path) -> Self {
        match FileStamp::of(path) {
            Ok(identity) => Self::File(identity),
            Err(e) => Self::Failed(e.raw_os_error()),
        }
    }

    /// Whether it is a device, a pipe or the like, whose events tell of its users
    /// and not of another conf.
    fn is_device_or_fifo(&self) -> bool {
        const TYPE: u32 = 0o170_000;
        const S_IFREG: u32 = 0o100_000;
        matches!(self, Self::File(identity) if identity.mode & TYPE != S_IFREG)
    }

    /// Device and number of the file.
    fn inode(&self) -> Option<(u64, u64)> {
        match self {
            Self::File(identity) => Some((identity.dev, identity.ino)),
            Self::Failed(_) => None,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum LastReported {
    Loaded { content: u64, uid: u32, gid: u32, mode: u32 },
    NoRule { content: u64 },
    Unusable((u8, Option<i32>)),
}

impl ConfigWatcher {
    /// Follows `path`, which need not exist yet, nor its directories. Nothing
    /// is read before the first [`poll`](Self::poll).
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        // A later chdir must not lead to another file.
        let path = std::path::absolute(&path).unwrap_or(path);
        Self {
            watch: Watch::new(path.clone()),
            path,
            current: None,
            pending: None,
            last_event: None,
            last_poll: None,
            told: None,
            next_poll: None,
            needs_recheck: None,
        }
    }

    /// The file that is followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What becomes readable when something may have changed; `None` where
    /// there are no events. It may be another one after each
    /// [`poll`](Self::poll).
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.fd()
    }

    /// What the kernel has too little of to tell of every change: then some are
    /// noticed by looking alone, every [`LOOK`]. It is asked for more at each
    /// look.
    pub fn shortage(&self) -> Option<InotifyLimit> {
        self.watch.shortage()
    }

    /// When to [`poll`](Self::poll) at the latest; `None` before the first
    /// time, which is now.
    pub fn deadline(&self) -> Option<Instant> {
        self.next_poll
    }

    /// Lets the next [`poll`](Self::poll) read the file and tell what it
    /// gives, changed or not (SIGHUP).
    pub fn reload(&mut self) {
        self.told = None;
        self.current = None;
        self.pending = None;
        self.next_poll = None;
    }

    /// Looks whether something has changed and tells it, each change once.
    ///
    /// Cheap where there was no event and [`deadline`](Self::deadline) is not
    /// reached. Where nothing has changed, a look allocates nothing and is one
    /// `stat` of each directory on the way and one of the file.
    ///
    /// The first call tells at once what is there, unless the file was changed
    /// within the last [`QUIET`]; [`file::load`] waits for nothing.
    pub fn poll(&mut self, now: Instant) -> Option<Event> {
        let found = self.read_raw(now)?;
        self.parse_and_report(found)
    }

    /// The part of [`poll`](Self::poll) that reads the file, and may block; what
    /// it found is for [`understand`](Self::understand).
    pub fn read_raw(&mut self, now: Instant) -> Option<RawConfig> {
        if self.watch.read_events() {
            self.last_event = Some(now);
            // Somebody who writes in small pieces makes thousands of events.
            let soon = self.last_poll.map_or(now, |at| now.max(at + MIN_POLL_GAP));
            self.next_poll = Some(self.next_poll.map_or(soon, |at| at.min(soon)));
        }
        if self.next_poll.is_some_and(|at| now < at) {
            return None;
        }
        // First the watches, then the look: what changes after the look makes
        // an event.
        self.watch.update_watches(self.last_event.is_some());
        self.last_poll = Some(now);
        let mut state = State::of(&self.path);
        if !self.watch.is_active(state.inode()) {
            // It changed where no event tells of it.
            self.watch.update_watches(true);
            state = State::of(&self.path);
        }
        let recheck = self.needs_recheck.is_some_and(|at| at <= now);
        let touched = self.last_event.take().filter(|_| !state.is_device_or_fifo());
        if touched.is_none() && !recheck && self.pending.is_none() && self.current == Some(state) {
            self.next_poll = Some(
                self.needs_recheck.map_or(now + POLL_INTERVAL, |at| at.min(now + POLL_INTERVAL)),
            );
            return None;
        }
        let quiet =
            if self.watch.is_being_written() { SETTLE_TIME_WHILE_OPEN } else { SETTLE_TIME };
        let since = match (touched, self.pending.take()) {
            (Some(at), _) => at,
            (None, Some((earlier, since))) if earlier == state => since,
            (None, Some(_)) => now,
            // At the start, and where a file that was taken is read once
            // more, one that was changed a while ago needs no wait.
            (None, None) if (recheck || self.current.is_none()) && is_older(&state, quiet) => {
                now.checked_sub(quiet).unwrap_or(now)
            }
            (None, None) => now,
        };
        if now.saturating_duration_since(since) < quiet {
            return self.wait(state, since, since + quiet);
        }
        let read = file::read(&self.path);
        if !owned_by(&read, &state) {
            return self.wait(state, now, now + quiet);
        }
        self.current = Some(state);
        self.needs_recheck =
            (!is_older(&state, MTIME_GRANULARITY)).then(|| now + MTIME_GRANULARITY);
        self.next_poll = Some(now + POLL_INTERVAL);
        Some(RawConfig(read))
    }

    fn wait(&mut self, state: State, since: Instant, until: Instant) -> Option<RawConfig> {
        self.pending = Some((state, since));
        self.next_poll = Some(until);
        None
    }

    /// The part of [`poll`](Self::poll) that parses what was found, which takes
    /// CPU alone. Tells nothing where it is what was told last.
    pub fn parse_and_report(&mut self, RawConfig(read): RawConfig) -> Option<Event> {
        let (told, event) = match read {
            Ok((bytes, identity)) => {
                let content = fingerprint(&bytes);
                let FileStamp { uid, gid, mode, .. } = identity;
                let loaded = LastReported::Loaded { content, uid, gid, mode };
                let without = LastReported::NoRule { content };
                if self.told.as_ref().is_some_and(|t| *t == loaded || *t == without) {
                    return None;
                }
                let mut understood = file::parse(&bytes, identity);
                if mode & READABLE_BY_ALL == 0 {
                    redact_source(&mut understood);
                }
                match understood {
                    Ok(conf) => (loaded, Event::Loaded(Box::new(conf))),
                    Err(reason) => (without, Event::Unusable(reason)),
                }
            }
            Err(reason) => (LastReported::Unusable(reason.kind()), Event::Unusable(reason)),
        };
        if self.told.as_ref() == Some(&told) {
            return None;
        }
        self.told = Some(told);
        Some(event)
    }
}

/// Permission to read for those who neither own the file nor are of its group.
const READABLE_BY_ALL: u32 = 0o004;

/// A file that not everybody may read is not quoted in a log that others may
/// read: whoever controls the path could have linked it to any file.
fn redact_source(understood: &mut Result<LoadedConfig, LoadError>) {
    let diagnostics = match understood {
        Ok(loaded) => &mut loaded.conf.diagnostics,
        Err(LoadError::NoRule(diagnostics)) => diagnostics,
        Err(_) => return,
    };
    for diagnostic in diagnostics {
        diagnostic.text.clear();
        diagnostic.help = "a check of the conf shows the line".to_owned();
    }
}

fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Whether what was read is the state that was waited for.
fn owned_by(read: &Result<(Vec<u8>, FileStamp), LoadError>, state: &State) -> bool {
    match (read, state) {
        (Ok((_, read)), State::File(seen)) => read == seen,
        (Ok(_), State::Failed(_)) | (Err(LoadError::ChangedWhileReading), _) => false,
        // It may have another reason than the look had: EACCES is one of
        // opening only.
        (Err(_), _) => true,
    }
}

/// Whether the last change lies further back than that, by the clock that
/// stamps files. What cannot be told counts as young, what is missing as old.
fn is_older(state: &State, age: Duration) -> bool {
    let State::File(identity) = state else { return true };
    let (seconds, nanoseconds) = identity.ctime.max(identity.mtime);
    let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u32::try_from(nanoseconds))
    else {
        return false;
    };
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::new(seconds, nanoseconds))
        .and_then(|then| SystemTime::now().duration_since(then).ok())
        .is_some_and(|passed| passed >= age)
}

impl From<LoadError> for io::Error {
    fn from(reason: LoadError) -> Self {
        match reason {
            LoadError::Unreadable(e) => e,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}
