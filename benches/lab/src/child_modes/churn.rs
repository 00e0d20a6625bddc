//! A process that starts short-lived processes at a constant rate.

use std::collections::VecDeque;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::ChildGuard;
use crate::Result;

/// The lifetime of each, as `sleep` takes it.
const LIFETIME: &str = "1";

/// Starts the process; it is killed when the guard is dropped.
pub(crate) fn start(per_second: u64) -> Result<ChildGuard> {
    let mut command = super::command(super::CHURN);
    command.arg(per_second.to_string()).stdin(Stdio::null());
    Ok(ChildGuard(command.spawn()?))
}

/// Runs the mode: `[processes per second]`.
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[per_second] = fields else { return Err("wrong number of fields".into()) };
    let pause = Duration::from_secs(1) / u32::try_from(per_second.max(1))?;
    let mut running: VecDeque<Child> = VecDeque::new();
    let mut due = Instant::now();
    loop {
        running.push_back(Command::new("sleep").arg(LIFETIME).spawn()?);
        // They exit nearly in the order in which they started.
        while let Some(first) = running.front_mut()
            && first.try_wait()?.is_some()
        {
            running.pop_front();
        }
        due += pause;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}
