//! Live reload of a config file.
//!
//! A new version of the file is loaded once it has been unchanged for
//! [`SETTLE_TIME`], or for [`SETTLE_TIME_WHILE_OPEN`] if events show that a
//! writer has changed and not yet closed it, and only if it did not change
//! while it was read. A file that is written in parts is therefore loaded when
//! it is complete, provided that the pauses are shorter than that, and a change
//! is active within a second of the last write. Without events (no inotify, or
//! a network file system) a change is detected by the next poll, at most
//! [`POLL_INTERVAL`] later, and loaded by the poll after that.
//!
//! A missing, unreadable or rule-less file is reported once; the caller keeps
//! its current rules.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::file::{self, FileStamp, LoadError, LoadedConfig};
pub use crate::watch::InotifyLimit;
use crate::watch::Watch;

/// Time that a changed file must stay unchanged before it is loaded.
pub const SETTLE_TIME: Duration = Duration::from_millis(400);
/// The same while a writer has the file open.
pub const SETTLE_TIME_WHILE_OPEN: Duration = Duration::from_millis(700);
/// Interval between polls without an event.
pub const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Minimum time between two polls caused by events.
const MIN_POLL_GAP: Duration = Duration::from_millis(20);
/// Minimum time between two reads of the pending events. There can be tens of
/// thousands per second, of other files in the same directory.
const EVENT_GAP: Duration = Duration::from_millis(100);
/// Timestamps of some file systems have a resolution of 2 s. A file that was
/// modified less than this time before it was loaded is read once more later.
const MTIME_GRANULARITY: Duration = Duration::from_millis(2_500);

/// A change reported by [`ConfigWatcher::poll`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A new or changed config file, whose rules replace the current ones. The
    /// diagnostics of a file that not all users can read do not quote it.
    Loaded(Box<LoadedConfig>),
    /// The file gives no rules, or no longer. The current rules stay.
    Unusable(LoadError),
}

/// The result of [`ConfigWatcher::read_raw`]: a file's content, or an error.
#[derive(Debug)]
pub struct RawConfig(Result<(Vec<u8>, FileStamp), LoadError>);

/// Watches a config file and detects every kind of change.
///
/// Wait with `poll(2)` on [`fd`](Self::fd) until [`deadline`](Self::deadline),
/// then call [`poll`](Self::poll); or call `poll` periodically.
///
/// Reading the file can block if it is on a network file system whose server is
/// unreachable.
///
/// ```no_run
/// use psstat_matcher::watcher::{ConfigWatcher, Event};
/// use std::time::{Duration, Instant};
///
/// let mut watcher = ConfigWatcher::new("/pxy/shared/conf/psstat.conf");
/// loop {
///     match watcher.poll(Instant::now()) {
///         Some(Event::Loaded(loaded)) => println!("{} rules", loaded.conf.rules.rules().len()),
///         Some(Event::Unusable(error)) => eprintln!("config file {error}"),
///         _ => std::thread::sleep(Duration::from_millis(100)),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct ConfigWatcher {
    path: PathBuf,
    watch: Watch,
    /// The state that was read last.
    current: Option<State>,
    /// A state that is not read yet, and the time since which it is unchanged.
    pending: Option<(State, Instant)>,
    /// The last event that was not yet followed by a poll of the path.
    last_event: Option<Instant>,
    last_poll: Option<Instant>,
    /// Events were not read since the last poll.
    events_lost: bool,
    /// The time before which no events are read.
    events_paused_until: Option<Instant>,
    last_reported: Option<LastReported>,
    next_poll: Option<Instant>,
    /// When to read a recently modified file once more.
    needs_recheck: Option<Instant>,
}

/// The state of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    File(FileStamp),
    /// The errno of `stat`.
    Failed(Option<i32>),
}

impl State {
    fn of_path(path: &Path) -> Self {
        match FileStamp::of_path(path) {
            Ok(stamp) => Self::File(stamp),
            Err(e) => Self::Failed(e.raw_os_error()),
        }
    }

    /// Whether it is a device, a pipe or similar. Its events are caused by its
    /// users, not by a change of the config file.
    fn is_device_or_fifo(&self) -> bool {
        const S_IFMT: u32 = 0o170_000;
        const S_IFREG: u32 = 0o100_000;
        matches!(self, Self::File(stamp) if stamp.mode & S_IFMT != S_IFREG)
    }

