//! Who is of an image: processes that become others, change their titles, or
//! are none to be counted.

mod common;

use std::io::{ErrorKind, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{A, B, Watch, io_of, options, testproc, word};
use psstat_sampler::Sampler;
use psstat_sampler::intervals::CMDLINE_INTERVAL;
use psstat_testproc::{Config, TempDir, TestProcess, oracle};

/// Waits until a process does nothing.
fn sleeps(pid: u32) {
    let begun = Instant::now();
    while oracle::state(pid).unwrap() != 'S' {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A shell that runs a script; ended when dropped.
struct Shell(Child);

impl Shell {
    fn start(script: &std::path::Path, word: &str) -> Shell {
        let mut command = Command::new("sh");
        command.arg(script).arg(word).stdin(Stdio::piped()).stdout(Stdio::null());
        let shell = Shell(command.spawn().unwrap());
        let begun = Instant::now();
        while !oracle::cmdline(shell.0.id()).is_ok_and(|line| line.starts_with(b"sh\0")) {
            assert!(begun.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(2));
        }
        shell
    }

    fn tell(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A shell of one image that ends as a program of another one: the same
/// program by its code, so that nothing of its memory tells.
#[test]
fn exec_is_rematched() {
    for age in [1, CMDLINE_INTERVAL as usize + 4] {
        let (a, b, temp) = (word("shell-a"), word("shell-b"), TempDir::new().unwrap());
        let script = temp.join("script");
        let last = format!("exec sh -c 'printf %05000d 0 >/dev/null; read y; : {b}'");
        let text = format!("read x\nprintf %01000d 0 >/dev/null\nread x\n{last}\n");
        std::fs::write(&script, text).unwrap();
        let mut shell = Shell::start(&script, &a);
        let mut watch = Watch::new(&[&a, &b]);
        watch.cycle();
        shell.tell();
        let begun = Instant::now();
        while oracle::io(shell.0.id()).unwrap()["wchar"] < 1000 {
            assert!(begun.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(2));
        }
        sleeps(shell.0.id());
        let sample = watch.cycles(age);
        assert_eq!((sample.image(A).procs, sample.image(B).procs), (1, 0));
        let done = io_of(sample.image(A));
        assert_eq!(done.wchar, 1000);
        shell.tell();
        while oracle::io(shell.0.id()).unwrap()["wchar"] < 6000 {
            assert!(begun.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(2));
        }
        sleeps(shell.0.id());
        let within = if age == 1 { 2 } else { CMDLINE_INTERVAL as usize + 1 };
        let sample = watch.cycles(within);
        assert_eq!((sample.image(A).procs, sample.image(B).procs), (0, 1), "age {age}");
        // What it did until the last look before stays; not a byte is both's.
        let (left, taken) = (io_of(sample.image(A)), io_of(sample.image(B)));
        assert!(left.wchar >= done.wchar);
        assert_eq!(left.wchar + taken.wchar, 6000, "age {age}");
    }
}

#[test]
fn a_title_by_prctl_is_matched_anew_and_a_name_is_no_title() {
    let (a, b) = (word("prctl-a"), word("prctl-b"));
    let mut one = testproc(&a);
    let mut watch = Watch::new(&[&a, &b]);
    assert_eq!(watch.cycles(3).image(A).procs, 1);
    match one.set_title(format!("{b} and more of it than there was before")) {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            return println!("skipped: this kernel moves no arguments");
        }
        result => result.unwrap(),
    }
    let sample = watch.cycles(CMDLINE_INTERVAL as usize + 1);
    assert_eq!((sample.image(A).procs, sample.image(B).procs), (0, 1));
    // `comm` is not the command line.
    one.set_comm(&a[..12.min(a.len())]).unwrap();
    let sample = watch.cycles(CMDLINE_INTERVAL as usize + 1);
    assert_eq!((sample.image(A).procs, sample.image(B).procs), (0, 1));
}

/// A rule that matches everything.
#[test]
fn kernel_threads_and_zombies_match_nothing() {
    let mut parent = testproc("everything");
    let mut zombie = parent.fork_child(&Config::new("everything")).unwrap();
    let mut sampler = Sampler::new(options()).unwrap();
    let mut pids = Vec::new();
    for cycle in 0..3 {
        let due = sampler.open(&mut |process, images| {
            assert!(!process.command_line.is_empty());
            images.push(A);
        });
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        sampler.close();
        pids = sampler.processes().map(|process| process.pid).collect();
        assert_eq!(pids.contains(&zombie.pid()), cycle == 0);
        if cycle == 0 {
            zombie.exit(0).unwrap();
        }
    }
    assert!(pids.contains(&parent.pid()) && pids.contains(&std::process::id()));
    // Where the machine's own can be seen, kthreadd is pid 2.
    for pid in pids {
        assert!(oracle::ppid(pid).is_ok_and(|parent| parent != 2) || !is_there(pid), "{pid}");
        assert!(pid != 2 || oracle::comm(2).is_ok_and(|comm| comm != b"kthreadd"));
    }
}

fn is_there(pid: u32) -> bool {
    oracle::cmdline(pid).is_ok_and(|line| !line.is_empty())
}

/// io and CPU of a process whose first thread has ended go on.
#[test]
fn process_without_leader_is_measured() {
    for options in common::every_way() {
        let word = word("goes-on");
        let mut one: TestProcess = testproc(&word);
        one.write_bytes(1000, 1).unwrap();
        let mut watch = Watch::with(options, &[&word]);
        watch.cycle();
        one.leader_exit().unwrap();
        one.write_bytes(500_000, 5).unwrap();
        one.quiesce().unwrap();
        let image = watch.cycle().image(A);
        assert_eq!(io_of(image), psstat_testproc::Io::read(one.pid()).unwrap());
        assert!(io_of(image).wchar > 500_000);
        let due = watch.open();
        let before = oracle::cpu_time(one.pid()).unwrap();
        let mut used = Duration::ZERO;
        // More than two ticks, however busy the machine is.
        while used < Duration::from_millis(25) {
            one.burn(100.0, Duration::from_millis(30)).unwrap();
            used = oracle::cpu_time(one.pid()).unwrap() - before;
        }
        let pcpu = watch.close(due).image(A).pcpu.unwrap();
        assert!(pcpu > 0.0, "{pcpu} % for {used:?}");
    }
}

/// It was asked for its command line by its leader, which had none any more: a
/// rule that came never had it, and one that went kept it for ever.
#[test]
fn process_without_leader_is_rematched() {
    let word = word("leaderless");
    let mut one = testproc(&word);
    one.threads(3).unwrap();
    let mut sampler = Sampler::new(options()).unwrap();
    let mut procs = |has_rule: bool| {
        sampler.reclassify_all(usize::from(has_rule));
        let mut cycle = || {
            let due = sampler.open(&mut |process, images| {
                if has_rule && process.command_line.starts_with(word.as_bytes()) {
                    images.push(A);
                }
            });
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            sampler.close().image(A)
        };
        cycle();
        let image = cycle();
        (image.procs, image.io.unwrap_or_default().wchar.cast_unsigned())
    };
    // Not young any more.
    procs(false);
    procs(false);
    one.write_bytes(1000, 1).unwrap();
    one.leader_exit().unwrap();
    one.quiesce().unwrap();
    let done = psstat_testproc::Io::read(one.pid()).unwrap().wchar;
    assert_eq!(procs(true), (1, done));
    assert_eq!(procs(false).0, 0);
    assert_eq!(procs(true).0, 1);
    // One of these was asked since.
    one.end_threads(3).unwrap();
    one.quiesce().unwrap();
    assert_eq!(procs(false).0, 0);
    assert_eq!(procs(true).0, 1);
}
