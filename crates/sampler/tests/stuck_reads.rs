//! Processes whose files in `/proc` block every reader: an exec closes a file of a file server that
//! does not respond, and holds a lock of the process meanwhile.
//!
//! Other programs that read `/proc` hang for that time too, so each test lets go at once, and at
//! the latest when its watchdog ends it.

mod common;

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{A, Options, Sample, Watch, io_of, options, quiesce, testproc};
use psstat_testproc::fuse::{FuseServer, Mode};
use psstat_testproc::{Config, Io, TempDir, TestProcess, isolated, oracle, test_name, wait_until};
use rustix::process::{Pid, Signal};

/// Runs the test of this name in a new mount namespace, which ends with it. True in that process.
fn inside(test: &str) -> bool {
    if !Path::new("/dev/fuse").exists() {
        println!("skipped: no /dev/fuse");
        return false;
    }
    if Command::new("perl").arg("-e1").status().is_err() {
        println!("skipped: no perl");
        return false;
    }
    isolated(test, &["unshare", "--mount", "--propagation", "private"])
}

/// A process that can get stuck.
enum Other {
    /// It waits for a line, then executes another program.
    Perl(Child),
    /// A child that shares the address space of a test process, and executes another program when it
    /// is continued.
    Clone { pid: u32, parent: TestProcess, lock: Lock },
}

/// The lock for which others wait while a child that shares an address space is stuck.
#[derive(Clone, Copy, PartialEq)]
enum Lock {
    /// The child's lock of its program, since it closes a file.
    Program,
    /// The same, since the child waits for the address space, which its parent has locked.
    Both,
}

impl Other {
    fn pid(&self) -> u32 {
        match self {
            Other::Perl(child) => child.id(),
            Other::Clone { pid, .. } => *pid,
        }
    }

    fn parent(&self) -> Option<&TestProcess> {
        match self {
            Other::Perl(_) => None,
            Other::Clone { parent, .. } => Some(parent),
        }
    }

    /// Makes it execute a program.
    fn exec(&mut self, file: &Path) {
        match self {
            Other::Perl(child) => child.stdin.take().unwrap().write_all(b"\n").unwrap(),
            Other::Clone { pid, parent, lock } => {
                if *lock == Lock::Both {
                    parent.map_over(file).unwrap();
                    wait_until("the address space is locked", || last_thread_waits(parent));
                }
                signal(*pid, Signal::CONT);
            }
        }
    }

    /// Whether it is in the exec, and is about to be stuck.
    fn is_in_exec(&self) -> bool {
        match self {
            // Before, it is the address space of the parent, whose lock blocks command lines.
            Other::Clone { lock: Lock::Both, pid, .. } => state_in_status(*pid, *pid) == 'D',
            // Before, its command line is the previous one.
            _ => std::fs::read(format!("/proc/{}/cmdline", self.pid())).unwrap().is_empty(),
        }
    }
}

/// The state of a thread, from the file that does not block.
fn state_in_status(pid: u32, tid: u32) -> char {
    let status = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).unwrap();
    let state = status.lines().find_map(|line| line.strip_prefix("State:\t"));
    state.unwrap().chars().next().unwrap()
}

