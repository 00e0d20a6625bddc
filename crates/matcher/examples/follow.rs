//! A conf that is checked, followed, and asked.
//!
//! ```text
//! cargo run -p psstat-matcher --example follow -- psstat.conf
//! ```
//!
//! Says what is wrong with the conf, then names the images of each command line
//! that it reads from stdin, by the conf as it is at that moment.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use psstat_matcher::Rules;
use psstat_matcher::watcher::{ConfigWatcher, Event};

fn main() -> io::Result<()> {
    let Some(path) = std::env::args_os().nth(1) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "which conf?"));
    };
    follow(Path::new(&path), io::stdin().lock(), io::stdout().lock())
}

/// Answers each line of `command_lines` until they end.
pub(crate) fn follow(
    path: &Path,
    command_lines: impl BufRead,
    mut out: impl Write,
) -> io::Result<()> {
    let mut live = ConfigWatcher::new(path);
    let mut rules = Rules::default();
    // A conf that was changed this moment is given the time to be still.
    let latest = Instant::now() + Duration::from_secs(1);
    while Instant::now() < latest && !take(&mut live, &mut rules, &mut out)? {
        std::thread::sleep(Duration::from_millis(20));
    }
    for line in command_lines.split(b'\n') {
        let line = line?;
        take(&mut live, &mut rules, &mut out)?;
        let mut images = Vec::new();
        rules.classify(&line, &mut |image| images.push(rules.images()[image].as_str()));
        writeln!(out, "{}", images.join(" "))?;
        out.flush()?;
    }
    Ok(())
}

/// Takes what has changed since the last time, and tells it. Whether there was
/// something.
fn take(live: &mut ConfigWatcher, rules: &mut Rules, out: &mut impl Write) -> io::Result<bool> {
    let name = live.path().display().to_string();
    match live.poll(Instant::now()) {
        Some(Event::Loaded(loaded)) => {
            for diagnostic in &loaded.conf.diagnostics {
                writeln!(out, "{}", diagnostic.display(&name))?;
            }
            *rules = loaded.conf.rules;
            writeln!(out, "{} rules are in force", rules.rules().len())?;
            Ok(true)
        }
        // Those that were in force stay so.
        Some(Event::Unusable(reason)) => writeln!(out, "{name} {reason}").map(|()| true),
        _ => Ok(false),
    }
}
