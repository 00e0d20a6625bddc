//! A config file is changed at random in every way: the active rules are always
//! those of a complete file, the last change becomes active, and nothing leaks.
//!
//! Root can read files without any permission, so the test runs itself again as
//! another user; and once more without an inotify instance.
//!
//! `PSSTAT_STRESS_CHANGES` sets the number of changes. The test prints the time
//! until the slowest change was active, and fails if it exceeds
//! `PSSTAT_STRESS_MAX_MS`, which requires an idle host.

#![cfg(feature = "inotify")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant, SystemTime};

use psstat_matcher::Conf;
use psstat_matcher::watcher::{ConfigWatcher, Event, InotifyLimit, POLL_INTERVAL, SETTLE_TIME};
use psstat_testproc::{TempDir, copy_program, test_name};

/// Lines of a complete file.
const LINES: usize = 20;

/// Pseudo-random numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn lines(version: usize) -> Vec<String> {
    (0..LINES).map(|line| format!("v{version}-{line} x{line}\n")).collect()
}

/// The version of a config file, and whether it is complete.
fn version(conf: &Conf) -> (usize, bool) {
    let images = conf.rules.images();
    let first = images[0].as_str();
    let version: usize = first[1..first.find('-').unwrap()].parse().unwrap();
    let complete: Vec<String> = (0..LINES).map(|line| format!("v{version}-{line}")).collect();
    (version, images.iter().map(AsRef::<str>::as_ref).eq(complete))
}

/// Changes the config file at `base/current/conf`, where `current` is a link.
struct Writer {
    base: PathBuf,
    random: Random,
    /// End of the last pause, or start of the change.
    since: Instant,
    /// Whether the host delayed it so long that a partial file has settled.
    is_delayed: bool,
}

impl Writer {
    fn new(base: &Path, seed: u64) -> Self {
        let random = Random(seed);
        Self { base: base.to_owned(), random, since: Instant::now(), is_delayed: false }
    }

    fn change(&mut self, version: usize) {
        (self.since, self.is_delayed) = (Instant::now(), false);
        let link = self.base.join("current");
        let path = link.join("conf");
        let content = lines(version).concat();
        match self.random.below(10) {
            0 => fs::write(&path, content).unwrap(),
            1 => {
                let mut file = fs::File::create(&path).unwrap();
                for line in lines(version) {
                    file.write_all(line.as_bytes()).unwrap();
                    self.pause(30);
                }
            }
            2 => {
                fs::write(&path, "").unwrap();
                for line in lines(version) {
                    let mut file = fs::File::options().append(true).open(&path).unwrap();
                    file.write_all(line.as_bytes()).unwrap();
                    drop(file);
                    self.pause(30);
                }
            }
            3 => {
                let new = self.new_file(&content);
                fs::rename(new, &path).unwrap();
            }
            4 => {
                let old = self.new_file(&content);
                let file = fs::File::options().write(true).open(&old).unwrap();
                let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + version as u64);
                file.set_modified(then).unwrap();
                fs::rename(old, &path).unwrap();
            }
            5 => {
                let next = self.base.join(format!("d{version}"));
                fs::create_dir(&next).unwrap();
                fs::write(next.join("conf"), content).unwrap();
                let before = fs::read_link(&link).unwrap();
                let swap = self.base.join("swap");
                symlink(format!("d{version}"), &swap).unwrap();
                fs::rename(&swap, &link).unwrap();
                fs::remove_dir_all(self.base.join(before)).unwrap();
            }
            6 => {
                let directory = self.base.join(fs::read_link(&link).unwrap());
                let moved = self.base.join("away");
                fs::rename(&directory, &moved).unwrap();
                self.pause(50);
                fs::create_dir(&directory).unwrap();
                fs::write(directory.join("conf"), content).unwrap();
                fs::remove_dir_all(&moved).unwrap();
            }
            7 => {
                fs::remove_file(&path).unwrap();
                self.pause(600);
                fs::write(&path, content).unwrap();
            }
            8 => {
                // Only the restored permission causes an event.
                let mut file = fs::File::options().write(true).open(&path).unwrap();
                set_mode(&path, 0o000);
                file.set_len(0).unwrap();
                file.write_all(content.as_bytes()).unwrap();
                drop(file);
                self.pause(900);
                set_mode(&path, 0o644);
            }
            _ => {
                let directory = self.base.join(fs::read_link(&link).unwrap());
                let mut file = fs::File::options().write(true).open(&path).unwrap();
                set_mode(&directory, 0o000);
                file.set_len(0).unwrap();
                file.write_all(content.as_bytes()).unwrap();
                drop(file);
                self.pause(900);
                set_mode(&directory, 0o755);
            }
        }
    }

    fn new_file(&self, content: &str) -> PathBuf {
        let new = self.base.join("new");
        fs::write(&new, content).unwrap();
        new
    }

    fn pause(&mut self, max_ms: u64) {
        let time = Duration::from_millis(self.random.below(max_ms));
        sleep(time);
        // The actions before the pause can have been delayed too.
        self.is_delayed |= self.since.elapsed() > time + SETTLE_TIME / 2;
        self.since = Instant::now();
    }
}

