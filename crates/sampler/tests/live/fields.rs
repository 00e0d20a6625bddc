//! The fields of processes besides their command lines: what is read, when, and what a process that
//! changes them or hides them does.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::captured_proc::{sampler as captured_sampler, write_process};
use crate::common::second_process::OTHER_UID;
use crate::common::{
    A, B, ImageId, Options, Sample, Sampler, close, has_word, is_root, options, procs,
    short_window, testproc, word,
};
use psstat_sampler::intervals::{CGROUP_INTERVAL, CMDLINE_INTERVAL, DENIED_RETRY_INTERVAL};
use psstat_sampler::{Candidate, FastPaths, ProcessFields};
use psstat_testproc::cgroup::Hierarchy;
use psstat_testproc::{Config, TempDir, TestProcess, wait_until};

const ALL: ProcessFields = ProcessFields { comm: true, user: true, cgroup: true };

/// The fields of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fields {
    comm: Option<String>,
    uid: Option<u32>,
    cgroup: Option<String>,
}

impl Fields {
    fn of(process: &Candidate<'_>) -> Fields {
        let text = |text: &[u8]| String::from_utf8(text.to_vec()).unwrap();
        Fields { comm: process.comm.map(text), uid: process.uid, cgroup: process.cgroup.map(text) }
    }
}

/// A sampler that notes the fields of the processes with a word in their command line.
struct Reader {
    sampler: Sampler,
    word: String,
    found: BTreeMap<u32, Fields>,
    calls: usize,
}

impl Reader {
    fn new(sampler: Sampler, word: &str) -> Reader {
        Reader { sampler, word: word.to_owned(), found: BTreeMap::new(), calls: 0 }
    }

    /// The image A has the processes of a field's value `b`, and B all others.
    fn cycle(&mut self) -> Sample {
        let Reader { sampler, word, found, calls } = self;
        let due = sampler.open(&mut |process, images| {
            if has_word(process, word) {
                let fields = Fields::of(process);
                let is_b = fields.cgroup.as_deref().is_some_and(|path| path.ends_with("-b"));
                images.push(if is_b { B } else { A });
                found.insert(process.pid, fields);
                *calls += 1;
            }
        });
        close(sampler, due).clone()
    }

    fn set(&mut self, fields: ProcessFields) {
        self.sampler.set_fields(fields);
        self.sampler.reclassify_all(2);
    }

    /// Runs cycles until the fields of a process are these, and gives their number.
    fn cycles_until(&mut self, pid: u32, expected: &Fields) -> u32 {
        (1..200)
            .find(|_| {
                self.cycle();
                self.found[&pid] == *expected
            })
            .unwrap_or_else(|| panic!("{:?} instead of {expected:?}", self.found[&pid]))
    }
}

/// The effective user, which is not the owner of the files of a process that is not dumpable, and
/// the first line for that user of the hierarchies of systemd and version 2.
#[test]
fn fields_are_those_of_the_process() {
    let word = word("fields");
    let mut process = testproc(&word);
    process.set_comm("a b)\u{e9}\n").unwrap();
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", process.pid())).unwrap();
    let path = |prefix: &str| {
        cgroup.lines().find_map(|line| Some(line.split_once(prefix)?.1)).map(str::to_owned)
    };
    let cgroup = path(":name=systemd:").filter(|path| path != "/").or(path("0::"));
    let mut uid = 0;
    if is_root() {
        process.setuid(OTHER_UID).unwrap();
        uid = OTHER_UID;
    }
    for fast_paths in [FastPaths::ALL, FastPaths::NONE] {
        let sampler = Sampler::new(Options { fast_paths, ..short_window() }).unwrap();
        let mut reader = Reader::new(sampler, &word);
        reader.cycle();
        assert_eq!(reader.found[&process.pid()], Fields::default());
        let all =
            Fields { comm: Some("a b)\u{e9}\n".into()), uid: Some(uid), cgroup: cgroup.clone() };
        // In the first cycle after the rules have changed, for all processes.
        for (fields, expected) in [
            (ALL, all.clone()),
            (
                ProcessFields { comm: true, ..ProcessFields::NONE },
                Fields { comm: all.comm.clone(), ..Fields::default() },
            ),
            (
                ProcessFields { user: true, ..ProcessFields::NONE },
                Fields { uid: all.uid, ..Fields::default() },
            ),
            (ProcessFields::NONE, Fields::default()),
        ] {
            for _ in 0..20 {
                reader.cycle();
            }
            reader.set(fields);
            reader.cycle();
            assert_eq!(reader.found[&process.pid()], expected);
        }
    }
}

