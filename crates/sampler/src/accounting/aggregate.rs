//! From the tracked processes to the numbers of images and of processes.

use std::time::Duration;

use crate::accounting::counters::IoCounters;
use crate::accounting::ledger::{Ledger, Slot};
use crate::image::ImageId;
use crate::numbers::table::Numbers;
use crate::read::socket_tables::Protocol;
use crate::sample::{Health, PerFile, ProcessSample, Sample};
use crate::state::sockets::{SocketOwners, Table};
use crate::state::tracked::{FileState, Tracked, TrackedProcesses};

/// What is known at the end of a cycle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'a> {
    /// How many images there are.
    pub(crate) images: usize,
    pub(crate) roll: &'a TrackedProcesses,
    pub(crate) ledger: &'a Ledger,
    pub(crate) owners: &'a SocketOwners,
    /// The socket tables that could not be read.
    pub(crate) unread: &'a [Table],
    /// Bytes a page.
    pub(crate) page_size: u64,
}

/// The buffers for summing up; kept from cycle to cycle.
#[derive(Debug, Default)]
pub(crate) struct Aggregator {
    io: Vec<Option<IoCounters>>,
    sockets: Vec<[u64; 3]>,
}

impl Aggregator {
    /// Sums up what was read in a cycle.
    pub(crate) fn aggregate(&mut self, known: &Inputs<'_>, sample: &mut Sample) {
        let Sample { images, health } = sample;
        images.clear();
        images.resize(known.images, Numbers::default());
        for (_, tracked) in known.roll.iter() {
            health.fds_held += tracked.handles.count() as u64;
            if tracked.is_live_member() {
                health.matched += 1;
                count_errors(tracked, health);
                let share = contribution(tracked, known);
                for image in tracked.images.iter() {
                    if let Some(sum) = images.get_mut(image.index()) {
                        sum.add(&share);
                    }
                }
            }
        }
        self.io.clear();
        self.io.resize(known.images, None);
        known.ledger.totals(&mut self.io);
        self.sockets.clear();
        self.sockets.resize(known.images, [0; 3]);
        known.owners.count(|image: ImageId, table| {
            // Of a table that broke off there is a part.
            if let Some(sockets) = self.sockets.get_mut(image.index())
                && !known.unread.contains(&table)
            {
                sockets[table.0 as usize] += 1;
            }
        });
        for ((sum, io), sockets) in images.iter_mut().zip(&self.io).zip(&self.sockets) {
            if sum.procs == 0 {
                *sum = Numbers::ZERO;
            }
            sum.io = io.or(sum.io);
            let count = |readable: Option<u64>, protocol: Protocol| {
                readable.map(|_| sockets[protocol as usize])
            };
            sum.tcp = count(sum.tcp, Protocol::Tcp);
            sum.udp = count(sum.udp, Protocol::Udp);
            sum.unix = count(sum.unix, Protocol::Unix);
        }
    }
}

/// What a process adds to its images. Its io and its sockets are summed
/// elsewhere: 0 stands for those that could be read.
fn contribution(tracked: &Tracked, known: &Inputs<'_>) -> Numbers {
    let sockets = |protocol| tracked.sockets.is_current(protocol, known.unread).then_some(0);
    Numbers {
        io: (tracked.io == FileState::Read).then_some(IoCounters::ZERO),
        tcp: sockets(Protocol::Tcp),
        udp: sockets(Protocol::Udp),
        unix: sockets(Protocol::Unix),
        // One that was not there at both ends adds nothing.
        pcpu: (!tracked.cpu.denied).then(|| percent(tracked).unwrap_or(0.0)),
        ..tracked.readings.numbers(known.page_size)
    }
}

/// CPU used in the window, in percent of one core.
fn percent(tracked: &Tracked) -> Option<f64> {
    let (used, elapsed) = tracked.cpu.used?;
    // Both are far below 2^53, where f64 counts in ones.
    Some(used as f64 / elapsed.get() as f64 * 100.0)
}

/// Counts a process once under each file of its that is denied, and its reads
/// that failed.
fn count_errors(tracked: &Tracked, health: &mut Health) {
    let mut denied = PerFile::default();
    let failed = &mut health.failed;
    let file = |state: FileState, denied: &mut u64, failed: &mut u64| match state {
        FileState::Unread | FileState::Read => {}
        FileState::Denied { .. } => *denied = 1,
        FileState::Failed => *failed += 1,
    };
    file(tracked.io, &mut denied.io, &mut failed.io);
    file(tracked.sockets.state, &mut denied.fd, &mut failed.fd);
    if tracked.sockets.state == FileState::Read && tracked.sockets.netns.is_none() {
        denied.netns = 1;
    }
    if tracked.cpu.denied {
        failed.stat += 1;
    }
    tracked.readings.note_troubles(&mut denied, failed);
    health.denied.add(denied);
}

/// The processes of the last sample.
pub(crate) fn processes<'a>(known: Inputs<'a>) -> impl Iterator<Item = ProcessSample<'a>> {
    let running = known.roll.iter().filter(|(_, tracked)| tracked.is_live_member());
    running.map(move |(slot, tracked)| process_sample(&known, slot, tracked))
}

fn process_sample<'a>(known: &Inputs<'a>, slot: Slot, tracked: &'a Tracked) -> ProcessSample<'a> {
    let counts = sockets(known, tracked);
    let sockets = |protocol: Protocol| {
        let is_known = tracked.sockets.is_current(protocol, known.unread);
        is_known.then_some(counts[protocol as usize])
    };
    ProcessSample {
        pid: tracked.key.pid,
        starttime: tracked.starttime,
        images: &tracked.images,
        window: tracked.cpu.used.map(|(_, elapsed)| Duration::from_nanos(elapsed.get())),
        numbers: Numbers {
            io: known.ledger.last(slot).filter(|_| tracked.io == FileState::Read),
            tcp: sockets(Protocol::Tcp),
            udp: sockets(Protocol::Udp),
            unix: sockets(Protocol::Unix),
            pcpu: percent(tracked),
            ..tracked.readings.numbers(known.page_size)
        },
    }
}

/// How many of a process's sockets are ESTABLISHED, by [`Protocol`].
fn sockets(known: &Inputs<'_>, tracked: &Tracked) -> [u64; 3] {
    let netns = tracked.sockets.netns.unwrap_or_default();
    let mut counts = [0; 3];
    for &inode in &tracked.sockets.inodes {
        if let Some(protocol) = known.owners.protocol(inode, netns) {
            counts[protocol as usize] += 1;
        }
    }
    counts
}
