//! The terminal, the keys, and the thread that measures.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use rustix::time::{ClockId, clock_gettime};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::app::{App, Next};
use super::view;
use crate::exit::Failure;
use crate::fault;
use crate::measure::{Measurer, Snapshot};

/// How long a signal or a new window may wait for its turn.
const PATIENCE: Duration = Duration::from_millis(50);

/// The terminal, which is as it was when this is dropped.
struct Screen(DefaultTerminal);

/// What the measuring thread said when it panicked.
static LAST_WORDS: Mutex<Option<String>> = Mutex::new(None);

/// The measuring thread's name.
const MEASURING: &str = "measure";

impl Screen {
    /// Takes the terminal. A panic gives it back before it says anything; one
    /// of the measuring thread says it when the terminal has been given back.
    fn take() -> io::Result<Screen> {
        let screen = ratatui::try_init().map(Screen)?;
        let give_back = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() == Some(MEASURING) {
                let mut words = LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner);
                *words = Some(panic.to_string());
            } else {
                give_back(panic);
            }
        }));
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal itself may be gone.
        let _ = ratatui::try_restore();
    }
}

/// Shows what is measured until somebody quits, or a signal ends it.
///
/// # Errors
/// When there is no terminal to draw on.
pub fn run(measurer: Measurer, proc: PathBuf) -> Result<(), Failure> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended))?;
    }
    let windows = measure(measurer)?;
    let mut screen = Screen::take()?;
    let mut app = App::new(proc);
    screen.0.draw(|frame| view::draw(frame, &app))?;
    while !ended.load(Ordering::Relaxed) {
        let mut changed = false;
        if event::poll(PATIENCE)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    if app.key(key) == Next::Quit {
                        break;
                    }
                    changed = true;
                }
                Event::Resize(..) => changed = true,
                _ => {}
            }
        }
        match windows.try_recv() {
            Ok((snapshot, cost)) => {
                app.take(snapshot, cost);
                changed = true;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                let words = LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner).take();
                let words = words.unwrap_or_default();
                return Err(Failure::Usage(format!("measuring has stopped: {words}")));
            }
        }
        if changed {
            fault::perhaps("draw");
            screen.0.draw(|frame| view::draw(frame, &app))?;
        }
    }
    Ok(())
}

/// Measures in a thread of its own, so that keys are answered at once.
fn measure(mut measurer: Measurer) -> io::Result<Receiver<(Snapshot, Duration)>> {
    // One that nobody has looked at yet is enough.
    let (sender, receiver) = sync_channel(1);
    std::thread::Builder::new().name(MEASURING.to_owned()).spawn(move || {
        let mut before = cpu_time();
        loop {
            let due = measurer.open();
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let snapshot = measurer.close();
            fault::perhaps("measure");
            let now = cpu_time();
            if sender.send((snapshot, now.saturating_sub(before))).is_err() {
                return;
            }
            before = now;
        }
    })?;
    Ok(receiver)
}

/// CPU time of this process, all of its threads.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
