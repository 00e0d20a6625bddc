//! Chores of the workspace: `cargo xtask --help` lists them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod agents;
mod ansible;
mod assets;
mod bpf;
mod capture;
mod cargo;
mod container;
mod dashboard;
mod interface;
mod known;
mod package;
mod python;
mod release;
mod screenshot;
mod units;

/// Any failure of a task.
type Error = Box<dyn std::error::Error>;
type Result<T> = std::result::Result<T, Error>;

/// An error with this message if a check fails.
fn assert_ok(ok: bool, message: &str) -> Result<()> {
    if ok { Ok(()) } else { Err(message.into()) }
}

/// Chores of the psstat workspace.
#[derive(Debug, Parser)]
#[command(name = "xtask", max_term_width = 100)]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Agents(agents::Options),
    Assets(assets::Options),
    Package(package::Options),
    Release(release::Options),
    Units(units::Options),
    Ansible(ansible::Options),
    Interface(interface::Options),
    Dashboard(dashboard::Options),
    Bpf(bpf::Options),
    Python(python::Options),
    /// Create fixtures/capture.txtar: a capture by psstat-dump of test processes
    ///
    /// Needs root: one of the processes has its own network namespace.
    Capture,
    /// Draw docs/top.svg: the live view of psstat-dump on test processes
    ///
    /// Takes half a minute, and builds psstat-dump in release mode.
    Screenshot,
}

fn main() -> ExitCode {
    let done = match Xtask::parse().task {
        Task::Agents(options) => agents::run(&options),
        Task::Assets(options) => assets::run(&options),
        Task::Package(options) => package::run(&options),
        Task::Release(options) => release::run(&options),
        Task::Units(options) => units::run(&options),
        Task::Ansible(options) => ansible::run(&options),
        Task::Interface(options) => interface::run(&options),
        Task::Dashboard(options) => dashboard::run(&options),
        Task::Bpf(options) => bpf::run(&options),
        Task::Python(options) => python::run(&options),
        Task::Capture => capture::run(),
        Task::Screenshot => screenshot::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
