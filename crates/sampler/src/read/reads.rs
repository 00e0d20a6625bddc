//! The reads of the sampler: those that cannot block at once, the others through the
//! [executor](crate::executor).

use std::ffi::CStr;
use std::sync::Arc;

use psstat_proc_parse::{LimitValue, Resource, ResourceLimit, Stat, StatCore, Status};
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::blocking::{Lock, MAX_STAT, Read, StatBuffer, StatOf, unread};
use super::outcome::{Outcome, Unread};
use super::process::{self, identify, parsed};
use super::procfs::{ProcDir, Procfs, READ, pread_start};
use super::stuck_readers::{self, StuckReaders};
use super::text_file::TextFile;
use crate::executor::{Answer, request};
use crate::health::BlockedRead;
use crate::ids::ProcessKey;

/// The size of a buffer for `limits`: 16 rows of at most 80 bytes, and room for more.
const MAX_LIMITS: usize = 4096;

/// Reads the files of processes.
#[derive(Debug)]
pub(crate) struct Reads {
    pub(crate) procfs: Arc<Procfs>,
    pub(crate) stuck: StuckReaders,
    stat_buffer: Option<StatBuffer>,
}

impl Reads {
    pub(crate) fn new(procfs: Arc<Procfs>, limits: stuck_readers::Limits) -> Reads {
        Reads { procfs, stuck: StuckReaders::new(limits), stat_buffer: None }
    }

    /// Why a read of this process that can block on this lock is not attempted.
    pub(crate) fn refusal(&self, pid: u32, lock: Lock) -> Option<Unread> {
        if self.stuck.is_stuck_on_lock(pid, lock) {
            return Some(Unread::Blocked);
        }
        let may_be_limited = self.stuck.any_user_at_limit();
        let is_limited = may_be_limited && self.stuck.is_user_at_limit(self.real_uid(pid));
        is_limited.then_some(Unread::Deferred)
    }

    /// Performs a read that can block. `None`: it blocks, and does not come back.
    pub(crate) async fn request(&mut self, pid: u32, read: Read) -> Option<Read> {
        let (blocked, lock) = (BlockedRead { pid, file: read.file() }, read.lock());
        match request(read).await {
            Answer::Read(read) => Some(read),
            Answer::Blocked(thread) => {
                let user = self.real_uid(pid);
                self.stuck.add(blocked, lock, user, thread);
                None
            }
        }
    }

    /// Reads a text of a process by the pid of a thread of it, at most `limit` bytes.
    pub(crate) async fn text(
        &mut self,
        pid: u32,
        tid: u32,
        file: TextFile,
        limit: usize,
        text: &mut Vec<u8>,
    ) -> Outcome<()> {
        // A procfs has a directory for each thread, although it does not list it.
        let process = match self.procfs.is_live || tid == pid {
            true => ProcDir::Pid(tid),
            false => ProcDir::Thread(pid, tid),
        };
        if let Some(unread) = self.refusal(pid, file.lock()) {
            return Outcome::Unread(unread);
        }
        let buffer = std::mem::take(text);
        let read = Read::Text { process, file, limit, text: buffer, outcome: unread() };
        match self.request(pid, read).await {
            Some(Read::Text { text: filled, outcome, .. }) => {
                *text = filled;
                outcome
            }
            _ => Outcome::Unread(Unread::Blocked),
        }
    }

    /// Reads `stat` of a process with this pid.
    async fn stat_text<T>(
        &mut self,
        pid: u32,
        of: StatOf,
        parse: impl FnOnce(&[u8]) -> Outcome<T>,
    ) -> Outcome<T> {
        if let Some(unread) = self.refusal(pid, Lock::Program) {
            return Outcome::Unread(unread);
        }
        let buffer = self.stat_buffer.take().unwrap_or_else(|| Box::new([0; MAX_STAT]));
        let read = Read::Stat { of, buffer, outcome: unread() };
        let Some(Read::Stat { buffer, outcome, .. }) = self.request(pid, read).await else {
            return Outcome::Unread(Unread::Blocked);
        };
        let parsed = outcome.and_then(|length| parse(buffer.get(..length).unwrap_or_default()));
        self.stat_buffer = Some(buffer);
        parsed
    }

