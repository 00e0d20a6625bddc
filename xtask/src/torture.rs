//! `cargo xtask torture`: a conf's reload, for longer than the tests take.

use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Args;

use crate::{Result, cargo, machine};

/// Change a conf many times by every means, at random, while the matcher follows it.
///
/// Written in place, in pieces with pauses, by rename, an older file moved in, a link swapped, the
/// directory replaced, removed and made again, permission of the file and of its directory taken
/// and given back. Then a quarter as many changes where the kernel tells of none. The rules in
/// force are always a complete file's, the last change comes into force, and no watch or descriptor
/// leaks. Prints the seeds and how long the slowest change took, from its last write on; where no
/// more threads burn CPU than the machine has to spare (`--load 0`), one that took longer than is
/// promised is a failure. Some three changes a second, and one where the kernel tells of none.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How many changes
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    changes: u32,
    /// How many threads burn CPU meanwhile
    #[arg(long, default_value_t = 4)]
    load: u8,
}

/// The tests of the matcher that do it, what each is about, and how many
/// milliseconds a change may take at most.
const TESTS: [(&str, &str, u32); 2] = [
    ("every_change_is_detected", "with events, as a user whose permissions count", 1_000),
    ("every_change_is_detected_by_polling", "without events", 2 * 2_000 + 400),
];

/// Runs the matcher's own tests with so many changes.
pub(crate) fn run(options: &Options) -> Result<()> {
    let test = ["test", "--quiet", "--package", "psstat-matcher", "--test", "torture"];
    let built = cargo::command().args(test).arg("--no-run").status()?;
    if !built.success() {
        return Err("the test cannot be built".into());
    }
    let changes = options.changes.to_string();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..options.load {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let run = || {
            for (name, about, most) in TESTS {
                let start = Instant::now();
                let mut command = cargo::command();
                command.args(test).args([name, "--", "--exact", "--nocapture"]);
                command.env("PSSTAT_TORTURE_CHANGES", &changes);
                if usize::from(options.load) < cores {
                    command.env("PSSTAT_TORTURE_MOST_MS", most.to_string());
                }
                let ran = command.stderr(Stdio::inherit()).output()?;
                println!(
                    "{about}: {:.0} s; load {}",
                    start.elapsed().as_secs_f64(),
                    machine::load()
                );
                tell(&ran)?;
            }
            Ok(())
        };
        println!("{}; {} threads burn CPU", machine::line(), options.load);
        let done = run();
        ended.store(true, Ordering::Relaxed);
        done
    })
}

/// Prints what matters of a test's output; all of it where it failed.
fn tell(ran: &Output) -> Result<()> {
    let text = String::from_utf8_lossy(&ran.stdout);
    for line in text.lines() {
        let told = ["changes ", "seed ", "slowest ", "told ", "skipped: "];
        if told.iter().any(|start| line.starts_with(start)) {
            println!("  {line}");
        } else if !ran.status.success() {
            println!("{line}");
        }
    }
    if ran.status.success() { Ok(()) } else { Err("the reload did not stand it".into()) }
}