/// Its name and its user change only if it runs, so that is noticed as a new title is.
#[test]
fn new_name_and_user_are_noticed() {
    let word = word("renamed");
    let mut process = testproc(&word);
    process.set_comm("before").unwrap();
    let mut reader = Reader::new(Sampler::new(short_window()).unwrap(), &word);
    reader.set(ProcessFields { comm: true, user: true, cgroup: false });
    for _ in 0..20 {
        reader.cycle();
    }
    let mut expected = reader.found[&process.pid()].clone();
    assert_eq!(expected.comm.as_deref(), Some("before"));
    process.set_comm("after").unwrap();
    expected.comm = Some("after".into());
    assert!(reader.cycles_until(process.pid(), &expected) <= CMDLINE_INTERVAL);
    if is_root() {
        process.setuid(OTHER_UID).unwrap();
        expected.uid = Some(OTHER_UID);
        assert!(reader.cycles_until(process.pid(), &expected) <= CMDLINE_INTERVAL);
    }
    // An idle process is not classified again.
    let before = reader.calls;
    for _ in 0..40 {
        reader.cycle();
    }
    assert!(reader.calls - before <= 1, "{} calls", reader.calls - before);
}

/// A process that does nothing is moved by another one.
#[test]
fn moved_process_is_found() {
    if !is_root() {
        return;
    }
    for hierarchy in [Hierarchy::systemd(), Hierarchy::v2()].into_iter().flatten() {
        let word = word("moved");
        let groups = ["a", "b"].map(|name| hierarchy.create(&format!("{word}-{name}")));
        let [Some(a), Some(b)] = &groups else { return };
        let processes = [testproc(&word), testproc(&word)];
        // The tree of version 2 matters only for a process that is at the root of the other one.
        if hierarchy_of(processes[0].pid()) != hierarchy.path_of(processes[0].pid()).unwrap() {
            println!("skipped: processes of the tests are in a group of systemd");
            continue;
        }
        for process in &processes {
            a.add(process.pid()).unwrap();
        }
        let mut reader = Reader::new(Sampler::new(short_window()).unwrap(), &word);
        reader.set(ProcessFields { cgroup: true, ..ProcessFields::NONE });
        for _ in 0..20 {
            reader.cycle();
        }
        let [moved, other] = processes.each_ref().map(TestProcess::pid);
        let before = Fields { cgroup: Some(format!("/{word}-a")), ..Fields::default() };
        assert_eq!((&reader.found[&moved], &reader.found[&other]), (&before, &before));
        for (group, name, images) in [(b, "b", [1, 1]), (a, "a", [2, 0]), (b, "b", [1, 1])] {
            group.add(moved).unwrap();
            let path = hierarchy.path_of(moved).unwrap();
            assert_eq!(path, format!("/{word}-{name}"));
            let expected = Fields { cgroup: Some(path), ..Fields::default() };
            let calls = reader.calls;
            assert!(reader.cycles_until(moved, &expected) <= CGROUP_INTERVAL);
            // The other one is not classified, except every 128 cycles.
            assert!(reader.calls <= calls + 2, "{} calls", reader.calls - calls);
            assert_eq!(procs(&reader.cycle(), [A, B]), images);
            assert_eq!(reader.found[&other], before);
        }
        drop(processes);
    }
}

/// The path that matters of a process.
fn hierarchy_of(pid: u32) -> String {
    let systemd = Hierarchy::systemd().and_then(|systemd| systemd.path_of(pid).ok());
    let path = systemd.filter(|path| path != "/");
    path.unwrap_or_else(|| Hierarchy::v2().unwrap().path_of(pid).unwrap())
}

