//! A conf is changed at random by every means: the rules in force are always
//! a complete file's, the last change comes into force, and nothing leaks.
//!
//! Root may read whatever has no permission, so the test runs itself again as
//! another user; and once more where the kernel gives no inotify instance.
//!
//! `PSSTAT_TORTURE_CHANGES` sets the number of changes; it prints how long the
//! slowest took to be in force, and fails where that is more than
//! `PSSTAT_TORTURE_MOST_MS`, which only a machine with time to spare can keep.

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

/// Lines of a file; one without all of them is half a file.
const LINES: usize = 20;

/// Numbers by xorshift: the same for the same seed.
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

/// The version of a conf, and whether it is a whole file.
fn version(conf: &Conf) -> (usize, bool) {
    let images = conf.rules.images();
    let first = images[0].as_str();
    let version: usize = first[1..first.find('-').unwrap()].parse().unwrap();
    let whole: Vec<String> = (0..LINES).map(|line| format!("v{version}-{line}")).collect();
    (version, images.iter().map(AsRef::<str>::as_ref).eq(whole))
}

/// Changes the conf at `base/current/conf`, where `current` is a link.
struct Torturer {
    base: PathBuf,
    random: Random,
    /// When the last pause ended, or the change began.
    since: Instant,
    /// Whether the machine has let it wait so long that half a file was still.
    held_up: bool,
}

impl Torturer {
    fn new(base: &Path, seed: u64) -> Self {
        let random = Random(seed);
        Self { base: base.to_owned(), random, since: Instant::now(), held_up: false }
    }

    fn change(&mut self, version: usize) {
        (self.since, self.held_up) = (Instant::now(), false);
        let link = self.base.join("current");
        let path = link.join("conf");
        let whole = lines(version).concat();
        match self.random.below(10) {
            0 => fs::write(&path, whole).unwrap(),
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
                let new = self.new_file(&whole);
                fs::rename(new, &path).unwrap();
            }
            4 => {
                let old = self.new_file(&whole);
                let file = fs::File::options().write(true).open(&old).unwrap();
                let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + version as u64);
                file.set_modified(then).unwrap();
                fs::rename(old, &path).unwrap();
            }
            5 => {
                let next = self.base.join(format!("d{version}"));
                fs::create_dir(&next).unwrap();
                fs::write(next.join("conf"), whole).unwrap();
                let before = fs::read_link(&link).unwrap();
                let swap = self.base.join("swap");
                symlink(format!("d{version}"), &swap).unwrap();
                fs::rename(&swap, &link).unwrap();
                fs::remove_dir_all(self.base.join(before)).unwrap();
            }
            6 => {
                let directory = self.base.join(fs::read_link(&link).unwrap());
                let away = self.base.join("away");
                fs::rename(&directory, &away).unwrap();
                self.pause(50);
                fs::create_dir(&directory).unwrap();
                fs::write(directory.join("conf"), whole).unwrap();
                fs::remove_dir_all(&away).unwrap();
            }
            7 => {
                fs::remove_file(&path).unwrap();
                self.pause(600);
                fs::write(&path, whole).unwrap();
            }
            8 => {
                // Only the permission that is given back tells of it.
                let mut file = fs::File::options().write(true).open(&path).unwrap();
                set_mode(&path, 0o000);
                file.set_len(0).unwrap();
                file.write_all(whole.as_bytes()).unwrap();
                drop(file);
                self.pause(900);
                set_mode(&path, 0o644);
            }
            _ => {
                let directory = self.base.join(fs::read_link(&link).unwrap());
                let mut file = fs::File::options().write(true).open(&path).unwrap();
                set_mode(&directory, 0o000);
                file.set_len(0).unwrap();
                file.write_all(whole.as_bytes()).unwrap();
                drop(file);
                self.pause(900);
                set_mode(&directory, 0o755);
            }
        }
    }

    fn new_file(&self, whole: &str) -> PathBuf {
        let new = self.base.join("new");
        fs::write(&new, whole).unwrap();
        new
    }

    fn pause(&mut self, most: u64) {
        let time = Duration::from_millis(self.random.below(most));
        sleep(time);
        // What was done before the pause may have been held up, too.
        self.held_up |= self.since.elapsed() > time + SETTLE_TIME / 2;
        self.since = Instant::now();
    }
}

/// Watches that an inotify descriptor has.
fn watches(live: &ConfigWatcher) -> usize {
    let number = live.fd().unwrap().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
    info.lines().filter(|l| l.starts_with("inotify wd:")).count()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Set to the kind of process that a test was started as by itself.
const INSIDE: &str = "PSSTAT_TORTURE_INSIDE";

/// Runs this test again, as `command` with the test program and its arguments
/// behind.
fn again(test: &str, command: &mut Command) {
    let dir = TempDir::new().unwrap();
    // Another user need not have a right to the folder of the build.
    let program = dir.join("torture");
    copy_program(std::env::current_exe().unwrap(), &program).unwrap();
    let command = command.arg(program).args(["--exact", test, "--nocapture"]);
    let output = command.env(INSIDE, test).current_dir("/").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"));
}

fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

#[test]
fn every_change_is_detected() {
    if is_inside() {
        torture(changes(30));
        return;
    }
    // Whoever runs it: other tests open descriptors in this process. `env` has no
    // part in it but to begin with.
    let mut command = Command::new("env");
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    again(test_name!(), &mut command);
}

/// A command that runs what follows with no right but its user's, where the
/// kernel gives no inotify instance to anybody.
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
    let trial = without_events().arg("true").output();
    let possible = trial.as_ref().is_ok_and(|trial| trial.status.success());
    if !possible {
        println!("skipped: no right to make a user namespace: {trial:?}");
    }
    possible
}

