//! `cargo xtask fuzz`: libFuzzer over every parser, for longer than a test may.

mod build;
mod report;
mod target;

use std::sync::Mutex;
use std::time::Duration;

use clap::Args;
use psstat_corpus::{TARGETS, Target};

use crate::{Result, machine};

use report::Outcome;

/// Feed every parser, the conf reader, the patterns and the encoders with what libFuzzer makes up.
///
/// Builds `fuzz/` on the installed Rust (it wants a C++ compiler), runs each target for a time,
/// beginning with fixtures/corpus and the fixtures of real kernels, and prints a row a target. An
/// input for which a property does not hold is shown as a line for fixtures/corpus/inputs, and the
/// exit status is 1. docs/fuzzing.md has the last results. Logs are in target/fuzz.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 600)]
    seconds: u32,
    /// How many run at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Write the inputs worth keeping to fixtures/corpus
    #[arg(long)]
    keep: bool,
    /// Which targets; all if none is named
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// Builds, runs, and reports.
pub(crate) fn run(options: &Options) -> Result<()> {
    let targets = chosen(&options.targets)?;
    let programs = build::programs()?;
    println!("{}; load {}", machine::line(), machine::load());
    println!("{}", report::HEADER);
    let time = Duration::from_secs(options.seconds.into());
    let waiting = Mutex::new(targets.into_iter());
    let next = || waiting.lock().ok()?.next();
    let worker = || -> std::result::Result<usize, String> {
        let mut found = 0;
        while let Some(target) = next() {
            let outcome = target::run(&target, &programs, time, options.keep);
            let Outcome { row, find } =
                outcome.map_err(|error| format!("{}: {error}", target.name))?;
            println!("{row}");
            if let Some(find) = find {
                println!("{}: a property does not hold of\n{find}", target.name);
                found += 1;
            }
        }
        Ok(found)
    };
    let done: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    let mut found = 0;
    for worker in done {
        found += worker.map_err(|_| "a worker panicked")??;
    }
    if found > 0 {
        return Err(format!(
            "{found} targets have a find; logs are in {}",
            build::folder().display()
        )
        .into());
    }
    Ok(())
}

/// The targets of these names.
fn chosen(names: &[String]) -> Result<Vec<Target>> {
    if names.is_empty() {
        return Ok(TARGETS.to_vec());
    }
    let named = |name: &String| {
        let all = || TARGETS.map(|target| target.name).join(", ");
        Target::named(name)
            .ok_or_else(|| format!("no target is called {name}; there are {}", all()))
    };
    Ok(names.iter().map(named).collect::<std::result::Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo;

    #[test]
    fn targets_are_chosen_by_name() {
        let names = |targets: Vec<Target>| targets.iter().map(|t| t.name).collect::<Vec<_>>();
        assert_eq!(names(chosen(&["io".into(), "conf".into()]).unwrap()), ["io", "conf"]);
        assert_eq!(names(chosen(&[]).unwrap()), TARGETS.map(|target| target.name));
        assert!(chosen(&["nothing".into()]).unwrap_err().to_string().contains("stat, statm, io"));
    }

    /// `fuzz/` is a workspace of its own, so nothing else holds its list.
    #[test]
    fn every_target_has_a_program() {
        let folder = cargo::root().join("fuzz");
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let bins: Vec<&str> = manifest
            .lines()
            .filter_map(|line| line.strip_prefix("path = \"targets/")?.strip_suffix(".rs\""))
            .collect();
        assert_eq!(bins, TARGETS.map(|target| target.name));
        for name in bins {
            let text = std::fs::read_to_string(folder.join(format!("targets/{name}.rs"))).unwrap();
            assert!(text.contains(&format!("\"{name}\"")), "{name}");
        }
    }
}
