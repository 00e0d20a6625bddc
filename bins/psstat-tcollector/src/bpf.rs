//! Decides how processes are read: by BPF or from the files in /proc.

use std::thread::{Builder, JoinHandle};

use psstat_sampler::{Bpf, BpfError};

use crate::options::{Settings, SourceName};
use crate::{log, privileges};

const FILTERED: &str = "system calls are filtered (seccomp); to try it: --source bpf";

/// The program, and why starts and ends of processes are not recorded, although they are to be.
type WithRing = (Bpf, Option<String>);

/// A thread that loads the BPF program, with the privileges that only this takes.
#[derive(Debug)]
pub(crate) struct Loading {
    /// `None` if it could not be started.
    thread: Option<JoinHandle<Result<WithRing, BpfError>>>,
    source: SourceName,
    /// Nothing is loaded, since system calls are filtered.
    is_filtered: bool,
}

impl Loading {
    /// Starts to load, unless processes are to be read from /proc. Has to be called before
    /// privileges are dropped.
    pub(crate) fn start(settings: &Settings) -> Option<Loading> {
        if settings.check || settings.source == SourceName::Proc {
            return None;
        }
        // The filter may end the program.
        if settings.source == SourceName::Auto && is_filtered() {
            return Some(Loading { thread: None, source: settings.source, is_filtered: true });
        }
        let (proc, ring) = (settings.proc.clone(), settings.bpf_ring);
        // One cycle has nothing before it.
        let ring = if settings.once { 0 } else { ring };
        let load = move || {
            privileges::keep_only_loading();
            let bpf = Bpf::load(&proc)?;
            if ring == 0 {
                return Ok((bpf, None));
            }
            // Processes are read by BPF without it too.
            match bpf.clone().with_ring(ring.saturating_mul(1024)) {
                Ok(bpf) => Ok((bpf, None)),
                Err(error) => Ok((bpf, Some(error.to_string()))),
            }
        };
        let thread = Builder::new().name("bpf".into()).spawn(load).ok();
        Some(Loading { thread, source: settings.source, is_filtered: false })
    }

    /// Waits for the program.
    pub(crate) fn finish(self) -> Loaded {
        let loaded = self.thread.and_then(|thread| thread.join().ok());
        let (is_warning, reason) = match loaded {
            Some(Ok((bpf, no_ring))) => {
                return Loaded { bpf: Some(bpf), reason: None, is_warning: false, no_ring };
            }
            Some(Err(error)) => (self.source == SourceName::Bpf, error.to_string()),
            None if self.is_filtered => (false, FILTERED.to_owned()),
            None => (true, "the thread that loads it failed".to_owned()),
        };
        Loaded { bpf: None, reason: Some(reason), is_warning, no_ring: None }
    }
}

/// The program, or the reason why it is not used.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) bpf: Option<Bpf>,
    reason: Option<String>,
    is_warning: bool,
    /// Why starts and ends of processes are not recorded, although they are to be.
    no_ring: Option<String>,
}

impl Loaded {
    /// Logs which way is used, and why.
    pub(crate) fn log(&self) {
        match &self.reason {
            None => log::info(
                "processes are read by BPF; other users' sockets from /proc, which takes \
                 CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
            ),
            Some(reason) if self.is_warning => {
                log::line(&format!("warning: processes are read from /proc; BPF: {reason}"));
            }
            Some(reason) => {
                log::info(&format!("processes are read from /proc; BPF: {reason}"));
            }
        }
        if let Some(reason) = &self.no_ring {
            log::line(&format!("warning: processes between two cycles are not counted: {reason}"));
        }
    }
}

/// Whether a filter of system calls (seccomp) applies to this program, as in a systemd unit with
/// `SystemCallFilter`. For a call that it does not allow it can kill the program.
fn is_filtered() -> bool {
    const FILTER: &str = "Seccomp:\t2";
    let status = std::fs::read_to_string("/proc/self/status");
    status.is_ok_and(|status| status.lines().any(|line| line == FILTER))
}
