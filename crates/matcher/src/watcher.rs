//! Live reload of config files: of one, of several, and of directories of files.
//!
//! A new version of a file is loaded once it has been unchanged for
//! [`SETTLE_TIME`], or for [`SETTLE_TIME_WHILE_OPEN`] if events show that a
//! writer has changed and not yet closed it, and only if it did not change
//! while it was read. A file that is written in parts is therefore loaded when
//! it is complete, provided that the pauses are shorter than that, and a change
//! is active within a second of the last write. Without events (no inotify, or
//! a network file system) a change is detected by the next poll, at most
//! [`POLL_INTERVAL`] later, and loaded by the poll after that.
//!
//! A missing, unreadable or rule-less file is reported once, and its last valid
//! rules stay in use; see [`sources`] for files of a directory. A
//! file that is removed from a directory is removed with its rules, once it has
//! been missing for [`SETTLE_TIME`]. If the directory itself is missing or
//! cannot be read, the rules of its files stay.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::file::{self, FileStamp, LoadError};
use crate::ownership::{OwnerPolicy, OwnershipIssue};
use crate::sources::{self, FileData, Listing, LoadedSources, SourceFile};
pub use crate::watch::InotifyLimit;
use crate::watch::{Descriptor, Event as WatchEvent, Notifier, PathWatch, WatchSet};

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
/// The time for which the first event waits for files that are being written, if
/// others can be loaded.
const MAX_FIRST_WAIT: Duration = Duration::from_millis(800);
/// Listing a directory, and parsing all files, uses at most one part in this
/// number of the time.
const MAX_SHARE: u32 = 10;
/// Work that takes less than this is not delayed.
const SHORT_LISTING: Duration = Duration::from_millis(5);
const SHORT_PARSE: Duration = Duration::from_millis(50);

/// A change reported by [`ConfigWatcher::poll`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A new or changed file, or one was removed. These rules replace the current
    /// ones. The diagnostics of a file that not all users can read do not quote
    /// it.
    Loaded(Box<LoadedSources>),
    /// A file gives no rules, or no longer. The current rules stay.
    Unusable(Box<LoadedSources>),
}

/// Watches config files and detects every kind of change.
///
/// Wait with `poll(2)` on [`fd`](Self::fd) until [`deadline`](Self::deadline),
/// then call [`poll`](Self::poll); or call `poll` periodically.
///
/// Reading a file can block if it is on a network file system whose server is
/// unreachable. To read other files meanwhile, a caller replaces `poll` by
/// [`begin`](Self::begin), then [`next_task`](Self::next_task) and
/// [`finish`](Self::finish) for each task, which it can run in any thread, and
/// [`take_event`](Self::take_event).
///
/// ```no_run
/// use psstat_matcher::watcher::{ConfigWatcher, Event};
/// use std::time::{Duration, Instant};
///
/// let mut watcher = ConfigWatcher::new("/pxy/shared/conf/psstat.conf");
/// loop {
///     match watcher.poll(Instant::now()) {
///         Some(Event::Loaded(loaded)) => println!("{} rules", loaded.conf.rules.rules().len()),
///         Some(Event::Unusable(sources)) => {
///             for file in sources.files.iter().filter(|file| file.has_changed) {
///                 eprintln!("{}: {:?}", file.path.display(), file.error);
///             }
///         }
///         _ => std::thread::sleep(Duration::from_millis(100)),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct ConfigWatcher {
    notifier: Notifier,
    given: Arc<[Arc<Path>]>,
    sources: Vec<Source>,
    owner: Option<Arc<OwnerPolicy>>,
    /// The time before which no events are read.
    events_paused_until: Option<Instant>,
    /// When all paths are polled.
    next_round: Option<Instant>,
    /// Files that were removed since the last event.
    removed: Vec<SourceFile>,
    /// The state of a file has changed since the last event.
    has_changed: bool,
    /// The contents whose rules were in use at the last event.
    in_use: Vec<Arc<[u8]>>,
    /// The time until which the first event waits for other files; `None` after
    /// it.
    first_event_by: FirstEvent,
    /// The time before which no files are parsed.
    parse_paused_until: Option<Instant>,
    next_id: u64,
}

