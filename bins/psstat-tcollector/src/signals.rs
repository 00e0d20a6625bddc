//! Signals, and waiting while config updates and SIGHUP are handled.

use std::cell::Cell;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::consts::{SIGABRT, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

use crate::EXIT_OK;
use crate::conf::Conf;
use crate::controlling_terminal::ControllingTerminal;
use crate::cycle::SampleLoop;
use crate::output::OutputFile;

/// The interval of the checks whether a config file has been parsed.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The signal handlers of the collector.
#[derive(Debug)]
pub(crate) struct Signals {
    sighup: UnixStream,
    terminal: ControllingTerminal,
    /// The last SIGHUP may have come from a terminal that was about to disappear.
    is_terminal_doubtful: Cell<bool>,
}

impl Signals {
    /// Installs the handlers. SIGTERM and SIGINT end the program with status 0 at once, even
    /// during a blocked write; SIGHUP is recorded. A SIGHUP from a lost terminal ends the program
    /// as well, between cycles ([`Signals::is_terminal_lost`]).
    ///
    /// SIGABRT, which a failed memory allocation raises after a message, also ends the program
    /// with status 0: tcollector then restarts it at once and not after an hour. SIGXFSZ (stdout
    /// is a file at its size limit) is ignored, so that the write fails.
    ///
    /// With an output file, SIGTERM and SIGINT first remove it, in a thread of their own: a
    /// second signal ends the program at once, if the file system does not respond.
    ///
    /// # Errors
    /// No descriptor is available, or no thread.
    pub(crate) fn install(output: Option<&Arc<OutputFile>>) -> io::Result<Signals> {
        // Before SIGHUP has a handler.
        let terminal = ControllingTerminal::at_start();
        // Whether a signal ends the program at once.
        let at_once = Arc::new(AtomicBool::new(output.is_none()));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_conditional_shutdown(signal, 0, Arc::clone(&at_once))?;
        }
        if let Some(output) = output {
            remove_at_end(output, &at_once)?;
        }
        let enabled = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_shutdown(SIGABRT, 0, enabled)?;
        signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        let (sighup, handler_end) = UnixStream::pair()?;
        sighup.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(SIGHUP, handler_end)?;
        Ok(Signals { sighup, terminal, is_terminal_doubtful: Cell::new(false) })
    }

    /// Whether the program has to end because the terminal that it was started from is lost, and
    /// SIGHUP was received.
    pub(crate) fn is_terminal_lost(&self) -> bool {
        self.is_terminal_doubtful.get() && self.terminal.is_lost()
    }

    /// Waits until `until`, or until the terminal is lost, and applies config updates meanwhile.
    /// Returns whether the active rules have changed. If `events` is given, the starts and ends of
    /// processes are read from it meanwhile: the sampler has the active rules, and no open window.
    pub(crate) fn wait(
        &self,
        until: Instant,
        conf: &mut Conf,
        events: Option<&mut SampleLoop>,
    ) -> bool {
        self.wait_until_done(|_, now| now >= until, until, conf, events)
    }

    /// Waits until the config file has been loaded or found to be unusable. A file that is being
    /// written has until `until` to stop changing; parsing a large one may take longer.
    pub(crate) fn wait_for_conf(&self, until: Instant, conf: &mut Conf) -> bool {
        let is_done = |conf: &Conf, now| conf.first_load_done || (now >= until && !conf.is_busy());
        self.wait_until_done(is_done, until, conf, None)
    }

    fn wait_until_done(
        &self,
        is_done: impl Fn(&Conf, Instant) -> bool,
        until: Instant,
        conf: &mut Conf,
        mut events: Option<&mut SampleLoop>,
    ) -> bool {
        let mut changed = false;
        loop {
            if self.take_sighup() {
                self.is_terminal_doubtful.set(true);
                if self.terminal.is_lost() {
                    return changed;
                }
                conf.reload();
            }
            changed |= conf.poll_updates();
            if changed {
                // The sampler gets the new rules with the next cycle.
                events = None;
            }
            let now = Instant::now();
            if is_done(conf, now) {
                return changed;
            }
            let rest = until.saturating_duration_since(now);
            let time = if rest.is_zero() { CHECK_INTERVAL } else { rest };
            let fd = events.as_ref().and_then(|sample_loop| sample_loop.sampler.events_fd());
            if self.sleep(time, conf, fd)
                && let Some(sample_loop) = &mut events
            {
                sample_loop.read_events(conf);
            }
        }
    }

    /// Whether SIGHUP was received since the last call.
    fn take_sighup(&self) -> bool {
        let mut buffer = [0; 64];
        let mut received = false;
        while matches!(rustix::io::read(&self.sighup, &mut buffer), Ok(1..)) {
            received = true;
        }
        received
    }

    /// Whether the third descriptor is readable.
    fn sleep(&self, time: Duration, conf: &Conf, third: Option<BorrowedFd<'_>>) -> bool {
        let sighup = self.sighup.as_fd();
        let mut fds = [sighup, conf.fd(), third.unwrap_or(sighup)]
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        // The caller checks the time after an interrupted sleep.
        let _ = rustix::event::poll(&mut fds, Timespec::try_from(time).ok().as_ref());
        let [_, _, last] = fds;
        third.is_some() && !last.revents().is_empty()
    }
}

/// Removes the output file and ends the program after the first SIGTERM or SIGINT, and sets
/// `at_once`.
fn remove_at_end(output: &Arc<OutputFile>, at_once: &Arc<AtomicBool>) -> io::Result<()> {
    let (mut signals, handler_end) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(at_once))?;
        signal_hook::low_level::pipe::register(signal, handler_end.try_clone()?)?;
    }
    let output = Arc::clone(output);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut byte = [0];
        while !matches!(signals.read(&mut byte), Ok(1..)) {}
        output.remove();
        std::process::exit(EXIT_OK.into());
    })?;
    Ok(())
}
