//! Checks a config file, reloads it when it changes, and classifies command
//! lines.
//!
//! ```text
//! cargo run -p psstat-matcher --example interactive -- psstat.conf
//! ```
//!
//! Prints the diagnostics of the config file, then the images of each command
//! line that it reads from stdin, by the rules that are active at that moment.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use psstat_matcher::watcher::{ConfigWatcher, Event};
use psstat_matcher::{MatchCache, Rules};

fn main() -> io::Result<()> {
    let Some(path) = std::env::args_os().nth(1) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: interactive CONFIG_FILE"));
    };
    follow(Path::new(&path), io::stdin().lock(), io::stdout().lock())
}

/// Prints one line of images per command line, until the end of the input.
pub(crate) fn follow(
    path: &Path,
    command_lines: impl BufRead,
    mut out: impl Write,
) -> io::Result<()> {
    let mut watcher = ConfigWatcher::new(path);
    let (mut rules, mut cache) = (Rules::default(), MatchCache::default());
    // A file that was changed just now needs time to settle.
    let deadline = Instant::now() + Duration::from_secs(1);
    while Instant::now() < deadline && !update(&mut watcher, &mut rules, &mut out)? {
        std::thread::sleep(Duration::from_millis(20));
    }
    for line in command_lines.split(b'\n') {
        let line = line?;
        update(&mut watcher, &mut rules, &mut out)?;
        let images: Vec<_> = rules.matches(&line, &mut cache).map(|found| found.name).collect();
        writeln!(out, "{}", images.join(" "))?;
        out.flush()?;
    }
    Ok(())
}

/// Applies and prints a change of the config file; returns whether there was
/// one.
fn update(
    watcher: &mut ConfigWatcher,
    rules: &mut Rules,
    out: &mut impl Write,
) -> io::Result<bool> {
    let path = watcher.paths().first().map_or(String::new(), |path| path.display().to_string());
    match watcher.poll(Instant::now()) {
        Some(Event::Loaded(loaded)) => {
            for diagnostic in &loaded.conf.diagnostics {
                writeln!(out, "{}", diagnostic.display(&path))?;
            }
            *rules = loaded.conf.rules;
            writeln!(out, "loaded {} rules", rules.rules().len())?;
            Ok(true)
        }
        // The current rules stay.
        Some(Event::Unusable(sources)) => {
            for error in sources.files.iter().filter_map(|file| file.error.as_ref()) {
                writeln!(out, "{path} {error}")?;
            }
            Ok(true)
        }
        _ => Ok(false),
    }
}
