//! The terminal, and the events and signals while the view is shown.

use std::io;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossterm::event::{
    self, DisableMouseCapture, EnableMouseCapture, Event, KeyCode, KeyEvent, KeyEventKind,
    KeyModifiers,
};
use crossterm::{execute, terminal};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{DefaultTerminal, Terminal, TerminalOptions, Viewport};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};

use super::app::{App, Next};
use super::view;
use crate::exit::Error;
use crate::terminal::fallback_size;
use psstat_support::failpoint;

/// Interval for checking signals and new windows.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Columns and lines that are drawn at most. No screen shows more, and the memory of the view is
/// proportional to them: a terminal can report up to 65,535 of each.
const MAX_SIZE: (u16, u16) = (1000, 400);

/// The terminal, which is restored on drop.
struct Screen {
    /// Its destructor panics if neither the terminal nor stderr can be written.
    terminal: ManuallyDrop<DefaultTerminal>,
    /// Columns and lines that are drawn.
    size: (u16, u16),
    /// Whether the terminal reports the mouse.
    has_mouse: bool,
}

/// The panic message of a measuring thread.
static PANIC_MESSAGE: Mutex<Option<String>> = Mutex::new(None);

/// The name of the measuring threads.
pub(super) const MEASURING: &str = "measure";

impl Screen {
    /// Sets up the terminal. A panic restores it before the message is printed;
    /// the message of the measuring thread is printed after it is restored.
    fn enter(has_mouse: bool) -> io::Result<Screen> {
        let size = drawn_size();
        let terminal = ManuallyDrop::new(ratatui::try_init_with_options(fixed(size))?);
        let mut screen = Screen { terminal, size, has_mouse };
        screen.set_modes()?;
        screen.redraw()?;
        let restore = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() == Some(MEASURING) {
                let mut message = PANIC_MESSAGE.lock().unwrap_or_else(PoisonError::into_inner);
                *message = Some(panic.to_string());
            } else {
                if has_mouse {
                    let _ = execute!(io::stdout(), DisableMouseCapture);
                }
                restore(panic);
            }
        }));
        Ok(screen)
    }

    fn set_modes(&self) -> io::Result<()> {
        execute!(io::stdout(), terminal::EnterAlternateScreen)?;
        if self.has_mouse {
            execute!(io::stdout(), EnableMouseCapture)?;
        }
        Ok(())
    }

    /// Restores the modes of the terminal, as far as it still accepts them.
    fn restore(&mut self) -> io::Result<()> {
        let shown = self.terminal.show_cursor();
        let mouse =
            if self.has_mouse { execute!(io::stdout(), DisableMouseCapture) } else { Ok(()) };
        ratatui::try_restore()?;
        shown.and(mouse)
    }

    /// Sets up the terminal again after the program was stopped.
    fn reenter(&mut self) -> io::Result<()> {
        // crossterm assumes that the modes are unchanged.
        terminal::disable_raw_mode()?;
        terminal::enable_raw_mode()?;
        self.set_modes()?;
        self.redraw()
    }

    /// Redraws the complete screen in the current size.
    fn redraw(&mut self) -> io::Result<()> {
        self.size = drawn_size();
        // The new terminal assumes an empty screen.
        let mut stdout = io::stdout();
        execute!(stdout, terminal::Clear(terminal::ClearType::All))?;
        let backend = CrosstermBackend::new(stdout);
        let terminal = Terminal::with_options(backend, fixed(self.size))?;
        let before = std::mem::replace(&mut self.terminal, ManuallyDrop::new(terminal));
        drop(ManuallyDrop::into_inner(before));
        Ok(())
    }

    /// Adopts the current size, also that of a change before the first event was read.
    fn adopt_size(&mut self) -> io::Result<()> {
        if self.size == drawn_size() { Ok(()) } else { self.redraw() }
    }

    /// Restores the terminal and stops this program, as ctrl-z does. Returns when
    /// it is continued.
    fn suspend(&mut self) -> io::Result<()> {
        self.restore()?;
        signal_hook::low_level::emulate_default_handler(SIGTSTP)?;
        self.reenter()
    }
}

