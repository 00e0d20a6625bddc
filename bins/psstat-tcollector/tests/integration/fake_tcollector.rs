//! The behavior of tcollector towards a collector: it starts, reads, tags, kills it when it is
//! silent, restarts it when it exits, and ends it at last.

use std::io::{ErrorKind, Read, Write as _};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use psstat_testproc::formats::tsd::parse_line;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::common::{Cycle, TIMEOUT, parse_cycles, until};
use crate::http;

/// The intervals and timeouts of tcollector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Between two reads of a collector's output.
    pub(crate) read: Duration,
    /// Without a line, until a collector is killed.
    pub(crate) silence: Duration,
    /// Until a collector that exited with 0, or was killed for silence, is restarted, at most.
    pub(crate) again: Duration,
    /// Until a collector that exited with another status is restarted, since its last start.
    pub(crate) dead: Duration,
    /// From SIGTERM to SIGKILL.
    pub(crate) mercy: Duration,
}

impl Clock {
    /// Those of tcollector.
    pub(crate) const TRUE: Clock = Clock {
        read: Duration::from_secs(1),
        silence: Duration::from_secs(600),
        again: Duration::from_secs(15),
        dead: Duration::from_secs(3600),
        mercy: Duration::from_secs(5),
    };

    /// For tests that wait for them.
    pub(crate) const SHORT: Clock = Clock {
        read: Duration::from_millis(100),
        silence: Duration::from_secs(20),
        again: Duration::from_millis(300),
        dead: Duration::from_secs(4),
        mercy: Duration::from_secs(5),
    };

    /// Between two requests of `version`.
    const VERIFY: Duration = Duration::from_secs(60);
}

/// The events of the collector.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// Its points in order, without the tags added here.
    pub(crate) lines: Vec<String>,
    /// Its stderr, line by line.
    pub(crate) log: Vec<String>,
    /// The number of reads of stdout that were dropped because they were not UTF-8.
    pub(crate) lost: usize,
    /// The times and pids of its starts.
    pub(crate) starts: Vec<(Instant, u32)>,
    /// The statuses of its exits, except kills.
    pub(crate) ends: Vec<ExitStatus>,
    /// The number of kills for silence.
    pub(crate) silences: usize,
    /// The answers of the stores to `version`.
    pub(crate) versions: Vec<String>,
    /// Their other answers.
    pub(crate) answers: String,
}

/// A store and the way to it.
#[derive(Debug)]
pub(crate) enum Store {
    /// `put` lines, and a request that the store must answer from time to time.
    Telnet {
        stream: TcpStream,
        /// The time of the last answer.
        verified: Option<Instant>,
    },
    /// `/api/put` on a port of this host: tcollector's `--http --http-api-path=api/put`.
    Http(u16),
}

impl From<TcpStream> for Store {
    fn from(stream: TcpStream) -> Store {
        Store::Telnet { stream, verified: None }
    }
}

impl Store {
    /// Sends lines with tags. Returns the answer to `version`, if it was requested, and all other
    /// answers so far.
    fn ship(&mut self, lines: &str, tags: &str) -> (Option<String>, String) {
        match self {
            Store::Telnet { stream, verified } => {
                stream.set_nonblocking(false).unwrap();
                let mut version = None;
                if verified.is_none_or(|last| last.elapsed() > Clock::VERIFY) {
                    version = Some(verify(stream));
                    *verified = Some(Instant::now());
                }
                let puts = lines.lines().map(|line| format!("put {line} {tags}\n"));
                stream.write_all(puts.collect::<String>().as_bytes()).unwrap();
                stream.set_nonblocking(true).unwrap();
                (version, String::from_utf8_lossy(&available(stream)).into_owned())
            }
            Store::Http(port) => {
                let points: Value = lines.lines().map(|line| json_point(line, tags)).collect();
                let answer = http::post(*port, "/api/put", &points.to_string()).unwrap();
                let is_error = !(200..300).contains(&answer.status);
                (None, if is_error { format!("{answer:?}") } else { String::new() })
            }
        }
    }
}

