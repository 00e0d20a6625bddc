//! A program in a pseudo-terminal, and what its screen shows.

use std::fs::OpenOptions;
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use vt100::{Parser, Screen};

use crate::Result;

/// The program and its terminal; ended when dropped.
pub(crate) struct Terminal {
    master: OwnedFd,
    child: Child,
    parser: Parser,
}

impl Terminal {
    /// Starts a program in a terminal of so many columns and rows.
    pub(crate) fn start(mut command: Command, (columns, rows): (u16, u16)) -> Result<Terminal> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size)?;
        let name = ptsname(&master, Vec::new())?.into_string()?;
        let slave = OpenOptions::new().read(true).write(true).open(name)?;
        command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
        let parser = parser(rows, columns)?;
        Ok(Terminal { master, child: command.spawn()?, parser })
    }

    /// Takes in what the program writes in this time.
    pub(crate) fn watch(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let mut wait = [PollFd::new(&self.master, PollFlags::IN)];
            if poll(&mut wait, Some(&Timespec::try_from(left)?))? == 0 {
                return Ok(());
            }
            let mut buffer = [0; 65536];
            // EIO: the program has ended.
            let length = rustix::io::read(&self.master, &mut buffer)
                .map_err(|error| format!("the program ended ({error}):\n{}", self.text()))?;
            self.parser.process(buffer.get(..length).unwrap_or_default());
        }
    }

    /// Types.
    pub(crate) fn press(&mut self, keys: &[u8]) -> Result<()> {
        rustix::io::write(&self.master, keys)?;
        Ok(())
    }

    /// The screen.
    pub(crate) fn screen(&self) -> &Screen {
        self.parser.screen()
    }

    /// The screen as text.
    pub(crate) fn text(&self) -> String {
        self.screen().contents()
    }
}

/// An emulator of a terminal of this size.
pub(crate) fn parser(rows: u16, columns: u16) -> Result<Parser> {
    Ok(Parser::new(NonZeroU16::try_from(rows)?, NonZeroU16::try_from(columns)?, 0))
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
