//! A file system of one file, served by the test, that can stop answering: as a
//! network file system does whose server is gone. The kernel tells nobody of
//! its changes.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// `enum fuse_opcode` of the kernel's include/uapi/linux/fuse.h.
const LOOKUP: u32 = 1;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
/// Those that want no answer: FORGET, INTERRUPT, BATCH_FORGET.
const UNANSWERED: [u32; 3] = [2, 36, 42];

/// Of the whole protocol's header, before what each operation has.
const HEADER: usize = 40;
/// The node of the root is 1 by the protocol.
const ROOT: u64 = 1;
const NODE: u64 = 2;

/// The mounted file system. Unmounted when dropped; who waits for an answer
/// then gets an error.
#[derive(Debug)]
pub(crate) struct Served {
    folder: PathBuf,
    is: Arc<Mutex<Is>>,
    server: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Is {
    content: Vec<u8>,
    /// Counts changes, as the time of the last one.
    version: u64,
    silent: bool,
    ended: bool,
}

impl Served {
    /// Mounts it on `folder`, with the file `name`.
    pub(crate) fn mount(folder: &Path, name: &'static str, content: &str) -> Served {
        let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let data =
            format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let data = std::ffi::CString::new(data).unwrap();
        let flags = MountFlags::NODEV | MountFlags::NOSUID;
        mount("psstat-test", folder, "fuse", flags, Some(data.as_c_str())).unwrap();
        let is = Arc::new(Mutex::new(Is { content: content.into(), version: 1, ..Is::default() }));
        let theirs = Arc::clone(&is);
        let server = std::thread::spawn(move || serve(device, name, &theirs));
        Served { folder: folder.to_owned(), is, server: Some(server) }
    }

    /// Changes the file, as another host does.
    pub(crate) fn write(&self, content: &str) {
        let mut is = self.is.lock().unwrap();
        is.content = content.into();
        is.version += 1;
    }

    /// Answers nothing more, or all that was asked meanwhile.
    pub(crate) fn be_silent(&self, silent: bool) {
        self.is.lock().unwrap().silent = silent;
    }

    /// Takes it off its folder; who hangs in it still does.
    pub(crate) fn detach(&self) {
        unmount(&self.folder, UnmountFlags::DETACH).unwrap();
    }

    /// The server ends, and the mount stays without one.
    pub(crate) fn end(&mut self) {
        self.is.lock().unwrap().ended = true;
        if let Some(server) = self.server.take() {
            server.join().unwrap();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.end();
        }
        let _ = unmount(&self.folder, UnmountFlags::DETACH);
    }
}

fn serve(mut device: File, name: &str, is: &Mutex<Is>) {
    let mut request = vec![0; 256 << 10];
    let tick = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    loop {
        let state = is.lock().unwrap();
        let (silent, ended) = (state.silent, state.ended);
        drop(state);
        if ended {
            return;
        }
        // What is not read yet can be killed; what is read and not answered
        // could not be.
        let mut fds = [PollFd::from_borrowed_fd(device.as_fd(), PollFlags::IN)];
        let asked = rustix::event::poll(&mut fds, Some(&tick)).unwrap() > 0;
        if silent || !asked {
            if silent {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            continue;
        }
        let Ok(len) = device.read(&mut request) else { continue };
        let request = &request[..len];
        let number = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().unwrap());
        let (operation, unique) = (number(4), &request[8..16]);
        let node = u64::from_le_bytes(request[16..24].try_into().unwrap());
        if UNANSWERED.contains(&operation) {
            continue;
        }
        let answer = answer(operation, node, &request[HEADER..], name, &is.lock().unwrap());
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(errno) => (-errno.raw_os_error(), Vec::new()),
        };
        let mut reply = u32::try_from(16 + body.len()).unwrap().to_le_bytes().to_vec();
        reply.extend_from_slice(&error.to_le_bytes());
        reply.extend_from_slice(unique);
        reply.extend_from_slice(&body);
        // One that was interrupted meanwhile is not waited for any more.
        let _ = device.write(&reply);
    }
}

fn answer(
    operation: u32,
    node: u64,
    body: &[u8],
    name: &str,
    is: &Is,
) -> Result<Vec<u8>, rustix::io::Errno> {
    use rustix::io::Errno;
    let words = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    Ok(match operation {
        // major, minor, max_readahead, flags, max_background and
        // congestion_threshold, max_write, time_gran, and what is younger.
        INIT => words(&[7, 31, 0, 0, 0x0010_0010, 4096, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        LOOKUP if node == ROOT && body.strip_suffix(b"\0") == Some(name.as_bytes()) => {
            // nodeid, generation, both times of validity: none.
            let mut entry = words(&[2, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
            entry.extend(attributes(NODE, is));
            entry
        }
        LOOKUP => return Err(Errno::NOENT),
        GETATTR => {
            let mut out = words(&[0, 0, 0, 0]);
            out.extend(attributes(node, is));
            out
        }
        // Handle 0; FOPEN_DIRECT_IO, so that the content is asked for each time.
        OPEN => words(&[0, 0, 1, 0]),
        READ => {
            let at = u64::from_le_bytes(body[8..16].try_into().unwrap());
            let size = u32::from_le_bytes(body[16..20].try_into().unwrap()) as usize;
            let rest = is.content.get(usize::try_from(at).unwrap()..).unwrap_or_default();
            rest[..size.min(rest.len())].to_vec()
        }
        FLUSH | RELEASE => Vec::new(),
        _ => return Err(Errno::NOSYS),
    })
}

/// `struct fuse_attr`.
fn attributes(node: u64, is: &Is) -> Vec<u8> {
    let (mode, size) =
        if node == ROOT { (0o040_755, 0) } else { (0o100_644, is.content.len() as u64) };
    // ino, size, blocks; seconds of atime, mtime, ctime.
    let long = [node, size, 1, is.version, is.version, is.version];
    // Their nanoseconds; mode, nlink, uid, gid, rdev, blksize, flags.
    let short = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0_u32];
    let mut out: Vec<u8> = long.iter().flat_map(|n| n.to_le_bytes()).collect();
    out.extend(short.iter().flat_map(|n| n.to_le_bytes()));
    out
}
