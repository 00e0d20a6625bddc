//! Every command answers while processes are stuck in the kernel in a way that blocks the
//! readers of their files. A separate test program, because such processes delay other readers
//! of `/proc` as well: each is released within seconds.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use psstat_testproc::fuse::{FuseServer, Mode, mount_options};
use psstat_testproc::terminal::Terminal;
use psstat_testproc::{TempDir, oracle, wait_until};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// The processes are released after this time. A command that waits for them ends only then.
const RELEASE: Duration = Duration::from_secs(8);
/// Commands that run longer, counted from the moment when the processes get stuck, are killed.
const KILL: Duration = Duration::from_secs(7);
/// Before that, every command must have ended.
const LIMIT: Duration = Duration::from_secs(3);

/// Starts processes with an open file of the directory, and runs another program in each: the
/// kernel closes the file, waits for the server, and holds a lock of the process meanwhile.
const EXEC_THAT_CLOSES: &str = r#"
import ctypes, os, sys, time
directory, temp, count, word = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
for number in range(count):
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(1, 9)
        file = os.open(directory + "/file", os.O_RDONLY)
        open(f"{temp}/{os.getpid()}.ready", "w").close()
        while not os.path.exists(temp + "/go"):
            time.sleep(0.01)
        os.execv("/bin/sleep", [word, "300"])
time.sleep(300)
"#;

/// Maps something else in place of a changed page: the kernel waits until the server has taken
/// the page, and holds the lock of the memory map.
const LOCKED_MEMORY_MAP: &str = r#"
import ctypes, os, sys, time
directory, temp = sys.argv[1], sys.argv[2]
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
file = os.open(directory + "/file", os.O_RDWR)
at = libc.mmap(None, 4096, 3, 1, file, 0)
ctypes.memset(at, 65, 4096)
open(f"{temp}/{os.getpid()}.ready", "w").close()
while not os.path.exists(temp + "/go"):
    time.sleep(0.01)
libc.mmap(at, 4096, 3, 0x32, -1, 0)
"#;

/// A child that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processes that are about to get stuck.
struct Ready {
    parent: Killed,
    pids: Vec<u32>,
    server: FuseServer,
    // Dropped after the server.
    temp: TempDir,
}

/// Stuck processes. Released and killed when dropped, or after [`RELEASE`].
struct Stuck {
    _parent: Killed,
    pids: Vec<u32>,
    stuck_since: Instant,
    release: Option<Sender<()>>,
    watchdog: Option<JoinHandle<()>>,
    temp: TempDir,
}

impl Ready {
    /// Runs a script; `None` where such file systems cannot be mounted.
    fn start(script: &str, count: usize) -> Option<Ready> {
        let temp = TempDir::new().unwrap();
        let directory = temp.join("fs");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(temp.join("script.py"), script).unwrap();
        let started = FuseServer::start("file", &"x".repeat(4096));
        let Ok((server, device)) = started else {
            println!("skipped: no /dev/fuse: {started:?}");
            return None;
        };
        // The kernel takes the descriptor by its number in the mounting process.
        let mount = format!("mount -i -t fuse -o {} hang $0", mount_options(0));
        let run = "exec python3 $1/script.py $0 $1 $2 $3 </dev/null";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &format!("{mount} || exit 9; {run}")]);
        command.arg(&directory).arg(temp.path()).arg(count.to_string()).arg("stuck-program");
        let mut parent = Killed(command.stdin(Stdio::from(device)).spawn().unwrap());
        drop(command);
        let ready = || -> Vec<u32> {
            let entries = std::fs::read_dir(temp.path()).unwrap();
            let pid = |name: &str| name.strip_suffix(".ready")?.parse().ok();
            entries.filter_map(|entry| pid(entry.unwrap().file_name().to_str()?)).collect()
        };
        let mut status = None;
        wait_until("the processes are ready", || {
            status = parent.0.try_wait().unwrap();
            status.is_some() || ready().len() == count
        });
        if let Some(status) = status {
            println!("skipped: no right to mount: {status}");
            return None;
        }
        let mut pids = ready();
        pids.sort_unstable();
        Some(Ready { parent, pids, server, temp })
    }

    /// Lets them get stuck.
    fn hang(self, is_stuck: impl Fn(u32) -> bool) -> Stuck {
        let Ready { parent, pids, mut server, temp } = self;
        server.set_mode(Mode::Discard);
        std::fs::write(temp.join("go"), "").unwrap();
        let (release, wait) = mpsc::channel();
        let watchdog = std::thread::spawn(move || {
            let is_late = wait.recv_timeout(RELEASE) == Err(RecvTimeoutError::Timeout);
            // This closes the device, and the kernel fails all requests.
            drop(server);
            assert!(!is_late, "released after {RELEASE:?}");
        });
        let stuck = Stuck {
            _parent: parent,
            pids,
            stuck_since: Instant::now(),
            release: Some(release),
            watchdog: Some(watchdog),
            temp,
        };
        wait_until("all are stuck", || {
            assert!(stuck.stuck_since.elapsed() < KILL, "they do not get stuck");
            stuck.pids.iter().all(|pid| is_stuck(*pid))
        });
        stuck
    }
}

