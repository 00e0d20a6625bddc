//! Waiting for the next step, with an eye on the conf and on SIGHUP.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::consts::{SIGABRT, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

use crate::conf::Conf;

/// Between two looks whether a conf is parsed at last.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The signals that the collector heeds.
#[derive(Debug)]
pub struct Signals {
    sighup: UnixStream,
}

impl Signals {
    /// From here on, SIGTERM and SIGINT end the program with status 0 at once,
    /// wherever it is, a blocked write included; SIGHUP is noted.
    ///
    /// So does SIGABRT, by which a program ends itself that gets no more
    /// memory, after one line that says so: with 0, tcollector starts it again
    /// at once and not after an hour. A stdout that is a file and has grown to
    /// the limit (SIGXFSZ) is a failed write like any other.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn install() -> io::Result<Signals> {
        for signal in [SIGTERM, SIGINT, SIGABRT] {
            let always = Arc::new(AtomicBool::new(true));
            signal_hook::flag::register_conditional_shutdown(signal, 0, always)?;
        }
        signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        let (hangup, theirs) = UnixStream::pair()?;
        hangup.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(SIGHUP, theirs)?;
        Ok(Signals { sighup: hangup })
    }

    /// Waits until `until`, and meanwhile follows the conf. Tells whether
    /// other rules are in force now.
    pub fn wait(&self, until: Instant, conf: &mut Conf) -> bool {
        self.wait_unless(|_, now| now >= until, until, conf)
    }

    /// The same until the conf was taken or found to be unusable: one that has
    /// just been written is given until `until` to be still, and a large one
    /// the time that it takes to parse.
    pub fn wait_for_conf(&self, until: Instant, conf: &mut Conf) -> bool {
        let enough = |conf: &Conf, now| conf.first_load_done || (now >= until && !conf.is_busy());
        self.wait_unless(enough, until, conf)
    }

    fn wait_unless(
        &self,
        enough: impl Fn(&Conf, Instant) -> bool,
        until: Instant,
        conf: &mut Conf,
    ) -> bool {
        let mut changed = false;
        loop {
            if self.take_sighup() {
                conf.reload();
            }
            changed |= conf.poll_updates();
            let now = Instant::now();
            if enough(conf, now) {
                return changed;
            }
            let left = until.saturating_duration_since(now);
            self.sleep(if left.is_zero() { CHECK_INTERVAL } else { left }, conf);
        }
    }

    /// Whether SIGHUP has come since the last time.
    fn take_sighup(&self) -> bool {
        let mut buffer = [0; 64];
        let mut hung_up = false;
        while matches!(rustix::io::read(&self.sighup, &mut buffer), Ok(1..)) {
            hung_up = true;
        }
        hung_up
    }

    fn sleep(&self, time: Duration, conf: &Conf) {
        let mut waited_for =
            [self.sighup.as_fd(), conf.fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        // An interrupted sleep is looked into by the caller.
        let _ = rustix::event::poll(&mut waited_for, Timespec::try_from(time).ok().as_ref());
    }
}
