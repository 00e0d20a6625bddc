//! Captures of unknown origin, whose entries are not what they should be.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use psstat_testproc::{TempDir, binary, wait_until};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::run::{command, json, testproc, unique};

/// The entries that are replaced in one capture each.
const ENTRIES: [&str; 15] = [
    "7/stat",
    "7/statm",
    "7/status",
    "7/io",
    "7/limits",
    "7/comm",
    "7/cmdline",
    "7/net/tcp",
    "7/net/unix",
    "7/fd",
    "7/net",
    "7/ns",
    "7/task",
    "7",
    "uptime",
];

/// A kind of entry, and a function that creates it.
type Kind = (&'static str, fn(&Path));

/// Puts something else in the place of a file or directory.
const KINDS: [Kind; 9] = [
    ("pipe", |path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap()),
    ("link to an endless device", |path| symlink("/dev/zero", path).unwrap()),
    ("link to a directory of this host", |path| symlink("/proc", path).unwrap()),
    ("link to itself", |path| symlink(path.file_name().unwrap(), path).unwrap()),
    ("socket", |path| drop(UnixListener::bind(path).unwrap())),
    ("directory", |path| fs::create_dir_all(path.join("1/2")).unwrap()),
    ("file of 20 GB", |path| File::create(path).unwrap().set_len(20 << 30).unwrap()),
    ("file of 60 MB", |path| File::create(path).unwrap().set_len(60 << 20).unwrap()),
    ("endless device", |path| {
        // Without the right to create it, a file without a permission.
        if mknodat(CWD, path, FileType::CharacterDevice, Mode::RUSR, makedev(1, 5)).is_err() {
            File::create(path).unwrap();
        }
    }),
];

/// A capture of one process, 7.
fn capture(to: &Path) {
    let testproc = testproc(&unique("hostile"));
    let pid = testproc.pid().to_string();
    let (status, _) = json(&["capture", to.to_str().unwrap(), "--pid", &pid, "--json"]);
    assert_eq!(status, 0);
    fs::rename(to.join(&pid), to.join("7")).unwrap();
}

/// A copy of a capture with another kind of entry.
fn copy(original: &Path, to: &Path, entry: &str, create: fn(&Path)) {
    assert!(Command::new("cp").arg("-a").arg(original).arg(to).status().unwrap().success());
    let path = to.join(entry);
    let _ = fs::remove_dir_all(&path);
    let _ = fs::remove_file(&path);
    create(&path);
}

/// Runs these programs at the same time. All must end.
fn end(runs: &mut [Command], what: &str) {
    // Less than that of `wait_until`.
    const WATCHDOG: Duration = Duration::from_secs(50);
    let mut children: Vec<Child> = runs.iter_mut().map(|run| run.spawn().unwrap()).collect();
    let start = Instant::now();
    wait_until(what, || {
        let has_ended = |child: &mut Child| child.try_wait().unwrap().is_some();
        let all = children.iter_mut().map(has_ended).filter(|ended| !ended).count() == 0;
        if !all && start.elapsed() > WATCHDOG {
            children.iter_mut().for_each(|child| drop(child.kill()));
            panic!("{what}: one of {runs:?} does not end");
        }
        all
    });
    for (run, child) in runs.iter().zip(&mut children) {
        let status = child.wait().unwrap();
        assert!(status.code().is_some_and(|code| code <= 2), "{what}: {run:?}: {status}");
    }
}

#[test]
fn entries_of_any_kind_are_survived() {
    let temp = TempDir::new().unwrap();
    let original = temp.join("original");
    capture(&original);
    let mut count = 0;
    for entry in ENTRIES {
        for (kind, create) in KINDS {
            let what = format!("{entry} is a {kind}");
            let dir = temp.join("hostile");
            copy(&original, &dir, entry, create);
            count += 1;
            let (proc, again) = (dir.to_str().unwrap(), temp.join("again"));
            let again_dir = again.to_str().unwrap();
            let mut runs = [
                vec!["pid", "7"],
                vec!["explain", "7", "-e", "hostile"],
                vec!["-p", "--no-conf"],
                vec!["-e", "hostile"],
                vec!["doctor", "--no-conf"],
                vec!["capture", again_dir, "--pid", "7"],
            ];
            runs.iter_mut().for_each(|args| args.extend(["--proc", proc]));
            let mut runs = runs.map(|args| {
                let mut command = command(&args);
                command.stdout(Stdio::null()).stderr(Stdio::null());
                command
            });
            end(&mut runs, &what);
            // Nothing of this host.
            let table = command(&["-p", "--no-conf", "--exact", "--proc", proc]).output().unwrap();
            let text = String::from_utf8(table.stdout).unwrap();
            assert!(text.lines().count() <= 3, "{what}: {text}");
            let _ = fs::remove_dir_all(&again);
            fs::remove_dir_all(&dir).unwrap();
        }
    }
    assert!(count >= 57, "{count}");
}

#[test]
fn collector_survives_entries_of_any_kind() {
    let collector = binary("psstat-tcollector", "psstat-tcollector").unwrap();
    let temp = TempDir::new().unwrap();
    let (original, conf) = (temp.join("original"), temp.join("conf"));
    capture(&original);
    fs::write(&conf, "any .\n").unwrap();
    let kinds = |entry: &&'static str| KINDS.map(|kind| (*entry, kind));
    let cases: Vec<(&str, Kind)> = ENTRIES.iter().flat_map(kinds).collect();
    // Each waits for most of its time.
    for cases in cases.chunks(27) {
        let temp = TempDir::new().unwrap();
        let path = |name: &str, number: usize| temp.join(format!("{name}-{number}"));
        let run = |(number, (entry, (_, create))): (usize, &(&str, Kind))| {
            copy(&original, &path("proc", number), entry, *create);
            let mut run = Command::new(&collector);
            run.arg("--once").arg("--conf").arg(&conf).arg("--proc").arg(path("proc", number));
            let stdout = File::create(path("output", number)).unwrap();
            run.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null());
            run
        };
        let mut runs: Vec<Command> = cases.iter().enumerate().map(run).collect();
        end(&mut runs, "--once");
        for (number, (entry, (kind, _))) in cases.iter().enumerate() {
            // Nothing of this host.
            let text = fs::read_to_string(path("output", number)).unwrap();
            let processes = text.lines().find_map(|line| {
                let rest = line.strip_prefix("proc.stat.ps.collector.processes ")?;
                rest.split(' ').nth(1)
            });
            assert_eq!(processes, Some("1"), "{entry} is a {kind}");
        }
    }
}
