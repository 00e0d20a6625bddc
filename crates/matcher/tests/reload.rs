//! Every kind of change of a config file is detected, and partially written files
//! are not loaded.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use psstat_matcher::Severity;
use psstat_matcher::file::LoadError;
use psstat_matcher::watcher::{ConfigWatcher, Event, POLL_INTERVAL};
use psstat_testproc::TempDir;

/// A watcher with a simulated clock: no time limit depends on the host's speed,
/// and nothing waits.
struct Simulation {
    watcher: ConfigWatcher,
    clock: Instant,
}

impl Simulation {
    fn new(path: impl Into<PathBuf>) -> Self {
        Self { watcher: ConfigWatcher::new(path), clock: Instant::now() }
    }

    /// Polls every 5 ms of this time, until there is an event.
    fn advance(&mut self, time: Duration) -> Option<Event> {
        let end = self.clock + time;
        while self.clock < end {
            self.clock += Duration::from_millis(5);
            if let Some(event) = self.watcher.poll(self.clock) {
                return Some(event);
            }
        }
        None
    }

    fn next(&mut self) -> Event {
        self.advance(POLL_INTERVAL * 3).unwrap()
    }

    /// Expects that a config file with this image is loaded next.
    #[track_caller]
    fn expect_loaded(&mut self, image: &str) {
        assert_eq!(images(&self.next()), [image]);
    }

    #[track_caller]
    fn expect_no_event(&mut self) {
        let event = self.advance(POLL_INTERVAL * 3);
        assert!(event.is_none(), "{event:?}");
    }
}

fn images(event: &Event) -> Vec<String> {
    match event {
        Event::Loaded(l) => l.conf.rules.images().iter().map(ToString::to_string).collect(),
        other => panic!("not loaded: {other:?}"),
    }
}

/// The error of the first file that has changed.
fn error(event: &Event) -> Arc<LoadError> {
    let Event::Unusable(sources) = event else { panic!("not unusable: {event:?}") };
    let changed = sources.files.iter().find(|file| file.has_changed);
    changed.unwrap().error.clone().unwrap()
}

fn write(path: &Path, image: &str) {
    fs::write(path, format!("{image} x\n")).unwrap();
}

#[test]
fn file_written_in_place() {
    let dir = TempDir::new().unwrap();
    let path = dir.join("conf");
    write(&path, "one");
    let mut simulation = Simulation::new(&path);
    simulation.expect_loaded("one");
    write(&path, "two");
    simulation.expect_loaded("two");
    // The same content again is not a change.
    write(&path, "two");
    simulation.expect_no_event();
}

#[test]
fn renamed_file_and_older_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.join("conf");
    write(&path, "one");
    let mut simulation = Simulation::new(&path);
    simulation.expect_loaded("one");
    write(&dir.join("new"), "two");
    fs::rename(dir.join("new"), &path).unwrap();
    simulation.expect_loaded("two");
    write(&dir.join("old"), "old");
    let file = fs::File::options().write(true).open(dir.join("old")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap();
    fs::rename(dir.join("old"), &path).unwrap();
    simulation.expect_loaded("old");
}

#[test]
fn switched_directory_link() {
    // As in Kubernetes: conf -> ..data/conf, ..data -> a directory.
    let dir = TempDir::new().unwrap();
    for (name, image) in [("v1", "one"), ("v2", "two")] {
        fs::create_dir(dir.join(name)).unwrap();
        write(&dir.join(name).join("conf"), image);
    }
    symlink("v1", dir.join("..data")).unwrap();
    symlink("..data/conf", dir.join("conf")).unwrap();
    let mut simulation = Simulation::new(dir.join("conf"));
    simulation.expect_loaded("one");
    symlink("v2", dir.join("..data_tmp")).unwrap();
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    fs::remove_dir_all(dir.join("v1")).unwrap();
    simulation.expect_loaded("two");
    write(&dir.join("v2/conf"), "three");
    simulation.expect_loaded("three");
}

