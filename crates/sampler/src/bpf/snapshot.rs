//! One pass over all processes.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::row::{self, Row};
use super::sys;

/// The kernel gives at most this number of bytes in one read, always whole rows.
const BUFFER: usize = 32 * 1024;

/// Iterators over processes are made of them.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) processes: OwnedFd,
    pub(super) cpu_times: OwnedFd,
}

/// The rows of the last pass.
#[derive(Debug)]
pub(super) struct Snapshot {
    links: Arc<Links>,
    /// By pid.
    rows: Vec<Row>,
    /// Whether the io of this row was given to the driver.
    is_io_used: Vec<bool>,
    buffer: Vec<u8>,
    /// A time, and the same by the clock of the rows, in nanoseconds.
    began: Option<(Instant, u64)>,
}

impl Snapshot {
    /// Without rows.
    pub(super) fn new(links: Arc<Links>) -> Snapshot {
        Snapshot {
            links,
            rows: Vec::new(),
            is_io_used: Vec::new(),
            buffer: vec![0; BUFFER],
            began: None,
        }
    }

    /// Reads all processes. After an error there are no rows.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(super) fn take(&mut self) -> Result<(), Errno> {
        self.read(Self::read_rows)
    }

    /// Reads CPU time of all processes. After an error there are no rows.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(super) fn take_cpu_times(&mut self) -> Result<(), Errno> {
        self.read(Self::read_cpu_rows)
    }

    fn read(&mut self, read: fn(&mut Snapshot) -> Result<(), Errno>) -> Result<(), Errno> {
        self.rows.clear();
        self.is_io_used.clear();
        let now = clock_gettime(ClockId::Monotonic);
        let nanoseconds = Duration::try_from(now).unwrap_or_default().as_nanos();
        self.began = Some((Instant::now(), u64::try_from(nanoseconds).unwrap_or(u64::MAX)));
        let result = read(self);
        if result.is_err() {
            self.rows.clear();
            self.began = None;
        }
        // The kernel gives them in this order, except that a process whose main thread is replaced
        // (an exec by another thread) can come twice.
        if !self.rows.is_sorted_by(|one, next| one.pid < next.pid) {
            self.rows.sort_unstable_by_key(|row| (row.pid, std::cmp::Reverse(row.time)));
            self.rows.dedup_by_key(|row| row.pid);
        }
        self.is_io_used.resize(self.rows.len(), false);
        result
    }

    fn read_rows(&mut self) -> Result<(), Errno> {
        let Snapshot { links, rows, buffer, .. } = self;
        let add = |bytes: &[u8; row::SIZE]| rows.push(Row::parse(bytes));
        each_row(links.processes.as_fd(), buffer, add)
    }

    fn read_cpu_rows(&mut self) -> Result<(), Errno> {
        let Snapshot { links, rows, buffer, .. } = self;
        let add = |bytes: &[u8; row::CPU_SIZE]| rows.push(Row::parse_cpu(bytes));
        each_row(links.cpu_times.as_fd(), buffer, add)
    }

    /// Forgets the rows.
    pub(super) fn forget(&mut self) {
        self.rows.clear();
        self.is_io_used.clear();
    }

    /// Whether there are no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The instant at which the last pass began, unless it failed.
    pub(super) fn began(&self) -> Option<Instant> {
        self.began.map(|(began, _)| began)
    }

    /// The instant of a row.
    pub(super) fn instant(&self, row: &Row) -> Option<Instant> {
        let (began, nanoseconds) = self.began?;
        began.checked_add(Duration::from_nanos(row.time.saturating_sub(nanoseconds)))
    }

    fn find(&self, pid: u32) -> Option<usize> {
        self.rows.binary_search_by_key(&pid, |row| row.pid).ok()
    }

    /// The row of the process that had this pid.
    pub(super) fn row(&self, pid: u32) -> Option<&Row> {
        self.rows.get(self.find(pid)?)
    }

    /// Notes that the io of a row is used; false if it was already.
    pub(super) fn use_io(&mut self, pid: u32) -> bool {
        let used = self.find(pid).and_then(|at| self.is_io_used.get_mut(at));
        used.is_some_and(|used| !std::mem::replace(used, true))
    }
}

/// Calls `add` with each row of a pass.
fn each_row<const SIZE: usize>(
    link: BorrowedFd<'_>,
    buffer: &mut [u8],
    mut add: impl FnMut(&[u8; SIZE]),
) -> Result<(), Errno> {
    let iterator = sys::new_iterator(link)?;
    loop {
        let length = sys::read_rows(iterator.as_fd(), buffer)?;
        if length == 0 {
            return Ok(());
        }
        let (rows, rest) = buffer[..length].as_chunks::<SIZE>();
        if !rest.is_empty() {
            return Err(Errno::OVERFLOW);
        }
        rows.iter().for_each(&mut add);
    }
}
