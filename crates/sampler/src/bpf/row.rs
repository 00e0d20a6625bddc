//! The rows that the program writes.

use psstat_proc_parse::{Pages, ProcessState, Statm};

use crate::cpu_time::{CpuSamples, CpuTime};
use crate::fault_counts::FaultCounts;
use crate::io_counters::IoCounters;
use crate::read::outcome::Outcome;
use crate::read::status::StatusValues;
use crate::source::ParentStat;
use crate::usage::ProcessReadings;

/// The sizes of the parts of a row: its head, CPU time, and the other values.
const HEAD_SIZE: usize = 2 * 8;
const CPU_SIZE: usize = 3 * 8;
const REST_SIZE: usize = 30 * 8;

/// The bits of `flags` in `processes.bpf.c`.
const IS_CONSISTENT: u32 = 1;
const HAS_MEMORY: u32 = 2;
const HAS_MM: u32 = 4;
const HAS_FDS: u32 = 8;
const HAS_CPU: u32 = 16;
const IS_COMPLETE: u32 = 32;
const IS_SINGLE: u32 = 64;
const IS_UNCHANGED: u32 = 128;

const EXIT_ZOMBIE: u32 = 0x20;

/// CPU time of a process, and what identifies it: `struct cpu_row` of `processes.bpf.c`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CpuRow {
    pub(super) pid: u32,
    flags: u32,
    /// The time of the reading by the monotonic clock, in nanoseconds.
    pub(super) time: u64,
    /// In nanoseconds by the boot-time clock. 0 if it was not requested.
    pub(super) start: u64,
    /// Of all threads, living and ended, in nanoseconds.
    cpu: u64,
    /// Of the main thread.
    main_cpu: u64,
}

/// The numbers of one process: `struct row` of `processes.bpf.c`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row {
    pub(super) cpu: CpuRow,
    pub(super) ppid: u32,
    threads: u32,
    state: u32,
    exit_state: u32,
    /// Grows with each exec.
    exec_id: u64,
    /// Of all threads, living and ended; times in nanoseconds.
    user: u64,
    system: u64,
    io: [u64; 7],
    faults: FaultCounts,
    switches: (u64, u64),
    /// Of the children that it reaped.
    children: CpuTime,
    child_faults: FaultCounts,
    /// In pages.
    vsize: u64,
    /// Addresses.
    text: (u64, u64),
    data: u64,
    /// In pages: of files, anonymous, swapped out, shared memory.
    resident: [i64; 4],
    fds: u64,
    fd_limit: u64,
}

/// Reads the fields of a row in their order.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn next<const N: usize>(&mut self) -> [u8; N] {
        let Some((field, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *field
    }

    fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.next())
    }

    fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.next())
    }

    fn pair(&mut self) -> (u64, u64) {
        (self.u64(), self.u64())
    }

    fn faults(&mut self) -> FaultCounts {
        let (minor, major) = self.pair();
        FaultCounts { minor, major }
    }
}

impl CpuRow {
    fn parse_head(bytes: &[u8; HEAD_SIZE]) -> CpuRow {
        let mut fields = Fields(bytes);
        // The expressions are evaluated in this order.
        CpuRow { pid: fields.u32(), flags: fields.u32(), time: fields.u64(), ..CpuRow::default() }
    }

    fn parse(head: CpuRow, bytes: &[u8; CPU_SIZE]) -> CpuRow {
        let mut fields = Fields(bytes);
        CpuRow { start: fields.u64(), cpu: fields.u64(), main_cpu: fields.u64(), ..head }
    }

    /// The row of a process that has not run since this time was known.
    pub(super) fn unchanged(self, known: KnownCpu) -> CpuRow {
        let flags = IS_UNCHANGED | IS_SINGLE | HAS_CPU;
        CpuRow { flags, cpu: known.total, main_cpu: known.main, ..self }
    }

    /// Whether the process has not run since its CPU time was known, so that it is the same one.
    pub(super) fn is_unchanged(&self) -> bool {
        self.flags & IS_UNCHANGED != 0
    }

