//! Every command answers while processes are stuck in the kernel in a way that blocks the
//! readers of their files. A separate test program, because such processes delay other readers
//! of `/proc` as well: each is released within seconds.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use psstat_testproc::fuse::{FuseServer, Mode, mount_options};
use psstat_testproc::{TempDir, oracle, wait_until};
use serde_json::{Value, json};

/// The processes are released after this time. A command that waits for them ends only then.
const RELEASE: Duration = Duration::from_secs(5);
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

/// Stuck processes. Released and killed when dropped, or after [`RELEASE`].
struct Stuck {
    parent: Child,
    pids: Vec<u32>,
    stuck_since: Instant,
    release: Option<Sender<()>>,
    watchdog: Option<JoinHandle<()>>,
    temp: TempDir,
}

impl Stuck {
    /// Runs a script; `None` where such file systems cannot be mounted.
    fn start(script: &str, count: usize, is_ready: impl Fn(u32) -> Option<u32>) -> Option<Stuck> {
        let temp = TempDir::new().unwrap();
        let directory = temp.join("fs");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(temp.join("script.py"), script).unwrap();
        let started = FuseServer::start("file", &"x".repeat(4096));
        let Ok((mut server, device)) = started else {
            println!("skipped: no /dev/fuse: {started:?}");
            return None;
        };
        // The kernel takes the descriptor by its number in the mounting process.
        let mount = format!("mount -i -t fuse -o {} hang $0", mount_options(0));
        let run = "exec python3 $1/script.py $0 $1 $2 $3 </dev/null";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &format!("{mount} || exit 9; {run}")]);
        command.arg(&directory).arg(temp.path()).arg(count.to_string()).arg("stuck-program");
        let mut parent = command.stdin(Stdio::from(device)).spawn().unwrap();
        drop(command);
        let ready = || -> Vec<u32> {
            let entries = std::fs::read_dir(temp.path()).unwrap();
            let pid = |name: &str| name.strip_suffix(".ready")?.parse().ok();
            entries.filter_map(|entry| pid(entry.unwrap().file_name().to_str()?)).collect()
        };
        let mut status = None;
        wait_until("the processes are ready", || {
            status = parent.try_wait().unwrap();
            status.is_some() || ready().len() == count
        });
        if let Some(status) = status {
            println!("skipped: no right to mount: {status}");
            return None;
        }
        server.set_mode(Mode::Discard);
        std::fs::write(temp.join("go"), "").unwrap();
        let (release, wait) = mpsc::channel();
        let watchdog = std::thread::spawn(move || {
            let is_late = wait.recv_timeout(RELEASE) == Err(RecvTimeoutError::Timeout);
            // This closes the device, and the kernel fails all requests.
            drop(server);
            assert!(!is_late, "released after {RELEASE:?}");
        });
        let mut stuck = Stuck {
            parent,
            pids: ready(),
            stuck_since: Instant::now(),
            release: Some(release),
            watchdog: Some(watchdog),
            temp,
        };
        for pid in &mut stuck.pids {
            let mut found = None;
            wait_until("it is stuck", || {
                found = is_ready(*pid);
                found.is_some()
            });
            *pid = found.unwrap();
        }
        stuck.pids.sort_unstable();
        Some(stuck)
    }

    /// Runs the program. It must end while the processes are stuck.
    fn run(&self, args: &[&str]) -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_psstat-dump"))
            .args(args)
            .stdin(Stdio::null())
            .env_remove("PSSTAT_PROC")
            .output()
            .unwrap();
        let took = self.stuck_since.elapsed();
        assert!(took < RELEASE, "{args:?} waited for the release");
        println!("{args:?}: {took:?} after they became stuck");
        output
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
        let _ = self.parent.kill();
        let _ = self.parent.wait();
        if !std::thread::panicking() {
            assert!(watchdog.is_some_and(|watchdog| watchdog.is_ok()), "stuck for too long");
        }
    }
}

/// One after the other: each test measures what its own processes delay.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The process itself once it waits for the server and readers of its `io` block.
fn in_exec(pid: u32) -> Option<u32> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = std::fs::read(format!("/proc/{pid}/io"));
        let _ = sender.send(());
    });
    let blocks = receiver.recv_timeout(Duration::from_millis(100)).is_err();
    blocks.then_some(pid)
}

/// The process itself once it waits in the kernel and cannot be interrupted.
fn in_mmap(pid: u32) -> Option<u32> {
    (oracle::state(pid).unwrap() == 'D').then_some(pid)
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
