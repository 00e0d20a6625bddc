//! A directory of config files, and several paths: every kind of change is detected,
//! and a file with a problem does not affect the others.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use psstat_matcher::file::LoadError;
use psstat_matcher::ownership::OwnerPolicy;
use psstat_matcher::sources::{self, LoadedSources, MAX_FILES, SourceFile};
use psstat_matcher::watcher::{ConfigWatcher, Event, POLL_INTERVAL, SETTLE_TIME};
use psstat_matcher::{Diagnostic, ImageTemplate, Severity};
use psstat_testproc::TempDir;

/// A watcher with a simulated clock.
struct Simulation {
    watcher: ConfigWatcher,
    clock: Instant,
}

impl Simulation {
    fn new(paths: &[&Path]) -> Self {
        let watcher = ConfigWatcher::of_paths(paths.iter().copied(), None);
        Self { watcher, clock: Instant::now() }
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

    /// Expects that rules are loaded next, with these images.
    #[track_caller]
    fn expect(&mut self, images: &[&str]) -> LoadedSources {
        // Parsing large files is delayed.
        match self.advance(POLL_INTERVAL * 30) {
            Some(Event::Loaded(loaded)) => {
                assert_eq!(names(&loaded), images);
                *loaded
            }
            Some(Event::Unusable(sources)) => panic!("not loaded: {:?}", sources.files),
            other => panic!("{other:?}"),
        }
    }

    /// Expects that a file becomes unusable next, and the rules stay.
    #[track_caller]
    fn expect_unusable(&mut self, name: &str, images: &[&str]) -> Arc<LoadError> {
        match self.advance(POLL_INTERVAL * 3) {
            Some(Event::Unusable(sources)) => {
                assert_eq!(names(&sources), images);
                let changed: Vec<&SourceFile> =
                    sources.files.iter().filter(|file| file.has_changed).collect();
                assert_eq!(changed.len(), 1, "{changed:?}");
                assert!(changed[0].path.ends_with(name), "{changed:?}");
                changed[0].error.clone().unwrap()
            }
            Some(Event::Loaded(loaded)) => {
                panic!("loaded {:?}: {:?}", names(&loaded), loaded.files)
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn expect_no_event(&mut self) {
        let event = self.advance(POLL_INTERVAL * 3);
        assert!(event.is_none(), "{event:?}");
    }
}

fn names(sources: &LoadedSources) -> Vec<&str> {
    sources.conf.rules.images().iter().map(ImageTemplate::as_str).collect()
}

fn write(path: &Path, image: &str) {
    fs::write(path, format!("{image} x-{image}\n")).unwrap();
}

/// A directory with these files, each with an image of its name.
fn directory(names: &[&str]) -> (TempDir, PathBuf) {
    let temp = TempDir::new().unwrap();
    let path = temp.join("conf.d");
    fs::create_dir(&path).unwrap();
    for name in names {
        write(&path.join(format!("{name}.conf")), name);
    }
    (temp, path)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn files_are_used_in_the_order_of_their_names() {
    let (temp, dir) = directory(&["b", "a", "c"]);
    for other in [".d.conf", "e.conf~", ".f.conf.swp", "g.txt", "conf"] {
        write(&dir.join(other), "other");
    }
    let first = temp.join("first");
    write(&first, "first");
    let mut simulation = Simulation::new(&[&first, &dir, &first]);
    let loaded = simulation.expect(&["first", "a", "b", "c"]);
    assert!(loaded.is_current());
    let paths: Vec<PathBuf> = loaded.files.iter().map(|file| file.path.to_path_buf()).collect();
    let in_dir = |name| dir.join(name);
    assert_eq!(paths, [first, dir.clone(), in_dir("a.conf"), in_dir("b.conf"), in_dir("c.conf")]);
    let places: Vec<_> =
        loaded.conf.rules.rules().iter().map(|rule| (rule.path().unwrap(), rule.line())).collect();
    assert_eq!(places[1], (&*in_dir("a.conf"), Some(1)));
    simulation.expect_no_event();
    assert_eq!(names(&sources::load([&dir], None)), ["a", "b", "c"]);
}

#[test]
fn files_come_change_and_go() {
    let (temp, dir) = directory(&["a", "b"]);
    let mut simulation = Simulation::new(&[&dir]);
    simulation.expect(&["a", "b"]);
    write(&dir.join("c.conf"), "c");
    simulation.expect(&["a", "b", "c"]);
    write(&dir.join("b.conf"), "changed");
    simulation.expect(&["a", "changed", "c"]);
    write(&temp.join("new"), "renamed");
    fs::rename(temp.join("new"), dir.join("a.conf")).unwrap();
    simulation.expect(&["renamed", "changed", "c"]);
    fs::rename(dir.join("a.conf"), dir.join("z.conf")).unwrap();
    // At once, not removed first.
    simulation.expect(&["changed", "c", "renamed"]);
    fs::remove_file(dir.join("b.conf")).unwrap();
    let loaded = simulation.expect(&["c", "renamed"]);
    let removed: Vec<_> = loaded.files.iter().filter(|file| file.is_removed).collect();
    assert!(removed.len() == 1 && removed[0].path.ends_with("b.conf"), "{removed:?}");
    // As an editor does: it is missing for a moment.
    fs::rename(dir.join("c.conf"), dir.join("c.conf~")).unwrap();
    assert!(simulation.advance(SETTLE_TIME / 2).is_none());
    write(&dir.join("c.conf"), "edited");
    simulation.expect(&["edited", "renamed"]);
    for name in ["c.conf", "z.conf"] {
        fs::remove_file(dir.join(name)).unwrap();
    }
    let loaded = simulation.expect(&[]);
    assert!(!loaded.is_current());
    assert!(matches!(**loaded.files[0].error.as_ref().unwrap(), LoadError::NoFile));
    simulation.expect_no_event();
}

#[test]
fn directory_is_replaced_in_every_way() {
    let (temp, dir) = directory(&["a", "b"]);
    fs::rename(&dir, temp.join("v1")).unwrap();
    symlink("v1", &dir).unwrap();
    let next = |version: &str, names: &[&str]| {
        fs::create_dir(temp.join(version)).unwrap();
        for name in names {
            write(&temp.join(version).join(format!("{name}.conf")), &format!("{name}-{version}"));
        }
    };
    let mut simulation = Simulation::new(&[&dir]);
    simulation.expect(&["a", "b"]);
    // A link is switched: one event.
    next("v2", &["b", "c"]);
    symlink("v2", temp.join("swap")).unwrap();
    fs::rename(temp.join("swap"), &dir).unwrap();
    fs::remove_dir_all(temp.join("v1")).unwrap();
    simulation.expect(&["b-v2", "c-v2"]);
    simulation.expect_no_event();
    // It is missing: the rules stay.
    fs::rename(temp.join("v2"), temp.join("away")).unwrap();
    let error = simulation.expect_unusable("conf.d", &["b-v2", "c-v2"]);
    assert!(matches!(*error, LoadError::Unreadable(_)), "{error:?}");
    next("v2", &["c", "d"]);
    // It is there again; its new files settle first.
    simulation.expect(&["b-v2", "c-v2"]);
    assert!(simulation.expect(&["c-v2", "d-v2"]).is_current());
    // Removed with its files, and created again after a moment.
    fs::remove_dir_all(temp.join("v2")).unwrap();
    assert!(simulation.advance(SETTLE_TIME / 2).is_none());
    fs::create_dir(temp.join("v2")).unwrap();
    write(&temp.join("v2/e.conf"), "e");
    simulation.expect(&["e"]);
    // A file in its place, and a directory again.
    fs::remove_file(&dir).unwrap();
    write(&dir, "file");
    simulation.expect(&["file"]);
    fs::remove_file(&dir).unwrap();
    fs::create_dir(&dir).unwrap();
    // Its rules stay until there is a file.
    let error = simulation.expect_unusable("conf.d", &["file"]);
    assert!(matches!(*error, LoadError::NoFile), "{error:?}");
    write(&dir.join("f.conf"), "f");
    simulation.expect(&["file"]);
    simulation.expect(&["f"]);
}

/// As in Kubernetes: each file is a link through `..data`, which is switched.
#[test]
fn links_of_files_are_switched() {
    let (_temp, dir) = directory(&[]);
    for (version, image) in [("v1", "one"), ("v2", "two")] {
        fs::create_dir(dir.join(version)).unwrap();
        for name in ["a", "b"] {
            write(&dir.join(version).join(format!("{name}.conf")), &format!("{name}-{image}"));
        }
    }
    symlink("v1", dir.join("..data")).unwrap();
    for name in ["a.conf", "b.conf"] {
        symlink(format!("..data/{name}"), dir.join(name)).unwrap();
    }
    let mut simulation = Simulation::new(&[&dir]);
    simulation.expect(&["a-one", "b-one"]);
    symlink("v2", dir.join("swap")).unwrap();
    fs::rename(dir.join("swap"), dir.join("..data")).unwrap();
    simulation.expect(&["a-two", "b-two"]);
    write(&dir.join("v2/b.conf"), "b-three");
    simulation.expect(&["a-two", "b-three"]);
    // A dangling link is not a removed file.
    fs::remove_file(dir.join("v2/a.conf")).unwrap();
    let error = simulation.expect_unusable("a.conf", &["a-two", "b-three"]);
    assert!(matches!(*error, LoadError::Unreadable(_)), "{error:?}");
}

#[test]
fn unusable_file_keeps_its_rules_while_others_change() {
    let (temp, dir) = directory(&["a", "b"]);
    let mut simulation = Simulation::new(&[&dir]);
    simulation.expect(&["a", "b"]);
    fs::write(dir.join("a.conf"), "bad (\n").unwrap();
    let error = simulation.expect_unusable("a.conf", &["a", "b"]);
    assert!(matches!(&*error, LoadError::NoRule(list) if list.len() == 1), "{error:?}");
    write(&dir.join("b.conf"), "new");
    let loaded = simulation.expect(&["a", "new"]);
    // Its errors are still part of the result; those of the earlier version are not.
    let diagnostics: Vec<_> =
        loaded.conf.diagnostics.iter().map(|d| (d.severity, d.line)).collect();
    assert_eq!(diagnostics, [(Severity::Error, Some(1))]);
    let a = &loaded.files[1];
    assert!(a.is_earlier && a.rules == 1 && !a.is_current() && !a.has_changed, "{a:?}");
    assert!(!loaded.is_current());
    // Neither a directory nor a pipe nor a device of such a name is read.
    fs::create_dir(dir.join("c.conf")).unwrap();
    assert!(matches!(*simulation.expect_unusable("c.conf", &["a", "new"]), LoadError::NotAFile));
    let pipe = dir.join("d.conf");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from(0o644)).unwrap();
    assert!(matches!(*simulation.expect_unusable("d.conf", &["a", "new"]), LoadError::NotAFile));
    symlink("/dev/zero", dir.join("e.conf")).unwrap();
    assert!(matches!(*simulation.expect_unusable("e.conf", &["a", "new"]), LoadError::NotAFile));
    write(&temp.join("a"), "good");
    fs::rename(temp.join("a"), dir.join("a.conf")).unwrap();
    let loaded = simulation.expect(&["good", "new"]);
    // Those files are not config files, and they are reported once.
    assert!(loaded.is_current());
    simulation.expect_no_event();
    // A file that has only comments is valid where it has no rules to keep.
    fs::write(dir.join("f.conf"), "# nothing\n").unwrap();
    let error = simulation.expect_unusable("f.conf", &["good", "new"]);
    assert!(matches!(&*error, LoadError::NoRule(list) if list.is_empty()), "{error:?}");
    write(&dir.join("b.conf"), "newer");
    assert!(simulation.expect(&["good", "newer"]).is_current());
    fs::write(dir.join("b.conf"), "# nothing\n").unwrap();
    simulation.expect_unusable("b.conf", &["good", "newer"]);
    // The name of a removed file can be used again.
    fs::remove_file(dir.join("b.conf")).unwrap();
    simulation.expect(&["good"]);
    write(&dir.join("b.conf"), "again");
    simulation.expect(&["good", "again"]);
}

#[test]
fn half_written_file_does_not_delay_others() {
    let (_temp, dir) = directory(&["a", "b"]);
    let mut simulation = Simulation::new(&[&dir]);
    simulation.expect(&["a", "b"]);
    write(&dir.join("b.conf"), "new");
    let mut event = None;
    for part in 0..40 {
        // Never unchanged for long enough.
        fs::write(dir.join("a.conf"), format!("part{part} x\n")).unwrap();
        event = event.or(simulation.advance(Duration::from_millis(50)));
    }
    match event {
        Some(Event::Loaded(loaded)) => assert_eq!(names(&loaded), ["a", "new"]),
        other => panic!("{other:?}"),
    }
    simulation.expect(&["part39", "new"]);
}

/// Files that are written while the first ones can be loaded are waited for.
#[test]
fn first_event_has_all_files() {
    let (_temp, dir) = directory(&["a"]);
    let mut simulation = Simulation::new(&[&dir]);
    std::thread::sleep(SETTLE_TIME + Duration::from_millis(50));
    write(&dir.join("b.conf"), "b");
    simulation.expect(&["a", "b"]);
}

#[test]
fn permissions_and_owners_hold_for_each_file() {
    let (_temp, dir) = directory(&["a", "b"]);
    let watcher = |is_strict| {
        let owner = OwnerPolicy::new("no-such-user", is_strict);
        let watcher = ConfigWatcher::of_paths([&dir], Some(owner));
        Simulation { watcher, clock: Instant::now() }
    };
    let (mut strict, mut lax) = (watcher(true), watcher(false));
    set_mode(&dir, 0o755);
    set_mode(&dir.join("b.conf"), 0o666);
    let loaded = strict.expect(&["a"]);
    let error = loaded.files[2].error.as_ref().unwrap().to_string();
    assert!(error.contains("writable by others (mode 0666)"), "{error}");
    let loaded = lax.expect(&["a", "b"]);
    assert_eq!((loaded.files[2].ownership.len(), loaded.is_current()), (1, true));
    set_mode(&dir.join("b.conf"), 0o644);
    strict.expect(&["a", "b"]);
    assert_eq!(lax.expect(&["a", "b"]).files[2].ownership.len(), 0);
    // A directory that others can write: files are neither added nor changed.
    set_mode(&dir, 0o777);
    let error = strict.expect_unusable("conf.d", &["a", "b"]);
    assert!(matches!(*error, LoadError::Ownership(_)), "{error:?}");
    assert_eq!(lax.expect(&["a", "b"]).files[0].ownership.len(), 1);
    write(&dir.join("a.conf"), "new");
    write(&dir.join("c.conf"), "c");
    fs::remove_file(dir.join("b.conf")).unwrap();
    strict.expect_no_event();
    lax.expect(&["new", "c"]);
    set_mode(&dir, 0o755);
    strict.expect(&["a", "b"]);
    strict.expect(&["new", "c"]);
}

/// Root without the capabilities to read all files.
#[test]
fn unreadable_directory_keeps_its_rules() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    // Of this thread, which ends with the test.
    let mut sets = capabilities(None).unwrap();
    sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    set_capabilities(None, sets).unwrap();
    let (_temp, dir) = directory(&["a", "b"]);
    let mut simulation = Simulation::new(&[&dir]);
    simulation.expect(&["a", "b"]);
    set_mode(&dir, 0o000);
    simulation.expect_unusable("conf.d", &["a", "b"]);
    set_mode(&dir, 0o755);
    simulation.expect(&["a", "b"]);
}

#[test]
fn diagnostics_name_the_files_of_both_rules() {
    let (_temp, dir) = directory(&[]);
    fs::write(dir.join("1.conf"), "\nweb nginx\n").unwrap();
    fs::write(dir.join("2.conf"), "Web nginx\nweb nginx -g\nbad! x\n").unwrap();
    let loaded = sources::load([&dir], None);
    let [one, two] = ["1.conf", "2.conf"].map(|name| dir.join(name).display().to_string());
    let shown = |d: &Diagnostic| d.display("").to_string();
    let diagnostics: Vec<String> = loaded.conf.diagnostics.iter().map(shown).collect();
    for want in [
        format!("only in case from `web` in {one}:2\n --> {two}:1:1\n"),
        format!(
            "redundant: the rule in {one}:2 matches everything this one does\n --> {two}:2:5\n"
        ),
        format!("note: image `web` is also defined in {one}:2\n --> {two}:2:1\n"),
        format!(" --> {two}:3:4\n"),
    ] {
        assert!(diagnostics.iter().any(|text| text.contains(&want)), "{want}: {diagnostics:#?}");
    }
    assert_eq!(diagnostics.len(), 4, "{diagnostics:#?}");
}

#[test]
fn numbers_and_sizes_are_limited() {
    let (_temp, dir) = directory(&[]);
    for number in 0..MAX_FILES + 10 {
        write(&dir.join(format!("{number:04}.conf")), &format!("i{number}"));
    }
    let mut simulation = Simulation::new(&[&dir]);
    let event = simulation.advance(POLL_INTERVAL);
    let Some(Event::Loaded(loaded)) = event else { panic!("{event:?}") };
    assert_eq!(loaded.files.len(), 1 + MAX_FILES);
    let last = names(&loaded).last().map(|name| (*name).to_owned());
    assert_eq!(last, Some(format!("i{}", MAX_FILES - 1)));
    let diagnostics = &loaded.conf.diagnostics;
    assert_eq!((diagnostics.len(), diagnostics[0].line), (1, None));
    let message = diagnostics[0].display("").to_string();
    assert!(message.contains("266 files `*.conf`; only the first 256"), "{message}");
    fs::remove_dir_all(&dir).unwrap();

    // The largest files are not used, whatever their names, and keep their rules.
    fs::create_dir(&dir).unwrap();
    for name in ["a", "b", "c", "d"] {
        write(&dir.join(format!("{name}.conf")), name);
    }
    let mut simulation = Simulation::new(&[&dir]);
    simulation.expect(&["a", "b", "c", "d"]);
    let large = |name: &str, len: usize| {
        let mut text = format!("{name}-large x\n");
        text.push_str(&format!("#{}\n", "-".repeat(1_000)).repeat(len / 1_000));
        fs::write(dir.join(format!("{name}.conf")), text).unwrap();
    };
    large("a", 4_000_000);
    large("b", 3_900_000);
    large("c", 3_800_000);
    let loaded = simulation.expect(&["a", "b-large", "c-large", "d"]);
    let error = loaded.files[1].error.as_ref().unwrap();
    assert!(matches!(**error, LoadError::TotalTooLarge(4_000_000..)), "{error:?}");
    // It is used as soon as others are smaller.
    write(&dir.join("b.conf"), "b");
    simulation.expect(&["a", "b", "c-large", "d"]);
    simulation.expect(&["a-large", "b", "c-large", "d"]);
}

/// The first file has more rules than all together may have, and patterns that are
/// as large as all together may be.
#[test]
fn one_file_does_not_exhaust_the_limits() {
    let (_temp, dir) = directory(&["z"]);
    fs::write(dir.join("a.conf"), "a a\n".repeat(12_000)).unwrap();
    let loaded = sources::load([&dir], None);
    assert_eq!(names(&loaded), ["a", "z"]);
    assert_eq!(loaded.conf.rules.rules().len(), 10_000);
    fs::write(dir.join("a.conf"), "a (?:x{1000}){19}\n".repeat(60)).unwrap();
    let loaded = sources::load([&dir], None);
    assert_eq!(names(&loaded), ["a", "z"]);
    // One file alone can use all of it.
    fs::write(dir.join("a.conf"), "a (?:x{1000}){19}\n".repeat(50)).unwrap();
    assert_eq!(sources::load([dir.join("a.conf")], None).conf.rules.rules().len(), 50);
}
