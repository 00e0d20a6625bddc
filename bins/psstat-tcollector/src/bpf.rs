//! Decides how processes are read: by BPF or from the files in /proc.

use std::thread::{Builder, JoinHandle};

use psstat_sampler::{Bpf, BpfError};

use crate::options::{Settings, SourceName};
use crate::privileges::Capabilities;
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
                let kept = Capabilities::now();
                return Loaded { bpf: Some(bpf), reason: None, is_warning: false, no_ring, kept };
            }
            Some(Err(error)) => (self.source == SourceName::Bpf, error.to_string()),
            None if self.is_filtered => (false, FILTERED.to_owned()),
            None => (true, "the thread that loads it failed".to_owned()),
        };
        let kept = Capabilities::now();
        Loaded { bpf: None, reason: Some(reason), is_warning, no_ring: None, kept }
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
    /// The capabilities while it runs.
    kept: Capabilities,
}

impl Loaded {
    /// Drops the capabilities that nothing needs if everything of the processes is read by BPF. Has to
    /// be called before a thread starts that keeps running.
    pub(crate) fn drop_capabilities(&mut self, settings: &Settings) {
        if self.bpf.as_ref().is_some_and(|bpf| bpf.sockets_error().is_none()) {
            self.kept = privileges::keep_only_needed_by_bpf(&settings.conf, &settings.proc);
        }
    }

    /// Logs which way is used, and why.
    pub(crate) fn log(&self) {
        match &self.reason {
            None => {
                log::info(&format!("processes are read by BPF; {}", self.describe_privileges()));
            }
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

impl Loaded {
    /// The capabilities that are held by BPF, and what for.
    fn describe_privileges(&self) -> String {
        if let Some(error) = self.bpf.as_ref().and_then(Bpf::sockets_error) {
            return format!(
                "other users' sockets from /proc, which takes CAP_SYS_PTRACE and \
                 CAP_DAC_READ_SEARCH: {error}"
            );
        }
        match (self.kept.sys_ptrace, self.kept.dac_read_search) {
            (false, false) => "no capability is held",
            (false, true) => "CAP_DAC_READ_SEARCH is held to read a config file",
            (true, false) => "CAP_SYS_PTRACE is held, since /proc hides processes (hidepid)",
            (true, true) => {
                "CAP_SYS_PTRACE is held, since /proc hides processes (hidepid), and \
                 CAP_DAC_READ_SEARCH to read a config file"
            }
        }
        .to_owned()
    }
}

/// Whether a filter of system calls (seccomp) applies to this program, as in a systemd unit with
/// `SystemCallFilter`. For a call that it does not allow it can kill the program.
fn is_filtered() -> bool {
    const FILTER: &str = "Seccomp:\t2";
    let status = std::fs::read_to_string("/proc/self/status");
    status.is_ok_and(|status| status.lines().any(|line| line == FILTER))
}
