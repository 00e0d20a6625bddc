//! The numbers of an image and of a process.
//!
//! The plain ones, which are read of each process at the end of the window and summed, are
//! defined in one table, `usage/table.rs`: a new one is a new entry there, and nothing else in
//! this crate. The others are fields below: their sums are not those of the readings (io
//! continues when a process exits, a socket counts once), so each has its own path through the
//! driver.

use crate::read::outcome::{Outcome, Unread};

/// Generates `Usage` and `ProcessReadings` from the table.
macro_rules! usage {
    (
        read {$( $(#[$read_doc:meta])* $read:ident = $by:expr, $file:ident; )+}
        statm {$( $(#[$statm_doc:meta])* $statm:ident = $field:ident; )+}
    ) => {
        /// The numbers of an image, which are sums over its processes, or those of one process.
        ///
        /// `None`: the number could not be read; for an image, of none of its processes. An
        /// image without processes has zeros.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        #[non_exhaustive]
        pub struct Usage {
            /// Running processes, without zombies. 1 for a process.
            pub processes: u64,
            /// Bytes and calls from `/proc/PID/io` (Linux 2.6.20). For a process: since its
            /// start, with those of the children that it has waited for. For an image: since
            /// [`SamplerBuilder::io_start`](crate::SamplerBuilder::io_start), with those of exited processes;
            /// it never falls.
            /// `None` also where the kernel does not count them
            /// (`CONFIG_TASK_IO_ACCOUNTING`).
            pub io: Option<IoCounters>,
            /// CPU time since the same moment, of all threads and of reaped children; it never
            /// falls. The time of a process itself is that of its CPU clock, else of
            /// `/proc/PID/stat`; that of its children is `cutime` and `cstime` of
            /// `/proc/PID/stat`, which may be read some cycles after they were reaped.
            pub cpu: Option<CpuTime>,
            /// ESTABLISHED sockets, tcp and tcp6, each once per image: inodes from the links
            /// in `/proc/PID/fd`, states from sock_diag or `/proc/PID/net/tcp` and `tcp6`.
            /// `None` also where the table could not be read.
            pub tcp: Option<u64>,
            /// ESTABLISHED sockets, udp and udp6; as `tcp`.
            pub udp: Option<u64>,
            /// Connected unix domain sockets; as `tcp`, from `/proc/PID/net/unix`.
            pub unix: Option<u64>,
            /// CPU time used in the window, user and system, all threads, in percent of one
            /// core: from the CPU clock of the process (nanoseconds), else `utime` and `stime`
            /// of `/proc/PID/stat` (ticks). `None` for a process also if it did not exist at
            /// both ends of the window.
            pub cpu_percent: Option<f64>,
            /// For an image: the processes that began to belong to it since the first cycle of the
            /// sampler: found after that, or joined by an exec or a new title. A process that
            /// belongs to it because the rules have changed is not one. 0 for a process.
            pub starts: u64,
            /// For an image: the processes that ceased to belong to it since the first cycle:
            /// exited (once, as a zombie or at the next cycle), or left by an exec or a new title.
            /// `processes` is the number in the first cycle plus `starts` minus `exits`, until the
            /// rules change. 0 for a process.
            pub exits: u64,
            /// The time since the start of the oldest process of an image, or of the process:
            /// the start time in `/proc/PID/stat` (ticks) against the boot-time clock. `None` if no
            /// start time is known, or in a capture without `/proc/uptime`.
            pub oldest: Option<Duration>,
            /// The same of the youngest process.
            pub youngest: Option<Duration>,
            /// Open descriptors in percent of their soft limit (`Max open files` of
            /// `/proc/PID/limits`); for an image, of the process that is nearest to its limit. 0
            /// without a limit.
            pub fd_percent: Option<f64>,
            /// By state, from `/proc/PID/status`. `None` also without
            /// [`MetricGroups::states`](crate::MetricGroups::states).
            pub states: Option<StateCounts>,
            /// Swapped-out anonymous memory in bytes, `VmSwap` of `/proc/PID/status`. `None` also
            /// without [`MetricGroups::swap`](crate::MetricGroups::swap).
            pub swap: Option<u64>,
            /// Page faults since the same moment as `io`, of all threads and of reaped children, from
            /// `/proc/PID/stat`; it never falls. `None` also without
            /// [`MetricGroups::faults`](crate::MetricGroups::faults).
            pub faults: Option<FaultCounts>,
            /// Context switches of all threads, from `/proc/PID/task/TID/status`. For a process:
            /// of the threads that were seen, since their start. For an image: since
            /// [`SamplerBuilder::io_start`](crate::SamplerBuilder::io_start), with those of exited threads and
            /// processes until they were last read; it never falls. `None` also without
            /// [`MetricGroups::switches`](crate::MetricGroups::switches).
            pub switches: Option<SwitchCounts>,
            /// TCP sockets in other states than ESTABLISHED, each once per image; as `tcp`. `None`
            /// also without [`MetricGroups::tcp`](crate::MetricGroups::tcp).
            pub tcp_states: Option<TcpStateCounts>,
            /// For an image: the processes that are missing in a sum because their value could
            /// not be read. 0 for a process.
            pub unread: UnreadCounts,
            $($(#[$read_doc])* pub $read: Option<u64>,)+
            $($(#[$statm_doc])* pub $statm: Option<u64>,)+
        }

        impl Usage {
            /// The numbers of an image that never had a process.
            pub(crate) const ZERO: Usage = Usage {
                processes: 0,
                io: Some(IoCounters::ZERO),
                cpu: Some(CpuTime::ZERO),
                tcp: Some(0),
                udp: Some(0),
                unix: Some(0),
                cpu_percent: Some(0.0),
                starts: 0,
                exits: 0,
                oldest: Some(Duration::ZERO),
                youngest: Some(Duration::ZERO),
                fd_percent: Some(0.0),
                states: Some(StateCounts::ZERO),
                swap: Some(0),
                faults: Some(FaultCounts::ZERO),
                switches: Some(SwitchCounts::ZERO),
                tcp_states: Some(TcpStateCounts::ZERO),
                unread: UnreadCounts { io: 0, net: 0, fd: 0, mem: 0, cpu: 0 },
                $($read: Some(0),)+
                $($statm: Some(0),)+
            };

            /// Combines each number with that of `other`, as an average of several samples
            /// needs it. Whole numbers are rounded; `io`, `cpu`, `starts`, `exits`, `oldest`,
            /// `youngest`, `states`, `faults`, `switches`, `tcp_states` and `unread` are those of `self`.
            #[must_use]
            pub fn zip(
                &self,
                other: &Usage,
                with: impl Fn(Option<f64>, Option<f64>) -> Option<f64>,
            ) -> Usage {
                let whole = |one: Option<u64>, other: Option<u64>| {
                    // A float is cut to the integer's range.
                    let float = |number: Option<u64>| number.map(|number| number as f64);
                    with(float(one), float(other)).map(|number| number.round() as u64)
                };
                Usage {
                    processes: whole(Some(self.processes), Some(other.processes)).unwrap_or(0),
                    io: self.io,
                    cpu: self.cpu,
                    tcp: whole(self.tcp, other.tcp),
                    udp: whole(self.udp, other.udp),
                    unix: whole(self.unix, other.unix),
                    cpu_percent: with(self.cpu_percent, other.cpu_percent),
                    starts: self.starts,
                    exits: self.exits,
                    oldest: self.oldest,
                    youngest: self.youngest,
                    fd_percent: with(self.fd_percent, other.fd_percent),
                    states: self.states,
                    swap: whole(self.swap, other.swap),
                    faults: self.faults,
                    switches: self.switches,
                    tcp_states: self.tcp_states,
                    unread: self.unread,
                    $($read: whole(self.$read, other.$read),)+
                    $($statm: whole(self.$statm, other.$statm),)+
                }
            }

            /// Adds the numbers of a process to those of an image, which start as
            /// `Usage::default()`. A number that could be read of any process stays. Starts and
            /// exits are counted elsewhere.
            pub(crate) fn add(&mut self, process: &Usage) {
                self.processes += process.processes;
                self.unread.add(process);
                add(&mut self.io, process.io, IoCounters::saturating_add);
                add(&mut self.cpu, process.cpu, CpuTime::saturating_add);
                add(&mut self.tcp, process.tcp, u64::saturating_add);
                add(&mut self.udp, process.udp, u64::saturating_add);
                add(&mut self.unix, process.unix, u64::saturating_add);
                add(&mut self.cpu_percent, process.cpu_percent, |sum, cpu_percent| sum + cpu_percent);
                add(&mut self.oldest, process.oldest, Duration::max);
                add(&mut self.youngest, process.youngest, Duration::min);
                add(&mut self.fd_percent, process.fd_percent, f64::max);
                add(&mut self.states, process.states, StateCounts::plus);
                add(&mut self.swap, process.swap, u64::saturating_add);
                add(&mut self.faults, process.faults, FaultCounts::plus);
                add(&mut self.switches, process.switches, SwitchCounts::plus);
                add(&mut self.tcp_states, process.tcp_states, TcpStateCounts::plus);
                $(add(&mut self.$read, process.$read, u64::saturating_add);)+
                $(add(&mut self.$statm, process.$statm, u64::saturating_add);)+
            }
        }

        /// The readings of a process at the end of the last window.
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct ProcessReadings {
            $(pub(crate) $read: Outcome<u64>,)+
            /// In pages.
            pub(crate) statm: Outcome<Statm>,
        }

        impl ProcessReadings {
            /// Before the first reading.
            pub(crate) const NONE: ProcessReadings =
                ProcessReadings { $($read: Outcome::Exited,)+ statm: Outcome::Exited };

            /// Reads them all.
            pub(crate) async fn read(&mut self, process: &mut ProcessReader<'_>) {
                $(self.$read = $by(process).await;)+
                // Last: it shows that all of these belong to this process.
                self.statm = process.statm().await;
            }

            /// Whether the process had exited before one of them.
            pub(crate) fn saw_exit(&self) -> bool {
                $(self.$read.is_exited() ||)+ self.statm.is_exited()
            }

            /// Whether each of them gave a value.
            pub(crate) fn are_known(&self) -> bool {
                $(self.$read.value().is_some() &&)+ self.statm.value().is_some()
            }

            /// Counts the files that were denied (each once), and the reads that failed.
            pub(crate) fn count_errors(&self, denied: &mut PerFile, failed: &mut PerFile) {
                $(note(&self.$read, &mut denied.$file, &mut failed.$file);)+
                note(&self.statm, &mut denied.statm, &mut failed.statm);
            }

            /// Writes the plain numbers.
            pub(crate) fn write(&self, page_size: u64, usage: &mut Usage) {
                let statm = self.statm.value();
                usage.processes = 1;
                $(usage.$read = self.$read.value();)+
                $(usage.$statm = statm.map(|statm| statm.$field.to_bytes(page_size));)+
            }

            /// The plain numbers; the others are `None`.
            pub(crate) fn usage(&self, page_size: u64) -> Usage {
                let mut usage = Usage::default();
                self.write(page_size, &mut usage);
                usage
            }
        }
    };
}

/// The processes of an image whose value could not be read, so that the image's sum is one of
/// the others: without permission, while the read blocks, after an error, or where the kernel or a
/// capture does not have the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnreadCounts {
    /// Without [`Usage::io`].
    pub io: u64,
    /// Without [`Usage::tcp`], [`Usage::udp`] or [`Usage::unix`].
    pub net: u64,
    /// Without [`Usage::fds`].
    pub fd: u64,
    /// Without [`Usage::vsize`] and [`Usage::rss`].
    pub mem: u64,
    /// Without [`Usage::cpu_percent`] or [`Usage::cpu`].
    pub cpu: u64,
}

impl UnreadCounts {
    /// Counts the missing values of one process.
    fn add(&mut self, process: &Usage) {
        let sockets = [process.tcp, process.udp, process.unix];
        self.io += u64::from(process.io.is_none());
        self.net += u64::from(sockets.contains(&None));
        self.fd += u64::from(process.fds.is_none());
        self.mem += u64::from(process.vsize.is_none());
        self.cpu += u64::from(process.cpu_percent.is_none() || process.cpu.is_none());
    }
}

// Below the macro, which is not visible above its definition.
mod table;

pub(crate) use table::ProcessReadings;
pub use table::Usage;

fn add<T>(sum: &mut Option<T>, value: Option<T>, plus: impl FnOnce(T, T) -> T)
where
    T: Copy,
{
    *sum = match (*sum, value) {
        (Some(sum), Some(value)) => Some(plus(sum, value)),
        (sum, value) => sum.or(value),
    };
}

fn note<T>(outcome: &Outcome<T>, denied: &mut u64, failed: &mut u64) {
    match outcome {
        Outcome::Value(_) | Outcome::Exited | Outcome::Unread(Unread::Blocked) => {}
        Outcome::Denied => *denied = 1,
        Outcome::Failed(_) | Outcome::Unread(Unread::Deferred) => *failed += 1,
    }
}
