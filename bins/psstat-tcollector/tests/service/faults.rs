//! What goes wrong on machines.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use psstat_testproc::{Config, TempDir, oracle};
use rustix::fs::{CWD, FileType, Mode};
use rustix::process::Signal;

use super::common::{Setup, conf, left_out_by_need, mean_load, testproc, truth_of, word};

#[test]
fn stopped_and_continued_it_goes_on_with_a_fresh_cycle() {
    let word = word("load");
    let mut load = testproc(&word);
    load.burn_until_stopped(20.0, 1).unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("load {word}\n"));
    let collector = Setup::with(&path).spawn();
    collector.cycles(1);
    let stopped_at = collector.stop_in_a_window();
    let (begin, before) = (Instant::now(), oracle::cpu_time(load.pid()).unwrap());
    std::thread::sleep(Duration::from_millis(3_500));
    collector.signal(Signal::CONT);
    let cycles = collector.cycles(stopped_at + 3);
    let (time, burnt) = (begin.elapsed(), oracle::cpu_time(load.pid()).unwrap() - before);
    let (last, after) = (&cycles[stopped_at - 1], &cycles[stopped_at..stopped_at + 3]);
    assert!(after[0].time >= last.time + 3, "a cycle of before");
    assert!(after[1].get("collector.skipped_cycles") >= 2, "{:#?}", after[1]);
    left_out_by_need(after, 1);
    // A window of several seconds shows the load in percent all the same. By the
    // scheduler's own account: a burner makes good what a busy machine took from it.
    let (printed, burnt) = (mean_load(after, "load"), 100.0 * burnt.div_duration_f64(time));
    assert!((printed - burnt).abs() < 3.0 && burnt > 5.0, "{printed} % printed, {burnt} % burnt");
}

/// A process of a test that is ended and reaped, with its group.
struct Storm(Child);

impl Storm {
    /// A shell that starts programs as fast as it can; the shell and, between
    /// fork and exec, its children have the word in their command lines.
    fn start(script: &str, word: &str) -> Storm {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script, word]).process_group(0).stdin(Stdio::null());
        Storm(shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        let _ = rustix::process::kill_process_group(group.unwrap(), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Processes that are born and die faster than they can be read: of the same
/// image, of another one, and of none. Whoever keeps still is counted exactly.
#[test]
fn counters_are_monotonic_under_fork_storm() {
    let (stormy, calm) = (word("stormy"), word("calm"));
    let mut parent = testproc(&stormy);
    let steady = testproc(&calm);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("stormy {stormy}\ncalm {calm}\nboth {stormy}|{calm}\n"));
    let collector = Setup::with(&path).spawn();
    collector.in_force(1);
    let before = collector.fresh();
    let truth = truth_of("calm", &[steady.pid()]);
    {
        // Children that stay in the image: a subshell is a fork without exec.
        let _subshells = Storm::start("while :; do (echo x; echo y); done", &stormy);
        let _programs = Storm::start("while :; do /bin/true; /bin/echo x; done", &stormy);
        for _ in 0..40 {
            let mut child = parent.fork_child(&Config::new(&stormy)).unwrap();
            child.write_bytes(100_000, 2).unwrap();
            child.exit(0).unwrap();
            parent.wait(child).unwrap();
        }
        for cycle in collector.cycles(collector.count() + 4).iter().rev().take(4) {
            assert_eq!(cycle.image("calm"), truth);
        }
    }
    // What was killed may take a while to go.
    let end = collector.fresh().time;
    let after = collector.cycle("all of it is gone", |cycle| {
        cycle.time >= end && cycle.get("procs image=stormy") == 1
    });
    let grown = |series: &str| after.get(series) - before.get(series);
    // The test process reaped every child of its own.
    assert!(grown("io image=stormy type=wchar") >= 40 * 100_000);
    assert_eq!(after.get("collector.panics"), 0);
    collector.on_time();
    assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
}

/// A process of a copied procfs.
pub(crate) fn copy_process(pid: u32, to: &Path) {
    std::fs::create_dir_all(to.join("fd")).unwrap();
    std::fs::create_dir_all(to.join("net")).unwrap();
    for file in ["stat", "statm", "io", "status", "cmdline", "comm"] {
        std::fs::write(to.join(file), std::fs::read(format!("/proc/{pid}/{file}")).unwrap())
            .unwrap();
    }
}

/// The kernel may hold up whoever reads a command line, for ever. A fifo that
/// nobody writes does so too.
#[test]
fn a_command_line_that_blocks_delays_nothing_else() {
    let word = word("copied");
    let original = testproc(&word);
    let truth = truth_of("copied", &[original.pid()]);
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
            assert_eq!(cycle.get(&series), truth[&series]);
        }
        assert_eq!(cycle.get("collector.blocked"), 1);
        assert_eq!(cycle.get("collector.processes"), 2);
    }
    assert_eq!(cycles[0].get("collector.skipped_cycles"), 0);
    left_out_by_need(&cycles, 1);
    let told = collector.logged(&format!("process {hung} blocks"));
    assert_eq!(told.len(), 1, "{:#?}", collector.log());
    // When it blocks no more, it is found.
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