/// Number of watches of the inotify descriptor.
fn watch_count(watcher: &ConfigWatcher) -> usize {
    let number = watcher.fd().unwrap().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
    info.lines().filter(|l| l.starts_with("inotify wd:")).count()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn fd_count() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Set in a process that a test has started to run itself.
const IS_CHILD: &str = "PSSTAT_STRESS_CHILD";

/// Runs the test again by `command`, with the test program and its arguments
/// appended.
fn run_again(test: &str, command: &mut Command) {
    let dir = TempDir::new().unwrap();
    // Other users may not have permission for the build directory.
    let program = dir.join("stress");
    copy_program(std::env::current_exe().unwrap(), &program).unwrap();
    let command = command.arg(program).args(["--exact", test, "--nocapture"]);
    let output = command.env(IS_CHILD, test).current_dir("/").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"));
}

fn is_child() -> bool {
    std::env::var_os(IS_CHILD).is_some()
}

#[test]
fn every_change_is_detected() {
    if is_child() {
        stress(changes(30));
        return;
    }
    // In a separate process, because other tests open descriptors in this one.
    // `env` only runs the program.
    let mut command = Command::new("env");
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    run_again(test_name!(), &mut command);
}

/// A command that runs its arguments without capabilities in a user namespace
/// that has no inotify instances.
fn without_events() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c"]);
    command.arg(
        "echo 0 > /proc/sys/user/max_inotify_instances && \
         exec setpriv --securebits +noroot,+noroot_locked --inh-caps=-all --bounding-set=-all \"$@\"",
    );
    command.arg("sh");
    command
}

fn is_possible_without_events() -> bool {
    let output = without_events().arg("true").output();
    let is_possible = output.as_ref().is_ok_and(|output| output.status.success());
    if !is_possible {
        println!("skipped: no permission to create a user namespace: {output:?}");
    }
    is_possible
}

#[test]
fn every_change_is_detected_by_polling() {
    if is_child() {
        // A poll takes up to 2 s.
        stress(changes(48) / 4);
    } else if is_possible_without_events() {
        run_again(test_name!(), &mut without_events());
    }
}

/// Two polls at the documented interval are sufficient.
#[test]
fn two_polls_suffice() {
    if !is_child() {
        if is_possible_without_events() {
            run_again(test_name!(), &mut without_events());
        }
        return;
    }
    let (dir, path) = scene();
    let mut watcher = ConfigWatcher::new(&path);
    // Simulated time between the polls.
    let mut clock = Instant::now() + Duration::from_secs(60);
    sleep(SETTLE_TIME);
    assert!(matches!(watcher.poll(clock), Some(Event::Loaded(_))));
    assert_eq!(watcher.inotify_limit(), Some(InotifyLimit::Instances));
    assert!(watcher.fd().is_none());
    let mut writer = Writer::new(dir.path(), 1);
    for number in 1..=30 {
        // A recently modified file is read once more later. The next change must
        // not fall into this poll, which would load a file that has settled.
        let mut polls = 0;
        while polls < 3 || watcher.deadline().unwrap() < clock + POLL_INTERVAL {
            clock += POLL_INTERVAL;
            assert!(watcher.poll(clock).is_none());
            polls += 1;
        }
        writer.change(number);
        clock += POLL_INTERVAL;
        assert!(watcher.poll(clock).is_none(), "loaded by the first poll");
        assert!(watcher.deadline().unwrap() <= clock + POLL_INTERVAL);
        clock += POLL_INTERVAL;
        match watcher.poll(clock) {
            Some(Event::Loaded(loaded)) => assert_eq!(version(&loaded.conf), (number, true)),
            other => panic!("change {number}: {other:?}"),
        }
    }
}

