//! Detects that the terminal from which the collector was started is lost: its window or its ssh
//! connection was closed.
//!
//! The kernel and the shell then send SIGHUP, which otherwise reloads the config file, and writes
//! to the terminal fail with `EIO`, which a failing disk causes as well.

use std::os::fd::AsFd;

use psstat_proc_parse::Status;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use signal_hook::consts::SIGHUP;

/// The terminal that controlled the collector's session when it started, if any.
#[derive(Debug)]
pub(crate) struct ControllingTerminal {
    had_terminal: bool,
    /// SIGHUP was ignored, as by `nohup`: the collector is meant to outlive its terminal.
    outlives_it: bool,
}

impl ControllingTerminal {
    /// Has to be called before SIGHUP has a handler.
    pub(crate) fn at_start() -> ControllingTerminal {
        ControllingTerminal { had_terminal: is_terminal_open(), outlives_it: is_sighup_ignored() }
    }

    /// Whether SIGHUP means that the terminal is lost, and not that the config file has to be
    /// reloaded.
    pub(crate) fn is_lost(&self) -> bool {
        let is_stream_lost =
            is_hung_up(rustix::stdio::stdout()) || is_hung_up(rustix::stdio::stderr());
        !self.outlives_it && (is_stream_lost || (self.had_terminal && !is_terminal_open()))
    }
}

/// Whether this is a terminal that has been hung up. All operations on one fail with `EIO`; those of
/// terminals, on anything else, with `ENOTTY`.
pub(crate) fn is_hung_up(fd: impl AsFd) -> bool {
    matches!(rustix::termios::tcgetattr(fd), Err(Errno::IO))
}

/// Whether the session of this process has a terminal.
fn is_terminal_open() -> bool {
    // With O_NONBLOCK, because a serial line without carrier blocks.
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let terminal = rustix::fs::openat(CWD, "/dev/tty", flags, Mode::empty());
    // Any error except these means that it is not known: without descriptors, for example.
    !matches!(terminal, Err(Errno::NXIO | Errno::IO | Errno::NOENT | Errno::NODEV))
}

fn is_sighup_ignored() -> bool {
    let status = std::fs::read("/proc/self/status").unwrap_or_default();
    Status::parse(&status).ok().and_then(|status| status.sig_ign).unwrap_or(0) & (1 << (SIGHUP - 1))
        != 0
}