/// Whether the first event was reported.
#[derive(Clone, Copy, Debug)]
enum FirstEvent {
    Pending,
    WaitsUntil(Instant),
    Reported,
}

/// A path that was given, and the files if it is a directory.
#[derive(Debug)]
struct Source {
    slot: Slot,
    /// In the order of their names.
    entries: Vec<Slot>,
}

/// A file or directory.
#[derive(Debug)]
struct Slot {
    id: u64,
    data: FileData,
    /// `None` while a task has it.
    unit: Option<Box<Unit>>,
    /// It was read once, or found to be unusable.
    has_result: bool,
    last_reported: Option<LastReported>,
    /// There were events while a task had it.
    has_missed_events: bool,
    /// A reload was requested while a task had it.
    reload: bool,
    /// Since when the name is missing in its directory.
    absent_since: Option<Instant>,
}

/// The state that was reported last, to report each change once.
#[derive(Debug, PartialEq, Eq)]
enum LastReported {
    Loaded { content: u64, uid: u32, gid: u32, mode: u32, is_unlinked: bool },
    Directory { uid: u32, gid: u32, mode: u32, count_beyond: usize },
    Unusable((u8, Option<i32>)),
}

/// A check of one path, which can block, and the read of the file if it has
/// changed.
#[derive(Debug)]
pub struct Task(Box<Unit>);

impl Task {
    /// Identifies it, also after it was passed to another thread.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The path.
    pub fn path(&self) -> &Arc<Path> {
        &self.0.path
    }

    /// Checks the path.
    pub fn run(&mut self) {
        self.0.run();
    }
}

/// The state of a path in the file system.
#[derive(Debug)]
struct Unit {
    id: u64,
    path: Arc<Path>,
    is_entry: bool,
    given: Arc<[Arc<Path>]>,
    owner: Option<Arc<OwnerPolicy>>,
    watch: PathWatch,
    watch_set: Option<WatchSet>,
    /// The time of the check.
    now: Instant,
    /// The state that was read last.
    current: Option<State>,
    /// A state that is not read yet, and the time since which it is unchanged.
    pending: Option<(State, Instant)>,
    /// The last event that was not yet followed by a poll of the path.
    last_event: Option<Instant>,
    last_poll: Option<Instant>,
    /// Events were not read since the last poll.
    events_lost: bool,
    /// When to check it, if that is before the next round.
    next_poll: Option<Instant>,
    /// When to read a recently modified file once more.
    needs_recheck: Option<Instant>,
    /// The time before which the directory is not listed.
    listing_paused_until: Option<Instant>,
    output: Option<Output>,
}

/// The result of a read.
#[derive(Debug)]
enum Output {
    File(Result<(Vec<u8>, FileStamp), LoadError>, Vec<OwnershipIssue>),
    Directory(Result<Listing, LoadError>, FileStamp, Vec<OwnershipIssue>),
}

/// The state of a path.
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
        matches!(self, Self::File(stamp) if !stamp.is_regular())
    }

    /// Device and inode number of the file.
    fn inode(&self) -> Option<(u64, u64)> {
        match self {
            Self::File(stamp) => Some((stamp.dev, stamp.ino)),
            Self::Failed(_) => None,
        }
    }
}

