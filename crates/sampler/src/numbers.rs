//! The numbers of an image and of a process.
//!
//! The plain ones, which are read of each process at the end of the window and
//! summed, stand in one table, `numbers/table.rs`: a new one is a new entry
//! there, and nothing else in this crate. The others are fields below: their
//! sums are not those of the readings (io continues when a process exits, a socket
//! counts once), so each has its own path through the driver.

use crate::read::outcome::Outcome;
use crate::read::reader::ProcessReader;

/// Makes `Numbers` and `ProcessReadings` of the table.
macro_rules! numbers {
    (
        read {$( $(#[$read_doc:meta])* $read:ident = $by:expr, $file:ident; )+}
        statm {$( $(#[$statm_doc:meta])* $statm:ident = $field:ident; )+}
    ) => {
        /// The numbers of an image, sums over its processes, or those of one
        /// process.
        ///
        /// `None`: it could not be read; of an image, of none of its processes.
        /// An image without processes has zeros.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        #[non_exhaustive]
        pub struct Numbers {
            /// Processes that run now; zombies are none. 1 of a process.
            pub procs: u64,
            /// What has been read and written, from `/proc/PID/io` (Linux
            /// 2.6.20). Of a process: since it began, its reaped children's
            /// included. Of an image: what its processes have done since they
            /// began, those that have ended included; it never falls. `None`
            /// also where the kernel keeps no such accounts
            /// (`CONFIG_TASK_IO_ACCOUNTING`).
            pub io: Option<IoCounters>,
            /// ESTABLISHED sockets, tcp and tcp6, each once an image: inodes
            /// from the links in `/proc/PID/fd`, states from sock_diag or
            /// `/proc/PID/net/tcp` and `tcp6`. `None` also where the table
            /// could not be read.
            pub tcp: Option<u64>,
            /// ESTABLISHED sockets, udp and udp6; as `tcp`.
            pub udp: Option<u64>,
            /// Connected unix domain sockets; as `tcp`, of `/proc/PID/net/unix`.
            pub unix: Option<u64>,
            /// CPU time used in the window, user and system, all threads, in
            /// percent of one core: from the process's CPU clock (nanoseconds),
            /// else `utime` and `stime` of `/proc/PID/stat` (ticks). `None` of
            /// a process also when it was not there at both ends of the window.
            pub pcpu: Option<f64>,
            $($(#[$read_doc])* pub $read: Option<u64>,)+
            $($(#[$statm_doc])* pub $statm: Option<u64>,)+
        }

        impl Numbers {
            /// Those of an image that has no process and never had one.
            pub(crate) const ZERO: Numbers = Numbers {
                procs: 0,
                io: Some(IoCounters::ZERO),
                tcp: Some(0),
                udp: Some(0),
                unix: Some(0),
                pcpu: Some(0.0),
                $($read: Some(0),)+
                $($statm: Some(0),)+
            };

            /// What `with` makes of each number and of the other's, as an
            /// average of several samples needs it. Whole numbers are rounded;
            /// `io` is that of `self`.
            #[must_use]
            pub fn zip(
                &self,
                other: &Numbers,
                with: impl Fn(Option<f64>, Option<f64>) -> Option<f64>,
            ) -> Numbers {
                let whole = |one: Option<u64>, other: Option<u64>| {
                    // A float is cut to the integer's range.
                    let float = |number: Option<u64>| number.map(|number| number as f64);
                    with(float(one), float(other)).map(|number| number.round() as u64)
                };
                Numbers {
                    procs: whole(Some(self.procs), Some(other.procs)).unwrap_or(0),
                    io: self.io,
                    tcp: whole(self.tcp, other.tcp),
                    udp: whole(self.udp, other.udp),
                    unix: whole(self.unix, other.unix),
                    pcpu: with(self.pcpu, other.pcpu),
                    $($read: whole(self.$read, other.$read),)+
                    $($statm: whole(self.$statm, other.$statm),)+
                }
            }

            /// Adds a process's numbers to an image's, which start as
            /// `Numbers::default()`. What could be read of any process stays.
            pub(crate) fn add(&mut self, process: &Numbers) {
                self.procs += process.procs;
                add(&mut self.io, process.io, IoCounters::saturating_add);
                add(&mut self.tcp, process.tcp, u64::saturating_add);
                add(&mut self.udp, process.udp, u64::saturating_add);
                add(&mut self.unix, process.unix, u64::saturating_add);
                add(&mut self.pcpu, process.pcpu, |sum, pcpu| sum + pcpu);
                $(add(&mut self.$read, process.$read, u64::saturating_add);)+
                $(add(&mut self.$statm, process.$statm, u64::saturating_add);)+
            }
        }

        /// What was read of a process at the end of the last window.
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct ProcessReadings {
            $(pub(crate) $read: Outcome<u64>,)+
            /// In pages.
            pub(crate) statm: Outcome<Statm>,
        }

        impl ProcessReadings {
            /// Nothing yet.
            pub(crate) const NONE: ProcessReadings =
                ProcessReadings { $($read: Outcome::Exited,)+ statm: Outcome::Exited };

            /// Reads them all.
            pub(crate) fn read(&mut self, process: &mut ProcessReader<'_>) {
                $(self.$read = read_by($by, process);)+
                // Last: it tells that all of these were this process's.
                self.statm = process.statm();
            }

            /// Whether the process had ended before one of them.
            pub(crate) fn saw_exit(&self) -> bool {
                $(self.$read.is_exited() ||)+ self.statm.is_exited()
            }

            /// Notes which files were denied (1, however often), and how many
            /// reads failed.
            pub(crate) fn count_errors(&self, denied: &mut PerFile, failed: &mut PerFile) {
                $(note(&self.$read, &mut denied.$file, &mut failed.$file);)+
                note(&self.statm, &mut denied.statm, &mut failed.statm);
            }

            /// The plain numbers; the others are `None`.
            pub(crate) fn numbers(&self, page_size: u64) -> Numbers {
                let statm = self.statm.value();
                Numbers {
                    procs: 1,
                    $($read: self.$read.value(),)+
                    $($statm: statm.map(|statm| statm.$field.saturating_mul(page_size)),)+
                    ..Numbers::default()
                }
            }
        }
    };
}

// Below the macro, which is not visible above its definition.
mod table;

pub use table::Numbers;
pub(crate) use table::ProcessReadings;

fn add<T>(sum: &mut Option<T>, value: Option<T>, plus: impl FnOnce(T, T) -> T)
where
    T: Copy,
{
    *sum = match (*sum, value) {
        (Some(sum), Some(value)) => Some(plus(sum, value)),
        (sum, value) => sum.or(value),
    };
}

/// Gives an entry's closure its type.
fn read_by<'a>(
    read: impl FnOnce(&mut ProcessReader<'a>) -> Outcome<u64>,
    process: &mut ProcessReader<'a>,
) -> Outcome<u64> {
    read(process)
}

fn note<T>(outcome: &Outcome<T>, denied: &mut u64, failed: &mut u64) {
    match outcome {
        Outcome::Value(_) | Outcome::Exited => {}
        Outcome::Denied => *denied = 1,
        Outcome::Failed(_) => *failed += 1,
    }
}
