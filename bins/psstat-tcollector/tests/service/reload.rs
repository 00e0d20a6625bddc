//! A conf that is changed in every way there is, while the collector runs.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use psstat_matcher::watcher::SETTLE_TIME;
use psstat_testproc::{TempDir, TestProcess};
use rustix::process::Signal;

use super::common::{Collector, PROGRAM, Setup, conf, testproc, truth_of, until, word, write_conf};

/// A change is in force within a second, which is a cycle; a busy machine may take
/// a few. In cycles, since these stand still with a machine that does.
const SOON: usize = 4;

/// A folder with the conf, its path as the collector knows it, and a new text
/// for it.
struct Scene<'s> {
    folder: &'s Path,
    conf: &'s Path,
    new: &'s str,
    collector: &'s Collector,
    /// The longest pause of who writes it.
    paused: Cell<Duration>,
}

impl Scene<'_> {
    fn pause(&self, milliseconds: u64) {
        let begin = Instant::now();
        std::thread::sleep(Duration::from_millis(milliseconds));
        self.paused.set(self.paused.get().max(begin.elapsed()));
    }
}

/// Puts the first text where the collector finds it, and gives its path.
type Begin = fn(&Path, &str) -> PathBuf;
/// Changes it.
type Change = fn(&Scene<'_>);

fn plain(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("psstat.conf");
    write_conf(&path, text);
    path
}

/// `current` leads to the folder of the release in use.
fn releases(folder: &Path, text: &str) -> PathBuf {
    std::fs::create_dir(folder.join("release-1")).unwrap();
    write_conf(&folder.join("release-1/psstat.conf"), text);
    symlink("release-1", folder.join("current")).unwrap();
    folder.join("current/psstat.conf")
}

fn in_place(scene: &Scene<'_>) {
    std::fs::write(scene.conf, scene.new).unwrap();
}

/// As a slow copy does: what is there in between is no conf, though each line
/// of it would be a good one.
fn in_pieces(scene: &Scene<'_>) {
    let mut file = File::create(scene.conf).unwrap();
    for piece in scene.new.as_bytes().chunks(7) {
        file.write_all(piece).unwrap();
        scene.pause(60);
    }
}

/// One that opens and closes the file for each line, as `echo >>` does.
fn line_by_line(scene: &Scene<'_>) {
    File::create(scene.conf).unwrap();
    for line in scene.new.split_inclusive('\n') {
        let mut file = OpenOptions::new().append(true).open(scene.conf).unwrap();
        file.write_all(line.as_bytes()).unwrap();
        drop(file);
        scene.pause(100);
    }
}

/// An editor writes another file and renames it over the first.
fn renamed_over(scene: &Scene<'_>) {
    let temporary = scene.folder.join(".psstat.conf.swp");
    write_conf(&temporary, scene.new);
    std::fs::rename(&temporary, scene.conf).unwrap();
}

/// An editor that keeps the old one.
fn with_a_backup(scene: &Scene<'_>) {
    std::fs::rename(scene.conf, scene.folder.join("psstat.conf~")).unwrap();
    write_conf(scene.conf, scene.new);
}

/// `mv` of a backup, which is older than what it replaces.
fn older_file(scene: &Scene<'_>) {
    let old = scene.folder.join("backup");
    write_conf(&old, scene.new);
    let then = std::time::SystemTime::now() - Duration::from_secs(1_000_000);
    File::options().write(true).open(&old).unwrap().set_modified(then).unwrap();
    std::fs::rename(&old, scene.conf).unwrap();
}

fn deleted_and_made_anew(scene: &Scene<'_>) {
    std::fs::remove_file(scene.conf).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    write_conf(scene.conf, scene.new);
}

/// Deleted for so long that it is told.
fn deleted_for_long(scene: &Scene<'_>) {
    std::fs::remove_file(scene.conf).unwrap();
    scene.collector.hear(1, "cannot be read");
    write_conf(scene.conf, scene.new);
}

/// A deployment: a new folder, and a link swapped in one step.
fn link_swapped(scene: &Scene<'_>) {
    std::fs::create_dir(scene.folder.join("release-2")).unwrap();
    write_conf(&scene.folder.join("release-2/psstat.conf"), scene.new);
    symlink("release-2", scene.folder.join("next")).unwrap();
    std::fs::rename(scene.folder.join("next"), scene.folder.join("current")).unwrap();
}

/// The folder itself is moved away and another takes its place.
fn folder_replaced(scene: &Scene<'_>) {
    let next = scene.folder.join("next");
    std::fs::create_dir(&next).unwrap();
    write_conf(&next.join("psstat.conf"), scene.new);
    std::fs::remove_file(scene.folder.join("current")).unwrap();
    std::fs::rename(&next, scene.folder.join("current")).unwrap();
}

/// The same bytes again, and the operator insists.
fn hangup(scene: &Scene<'_>) {
    in_place(scene);
    scene.collector.signal(Signal::HUP);
}

const WAYS: [(&str, Begin, Change); 11] = [
    ("in place", plain, in_place),
    ("in pieces", plain, in_pieces),
    ("line by line", plain, line_by_line),
    ("renamed over", plain, renamed_over),
    ("with a backup", plain, with_a_backup),
    ("older file", plain, older_file),
    ("deleted and made anew", plain, deleted_and_made_anew),
    ("deleted for long", plain, deleted_for_long),
    ("link swapped", releases, link_swapped),
    ("folder replaced", releases, folder_replaced),
    ("hangup", plain, hangup),
];

#[test]
fn detects_every_kind_of_change() {
    std::thread::scope(|scope| {
        for (way, begin, change) in WAYS {
            // Again where the machine stood still for so long that what was there in
            // between was a conf like any other.
            let test = move || while !one_way(way, begin, change) {};
            std::thread::Builder::new().name(way.into()).spawn_scoped(scope, test).unwrap();
        }
    });
}

/// False where whoever wrote the conf paused for too long.
fn one_way(way: &str, begin: Begin, change: Change) -> bool {
    let names = ["keep", "gone", "came"].map(word);
    let [keep, _gone, came] = names.each_ref().map(|name| testproc(name));
    let temp = TempDir::new().unwrap();
    let rule = |image: &str, at: usize| format!("{image} {}\n", names[at]);
    let conf = begin(temp.path(), &(rule("keep", 0) + &rule("gone", 1)));
    let collector = Setup::with(&conf).spawn();
    collector.in_force(1);
    let cycle = collector.fresh();
    assert_eq!(cycle.images(), ["gone", "keep"]);
    let truth = |image: &str, testproc: &TestProcess| truth_of(image, &[testproc.pid()]);
    assert_eq!(cycle.image("keep"), truth("keep", &keep));

    let new = rule("keep", 0) + "# the new one\n" + &rule("came", 2) + &rule("empty/image", 2);
    let paused = Cell::default();
    let scene =
        Scene { folder: temp.path(), conf: &conf, new: &new, collector: &collector, paused };
    change(&scene);
    if scene.paused.get() >= SETTLE_TIME {
        return false;
    }
    let changed = Instant::now();
    let took = collector.came_between(changed, collector.in_force(2));
    assert!(took < SOON, "{way}: in force after {took} cycles");

    let cycle = collector.fresh();
    assert_eq!(cycle.images(), ["came", "empty/image", "keep"], "{way}");
    assert_eq!(cycle.image("keep"), truth("keep", &keep), "{way}");
    // Nothing that was there in between was taken for a conf, and no image
    // had another value than its true one when it came.
    let told = collector.logged(": loaded ");
    assert!(told[1..].iter().all(|line| line.contains("3 rules for 3 images")), "{way}: {told:#?}");
    for cycle in collector.cycles(0) {
        if cycle.images().contains(&"came") {
            assert_eq!(cycle.image("came"), truth("came", &came), "{way}");
        }
    }
    true
}

#[test]
fn sighup_forces_reload() {
    let temp = TempDir::new().unwrap();
    let conf = conf(&temp, &format!("any {}\nbad! x\n", word("any")));
    let collector = Setup::with(&conf).spawn();
    collector.in_force(1);
    collector.cycles(1);
    for count in 2..4 {
        collector.signal(Signal::HUP);
        collector.in_force(count);
        assert_eq!(collector.logged("conf:2:4: error").len(), count);
    }
}

/// An image that is taken out of the conf for a while comes back with the
/// counters it had, and with what its processes have done since if they are
/// the same.
#[test]
fn an_image_that_comes_back_does_not_fall() {
    let (away, stay) = (word("away"), word("stay"));
    let mut worker = testproc(&away);
    let mut gone = testproc(&away);
    let _stays = testproc(&stay);
    worker.write_bytes(1_000_000, 10).unwrap();
    gone.write_bytes(500_000, 5).unwrap();
    let temp = TempDir::new().unwrap();
    let both = format!("away {away}\nstay {stay}\n");
    let path = conf(&temp, &both);
    let collector = Setup::with(&path).spawn();
    collector.in_force(1);
    collector.fresh();
    gone.exit(0).unwrap();
    gone.reap().unwrap();
    let before = collector.fresh();
    assert!(before.get("io image=away type=wchar") >= 1_500_000);

    write_conf(&path, &format!("stay {stay}\n"));
    collector.in_force(2);
    assert_eq!(collector.fresh().images(), ["stay"]);
    worker.write_bytes(300_000, 3).unwrap();

    write_conf(&path, &both);
    collector.in_force(3);
    let back = collector.fresh();
    assert_eq!(back.get("procs image=away"), 1);
    for (series, value) in before.image("away") {
        if series.starts_with("io ") {
            assert!(back.get(&series) >= value, "{series} fell from {value}");
        }
    }
    // And goes on counting.
    worker.write_bytes(200_000, 2).unwrap();
    let on = collector.fresh();
    let grown = on.get("io image=away type=wchar") - back.get("io image=away type=wchar");
    assert!((200_000..210_000).contains(&grown), "grown by {grown}");
}

/// A shell in a user namespace, where the number of inotify watches has a limit
/// of its own.
fn in_user_namespace(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", script, "sh"]);
    command
}

/// The inotify watches of a process, whichever thread has them.
fn watches(pid: u32) -> usize {
    let mut count = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        for info in std::fs::read_dir(task.path().join("fdinfo")).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(info.path()).unwrap_or_default();
            count += text.lines().filter(|line| line.starts_with("inotify wd:")).count();
        }
    }
    count
}

