//! Faults of the machine.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use psstat_testproc::{Config, TempDir, oracle};
use rustix::fs::{CWD, FileType, Mode};
use rustix::process::Signal;

use super::common::{Setup, assert_skips_needed, conf, expected_values, mean_load, testproc, word};

#[test]
fn continues_after_sigstop() {
    let word = word("load");
    let mut load = testproc(&word);
    load.burn_until_stopped(20.0, 1).unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("load {word}\n"));
    let collector = Setup::with(&path).spawn();
    collector.cycles(1);
    let stopped_at = collector.stop_in_window();
    let (begin, before) = (Instant::now(), oracle::cpu_time(load.pid()).unwrap());
    std::thread::sleep(Duration::from_millis(3_500));
    collector.signal(Signal::CONT);
    let cycles = collector.cycles(stopped_at + 3);
    let (time, burnt) = (begin.elapsed(), oracle::cpu_time(load.pid()).unwrap() - before);
    let (last, after) = (&cycles[stopped_at - 1], &cycles[stopped_at..stopped_at + 3]);
    assert!(after[0].time >= last.time + 3, "a cycle of before");
    assert!(after[1].get("collector.skipped_cycles") >= 2, "{:#?}", after[1]);
    assert_skips_needed(after, 1);
    // A window of several seconds has the correct percentage too. Compared with the scheduler's
    // account, because a test process compensates for time that a busy machine took from it.
    let (printed, burnt) = (mean_load(after, "load"), 100.0 * burnt.div_duration_f64(time));
    assert!((printed - burnt).abs() < 3.0 && burnt > 5.0, "{printed} % printed, {burnt} % burnt");
}

/// A shell that is killed and reaped, with its process group.
struct ForkStorm(Child);

