//! Short processes, so many a second.

use std::collections::VecDeque;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Result, helpers};

/// How long each lives, as `sleep` takes it.
const LIFE: &str = "1";

/// A process that starts and reaps short ones; ended when dropped.
#[derive(Debug)]
pub(crate) struct Churn(Child);

impl Churn {
    /// Begins to start so many a second.
    pub(crate) fn start(a_second: u64) -> Result<Churn> {
        let mut command = helpers::command(helpers::CHURN);
        command.arg(a_second.to_string()).stdin(Stdio::null());
        Ok(Churn(command.spawn()?))
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// That process's life.
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[a_second] = fields else { return Err("wrong number of fields".into()) };
    let pause = Duration::from_secs(1) / u32::try_from(a_second.max(1))?;
    let mut living: VecDeque<Child> = VecDeque::new();
    let mut due = Instant::now();
    loop {
        living.push_back(Command::new("sleep").arg(LIFE).spawn()?);
        // They end in the order in which they began, nearly.
        while let Some(first) = living.front_mut()
            && first.try_wait()?.is_some()
        {
            living.pop_front();
        }
        due += pause;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}
