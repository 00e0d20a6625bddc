//! Which processes belong to an image: after an exec, with another title, without a leader; not
//! kernel threads and zombies.

use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::{
    A, B, Images, Sampler, Watch, cycle, in_every_mode, io_of, options, procs, testproc, word,
};
use psstat_sampler::Candidate;
use psstat_sampler::intervals::CMDLINE_INTERVAL;
use psstat_testproc::{Config, Io, TempDir, TestProcess, oracle, wait_until};

const INTERVAL: usize = CMDLINE_INTERVAL as usize;

/// A shell that runs a script; killed when dropped.
struct Shell(Child);

impl Shell {
    fn start(script: &Path, word: &str) -> Shell {
        let mut command = Command::new("sh");
        command.arg(script).arg(word).stdin(Stdio::piped()).stdout(Stdio::null());
        let shell = Shell(command.spawn().unwrap());
        let is_started = |line: Vec<u8>| line.starts_with(b"sh\0");
        wait_until("exec", || oracle::cmdline(shell.0.id()).is_ok_and(is_started));
        shell
    }

    /// Lets it pass its next `read`, and waits until it has written this many bytes and sleeps.
    fn proceed(&mut self, wchar: i64) {
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let pid = self.0.id();
        wait_until("write", || oracle::io(pid).unwrap()["wchar"] >= wchar);
        wait_until("sleep", || oracle::state(pid).unwrap() == 'S');
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A shell of one image executes a shell of another one: the same program text, so that its
/// memory does not show the exec.
#[test]
fn exec_is_rematched() {
    for age in [1, INTERVAL + 4] {
        let (a, b, temp) = (word("shell-a"), word("shell-b"), TempDir::new().unwrap());
        let script = temp.join("script");
        let last = format!("exec sh -c 'printf %05000d 0 >/dev/null; read y; : {b}'");
        let text = format!("read x\nprintf %01000d 0 >/dev/null\nread x\n{last}\n");
        std::fs::write(&script, text).unwrap();
        let mut shell = Shell::start(&script, &a);
        let mut watch = Watch::new(&[&a, &b]);
        watch.cycle();
        shell.proceed(1000);
        let sample = watch.cycles(age);
        assert_eq!(procs(&sample, [A, B]), [1, 0]);
        let done = io_of(sample.image(A));
        assert_eq!(done.wchar, 1000);
        shell.proceed(6000);
        let sample = watch.cycles(if age == 1 { 2 } else { INTERVAL + 1 });
        assert_eq!(procs(&sample, [A, B]), [0, 1], "age {age}");
        // The image keeps the bytes up to the last read before the exec.
        let (old, new) = (io_of(sample.image(A)), io_of(sample.image(B)));
        assert!(old.wchar >= done.wchar);
        assert_eq!(old.wchar + new.wchar, 6000, "age {age}");
    }
}

#[test]
fn title_is_rematched_and_comm_is_ignored() {
    let (a, b) = (word("title-a"), word("title-b"));
    let set_titles: [fn(&mut TestProcess, &str) -> std::io::Result<()>; 2] = [
        |testproc, title| testproc.overwrite_title(title),
        // Longer than the original arguments.
        |testproc, title| testproc.set_title(format!("{title}{}", "x".repeat(300))),
    ];
    for set_title in set_titles {
        let config = Config::new(&a).arg("x".repeat(200));
        let mut one = TestProcess::spawn(&config).unwrap();
        let mut watch = Watch::new(&[&a, &b]);
        assert_eq!(watch.cycles(3).image(A).processes, 1);
        match set_title(&mut one, &b) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                return println!("skipped: PR_SET_MM is not available");
            }
            result => result.unwrap(),
        }
        assert_eq!(procs(&watch.cycles(INTERVAL + 1), [A, B]), [0, 1]);
        one.set_comm(&a[..12.min(a.len())]).unwrap();
        assert_eq!(procs(&watch.cycles(INTERVAL + 1), [A, B]), [0, 1]);
    }
}

/// Sets whether these processes are in image B, and the others with an empty command line in none.
fn by_pid(pids: &[u32], process: &Candidate<'_>, images: &mut Images<'_, '_>) {
    if pids.contains(&process.pid) {
        let is_empty = process.args_joined.is_empty();
        assert_eq!(is_empty, process.command_line.iter().all(|byte| *byte == 0));
        assert!(!process.command_line.is_empty());
        images.push(if is_empty { B } else { A });
    }
}

/// It used to be in no image: the collector took it for a zombie.
#[test]
fn empty_command_line_is_a_command_line() {
    let configs = [Config::new(""), Config::new("").arg(""), Config::new("").arg("").arg("")];
    let testprocs = configs.each_ref().map(|config| TestProcess::spawn(config).unwrap());
    let pids = testprocs.each_ref().map(TestProcess::pid);
    for (nuls, &pid) in (1..).zip(&pids) {
        assert_eq!(oracle::cmdline(pid).unwrap(), vec![0; nuls]);
    }
    let mut sampler = Sampler::new(options()).unwrap();
    let mut classify = |process: &Candidate<'_>, images: &mut Images<'_, '_>| {
        by_pid(&pids, process, images);
    };
    let sample = cycle(&mut sampler, &mut classify);
    assert_eq!(procs(sample, [A, B]), [0, 3]);
    let written: i64 = pids.iter().map(|&pid| oracle::io(pid).unwrap()["wchar"]).sum();
    assert_eq!(io_of(sample.image(B)).wchar, written.cast_unsigned());
}

