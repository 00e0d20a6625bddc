//! What a cycle gives.

use std::time::Duration;

use crate::image::ImageId;
use crate::keep::sockets::{Owners, Table};
use crate::keep::tracked::{FileState, Life, Roll, Tracked};
use crate::outcome::Outcome;
use crate::read::procfs::Procfs;
use crate::read::tables::Protocol;
use crate::reckon::counters::Counters;
use crate::reckon::ledger::Ledger;

/// One cycle's numbers.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    images: Vec<ImageSample>,
    /// How the sampler itself fared.
    pub health: Health,
}

impl Sample {
    /// The numbers of an image; those of an image without processes for a
    /// number that was never heard of.
    pub fn image(&self, image: ImageId) -> ImageSample {
        self.images.get(image.index()).copied().unwrap_or(ImageSample::EMPTY)
    }

    /// All images by number.
    pub fn images(&self) -> impl Iterator<Item = (ImageId, &ImageSample)> {
        (0..).map(ImageId).zip(&self.images)
    }
}

/// The sums over an image's processes. `None`: it has processes, but of none of
/// them could the value be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageSample {
    /// Processes that run now; zombies are none.
    pub procs: u64,
    /// What its processes have read and written since they began, those that
    /// have ended included (`/proc/PID/io`, bytes; `syscr`, `syscw`: calls).
    /// Never falls.
    pub io: Option<Counters>,
    /// Open file descriptors.
    pub descriptors: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Distinct ESTABLISHED sockets, tcp and tcp6.
    pub tcp: Option<u64>,
    /// Distinct ESTABLISHED sockets, udp and udp6.
    pub udp: Option<u64>,
    /// Distinct connected unix domain sockets.
    pub unix: Option<u64>,
    /// CPU time used in the window, user and system, in percent of one core.
    pub pcpu: Option<f64>,
    /// Virtual memory, bytes.
    pub vsize: Option<u64>,
    /// Resident memory, bytes.
    pub rss: Option<u64>,
}

impl ImageSample {
    /// An image that has no process and never had one.
    pub const EMPTY: ImageSample = ImageSample {
        procs: 0,
        io: Some(Counters::ZERO),
        descriptors: Some(0),
        threads: Some(0),
        tcp: Some(0),
        udp: Some(0),
        unix: Some(0),
        pcpu: Some(0.0),
        vsize: Some(0),
        rss: Some(0),
    };
}

/// The numbers of one process. `None`: could not be read.
#[derive(Clone, Debug)]
pub struct ProcessSample<'a> {
    /// Its pid in the procfs that is read.
    pub pid: u32,
    /// Its start time in ticks since boot.
    pub starttime: u64,
    /// The images it belongs to, by ascending number.
    pub images: &'a [ImageId],
    /// What it has read and written since it began, reaped children included.
    pub io: Option<Counters>,
    /// Open file descriptors.
    pub descriptors: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// ESTABLISHED sockets: tcp, udp, unix.
    pub sockets: Option<[u64; 3]>,
    /// CPU time used in the window, percent of one core; `None` also when it
    /// was not there at both ends of the window.
    pub pcpu: Option<f64>,
    /// The time between its two readings of CPU time; `None` as for `pcpu`.
    pub window: Option<Duration>,
    /// Virtual memory, bytes.
    pub vsize: Option<u64>,
    /// Resident memory, bytes.
    pub rss: Option<u64>,
}

/// How a cycle went. Numbers of processes, unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Processes in `/proc`.
    pub seen: u64,
    /// Those that belong to an image, zombies not counted.
    pub matched: u64,
    /// Those of which a file may not be read, by file.
    pub denied: ByFile,
    /// Reads of this cycle that failed in another way, by file.
    pub failed: ByFile,
    /// Those whose command line blocks its reader.
    pub blocked: u64,
    /// Those whose command line was due and not read, because others block their
    /// readers and no more may: too many in this cycle, of the same user, or in
    /// all. They are counted under `failed` too.
    pub unread: u64,
    /// Descriptors kept open.
    pub kept: u64,
    /// `/proc` could not be listed; the numbers are of those known before.
    pub listing_failed: bool,
}