/// The size that the terminal reports, or a default if it reports none, up to [`MAX_SIZE`].
fn drawn_size() -> (u16, u16) {
    let reported = terminal::size().ok().filter(|(columns, lines)| *columns > 0 && *lines > 0);
    let (columns, lines) = reported.unwrap_or_else(fallback_size);
    (columns.min(MAX_SIZE.0), lines.min(MAX_SIZE.1))
}

/// A viewport of this size. A full-screen one would follow the reported size without a limit.
fn fixed((columns, lines): (u16, u16)) -> TerminalOptions {
    TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, columns, lines)) }
}

/// Whether the terminal has been closed. Without a SIGHUP, reading it would
/// return events indefinitely.
fn is_hung_up() -> bool {
    let stdin = io::stdin();
    let mut wait = [PollFd::new(&stdin, PollFlags::IN)];
    let closed = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    poll(&mut wait, Some(&Timespec::default())).is_ok()
        && wait.iter().any(|one| one.revents().intersects(closed))
}

/// Whether a key is ctrl-z.
fn is_suspend_key(key: KeyEvent) -> bool {
    key.code == KeyCode::Char('z') && key.modifiers.contains(KeyModifiers::CONTROL)
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal can be closed.
        let _ = self.restore();
    }
}

/// The signals that were received.
#[derive(Debug, Default)]
struct Signals {
    terminated: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
    continued: Arc<AtomicBool>,
}

/// The source of windows.
pub trait Feed {
    /// Gives new windows to the view, if there are any, and returns whether it has changed.
    ///
    /// # Errors
    /// When there can be no more windows.
    fn poll(&mut self, app: &mut App) -> Result<bool, Error>;
}

/// The message of the last panic of a measuring thread.
pub(super) fn take_panic_message() -> String {
    PANIC_MESSAGE.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
}

/// Shows the windows of a source until the user quits or a signal ends it.
///
/// # Errors
/// When there is no terminal, or the source fails.
pub fn run(feed: &mut dyn Feed, mut app: App) -> Result<(), Error> {
    let signals = Signals::default();
    for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
        signal_hook::flag::register(signal, Arc::clone(&signals.terminated))?;
    }
    signal_hook::flag::register(SIGTSTP, Arc::clone(&signals.stopped))?;
    signal_hook::flag::register(SIGCONT, Arc::clone(&signals.continued))?;
    let mut screen = Screen::enter(app.settings.mouse)?;
    match show(&mut screen, &mut app, feed, &signals) {
        // Reading or writing can be what finds that the terminal is closed.
        Err(Error::Output(_)) if is_hung_up() || signals.terminated.load(Ordering::Relaxed) => {
            Ok(())
        }
        result => result,
    }
}

/// Draws and handles events until the user quits or a signal ends it.
fn show(
    screen: &mut Screen,
    app: &mut App,
    feed: &mut dyn Feed,
    signals: &Signals,
) -> Result<(), Error> {
    let Signals { terminated, stopped, continued } = signals;
    screen.adopt_size()?;
    screen.terminal.draw(|frame| view::draw(frame, app))?;
    while !terminated.load(Ordering::Relaxed) && !is_hung_up() {
        let mut changed = false;
        if stopped.swap(false, Ordering::Relaxed) {
            screen.suspend()?;
            changed = true;
        }
        // Also after a SIGSTOP, which cannot be caught.
        if continued.swap(false, Ordering::Relaxed) {
            screen.reenter()?;
            changed = true;
        }
        if event::poll(POLL_INTERVAL)? {
            match event::read()? {
                Event::Key(key) if is_suspend_key(key) => stopped.store(true, Ordering::Relaxed),
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    if app.key(key) == Next::Quit {
                        break;
                    }
                    changed = true;
                }
                Event::Mouse(event) => {
                    app.mouse(event);
                    changed = true;
                }
                Event::Resize(..) => {
                    screen.redraw()?;
                    changed = true;
                }
                _ => {}
            }
        }
        changed |= feed.poll(app)?;
        if changed {
            failpoint::hit("draw");
            screen.adopt_size()?;
            screen.terminal.draw(|frame| view::draw(frame, app))?;
        }
    }
    Ok(())
}