#[test]
fn created_and_removed_directories() {
    let dir = TempDir::new().unwrap();
    let path = dir.join("a/b/conf");
    let mut simulation = Simulation::new(&path);
    assert!(matches!(*error(&simulation.next()), LoadError::Unreadable(_)));
    fs::create_dir_all(dir.join("a/b")).unwrap();
    write(&path, "one");
    simulation.expect_loaded("one");
    fs::rename(dir.join("a"), dir.join("z")).unwrap();
    assert!(matches!(*error(&simulation.next()), LoadError::Unreadable(_)));
    // Reported once.
    simulation.expect_no_event();
    fs::create_dir_all(dir.join("a/b")).unwrap();
    write(&path, "two");
    simulation.expect_loaded("two");
    fs::remove_dir_all(dir.join("a")).unwrap();
    assert!(matches!(*error(&simulation.next()), LoadError::Unreadable(_)));
    // The same content as the last valid file, but it was missing in between.
    fs::rename(dir.join("z"), dir.join("a")).unwrap();
    simulation.expect_loaded("one");
}

/// Every write to a device causes an event for its watchers. With frequent writes
/// the device never settled, and the change to it was never reported.
#[test]
fn link_to_busy_device_is_reported() {
    let dir = TempDir::new().unwrap();
    let path = dir.join("psstat.conf");
    write(&path, "one");
    let mut simulation = Simulation::new(&path);
    simulation.expect_loaded("one");
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                fs::write("/dev/null", "x").unwrap();
                sleep(Duration::from_millis(1));
            }
        });
        symlink("/dev/null", dir.join("new")).unwrap();
        fs::rename(dir.join("new"), &path).unwrap();
        let start = Instant::now();
        let mut event = None;
        while event.is_none() && start.elapsed() < Duration::from_secs(20) {
            event = simulation.advance(Duration::from_millis(5));
            sleep(Duration::from_millis(5));
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(matches!(*error(&event.unwrap()), LoadError::NotAFile));
    });
}

// Only events show whether a writer has the file open.
#[cfg(feature = "inotify")]
#[test]
fn file_written_in_parts_is_loaded_when_complete() {
    let dir = TempDir::new().unwrap();
    let path = dir.join("conf");
    write(&path, "one");
    let mut simulation = Simulation::new(&path);
    simulation.expect_loaded("one");
    use std::io::Write as _;
    // Pauses up to SETTLE_TIME_WHILE_OPEN with the file open, else up to
    // SETTLE_TIME.
    let mut file = fs::File::create(&path).unwrap();
    for image in ["a", "b", "c"] {
        writeln!(file, "{image} x").unwrap();
        assert!(simulation.advance(Duration::from_millis(450)).is_none());
    }
    drop(file);
    assert_eq!(images(&simulation.next()), ["a", "b", "c"]);
    fs::write(&path, "").unwrap();
    for image in ["d", "e", "f"] {
        let mut file = fs::File::options().append(true).open(&path).unwrap();
        writeln!(file, "{image} x").unwrap();
        drop(file);
        assert!(simulation.advance(Duration::from_millis(150)).is_none());
    }
    assert_eq!(images(&simulation.next()), ["d", "e", "f"]);
}

#[test]
fn config_without_rules_then_fixed() {
    let dir = TempDir::new().unwrap();
    let path = dir.join("conf");
    write(&path, "one");
    let mut simulation = Simulation::new(&path);
    simulation.expect_loaded("one");
    fs::write(&path, "bad (\n").unwrap();
    match &*error(&simulation.next()) {
        LoadError::NoRule(diagnostics) => assert_eq!(diagnostics.len(), 1),
        other => panic!("{other:?}"),
    }
    simulation.expect_no_event();
    write(&path, "one");
    simulation.expect_loaded("one");
    // A change of the mode is reported, because the caller checks the owner.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    simulation.expect_loaded("one");
    fs::remove_file(&path).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from(0o644)).unwrap();
    assert!(matches!(*error(&simulation.next()), LoadError::NotAFile));
    // Reported again on request.
    simulation.watcher.reload();
    assert!(matches!(*error(&simulation.next()), LoadError::NotAFile));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(*error(&simulation.next()), LoadError::NoFile));
}