#[test]
fn falls_back_to_polling() {
    let trial = in_user_namespace("true").output();
    if !trial.as_ref().is_ok_and(|trial| trial.status.success()) {
        println!("skipped: no right to make a user namespace: {trial:?}");
        return;
    }
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, "one x\n");
    let limit = "/proc/sys/user/max_inotify_watches";
    let mut command = in_user_namespace(&format!("echo 2 > {limit} && exec \"$@\""));
    command.arg(PROGRAM);
    let collector = Setup::of(command).args(&["--interval", "1", "--conf"]).arg(&path).spawn();
    collector.in_force(1);
    let told = collector.hear(1, "polling ").text;
    assert!(told.contains("raise fs.inotify.max_user_watches"), "{told}");
    assert!(watches(collector.pid()) <= 2);
    // The file itself has none.
    for (count, text) in [(2, "two x\n"), (3, "three x\n")] {
        write_conf(&path, text);
        collector.in_force(count);
    }
    assert_eq!(collector.fresh().images(), ["three"]);
    assert_eq!(collector.logged("polling ").len(), 1, "{:#?}", collector.log());

    // There is room again: every directory of the way is watched, and the file.
    let mut more = Command::new("nsenter");
    more.args(["--user", "--target", &collector.pid().to_string(), "sh", "-c"]);
    assert!(more.arg(format!("echo 100 > {limit}")).status().unwrap().success());
    let all = path.components().count();
    until("all is watched", || watches(collector.pid()) == all);
    write_conf(&path, "four x\n");
    collector.in_force(4);
    assert_eq!(collector.logged("polling ").len(), 1, "{:#?}", collector.log());
}