impl Stuck {
    /// Runs a script; `None` where such file systems cannot be mounted.
    fn start(script: &str, count: usize, is_stuck: impl Fn(u32) -> bool) -> Option<Stuck> {
        Some(Ready::start(script, count)?.hang(is_stuck))
    }

    /// Runs the program. It must end while the processes are stuck, or it is killed.
    fn run(&self, args: &[&str]) -> Output {
        self.end(program(args), args)
    }

    fn end(&self, mut command: Command, args: &[&str]) -> Output {
        let [stdout, stderr] = [(); 2].map(|()| tempfile(self.temp.path()));
        command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        let mut child = Killed(command.spawn().unwrap());
        let status = loop {
            if let Some(status) = child.0.try_wait().unwrap() {
                break status;
            }
            assert!(self.stuck_since.elapsed() < KILL, "{args:?} does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        println!("{args:?}: {:?} after they became stuck", self.stuck_since.elapsed());
        let read = |mut file: File| {
            file.rewind().unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        };
        Output { status, stdout: read(stdout), stderr: read(stderr) }
    }

    fn json(&self, args: &[&str]) -> Vec<Value> {
        let output = self.run(&[args, &["--json"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        drop(self.release.take());
        let watchdog = self.watchdog.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(watchdog.is_some_and(|watchdog| watchdog.is_ok()), "stuck for too long");
        }
    }
}

/// The program, without environment variables that affect it.
fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_psstat-dump"));
    command.args(args).stdin(Stdio::null());
    for name in ["PSSTAT_CONF", "PSSTAT_CLASS", "PSSTAT_PROC", "PSSTAT_CONF_OWNER", "NO_COLOR"] {
        command.env_remove(name);
    }
    command
}

/// A new file without a name.
fn tempfile(dir: &Path) -> File {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(dir, flags, rustix::fs::Mode::RUSR).unwrap().into()
}

/// One after the other: each test measures what its own processes delay.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Whether it waits for the server and readers of its `io` block.
fn in_exec(pid: u32) -> bool {
    // The new memory map has no arguments yet. A busy machine can delay the reader of `io` too.
    if !std::fs::read(format!("/proc/{pid}/cmdline")).unwrap().is_empty() {
        return false;
    }
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = std::fs::read(format!("/proc/{pid}/io"));
        let _ = sender.send(());
    });
    receiver.recv_timeout(Duration::from_millis(100)).is_err()
}

/// Whether it waits in the kernel and cannot be interrupted.
fn in_mmap(pid: u32) -> bool {
    oracle::state(pid).unwrap() == 'D'
}

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

const BLOCKED: &str = "reading it blocks";

#[test]
fn exec_that_closes_a_hung_file_delays_no_command() {
    let _alone = alone();
    let Some(stuck) = Stuck::start(EXEC_THAT_CLOSES, 1, in_exec) else { return };
    let pid = stuck.pids[0];
    let report = &stuck.json(&["pid", &pid.to_string()])[0];
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_start_matches(':').trim().to_owned()
    };
    assert_eq!(report["identity"]["name"], line("Name"));
    assert_eq!(report["identity"]["ppid"], line("PPid").parse::<u32>().unwrap());
    // The new memory map has no arguments yet.
    assert_eq!(report["identity"]["command_line"], "");
    assert_eq!(report["identity"]["starttime_ticks"], Value::Null);
    for section in ["identity", "cpu", "main_thread", "memory", "io", "descriptors", "addresses"] {
        assert_eq!(report[section]["unread"], BLOCKED, "{section}");
    }
    assert_eq!(report["cpu"]["utime_seconds"], Value::Null);
    assert!(report["memory"]["statm_resident_bytes"].as_u64().unwrap() > 0);
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert_eq!(report["descriptors"]["open"], open);
    assert_eq!(report["limits"]["unread"], Value::Null);

