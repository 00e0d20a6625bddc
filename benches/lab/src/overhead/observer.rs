//! The observers.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use psstat_testproc::TempDir;

use crate::Result;
use crate::collector::{CYCLE_END, SOURCE};
use crate::observer::Running;
use crate::peers::{Peer, RunningPeer};
use crate::stop::Stop;

/// An observer, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Observer {
    None,
    /// psstat with this number of seconds per cycle.
    Psstat(u64),
    Peer(Peer),
}

impl Observer {
    /// All that observe.
    pub(crate) fn all() -> Vec<Observer> {
        let mut all = vec![Observer::Psstat(15), Observer::Psstat(1)];
        all.extend(Peer::ALL.map(Observer::Peer));
        all
    }

    pub(crate) fn name(self) -> String {
        match self {
            Observer::None => "none".to_owned(),
            Observer::Psstat(seconds) => format!("psstat, every {seconds} s"),
            Observer::Peer(peer) => peer.name().to_owned(),
        }
    }

    /// Starts it and waits for its first cycle.
    pub(crate) fn start(
        self,
        program: &Path,
        config: &Path,
        dir: &TempDir,
        stop: &Stop,
    ) -> Result<Active> {
        let mut running = match self {
            Observer::None => return Ok(Active(None)),
            Observer::Psstat(seconds) => {
                let mut command = Command::new(program);
                command.env(SOURCE, "proc");
                command.arg("--conf").arg(config).args(["--interval", &seconds.to_string()]);
                RunningPeer::Writing(Running::start(&command, CYCLE_END)?)
            }
            Observer::Peer(peer) => peer.start(dir, stop)?,
        };
        running.wait_for_first(stop)?;
        Ok(Active(Some(running)))
    }
}

/// A running observer; killed when dropped.
#[derive(Debug)]
pub(crate) struct Active(Option<RunningPeer>);

impl Active {
    /// Lets it observe.
    pub(crate) fn observe(&self, time: Duration, stop: &Stop) -> Result<()> {
        match &self.0 {
            Some(running) => running.observe(time, stop),
            None => stop.sleep(time),
        }
    }
}
