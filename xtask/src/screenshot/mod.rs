//! `cargo xtask screenshot`: the live view as an SVG, from a run on test processes.

mod scene;
mod svg;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use psstat_testproc::TempDir;
use psstat_testproc::terminal::Terminal;

use self::scene::{CONFIG, FIRST, Scene};
use crate::{Result, cargo};

/// The size of the terminal: columns and rows.
const SIZE: (u16, u16) = (100, 28);
/// Time until the histories are full.
const TIME: Duration = Duration::from_secs(20);
/// The maximum duration of a window of one second, in seconds: the displayed cost must not be that
/// of a busy machine.
const MAX_WINDOW: f64 = 1.1;
/// Keys that expand the first image and the two below.
const KEYS: &str = " jjj jjjjj ";

/// Draws `docs/top.svg`.
pub(crate) fn run() -> Result<()> {
    let program = cargo::build_release(&["psstat-dump"])?.join("psstat-dump");
    let dir = TempDir::new()?;
    let config = dir.join("psstat.conf");
    std::fs::write(&config, CONFIG)?;
    require_isolated_host(&program, &config)?;

    let mut scene = Scene::start()?;
    let mut command = isolated(&program);
    command.arg("top").arg("--conf").arg(&config);
    let mut terminal = Terminal::start(command, SIZE);
    terminal.wait_for(FIRST);
    for key in KEYS.chars() {
        terminal.press(&key.to_string());
        watch(&mut terminal, Duration::from_millis(200));
    }
    let start = Instant::now();
    while start.elapsed() < TIME {
        scene.step(start.elapsed())?;
        watch(&mut terminal, Duration::from_millis(100));
    }
    let text = terminal.text();
    let window = window(&text).ok_or("the view does not show the duration of its window")?;
    if window > MAX_WINDOW {
        let message = "the machine is too busy for a screenshot";
        return Err(format!("the last window took {window} s: {message}").into());
    }
    let picture = svg::draw(terminal.screen(), "psstat-dump top");
    std::fs::write(cargo::root().join("docs/top.svg"), picture)?;
    println!("{text}");
    Ok(())
}

/// Reads the output of the program during this time.
fn watch(terminal: &mut Terminal, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        terminal.read(end.saturating_duration_since(Instant::now()));
    }
}

/// The duration of the window in the line about the cost of sampling, in seconds: `… in 1.00 s (`.
fn window(screen: &str) -> Option<f64> {
    let line = screen.lines().find(|line| line.contains(" CPU in "))?;
    line.split_once(" in ")?.1.split(' ').next()?.parse().ok()
}

/// The inspector without the environment of the user.
fn isolated(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("TERM", "xterm-256color");
    command
}

/// An error if a process of this machine matches the rules of the screenshot.
fn require_isolated_host(program: &Path, config: &Path) -> Result<()> {
    let mut command = isolated(program);
    command.arg("--conf").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status()?.code() {
        Some(1) => Ok(()),
        Some(0) => Err("processes of this machine match the rules of the screenshot".into()),
        _ => Err("psstat-dump rejects the config of the screenshot".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_is_read_from_the_screen() {
        let screen = "2026-01-31T00:00:00Z  14 processes, 6 images\n\
            overhead: 50.3 ms CPU in 1.61 s (3.1 %)\n";
        assert_eq!(window(screen), Some(1.61));
        assert_eq!(window("measuring …"), None);
    }
}
