//! What a person at a terminal sees.

use std::fs::{File, OpenOptions};
use std::io::Read as _;

use psstat_actor::{Actor, Config};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::run::{command, unique};

/// Runs the program with a terminal of this width as both of its streams, and
/// gives all that it wrote.
fn on_a_terminal(columns: u16, args: &[&str]) -> String {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let slave = || OpenOptions::new().read(true).write(true).open(&name).unwrap();
    let mut child = command(args).stdout(slave()).stderr(slave()).spawn().unwrap();
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    let mut master = File::from(master);
    // EIO: the last writer has closed it.
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..length]);
    }
    child.wait().unwrap();
    String::from_utf8(seen).unwrap()
}

#[test]
fn lines_fit_and_a_word_tells_that_it_measures() {
    let name = unique("screen");
    let long = "word ".repeat(60);
    let _actor = Actor::spawn(&Config::new(&name).arg(long).arg("日本語".repeat(30))).unwrap();
    for columns in [40, 80, 132] {
        let seen = on_a_terminal(columns, &["--no-conf", "-p", &name]);
        let (progress, table) = seen.split_once("\r\x1b[K").unwrap();
        assert_eq!(progress, "measuring …");
        assert_eq!(table.lines().count(), 2, "{table}");
        assert!(table.starts_with("\x1b[1m"), "{table}");
        for line in table.replace("\x1b[1m", "").replace("\x1b[0m", "").lines() {
            let wide = line.chars().filter(|c| ('\u{3000}'..='\u{9fff}').contains(c)).count();
            let width = line.trim_end_matches('\r').chars().count() + wide;
            assert!(width <= usize::from(columns), "{columns}: {line}");
        }
    }
}