    /// The first fields of `stat` of the process that has this pid now.
    pub(crate) async fn stat_core<T>(
        &mut self,
        pid: u32,
        take: impl FnOnce(&StatCore<'_>) -> T,
    ) -> Outcome<T> {
        let parse = |bytes: &[u8]| parsed(StatCore::parse(bytes)).map(|stat| take(&stat));
        self.stat_text(pid, StatOf::Pid(pid), parse).await
    }

    /// All fields of `stat`.
    pub(crate) async fn stat<T>(
        &mut self,
        pid: u32,
        of: StatOf,
        take: impl FnOnce(&Stat<'_>) -> T,
    ) -> Outcome<T> {
        let parse = |bytes: &[u8]| parsed(Stat::parse(bytes)).map(|stat| take(&stat));
        self.stat_text(pid, of, parse).await
    }

    /// Opens the directory of this process and of no other.
    pub(crate) async fn open_process_dir(&mut self, key: ProcessKey) -> Outcome<OwnedFd> {
        let dir = match process::open_process_dir(&self.procfs, key) {
            Ok(dir) => return dir,
            Err(dir) => dir,
        };
        let again = match rustix::io::fcntl_dupfd_cloexec(&dir, 0) {
            Ok(again) => again,
            Err(errno) => return errno.into(),
        };
        let parse = |bytes: &[u8]| parsed(StatCore::parse(bytes)).map(|stat| stat.starttime.0);
        let starttime = self.stat_text(key.pid, StatOf::Dir(again), parse).await;
        starttime.and_then(|starttime| identify(dir, starttime, key))
    }

    /// Opens a file of this process and of no other: opens the directory, compares it with the
    /// key, then opens the file relative to the directory. A reused pid is [`Outcome::Exited`].
    pub(crate) async fn open_in(
        &mut self,
        key: ProcessKey,
        name: &CStr,
        flags: OFlags,
    ) -> Outcome<OwnedFd> {
        let dir = self.open_process_dir(key).await;
        dir.and_then(|dir| process::open_at(&self.procfs, &dir, name, flags))
    }

    /// Opens a directory of a process for listing.
    pub(crate) async fn open_dir(&mut self, key: ProcessKey, name: &CStr) -> Outcome<OwnedFd> {
        self.open_in(key, name, READ.union(OFlags::DIRECTORY)).await
    }

    /// Reads `status`, which takes no lock that could block.
    pub(crate) fn status<T>(
        &self,
        pid: u32,
        take: impl FnOnce(&Status<'_>) -> Option<T>,
    ) -> Option<T> {
        let mut buffer = [0; 4096];
        let file = self.procfs.open_file(ProcDir::Pid(pid), c"status", READ).value()?;
        let text = pread_start(&file, &mut buffer).value()?;
        // With very many groups the text does not fit.
        let end = text.iter().rposition(|&byte| byte == b'\n')?;
        take(&Status::parse(&text[..=end]).ok()?)
    }

    /// Reads the soft limit of open descriptors of the process that has this pid now; `u64::MAX`
    /// for no limit. `limits` takes no lock that could block.
    pub(crate) fn fd_limit(&self, pid: u32) -> Outcome<u64> {
        let mut buffer = [0; MAX_LIMITS];
        let file = self.procfs.open_file(ProcDir::Pid(pid), c"limits", READ);
        let text = file.and_then(|file| pread_start(&file, &mut buffer));
        text.and_then(|text| match ResourceLimit::find(text, Resource::OpenFiles) {
            Ok(Some(limit)) => Outcome::Value(match limit.soft {
                LimitValue::Value(soft) => soft,
                LimitValue::Unlimited => u64::MAX,
            }),
            Ok(None) => Errno::INVAL.into(),
            Err(error) => error.into(),
        })
    }

    /// The real user id of a process. The owner of its directory does not identify the user: a
    /// process can make root the owner (`PR_SET_DUMPABLE`).
    pub(crate) fn real_uid(&self, pid: u32) -> Option<u32> {
        self.status(pid, |status| status.uid.map(|ids| ids.real))
    }
}