/// The command line of a forked process is that of its parent until it executes its program, and
/// so is its name.
#[test]
fn executed_program_has_its_own_name() {
    let word = word("executing");
    let mut process = testproc(&word);
    process.set_comm("first").unwrap();
    let mut reader = Reader::new(Sampler::new(options()).unwrap(), &word);
    reader.set(ProcessFields { comm: true, ..ProcessFields::NONE });
    reader.cycle();
    assert_eq!(reader.found[&process.pid()].comm.as_deref(), Some("first"));
    process.exec(&Config::new(&word)).unwrap();
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", process.pid())).unwrap();
    let expected = Fields { comm: Some(comm.trim_end().to_owned()), ..Fields::default() };
    assert!(reader.cycles_until(process.pid(), &expected) <= CMDLINE_INTERVAL);
}

fn write_fields(dir: &Path, comm: &str, uid: u32, cgroup: &str) {
    let status = format!("Name:\t{comm}\nUid:\t9\t{uid}\t8\t7\n");
    std::fs::write(dir.join("comm"), format!("{comm}\n")).unwrap();
    std::fs::write(dir.join("status"), status).unwrap();
    std::fs::write(dir.join("cgroup"), format!("4:cpu:/x\n0::{cgroup}\n")).unwrap();
}

/// Files that do not exist, while the process does, are as denied ones: counted, and tried again
/// after some time only.
#[test]
fn denied_fields_are_counted() {
    let temp = TempDir::new().unwrap();
    let (first, second) =
        (write_process(temp.path(), 10, 100, 0), write_process(temp.path(), 11, 100, 0));
    write_fields(&first, "one", 5, "/a");
    for name in ["comm", "status", "cgroup"] {
        assert!(!second.join(name).exists());
    }
    let mut reader = Reader::new(captured_sampler(temp.path()), "worker");
    let denied = |sample: &Sample| {
        let denied = sample.health.denied;
        [denied.comm, denied.status, denied.cgroup]
    };
    assert_eq!(denied(&reader.cycle()), [0; 3]);
    reader.set(ALL);
    let sample = reader.cycle();
    assert_eq!(denied(&sample), [1; 3]);
    // The others of its values count.
    assert_eq!(procs(&sample, [A, B]), [2, 0]);
    let found = Fields { comm: Some("one".into()), uid: Some(5), cgroup: Some("/a".into()) };
    assert_eq!(reader.found[&10], found);
    assert_eq!(reader.found[&11], Fields::default());
    write_fields(&second, "two", 6, "/b");
    let found = Fields { comm: Some("two".into()), uid: Some(6), cgroup: Some("/b".into()) };
    for _ in 1..DENIED_RETRY_INTERVAL {
        assert_eq!(denied(&reader.cycle()), [1; 3]);
        assert_eq!(reader.found[&11], Fields::default());
    }
    assert!(reader.cycles_until(11, &found) <= CMDLINE_INTERVAL);
    assert_eq!(denied(&reader.cycle()), [0; 3]);
    // Without need for them they are not counted.
    std::fs::remove_file(second.join("comm")).unwrap();
    reader.set(ALL);
    assert_eq!(denied(&reader.cycle()), [1, 0, 0]);
    reader.set(ProcessFields::NONE);
    assert_eq!(denied(&reader.cycle()), [0; 3]);
}

/// A text that cannot be parsed is an error, and the process stays in its images meanwhile.
#[test]
fn failed_field_changes_no_image() {
    let temp = TempDir::new().unwrap();
    let dir = write_process(temp.path(), 10, 100, 0);
    write_fields(&dir, "one", 5, "/x-b");
    let mut reader = Reader::new(captured_sampler(temp.path()), "worker");
    reader.set(ALL);
    assert_eq!(procs(&reader.cycle(), [A, B]), [0, 1]);
    std::fs::write(dir.join("cgroup"), "0::/x").unwrap();
    for _ in 0..3 {
        let sample = reader.cycle();
        assert_eq!(procs(&sample, [A, B]), [0, 1]);
        assert_eq!(sample.health.denied.cgroup, 0);
    }
    let failed = (0..CMDLINE_INTERVAL).map(|_| reader.cycle().health.failed.cgroup).max();
    assert_eq!(failed, Some(1));
    // A process that was never classified is, without the field.
    write_fields(&write_process(temp.path(), 11, 100, 0), "two", 5, "");
    assert_eq!(procs(&reader.cycle(), [A, B]), [1, 1]);
    assert_eq!(reader.found[&11].comm.as_deref(), Some("two"));
    std::fs::write(dir.join("cgroup"), "0::/y\n").unwrap();
    let fields = Fields { comm: Some("one".into()), uid: Some(5), cgroup: Some("/y".into()) };
    assert!(reader.cycles_until(10, &fields) <= CMDLINE_INTERVAL);
    assert_eq!(procs(&reader.cycle(), [A, B]), [2, 0]);
}

