//! The counter of CPU time of live processes, by the process that reaps them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::common::{A, B, Options, Watch, in_every_mode, is_root, options, testproc, word};
use psstat_sampler::{CpuTime, IoStart, Usage};
use psstat_testproc::cgroup::{Cgroup, Hierarchy};
use psstat_testproc::{Config, TestProcess, oracle};

/// The kernel shows both modes of the CPU time of children in ticks, and in the slow modes those of
/// each process too.
const TICKS: u64 = 20_000_000;
const MS: u64 = 1_000_000;

fn total(image: Usage) -> u64 {
    image.cpu.unwrap().total()
}

/// The CPU time of processes by their CPU clocks or, if that is less exact, ticks.
fn used(testprocs: &[&TestProcess]) -> u64 {
    let used = testprocs.iter().map(|testproc| oracle::cpu_time(testproc.pid()).unwrap());
    used.sum::<Duration>().as_nanos().try_into().unwrap()
}

/// Uses 100 ms of CPU time, of which the kernel's samples show something.
fn burn(testproc: &mut TestProcess) -> u64 {
    testproc.burn(100.0, Duration::from_millis(100)).unwrap().cpu.as_nanos().try_into().unwrap()
}

/// That CPU time is at least what was burned, and no more than that plus what a test process needs
/// to start and to answer.
#[track_caller]
fn assert_near(cpu: u64, burned: u64, processes: u64) {
    let most = burned + processes * 60 * MS + TICKS;
    assert!((burned.saturating_sub(2 * TICKS)..most).contains(&cpu), "{cpu} of {burned} to {most}");
}

#[test]
fn reaped_child_counts_once() {
    in_every_mode("cpu-reaped", |watch, word| {
        let mut parent = testproc(word);
        let mut child = parent.fork_child(&Config::new(word)).unwrap();
        let burned = burn(&mut parent) + burn(&mut child);
        assert_near(total(watch.cycle().image(A)), burned, 2);
        let burned = burned + burn(&mut child);
        child.exit(0).unwrap();
        // A zombie.
        assert_near(total(watch.cycle().image(A)), burned, 2);
        parent.wait(child).unwrap();
        for _ in 0..2 {
            assert_near(total(watch.cycle().image(A)), burned, 2);
        }
    });
}

#[test]
fn auto_reaped_child_is_kept() {
    in_every_mode("cpu-ignored", |watch, word| {
        let mut parent = testproc(word);
        parent.ignore_sigchld().unwrap();
        let mut child = parent.fork_child(&Config::new(word)).unwrap();
        let burned = burn(&mut child);
        watch.cycle();
        child.exit(0).unwrap();
        let burned = burned + burn(&mut parent);
        for _ in 0..2 {
            assert_near(total(watch.cycle().image(A)), burned, 2);
        }
    });
}

/// A child of another image counts there, and in its parent's image when that reaps it.
#[test]
fn child_of_another_image() {
    let (one, two) = (word("cpu-one"), word("cpu-two"));
    let mut watch = Watch::new(&[&one, &two]);
    let mut parent = testproc(&one);
    let mut child = parent.fork_child(&Config::new(&two)).unwrap();
    let burned = burn(&mut child);
    let sample = watch.cycle();
    assert_near(total(sample.image(A)), 0, 1);
    assert_near(total(sample.image(B)), burned, 1);
    child.exit(0).unwrap();
    parent.wait(child).unwrap();
    for _ in 0..2 {
        let sample = watch.cycle();
        assert_near(total(sample.image(A)), burned, 2);
        assert_near(total(sample.image(B)), burned, 1);
    }
}

/// A child that an untracked process reaped stays counted, and counts once when it reaches the
/// image.
#[test]
fn child_reaped_by_process_outside() {
    in_every_mode("cpu-outside", |watch, word| {
        let mut server = testproc(word);
        let mut shell = server.fork_child(&Config::new("untracked-shell")).unwrap();
        let mut worker = shell.fork_child(&Config::new(word)).unwrap();
        let burned = burn(&mut worker);
        assert_near(total(watch.cycle().image(A)), burned, 2);
        worker.exit(0).unwrap();
        shell.wait(worker).unwrap();
        assert_near(total(watch.cycle().image(A)), burned, 2);
        shell.exit(0).unwrap();
        server.wait(shell).unwrap();
        for _ in 0..2 {
            assert_near(total(watch.cycle().image(A)), burned, 3);
        }
    });
}