impl ConfigWatcher {
    /// Watches `path`, a file or a directory. Neither it nor its directories need
    /// to exist. Nothing is read before the first [`poll`](Self::poll).
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::of_paths([path], None)
    }

    /// Watches these paths, each a file or a directory; their rules are used in
    /// this order. With `owner`, the owner and permissions of each file and
    /// directory are checked.
    pub fn of_paths(
        paths: impl IntoIterator<Item = impl Into<PathBuf>>,
        owner: Option<OwnerPolicy>,
    ) -> Self {
        // A later chdir must not change the meaning of a relative path.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let paths = paths.into_iter().map(|path| absolute(path.into()));
        let given: Arc<[Arc<Path>]> = sources::unique(paths).into();
        let mut watcher = Self {
            notifier: Notifier::default(),
            given: Arc::clone(&given),
            sources: Vec::new(),
            owner: owner.map(Arc::new),
            events_paused_until: None,
            next_round: None,
            removed: Vec::new(),
            has_changed: false,
            in_use: Vec::new(),
            first_event_by: FirstEvent::Pending,
            parse_paused_until: None,
            next_id: 0,
        };
        for path in given.iter() {
            let slot = watcher.new_slot(path, false);
            watcher.sources.push(Source { slot, entries: Vec::new() });
        }
        watcher
    }

    /// The paths that were given, each once.
    pub fn paths(&self) -> &[Arc<Path>] {
        &self.given
    }

    fn new_slot(&mut self, path: &Arc<Path>, is_entry: bool) -> Slot {
        let id = self.new_id();
        let unit = Unit::new(id, path, is_entry, &self.given, self.owner.as_ref());
        Slot {
            id,
            data: FileData::new(path, is_entry),
            unit: Some(Box::new(unit)),
            has_result: false,
            last_reported: None,
            has_missed_events: false,
            reload: false,
            absent_since: None,
        }
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A descriptor that becomes readable after a possible change; `None` if
    /// there are no events, or if none are read before
    /// [`deadline`](Self::deadline). It can differ after each
    /// [`poll`](Self::poll).
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.notifier.fd().filter(|_| self.events_paused_until.is_none())
    }

    /// The kernel limit that prevents events for some changes, which are then
    /// detected by polling every [`POLL_INTERVAL`]. Each poll requests the
    /// missing watches again.
    pub fn inotify_limit(&self) -> Option<InotifyLimit> {
        let of_paths = || self.slots().find_map(|slot| slot.unit.as_ref()?.watch.limit_reached());
        self.notifier.limit_reached().or_else(of_paths)
    }

    /// The time of the next [`poll`](Self::poll) at the latest; `None` before
    /// the first one, which is due immediately.
    pub fn deadline(&self) -> Option<Instant> {
        let mut deadline = self.next_round?;
        let mut include = |at: Option<Instant>| {
            deadline = at.map_or(deadline, |at| deadline.min(at));
        };
        include(self.events_paused_until);
        for source in &self.sources {
            include(source.slot.unit.as_ref().and_then(|unit| unit.next_poll));
            if source.has_entries_to_poll() {
                for entry in &source.entries {
                    if let Some(since) = entry.absent_since {
                        include((!source.is_settling()).then(|| since + SETTLE_TIME));
                    } else {
                        include(entry.unit.as_ref().and_then(|unit| unit.next_poll));
                    }
                }
            }
        }
        if self.has_changed {
            include(self.parse_paused_until);
            if let FirstEvent::WaitsUntil(at) = self.first_event_by {
                include(Some(at));
            }
        }
        Some(deadline)
    }

    /// Makes the next [`poll`](Self::poll) read all files and report the result
    /// even if it is unchanged (SIGHUP).
    pub fn reload(&mut self) {
        for slot in self.slots_mut() {
            slot.reload();
        }
        if let Some(owner) = &self.owner {
            owner.forget();
        }
        self.next_round = None;
        self.parse_paused_until = None;
    }

    /// Checks whether a file has changed; returns each change once.
    ///
    /// Cheap if there was no event and [`deadline`](Self::deadline) is not
    /// reached. If nothing has changed, it does not allocate and calls `stat`
    /// once per directory of each path and once for each file.
    ///
    /// The first call reports the current files immediately, unless one was
    /// modified within the last [`SETTLE_TIME`]; [`sources::load`] does not wait.
    pub fn poll(&mut self, now: Instant) -> Option<Event> {
        self.begin(now);
        while let Some(mut task) = self.next_task(now) {
            task.run();
            self.finish(task);
        }
        self.take_event(now)
    }

    /// The first part of [`poll`](Self::poll): reads the events, and determines
    /// which paths have to be checked. Does not block.
    pub fn begin(&mut self, now: Instant) {
        if self.events_paused_until.is_none_or(|until| until <= now) {
            self.read_events(now);
        }
        if self.next_round.is_none_or(|at| at <= now) {
            self.notifier.start();
            self.next_round = Some(now + POLL_INTERVAL);
            for slot in self.slots_mut() {
                slot.poll_at(now);
            }
        }
        for source in &mut self.sources {
            let is_absent = |entry: &Slot| entry.is_absent(now);
            let is_listed = source.has_entries_to_poll() && !source.is_settling();
            if is_listed && source.entries.iter().any(is_absent) {
                // Before the names are removed, the directory is checked again.
                source.slot.poll_at(now);
            }
        }
    }

    fn read_events(&mut self, now: Instant) {
        let Self { notifier, sources, .. } = self;
        let summary = notifier.read_events(&mut |event| {
            for slot in slots_of(sources) {
                slot.on_event(event, now);
            }
        });
        self.events_paused_until = summary.any.then(|| now + EVENT_GAP);
        if summary.overflow {
            let is_new = self.notifier.fd().is_none();
            for slot in self.slots_mut() {
                match &mut slot.unit {
                    Some(unit) => {
                        if is_new {
                            unit.watch.clear();
                        }
                        // The path may be affected. If it is not, a changed file
                        // still settles.
                        unit.events_lost = true;
                        unit.poll_soon(now);
                    }
                    None => slot.has_missed_events = true,
                }
            }
        }
    }

    /// The next path to check at this time, the same as in [`begin`](Self::begin).
    pub fn next_task(&mut self, now: Instant) -> Option<Task> {
        let watch_set = self.notifier.watch_set();
        for source in &mut self.sources {
            if let Some(task) = source.slot.take_due(now, watch_set.as_ref()) {
                return Some(task);
            }
            if !source.has_entries_to_poll() {
                continue;
            }
            for entry in source.entries.iter_mut().filter(|entry| entry.absent_since.is_none()) {
                if let Some(task) = entry.take_due(now, watch_set.as_ref()) {
                    return Some(task);
                }
            }
        }
        None
    }

    /// Takes the result of a task. That of a path that was
    /// [restarted](Self::restart) since, or that is no longer watched, is ignored.
    pub fn finish(&mut self, Task(mut unit): Task) {
        let now = unit.now;
        while let Some(descriptor) = unit.watch.take_obsolete() {
            self.remove_watch(descriptor, Some(&unit));
        }
        let Some((source, entry)) = self.find(unit.id) else {
            unit.watch.clear();
            while let Some(descriptor) = unit.watch.take_obsolete() {
                self.remove_watch(descriptor, None);
            }
            return;
        };
        let output = unit.output.take();
        unit.watch_set = None;
        let is_strict = self.is_strict();
        let Some(slot) = self.slot_at(source, entry) else { return };
        if slot.data.is_not_responding() && output.is_none() {
            // Report the file again, because it was reported as stuck since.
            slot.reload = true;
        }
        if std::mem::take(&mut slot.has_missed_events) {
            unit.events_lost = true;
            unit.next_poll = Some(now);
        }
        slot.unit = Some(unit);
        if std::mem::take(&mut slot.reload) {
            slot.reload();
            slot.poll_at(now);
        }
        match output {
            None => {}
            Some(Output::File(result, ownership)) => {
                let is_loaded = result.is_ok();
                self.has_changed |= slot.set_file(result, ownership, is_strict);
                match (entry, is_loaded) {
                    (Some(_), _) => {}
                    (None, true) => self.remove_entries(source),
                    (None, false) => self.keep_entries(source),
                }
                let mut files: Vec<&mut FileData> =
                    slots_of(&mut self.sources).map(|slot| &mut slot.data).collect();
                sources::limit_total(&mut files);
            }
            Some(Output::Directory(listing, stamp, ownership)) => {
                self.set_directory(source, listing, stamp, ownership, now);
            }
        }
    }

    fn is_strict(&self) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.is_strict())
    }

    /// Takes the listing of a directory.
    fn set_directory(
        &mut self,
        index: usize,
        listing: Result<Listing, LoadError>,
        stamp: FileStamp,
        ownership: Vec<OwnershipIssue>,
        now: Instant,
    ) {
        let is_strict = self.is_strict();
        let Some(Source { slot, .. }) = self.sources.get_mut(index) else { return };
        let FileStamp { uid, gid, mode, .. } = stamp;
        let report = match &listing {
            Ok(listing) => LastReported::Directory {
                uid,
                gid,
                mode,
                count_beyond: listing.count.saturating_sub(sources::MAX_FILES),
            },
            Err(error) => LastReported::Unusable(error.kind()),
        };
        let was_changed = slot.data.has_changed;
        let names = slot.data.set_directory(listing, stamp, ownership, is_strict);
        let is_unlisted = slot.data.is_unlisted();
        let is_new = slot.last_reported.as_ref() != Some(&report);
        slot.data.has_changed = was_changed || is_new;
        slot.last_reported = Some(report);
        slot.has_result = true;
        self.has_changed |= is_new;
        if is_unlisted {
            self.keep_entries(index);
        } else {
            self.set_entries(index, names, now);
        }
    }

    /// The names of the files of a directory are unknown: none is removed.
    fn keep_entries(&mut self, index: usize) {
        let source = self.sources.get_mut(index);
        for entry in source.into_iter().flat_map(|source| &mut source.entries) {
            entry.absent_since = None;
        }
    }

    fn set_entries(&mut self, index: usize, names: Vec<OsString>, now: Instant) {
        let Some(source) = self.sources.get_mut(index) else { return };
        let directory = Arc::clone(&source.slot.data.path);
        let mut previous = std::mem::take(&mut source.entries).into_iter().peekable();
        let mut entries = Vec::new();
        let mut names = names.into_iter().peekable();
        loop {
            let known = previous.peek().and_then(|entry| entry.data.path.file_name());
            let order = match (known, names.peek()) {
                (Some(known), Some(name)) => known.cmp(name.as_os_str()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => break,
            };
            let is_listed = order.is_ge();
            let name = if is_listed { names.next() } else { None };
            let entry = if order.is_le() { previous.next() } else { None };
            match (entry, name) {
                (Some(mut entry), name) => {
                    if name.is_some() {
                        entry.absent_since = None;
                        entry.poll_at(now);
                    } else {
                        entry.absent_since.get_or_insert(now);
                    }
                    entries.push(entry);
                }
                (None, Some(name)) => {
                    let mut entry = self.new_slot(&directory.join(name).into(), true);
                    entry.poll_at(now);
                    entries.push(entry);
                }
                (None, None) => {}
            }
        }
        if let Some(source) = self.sources.get_mut(index) {
            source.entries = entries;
        }
    }

    /// Removes the files that have been missing for long enough in directories
    /// that can be listed.
    fn remove_absent(&mut self, now: Instant) {
        for index in 0..self.sources.len() {
            let Some(source) = self.sources.get_mut(index) else { return };
            if !source.has_entries_to_poll() || source.is_settling() {
                continue;
            }
            if source.entries.iter().any(|entry| entry.is_absent(now)) {
                let entries = std::mem::take(&mut source.entries);
                let (absent, entries) = entries.into_iter().partition(|entry| entry.is_absent(now));
                source.entries = entries;
                self.drop_entries(absent);
            }
        }
        for source in &mut self.sources {
            if source.has_entries_to_poll() && !source.is_settling() {
                self.has_changed |= source.slot.data.set_empty(source.entries.is_empty());
                // The rules of a file that was in its place stay until its files are read.
                let has_files = !source.entries.is_empty() && !source.is_incomplete();
                if has_files && source.slot.data.in_use.take().is_some() {
                    self.has_changed = true;
                }
            }
        }
    }

    fn remove_entries(&mut self, source: usize) {
        let source = self.sources.get_mut(source);
        let entries = source.map(|source| std::mem::take(&mut source.entries));
        self.drop_entries(entries.unwrap_or_default());
    }

    fn drop_entries(&mut self, entries: Vec<Slot>) {
        for entry in entries {
            if entry.has_result {
                self.has_changed = true;
                self.removed.push(entry.data.state(true));
            }
            if let Some(mut unit) = entry.unit {
                unit.watch.clear();
                while let Some(descriptor) = unit.watch.take_obsolete() {
                    self.remove_watch(descriptor, None);
                }
            }
        }
    }

    /// Removes a watch that no other path needs. If a path that a task has at
    /// present needs it, the kernel's event for the removal makes it set the watch
    /// again.
    fn remove_watch(&self, descriptor: Descriptor, except: Option<&Unit>) {
        let is_used = except.is_some_and(|unit| unit.watch.uses(&descriptor))
            || self
                .slots()
                .any(|slot| slot.unit.as_ref().is_some_and(|unit| unit.watch.uses(&descriptor)));
        if !is_used {
            self.notifier.remove(descriptor);
        }
    }

    /// Marks the path of a task that does not end as not responding. Its rules
    /// stay, and the next event reports it.
    pub fn set_not_responding(&mut self, id: u64) {
        let Some((source, entry)) = self.find(id) else { return };
        let Some(slot) = self.slot_at(source, entry) else { return };
        if slot.data.is_not_responding() {
            return;
        }
        slot.data.set_error(LoadError::NotResponding);
        slot.last_reported = Some(LastReported::Unusable(LoadError::NotResponding.kind()));
        slot.has_result = true;
        self.has_changed = true;
    }

    /// Checks a path again whose task does not end, with another task: the path
    /// may lead to another file by now. The result of the earlier task will be
    /// ignored. Returns the id of the new task, or `None` if the path is not
    /// watched, or the task has finished.
    pub fn restart(&mut self, id: u64, now: Instant) -> Option<u64> {
        let (source, entry) = self.find(id)?;
        let new_id = self.new_id();
        let (given, owner) = (Arc::clone(&self.given), self.owner.clone());
        let slot = self.slot_at(source, entry).filter(|slot| slot.unit.is_none())?;
        let mut unit =
            Box::new(Unit::new(new_id, &slot.data.path, entry.is_some(), &given, owner.as_ref()));
        unit.next_poll = Some(now);
        (slot.id, slot.unit) = (new_id, Some(unit));
        Some(new_id)
    }

    /// The last part of [`poll`](Self::poll): parses the files if one has changed.
    /// Uses CPU only.
    pub fn take_event(&mut self, now: Instant) -> Option<Event> {
        self.remove_absent(now);
        if !self.has_changed || self.parse_paused_until.is_some_and(|until| now < until) {
            return None;
        }
        if !matches!(self.first_event_by, FirstEvent::Reported)
            && self.sources.iter().any(Source::is_incomplete)
        {
            let until = match self.first_event_by {
                FirstEvent::WaitsUntil(until) => until,
                _ => now + MAX_FIRST_WAIT,
            };
            self.first_event_by = FirstEvent::WaitsUntil(until);
            if now < until {
                return None;
            }
        }
        self.first_event_by = FirstEvent::Reported;
        self.has_changed = false;
        let removed = std::mem::take(&mut self.removed);
        let begun = Instant::now();
        let mut files: Vec<&mut FileData> =
            slots_of(&mut self.sources).map(|slot| &mut slot.data).collect();
        let mut loaded = sources::merge(&mut files, true);
        let is_usable = |file: &SourceFile| file.has_changed && file.error.is_none();
        let in_use: Vec<Arc<[u8]>> =
            self.slots().filter_map(|slot| slot.data.in_use.clone()).collect();
        let is_same = in_use.len() == self.in_use.len()
            && in_use.iter().zip(&self.in_use).all(|(one, other)| Arc::ptr_eq(one, other));
        self.in_use = in_use;
        let is_loaded =
            !is_same || (!loaded.conf.rules.is_empty() && loaded.files.iter().any(is_usable));
        loaded.files.extend(removed);
        self.retry_too_large();
        let time = begun.elapsed();
        self.parse_paused_until = (time > SHORT_PARSE).then(|| now + time * MAX_SHARE);
        let loaded = Box::new(loaded);
        Some(if is_loaded { Event::Loaded(loaded) } else { Event::Unusable(loaded) })
    }

    /// Reads the files again that were too large together with others, if those
    /// are smaller now.
    fn retry_too_large(&mut self) {
        let total: usize = self.slots().map(|slot| slot.data.len()).sum();
        for slot in self.slots_mut() {
            if slot.data.too_large_len().is_some_and(|len| total + len <= sources::MAX_TOTAL_LEN) {
                slot.reload();
            }
        }
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.sources.iter().flat_map(|source| std::iter::once(&source.slot).chain(&source.entries))
    }

    fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        slots_of(&mut self.sources)
    }

    /// The position of a path: its source, and the entry of that.
    fn find(&self, id: u64) -> Option<(usize, Option<usize>)> {
        self.sources.iter().enumerate().find_map(|(index, source)| {
            if source.slot.id == id {
                return Some((index, None));
            }
            let entry = source.entries.iter().position(|entry| entry.id == id)?;
            Some((index, Some(entry)))
        })
    }

    fn slot_at(&mut self, source: usize, entry: Option<usize>) -> Option<&mut Slot> {
        let source = self.sources.get_mut(source)?;
        match entry {
            None => Some(&mut source.slot),
            Some(entry) => source.entries.get_mut(entry),
        }
    }
}

