//! `top` in a terminal: it comes up, answers, and leaves the terminal as it
//! was on every way out.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::run::{command, run, stderr};

const PATIENCE: Duration = Duration::from_secs(60);
const LEAVES: &str = "\x1b[?1049l";
const HIDES_CURSOR: &str = "\x1b[?25l";
const SHOWS_CURSOR: &str = "\x1b[?25h";

struct Session {
    master: OwnedFd,
    slave: OwnedFd,
    child: Child,
    seen: String,
}

impl Session {
    fn start(args: &[&str]) -> Session {
        Session::start_with(args, |_| ())
    }

    /// The same, the command changed before it is run.
    fn start_with(args: &[&str], change: impl FnOnce(&mut Command)) -> Session {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = OpenOptions::new().read(true).write(true).open(&name).unwrap();
        let stream = || slave.try_clone().unwrap();
        let mut command = command(args);
        command.stdin(stream()).stdout(stream()).stderr(stream());
        change(&mut command);
        let child = command.spawn();
        let slave = OwnedFd::from(slave);
        Session { master, slave, child: child.unwrap(), seen: String::new() }
    }

    /// Waits until the screen was sent this text.
    fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            assert!(Instant::now() < deadline, "no {text:?} in {:?}", self.seen);
            self.hear(Duration::from_millis(100));
        }
    }

    fn hear(&mut self, patience: Duration) {
        let mut wait = [PollFd::new(&self.master, PollFlags::IN)];
        let patience = Timespec::try_from(patience).unwrap();
        if poll(&mut wait, Some(&patience)).unwrap() > 0 {
            let mut buffer = [0; 65536];
            let length = rustix::io::read(&self.master, &mut buffer).unwrap_or(0);
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    }

    fn press(&mut self, keys: &str) {
        rustix::io::write(&self.master, keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The status, once it has ended.
    fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.hear(Duration::from_millis(20));
            if let Some(status) = self.child.try_wait().unwrap() {
                self.hear(Duration::from_millis(20));
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end: {:?}", self.seen);
        }
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn comes_up_answers_and_quits() {
    let mut top = Session::start(&["top", "--no-conf", "--interval", "0.2"]);
    assert!(!top.is_raw());
    top.wait_for("RCHAR/S");
    assert!(top.is_raw());
    top.press("?");
    // What stands between two words may not be sent again.
    top.wait_for("leaves");
    top.press("x");
    let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&top.master, size).unwrap();
    top.signal(Signal::WINCH);
    // crossterm can leave a key that comes together with a new size until the
    // next one is pressed: its epoll tells of each once.
    top.wait_for("\x1b[30;");
    top.press("/no-image-of-this-name");
    top.wait_for("filter:");
    top.press("\x03");
    assert_eq!(top.end(), Some(0));
    assert!(top.seen.contains(LEAVES));
    assert!(!top.is_raw());
}

#[test]
fn gives_the_terminal_back_when_it_is_ended() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut top = Session::start(&["top", "--no-conf"]);
        top.wait_for("measuring");
        assert!(top.is_raw());
        top.signal(signal);
        assert_eq!(top.end(), Some(0), "{signal:?}");
        assert!(top.seen.contains(LEAVES) && !top.is_raw(), "{signal:?}");
    }
}

#[test]
fn gives_the_terminal_back_when_it_panics() {
    if !cfg!(debug_assertions) {
        return println!("skipped: a release build has no defects on purpose");
    }
    for (fault, status) in [("draw", 101), ("measure", 2)] {
        let mut top = Session::start_with(&["top", "--no-conf"], |command| {
            command.env("PSSTAT_FAULT", fault);
        });
        let modes = tcgetattr(&top.slave).unwrap().local_modes;
        top.wait_for("measuring");
        assert!(top.is_raw());
        assert_eq!(top.end(), Some(status), "{fault}");
        assert_eq!(tcgetattr(&top.slave).unwrap().local_modes, modes, "{fault}");
        // What happened is told on the screen that stays.
        let (before, after) = top.seen.split_once(LEAVES).unwrap();
        let words = format!("a defect on purpose: {fault}");
        assert!(!before.contains(&words) && after.contains(&words), "{fault}: {}", top.seen);
        assert!(top.seen.rfind(SHOWS_CURSOR) > top.seen.rfind(HIDES_CURSOR), "{fault}");
    }
}

#[test]
fn needs_a_terminal() {
    for (args, want) in [(&["top"][..], "needs a terminal"), (&["top", "--json"], "--interval")] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(want), "{}", stderr(&output));
    }
}