/// tcollector sends `version` before its first lines and reads one answer, at most 4,096 bytes.
/// Without an answer it closes the connection.
fn verify(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(b"version\n").unwrap();
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).unwrap();
    assert!(length > 0, "the store closes the connection");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// A line as tcollector sends it by HTTP, where all numbers are floats.
fn json_point(line: &str, tags: &str) -> Value {
    let point = parse_line(line).unwrap();
    let tags = tags.split(' ').map(|tag| tag.split_once('=').unwrap());
    let tags = point.tags.iter().map(|(key, value)| (&**key, &**value)).chain(tags);
    let tags: serde_json::Map<String, Value> =
        tags.map(|(key, value)| (key.to_owned(), value.into())).collect();
    let (time, value) = (point.time.unwrap(), point.number());
    json!({"metric": point.metric, "timestamp": time, "value": value, "tags": tags})
}

/// A tcollector with one collector, in a thread.
#[derive(Debug)]
pub(crate) struct FakeTcollector {
    record: Arc<Mutex<Record>>,
    orders: Arc<Orders>,
    thread: Option<JoinHandle<Option<Child>>>,
}

#[derive(Debug, Default)]
struct Orders {
    shut_down: AtomicBool,
    die: AtomicBool,
}

/// The setup: the directory with the collector, and the stores.
#[derive(Debug)]
pub(crate) struct Site {
    /// Contains `0/NAME`, which is executable.
    pub(crate) collectors: PathBuf,
    /// The environment of tcollector, which its collectors inherit.
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) clock: Clock,
    /// The tags added to each line: `host=a cluster=b`.
    pub(crate) tags: &'static str,
    pub(crate) stores: Vec<Store>,
}

impl Site {
    /// Starts the collector of the directory.
    pub(crate) fn start(self) -> FakeTcollector {
        let record = Arc::new(Mutex::default());
        let orders = Arc::new(Orders::default());
        let keeper = Keeper {
            file: collector_in(&self.collectors),
            site: self,
            record: Arc::clone(&record),
            orders: Arc::clone(&orders),
        };
        let thread = Some(std::thread::spawn(move || keeper.keep()));
        FakeTcollector { record, orders, thread }
    }
}

