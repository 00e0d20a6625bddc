//! A config file that is changed in every possible way while the collector runs.

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

use super::common::{
    Collector, Cycle, PROGRAM, Setup, conf, expected_values, testproc, until, word, write_conf,
};

/// A change is loaded within a second, which is one cycle, or a few on a busy machine. Counted in
/// cycles, which are delayed as well if the machine stalls.
const SOON: usize = 4;

/// A directory with the config file, its path for the collector, and its new text.
struct Scene<'s> {
    directory: &'s Path,
    conf: &'s Path,
    new: &'s str,
    collector: &'s Collector,
    /// The longest pause of the writer.
    paused: Cell<Duration>,
}

impl Scene<'_> {
    fn pause(&self, milliseconds: u64) {
        let begin = Instant::now();
        std::thread::sleep(Duration::from_millis(milliseconds));
        self.paused.set(self.paused.get().max(begin.elapsed()));
    }
}

/// Writes the first text and returns its path for the collector.
type Begin = fn(&Path, &str) -> PathBuf;
/// Changes it.
type Change = fn(&Scene<'_>);

fn plain(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("psstat.conf");
    write_conf(&path, text);
    path
}

/// `current` is a link to the directory of the current release.
fn releases(directory: &Path, text: &str) -> PathBuf {
    std::fs::create_dir(directory.join("release-1")).unwrap();
    write_conf(&directory.join("release-1/psstat.conf"), text);
    symlink("release-1", directory.join("current")).unwrap();
    directory.join("current/psstat.conf")
}

fn in_place(scene: &Scene<'_>) {
    std::fs::write(scene.conf, scene.new).unwrap();
}

/// A slow copy: the partial file must not be loaded, though each of its lines would be valid.
fn in_pieces(scene: &Scene<'_>) {
    let mut file = File::create(scene.conf).unwrap();
    for piece in scene.new.as_bytes().chunks(7) {
        file.write_all(piece).unwrap();
        scene.pause(60);
    }
}

/// A writer that opens and closes the file for each line, as `echo >>` does.
fn line_by_line(scene: &Scene<'_>) {
    File::create(scene.conf).unwrap();
    for line in scene.new.split_inclusive('\n') {
        let mut file = OpenOptions::new().append(true).open(scene.conf).unwrap();
        file.write_all(line.as_bytes()).unwrap();
        drop(file);
        scene.pause(100);
    }
}

/// An editor that writes another file and renames it.
fn renamed_over(scene: &Scene<'_>) {
    let temporary = scene.directory.join(".psstat.conf.swp");
    write_conf(&temporary, scene.new);
    std::fs::rename(&temporary, scene.conf).unwrap();
}

/// An editor that keeps a backup.
fn with_backup(scene: &Scene<'_>) {
    std::fs::rename(scene.conf, scene.directory.join("psstat.conf~")).unwrap();
    write_conf(scene.conf, scene.new);
}

/// `mv` of a backup, which is older than the file that it replaces.
fn older_file(scene: &Scene<'_>) {
    let old = scene.directory.join("backup");
    write_conf(&old, scene.new);
    let then = std::time::SystemTime::now() - Duration::from_secs(1_000_000);
    File::options().write(true).open(&old).unwrap().set_modified(then).unwrap();
    std::fs::rename(&old, scene.conf).unwrap();
}

fn deleted_and_recreated(scene: &Scene<'_>) {
    std::fs::remove_file(scene.conf).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    write_conf(scene.conf, scene.new);
}

/// Deleted for so long that the deletion is logged.
fn deleted_for_long(scene: &Scene<'_>) {
    std::fs::remove_file(scene.conf).unwrap();
    scene.collector.wait_for_log(1, "cannot be read");
    write_conf(scene.conf, scene.new);
}

/// A deployment: a new directory, and a link that is replaced atomically.
fn link_swapped(scene: &Scene<'_>) {
    std::fs::create_dir(scene.directory.join("release-2")).unwrap();
    write_conf(&scene.directory.join("release-2/psstat.conf"), scene.new);
    symlink("release-2", scene.directory.join("next")).unwrap();
    std::fs::rename(scene.directory.join("next"), scene.directory.join("current")).unwrap();
}

/// The directory itself is replaced by another one.
fn directory_replaced(scene: &Scene<'_>) {
    let next = scene.directory.join("next");
    std::fs::create_dir(&next).unwrap();
    write_conf(&next.join("psstat.conf"), scene.new);
    std::fs::remove_file(scene.directory.join("current")).unwrap();
    std::fs::rename(&next, scene.directory.join("current")).unwrap();
}

/// The same bytes again, and SIGHUP.
fn hangup(scene: &Scene<'_>) {
    in_place(scene);
    scene.collector.signal(Signal::HUP);
}

const WAYS: [(&str, Begin, Change); 11] = [
    ("in place", plain, in_place),
    ("in pieces", plain, in_pieces),
    ("line by line", plain, line_by_line),
    ("renamed over", plain, renamed_over),
    ("with a backup", plain, with_backup),
    ("older file", plain, older_file),
    ("deleted and recreated", plain, deleted_and_recreated),
    ("deleted for long", plain, deleted_for_long),
    ("link swapped", releases, link_swapped),
    ("directory replaced", releases, directory_replaced),
    ("hangup", plain, hangup),
];

#[test]
fn detects_every_kind_of_change() {
    std::thread::scope(|scope| {
        for (way, begin, change) in WAYS {
            // Repeated if the machine stalled for so long that a partial file had settled.
            let test = move || while !one_way(way, begin, change) {};
            std::thread::Builder::new().name(way.into()).spawn_scoped(scope, test).unwrap();
        }
    });
}

/// False if the writer paused for too long.
fn one_way(way: &str, begin: Begin, change: Change) -> bool {
    let names = ["keep", "removed", "came"].map(word);
    let [keep, _removed, came] = names.each_ref().map(|name| testproc(name));
    let temp = TempDir::new().unwrap();
    let rule = |image: &str, at: usize| format!("{image} {}\n", names[at]);
    let conf = begin(temp.path(), &(rule("keep", 0) + &rule("removed", 1)));
    let collector = Setup::with(&conf).spawn();
    collector.wait_loaded(1);
    let cycle = collector.next_cycle();
    assert_eq!(cycle.images(), ["keep", "removed"]);
    let expected = |image: &str, testproc: &TestProcess| expected_values(image, &[testproc.pid()]);
    assert_eq!(cycle.image("keep"), expected("keep", &keep));

    let new = rule("keep", 0) + "# the new one\n" + &rule("came", 2) + &rule("empty/image", 2);
    let paused = Cell::default();
    let scene =
        Scene { directory: temp.path(), conf: &conf, new: &new, collector: &collector, paused };
    change(&scene);
    if scene.paused.get() >= SETTLE_TIME {
        return false;
    }
    let changed = Instant::now();
    let took = collector.count_between(changed, collector.wait_loaded(2));
    assert!(took < SOON, "{way}: loaded after {took} cycles");

    let cycle = collector.cycle(way, |cycle| cycle.images() == ["came", "empty/image", "keep"]);
    assert_eq!(cycle.image("keep"), expected("keep", &keep), "{way}");
    // No partial file was loaded, and the first values of the new image are correct.
    let logged = collector.logged(": loaded ");
    assert!(
        logged[1..].iter().all(|line| line.contains("3 rules for 3 images")),
        "{way}: {logged:#?}"
    );
    for cycle in collector.cycles(0) {
        if cycle.images().contains(&"came") {
            assert_eq!(cycle.image("came"), expected("came", &came), "{way}");
        }
    }
    true
}

#[test]
fn sighup_forces_reload() {
    let temp = TempDir::new().unwrap();
    let conf = conf(&temp, &format!("any {}\nbad! x\n", word("any")));
    let collector = Setup::with(&conf).spawn();
    collector.wait_loaded(1);
    collector.cycles(1);
    for count in 2..4 {
        collector.signal(Signal::HUP);
        collector.wait_loaded(count);
        assert_eq!(collector.logged("conf:2:4: error").len(), count);
    }
}

/// An image that is removed from the config file and added again continues with its counters, and
/// includes the I/O of its processes since then if they are the same.
#[test]
fn restored_image_continues_its_counters() {
    let (away, stay) = (word("away"), word("stay"));
    let mut worker = testproc(&away);
    let mut exited = testproc(&away);
    let _stays = testproc(&stay);
    worker.write_bytes(1_000_000, 10).unwrap();
    exited.write_bytes(500_000, 5).unwrap();
    let temp = TempDir::new().unwrap();
    let both = format!("away {away}\nstay {stay}\n");
    let path = conf(&temp, &both);
    let collector = Setup::with(&path).spawn();
    collector.wait_loaded(1);
    collector.next_cycle();
    exited.exit(0).unwrap();
    exited.reap().unwrap();
    let before = collector.next_cycle();
    assert!(before.get("io image=away type=wchar") >= 1_500_000);

    write_conf(&path, &format!("stay {stay}\n"));
    collector.wait_loaded(2);
    let without = collector.cycle("the other", |cycle| cycle.images() == ["stay"]);
    worker.write_bytes(300_000, 3).unwrap();

    write_conf(&path, &both);
    collector.wait_loaded(3);
    let is_back = |cycle: &Cycle| cycle.time > without.time && cycle.images() == ["away", "stay"];
    let back = collector.cycle("both", is_back);
    assert_eq!(back.get("procs image=away"), 1);
    for (series, value) in before.image("away") {
        if series.starts_with("io ") {
            assert!(back.get(&series) >= value, "{series} fell from {value}");
        }
    }
    // Counting continues.
    worker.write_bytes(200_000, 2).unwrap();
    let on = collector.next_cycle();
    let grown = on.get("io image=away type=wchar") - back.get("io image=away type=wchar");
    assert!((200_000..210_000).contains(&grown), "grown by {grown}");
}

/// Its processes were running before, in another image or none.
#[test]
fn added_image_begins_at_zero() {
    let (old, new) = (word("old"), word("new"));
    let mut both = testproc(&format!("{old} {new}"));
    let mut unmatched = testproc(&new);
    both.write_bytes(1_000_000, 10).unwrap();
    unmatched.write_bytes(2_000_000, 10).unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("old {old}\n"));
    let collector = Setup::with(&path).io_since_start().spawn();
    collector.wait_loaded(1);
    collector.next_cycle();
    both.write_bytes(400_000, 10).unwrap();
    let before = collector.next_cycle();
    assert!(before.get("io image=old type=wchar") >= 400_000);

    write_conf(&path, &format!("old {old}\nnew {new}\n"));
    collector.wait_loaded(2);
    let cycle = collector.cycle("both", |cycle| cycle.images() == ["new", "old"]);
    assert_eq!(cycle.get("procs image=new"), 2);
    assert_eq!(cycle.get("io image=new type=wchar"), 0);
    assert_eq!(cycle.get("io image=old type=wchar"), before.get("io image=old type=wchar"));
    for testproc in [&mut both, &mut unmatched] {
        testproc.write_bytes(1_000, 1).unwrap();
    }
    let grown = collector.next_cycle().get("io image=new type=wchar");
    assert!((2_000..4_000).contains(&grown), "{grown}");
}

