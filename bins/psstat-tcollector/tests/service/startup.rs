//! The state that the collector inherits from the program that starts it: signals, limits, filters, and a
//! terminal that can disappear.

use std::process::Command;
use std::time::Duration;

use psstat_testproc::terminal::{SIZE, Terminal};
use psstat_testproc::{TempDir, oracle};
use rustix::process::Signal;

use super::common::{PROGRAM, Setup, conf, expected_values, outcome, testproc, until, word};

/// May raise hard limits.
const CAP_SYS_RESOURCE: u64 = 1 << 24;

/// A command that executes the collector.
fn wrapped(wrapper: &[&str]) -> Command {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(PROGRAM);
    command
}

/// Whether a command that executes others works here.
fn works(wrapper: &[&str]) -> bool {
    let trial = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output();
    let works = trial.as_ref().is_ok_and(|trial| trial.status.success());
    if !works {
        println!("skipped: {wrapper:?} is not possible here: {trial:?}");
    }
    works
}

/// Started with SIGTERM blocked, it never ended.
#[test]
fn blocked_signals_end_it() {
    let wrapper = ["env", "--block-signal=TERM,INT,HUP"];
    if !works(&wrapper) {
        return;
    }
    let word = word("unused");
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("none {word}\n"));
    for signal in [Signal::TERM, Signal::INT] {
        let setup = Setup::of(wrapped(&wrapper)).env("PSSTAT_INTERVAL", "1");
        let mut collector = setup.arg("--conf").arg(&path).spawn();
        collector.cycles(1);
        let blocked = oracle::status_field(collector.pid(), "SigBlk").unwrap();
        assert_eq!(u64::from_str_radix(&blocked, 16).unwrap(), 0);
        collector.signal(signal);
        assert_eq!(collector.end(), Some(0), "{signal:?}: {:#?}", collector.log());
    }
}

/// std reads random numbers from a descriptor of /dev/urandom if getrandom is refused; it is not in
/// the descriptor table of the thread that loads the config file, which panicked in each cycle.
#[test]
fn works_without_getrandom() {
    if Command::new("strace").arg("-V").output().is_err() {
        return println!("skipped: no strace");
    }
    let word = word("chance");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("chance {word}\nlook (?={word})\n"));
    let run = |error: &str, path: &str| {
        let inject = format!("inject=getrandom:error={error}");
        let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null"];
        let trace = ["-e", "trace=getrandom", "-e", &inject];
        let wrapper = [&strace[..], &trace].concat();
        let setup = Setup::of(wrapped(&wrapper)).env("PSSTAT_INTERVAL", "1");
        setup.args(&["--cycles", "3", "--conf", path]).spawn()
    };
    for error in ["EPERM", "ENOSYS"] {
        let mut collector = run(error, path.to_str().unwrap());
        for cycle in collector.finish() {
            assert_eq!(cycle.get("collector.panics"), 0, "{error}");
            assert_eq!(cycle.image("chance"), expected_values("chance", &[testproc.pid()]));
            assert_eq!(cycle.get("procs image=look"), 1);
        }
        assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
    }
    // With another error, std does not try /dev/urandom: no hash map can be made, neither here nor
    // in a library.
    let mut collector = run("EACCES", path.to_str().unwrap());
    assert_eq!(collector.end(), Some(0));
    assert_eq!((collector.log().len(), collector.printed().len()), (1, 0));
    assert_eq!(collector.logged("no random numbers").len(), 1, "{:#?}", collector.log());
}

/// A filter of system calls that refuses `nanosleep` was a panic in each cycle, and one that
/// refuses threads ended `--once` with status 0.
#[test]
fn works_without_nanosleep_and_reports_missing_threads() {
    if Command::new("strace").arg("-V").output().is_err() {
        return println!("skipped: no strace");
    }
    let word = word("filtered");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("filtered {word}\n"));
    let run = |calls: &str, error: &str, cycles: &[&str]| {
        let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:error={error}"));
        let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        let setup = Setup::of(wrapped(&strace)).env("PSSTAT_INTERVAL", "1");
        setup.args(cycles).args(&["--conf", path.to_str().unwrap()]).spawn()
    };
    for error in ["EPERM", "ENOSYS"] {
        let mut collector = run("nanosleep,clock_nanosleep", error, &["--cycles", "2"]);
        for cycle in collector.finish() {
            assert_eq!(cycle.get("collector.panics"), 0, "{error}");
            assert_eq!(cycle.image("filtered"), expected_values("filtered", &[testproc.pid()]));
        }
        assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
    }
    for (option, status) in [(&["--once"][..], 1), (&["--cycles", "1"], 0)] {
        let mut collector = run("clone3,clone", "EPERM", option);
        assert_eq!(collector.end(), Some(status), "{option:?}");
        assert_eq!((collector.log().len(), collector.printed().len()), (1, 0));
        assert_eq!(collector.logged("cannot start the thread").len(), 1, "{:#?}", collector.log());
    }
}