    /// CPU time by which the program can find out that the process has not run. `None` if it has
    /// several threads.
    pub(super) fn known(&self) -> Option<KnownCpu> {
        let is_known = self.flags & IS_SINGLE != 0 && self.total().is_some() && self.main_cpu != 0;
        is_known.then_some(KnownCpu {
            pid: self.pid,
            total: self.cpu,
            main: self.main_cpu,
            is_kept: false,
        })
    }

    /// The start time in ticks, as in `/proc/PID/stat`.
    pub(super) fn start_ticks(&self, tick_nanoseconds: u64) -> u64 {
        self.start / tick_nanoseconds.max(1)
    }

    /// CPU time of all threads, in nanoseconds.
    pub(super) fn total(&self) -> Option<u64> {
        (self.flags & HAS_CPU != 0).then_some(self.cpu)
    }
}

/// CPU time of a process that has one thread, in nanoseconds: with that of threads that have ended,
/// and of its main thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownCpu {
    pub(super) pid: u32,
    pub(super) total: u64,
    pub(super) main: u64,
    /// The last pass did not request the process.
    pub(super) is_kept: bool,
}

/// One of the rows of a read.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub(super) enum AnyRow {
    /// The process has not run.
    Unchanged(CpuRow),
    Cpu(CpuRow),
    Complete(Row),
}

/// Calls `add` with each row; false if the last one is cut off.
pub(super) fn parse(mut bytes: &[u8], mut add: impl FnMut(AnyRow)) -> bool {
    while let Some((head, rest)) = bytes.split_first_chunk() {
        let head = CpuRow::parse_head(head);
        bytes = rest;
        if head.is_unchanged() {
            add(AnyRow::Unchanged(head));
            continue;
        }
        let Some((cpu, rest)) = bytes.split_first_chunk() else { return false };
        let cpu = CpuRow::parse(head, cpu);
        bytes = rest;
        if cpu.flags & IS_COMPLETE == 0 {
            add(AnyRow::Cpu(cpu));
            continue;
        }
        let Some((body, rest)) = bytes.split_first_chunk() else { return false };
        add(AnyRow::Complete(Row::parse(cpu, body)));
        bytes = rest;
    }
    bytes.is_empty()
}

