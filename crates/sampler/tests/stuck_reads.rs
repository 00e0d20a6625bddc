//! Processes whose files in `/proc` block every reader: an exec closes a file of a file server that
//! does not respond, and holds a lock of the process meanwhile.
//!
//! Other programs that read `/proc` hang for that time too, so each test lets go at once, and at
//! the latest when its watchdog ends it.

mod common;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{A, Watch, io_of, options, quiesce, testproc};
use psstat_sampler::{Options, Sample};
use psstat_testproc::fuse::{FuseServer, Mode};
use psstat_testproc::{Io, TempDir, TestProcess, isolated, oracle, test_name, wait_until};

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

/// A healthy process and others that can get stuck, of one image.
struct Image {
    word: String,
    healthy: TestProcess,
    /// Each waits for a line, then executes another program.
    others: Vec<Child>,
    server: FuseServer,
    // Dropped after the server.
    _temp: TempDir,
}

impl Image {
    fn new(others: usize) -> Image {
        // A word that sleep accepts as a duration.
        let word = format!("1000.{:09}", std::process::id());
        let healthy = testproc(&word);
        quiesce(&[&healthy]);
        let temp = TempDir::new().unwrap();
        let server = FuseServer::mount(temp.path(), "file", "content").unwrap();
        // Perl opens files so that an exec closes them.
        const SCRIPT: &str = "open(F, '<', shift) or die; $| = 1; print '.'; <STDIN>; \
                              exec 'sleep', shift";
        let spawn = || {
            let mut command = Command::new("perl");
            command.args(["-e", SCRIPT]).arg(temp.join("file")).arg(&word);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut ready = [0];
            child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
            child
        };
        let others = (0..others).map(|_| spawn()).collect();
        Image { word, healthy, others, server, _temp: temp }
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
        for child in &mut self.others {
            child.stdin.take().unwrap().write_all(b"\n").unwrap();
        }
        // Until then its command line is that of perl.
        let is_in_exec = |child: &Child| {
            std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap().is_empty()
        };
        wait_until("all are stuck", || self.others.iter().all(is_in_exec));
    }

    fn release(&mut self) {
        self.server.set_mode(Mode::Answer);
        let has_executed =
            |child: &Child| oracle::state(child.id()).is_ok_and(|state| state == 'S');
        wait_until("all have executed the program", || self.others.iter().all(has_executed));
    }

    /// The io of all processes by the kernel.
    fn io(&self) -> Io {
        let pids = self.others.iter().map(Child::id).chain([self.healthy.pid()]);
        pids.map(|pid| Io::read(pid).unwrap()).fold(Io::default(), |sum, io| sum + io)
    }

    fn processes(&self) -> u64 {
        self.others.len() as u64 + 1
    }

    /// The values that do not block are complete.
    fn assert_others_are_right(&self, sample: &Sample) {
        let image = sample.image(A);
        assert_eq!(image.processes, self.processes());
        assert_eq!(image.threads, Some(self.processes()));
        assert!(image.vsize > Some(0) && image.cpu_percent.is_some());
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        self.server.set_mode(Mode::End);
        for child in &mut self.others {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A process whose reads block, which the sampler knew before. The sampler never came back.
fn known_process_gets_stuck(others: usize) {
    let mut image = Image::new(others);
    let mut watch = image.watch();
    let before = watch.cycles(3);
    assert_eq!(before.image(A).processes, image.processes());
    assert_eq!(io_of(before.image(A)), image.io());
    let io = io_of(before.image(A));
    image.hang();
    // They may run a little further until they are stuck.
    let all_blocked = |watch: &Watch| {
        let blocked: Vec<u32> = watch.sampler.blocked_reads().map(|read| read.pid).collect();
        image.others.iter().all(|other| blocked.contains(&other.id()))
    };
    let mut stuck = watch.cycle();
    wait_until("all block", || {
        stuck = watch.cycle();
        all_blocked(&watch)
    });
    for _ in 0..2 {
        let sample = watch.cycle();
        image.assert_others_are_right(&sample);
        assert!(all_blocked(&watch) && sample.health.blocked >= others as u64);
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
        known_process_gets_stuck(1);
    }
}

#[test]
fn ten_processes_at_once() {
    if inside(test_name!()) {
        known_process_gets_stuck(10);
    }
}

/// A process that is stuck when the sampler starts has no command line yet; its parent and the
/// others are read.
#[test]
fn process_that_is_stuck_at_the_start() {
    if !inside(test_name!()) {
        return;
    }
    let mut image = Image::new(1);
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
    let pid = image.others[0].id();
    let process = watch.sampler.processes().find(|process| process.pid == pid).unwrap();
    assert_eq!(process.starttime, starttime(pid));
}

/// A sampler is dropped while a read is stuck.
#[test]
fn sampler_is_dropped_meanwhile() {
    if !inside(test_name!()) {
        return;
    }
    let mut image = Image::new(1);
    let mut watch = image.watch();
    watch.cycle();
    image.hang();
    watch.cycle();
    drop(watch);
    let files = || File::open("/proc/self/status").is_ok();
    assert!(files());
    image.release();
}