/// A number for each of a process's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByFile {
    /// `cmdline`
    pub command_line: u64,
    /// `io`
    pub io: u64,
    /// `fd`: the descriptors' links, or their number
    pub fd: u64,
    /// `ns/net`
    pub netns: u64,
    /// `statm`
    pub statm: u64,
    /// `stat`, the CPU clock, `task`
    pub stat: u64,
    /// `net/*`, or sock_diag (tables, not processes)
    pub net: u64,
}

/// A sum over processes, of some of which it could not be read.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    total: u64,
    read: bool,
    missing: bool,
}

impl Sum {
    fn add(&mut self, value: Option<u64>) {
        match value {
            Some(value) => {
                self.total = self.total.saturating_add(value);
                self.read = true;
            }
            None => self.missing = true,
        }
    }

    fn value(self) -> Option<u64> {
        (self.read || !self.missing).then_some(self.total)
    }
}

/// The sums while they are taken.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    procs: u64,
    io: Sum,
    descriptors: Sum,
    threads: Sum,
    sockets: [u64; 3],
    sockets_of: [Sum; 3],
    cpu: Sum,
    pcpu: f64,
    vsize: Sum,
    rss: Sum,
}

/// The buffers for summing up; kept from cycle to cycle.
#[derive(Debug, Default)]
pub(crate) struct Reckoner {
    sums: Vec<Sums>,
    io: Vec<Option<Counters>>,
}

impl Reckoner {
    /// Sums up what was read in a cycle.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn reckon(
        &mut self,
        sample: &mut Sample,
        images: usize,
        procfs: &Procfs,
        roll: &Roll,
        ledger: &Ledger,
        owners: &Owners,
        unread: &[Table],
    ) {
        self.sums.clear();
        self.sums.resize(images, Sums::default());
        self.io.clear();
        self.io.resize(images, None);
        ledger.totals(&mut self.io);
        owners.count(|image, table| {
            // Of a table that broke off there is a part.
            if let Some(sums) = self.sums.get_mut(image.index())
                && !unread.contains(&table)
            {
                sums.sockets[table.0 as usize] += 1;
            }
        });
        for (_, tracked) in roll.iter() {
            sample.health.kept += tracked.handles.count() as u64;
            if tracked.life == Life::Gone {
                continue;
            }
            self.add(tracked, procfs, unread, &mut sample.health);
        }
        sample.images.clear();
        let sums = self.sums.iter().zip(&self.io);
        sample.images.extend(sums.map(|(sums, io)| image_sample(sums, *io)));
    }

    fn add(&mut self, tracked: &Tracked, procfs: &Procfs, unread: &[Table], health: &mut Health) {
        if !tracked.is_running_member() {
            return;
        }
        health.matched += 1;
        count_troubles(tracked, health);
        let memory = tracked.memory.there();
        let pages = |pages: u64| pages.saturating_mul(procfs.page_size);
        for image in tracked.images.iter() {
            let Some(sums) = self.sums.get_mut(image.index()) else { continue };
            sums.procs += 1;
            sums.io.add((tracked.io == FileState::Read).then_some(0));
            sums.descriptors.add(tracked.descriptors.there());
            sums.threads.add(tracked.threads.there());
            for protocol in Protocol::ALL {
                let known = tracked.sockets.are_known(protocol, unread);
                sums.sockets_of[protocol as usize].add(known.then_some(0));
            }
            sums.cpu.add((!tracked.cpu.denied).then_some(0));
            sums.pcpu += percent(tracked).unwrap_or(0.0);
            sums.vsize.add(memory.map(|memory| pages(memory.size)));
            sums.rss.add(memory.map(|memory| pages(memory.resident)));
        }
    }
}