    let text = stuck.run(&["pid", &pid.to_string()]).stdout;
    assert!(contains(&text, &format!("io\n  cannot be read: {BLOCKED}\n")));
    assert!(contains(&text, "started"), "a dash");
    let explained = &stuck.json(&["explain", &pid.to_string(), "-e", "x"])[0];
    assert_eq!(explained["command_line"], "");

    let dir = stuck.temp.join("capture");
    let (dir, pid) = (dir.to_str().unwrap(), pid.to_string());
    let captured = &stuck.json(&["capture", dir, "--pid", &pid])[0];
    assert_eq!(captured["processes"], 1);
    let unread = json!({"fd": 1, "io": 1, "ns/net": 1, "ns/pid": 1, "stat": 1});
    assert_eq!(captured["unread"], unread);
    let report = &stuck.json(&["pid", &pid, "--proc", dir])[0];
    assert_eq!(report["cpu"]["unread"], "the capture has no stat of it");
    assert!(exists(&Path::new(dir).join(&pid).join("status")));
}

#[test]
fn ten_stuck_processes_delay_no_command() {
    let _alone = alone();
    let Some(stuck) = Stuck::start(EXEC_THAT_CLOSES, 10, in_exec) else { return };
    let pids: Vec<String> = stuck.pids.iter().map(u32::to_string).collect();
    let pids: Vec<&str> = pids.iter().map(String::as_str).collect();
    let start = Instant::now();
    let reports = stuck.json(&[&["pid"], &pids[..]].concat());
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
    assert_eq!(reports.len(), 10);
    for report in reports {
        assert_eq!(report["io"]["unread"], BLOCKED);
        // The new memory map has no arguments yet.
        assert_eq!(report["identity"]["command_line"], "");
    }
    let start = Instant::now();
    let explained = stuck.json(&[&["explain", "-e", "^$"], &pids[..]].concat());
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
    assert_eq!(explained.len(), 10);
}