/// A process that executes a program of another image leaves its CPU time in the first one.
#[test]
fn exec_into_another_image() {
    let (one, two) = (word("cpu-before"), word("cpu-after"));
    let mut watch = Watch::new(&[&one, &two]);
    let mut process = testproc(&one);
    let before = burn(&mut process);
    assert_near(total(watch.cycle().image(A)), before, 1);
    process.exec(&Config::new(&two)).unwrap();
    let after = burn(&mut process);
    assert!((0..20).any(|_| watch.cycle().image(B).processes == 1));
    let sample = watch.cycle();
    assert_near(total(sample.image(A)), before, 1);
    assert_near(total(sample.image(B)), after, 1);
}

/// CPU time of before the first cycle counts in no image, nor when a parent inherits it.
#[test]
fn counter_begins_at_zero() {
    let word = word("cpu-zero");
    let mut parent = testproc(&word);
    let mut child = parent.fork_child(&Config::new(&word)).unwrap();
    burn(&mut parent);
    burn(&mut child);
    let mut watch = Watch::with(Options { io_start: IoStart::FirstCycle, ..options() }, &[&word]);
    assert_eq!(watch.cycle().image(A).cpu, Some(CpuTime::default()));
    child.exit(0).unwrap();
    parent.wait(child).unwrap();
    for _ in 0..2 {
        assert_near(total(watch.cycle().image(A)), 0, 1);
    }
    let burned = burn(&mut parent);
    assert_near(total(watch.cycle().image(A)), burned, 1);
}

/// The load is between two windows, so that `cpu_percent` shows nothing of it.
#[test]
fn burst_between_windows() {
    let word = word("burst");
    let mut testproc = testproc(&word);
    let mut watch = Watch::new(&[&word]);
    let mut before = watch.cycles(2).image(A).cpu.unwrap();
    for _ in 0..3 {
        let burned = burn(&mut testproc);
        let due = watch.open();
        let image = watch.close(due).image(A);
        let now = image.cpu.unwrap();
        assert_near(now.total() - before.total(), burned, 0);
        // The test process calculates, and calls the clock.
        assert!(now.user >= before.user && now.system >= before.system, "{before:?} {now:?}");
        assert!(image.cpu_percent.unwrap() < 20.0, "{:?}", image.cpu_percent);
        before = now;
    }
    let own = used(&[&testproc]);
    assert!(total(watch.cycle().image(A)).abs_diff(own) < 20 * MS);
}