fn image_sample(sums: &Sums, io: Option<Counters>) -> ImageSample {
    let sockets = |protocol: Protocol| {
        let number = sums.sockets[protocol as usize];
        sums.sockets_of[protocol as usize].value().map(|_| number)
    };
    ImageSample {
        procs: sums.procs,
        io: io.or_else(|| sums.io.value().map(|_| Counters::ZERO)),
        descriptors: sums.descriptors.value(),
        threads: sums.threads.value(),
        tcp: sockets(Protocol::Tcp),
        udp: sockets(Protocol::Udp),
        unix: sockets(Protocol::Unix),
        pcpu: sums.cpu.value().map(|_| sums.pcpu),
        vsize: sums.vsize.value(),
        rss: sums.rss.value(),
    }
}

/// CPU used in the window, in percent of one core.
fn percent(tracked: &Tracked) -> Option<f64> {
    let (used, elapsed) = tracked.cpu.used?;
    // Both are far below 2^53, where f64 counts in ones.
    Some(used as f64 / elapsed.get() as f64 * 100.0)
}

fn count_troubles(tracked: &Tracked, health: &mut Health) {
    let file = |state: FileState, denied: &mut u64, failed: &mut u64| match state {
        FileState::Unread | FileState::Read => {}
        FileState::Denied { .. } => *denied += 1,
        FileState::Failed => *failed += 1,
    };
    let Health { denied, failed, .. } = health;
    file(tracked.io, &mut denied.io, &mut failed.io);
    file(tracked.sockets.state, &mut denied.fd, &mut failed.fd);
    if tracked.sockets.state == FileState::Read && tracked.sockets.netns.is_none() {
        denied.netns += 1;
    }
    if tracked.cpu.denied {
        failed.stat += 1;
    }
    let count = |denied_or_failed: (bool, bool), denied: &mut u64, failed: &mut u64| {
        *denied += u64::from(denied_or_failed.0);
        *failed += u64::from(denied_or_failed.1);
    };
    count(trouble(&tracked.memory), &mut denied.statm, &mut failed.statm);
    count(trouble(&tracked.threads), &mut denied.stat, &mut failed.stat);
    if !tracked.sockets.state.is_denied() {
        count(trouble(&tracked.descriptors), &mut denied.fd, &mut failed.fd);
    }
}

/// Whether it was denied, and whether it failed.
fn trouble<T>(outcome: &Outcome<T>) -> (bool, bool) {
    (matches!(outcome, Outcome::Denied), matches!(outcome, Outcome::Failed(_)))
}

/// The numbers of one tracked process.
pub(crate) fn process_sample<'a>(
    tracked: &'a Tracked,
    procfs: &Procfs,
    io: Option<Counters>,
    owners: &Owners,
    unread: &[Table],
) -> ProcessSample<'a> {
    let memory = tracked.memory.there();
    let known = |&protocol: &Protocol| tracked.sockets.are_known(protocol, unread);
    let sockets = Protocol::ALL.iter().all(known).then(|| {
        let mut counts = [0; 3];
        for &inode in &tracked.sockets.inodes {
            let netns = tracked.sockets.netns.unwrap_or_default();
            if let Some(protocol) = owners.protocol(inode, netns) {
                counts[protocol as usize] += 1;
            }
        }
        counts
    });
    ProcessSample {
        pid: tracked.who.pid,
        starttime: tracked.starttime,
        images: &tracked.images,
        io: io.filter(|_| tracked.io == FileState::Read),
        descriptors: tracked.descriptors.there(),
        threads: tracked.threads.there(),
        sockets,
        pcpu: percent(tracked),
        window: tracked.cpu.used.map(|(_, elapsed)| Duration::from_nanos(elapsed.get())),
        vsize: memory.map(|memory| memory.size.saturating_mul(procfs.page_size)),
        rss: memory.map(|memory| memory.resident.saturating_mul(procfs.page_size)),
    }
}
