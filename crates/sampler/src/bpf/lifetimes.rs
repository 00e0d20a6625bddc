//! The ring into which the programs of `lifetimes.bpf.c` write what happens to processes.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::{fmt, io};

use aya::maps::{Map, MapData, RingBuf};
use aya::programs::BtfTracePoint;
use aya::programs::tp_btf::BtfTracePointLink;
use aya::{Btf, EbpfLoader, VerifierLogLevel};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::Timespec;

use super::BpfError;
use super::loader::{chain, from_ebpf, from_program};
use crate::cpu_time::CpuTime;
use crate::fault_counts::FaultCounts;
use crate::io_counters::IoCounters;
use crate::lifetimes::{ExecTexts, FinalCounters, FinalCpu, LifeEvent, LifeEventKind, LifeEvents};

/// Made by `cargo xtask bpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/lifetimes.bpf.o");

/// The programs, and their tracepoints.
const PROGRAMS: [(&str, &str); 4] = [
    // In this order: of a process whose end is reported, its fork is too.
    ("on_free", "sched_process_free"),
    ("on_exit", "sched_process_exit"),
    ("on_exec", "sched_process_exec"),
    ("on_fork", "sched_process_fork"),
];

/// The kinds of records.
const FORK: u32 = 1;
const EXEC: u32 = 2;
const UNWAITED: u32 = 3;
const END: u32 = 4;

/// The length of a name of a program, with NULs at its end.
const COMM: usize = 16;
/// Bytes of records that are read at once.
const MAX_BATCH: usize = 64 * 1024;

/// The ring. While it exists, the programs are attached.
pub(super) struct Ring {
    ring: RingBuf<MapData>,
    /// An epoll descriptor, which the kernel makes readable when the ring is half full.
    half_full: Arc<OwnedFd>,
    /// Records that were lost, as far as a record has shown it.
    lost: u64,
    _links: Vec<BtfTracePointLink>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl Ring {
    /// Loads and attaches the programs. `bytes`: the size of the ring, a power of two of at least a
    /// page.
    pub(super) fn load(bytes: u32) -> Result<Ring, BpfError> {
        let mut loader = EbpfLoader::new();
        loader.btf(None);
        let types = Btf::from_sys_fs().map_err(|error| BpfError::Refused(chain(&error)))?;
        let loaded = loader
            .btf(Some(&types))
            .verifier_log_level(VerifierLogLevel::DISABLE)
            .map_max_entries("ring", bytes)
            .load(OBJECT);
        let mut object = loaded.map_err(|error| from_ebpf(&error))?;
        let map = object.take_map("ring").ok_or(BpfError::NotBuilt)?;
        let half_full = epoll(&map).map_err(|error| BpfError::Refused(chain(&error)))?;
        let ring = RingBuf::try_from(map).map_err(|error| BpfError::Refused(chain(&error)))?;
        let mut links = Vec::with_capacity(PROGRAMS.len());
        for (name, tracepoint) in PROGRAMS {
            let program = object.program_mut(name).ok_or(BpfError::NotBuilt)?;
            let program: &mut BtfTracePoint =
                program.try_into().map_err(|error| from_program(&error))?;
            program.load(tracepoint, &types).map_err(|error| from_program(&error))?;
            let link = program.attach().map_err(|error| from_program(&error))?;
            links.push(program.take_link(link).map_err(|error| from_program(&error))?);
        }
        Ok(Ring { ring, half_full: Arc::new(half_full), lost: 0, _links: links })
    }

    /// A descriptor that is readable when the ring is half full.
    pub(super) fn fd(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.half_full)
    }

    /// Moves records into `events`, a limited number of them.
    pub(super) fn take(&mut self, events: &mut LifeEvents) {
        // It is not readable any more, until the kernel wakes again.
        let mut woken = [MaybeUninit::uninit()];
        let _ = epoll::wait(&*self.half_full, &mut woken, Some(&Timespec::default()));
        let mut bytes = 0;
        while bytes < MAX_BATCH
            && let Some(record) = self.ring.next()
        {
            bytes += record.len();
            parse(&record, &mut self.lost, events);
        }
    }
}

/// Polling the ring itself finds it readable with one record. An event of the edge comes only where
/// a program wakes the reader.
fn epoll(map: &Map) -> io::Result<OwnedFd> {
    let Map::RingBuf(map) = map else { return Err(io::ErrorKind::InvalidInput.into()) };
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let flags = EventFlags::IN | EventFlags::ET;
    epoll::add(&epoll, map.fd(), EventData::new_u64(0), flags)?;
    Ok(epoll)
}

/// The fields of a record in their order.
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

    fn time(&mut self) -> CpuTime {
        CpuTime { user: self.u64(), system: self.u64() }
    }

    fn faults(&mut self) -> FaultCounts {
        FaultCounts { minor: self.u64(), major: self.u64() }
    }
}

/// Adds the event of a record. `lost`: the number that the last record showed.
fn parse(record: &[u8], lost: &mut u64, events: &mut LifeEvents) {
    let mut fields = Fields(record);
    let (kind, pid, lost_before, start) = (fields.u32(), fields.u32(), fields.u64(), fields.u64());
    let number = lost_before.saturating_sub(*lost);
    if number > 0 {
        *lost = lost_before;
        events.events.push(LifeEvent { pid, start, kind: LifeEventKind::Lost(number) });
    }
    let kind = match kind {
        FORK => LifeEventKind::Fork { parent: fields.u32() },
        EXEC => LifeEventKind::Exec(exec(&mut fields, &mut events.texts)),
        UNWAITED => LifeEventKind::Unwaited,
        END => {
            let (parent, _exit_code) = (fields.u32(), fields.u32());
            let [rchar, wchar, syscr, syscw, read_bytes, write_bytes, cancelled_write_bytes] =
                std::array::from_fn(|_| fields.u64().cast_signed());
            let io = IoCounters {
                rchar,
                wchar,
                syscr,
                syscw,
                read_bytes,
                write_bytes,
                cancelled_write_bytes,
            };
            let cpu =
                FinalCpu { total: fields.u64(), samples: fields.time(), children: fields.time() };
            let counters = FinalCounters::new(io, cpu, fields.faults(), fields.faults());
            LifeEventKind::End { parent, counters }
        }
        _ => return,
    };
    events.events.push(LifeEvent { pid, start, kind });
}

fn exec(fields: &mut Fields<'_>, texts: &mut Vec<u8>) -> ExecTexts {
    let (uid, length) = (fields.u32(), fields.u32());
    let comm: [u8; COMM] = fields.next();
    let begin = texts.len();
    texts.extend(comm.iter().take_while(|byte| **byte != 0));
    let comm = begin..texts.len();
    let begin = texts.len();
    texts.extend_from_slice(fields.0);
    let is_read = !fields.0.is_empty() || length == 0;
    if length == 0 {
        // A program without arguments.
        texts.push(0);
    }
    ExecTexts { command_line: is_read.then_some(begin..texts.len()), comm, uid }
}