    /// Device and inode number of the file.
    fn inode(&self) -> Option<(u64, u64)> {
        match self {
            Self::File(stamp) => Some((stamp.dev, stamp.ino)),
            Self::Failed(_) => None,
        }
    }
}

/// The event that was reported last, to report each change once.
#[derive(Debug, PartialEq, Eq)]
enum LastReported {
    Loaded { content: u64, uid: u32, gid: u32, mode: u32, is_unlinked: bool },
    NoRule { content: u64 },
    Unusable((u8, Option<i32>)),
}

impl ConfigWatcher {
    /// Watches `path`. Neither the file nor its directories need to exist.
    /// Nothing is read before the first [`poll`](Self::poll).
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        // A later chdir must not change the meaning of a relative path.
        let path = std::path::absolute(&path).unwrap_or(path);
        Self {
            watch: Watch::new(path.clone()),
            path,
            current: None,
            pending: None,
            last_event: None,
            last_poll: None,
            events_lost: false,
            events_paused_until: None,
            last_reported: None,
            next_poll: None,
            needs_recheck: None,
        }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A descriptor that becomes readable after a possible change; `None` if
    /// there are no events, or if none are read before
    /// [`deadline`](Self::deadline). It can differ after each
    /// [`poll`](Self::poll).
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.fd().filter(|_| self.events_paused_until.is_none())
    }

    /// The kernel limit that prevents events for some changes, which are then
    /// detected by polling every [`POLL_INTERVAL`]. Each poll requests the
    /// missing watches again.
    pub fn inotify_limit(&self) -> Option<InotifyLimit> {
        self.watch.limit_reached()
    }

    /// The time of the next [`poll`](Self::poll) at the latest; `None` before
    /// the first one, which is due immediately.
    pub fn deadline(&self) -> Option<Instant> {
        self.next_poll.map(|at| self.events_paused_until.map_or(at, |until| at.min(until)))
    }

    /// Makes the next [`poll`](Self::poll) read the file and report the result
    /// even if it is unchanged (SIGHUP).
    pub fn reload(&mut self) {
        self.last_reported = None;
        self.current = None;
        self.pending = None;
        self.next_poll = None;
    }

    /// Checks whether the file has changed; returns each change once.
    ///
    /// Cheap if there was no event and [`deadline`](Self::deadline) is not
    /// reached. If nothing has changed, it does not allocate and calls `stat`
    /// once per directory of the path and once for the file.
    ///
    /// The first call reports the current file immediately, unless it was
    /// modified within the last [`SETTLE_TIME`]; [`file::load`] does not wait.
    pub fn poll(&mut self, now: Instant) -> Option<Event> {
        let raw = self.read_raw(now)?;
        self.parse_and_report(raw)
    }

    /// The first part of [`poll`](Self::poll), which reads the file and can
    /// block. Pass its result to
    /// [`parse_and_report`](Self::parse_and_report).
    pub fn read_raw(&mut self, now: Instant) -> Option<RawConfig> {
        if self.events_paused_until.is_none_or(|until| until <= now) {
            let events = self.watch.read_events();
            self.events_paused_until = events.any.then(|| now + EVENT_GAP);
            if events.affected {
                self.last_event = Some(now);
            }
            // The path may be affected. If it is not, a changed file still settles.
            self.events_lost |= events.overflow;
            if events.affected || events.overflow {
                // A process that writes small parts causes thousands of events.
                let soon = self.last_poll.map_or(now, |at| now.max(at + MIN_POLL_GAP));
                self.next_poll = Some(self.next_poll.map_or(soon, |at| at.min(soon)));
            }
        }
        if self.next_poll.is_some_and(|at| now < at) {
            return None;
        }
        // The watches are set before the state is read, so that a change after
        // the read produces an event.
        let events_lost = std::mem::take(&mut self.events_lost);
        self.watch.update_watches(self.last_event.is_some() || events_lost);
        self.last_poll = Some(now);
        let mut state = State::of_path(&self.path);
        if !self.watch.is_active(state.inode()) {
            // It changed without an event.
            self.watch.update_watches(true);
            state = State::of_path(&self.path);
        }
        let is_recheck = self.needs_recheck.is_some_and(|at| at <= now);
        let event = self.last_event.take().filter(|_| !state.is_device_or_fifo());
        if event.is_none() && !is_recheck && self.pending.is_none() && self.current == Some(state) {
            self.next_poll = Some(
                self.needs_recheck.map_or(now + POLL_INTERVAL, |at| at.min(now + POLL_INTERVAL)),
            );
            return None;
        }
        let settle_time =
            if self.watch.is_being_written() { SETTLE_TIME_WHILE_OPEN } else { SETTLE_TIME };
        let unchanged_since = match (event, self.pending.take()) {
            (Some(at), _) => at,
            (None, Some((earlier, since))) if earlier == state => since,
            (None, Some(_)) => now,
            // At the start, and when a loaded file is read once more, a file
            // whose last change is old enough need not settle.
            (None, None)
                if (is_recheck || self.current.is_none()) && is_older(&state, settle_time) =>
            {
                now.checked_sub(settle_time).unwrap_or(now)
            }
            (None, None) => now,
        };
        if now.saturating_duration_since(unchanged_since) < settle_time {
            return self.wait(state, unchanged_since, unchanged_since + settle_time);
        }
        let result = file::read(&self.path);
        if !is_of_state(&result, &state) {
            return self.wait(state, now, now + settle_time);
        }
        self.current = Some(state);
        self.needs_recheck =
            (!is_older(&state, MTIME_GRANULARITY)).then(|| now + MTIME_GRANULARITY);
        self.next_poll = Some(now + POLL_INTERVAL);
        Some(RawConfig(result))
    }

    fn wait(&mut self, state: State, since: Instant, until: Instant) -> Option<RawConfig> {
        self.pending = Some((state, since));
        self.next_poll = Some(until);
        None
    }

    /// The second part of [`poll`](Self::poll), which parses the content and
    /// uses CPU only. Returns nothing if the result equals the last report.
    pub fn parse_and_report(&mut self, RawConfig(result): RawConfig) -> Option<Event> {
        let (report, event) = match result {
            Ok((bytes, stamp)) => {
                let content = fingerprint(&bytes);
                let FileStamp { uid, gid, mode, nlink, .. } = stamp;
                let is_unlinked = nlink == 0;
                let with_rules = LastReported::Loaded { content, uid, gid, mode, is_unlinked };
                let without_rules = LastReported::NoRule { content };
                if self
                    .last_reported
                    .as_ref()
                    .is_some_and(|l| *l == with_rules || *l == without_rules)
                {
                    return None;
                }
                let mut parsed = file::parse(&bytes, stamp);
                if mode & READABLE_BY_ALL == 0 {
                    redact_source(&mut parsed);
                }
                match parsed {
                    Ok(config) => (with_rules, Event::Loaded(Box::new(config))),
                    Err(error) => (without_rules, Event::Unusable(error)),
                }
            }
            Err(error) => (LastReported::Unusable(error.kind()), Event::Unusable(error)),
        };
        if self.last_reported.as_ref() == Some(&report) {
            return None;
        }
        self.last_reported = Some(report);
        Some(event)
    }
}