fn slots_of(sources: &mut [Source]) -> impl Iterator<Item = &mut Slot> {
    sources
        .iter_mut()
        .flat_map(|source| std::iter::once(&mut source.slot).chain(&mut source.entries))
}

impl Source {
    /// Whether it is a directory whose files can be checked: the directory has
    /// been checked itself, and can be listed.
    fn has_entries_to_poll(&self) -> bool {
        let is_checked = self.slot.unit.is_some();
        is_checked && self.slot.data.is_directory && !self.slot.data.is_unlisted()
    }

    /// Whether the path has changed so recently that the new state is not used.
    fn is_settling(&self) -> bool {
        self.slot.unit.as_ref().is_none_or(|unit| unit.pending.is_some())
    }

    /// Whether a file has not been read yet.
    fn is_incomplete(&self) -> bool {
        let is_unread = |entry: &Slot| !entry.has_result && entry.absent_since.is_none();
        !self.slot.has_result || (self.has_entries_to_poll() && self.entries.iter().any(is_unread))
    }
}

impl Slot {
    fn poll_at(&mut self, now: Instant) {
        if let Some(unit) = &mut self.unit {
            unit.next_poll = Some(unit.next_poll.map_or(now, |at| at.min(now)));
        }
    }

    fn on_event(&mut self, event: &WatchEvent<'_>, now: Instant) {
        match &mut self.unit {
            Some(unit) => {
                if unit.watch.is_affected(event) {
                    unit.last_event = Some(now);
                    unit.poll_soon(now);
                }
            }
            None => self.has_missed_events = true,
        }
    }

