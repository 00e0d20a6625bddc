//! The rows of the last pass over processes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::row::{self, AnyRow, CpuRow, KnownCpu, Row};
use super::{BUFFER, MAX_TARGETS, Program};
use crate::source::{ReadRequest, Values};

/// The flags of a `struct target` of `processes.bpf.c`, in its first word.
const ONLY_CPU: u64 = 1 << 32;
const IS_MAIN: u64 = 2 << 32;

/// The rows of the last pass.
#[derive(Debug)]
pub(super) struct Snapshot {
    program: Arc<Program>,
    /// Complete ones, by pid.
    rows: Vec<Row>,
    /// Whether the io of this row was given to the driver.
    is_io_used: Vec<bool>,
    /// Those with CPU time alone, by pid.
    cpu_rows: Vec<CpuRow>,
    /// The CPU time of the processes of the last pass, with others of the one before, by pid.
    known: Vec<KnownCpu>,
    known_before: Vec<KnownCpu>,
    buffer: Vec<u8>,
    /// A time, and the same by the clock of the rows, in nanoseconds.
    began: Option<(Instant, u64)>,
}

/// Finds entries of a list that is sorted by pid, in ascending order.
struct Known<'a>(&'a [KnownCpu]);

impl Known<'_> {
    fn find(&mut self, pid: u32) -> Option<KnownCpu> {
        while let Some((first, rest)) = self.0.split_first()
            && first.pid < pid
        {
            self.0 = rest;
        }
        self.0.first().copied().filter(|known| known.pid == pid)
    }
}

impl Snapshot {
    /// Without rows.
    pub(super) fn new(program: Arc<Program>) -> Snapshot {
        Snapshot {
            program,
            rows: Vec::new(),
            is_io_used: Vec::new(),
            cpu_rows: Vec::new(),
            known: Vec::new(),
            known_before: Vec::new(),
            buffer: vec![0; BUFFER],
            began: None,
        }
    }

