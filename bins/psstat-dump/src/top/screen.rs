//! The terminal, the keys, and the thread that measures.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::{execute, terminal};
use ratatui::backend::CrosstermBackend;
use ratatui::{DefaultTerminal, Terminal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};

use super::app::{App, Next};
use super::view;
use crate::exit::Error;
use crate::measure::{Measurer, Snapshot};
use psstat_support::clock::process_cpu_time;
use psstat_support::failpoint;

/// How long a signal or a new window may wait for its turn.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The terminal, which is as it was when this is dropped.
struct Screen(DefaultTerminal);

/// What the measuring thread said when it panicked.
static PANIC_MESSAGE: Mutex<Option<String>> = Mutex::new(None);

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
                let mut words = PANIC_MESSAGE.lock().unwrap_or_else(PoisonError::into_inner);
                *words = Some(panic.to_string());
            } else {
                give_back(panic);
            }
        }));
        Ok(screen)
    }

    /// Takes the terminal again after others had it: a shell, while this
    /// program was stopped.
    fn reenter(&mut self) -> io::Result<()> {
        // crossterm believes that its modes still hold, whoever changed them.
        terminal::disable_raw_mode()?;
        terminal::enable_raw_mode()?;
        let mut stdout = io::stdout();
        let all = terminal::Clear(terminal::ClearType::All);
        execute!(stdout, terminal::EnterAlternateScreen, all)?;
        // A new one knows nothing of what was on the screen.
        self.0 = Terminal::new(CrosstermBackend::new(stdout))?;
        Ok(())
    }

    /// Stops this program, as ctrl-z does, with the terminal given back.
    /// Returns when it goes on.
    fn suspend(&mut self) -> io::Result<()> {
        self.0.show_cursor()?;
        ratatui::try_restore()?;
        signal_hook::low_level::emulate_default_handler(SIGTSTP)?;
        self.reenter()
    }
}

/// Whether the terminal has gone away. Where nothing tells so by SIGHUP, it
/// would look like keys for ever.
fn is_hung_up() -> bool {
    let stdin = io::stdin();
    let mut wait = [PollFd::new(&stdin, PollFlags::IN)];
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    poll(&mut wait, Some(&Timespec::default())).is_ok()
        && wait.iter().any(|one| one.revents().intersects(gone))
}

/// Whether a key is ctrl-z.
fn asks_to_stop(key: KeyEvent) -> bool {
    key.code == KeyCode::Char('z') && key.modifiers.contains(KeyModifiers::CONTROL)
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
pub fn run(measurer: Measurer, proc: PathBuf) -> Result<(), Error> {
    let [ended, stopped, continued] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
    for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
        signal_hook::flag::register(signal, Arc::clone(&ended))?;
    }
    signal_hook::flag::register(SIGTSTP, Arc::clone(&stopped))?;
    signal_hook::flag::register(SIGCONT, Arc::clone(&continued))?;
    let windows = measure(measurer)?;
    let mut screen = Screen::take()?;
    let mut app = App::new(proc);
    screen.0.draw(|frame| view::draw(frame, &mut app))?;
    while !ended.load(Ordering::Relaxed) && !is_hung_up() {
        let mut changed = false;
        if stopped.swap(false, Ordering::Relaxed) {
            screen.suspend()?;
            changed = true;
        }
        // Also after a SIGSTOP, which nobody is told of.
        if continued.swap(false, Ordering::Relaxed) {
            screen.reenter()?;
            changed = true;
        }
        if event::poll(POLL_INTERVAL)? {
            match event::read()? {
                Event::Key(key) if asks_to_stop(key) => stopped.store(true, Ordering::Relaxed),
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
                app.set_snapshot(snapshot, cost);
                changed = true;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                let words = PANIC_MESSAGE.lock().unwrap_or_else(PoisonError::into_inner).take();
                let words = words.unwrap_or_default();
                return Err(Error::Usage(format!("measuring has stopped: {words}")));
            }
        }
        if changed {
            failpoint::hit("draw");
            screen.0.draw(|frame| view::draw(frame, &mut app))?;
        }
    }
    Ok(())
}

/// Measures in a thread of its own, so that keys are answered at once.
fn measure(mut measurer: Measurer) -> io::Result<Receiver<(Snapshot, Duration)>> {
    // One that nobody has looked at yet is enough.
    let (sender, receiver) = sync_channel(1);
    std::thread::Builder::new().name(MEASURING.to_owned()).spawn(move || {
        let mut before = process_cpu_time();
        loop {
            let due = measurer.open();
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let snapshot = measurer.close();
            failpoint::hit("measure");
            let now = process_cpu_time();
            if sender.send((snapshot, now.saturating_sub(before))).is_err() {
                return;
            }
            before = now;
        }
    })?;
    Ok(receiver)
}