/// A sampler that had seen the process before kept it in its images, and one that was started
/// later had it in none.
#[test]
fn samplers_agree_about_process_that_loses_its_arguments() {
    type Change = fn(&mut TestProcess) -> std::io::Result<()>;
    let changes: [(Change, &[u8]); 4] = [
        (|one| one.exec(&Config::new("")), b"\0"),
        (|one| one.set_title(""), b"\0"),
        (|one| one.overwrite_title(""), b"\0\0\0"),
        (|one| one.remove_arguments(), b""),
    ];
    for (change, expected) in changes {
        let mut one = TestProcess::spawn(&Config::new("ab")).unwrap();
        let pids = [one.pid()];
        let mut classify = |process: &Candidate<'_>, images: &mut Images<'_, '_>| {
            by_pid(&pids, process, images);
        };
        let mut old = Sampler::new(options()).unwrap();
        for _ in 0..INTERVAL + 4 {
            assert_eq!(procs(cycle(&mut old, &mut classify), [A, B]), [1, 0]);
        }
        match change(&mut one) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                println!("skipped: PR_SET_MM is not available");
                continue;
            }
            result => result.unwrap(),
        }
        assert_eq!(oracle::cmdline(one.pid()).unwrap(), expected);
        let mut new = Sampler::new(options()).unwrap();
        let mut both = [[1, 0], [0, 0]];
        for _ in 0..INTERVAL {
            both = [&mut old, &mut new].map(|sampler| procs(cycle(sampler, &mut classify), [A, B]));
        }
        assert_eq!(both, [[0, 1]; 2], "{}", expected.escape_ascii());
        // And back.
        one.exec(&Config::new("ab")).unwrap();
        for _ in 0..INTERVAL {
            both = [&mut old, &mut new].map(|sampler| procs(cycle(sampler, &mut classify), [A, B]));
        }
        assert_eq!(both, [[1, 0]; 2], "{}", expected.escape_ascii());
    }
}

#[test]
fn kernel_threads_and_zombies_are_not_matched() {
    let mut parent = testproc("everything");
    let mut zombie = parent.fork_child(&Config::new("everything")).unwrap();
    let mut sampler = Sampler::new(options()).unwrap();
    let mut pids = Vec::new();
    for n in 0..3 {
        cycle(&mut sampler, &mut |process, images| {
            assert!(!process.command_line.is_empty());
            images.push(A);
        });
        pids = sampler.processes().map(|process| process.pid).collect();
        assert_eq!(pids.contains(&zombie.pid()), n == 0);
        if n == 0 {
            zombie.exit(0).unwrap();
        }
    }
    assert!(pids.contains(&parent.pid()) && pids.contains(&std::process::id()));
    let has_cmdline = |pid| oracle::cmdline(pid).is_ok_and(|line| !line.is_empty());
    // In the initial pid namespace, kthreadd has pid 2.
    for pid in pids {
        assert!(oracle::ppid(pid).is_ok_and(|parent| parent != 2) || !has_cmdline(pid), "{pid}");
        assert!(pid != 2 || oracle::comm(2).is_ok_and(|comm| comm != b"kthreadd"));
    }
}

/// The I/O and CPU time of a process whose first thread has exited continue.
#[test]
fn process_without_leader_is_measured() {
    in_every_mode("leaderless", |watch, word| {
        let mut one = testproc(word);
        one.write_bytes(1000, 1).unwrap();
        watch.cycle();
        one.leader_exit().unwrap();
        one.write_bytes(500_000, 5).unwrap();
        one.quiesce().unwrap();
        let image = watch.cycle().image(A);
        assert_eq!(io_of(image), Io::read(one.pid()).unwrap());
        assert!(io_of(image).wchar > 500_000);
        let due = watch.open();
        let before = oracle::cpu_time(one.pid()).unwrap();
        let mut used = Duration::ZERO;
        // More than two ticks, on a busy machine too.
        while used < Duration::from_millis(25) {
            one.burn(100.0, Duration::from_millis(30)).unwrap();
            used = oracle::cpu_time(one.pid()).unwrap() - before;
        }
        let pcpu = watch.close(due).image(A).cpu_percent.unwrap();
        assert!(pcpu > 0.0, "{pcpu} % for {used:?}");
    });
}

/// The command line was read through the leader, which had none any more: a new rule never
/// matched the process, and a removed one matched it indefinitely.
#[test]
fn process_without_leader_is_rematched() {
    let word = word("leaderless");
    let mut one = testproc(&word);
    one.threads(3).unwrap();
    let mut sampler = Sampler::new(options()).unwrap();
    let mut procs = |has_rule: bool| {
        sampler.reclassify_all(usize::from(has_rule));
        let mut cycle = || {
            let sample = cycle(&mut sampler, &mut |process, images| {
                if has_rule && process.command_line.starts_with(word.as_bytes()) {
                    images.push(A);
                }
            });
            sample.image(A)
        };
        cycle();
        let image = cycle();
        (image.processes, image.io.unwrap_or_default().wchar.cast_unsigned())
    };
    // After these the process is not recent any more.
    procs(false);
    procs(false);
    one.write_bytes(1000, 1).unwrap();
    one.leader_exit().unwrap();
    one.quiesce().unwrap();
    let done = Io::read(one.pid()).unwrap().wchar;
    assert_eq!(procs(true), (1, done));
    assert_eq!(procs(false).0, 0);
    assert_eq!(procs(true).0, 1);
    // Among these is the thread through which the command line was read.
    one.end_threads(3).unwrap();
    one.quiesce().unwrap();
    assert_eq!(procs(false).0, 0);
    assert_eq!(procs(true).0, 1);
}
