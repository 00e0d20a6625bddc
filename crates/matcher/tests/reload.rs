//! Every way of changing a conf is noticed, and half a file never is.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use psstat_matcher::file::LoadError;
use psstat_matcher::watcher::{ConfigWatcher, Event};
use psstat_testproc::TempDir;

/// Polls until an event comes; the limit is far beyond any that is promised,
/// so that a slow machine does not fail.
fn next(live: &mut ConfigWatcher) -> Event {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if let Some(event) = live.poll(Instant::now()) {
            return event;
        }
        sleep(Duration::from_millis(5));
    }
    panic!("no event");
}

fn images(event: &Event) -> Vec<String> {
    match event {
        Event::Loaded(l) => l.conf.rules.images().iter().map(ToString::to_string).collect(),
        other => panic!("not loaded: {other:?}"),
    }
}

/// The next event is a conf with this one image.
fn expect(live: &mut ConfigWatcher, image: &str) {
    assert_eq!(images(&next(live)), [image]);
}

/// Nothing is told for a while.
fn expect_silence(live: &mut ConfigWatcher, time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        let event = live.poll(Instant::now());
        assert!(event.is_none(), "{event:?}");
        sleep(Duration::from_millis(5));
    }
}

fn write(path: &Path, image: &str) {
    fs::write(path, format!("{image} x\n")).unwrap();
}

#[test]
fn written_in_place() {
    let dir = TempDir::new().unwrap();
    let path = dir.join("conf");
    write(&path, "one");
    let mut live = ConfigWatcher::new(&path);
    expect(&mut live, "one");
    write(&path, "two");
    expect(&mut live, "two");
    // The same content again is no news.
    write(&path, "two");
    expect_silence(&mut live, Duration::from_secs(1));
}

#[test]
fn renamed_over_and_an_older_file_moved_in() {
    let dir = TempDir::new().unwrap();
    let path = dir.join("conf");
    write(&path, "one");
    let mut live = ConfigWatcher::new(&path);
    expect(&mut live, "one");
    write(&dir.join("new"), "two");
    fs::rename(dir.join("new"), &path).unwrap();
    expect(&mut live, "two");
    write(&dir.join("old"), "old");
    let file = fs::File::options().write(true).open(dir.join("old")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap();
    fs::rename(dir.join("old"), &path).unwrap();
    expect(&mut live, "old");
}

#[test]
fn a_directory_swapped_by_its_link() {
    // As Kubernetes does it: conf -> ..data/conf, ..data -> a directory.
    let dir = TempDir::new().unwrap();
    for (name, image) in [("v1", "one"), ("v2", "two")] {
        fs::create_dir(dir.join(name)).unwrap();
        write(&dir.join(name).join("conf"), image);
    }
    symlink("v1", dir.join("..data")).unwrap();
    symlink("..data/conf", dir.join("conf")).unwrap();
    let mut live = ConfigWatcher::new(dir.join("conf"));
    expect(&mut live, "one");
    symlink("v2", dir.join("..data_tmp")).unwrap();
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    fs::remove_dir_all(dir.join("v1")).unwrap();
    expect(&mut live, "two");
    write(&dir.join("v2/conf"), "three");
    expect(&mut live, "three");
}

#[test]
fn parents_that_come_and_go() {
    let dir = TempDir::new().unwrap();
    let path = dir.join("a/b/conf");
    let mut live = ConfigWatcher::new(&path);
    assert!(matches!(next(&mut live), Event::Unusable(LoadError::Unreadable(_))));
    fs::create_dir_all(dir.join("a/b")).unwrap();
    write(&path, "one");
    expect(&mut live, "one");
    fs::rename(dir.join("a"), dir.join("z")).unwrap();
    assert!(matches!(next(&mut live), Event::Unusable(LoadError::Unreadable(_))));
    // Told once.
    expect_silence(&mut live, Duration::from_secs(3));
    fs::create_dir_all(dir.join("a/b")).unwrap();
    write(&path, "two");
    expect(&mut live, "two");
    fs::remove_dir_all(dir.join("a")).unwrap();
    assert!(matches!(next(&mut live), Event::Unusable(LoadError::Unreadable(_))));
    // The same as the last good one, but it was gone in between.
    fs::rename(dir.join("z"), dir.join("a")).unwrap();
    expect(&mut live, "one");
}

/// Every write to a device makes an event for whoever watches it, wherever it
/// comes from: where somebody always wrote, the device never was still, and the
/// change to it was never told.
#[test]
fn a_link_to_a_busy_device_is_told() {
    let dir = TempDir::new().unwrap();
    let path = dir.join("psstat.conf");
    write(&path, "one");
    let mut live = ConfigWatcher::new(&path);
    expect(&mut live, "one");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                fs::write("/dev/null", "x").unwrap();
                sleep(Duration::from_millis(1));
            }
        });
        symlink("/dev/null", dir.join("new")).unwrap();
        fs::rename(dir.join("new"), &path).unwrap();
        let start = Instant::now();
        let mut event = None;
        while event.is_none() && start.elapsed() < Duration::from_secs(20) {
            event = live.poll(Instant::now());
            sleep(Duration::from_millis(5));
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(matches!(event, Some(Event::Unusable(LoadError::NotAFile))), "{event:?}");
    });
}

// Whether somebody has the file open, only events tell.
#[cfg(feature = "inotify")]
#[test]
fn written_in_pieces_is_taken_whole() {
    let dir = TempDir::new().unwrap();
    let path = dir.join("conf");
    write(&path, "one");
    let mut live = ConfigWatcher::new(&path);
    expect(&mut live, "one");
    use std::io::Write as _;
    // By a clock of its own: a busy machine can make any pause too long a one.
    let mut clock = Instant::now();
    let mut pass = |time: u64| {
        let until = clock + Duration::from_millis(time);
        while clock < until {
            clock += Duration::from_millis(5);
            if let Some(event) = live.poll(clock) {
                return Some(images(&event));
            }
        }
        None
    };
    // Held open: pauses up to QUIET_OPEN; reopened: up to QUIET.
    let mut file = fs::File::create(&path).unwrap();
    for image in ["a", "b", "c"] {
        writeln!(file, "{image} x").unwrap();
        assert_eq!(pass(450), None);
    }
    drop(file);
    assert_eq!(pass(20_000).unwrap(), ["a", "b", "c"]);
    fs::write(&path, "").unwrap();
    for image in ["d", "e", "f"] {
        let mut file = fs::File::options().append(true).open(&path).unwrap();
        writeln!(file, "{image} x").unwrap();
        drop(file);
        assert_eq!(pass(150), None);
    }
    assert_eq!(pass(20_000).unwrap(), ["d", "e", "f"]);
}

#[test]
fn config_without_rules_then_fixed() {
    let dir = TempDir::new().unwrap();
    let path = dir.join("conf");
    write(&path, "one");
    let mut live = ConfigWatcher::new(&path);
    expect(&mut live, "one");
    fs::write(&path, "bad (\n").unwrap();
    match next(&mut live) {
        Event::Unusable(LoadError::NoRule(diagnostics)) => assert_eq!(diagnostics.len(), 1),
        other => panic!("{other:?}"),
    }
    expect_silence(&mut live, Duration::from_secs(3));
    write(&path, "one");
    expect(&mut live, "one");
    // A change of mode matters to whoever checks it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    expect(&mut live, "one");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(next(&mut live), Event::Unusable(LoadError::NotAFile)));
    // Asked for, it is told again.
    live.reload();
    assert!(matches!(next(&mut live), Event::Unusable(LoadError::NotAFile)));
}