/// A shell that runs a script on demand, and prints a line after it.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    /// `script` is run once per line of input. Its command line has the word.
    fn spawn(script: &str, word: &str) -> Shell {
        let script = format!("while read -r line; do {script}\necho done; done");
        let mut command = Command::new("sh");
        command.args(["-c", &script, word]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Shell { child, input, output: BufReader::new(output) }
    }

    fn run(&mut self) {
        self.start();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
    }

    fn start(&mut self) {
        self.input.write_all(b"go\n").unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// 60 children of some milliseconds each, one after the other, which no cycle sees.
const CHILDREN: &str = "n=0; while [ $n -lt 60 ]; do n=$((n+1)); \
    (i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done); done";

/// The sum of `utime`, `stime`, `cutime` and `cstime` of `stat`, in nanoseconds.
fn stat_times(pid: u32) -> [u64; 4] {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = text.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second();
    [11, 12, 13, 14].map(|at: usize| fields[at].parse::<u64>().unwrap() * tick)
}

/// The server itself uses little of what it uses with its children, and each of these is too short
/// to be seen: psstat showed 0.9 % of 19 %.
#[test]
fn server_with_a_child_per_request() {
    in_every_mode("server", |watch, word| {
        let mut shell = Shell::spawn(CHILDREN, word);
        let pid = shell.child.id();
        watch.cycle();
        for _ in 0..2 {
            shell.run();
            let image = watch.cycle().image(A);
            let [user, system, child_user, child_system] = stat_times(pid);
            let (all, children) =
                (user + system + child_user + child_system, child_user + child_system);
            let cpu = image.cpu.unwrap();
            assert!(cpu.total().abs_diff(all) <= TICKS, "{cpu:?} of {all}");
            assert!(children > (user + system), "the children used {children} of {all}");
            let expected = user + child_user;
            // The shell itself has few samples.
            assert!(cpu.user.abs_diff(expected) <= 3 * TICKS, "{cpu:?}, user {expected}");
        }
    });
}

/// After the first cycles of a process, whether it reaps is read in turn; from then on always.
#[test]
fn old_process_begins_to_fork() {
    let word = word("begins");
    let mut shell = Shell::spawn(CHILDREN, &word);
    let pid = shell.child.id();
    let mut watch = Watch::with(crate::common::short_window(), &[&word]);
    let interval = psstat_sampler::intervals::REAPING_INTERVAL as usize;
    watch.cycles(3 * interval);
    shell.run();
    let all = || stat_times(pid).iter().sum::<u64>();
    let image = watch.cycles(interval).image(A);
    assert!(total(image).abs_diff(all()) <= TICKS, "{:?} of {}", image.cpu, all());
    shell.run();
    let image = watch.cycle().image(A);
    assert!(total(image).abs_diff(all()) <= TICKS, "{:?} of {}", image.cpu, all());
}

/// Of a process that is not new `stat` is read in turn; its own time counts at once.
#[test]
fn own_time_of_an_old_process_counts_at_once() {
    let word = word("cpu-old");
    let mut process = testproc(&word);
    let mut watch = Watch::new(&[&word]);
    watch.cycles(psstat_sampler::intervals::REAPING_INTERVAL as usize + 1);
    for _ in 0..4 {
        // With an idle cycle in between.
        watch.cycle();
        burn(&mut process);
        process.quiesce().unwrap();
        let before = used(&[&process]);
        let counted = total(watch.cycle().image(A));
        assert!((before..=used(&[&process])).contains(&counted), "{counted}, not {before}");
    }
}

/// User and system time of a control group in nanoseconds.
fn cpu_of(cgroup: &Cgroup) -> [u64; 2] {
    let text = std::fs::read_to_string(cgroup.dir().join("cpu.stat")).unwrap();
    ["user_usec ", "system_usec "].map(|name| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.parse::<u64>().unwrap() * 1000
    })
}

/// An image that is exactly a cgroup: a server with children of its own command line, others that
/// it executes, some of which fork themselves, and orphans that something outside reaps.
#[test]
fn image_has_the_cpu_time_of_its_cgroup() {
    if !is_root() {
        return;
    }
    let Some(hierarchy) = Hierarchy::v2() else { return };
    let Some(cgroup) = hierarchy.create(&word("psstat-cpu")) else { return };
    let word = word("cgroup");
    let work = "i=0; while [ $i -lt 4000 ]; do i=$((i+1)); done";
    let script = format!(
        "n=0; while [ $n -lt 12 ]; do n=$((n+1)); ({work}); ({work}; ({work})); \
         sh -c '{work}' executed; dd if=/dev/zero of=/dev/null bs=64k count=2000 2>/dev/null; done"
    );
    let mut shell = Shell::spawn(&script, &word);
    if let Err(error) = cgroup.add(shell.child.id()) {
        return println!("skipped: no process can be added to a cgroup: {error}");
    }
    let mut watch = Watch::with(Options { io_start: IoStart::FirstCycle, ..options() }, &[&word]);
    watch.cycle();
    let before = cpu_of(&cgroup);
    for _ in 0..4 {
        shell.start();
        // Cycles while it works, and after.
        watch.cycles(3);
        let mut line = String::new();
        shell.output.read_line(&mut line).unwrap();
    }
    let image = watch.cycle().image(A);
    let now = cpu_of(&cgroup);
    let used = [now[0] - before[0], now[1] - before[1]];
    let cpu = image.cpu.unwrap();
    println!("{cpu:?}, the cgroup {used:?}");
    assert!(used[0] + used[1] > 200 * MS, "{used:?}");
    let (all, error) = (used[0] + used[1], 3 * TICKS);
    assert!(cpu.total().abs_diff(all) <= error, "{cpu:?}, the cgroup {used:?}");
    // Both are estimates by samples.
    let error = error + all / 10;
    assert!(cpu.user.abs_diff(used[0]) <= error, "{cpu:?}, the cgroup {used:?}");
    assert!(cpu.system.abs_diff(used[1]) <= error, "{cpu:?}, the cgroup {used:?}");
}
