//! `cargo xtask picture`: a picture of the live view, drawn from a real run on
//! processes made for it.

mod scene;
mod svg;
mod terminal;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use psstat_testproc::TempDir;

use self::scene::Scene;
use self::terminal::Terminal;
use crate::Result;

/// How large the terminal is: columns and rows.
const SIZE: (u16, u16) = (100, 28);
/// As long as it takes until the histories are full.
const WATCHED: Duration = Duration::from_secs(20);
/// How long the processes may take to be there, and the view to come up.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest window of a second that a picture may show, in seconds. What the
/// view says of its cost would be that of a machine that has no time.
const LONGEST_WINDOW: f64 = 1.1;
/// What is typed when all is there: unfold the first image and the two below.
const KEYS: &str = " jjj jjjjj ";

/// Draws `docs/top.svg`.
pub(crate) fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask is in no workspace")?;
    let program = release(root)?;
    let temp = TempDir::new()?;
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, scene::CONF)?;
    refuse_strangers(&program, &conf)?;

    let mut scene = Scene::set()?;
    let mut command = alone(&program);
    command.arg("top").arg("--conf").arg(&conf);
    let mut terminal = Terminal::start(command, SIZE)?;
    let begin = Instant::now();
    while !scene.is_shown(&terminal.text()) {
        if begin.elapsed() > PATIENCE {
            return Err(format!("the view does not come up:\n{}", terminal.text()).into());
        }
        terminal.watch(Duration::from_millis(100))?;
    }
    for key in KEYS.bytes() {
        terminal.press(&[key])?;
        terminal.watch(Duration::from_millis(200))?;
    }
    let begin = Instant::now();
    while begin.elapsed() < WATCHED {
        scene.play(begin.elapsed())?;
        terminal.watch(Duration::from_millis(100))?;
    }
    let window = window(&terminal.text()).ok_or("the view does not say how long its window was")?;
    if window > LONGEST_WINDOW {
        return Err(format!(
            "the last window was {window} s long: this machine is too busy for a picture"
        )
        .into());
    }
    let picture = svg::draw(terminal.screen(), "psstat-dump top");
    let path = root.join("docs").join("top.svg");
    std::fs::write(&path, picture)?;
    println!("{}", terminal.text());
    Ok(())
}

/// How long the window was of which the view says what looking cost, in
/// seconds.
fn window(screen: &str) -> Option<f64> {
    let cost = screen.lines().find_map(|line| line.trim().strip_prefix("looking cost "))?;
    cost.split_once(" in ")?.1.split(' ').next()?.parse().ok()
}

/// The inspector as it is released: the view tells what looking costs.
fn release(root: &Path) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["build", "--release", "--package", "psstat-dump"];
    if !Command::new(cargo).args(arguments).current_dir(root).status()?.success() {
        return Err("the release build failed".into());
    }
    // target/PROFILE/xtask
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).ok_or("this program is in no target folder")?;
    Ok(target.join("release").join("psstat-dump"))
}

/// The inspector with nothing of this user's environment.
fn alone(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("TERM", "xterm-256color");
    command
}

/// Only processes made for the picture may be in it.
fn refuse_strangers(program: &Path, conf: &Path) -> Result<()> {
    let mut command = alone(program);
    command.arg("--conf").arg(conf).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status()?.code() {
        Some(1) => Ok(()),
        Some(0) => Err("processes of this machine have the picture's names: end them first".into()),
        _ => Err("psstat-dump does not take the picture's conf".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture from a machine with no time to spare told of a cost that
    /// nobody will see.
    #[test]
    fn the_window_stands_beside_the_cost() {
        let screen = "2026-01-31T00:00:00Z  14 processes, 6 images\n\
            looking cost 50.3 ms of CPU in 1.61 s (3.1 %)\n";
        assert_eq!(window(screen), Some(1.61));
        assert_eq!(window("measuring …"), None);
    }
}