    /// Reads these processes, and sorts the requests by pid. After an error there are no rows.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(super) fn take(&mut self, requests: &mut Vec<ReadRequest>) -> Result<(), Errno> {
        self.forget();
        let now = clock_gettime(ClockId::Monotonic);
        let nanoseconds = Duration::try_from(now).unwrap_or_default().as_nanos();
        self.began = Some((Instant::now(), u64::try_from(nanoseconds).unwrap_or(u64::MAX)));
        if requests.is_empty() {
            return Ok(());
        }
        // As the slots of most processes are.
        if !requests.is_sorted_by_key(|request| request.pid) {
            requests.sort_unstable_by_key(|request| request.pid);
        }
        requests.dedup_by_key(|request| request.pid);
        std::mem::swap(&mut self.known, &mut self.known_before);
        self.known.clear();
        let result = requests.chunks(MAX_TARGETS).try_for_each(|requests| self.read(requests));
        self.keep_known(requests);
        if result.is_err() {
            self.forget();
            self.known.clear();
            self.began = None;
        }
        self.is_io_used.resize(self.rows.len(), false);
        result
    }

    /// Keeps the known times of processes that were not requested, for one more pass. `requests`: by
    /// pid.
    fn keep_known(&mut self, requests: &[ReadRequest]) {
        let kept = self.known_before.iter().filter(|known| !known.is_kept).filter(|known| {
            requests.binary_search_by_key(&known.pid, |request| request.pid).is_err()
        });
        let read = self.known.len();
        self.known.extend(kept.map(|&known| KnownCpu { is_kept: true, ..known }));
        if self.known.len() > read {
            self.known.sort_unstable_by_key(|known| known.pid);
        }
    }

    fn read(&mut self, requests: &[ReadRequest]) -> Result<(), Errno> {
        let Snapshot { program, rows, cpu_rows, known, known_before, buffer, .. } = self;
        let mut before = Known(known_before);
        let targets = requests.iter().map(|request| {
            // The order of the numbers in memory: the program is for little-endian machines alone.
            let pid = u64::from(request.pid);
            let known = before.find(request.pid);
            match (request.values, known) {
                (Values::All, _) => [pid, 0],
                (Values::Cpu, Some(known)) => [IS_MAIN | ONLY_CPU | pid, known.main],
                (Values::Cpu, None) => [ONLY_CPU | pid, 0],
                (Values::AllUnless(cpu), Some(known)) if known.total == cpu.get() => {
                    [IS_MAIN | pid, known.main]
                }
                (Values::AllUnless(cpu), _) => [pid, cpu.get()],
            }
        });
        let mut before = Known(known_before);
        program.read(targets, 0, buffer, |bytes| {
            row::parse(bytes, |row| {
                let row = match row {
                    AnyRow::Complete(row) => {
                        rows.push(row);
                        row.cpu
                    }
                    AnyRow::Cpu(row) => {
                        cpu_rows.push(row);
                        row
                    }
                    AnyRow::Unchanged(row) => {
                        let Some(known) = before.find(row.pid) else { return };
                        let row = row.unchanged(known);
                        cpu_rows.push(row);
                        row
                    }
                };
                known.extend(row.known());
            })
        })
    }

    /// Reads all values of one process now, if it exists. The rows stay.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(super) fn read_one(&mut self, pid: u32) -> Result<Option<Row>, Errno> {
        let Snapshot { program, buffer, .. } = self;
        let mut found = None;
        program.read(std::iter::once([pid.into(), 0]), 0, buffer, |bytes| {
            row::parse(bytes, |row| {
                if let AnyRow::Complete(row) = row {
                    found = Some(row);
                }
            })
        })?;
        Ok(found)
    }

    /// Replaces the row of a process that has one.
    pub(super) fn set_row(&mut self, row: Row) {
        match self.find(row.pid()) {
            Ok(at) => {
                self.rows[at] = row;
                self.is_io_used[at] = false;
            }
            Err(at) => {
                self.rows.insert(at, row);
                self.is_io_used.insert(at, false);
            }
        }
    }

    /// Forgets the rows.
    pub(super) fn forget(&mut self) {
        self.rows.clear();
        self.is_io_used.clear();
        self.cpu_rows.clear();
    }

    /// The instant at which the last pass began, unless it failed.
    pub(super) fn began(&self) -> Option<Instant> {
        self.began.map(|(began, _)| began)
    }

    /// The instant of a row.
    pub(super) fn instant(&self, row: &CpuRow) -> Option<Instant> {
        let (began, nanoseconds) = self.began?;
        began.checked_add(Duration::from_nanos(row.time.saturating_sub(nanoseconds)))
    }

    fn find(&self, pid: u32) -> Result<usize, usize> {
        self.rows.binary_search_by_key(&pid, Row::pid)
    }

    /// The complete row of the process that had this pid.
    pub(super) fn row(&self, pid: u32) -> Option<&Row> {
        self.rows.get(self.find(pid).ok()?)
    }

    /// Its CPU time, from either kind of row.
    pub(super) fn cpu_row(&self, pid: u32) -> Option<&CpuRow> {
        if let Some(row) = self.row(pid) {
            return Some(&row.cpu);
        }
        let at = self.cpu_rows.binary_search_by_key(&pid, |row| row.pid).ok()?;
        self.cpu_rows.get(at)
    }

    /// Notes that the io of a row is used; false if it was already, or there is none.
    pub(super) fn use_io(&mut self, pid: u32) -> bool {
        let used = self.find(pid).ok().and_then(|at| self.is_io_used.get_mut(at));
        used.is_some_and(|used| !std::mem::replace(used, true))
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, id};

    use super::*;
    use crate::bpf::load_in_test;

    /// More processes than one pass of the kernel reads: those at both ends of the request are found.
    #[test]
    fn long_requests_are_read_in_parts() {
        let Some(bpf) = load_in_test() else { return };
        let mut snapshot = bpf.snapshot();
        let values = Values::All;
        // Most of them do not exist.
        let others = (1..=2 * MAX_TARGETS as u32).filter(|&pid| pid < id());
        let missing = (0..2 * MAX_TARGETS as u32).map(|number| u32::MAX / 2 + number);
        let pids = others.chain(missing).chain([id()]);
        let mut requests: Vec<_> = pids.map(|pid| ReadRequest { pid, values }).collect();
        snapshot.take(&mut requests).unwrap();
        assert!(requests.len() > MAX_TARGETS);
        assert_eq!(snapshot.row(1).map(Row::pid), Some(1));
        assert_eq!(snapshot.row(id()).map(Row::pid), Some(id()));
        assert!(snapshot.rows.is_sorted_by(|one, next| one.pid() < next.pid()));
    }

    /// Where windows follow each other, the pass at the start of one is over new processes alone.
    #[test]
    fn pass_over_others_keeps_known_times() {
        let Some(bpf) = load_in_test() else { return };
        let mut snapshot = bpf.snapshot();
        let mut is_unchanged = |pid, values| {
            snapshot.take(&mut vec![ReadRequest { pid, values }]).unwrap();
            snapshot.cpu_row(pid).unwrap().is_unchanged()
        };
        let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(!is_unchanged(sleeper.id(), Values::All));
        while !is_unchanged(sleeper.id(), Values::Cpu) {
            std::thread::sleep(Duration::from_millis(10));
        }
        is_unchanged(id(), Values::All);
        let is_known = is_unchanged(sleeper.id(), Values::Cpu);
        // Not for long: it may have exited.
        is_unchanged(id(), Values::All);
        is_unchanged(id(), Values::All);
        let is_known_later = is_unchanged(sleeper.id(), Values::Cpu);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert!(is_known && !is_known_later, "{is_known} {is_known_later}");
    }
}
