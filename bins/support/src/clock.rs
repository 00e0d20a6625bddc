//! The CPU clock of this process.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of this process, of all its threads (`CLOCK_PROCESS_CPUTIME_ID`).
pub fn process_cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}