/// Whether the thread that was started last waits for a file system.
fn last_thread_waits(process: &TestProcess) -> bool {
    let pid = process.pid();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let tid = |name: OsString| name.to_str().unwrap().parse().unwrap();
    let last: u32 = tasks.map(|task| tid(task.unwrap().file_name())).max().unwrap();
    state_in_status(pid, last) == 'D'
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// A healthy process and others that can get stuck, of one image.
struct Image {
    word: String,
    healthy: TestProcess,
    others: Vec<Other>,
    server: FuseServer,
    // Dropped after the server.
    temp: TempDir,
}

impl Image {
    /// Without others.
    fn new() -> Image {
        // A word that sleep accepts as a duration.
        let word = format!("1000.{:09}", std::process::id());
        let healthy = testproc(&word);
        quiesce(&[&healthy]);
        let temp = TempDir::new().unwrap();
        let server = FuseServer::mount(temp.path(), "file", "content").unwrap();
        Image { word, healthy, others: Vec::new(), server, temp }
    }

    fn with_perl(others: usize) -> Image {
        let mut image = Image::new();
        // Perl opens files so that an exec closes them.
        const SCRIPT: &str = "open(F, '<', shift) or die \"open: $!\"; $| = 1; print '.'; \
                              <STDIN>; exec 'sleep', shift";
        for _ in 0..others {
            let mut command = Command::new("perl");
            command.args(["-e", SCRIPT]).arg(image.file()).arg(&image.word);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut ready = [0];
            child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
            image.others.push(Other::Perl(child));
        }
        image
    }

    /// With one child that shares the address space of its parent, which belongs to the image too.
    fn with_clone(vfork: bool, lock: Lock) -> Image {
        let mut image = Image::new();
        let mut parent = testproc(&image.word);
        if lock == Lock::Program {
            parent.open_file(&image.file()).unwrap();
        }
        let program = Config::new("/bin/sleep").arg(&image.word);
        let pid = parent.clone_vm(vfork, 1000, &program).unwrap();
        wait_until("it stops", || oracle::state(pid).unwrap() == 'T');
        quiesce(&[&parent]);
        image.others.push(Other::Clone { pid, parent, lock });
        image
    }

    fn file(&self) -> PathBuf {
        self.temp.join("file")
    }

    fn watch(&self) -> Watch {
        // Short, since other programs hang meanwhile.
        let read_timeout = Duration::from_millis(100);
        Watch::with(Options { read_timeout, ..options() }, &[&self.word])
    }

    /// Makes the others execute a program, in which they get stuck.
    fn hang(&mut self) {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(20));
            // Ends the server too, so that no process is stuck any more.
            std::process::exit(1);
        });
        self.server.set_mode(Mode::HoldFlush);
        let file = self.file();
        self.others.iter_mut().for_each(|other| other.exec(&file));
        wait_until("all are stuck", || self.others.iter().all(Other::is_in_exec));
    }

    fn release(&mut self) {
        let is_locked = |other: &Other| matches!(other, Other::Clone { lock: Lock::Both, .. });
        // A write is never acknowledged.
        let mode = if self.others.iter().any(is_locked) { Mode::End } else { Mode::Answer };
        self.server.set_mode(mode);
        let has_executed =
            |other: &Other| oracle::state(other.pid()).is_ok_and(|state| state == 'S');
        wait_until("all have executed the program", || self.others.iter().all(has_executed));
    }

    fn pids(&self) -> Vec<u32> {
        let parents = self.others.iter().filter_map(Other::parent).map(TestProcess::pid);
        self.others.iter().map(Other::pid).chain(parents).chain([self.healthy.pid()]).collect()
    }

    /// The io of all processes by the kernel.
    fn io(&self) -> Io {
        let pids = self.pids().into_iter();
        pids.map(|pid| Io::read(pid).unwrap()).fold(Io::default(), |sum, io| sum + io)
    }

    fn processes(&self) -> u64 {
        self.pids().len() as u64
    }

    /// The values that do not block are complete.
    fn assert_others_are_right(&self, sample: &Sample) {
        let image = sample.image(A);
        assert_eq!(image.processes, self.processes());
        let threads = self.pids().into_iter().map(|pid| oracle::threads(pid).unwrap()).sum();
        assert_eq!(image.threads, Some(threads));
        assert!(image.vsize > Some(0) && image.cpu_percent.is_some());
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        self.server.set_mode(Mode::End);
        for other in &mut self.others {
            // The others are killed with their parents.
            if let Other::Perl(child) = other {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// A process whose reads block, which the sampler knew before. The sampler never came back.
fn known_process_gets_stuck(mut image: Image) {
    let mut watch = image.watch();
    let before = watch.cycles(3);
    assert_eq!(before.image(A).processes, image.processes());
    assert_eq!(io_of(before.image(A)), image.io());
    let io = io_of(before.image(A));
    image.hang();
    // They may run a little further until they are stuck.
    let all_blocked = |watch: &Watch| {
        let blocked: Vec<u32> = watch.sampler.blocked_reads().map(|read| read.pid).collect();
        image.others.iter().all(|other| blocked.contains(&other.pid()))
    };
    let mut stuck = watch.cycle();
    wait_until("all block", || {
        stuck = watch.cycle();
        all_blocked(&watch)
    });
    for _ in 0..2 {
        let sample = watch.cycle();
        image.assert_others_are_right(&sample);
        assert!(all_blocked(&watch) && sample.health.blocked >= image.others.len() as u64);
        // The last reading of each stays in the sum.
        assert_eq!(io_of(sample.image(A)), io_of(stuck.image(A)));
        assert!(io_of(sample.image(A)).rchar >= io.rchar);
    }
    image.release();
    let mut sample = watch.cycle();
    wait_until("all are read again", || {
        sample = watch.cycle();
        io_of(sample.image(A)) == image.io()
    });
    image.assert_others_are_right(&sample);
}

#[test]
fn process_that_is_known() {
    if inside(test_name!()) {
        known_process_gets_stuck(Image::with_perl(1));
    }
}

#[test]
fn ten_processes_at_once() {
    if inside(test_name!()) {
        known_process_gets_stuck(Image::with_perl(10));
    }
}

/// A child of vfork executes a program while another thread of its parent maps memory over a file
/// whose server does not respond: the child waits for the address space, and holds its own lock.
#[test]
fn vfork_behind_a_parent() {
    if inside(test_name!()) {
        known_process_gets_stuck(Image::with_clone(true, Lock::Both));
    }
}

/// The same without vfork.
#[test]
fn shared_address_space_that_is_locked() {
    if inside(test_name!()) {
        known_process_gets_stuck(Image::with_clone(false, Lock::Both));
    }
}

/// The exec of a child that shares the address space of its parent closes a file.
#[test]
fn shared_address_space() {
    if inside(test_name!()) {
        known_process_gets_stuck(Image::with_clone(false, Lock::Program));
    }
}

/// A process that is stuck when the sampler starts has no command line yet; its parent and the
/// others are read.
#[test]
fn process_that_is_stuck_at_the_start() {
    if !inside(test_name!()) {
        return;
    }
    let mut image = Image::with_perl(1);
    image.hang();
    let mut watch = image.watch();
    wait_until("it blocks", || watch.cycle().health.blocked >= 1);
    for _ in 0..2 {
        let sample = watch.cycle();
        assert!(sample.health.blocked >= 1);
        assert_eq!(sample.image(A).processes, 1);
        assert_eq!(io_of(sample.image(A)), Io::read(image.healthy.pid()).unwrap());
    }
    image.release();
    wait_until("it is matched", || watch.cycle().image(A).processes == 2);
    let starttime = |pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse::<u64>().unwrap()
    };
    let pid = image.others[0].pid();
    let process = watch.sampler.processes().find(|process| process.pid == pid).unwrap();
    assert_eq!(process.starttime, starttime(pid));
}

/// A sampler is dropped while a read is stuck.
#[test]
fn sampler_is_dropped_meanwhile() {
    if !inside(test_name!()) {
        return;
    }
    let mut image = Image::with_perl(1);
    let mut watch = image.watch();
    watch.cycle();
    image.hang();
    watch.cycle();
    drop(watch);
    let files = || File::open("/proc/self/status").is_ok();
    assert!(files());
    image.release();
}