impl Row {
    fn parse(cpu: CpuRow, bytes: &[u8; REST_SIZE]) -> Row {
        let mut fields = Fields(bytes);
        // As above.
        Row {
            cpu,
            ppid: fields.u32(),
            threads: fields.u32(),
            state: fields.u32(),
            exit_state: fields.u32(),
            exec_id: fields.u64(),
            user: fields.u64(),
            system: fields.u64(),
            io: std::array::from_fn(|_| fields.u64()),
            faults: fields.faults(),
            switches: fields.pair(),
            children: {
                let (user, system) = fields.pair();
                CpuTime { user, system }
            },
            child_faults: fields.faults(),
            vsize: fields.u64(),
            text: fields.pair(),
            data: fields.u64(),
            resident: std::array::from_fn(|_| fields.u64().cast_signed()),
            fds: fields.u64(),
            fd_limit: fields.u64(),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.cpu.pid
    }

    /// Whether the counters of the threads are those of one moment. Otherwise none of them is used.
    pub(super) fn is_consistent(&self) -> bool {
        self.cpu.flags & IS_CONSISTENT != 0
    }

    /// A number that grows with each exec.
    pub(super) fn exec_id(&self) -> u64 {
        self.exec_id
    }

    /// CPU time by the kernel's samples.
    pub(super) fn cpu_samples(&self) -> Option<CpuSamples> {
        let total = self.user.saturating_add(self.system);
        self.is_consistent().then_some(CpuSamples { user: self.user, total })
    }

    pub(super) fn io(&self) -> Option<IoCounters> {
        let [rchar, wchar, syscr, syscw, read_bytes, write_bytes, cancelled_write_bytes] =
            self.io.map(u64::cast_signed);
        self.is_consistent().then_some(IoCounters {
            rchar,
            wchar,
            syscr,
            syscw,
            read_bytes,
            write_bytes,
            cancelled_write_bytes,
        })
    }

    /// As a parent. The times of children are in whole ticks, as in `/proc/PID/stat`: the ledger
    /// compares readings of both sources.
    pub(super) fn parent(&self, tick_nanoseconds: u64) -> Option<ParentStat> {
        let tick = tick_nanoseconds.max(1);
        let whole = |time: u64| time - time % tick;
        let CpuTime { user, system } = self.children;
        self.is_consistent().then_some(ParentStat {
            cminflt: self.child_faults.minor,
            faults: self.faults,
            child_faults: self.child_faults,
            children: CpuTime { user: whole(user), system: whole(system) },
            is_zombie: self.exit_state & EXIT_ZOMBIE != 0 && self.threads <= 1,
        })
    }

    pub(super) fn threads(&self) -> u64 {
        u64::from(self.threads)
    }

    /// Voluntary and involuntary context switches of all threads.
    pub(super) fn switches(&self) -> Option<(u64, u64)> {
        self.is_consistent().then_some(self.switches)
    }

    /// The number of descriptors.
    pub(super) fn fds(&self) -> Option<u64> {
        (self.cpu.flags & HAS_FDS != 0).then_some(self.fds)
    }

    /// The soft limit of descriptors; `u64::MAX` for no limit.
    pub(super) fn fd_limit(&self) -> u64 {
        self.fd_limit
    }

    /// The memory, in pages; all zero for a main thread without memory.
    pub(super) fn statm(&self, page_size: u64) -> Option<Statm> {
        if self.cpu.flags & HAS_MEMORY == 0 {
            return None;
        }
        let page = page_size.max(1);
        let pages = |at: usize| u64::try_from(self.resident[at]).unwrap_or(0);
        let shared = pages(0).saturating_add(pages(3));
        let (start, end) = self.text;
        // As the kernel rounds it.
        let text = (end.next_multiple_of(page) - start / page * page) / page;
        let mut statm = Statm::default();
        statm.size = Pages(self.vsize);
        statm.resident = Pages(shared.saturating_add(pages(1)));
        statm.shared = Pages(shared);
        statm.text = Pages(text);
        statm.data = Pages(self.data);
        Some(statm)
    }

    /// The state of the main thread, and the swapped-out memory.
    pub(super) fn status(&self, page_size: u64) -> Option<StatusValues> {
        if self.cpu.flags & HAS_MEMORY == 0 || !self.is_consistent() {
            return None;
        }
        let swap = (self.cpu.flags & HAS_MM != 0)
            .then(|| u64::try_from(self.resident[2]).unwrap_or(0).saturating_mul(page_size));
        let state = self.process_state();
        Some(StatusValues::new(state, u64::from(self.threads), swap))
    }

    /// The state as the kernel shows it (`task_state_index` in `include/linux/sched.h`).
    fn process_state(&self) -> ProcessState {
        const UNINTERRUPTIBLE: u32 = 2;
        const IDLE: u32 = 0x402;
        const RTLOCK_WAIT: u32 = 0x1000;
        const FROZEN: u32 = 0x8000;
        if self.state & IDLE == IDLE {
            return ProcessState::Idle;
        }
        let mut state = (self.state | self.exit_state) & 0x7f;
        if self.state & (RTLOCK_WAIT | FROZEN) != 0 {
            state = UNINTERRUPTIBLE;
        }
        match u32::BITS - state.leading_zeros() {
            0 => ProcessState::Running,
            1 => ProcessState::Sleeping,
            2 => ProcessState::DiskSleep,
            3 => ProcessState::Stopped,
            4 => ProcessState::TracingStop,
            5 => ProcessState::Dead,
            6 => ProcessState::Zombie,
            _ => ProcessState::Parked,
        }
    }

    /// The gauges at the end of a window. `fds`: where their number is known already. False if the
    /// row does not have all of them.
    pub(super) fn read_gauges(
        &self,
        fds: Option<Outcome<u64>>,
        page_size: u64,
        readings: &mut ProcessReadings,
    ) -> bool {
        let known = fds.or_else(|| self.fds().map(Outcome::Value));
        let (Some(fds), Some(statm)) = (known, self.statm(page_size)) else { return false };
        // The last thread is being removed.
        if self.threads == 0 || !self.is_consistent() {
            return false;
        }
        readings.fds = fds;
        readings.threads = Outcome::Value(u64::from(self.threads));
        readings.statm = Outcome::Value(statm);
        true
    }
}
