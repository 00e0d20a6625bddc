//! The units of psstat's metrics. In expositions, only units of time, size and ratio have a name.

use crate::unit::Unit;

pub(super) const BOOLEAN: Unit = Unit::BOOLEAN;
pub(super) const BYTES: Unit = Unit::BYTES;
/// System calls.
pub(super) const CALLS: Unit = Unit::new("calls");
/// Cycles of the collector.
pub(super) const CYCLES: Unit = Unit::new("cycles");
/// Open file descriptors.
pub(super) const DESCRIPTORS: Unit = Unit::new("descriptors");
/// Events of processes.
pub(super) const EVENTS: Unit = Unit::new("events");
/// Page faults.
pub(super) const FAULTS: Unit = Unit::new("page faults");
/// Lines of the config file.
pub(super) const LINES: Unit = Unit::new("lines");
pub(super) const MILLISECONDS: Unit = Unit::MILLISECONDS;
pub(super) const PERCENT: Unit = Unit::PERCENT;
/// Hundredths of the time of one core: 200 for two busy cores.
pub(super) const PERCENT_OF_CORE: Unit = Unit::new("percent of one core").base_unit("ratio", 2);
/// Processes.
pub(super) const PROCESSES: Unit = Unit::new("processes");
/// Reads of a file.
pub(super) const READS: Unit = Unit::new("reads");
/// Rules.
pub(super) const RULES: Unit = Unit::new("rules");
pub(super) const SECONDS: Unit = Unit::SECONDS;
/// Sockets.
pub(super) const SOCKETS: Unit = Unit::new("sockets");
/// Context switches.
pub(super) const SWITCHES: Unit = Unit::new("switches");
/// Threads.
pub(super) const THREADS: Unit = Unit::new("threads");