/// Read permission for users other than the owner and its group.
const READABLE_BY_ALL: u32 = 0o004;

/// Removes quotes of a file that not all users can read, because the log may be
/// readable to more users: a user who controls the path can link it to any file.
fn redact_source(parsed: &mut Result<LoadedConfig, LoadError>) {
    let diagnostics = match parsed {
        Ok(loaded) => &mut loaded.conf.diagnostics,
        Err(LoadError::NoRule(diagnostics)) => diagnostics,
        Err(_) => return,
    };
    for diagnostic in diagnostics.iter_mut().filter(|diagnostic| diagnostic.line > 0) {
        diagnostic.text.clear();
        diagnostic.help = "run `psstat-dump check` to see the line".to_owned();
    }
}

fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Whether the result of a read belongs to the state that has settled.
fn is_of_state(result: &Result<(Vec<u8>, FileStamp), LoadError>, state: &State) -> bool {
    match (result, state) {
        (Ok((_, stamp)), State::File(expected)) => stamp == expected,
        (Ok(_), State::Failed(_)) | (Err(LoadError::ChangedWhileReading), _) => false,
        // The errors can differ: `open` returns EACCES where `stat` succeeds.
        (Err(_), _) => true,
    }
}

/// Whether the last change is at least `age` old by the clock of the file
/// timestamps. Unknown ages count as new, a missing file counts as old.
fn is_older(state: &State, age: Duration) -> bool {
    let State::File(stamp) = state else { return true };
    let (seconds, nanoseconds) = stamp.ctime.max(stamp.mtime);
    let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u32::try_from(nanoseconds))
    else {
        return false;
    };
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::new(seconds, nanoseconds))
        .and_then(|changed| SystemTime::now().duration_since(changed).ok())
        .is_some_and(|passed| passed >= age)
}
