//! A file system that stops to answer, as one of a server that is gone: one
//! file in one folder, served by the test through `/dev/fuse` until it stops.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::common::PATIENCE;

/// A process in a mount namespace of its own, with the file system in a folder.
/// When dropped, all requests fail, and what waited for them goes on and is
/// ended.
pub(crate) struct Hang {
    process: Child,
    stopped: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Hang {
    /// Runs a shell script, `$P` being the folder with the file `file`; nothing
    /// where such file systems may not be mounted.
    ///
    /// Whatever is written to the file is never acknowledged.
    pub(crate) fn run(folder: &Path, script: &str, word: &str) -> Option<Hang> {
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let Ok(device) = device else {
            println!("skipped: no /dev/fuse: {device:?}");
            return None;
        };
        // The kernel takes the descriptor by its number in the process that mounts.
        let mount =
            "mount -i -t fuse -o fd=0,rootmode=40000,user_id=0,group_id=0,allow_other hang $P";
        let script = format!("P=$0; {mount} || exit 9; exec </dev/null; {script}");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).arg(folder).arg(word);
        command.stdin(device.try_clone().unwrap()).stdout(Stdio::null());
        let process = command.spawn().unwrap();
        // The command keeps a copy of the device.
        drop(command);
        let (stopped, over) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let server = {
            let (stopped, over) = (Arc::clone(&stopped), Arc::clone(&over));
            std::thread::spawn(move || serve(device, &stopped, &over))
        };
        let mut hang = Hang { process, stopped, over, server: Some(server) };
        let deadline = Instant::now() + PATIENCE;
        let mounts = format!("/proc/{}/mounts", hang.pid());
        let mounted = |text: &str| text.contains(&format!("hang {} fuse", folder.display()));
        while !std::fs::read_to_string(&mounts).is_ok_and(|text| mounted(&text)) {
            if let Some(status) = hang.process.try_wait().unwrap() {
                println!("skipped: no right to mount: {status}");
                return None;
            }
            assert!(Instant::now() < deadline, "it does not mount");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(hang)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// From now on nothing is answered.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        let _ = self.process.kill();
        self.over.store(true, Ordering::Relaxed);
        // It closes the device, and the kernel gives up on all requests.
        let _ = self.server.take().map(JoinHandle::join);
        let _ = self.process.wait();
    }
}

/// Opcodes and sizes of `linux/fuse.h`, protocol 7.31.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;
const FILE_SIZE: u64 = 4096;

fn serve(mut device: File, stopped: &AtomicBool, over: &AtomicBool) {
    let mut request = vec![0; 1 << 18];
    while !over.load(Ordering::Relaxed) {
        let soon = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let mut fds = [PollFd::new(&device, PollFlags::IN)];
        if !matches!(poll(&mut fds, Some(&soon)), Ok(1..)) {
            continue;
        }
        // ENODEV when all is unmounted.
        let Ok(length) = device.read(&mut request) else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        if stopped.load(Ordering::Relaxed) {
            continue;
        }
        if let Some(answer) = answer(&request[..length]) {
            let _ = device.write_all(&answer);
        }
    }
}

/// The answer to a request; none to those that want none and to writes.
fn answer(request: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().unwrap());
    let long = |at: usize| u64::from_le_bytes(request[at..at + 8].try_into().unwrap());
    let (opcode, unique, node) = (word(4), long(8), long(16));
    let mut body: Vec<u8> = Vec::new();
    let mut error = 0_i32;
    match opcode {
        FORGET | BATCH_FORGET | INTERRUPT | WRITE => return None,
        INIT => {
            // Version, read-ahead, flags, background and congestion, size of a
            // write, granularity of time.
            for number in [7, 31, 0, 0, 12 | 9 << 16, 4096, 1] {
                body.extend(u32::to_le_bytes(number));
            }
            body.resize(64, 0);
        }
        LOOKUP => {
            for number in [2, 0, 3600, 3600, 0] {
                body.extend(u64::to_le_bytes(number));
            }
            body.extend(attributes(2));
        }
        GETATTR | SETATTR => {
            for number in [3600_u64, 0] {
                body.extend(number.to_le_bytes());
            }
            body.extend(attributes(node));
        }
        OPEN | OPENDIR => body.resize(16, 0),
        READ => body.resize(FILE_SIZE as usize, b'x'),
        // ENOSYS
        _ => error = -38,
    }
    let mut answer = Vec::new();
    answer.extend((16 + body.len() as u32).to_le_bytes());
    answer.extend(error.to_le_bytes());
    answer.extend(unique.to_le_bytes());
    answer.extend(body);
    Some(answer)
}

/// The folder is node 1, the file node 2.
fn attributes(node: u64) -> Vec<u8> {
    let mode = if node == 1 { 0o040_755 } else { 0o100_666 };
    let mut bytes = Vec::new();
    for number in [node, FILE_SIZE, 8, 0, 0, 0] {
        bytes.extend(u64::to_le_bytes(number));
    }
    // Three times' nanoseconds, mode, links, owner, group, device, block size, flags.
    for number in [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0] {
        bytes.extend(u32::to_le_bytes(number));
    }
    bytes
}