/// A directory with a config file, and the path of the file through a link.
fn scene() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.join("d0")).unwrap();
    fs::write(dir.join("d0/conf"), lines(0).concat()).unwrap();
    symlink("d0", dir.join("current")).unwrap();
    let path = dir.join("current/conf");
    (dir, path)
}

fn changes(default: usize) -> usize {
    let set = std::env::var("PSSTAT_STRESS_CHANGES").ok();
    set.and_then(|number| number.parse().ok()).unwrap_or(default)
}

fn stress(changes: usize) {
    println!("changes {changes}");
    let (dir, path) = scene();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = u64::from(now.subsec_nanos()) | 1;
    println!("seed {seed}");
    let before = fd_count();
    // The active version, and versions of which a partial file can have settled.
    let active = Arc::new(AtomicUsize::new(0));
    let is_delayed = Arc::new(Mutex::new(BTreeSet::new()));
    let writer = {
        let (active, is_delayed) = (Arc::clone(&active), Arc::clone(&is_delayed));
        let mut writer = Writer::new(dir.path(), seed);
        spawn(move || {
            let mut slowest = Duration::ZERO;
            for version in 1..=changes {
                writer.change(version);
                if writer.is_delayed {
                    is_delayed.lock().unwrap().insert(version);
                }
                if writer.random.below(4) == 0 || version == changes {
                    let start = Instant::now();
                    while active.load(Ordering::SeqCst) != version {
                        // Far above the documented time: only a missed change
                        // fails.
                        assert!(start.elapsed() < Duration::from_secs(30), "missed {version}");
                        sleep(Duration::from_millis(2));
                    }
                    slowest = slowest.max(start.elapsed());
                } else {
                    writer.pause(500);
                }
            }
            slowest
        })
    };

    let mut watcher = ConfigWatcher::new(&path);
    let (mut last, mut partial, mut unusable) = (None, BTreeSet::new(), 0);
    while !writer.is_finished() {
        match watcher.poll(Instant::now()) {
            Some(Event::Loaded(loaded)) => {
                let (version, is_complete) = version(&loaded.conf);
                assert!(last.is_none_or(|last| last <= version), "an old file came back");
                last = Some(version);
                if is_complete {
                    active.store(version, Ordering::SeqCst);
                } else {
                    partial.insert(version);
                }
            }
            Some(Event::Unusable(_)) => unusable += 1,
            _ => sleep(Duration::from_millis(2)),
        }
    }
    let slowest = writer.join().unwrap();
    println!("slowest change active after {slowest:?}");
    let max = std::env::var("PSSTAT_STRESS_MAX_MS").ok().and_then(|max| max.parse().ok());
    let max = max.map_or(Duration::MAX, Duration::from_millis);
    assert!(slowest <= max, "more than {max:?}");
    println!("reported as unusable {unusable} times");
    assert_eq!(last, Some(changes));
    let is_delayed = &*is_delayed.lock().unwrap();
    assert!(
        partial.is_subset(is_delayed),
        "a partial file was active: {partial:?}, {is_delayed:?}"
    );
    // One watch per directory of the path, the link's target, and the file.
    let max = path.components().count() + 2;
    let watches = watcher.fd().map_or(0, |_| watch_count(&watcher));
    assert!(watches <= max, "{watches} watches");
    drop(watcher);
    assert!(fd_count() <= before, "descriptors are left");
}
