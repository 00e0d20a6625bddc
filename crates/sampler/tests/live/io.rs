//! I/O of live processes that exec, change their rules or reuse a pid.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::common::{A, B, C, Options, Watch, io_of, options, procs, testproc, word};
use psstat_testproc::{Config, Io, oracle};

#[test]
fn exec_keeps_prior_io_in_old_image() {
    let (a, b) = (word("exec-a"), word("exec-b"));
    let mut one = testproc(&a);
    one.write_bytes(1_000_000, 1).unwrap();
    one.quiesce().unwrap();
    let mut watch = Watch::new(&[&a, &b]);
    assert_eq!(io_of(watch.cycle().image(A)), one.expected_io().unwrap());
    one.exec(&Config::new(&b)).unwrap();
    one.write_bytes(500, 1).unwrap();
    one.quiesce().unwrap();
    let sample = watch.cycles(10);
    assert_eq!(procs(&sample, [A, B]), [0, 1]);
    let (old, new) = (io_of(sample.image(A)), io_of(sample.image(B)));
    assert!(old.wchar >= 1_000_000 && new.wchar >= 500 && new.wchar < 900_000, "{old:?} {new:?}");
    assert_eq!(old.wchar + new.wchar, Io::read(one.pid()).unwrap().wchar);
    // Back again: the first image does not get the I/O done in the other one.
    one.write_bytes(300_000, 1).unwrap();
    watch.cycle();
    one.exec(&Config::new(&a)).unwrap();
    one.quiesce().unwrap();
    let sample = watch.cycles(10);
    assert_eq!(procs(&sample, [A, B]), [1, 0]);
    assert!(io_of(sample.image(A)).wchar < 1_200_000);
}

/// The image appears when an old process becomes its first member.
#[test]
fn new_image_starts_at_zero() {
    let (a, b, new) = (word("new-a"), word("new-b"), word("new-c"));
    let mut one = testproc("unmatched");
    let _other = testproc(&a);
    one.write_bytes(1_000_000, 1).unwrap();
    one.quiesce().unwrap();
    let mut watch = Watch::new(&[&a, &b, &new]);
    watch.cycles(3);
    one.exec(&Config::new(&new)).unwrap();
    one.quiesce().unwrap();
    let image = watch.cycles(10).image(C);
    assert_eq!(image.processes, 1);
    assert!(io_of(image).wchar < 900_000, "{:?}", image.io);
}

#[test]
fn reused_pid_is_a_new_process() {
    for max_open_fds in [None, Some(0)] {
        let (a, b) = (word("reuse-a"), word("reuse-b"));
        let mut parent = testproc("reuse-parent");
        let mut first = parent.fork_child(&Config::new(&a)).unwrap();
        let pid = first.pid();
        first.write_bytes(1_000_000, 1).unwrap();
        first.quiesce().unwrap();
        let mut watch = Watch::with(Options { max_open_fds, ..options() }, &[&a, &b]);
        let before = io_of(watch.cycle().image(A));
        // Within the window, so that the pid exists at both of its ends.
        let due = watch.open();
        first.exit(0).unwrap();
        parent.wait(first).unwrap();
        let second = match parent.fork_child_as(pid, &Config::new(&b)) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return println!("skipped: no privilege to choose a pid");
            }
            result => result.unwrap(),
        };
        second.quiesce().unwrap();
        let sample = watch.close(due);
        assert_eq!((sample.image(A).processes, sample.image(A).cpu_percent), (0, Some(0.0)));
        assert_eq!(io_of(sample.image(A)), before);
        let sample = watch.cycle();
        assert_eq!(procs(&sample, [A, B]), [0, 1]);
        assert_eq!(io_of(sample.image(A)), before);
        assert_eq!(io_of(sample.image(B)), second.expected_io().unwrap());
    }
}

#[test]
fn reclassification_keeps_counters() {
    let (a, b) = (word("rules-a"), word("rules-b"));
    let mut one = testproc(&format!("{a} {b}"));
    one.write_bytes(1_000_000, 1).unwrap();
    one.quiesce().unwrap();
    let mut watch = Watch::new(&[&a, &b]);
    let first = io_of(watch.cycle().image(A));
    assert_eq!(first, one.expected_io().unwrap());
    for _ in 0..3 {
        watch.sampler.reclassify_all(3);
        let sample = watch.cycle();
        assert_eq!(io_of(sample.image(A)), first);
        assert_eq!(io_of(sample.image(B)), first);
    }
}

/// A shell that runs a command for each line that it reads.
struct Commands {
    shell: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Commands {
    /// `command` has the line as `$line` and the path as `$1`.
    fn spawn(word: &str, command: &str, path: &Path) -> Commands {
        let script = format!("while read -r line; do {command}; echo; done");
        let mut shell = Command::new("sh")
            .args(["-c", &script, word])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
        Commands { shell, stdin, stdout }
    }

    fn run(&mut self, line: usize) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.stdout.read_exact(&mut [0]).unwrap();
    }

    fn cancelled(&self) -> i64 {
        oracle::io(self.shell.id()).unwrap()["cancelled_write_bytes"]
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// One shell writes a file, and another truncates it before it is on disk.
#[test]
fn cancelled_bytes_count_where_the_file_is_truncated() {
    let word = word("truncates");
    // On a file system on disk: in memory nothing is written.
    let file = format!("truncated-{}", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    let mut writer = Commands::spawn("writer", r#"head -c "$line" /dev/zero >"$1""#, &path);
    let mut truncating = Commands::spawn(&word, r#": >"$1""#, &path);
    let mut watch = Watch::new(&[&word]);
    let mut counts = vec![watch.cycle().image(A).io.unwrap().cancelled_write_bytes];
    for size in [4 << 20, 1 << 20, 4 << 20] {
        writer.run(size);
        truncating.run(size);
        let count = watch.cycle().image(A).io.unwrap().cancelled_write_bytes;
        assert_eq!(count - counts[0], truncating.cancelled());
        counts.push(count);
    }
    assert_eq!(writer.cancelled(), 0);
    fs::remove_file(&path).unwrap();
    assert!(counts.is_sorted(), "{counts:?}");
    if counts[3] == 0 {
        println!("skipped: the file system here does not count truncated bytes");
    }
}
