//! A program in a pseudo-terminal, what it wrote, and what its screen shows.

use std::fs::OpenOptions;
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use vt100::Parser;

use crate::run::command;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Columns and rows of a terminal at its start.
pub(crate) const SIZE: (u16, u16) = (80, 24);

pub(crate) struct Session {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
    pub(crate) child: Child,
    /// How the terminal was before the program had it.
    pub(crate) modes: LocalModes,
    /// All bytes that came.
    pub(crate) seen: String,
    parser: Parser,
}

impl Session {
    pub(crate) fn start(args: &[&str]) -> Session {
        Session::start_with(args, |_| ())
    }

    /// The same, the command changed before it is run.
    pub(crate) fn start_with(args: &[&str], change: impl FnOnce(&mut Command)) -> Session {
        // Close-on-exec: no process of another test may keep the terminal.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, winsize(SIZE)).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = OpenOptions::new().read(true).write(true).open(&name).unwrap();
        let stream = || slave.try_clone().unwrap();
        let modes = tcgetattr(&slave).unwrap().local_modes;
        assert!(!is_raw(modes));
        let mut command = command(args);
        command.stdin(stream()).stdout(stream()).stderr(stream());
        change(&mut command);
        let child = command.spawn().unwrap();
        let (columns, rows) = SIZE;
        let parser = Parser::new(cells(rows), cells(columns), 0);
        Session { master, slave: slave.into(), child, modes, seen: String::new(), parser }
    }

    /// The screen as text, without spaces at the lines' ends.
    pub(crate) fn screen(&self) -> String {
        let screen = self.parser.screen();
        let columns = screen.size().1.get();
        let lines = screen.rows(0, columns).map(|line| line.trim_end().to_owned());
        let lines: Vec<String> = lines.collect();
        lines.join("\n")
    }

    /// Waits until the screen shows this text, or it was sent as it is.
    pub(crate) fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.screen().contains(text) && !self.seen.contains(text) {
            assert!(Instant::now() < deadline, "no {text:?}:\n{}\n{:?}", self.screen(), self.seen);
            self.hear(Duration::from_millis(100));
        }
    }

    /// Waits until the screen is as it should be, and gives it.
    pub(crate) fn wait_until(&mut self, is_so: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "it does not come:\n{screen}");
            self.hear(Duration::from_millis(100));
        }
    }

    pub(crate) fn hear(&mut self, patience: Duration) {
        let mut wait = [PollFd::new(&self.master, PollFlags::IN)];
        let patience = Timespec::try_from(patience).unwrap();
        if poll(&mut wait, Some(&patience)).unwrap() > 0 {
            let mut buffer = [0; 65536];
            let length = rustix::io::read(&self.master, &mut buffer).unwrap_or(0);
            self.parser.process(&buffer[..length]);
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    }

    /// Forgets what came until now, and what the screen shows.
    pub(crate) fn forget(&mut self) {
        self.seen.clear();
        let (rows, columns) = self.parser.screen().size();
        self.parser = Parser::new(rows, columns, 0);
    }

    pub(crate) fn resize(&mut self, size: (u16, u16)) {
        let (columns, rows) = size;
        self.parser.screen_mut().set_size(cells(rows), cells(columns));
        tcsetwinsize(&self.master, winsize(size)).unwrap();
        self.signal(Signal::WINCH);
    }

    pub(crate) fn press(&mut self, keys: &str) {
        rustix::io::write(&self.master, keys.as_bytes()).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The status, once it has ended.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.hear(Duration::from_millis(20));
            if let Some(status) = self.child.try_wait().unwrap() {
                self.hear_all();
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end: {:?}", self.seen);
        }
    }

    /// Hears what was written until now, which may still be on its way: all that
    /// is before a mark of our own.
    fn hear_all(&mut self) {
        const MARK: &str = "\x1b]a mark\x07";
        // Where the terminal is gone there is nothing to come.
        if rustix::io::write(&self.slave, MARK.as_bytes()).is_ok() {
            self.wait_for(MARK);
            self.seen = self.seen.replace(MARK, "");
        }
    }

    pub(crate) fn is_raw(&self) -> bool {
        is_raw(tcgetattr(&self.slave).unwrap().local_modes)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_raw(modes: LocalModes) -> bool {
    !modes.contains(LocalModes::ICANON | LocalModes::ECHO)
}

fn winsize((columns, rows): (u16, u16)) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn cells(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}