#[test]
fn every_change_is_detected_by_polling() {
    if is_inside() {
        // A look takes its time.
        torture(changes(48) / 4);
    } else if is_possible_without_events() {
        again(test_name!(), &mut without_events());
    }
}

/// Two looks, a bit later than the promised time each, and nothing else.
#[test]
fn two_polls_suffice() {
    if !is_inside() {
        if is_possible_without_events() {
            again(test_name!(), &mut without_events());
        }
        return;
    }
    let (dir, path) = scene();
    let mut live = ConfigWatcher::new(&path);
    // No real time passes between the looks but what they take.
    let mut clock = Instant::now() + Duration::from_secs(60);
    sleep(SETTLE_TIME);
    assert!(matches!(live.poll(clock), Some(Event::Loaded(_))));
    assert_eq!(live.shortage(), Some(InotifyLimit::Instances));
    assert!(live.fd().is_none());
    let mut torturer = Torturer::new(dir.path(), 1);
    for number in 1..=30 {
        // Young files are looked at again by themselves: not in the look that is
        // next, in which one that the machine has left still for long were taken.
        let mut looks = 0;
        while looks < 3 || live.deadline().unwrap() < clock + POLL_INTERVAL {
            clock += POLL_INTERVAL;
            assert!(live.poll(clock).is_none());
            looks += 1;
        }
        torturer.change(number);
        clock += POLL_INTERVAL;
        assert!(live.poll(clock).is_none(), "taken at the first look");
        assert!(live.deadline().unwrap() <= clock + POLL_INTERVAL);
        clock += POLL_INTERVAL;
        match live.poll(clock) {
            Some(Event::Loaded(loaded)) => assert_eq!(version(&loaded.conf), (number, true)),
            other => panic!("change {number}: {other:?}"),
        }
    }
}

/// A directory with a first conf in it, and its path through a link.
fn scene() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.join("d0")).unwrap();
    fs::write(dir.join("d0/conf"), lines(0).concat()).unwrap();
    symlink("d0", dir.join("current")).unwrap();
    let path = dir.join("current/conf");
    (dir, path)
}

fn changes(unless_set: usize) -> usize {
    let set = std::env::var("PSSTAT_TORTURE_CHANGES").ok();
    set.and_then(|number| number.parse().ok()).unwrap_or(unless_set)
}

fn torture(changes: usize) {
    println!("changes {changes}");
    let (dir, path) = scene();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = u64::from(now.subsec_nanos()) | 1;
    println!("seed {seed}");
    let before = descriptors();
    // What is in force, and versions of which half a file may have been.
    let in_force = Arc::new(AtomicUsize::new(0));
    let held_up = Arc::new(Mutex::new(BTreeSet::new()));
    let torturer = {
        let (in_force, held_up) = (Arc::clone(&in_force), Arc::clone(&held_up));
        let mut torturer = Torturer::new(dir.path(), seed);
        spawn(move || {
            let mut slowest = Duration::ZERO;
            for version in 1..=changes {
                torturer.change(version);
                if torturer.held_up {
                    held_up.lock().unwrap().insert(version);
                }
                if torturer.random.below(4) == 0 || version == changes {
                    let start = Instant::now();
                    while in_force.load(Ordering::SeqCst) != version {
                        // Far beyond what is promised: only a change that is
                        // missed fails.
                        assert!(start.elapsed() < Duration::from_secs(30), "missed {version}");
                        sleep(Duration::from_millis(2));
                    }
                    slowest = slowest.max(start.elapsed());
                } else {
                    torturer.pause(500);
                }
            }
            slowest
        })
    };

    let mut live = ConfigWatcher::new(&path);
    let (mut last, mut halves, mut away) = (None, BTreeSet::new(), 0);
    while !torturer.is_finished() {
        match live.poll(Instant::now()) {
            Some(Event::Loaded(loaded)) => {
                let (version, whole) = version(&loaded.conf);
                assert!(last.is_none_or(|last| last <= version), "an old file came back");
                last = Some(version);
                if whole {
                    in_force.store(version, Ordering::SeqCst);
                } else {
                    halves.insert(version);
                }
            }
            Some(Event::Unusable(_)) => away += 1,
            _ => sleep(Duration::from_millis(2)),
        }
    }
    let slowest = torturer.join().unwrap();
    println!("slowest change in force after {slowest:?}");
    let most = std::env::var("PSSTAT_TORTURE_MOST_MS").ok().and_then(|most| most.parse().ok());
    let most = most.map_or(Duration::MAX, Duration::from_millis);
    assert!(slowest <= most, "more than {most:?}");
    println!("told as unusable between {away} times");
    assert_eq!(last, Some(changes));
    let held_up = &*held_up.lock().unwrap();
    assert!(halves.is_subset(held_up), "half a file was in force: {halves:?}, {held_up:?}");
    // One watch on each directory of the way, the link's target, and the file.
    let most = path.components().count() + 2;
    let watches = live.fd().map_or(0, |_| watches(&live));
    assert!(watches <= most, "{watches} watches");
    drop(live);
    assert!(descriptors() <= before, "descriptors are left");
}