/// The one executable file whose name does not start with a dot.
fn collector_in(directory: &Path) -> PathBuf {
    let entries =
        std::fs::read_dir(directory.join("0")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'))
        .filter(|path| {
            // Follows links, as tcollector does.
            let metadata = std::fs::metadata(path).unwrap();
            metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
        })
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

impl FakeTcollector {
    pub(crate) fn record(&self) -> Record {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    /// Waits for a record that satisfies a condition.
    pub(crate) fn wait(&self, what: &str, is_expected: impl Fn(&Record) -> bool) -> Record {
        until(what, || is_expected(&self.lock()));
        self.record()
    }

    /// The cycles so far, checked against tcollector's rules.
    pub(crate) fn cycles(&self) -> Vec<Cycle> {
        parse_cycles(self.record().lines.iter().map(String::as_str))
    }

    /// Waits for a cycle that starts and ends from now on. Cycles are identified by their
    /// timestamps: earlier ones may not have been read yet.
    pub(crate) fn next_cycle(&self) -> Cycle {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let later = |cycles: &[Cycle]| cycles.iter().filter(|cycle| cycle.time > now).count();
        until("two more cycles", || later(&self.cycles()) >= 2);
        self.cycles().pop().unwrap()
    }

    /// Ends tcollector, which ends the collector. Returns the collector's status.
    pub(crate) fn shut_down(mut self) -> (ExitStatus, Record) {
        self.orders.shut_down.store(true, Ordering::Relaxed);
        let mut child = self.join().unwrap();
        (child.wait().unwrap(), self.record())
    }

    /// Ends tcollector at once: for the collector, this is a closed pipe.
    pub(crate) fn die(mut self) -> Child {
        self.orders.die.store(true, Ordering::Relaxed);
        self.join().unwrap()
    }

    fn join(&mut self) -> Option<Child> {
        self.thread.take().and_then(|thread| thread.join().unwrap())
    }
}

impl Drop for FakeTcollector {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.orders.shut_down.store(true, Ordering::Relaxed);
            let _ = thread.join();
        }
    }
}

struct Keeper {
    site: Site,
    file: PathBuf,
    record: Arc<Mutex<Record>>,
    orders: Arc<Orders>,
}

/// A running collector.
struct Living {
    child: Child,
    stdout: ChildStdout,
    stderr: ChildStderr,
    /// A line that is not complete yet.
    rest: String,
    last_line: Instant,
}

impl Keeper {
    fn keep(mut self) -> Option<Child> {
        let mut start_at = Instant::now();
        let mut living: Option<Living> = None;
        loop {
            if self.orders.die.load(Ordering::Relaxed) {
                return living.map(|collector| collector.child);
            }
            if self.orders.shut_down.load(Ordering::Relaxed) {
                return living.map(|collector| self.end(collector));
            }
            let now = Instant::now();
            living = match living {
                Some(mut collector) => {
                    self.read(&mut collector);
                    if let Some(status) = collector.child.try_wait().unwrap() {
                        self.lock().ends.push(status);
                        let started = self.lock().starts.last().unwrap().0;
                        let clock = self.site.clock;
                        start_at =
                            if status.success() { now + clock.again } else { started + clock.dead };
                        None
                    } else if collector.last_line.elapsed() > self.site.clock.silence {
                        self.lock().silences += 1;
                        start_at = now + self.site.clock.again;
                        self.end(collector).wait().unwrap();
                        None
                    } else {
                        Some(collector)
                    }
                }
                None if now >= start_at => Some(self.start()),
                None => None,
            };
            std::thread::sleep(self.site.clock.read);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    /// Without arguments, in a new process group.
    fn start(&self) -> Living {
        let environment = self.site.environment.iter().map(|(name, value)| (name, value));
        let mut child = Command::new(&self.file)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        for pipe in [stdout.as_fd(), stderr.as_fd()] {
            rustix::io::ioctl_fionbio(pipe, true).unwrap();
        }
        let now = Instant::now();
        self.lock().starts.push((now, child.id()));
        Living { child, stdout, stderr, rest: String::new(), last_line: now }
    }

    /// Reads the available output and sends the complete lines.
    fn read(&mut self, collector: &mut Living) {
        let said = String::from_utf8_lossy(&available(&mut collector.stderr)).into_owned();
        self.lock().log.extend(said.lines().map(str::to_owned));

        match String::from_utf8(available(&mut collector.stdout)) {
            Ok(text) => collector.rest.push_str(&text),
            Err(_) => self.lock().lost += 1,
        }
        let whole = collector.rest.rfind('\n').map_or(0, |end| end + 1);
        let lines: String = collector.rest.drain(..whole).collect();
        if !lines.is_empty() {
            collector.last_line = Instant::now();
            self.ship(&lines);
            self.lock().lines.extend(lines.lines().map(str::to_owned));
        }
    }

    /// Sends the lines with tags to every store.
    fn ship(&mut self, lines: &str) {
        for store in &mut self.site.stores {
            let (version, answers) = store.ship(lines, self.site.tags);
            let mut record = self.record.lock().unwrap();
            record.versions.extend(version);
            record.answers.push_str(&answers);
        }
    }

    /// SIGTERM to the group, SIGKILL if it does not exit.
    fn end(&self, mut collector: Living) -> Child {
        let group = Pid::from_child(&collector.child);
        // It may have exited already.
        let _ = rustix::process::kill_process_group(group, Signal::TERM);
        let deadline = Instant::now() + self.site.clock.mercy;
        while collector.child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
                collector.child.wait().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        collector.child
    }
}

/// The bytes that can be read without waiting.
fn available(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    match from.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => panic!("{error}"),
    }
    bytes
}
