//! The names of users, from a file like `/etc/passwd`.
//!
//! The name services of the C library are not used: they can wait for a server, and a statically
//! linked program has none. A read of the file can block as well, so a thread reads it, again
//! after each change, and the names are those that it has read last.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use psstat_matcher::file::FileStamp;
use psstat_sampler::spawn_with_private_fd_table;

use crate::procfs;

/// How often the thread checks whether the file has changed.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How long [`UserNames::start`] waits for the first read.
const FIRST_READ: Duration = Duration::from_secs(1);
/// More of the file is not read, in bytes.
const MAX_LEN: u64 = 64 << 20;
const STACK_SIZE: usize = 256 << 10;

type Names = HashMap<u32, Box<[u8]>>;

/// The names of users by their ids.
#[derive(Debug)]
pub struct UserNames {
    shared: Arc<Shared>,
    /// The names that are in use, and their version.
    names: Arc<Names>,
    version: u64,
}

/// The data that the thread shares with its owner.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// The state has changed.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    names: Arc<Names>,
    /// The number of changes of the names; 0 before the first read.
    version: u64,
    /// The thread has to end.
    is_closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No thread panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file with the names of the users of a procfs: `etc/passwd` in a capture, else
/// `/etc/passwd`.
pub fn file_of(proc: &Path) -> PathBuf {
    let is_capture = procfs::is_procfs(proc).is_ok_and(|is_procfs| !is_procfs);
    if is_capture { proc.join("etc/passwd") } else { PathBuf::from("/etc/passwd") }
}

impl UserNames {
    /// Starts to read a file, and waits for at most a second until it is read.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(file: PathBuf) -> io::Result<UserNames> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = Builder::new().name("users".into()).stack_size(STACK_SIZE);
        // Stderr is kept anyway.
        spawn_with_private_fd_table(thread, Arc::new(io::stderr()), move |_| {
            watch(&file, &of_thread);
        })?;
        let mut users = UserNames { shared, names: Arc::default(), version: 0 };
        let state = users.shared.lock();
        let wait = |state: &mut State| state.version == 0;
        drop(users.shared.changed.wait_timeout_while(state, FIRST_READ, wait));
        users.update();
        Ok(users)
    }

    /// Takes the names that were read last. Returns whether they have changed.
    pub fn update(&mut self) -> bool {
        let state = self.shared.lock();
        if state.version == self.version {
            return false;
        }
        self.version = state.version;
        self.names = Arc::clone(&state.names);
        true
    }

    /// The name of a user.
    pub fn name(&self, uid: u32) -> Option<&[u8]> {
        self.names.get(&uid).map(|name| &name[..])
    }
}

impl Drop for UserNames {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
    }
}

/// Reads the file after each change until the owner ends.
fn watch(file: &Path, shared: &Shared) {
    let mut stamp = None;
    let mut state = shared.lock();
    while !state.is_closed {
        drop(state);
        let now = std::fs::metadata(file).ok().map(|metadata| FileStamp::from(&metadata));
        let is_first = shared.lock().version == 0;
        // If it changes while it is read, it has another stamp at the next check.
        let names = (now != stamp || is_first).then(|| names(&read(file)));
        stamp = now;
        state = shared.lock();
        if let Some(names) = names.filter(|names| is_first || *names != *state.names) {
            state.names = Arc::new(names);
            state.version += 1;
            shared.changed.notify_all();
        }
        let wait = |state: &mut State| !state.is_closed;
        let waited = shared.changed.wait_timeout_while(state, POLL_INTERVAL, wait);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// The contents; empty if the file cannot be read.
fn read(file: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    // A part that was read before an error is used.
    let _ = File::open(file).and_then(|file| file.take(MAX_LEN).read_to_end(&mut text));
    text
}

/// The names in lines `NAME:PASSWORD:UID:…`. As by getpwuid(3), the first line with an id counts.
pub fn names(text: &[u8]) -> HashMap<u32, Box<[u8]>> {
    let mut names = Names::new();
    for line in text.split(|&byte| byte == b'\n') {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next().filter(|name| !name.is_empty());
        let uid = fields.nth(1).and_then(|uid| str::from_utf8(uid).ok()?.parse().ok());
        if let (Some(name), Some(uid)) = (name, uid) {
            names.entry(uid).or_insert_with(|| name.into());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn name(users: &UserNames, uid: u32) -> String {
        String::from_utf8_lossy(users.name(uid).unwrap_or_default()).into_owned()
    }

    #[test]
    fn lines_of_passwd() {
        let text = b"root:x:0:0:root:/root:/bin/sh\n\n# a:x:1\ntoor:x:0:0::/:\nweb:x:33:33::/:/x\n\
            +::::::\nbad:x:-1:0\nshort:x\n:x:5:5\nlast:x:7";
        let names = names(text);
        let mut all: Vec<(u32, &[u8])> = names.iter().map(|(uid, name)| (*uid, &**name)).collect();
        all.sort_unstable();
        assert_eq!(all, [(0, &b"root"[..]), (1, b"# a"), (7, b"last"), (33, b"web")]);
    }

    #[test]
    fn changes_are_noticed() {
        let dir = std::env::temp_dir().join(format!("psstat-users-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let file = dir.join("passwd");
        std::fs::write(&file, "a:x:5:5\n").unwrap();
        let mut users = UserNames::start(file.clone()).unwrap();
        assert_eq!((name(&users, 5), name(&users, 6)), ("a".into(), String::new()));
        assert!(!users.update());
        // As useradd replaces it.
        std::fs::write(dir.join("new"), "a:x:5:5\nb:x:6:6\n").unwrap();
        std::fs::rename(dir.join("new"), &file).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !users.update() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(name(&users, 6), "b");
        std::fs::remove_dir_all(&dir).unwrap();
        // The shared state is released when the thread has ended.
        let shared = Arc::downgrade(&users.shared);
        drop(users);
        while shared.strong_count() > 0 {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A file that blocks, here a pipe without a writer, delays only the first read.
    #[test]
    fn file_that_blocks() {
        let dir = std::env::temp_dir().join(format!("psstat-users-fifo-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let file = dir.join("passwd");
        let status = std::process::Command::new("mkfifo").arg(&file).status().unwrap();
        assert!(status.success());
        let mut users = UserNames::start(file.clone()).unwrap();
        assert!(!users.update() && users.name(0).is_none());
        std::fs::write(&file, "a:x:5:5\n").unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !users.update() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(name(&users, 5), "a");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
