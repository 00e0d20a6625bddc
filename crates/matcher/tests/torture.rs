//! A conf is changed at random by every means: the rules in force are always
//! a complete file's, the last change comes into force, and nothing leaks.
//!
//! `PSSTAT_TORTURE_CHANGES` sets the number of changes; it prints how long the
//! slowest took to be in force.

#![cfg(feature = "inotify")]
// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant, SystemTime};

use psstat_matcher::Conf;
use psstat_matcher::live::{Event, LiveConf};

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

/// The version of a conf; it must be a whole one.
fn version(conf: &Conf) -> usize {
    let images = conf.rules.images();
    let first = images[0].as_str();
    let version: usize = first[1..first.find('-').unwrap()].parse().unwrap();
    let whole: Vec<String> = (0..LINES).map(|line| format!("v{version}-{line}")).collect();
    let found: Vec<&str> = images.iter().map(AsRef::as_ref).collect();
    assert_eq!(found, whole, "half a file is in force");
    version
}

/// Changes the conf at `base/current/conf`, where `current` is a link.
struct Torturer {
    base: PathBuf,
    random: Random,
}

impl Torturer {
    fn change(&mut self, version: usize) {
        let link = self.base.join("current");
        let path = link.join("conf");
        let whole = lines(version).concat();
        match self.random.below(8) {
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
            _ => {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
                self.pause(50);
                fs::remove_file(&path).unwrap();
                self.pause(50);
                fs::write(&path, whole).unwrap();
            }
        }
    }

    fn new_file(&self, whole: &str) -> PathBuf {
        let new = self.base.join("new");
        fs::write(&new, whole).unwrap();
        new
    }

    fn pause(&mut self, most: u64) {
        sleep(Duration::from_millis(self.random.below(most)));
    }
}

/// Watches that an inotify descriptor has.
fn watches(live: &LiveConf) -> usize {
    let number = live.fd().unwrap().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
    info.lines().filter(|l| l.starts_with("inotify wd:")).count()
}

fn components(path: &Path) -> usize {
    path.components().count()
}

#[test]
fn whatever_is_done_to_it() {
    let changes: usize =
        std::env::var("PSSTAT_TORTURE_CHANGES").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let base = std::env::temp_dir().join(format!("psstat-torture-{}", std::process::id()));
    let _ = fs::remove_dir_all(&base);
    fs::create_dir_all(base.join("d0")).unwrap();
    fs::write(base.join("d0/conf"), lines(0).concat()).unwrap();
    symlink("d0", base.join("current")).unwrap();

    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = u64::from(now.subsec_nanos()) | 1;
    println!("seed {seed}");
    // What is written, and what is in force.
    let (written, in_force) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let torturer = {
        let (written, in_force) = (Arc::clone(&written), Arc::clone(&in_force));
        let mut torturer = Torturer { base: base.clone(), random: Random(seed) };
        spawn(move || {
            let mut slowest = Duration::ZERO;
            for version in 1..=changes {
                torturer.change(version);
                written.store(version, Ordering::SeqCst);
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

    let path = base.join("current/conf");
    let mut live = LiveConf::new(&path);
    let mut last = None;
    while !torturer.is_finished() {
        match live.poll(Instant::now()) {
            Some(Event::Loaded(loaded)) => {
                let version = version(&loaded.conf);
                assert!(last.is_none_or(|last| last <= version), "an old file came back");
                last = Some(version);
                in_force.store(version, Ordering::SeqCst);
            }
            Some(Event::Unusable(reason)) => println!("unusable: the conf {reason}"),
            _ => sleep(Duration::from_millis(2)),
        }
    }
    let slowest = torturer.join();
    let left = watches(&live);
    let _ = fs::remove_dir_all(&base);
    println!("slowest change in force after {:?}", slowest.unwrap());
    assert_eq!(last, Some(changes));
    // One on each directory of the way, the link's target, and the file.
    assert!(left <= components(&path) + 2, "{left} watches");
}