/// A file that is mounted as such stays the same when it is replaced at its source,
/// and nothing said so.
#[test]
fn file_without_a_name_has_a_warning() {
    let dir = TempDir::new().unwrap();
    let path = dir.join("conf");
    write(&path, "one");
    let file = fs::File::open(&path).unwrap();
    // Leads to the file itself, whatever its name, as a mount does.
    let link = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let mut simulation = Simulation::new(&link);
    let warnings = |event: &Event| match event {
        Event::Loaded(loaded) => loaded.conf.diagnostics.clone(),
        other => panic!("not loaded: {other:?}"),
    };
    assert_eq!(warnings(&simulation.next()), []);
    write(&dir.join("new"), "two");
    fs::rename(dir.join("new"), &path).unwrap();
    let event = simulation.next();
    assert_eq!(images(&event), ["one"]);
    let diagnostics = warnings(&event);
    assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
    assert_eq!((diagnostics[0].severity, diagnostics[0].line), (Severity::Warning, None));
    assert!(diagnostics[0].message.contains("link count is 0"), "{diagnostics:?}");
    assert!(diagnostics[0].help.contains("directory"), "{diagnostics:?}");
    // Once.
    simulation.expect_no_event();
    let loaded = psstat_matcher::file::load(&link).unwrap();
    let without_path = diagnostics.into_iter().map(|mut diagnostic| {
        diagnostic.path = None;
        diagnostic
    });
    assert_eq!(loaded.conf.diagnostics, without_path.collect::<Vec<_>>());
}

/// Each event of another file in the directory woke the reader: 27,000 files per
/// second took 28 % of a core.
#[cfg(feature = "inotify")]
#[test]
fn events_of_other_files_are_read_at_a_limited_rate() {
    let dir = TempDir::new().unwrap();
    let path = dir.join("conf");
    write(&path, "one");
    let mut simulation = Simulation::new(&path);
    simulation.expect_loaded("one");
    let watcher = &mut simulation.watcher;
    let mut clock = simulation.clock;
    let (mut files, mut reads) = (0, 0);
    // As a caller does that waits for the descriptor and the deadline.
    let mut run = |watcher: &mut ConfigWatcher, milliseconds: u32| {
        for _ in 0..milliseconds {
            clock += Duration::from_millis(1);
            files += 1;
            fs::write(dir.join(format!("other{files}")), "").unwrap();
            let is_due = watcher.deadline().is_none_or(|at| at <= clock);
            if watcher.fd().is_some() || is_due {
                reads += 1;
                if let Some(event) = watcher.poll(clock) {
                    return (reads, Some(images(&event)));
                }
            }
        }
        (reads, None)
    };
    let (reads, event) = run(watcher, 3_000);
    assert!(event.is_none() && reads <= 40, "{reads} reads in 3 s: {event:?}");
    // A change is still loaded within a second.
    write(&path, "two");
    assert_eq!(run(watcher, 1_000).1, Some(vec!["two".to_owned()]));
}

/// With more events than are read at a time, a change is found by polling.
#[cfg(feature = "inotify")]
#[test]
fn change_during_a_flood_of_events_is_loaded() {
    let dir = TempDir::new().unwrap();
    let path = dir.join("conf");
    write(&path, "one");
    let mut simulation = Simulation::new(&path);
    simulation.expect_loaded("one");
    let flood = || {
        for n in 0..3_000 {
            fs::write(dir.join(format!("other{}", n % 100)), "").unwrap();
            fs::remove_file(dir.join(format!("other{}", n % 100))).unwrap();
        }
    };
    // Their reads alone take longer than the change below may.
    flood();
    flood();
    write(&path, "two");
    let mut event = None;
    for _ in 0..10 {
        event = event.or(simulation.advance(Duration::from_millis(95)));
        flood();
    }
    assert_eq!(images(&event.unwrap()), ["two"]);
}