/// A process whose file blocks is named and delays no other one. In a procfs of plain files a pipe
/// blocks.
#[test]
fn field_that_blocks() {
    if !cfg!(debug_assertions) {
        return println!("skipped: pipes are read by builds with debug assertions only");
    }
    for file in ["comm", "status", "cgroup"] {
        let temp = TempDir::new().unwrap();
        let dirs = [10, 11].map(|pid| write_process(temp.path(), pid, 100, 0));
        dirs.iter().for_each(|dir| write_fields(dir, "one", 5, "/a"));
        let pipe = dirs[0].join(file);
        let text = std::fs::read(&pipe).unwrap();
        std::fs::remove_file(&pipe).unwrap();
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
        let proc_root = temp.path().to_owned();
        let read_timeout = std::time::Duration::from_millis(50);
        let sampler = Sampler::new(Options { proc_root, read_timeout, ..short_window() }).unwrap();
        let mut reader = Reader::new(sampler, "worker");
        reader.set(ALL);
        let sample = reader.cycle();
        assert_eq!(procs(&sample, [A, B]), [2, 0]);
        assert_eq!(sample.health.blocked, 1);
        let blocked: Vec<(u32, &str)> =
            reader.sampler.blocked_reads().map(|read| (read.pid, read.file)).collect();
        assert_eq!(blocked, [(10, file)]);
        let found = Fields { comm: Some("one".into()), uid: Some(5), cgroup: Some("/a".into()) };
        assert_eq!(reader.found[&11], found);
        assert_ne!(reader.found[&10], found);
        // While it blocks, one thread waits, and the values of its other files count.
        for _ in 0..20 {
            assert_eq!(reader.cycle().image(A).io.map(|io| io.syscr), Some(2));
            assert_eq!(reader.sampler.blocked_reads().count(), 1);
        }
        // The thread that waits gets an end of the file, and the next read finds the text.
        let writer = std::fs::File::options().write(true).open(&pipe).unwrap();
        std::fs::remove_file(&pipe).unwrap();
        std::fs::write(&pipe, &text).unwrap();
        drop(writer);
        wait_until("the read ends", || {
            reader.cycle();
            reader.sampler.blocked_reads().count() == 0
        });
        assert!(reader.cycles_until(10, &found) <= CMDLINE_INTERVAL);
    }
}

/// The images of processes that leave an image by their fields: io continues from its value.
#[test]
fn image_begins_with_what_a_moved_process_does_in_it() {
    let temp = TempDir::new().unwrap();
    let dir = write_process(temp.path(), 10, 100, 1_000);
    write_fields(&dir, "one", 5, "/a");
    let mut reader = Reader::new(captured_sampler(temp.path()), "worker");
    reader.set(ALL);
    let rchar = |sample: &Sample, image: ImageId| sample.image(image).io.unwrap().rchar;
    let before = reader.cycle();
    assert_eq!((rchar(&before, A), before.image(A).exits), (1_000, 0));
    write_fields(&dir, "one", 5, "/a-b");
    let fields = Fields { comm: Some("one".into()), uid: Some(5), cgroup: Some("/a-b".into()) };
    reader.cycles_until(10, &fields);
    write_process(temp.path(), 10, 100, 1_500);
    let after = reader.cycle();
    assert_eq!((rchar(&after, A), rchar(&after, B)), (1_000, 500));
    assert_eq!((after.image(A).exits, after.image(B).starts), (1, 1));
}