    /// Whether its name has been missing for long enough.
    fn is_absent(&self, now: Instant) -> bool {
        self.absent_since.is_some_and(|since| since + SETTLE_TIME <= now)
    }

    fn take_due(&mut self, now: Instant, watch_set: Option<&WatchSet>) -> Option<Task> {
        let is_due = |unit: &mut Box<Unit>| {
            unit.next_poll.is_some_and(|at| at <= now) && unit.last_poll != Some(now)
        };
        let mut unit = self.unit.take_if(is_due)?;
        unit.now = now;
        unit.next_poll = None;
        unit.watch_set = watch_set.cloned();
        Some(Task(unit))
    }

    fn reload(&mut self) {
        self.last_reported = None;
        match &mut self.unit {
            Some(unit) => {
                unit.current = None;
                unit.pending = None;
                unit.listing_paused_until = None;
            }
            None => self.reload = true,
        }
    }

    /// Takes the result of a read; whether it differs from the last one.
    fn set_file(
        &mut self,
        result: Result<(Vec<u8>, FileStamp), LoadError>,
        ownership: Vec<OwnershipIssue>,
        is_strict: bool,
    ) -> bool {
        let report = match &result {
            Ok((bytes, stamp)) => LastReported::Loaded {
                content: fingerprint(bytes),
                uid: stamp.uid,
                gid: stamp.gid,
                mode: stamp.mode,
                is_unlinked: stamp.nlink == 0,
            },
            Err(error) => LastReported::Unusable(error.kind()),
        };
        self.has_result = true;
        if self.last_reported.as_ref() == Some(&report) {
            return false;
        }
        self.last_reported = Some(report);
        match result {
            Ok((bytes, stamp)) => self.data.set_content(bytes, stamp, ownership, is_strict),
            Err(error) => self.data.set_error(error),
        }
        true
    }
}

