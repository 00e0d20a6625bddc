//! Load and comparison experiments on psstat's collector: `cargo lab --help` lists them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use psstat_testproc::TempDir;

mod accuracy;
mod cargo;
mod checks;
mod child_modes;
mod collector;
mod compare;
mod fork_storm;
mod host_info;
mod machines;
mod namespaces;
mod observer;
mod overhead;
mod peers;
mod population;
mod reads;
mod run_lock;
mod scale;
mod scrape;
mod soak;
mod stats;
mod stop;
mod stuck;
mod sys;
mod table;

/// Any failure of an experiment.
type Error = Box<dyn std::error::Error>;
type Result<T> = std::result::Result<T, Error>;

/// Load and comparison experiments on psstat's collector.
#[derive(Debug, Parser)]
#[command(name = "lab", max_term_width = 100)]
struct Lab {
    #[command(subcommand)]
    experiment: Experiment,
}

#[derive(Debug, Subcommand)]
enum Experiment {
    Compare(compare::options::Options),
    ForkStorm(fork_storm::Options),
    Soak(soak::Options),
    Scale(scale::Options),
    Scrape(scrape::Options),
    Namespaces(namespaces::Options),
    Overhead(overhead::Options),
    Accuracy(accuracy::Options),
    Machines(machines::Options),
}

fn main() -> ExitCode {
    // Child processes of an experiment are this program too.
    if let Some(code) = child_modes::dispatch() {
        return code;
    }
    let done = match Lab::parse().experiment {
        Experiment::Compare(options) => compare::run(&options),
        Experiment::ForkStorm(options) => fork_storm::run(&options),
        Experiment::Soak(options) => soak::run(&options),
        Experiment::Scale(options) => scale::run(&options),
        Experiment::Scrape(options) => scrape::run(&options),
        Experiment::Namespaces(options) => namespaces::run(&options),
        Experiment::Overhead(options) => overhead::run(&options),
        Experiment::Accuracy(options) => accuracy::run(&options),
        Experiment::Machines(options) => machines::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes a file into a temporary directory.
fn write(dir: &TempDir, name: &str, text: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}