/// With a stack limit of 16 KiB it aborted, which costs an hour of data.
#[test]
fn works_with_a_small_stack_limit() {
    let word = word("stack");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    // A deep pattern needs much stack; it is parsed in a thread, and by --check in the main one.
    let deep = format!("{}{word}{}", "(?:".repeat(90), ")".repeat(90));
    let path = conf(&temp, &format!("stack {word}\ndeep {deep}\n"));
    let path = path.to_str().unwrap();
    let soft = ["sh", "-c", "ulimit -S -s 16; exec \"$@\"", "sh"];
    let hard = ["sh", "-c", "ulimit -s 16; exec \"$@\"", "sh"];
    let may_raise = super::privileges::has_capability(CAP_SYS_RESOURCE);
    let dropped = ["setpriv", "--inh-caps=-all", "--bounding-set=-sys_resource"];
    let unraised = [&dropped[..], &hard].concat();
    let mut wrappers = vec![(&soft[..], true), (&hard, may_raise)];
    if may_raise && works(&dropped) {
        wrappers.push((&unraised, false));
    }
    for (wrapper, is_raised) in wrappers {
        let setup = Setup::of(wrapped(wrapper)).env("PSSTAT_INTERVAL", "1");
        let mut collector = setup.arg("--conf").arg(path).spawn();
        let cycle = collector.cycles(2).remove(1);
        assert_eq!(cycle.image("stack"), expected_values("stack", &[testproc.pid()]));
        assert_eq!(cycle.get("procs image=deep"), 1);
        let says = if is_raised { "raised the limit" } else { "using a separate stack" };
        let logged = collector.logged("stack limit (RLIMIT_STACK) of 16 KiB");
        assert!(logged.len() == 1 && logged[0].contains(says), "{:#?}", collector.log());
        // No thread keeps the capabilities that the collector drops, and it is niced once.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", collector.pid())).unwrap();
        for task in tasks {
            let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            super::privileges::assert_needed_capabilities(&status);
        }
        let own = super::privileges::niceness(std::process::id());
        assert_eq!(super::privileges::niceness(collector.pid()), (own + 5).min(19));
        collector.signal(Signal::TERM);
        assert_eq!(collector.end(), Some(0), "{wrapper:?}: {:#?}", collector.log());
        let mut check = wrapped(wrapper);
        let (status, _, log) = outcome(check.env_clear().args(["--check", "--conf", path]));
        assert_eq!(status, Some(0), "{wrapper:?}: {log}");
    }
}

/// `ssh host psstat-tcollector`, and the window closed: each write failed with EIO indefinitely, and
/// SIGHUP only reloaded the config file.
#[test]
fn lost_terminal_exits_0() {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("none {}\n", word("unused")));
    let collector = |wrapper: &[&str]| {
        let mut command = wrapped(wrapper);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.args(["--interval", "1", "--conf"]).arg(&path);
        command
    };
    // Another session's terminal is its stdout: no SIGHUP, only EIO.
    let mut terminal = Terminal::start(collector(&["env"]), SIZE);
    terminal.wait_for("proc.stat.ps.collector.skipped_cycles");
    terminal.hang_up();
    assert_eq!(terminal.wait(), Some(0));

    // It leads the session of the terminal: SIGHUP, and no write to the terminal.
    if !works(&["setsid", "--wait"]) {
        return;
    }
    let points = |file: &std::path::Path| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.matches("proc.stat.ps.collector.skipped_cycles").count()
    };
    let start = |name: &str, before: &str| {
        let file = temp.join(name);
        let script = format!("{before} exec \"$@\" >{} 2>/dev/null", file.display());
        // The test may run under nohup.
        let default = ["env", "--default-signal=HUP"];
        let session = ["setsid", "--ctty", default[0], default[1], "sh", "-c", &script, "sh"];
        let terminal = Terminal::start(collector(&session), SIZE);
        until("a cycle", || points(&file) > 0);
        (terminal, file)
    };
    let (mut terminal, file) = start("ends", "");
    // SIGHUP reloads while the terminal exists.
    terminal.signal(Signal::HUP);
    let before = points(&file);
    until("two more cycles", || points(&file) > before + 1);
    terminal.hang_up();
    assert_eq!(terminal.wait(), Some(0));

    // nohup: SIGHUP was ignored when it started, so it outlives its terminal. SIGHUP still
    // reloads.
    let (mut terminal, file) = start("outlives", "trap '' HUP;");
    terminal.hang_up();
    std::thread::sleep(Duration::from_millis(500));
    terminal.signal(Signal::HUP);
    let before = points(&file);
    until("cycles after the terminal is lost", || points(&file) > before + 1);
    assert!(terminal.child.try_wait().unwrap().is_none());
    terminal.signal(Signal::TERM);
    assert_eq!(terminal.wait(), Some(0));
}
