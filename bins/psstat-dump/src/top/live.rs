//! The windows of the live view, which a thread measures, and the reports of processes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use psstat_sampler::MetricGroups;

use super::app::App;
use super::host::{Host, HostReader};
use super::screen::{Feed, MEASURING, take_panic_message};
use crate::exit::Error;
use crate::measure::{Measurer, Snapshot};
use crate::process_report;
use crate::table::units::Style;
use crate::terminal::Paint;
use psstat_support::clock::process_cpu_time;
use psstat_support::failpoint;

/// The first window is at most this long, so that there are values soon.
const FIRST_WINDOW: Duration = Duration::from_millis(200);
/// A window ends early when the user changes the options, but not before this time.
const MIN_WINDOW: Duration = Duration::from_millis(100);

/// The options of the measuring thread.
#[derive(Clone, Copy, Debug, PartialEq)]
struct MeasureOptions {
    interval: Duration,
    kernel_threads: bool,
    groups: MetricGroups,
}

impl MeasureOptions {
    fn of(app: &App) -> MeasureOptions {
        let (interval, groups) = (app.interval, app.groups());
        MeasureOptions { interval, kernel_threads: app.settings.kernel_threads, groups }
    }
}

/// The data that both threads share.
#[derive(Debug)]
struct Shared {
    options: Mutex<(MeasureOptions, bool)>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, (MeasureOptions, bool)> {
        self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A window, the state of the host, and the CPU time of this program in it.
type Window = (Snapshot, Option<Host>, Duration);

/// The windows of the measuring thread.
#[derive(Debug)]
pub struct Live {
    windows: Receiver<Result<Window, Error>>,
    shared: Arc<Shared>,
    report: Option<(u32, Receiver<String>)>,
    proc: PathBuf,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.lock().1 = true;
        self.shared.changed.notify_all();
    }
}

impl Live {
    /// Starts to measure the processes of this procfs in another thread, so that keys are handled
    /// immediately. `start` makes the measurer, with the groups of values that are needed first.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        app: &App,
        start: impl FnOnce(MetricGroups) -> Result<Measurer, Error> + Send + 'static,
    ) -> io::Result<Live> {
        // At most one window is queued.
        let (sender, windows) = sync_channel(1);
        let options = Mutex::new((MeasureOptions::of(app), false));
        let shared = Arc::new(Shared { options, changed: Condvar::new() });
        let (of_thread, proc) = (Arc::clone(&shared), app.proc.clone());
        std::thread::Builder::new().name(MEASURING.to_owned()).spawn(move || {
            let mut previous = process_cpu_time();
            let mut options = of_thread.lock().0;
            let mut measurer = match start(options.groups) {
                Ok(measurer) => measurer,
                Err(error) => return drop(sender.send(Err(error))),
            };
            let mut host = (!measurer.is_capture()).then(|| HostReader::new(&proc));
            host.as_mut().map(HostReader::read);
            let mut is_first = true;
            loop {
                let window =
                    if is_first { FIRST_WINDOW.min(options.interval) } else { options.interval };
                is_first = false;
                measurer.set_window(window);
                measurer.set_kernel_threads(options.kernel_threads);
                if let Err(error) = measurer.set_groups(options.groups) {
                    return drop(sender.send(Err(error.into())));
                }
                let due = measurer.open();
                match wait(&of_thread, due, options) {
                    Some(next) => options = next,
                    None => return,
                }
                let snapshot = measurer.close();
                failpoint::hit("measure");
                let host = host.as_mut().map(HostReader::read);
                let now = process_cpu_time();
                let cost = now.saturating_sub(previous);
                previous = now;
                if sender.send(Ok((snapshot, host, cost))).is_err() {
                    return;
                }
            }
        })?;
        Ok(Live { windows, shared, report: None, proc: app.proc.clone() })
    }

    /// Reads reports of processes in a thread: it takes a second, or longer if reads block.
    fn poll_report(&mut self, app: &mut App) -> io::Result<bool> {
        if let Some(pid) = app.requested.take() {
            let (sender, receiver) = sync_channel(1);
            let proc = self.proc.clone();
            std::thread::Builder::new().name(MEASURING.to_owned()).spawn(move || {
                // The page can be closed by now.
                let _ = sender.send(report(&proc, pid));
            })?;
            self.report = Some((pid, receiver));
        }
        let Some((pid, receiver)) = &self.report else { return Ok(false) };
        let text = match receiver.try_recv() {
            Ok(text) => text,
            Err(TryRecvError::Empty) => return Ok(false),
            Err(TryRecvError::Disconnected) => {
                format!("process {pid}: cannot be read: {}", take_panic_message())
            }
        };
        app.set_report(*pid, &text);
        self.report = None;
        Ok(true)
    }
}

/// The text of the page of a process.
fn report(proc: &Path, pid: u32) -> String {
    match process_report::read(proc, pid) {
        Ok(report) => process_report::as_text(&report, Style::Human, Paint::PLAIN),
        Err(error) => format!("process {pid}: {error}"),
    }
}

/// Waits until a window is due, or until the options change. Returns the options then;
/// `None` at the end.
fn wait(shared: &Shared, due: Instant, before: MeasureOptions) -> Option<MeasureOptions> {
    let earliest = Instant::now() + MIN_WINDOW;
    let mut state = shared.lock();
    loop {
        let (options, is_closed) = *state;
        let now = Instant::now();
        let end = if options == before { due } else { due.min(earliest) };
        if is_closed {
            return None;
        }
        if now >= end {
            return Some(options);
        }
        let waited = shared.changed.wait_timeout(state, end - now);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

impl Feed for Live {
    fn poll(&mut self, app: &mut App) -> Result<bool, Error> {
        let options = MeasureOptions::of(app);
        let mut state = self.shared.lock();
        if state.0 != options {
            state.0 = options;
            self.shared.changed.notify_all();
        }
        drop(state);
        let has_report = self.poll_report(app)?;
        match self.windows.try_recv() {
            Ok(window) => {
                let (snapshot, host, cost) = window?;
                if !app.paused {
                    app.host = host;
                }
                app.set_snapshot(snapshot, cost);
                Ok(true)
            }
            Err(TryRecvError::Empty) => Ok(has_report),
            Err(TryRecvError::Disconnected) => {
                Err(Error::Usage(format!("sampling failed: {}", take_panic_message())))
            }
        }
    }
}