#[test]
fn locked_memory_map_delays_no_command() {
    let _alone = alone();
    let Some(stuck) = Stuck::start(LOCKED_MEMORY_MAP, 1, in_mmap) else { return };
    let pid = stuck.pids[0].to_string();
    let report = &stuck.json(&["pid", &pid])[0];
    assert_eq!(report["identity"]["command_line"], Value::Null);
    assert_eq!(report["identity"]["command_line_error"], BLOCKED);
    assert_eq!(report["identity"]["state"], "D (disk sleep)");
    let io = oracle::io(stuck.pids[0]).unwrap();
    assert_eq!(report["io"]["rchar_bytes"], io["rchar"]);
    let output = stuck.run(&["explain", &pid, "-e", "x"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(contains(&output.stderr, BLOCKED));
    let dir = stuck.temp.join("capture");
    let captured = &stuck.json(&["capture", dir.to_str().unwrap(), "--pid", &pid])[0];
    assert_eq!(captured["unread"], json!({"cmdline": 1}));
}

/// A word of the command lines of the processes before they execute the other program.
const PROGRAM: &str = "stuck-program";

/// Commands that have measured the processes before they get stuck.
struct Watchers {
    top: Terminal,
    table: Killed,
    tables: File,
}

impl Watchers {
    fn start(ready: &Ready) -> Watchers {
        let top = program(&["top", "-e", PROGRAM, "--interval", "0.3"]);
        let mut top = Terminal::start(top, (200, 50));
        let tables = tempfile(ready.temp.path());
        let mut table = program(&["-p", "-e", PROGRAM, "--interval", "0.3", "--json"]);
        let table = Killed(table.stdout(tables.try_clone().unwrap()).spawn().unwrap());
        top.wait_for("%CPUv");
        let watchers = Watchers { top, table, tables };
        wait_until("a table", || {
            let table = watchers.tables().pop();
            table.is_some_and(|table| ready.pids.iter().all(|pid| row(&table, *pid).is_some()))
        });
        watchers
    }

    /// The complete tables.
    fn tables(&self) -> Vec<Value> {
        let mut bytes = vec![0; usize::try_from(self.tables.metadata().unwrap().len()).unwrap()];
        self.tables.read_exact_at(&mut bytes, 0).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The rows of the stuck processes have their command lines, and dashes.
    fn check(mut self, stuck: &Stuck) {
        let has_dash = |table: &Value, pid: u32| {
            row(table, pid).is_some_and(|row| row["rchar_bytes"].is_null())
        };
        let mut last = Value::Null;
        wait_until("a table with dashes", || {
            assert!(stuck.stuck_since.elapsed() < KILL, "no dashes: {last}");
            last = self.tables().pop().unwrap();
            stuck.pids.iter().all(|pid| has_dash(&last, *pid))
        });
        for pid in &stuck.pids {
            let row = row(&last, *pid).unwrap();
            assert!(row["command_line"].as_str().unwrap().contains(PROGRAM), "{row}");
            let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
            assert_eq!((&row["fds"], &row["threads"]), (&json!(open), &json!(1)));
            for blocked in ["wchar_bytes", "tcp_established", "unix_established"] {
                assert_eq!(row[blocked], Value::Null, "{blocked}");
            }
        }
        // SIGINT is ignored if the tests run in the background of a shell.
        kill_process(Pid::from_child(&self.table.0), Signal::TERM).unwrap();
        wait_until("the table ends", || self.table.0.try_wait().unwrap().is_some());
        self.top.press(" ");
        let is_dashed = |line: &str, pid: &u32| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let rates = words.windows(3).any(|window| window == ["-", "-", "-"]);
            words.first() == Some(&&*pid.to_string()) && rates
        };
        self.top.wait_until(|screen| {
            stuck.pids.iter().all(|pid| screen.lines().any(|line| is_dashed(line, pid)))
        });
        self.top.press("q");
        assert_eq!(self.top.wait(), Some(0));
        let elapsed = stuck.stuck_since.elapsed();
        assert!(elapsed < RELEASE, "`top` waited for the release");
        println!("top: {elapsed:?} after they became stuck");
    }
}

fn row(table: &Value, pid: u32) -> Option<&Value> {
    table["rows"].as_array().unwrap().iter().find(|row| row["pid"] == pid)
}

/// A command, and a check of its output and of its JSON documents.
type Case<'a> = (Vec<&'a str>, &'a (dyn Fn(&Output, &[Value]) + Sync));

#[test]
fn every_command_ends_while_processes_are_stuck() {
    let _alone = alone();
    for count in [1, 10] {
        let Some(ready) = Ready::start(EXEC_THAT_CLOSES, count) else { return };
        let parent = ready.parent.0.id();
        let watchers = Watchers::start(&ready);
        let temp = ready.temp.path().to_str().unwrap().to_owned();
        let path = |name: &str| format!("{temp}/{name}");
        let (conf, all, some, one) = (path("conf"), path("all"), path("some"), path("one"));
        std::fs::write(&conf, format!("stuck {PROGRAM}\n")).unwrap();
        let stuck = ready.hang(in_exec);
        let pids: Vec<String> = stuck.pids.iter().map(u32::to_string).collect();
        let with_pids = |args: &[&'static str]| -> Vec<&str> {
            args.iter().copied().chain(pids.iter().map(String::as_str)).collect()
        };
        let mut capture_pids = vec!["capture", &one, "--json"];
        capture_pids.extend(pids.iter().flat_map(|pid| ["--pid", pid]));
        let has_parent = |_: &Output, documents: &[Value]| {
            assert!(row(&documents[0], parent).is_some());
        };
        let doctor = |_: &Output, documents: &[Value]| {
            for file in ["stat", "io", "fd", "ns/net"] {
                let checks = documents[0]["checks"].as_array().unwrap();
                let check = checks.iter().find(|check| check["name"] == file).unwrap();
                let result = check["result"].as_str().unwrap();
                let (_, blocked) = result.split_once("blocked for ").expect(result);
                // Processes of other tests can be stuck too.
                let blocked: usize = blocked.split([' ', ',']).next().unwrap().parse().unwrap();
                assert!(blocked >= count, "{result}");
            }
        };
        let captured = |_: &Output, documents: &[Value]| {
            assert!(documents[0]["processes"].as_u64() >= Some(1));
        };
        let captured_pids = |_: &Output, documents: &[Value]| {
            assert_eq!(documents[0]["processes"], count);
            assert_eq!(documents[0]["unread"]["stat"], count);
        };
        let reports = |_: &Output, documents: &[Value]| {
            assert_eq!(documents.len(), count);
            for report in documents {
                assert_eq!(report["identity"]["name"], "python3");
                assert_eq!(report["io"]["unread"], BLOCKED);
            }
        };
        let blocked = |output: &Output, _: &[Value]| {
            assert_eq!(output.status.code(), Some(0));
            assert!(contains(&output.stdout, BLOCKED) && contains(&output.stdout, "python3"));
        };
        let explained = |output: &Output, _: &[Value]| {
            assert!(contains(&output.stdout, "the command line of {python3} is empty"));
        };
        let explained_as_json = |_: &Output, documents: &[Value]| {
            assert_eq!(documents.len(), count);
            assert!(documents.iter().all(|document| document["process_kind"] == "process"));
        };
        let contains_parent = |output: &Output, _: &[Value]| {
            assert!(contains(&output.stdout, &parent.to_string()));
        };
        let found = |_: &Output, documents: &[Value]| {
            assert!(documents[0]["unread"]["blocked"].as_u64() >= Some(count as u64));
            let blocked = documents[0]["blocked_pids"].as_array().unwrap();
            assert!(stuck.pids.iter().all(|pid| blocked.contains(&json!(pid))), "{blocked:?}");
            // Others are there.
            assert!(row(&documents[0], parent).is_some());
        };
        let ok = |output: &Output, _: &[Value]| assert_eq!(output.status.code(), Some(0));
        let cases: [Case<'_>; 18] = [
            (vec!["--no-conf"], &ok),
            (vec!["--no-conf", "-p", "--json"], &has_parent),
            (vec!["--no-conf", "-p", "-k", "--json"], &has_parent),
            (vec!["--no-conf", "-k", "--csv"], &ok),
            (vec!["-p", "-e", PROGRAM, "--json"], &has_parent),
            (vec!["check", &conf], &ok),
            (vec!["find", "--no-conf", "/dev/null", "--json"], &found),
            (with_pids(&["explain", "-e", "x"]), &explained),
            (with_pids(&["explain", "-e", "x", "--json"]), &explained_as_json),
            (vec!["explain", "--rule", "stuck", "--conf", &conf], &contains_parent),
            (vec!["doctor", "--no-conf", "--json"], &doctor),
            (vec!["doctor", "--conf", &conf], &|_, _| ()),
            (vec!["capture", &all, "--json"], &captured),
            (vec!["capture", &some, "-e", PROGRAM, "--json"], &captured),
            (capture_pids, &captured_pids),
            (with_pids(&["pid"]), &blocked),
            (with_pids(&["pid", "--json"]), &reports),
            (with_pids(&["pid", "--csv"]), &blocked),
        ];
        // Several at the same time, so that the processes are stuck for a short time only.
        std::thread::scope(|scope| {
            let run = |(args, check): &Case<'_>| {
                let output = stuck.run(args);
                assert!(output.status.code().is_some_and(|code| code < 2), "{args:?}: {output:?}");
                let text = String::from_utf8_lossy(&output.stdout);
                let lines = text.lines().filter(|_| args.contains(&"--json"));
                let documents = lines.map(|line| serde_json::from_str(line).unwrap());
                check(&output, &documents.collect::<Vec<Value>>());
            };
            for case in &cases {
                scope.spawn(move || run(case));
            }
            watchers.check(&stuck);
        });
    }
}