impl ForkStorm {
    /// A shell that starts programs as fast as it can. The shell has the word in its command line,
    /// and so have its children between fork and exec.
    fn start(script: &str, word: &str) -> ForkStorm {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script, word]).process_group(0).stdin(Stdio::null());
        ForkStorm(shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for ForkStorm {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        let _ = rustix::process::kill_process_group(group.unwrap(), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Processes that start and exit faster than they can be read: of the same image, of another one,
/// and of none. The values of idle processes are exact.
#[test]
fn counters_are_monotonic_under_fork_storm() {
    let (stormy, quiet) = (word("stormy"), word("quiet"));
    let mut parent = testproc(&stormy);
    let steady = testproc(&quiet);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("stormy {stormy}\nquiet {quiet}\nboth {stormy}|{quiet}\n"));
    let collector = Setup::with(&path).spawn();
    collector.wait_loaded(1);
    let before = collector.next_cycle();
    let expected = expected_values("quiet", &[steady.pid()]);
    {
        // Children that stay in the image: a subshell is a fork without exec.
        let _subshells = ForkStorm::start("while :; do (echo x; echo y); done", &stormy);
        let _programs = ForkStorm::start("while :; do /bin/true; /bin/echo x; done", &stormy);
        for _ in 0..40 {
            let mut child = parent.fork_child(&Config::new(&stormy)).unwrap();
            child.write_bytes(100_000, 2).unwrap();
            child.exit(0).unwrap();
            parent.wait(child).unwrap();
        }
        for cycle in collector.cycles(collector.count() + 4).iter().rev().take(4) {
            assert_eq!(cycle.image("quiet"), expected);
        }
    }
    // Killed processes may take a while to exit.
    let end = collector.next_cycle().time;
    let after = collector.cycle("all have exited", |cycle| {
        cycle.time >= end && cycle.get("procs image=stormy") == 1
    });
    let grown = |series: &str| after.get(series) - before.get(series);
    // The test process reaped all its children.
    assert!(grown("io image=stormy type=wchar") >= 40 * 100_000);
    assert_eq!(after.get("collector.panics"), 0);
    collector.assert_on_time();
    assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
}

/// Copies a process into a captured procfs.
pub(crate) fn copy_process(pid: u32, to: &Path) {
    std::fs::create_dir_all(to.join("fd")).unwrap();
    std::fs::create_dir_all(to.join("net")).unwrap();
    for file in ["stat", "statm", "io", "status", "cmdline", "comm"] {
        std::fs::write(to.join(file), std::fs::read(format!("/proc/{pid}/{file}")).unwrap())
            .unwrap();
    }
}

/// A read of a command line can block in the kernel indefinitely. A FIFO without a writer blocks in
/// the same way.
#[test]
fn blocked_command_line_delays_nothing_else() {
    let word = word("copied");
    let original = testproc(&word);
    let expected = expected_values("copied", &[original.pid()]);
    let temp = TempDir::new().unwrap();
    let proc = temp.join("proc");
    let (good, hung) = (original.pid(), original.pid() + 1);
    for pid in [good, hung] {
        copy_process(original.pid(), &proc.join(pid.to_string()));
    }
    let fifo = proc.join(hung.to_string()).join("cmdline");
    std::fs::remove_file(&fifo).unwrap();
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let path = conf(&temp, &format!("copied {word}\n"));
    let mut collector = Setup::with(&path).arg("--proc").arg(&proc).spawn();
    let cycles = collector.cycles(4);
    for cycle in &cycles {
        assert_eq!(cycle.get("procs image=copied"), 1);
        for kind in ["rchar", "wchar", "syscr", "syscw"] {
            let series = format!("io image=copied type={kind}");
            assert_eq!(cycle.get(&series), expected[&series]);
        }
        assert_eq!(cycle.get("collector.blocked"), 1);
        assert_eq!(cycle.get("collector.processes"), 2);
    }
    assert_eq!(cycles[0].get("collector.skipped_cycles"), 0);
    assert_skips_needed(&cycles, 1);
    let logged = collector.logged(&format!("process {hung} blocks"));
    assert_eq!(logged.len(), 1, "{:#?}", collector.log());
    // It is matched once the read no longer blocks.
    let writer = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    drop(writer);
    std::fs::remove_file(&fifo).unwrap();
    std::fs::write(&fifo, format!("{word}\0")).unwrap();
    collector.cycle("the process that blocked", |cycle| {
        cycle.get("procs image=copied") == 2 && cycle.get("collector.blocked") == 0
    });
    collector.signal(Signal::TERM);
    assert_eq!(collector.end(), Some(0));
}

/// After 32 blocked reads, of any users, no new process was matched, and nothing was logged.
#[test]
fn blocked_user_does_not_delay_others() {
    const HUNG: u64 = 40;
    let word = word("copied");
    let original = testproc(&word);
    let temp = TempDir::new().unwrap();
    let proc = temp.join("proc");
    let copy = |number: u32, user: u32| {
        let directory = proc.join((original.pid() + number).to_string());
        copy_process(original.pid(), &directory);
        std::fs::write(directory.join("status"), format!("Uid:\t{user}\t0\t0\t0\n")).unwrap();
        directory.join("cmdline")
    };
    for number in 1..=u32::try_from(HUNG).unwrap() {
        let fifo = copy(number, 1000);
        std::fs::remove_file(&fifo).unwrap();
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }
    // New processes of the same user and of another one, listed after all blocked ones.
    copy(100, 1000);
    copy(101, 1001);
    let path = conf(&temp, &format!("copied {word}\n"));
    let collector = Setup::with(&path).arg("--proc").arg(&proc).spawn();
    collector.cycle("the other user's", |cycle| cycle.get("procs image=copied") == 1);
    let cycle = collector.cycle("all that may hang", |cycle| cycle.get("collector.blocked") >= 32);
    assert!(cycle.get("collector.blocked") < 36, "{}", cycle.get("collector.blocked"));
    // Another process starts.
    copy(102, 1001);
    let cycle = collector.cycle("it is found", |cycle| cycle.get("procs image=copied") == 2);
    assert!(cycle.get("collector.failed type=cmdline") > 0);
    collector.wait_for_log(1, "too many reads are already blocked");
    assert_eq!(collector.logged("too many reads").len(), 1, "{:#?}", collector.log());
}

/// A config file whose directory is moved away.
#[test]
fn removed_directory_keeps_rules() {
    let word = word("mount");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let directory = temp.join("class/shared/conf");
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("psstat.conf");
    super::common::write_conf(&path, &format!("mount {word}\n"));
    let collector = Setup::with(&path).spawn();
    collector.wait_loaded(1);
    std::fs::rename(temp.join("class"), temp.join("elsewhere")).unwrap();
    collector.wait_for_log(1, "keeping the previous 1 rule");
    let cycle = collector.next_cycle();
    assert_eq!(cycle.image("mount"), expected_values("mount", &[testproc.pid()]));
    assert_eq!(cycle.get("collector.conf_loaded"), 0);
    std::fs::rename(temp.join("elsewhere"), temp.join("class")).unwrap();
    collector.wait_loaded(2);
    assert_eq!(collector.next_cycle().get("collector.conf_loaded"), 1);
    collector.assert_on_time();
    assert_eq!(collector.log().len(), 3, "{:#?}", collector.log());
}