/// A shell in a user namespace, which has its own limit of inotify watches.
fn in_user_namespace(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", script, "sh"]);
    command
}

/// The inotify watches of a process. Threads can have descriptors of their own or share them.
fn watches(pid: u32) -> usize {
    let mut most = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let mut count = 0;
        for info in std::fs::read_dir(task.path().join("fdinfo")).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(info.path()).unwrap_or_default();
            count += text.lines().filter(|line| line.starts_with("inotify wd:")).count();
        }
        most = most.max(count);
    }
    most
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
    collector.wait_loaded(1);
    let logged = collector.wait_for_log(1, "polling ").text;
    assert!(logged.contains("raise fs.inotify.max_user_watches"), "{logged}");
    assert!(watches(collector.pid()) <= 2);
    // The file itself has no watch.
    for (count, text) in [(2, "two x\n"), (3, "three x\n")] {
        write_conf(&path, text);
        collector.wait_loaded(count);
    }
    assert_eq!(collector.next_cycle().images(), ["three"]);
    assert_eq!(collector.logged("polling ").len(), 1, "{:#?}", collector.log());

    // With a higher limit, every directory of the path is watched, and the file.
    let mut more = Command::new("nsenter");
    more.args(["--user", "--target", &collector.pid().to_string(), "sh", "-c"]);
    assert!(more.arg(format!("echo 100 > {limit}")).status().unwrap().success());
    let all = path.components().count();
    until("all is watched", || watches(collector.pid()) == all);
    write_conf(&path, "four x\n");
    collector.wait_loaded(4);
    assert_eq!(collector.logged("polling ").len(), 1, "{:#?}", collector.log());
}