impl Unit {
    fn new(
        id: u64,
        path: &Arc<Path>,
        is_entry: bool,
        given: &Arc<[Arc<Path>]>,
        owner: Option<&Arc<OwnerPolicy>>,
    ) -> Self {
        Self {
            id,
            path: Arc::clone(path),
            is_entry,
            given: Arc::clone(given),
            owner: owner.cloned(),
            watch: PathWatch::new(Arc::clone(path), is_entry),
            watch_set: None,
            now: Instant::now(),
            current: None,
            pending: None,
            last_event: None,
            last_poll: None,
            events_lost: false,
            next_poll: None,
            needs_recheck: None,
            listing_paused_until: None,
            output: None,
        }
    }

    /// An event may affect it. A process that writes small parts causes thousands
    /// of them.
    fn poll_soon(&mut self, now: Instant) {
        let soon = self.last_poll.map_or(now, |at| now.max(at + MIN_POLL_GAP));
        self.next_poll = Some(self.next_poll.map_or(soon, |at| at.min(soon)));
    }

    /// Checks the path, and reads the file if it has changed.
    fn run(&mut self) {
        let now = self.now;
        // The watches are set before the state is read, so that a change after
        // the read produces an event.
        let events_lost = std::mem::take(&mut self.events_lost);
        self.watch.update(self.watch_set.as_ref(), self.last_event.is_some() || events_lost);
        self.last_poll = Some(now);
        let mut state = State::of_path(&self.path);
        if !self.watch.is_active(state.inode()) {
            // It changed without an event.
            self.watch.update(self.watch_set.as_ref(), true);
            state = State::of_path(&self.path);
        }
        let is_recheck = self.needs_recheck.is_some_and(|at| at <= now);
        match state {
            State::File(stamp) if stamp.is_directory() && !self.is_entry => {
                self.check_directory(stamp, is_recheck);
                return;
            }
            _ => {}
        }
        let event = self.last_event.take().filter(|_| !state.is_device_or_fifo());
        if event.is_none() && !is_recheck && self.pending.is_none() && self.current == Some(state) {
            self.next_poll = self.needs_recheck;
            return;
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
        if !is_of_state(&result, &state) || self.is_removed_entry(&state) {
            return self.wait(state, now, now + settle_time);
        }
        self.current = Some(state);
        self.set_recheck(&state);
        let ownership = match (&result, &self.owner) {
            // This may query a name service, which may be slow.
            (Ok((_, stamp)), Some(owner)) => owner.check(stamp),
            _ => Vec::new(),
        };
        self.output = Some(Output::File(result, ownership));
    }

    /// Whether it is a file of a directory whose name was removed since the
    /// directory was listed. A link that leads to a missing file still exists.
    fn is_removed_entry(&self, state: &State) -> bool {
        let is_missing = || std::fs::symlink_metadata(&self.path).is_err_and(is_not_found);
        self.is_entry && matches!(state, State::Failed(_)) && is_missing()
    }

    /// Lists the directory if it has changed. A list of names cannot be half
    /// written; each file settles by itself.
    fn check_directory(&mut self, stamp: FileStamp, is_recheck: bool) {
        let (now, state) = (self.now, State::File(stamp));
        let is_unchanged = self.current == Some(state) && self.pending.is_none();
        if self.last_event.is_none() && !is_recheck && is_unchanged {
            self.next_poll = self.needs_recheck;
            return;
        }
        if let Some(until) = self.listing_paused_until.filter(|until| now < *until) {
            self.next_poll = Some(until);
            return;
        }
        (self.last_event, self.pending) = (None, None);
        let begun = Instant::now();
        let listing = sources::list(&self.path, &self.given);
        let time = begun.elapsed();
        self.listing_paused_until = (time > SHORT_LISTING).then(|| now + time * MAX_SHARE);
        self.current = Some(state);
        self.set_recheck(&state);
        let ownership = self.owner.as_ref().map_or(Vec::new(), |owner| owner.check(&stamp));
        self.output = Some(Output::Directory(listing, stamp, ownership));
    }

    fn set_recheck(&mut self, state: &State) {
        self.needs_recheck =
            (!is_older(state, MTIME_GRANULARITY)).then(|| self.now + MTIME_GRANULARITY);
        self.next_poll = self.needs_recheck;
    }

    fn wait(&mut self, state: State, since: Instant, until: Instant) {
        self.pending = Some((state, since));
        self.next_poll = Some(until);
    }
}

fn is_not_found(error: std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
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
