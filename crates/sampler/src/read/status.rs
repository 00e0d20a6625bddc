//! The values of `/proc/PID/status` that the metrics use.

use psstat_proc_parse::{Kilobytes, ProcessState, Status};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::outcome::Outcome;
use super::procfs::{ProcDir, Procfs, READ, pread_start};

/// The size of the buffer at first, for all but processes with very many groups or machines with
/// very many CPUs, and the size above which it does not grow.
const BUFFER: usize = 4096;
const MAX_BUFFER: usize = 2 << 20;

/// Values of `status`: of a process and its main thread, or of another thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatusValues {
    /// Of the thread.
    pub(crate) state: ProcessState,
    /// Of the process.
    pub(crate) threads: u64,
    /// Swapped-out anonymous memory in bytes; `None` without memory.
    pub(crate) swap: Option<u64>,
    /// Context switches of the thread, voluntary and involuntary.
    switches: Option<(u64, u64)>,
}

/// The context switches of a thread since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadSwitches {
    pub(crate) tid: u32,
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
}

impl StatusValues {
    /// Those of another source than the file, without context switches.
    pub(crate) fn new(state: ProcessState, threads: u64, swap: Option<u64>) -> StatusValues {
        StatusValues { state, threads, swap, switches: None }
    }

    /// Whether the process has exited, and is not reaped yet.
    pub(crate) fn is_zombie(&self) -> bool {
        matches!(self.state, ProcessState::Zombie | ProcessState::Dead) && self.threads <= 1
    }
}

/// Reads `status`, which takes no lock that could block.
#[derive(Debug, Default)]
pub(crate) struct StatusReader {
    buffer: Vec<u8>,
}

impl StatusReader {
    /// Reads the values by path.
    pub(crate) fn read(&mut self, procfs: &Procfs, process: ProcDir) -> Outcome<StatusValues> {
        self.read_from(|| procfs.open_file(process, c"status", READ))
    }

    /// Reads the context switches of a thread.
    pub(crate) fn switches(
        &mut self,
        tid: u32,
        open: impl Fn() -> Outcome<OwnedFd>,
    ) -> Outcome<ThreadSwitches> {
        self.read_from(open).and_then(|status| match status.switches {
            Some((voluntary, involuntary)) => {
                Outcome::Value(ThreadSwitches { tid, voluntary, involuntary })
            }
            None => Errno::INVAL.into(),
        })
    }

    fn read_from(&mut self, open: impl Fn() -> Outcome<OwnedFd>) -> Outcome<StatusValues> {
        if self.buffer.is_empty() {
            self.buffer.resize(BUFFER, 0);
        }
        loop {
            let length =
                open().and_then(|file| pread_start(&file, &mut self.buffer).map(<[u8]>::len));
            match length {
                Outcome::Value(length) if length < self.buffer.len() => {
                    return values(self.buffer.get(..length).unwrap_or_default());
                }
                Outcome::Value(_) if self.buffer.len() < MAX_BUFFER => {
                    self.buffer.resize(2 * self.buffer.len(), 0);
                }
                Outcome::Value(_) => return Errno::OVERFLOW.into(),
                other => return other.and_then(|_| Errno::INVAL.into()),
            }
        }
    }
}

fn values(text: &[u8]) -> Outcome<StatusValues> {
    match Status::parse(text) {
        Ok(status) => match (status.state, status.threads) {
            (Some(state), Some(threads)) => Outcome::Value(StatusValues {
                state,
                threads,
                swap: status.vm_swap.map(Kilobytes::to_bytes),
                switches: status.voluntary_ctxt_switches.zip(status.nonvoluntary_ctxt_switches),
            }),
            _ => Errno::INVAL.into(),
        },
        Err(error) => error.into(),
    }
}