/// Once 32 hung, whoever they belonged to, no new process was matched any more,
/// and nothing was said of it.
#[test]
fn blocked_user_does_not_delay_others() {
    const HUNG: u64 = 40;
    let word = word("copied");
    let original = testproc(&word);
    let temp = TempDir::new().unwrap();
    let proc = temp.join("proc");
    let copy = |number: u32, user: u32| {
        let folder = proc.join((original.pid() + number).to_string());
        copy_process(original.pid(), &folder);
        std::fs::write(folder.join("status"), format!("Uid:\t{user}\t0\t0\t0\n")).unwrap();
        folder.join("cmdline")
    };
    for number in 1..=u32::try_from(HUNG).unwrap() {
        let fifo = copy(number, 1000);
        std::fs::remove_file(&fifo).unwrap();
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }
    // Of the same user and of another, behind all that hang.
    copy(100, 1000);
    copy(101, 1001);
    let path = conf(&temp, &format!("copied {word}\n"));
    let collector = Setup::with(&path).arg("--proc").arg(&proc).spawn();
    collector.cycle("the other user's", |cycle| cycle.get("procs image=copied") == 1);
    let cycle = collector.cycle("all that may hang", |cycle| cycle.get("collector.blocked") >= 32);
    assert!(cycle.get("collector.blocked") < 36, "{}", cycle.get("collector.blocked"));
    // One more comes.
    copy(102, 1001);
    let cycle = collector.cycle("it is found", |cycle| cycle.get("procs image=copied") == 2);
    assert!(cycle.get("collector.failed type=cmdline") > 0);
    collector.hear(1, "too many reads are already blocked");
    assert_eq!(collector.logged("too many reads").len(), 1, "{:#?}", collector.log());
}

/// A conf that nobody can read any more, on a folder that went away whole.
#[test]
fn removed_directory_keeps_rules() {
    let word = word("mount");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let folder = temp.join("class/shared/conf");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("psstat.conf");
    super::common::write_conf(&path, &format!("mount {word}\n"));
    let collector = Setup::with(&path).spawn();
    collector.in_force(1);
    std::fs::rename(temp.join("class"), temp.join("elsewhere")).unwrap();
    collector.hear(1, "keeping the previous 1 rules");
    let cycle = collector.fresh();
    assert_eq!(cycle.image("mount"), truth_of("mount", &[testproc.pid()]));
    assert_eq!(cycle.get("collector.conf_loaded"), 0);
    std::fs::rename(temp.join("elsewhere"), temp.join("class")).unwrap();
    collector.in_force(2);
    assert_eq!(collector.fresh().get("collector.conf_loaded"), 1);
    collector.on_time();
    assert_eq!(collector.log().len(), 3, "{:#?}", collector.log());
}
