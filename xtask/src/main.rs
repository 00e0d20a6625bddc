//! Chores of the workspace: `cargo xtask --help` names them.

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod accuracy;
mod assets;
mod capture;
mod cargo;
mod clone;
mod compare;
mod crowd;
mod first_change;
mod fuzz;
mod helpers;
mod interface;
mod interfere;
mod machine;
mod package;
mod picture;
mod python;
mod release;
mod soak;
mod stop;
mod storm;
mod sys;
mod torture;

/// Why a verb could not do its work.
type Error = Box<dyn std::error::Error>;
type Result<T> = std::result::Result<T, Error>;

/// Chores of the psstat workspace.
#[derive(Debug, Parser)]
#[command(name = "xtask", max_term_width = 100)]
struct Xtask {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Compare(compare::options::Options),
    Storm(storm::Options),
    Soak(soak::Options),
    Interfere(interfere::Options),
    Crowd(crowd::Options),
    Accuracy(accuracy::Options),
    Python(python::Options),
    Torture(torture::Options),
    Fuzz(fuzz::Options),
    /// Apply CONTRIBUTING.md's first change to a clone of the last commit, and test it
    FirstChange,
    Assets(assets::Options),
    Interface(interface::Options),
    Licences(release::licences::Options),
    Release(release::Options),
    Package(package::Options),
    Clone(clone::Options),
    /// Draw docs/top.svg: the live view of psstat-dump on processes made for it
    ///
    /// Takes half a minute, and the release build of psstat-dump.
    Picture,
    /// Make fixtures/capture.txtar: what psstat-dump captures of processes made for it
    ///
    /// As root: one of them is in a network namespace of its own.
    Capture,
}

fn main() -> ExitCode {
    // The processes that a verb makes of this program begin here.
    if let Some(code) = helpers::run_if_asked() {
        return code;
    }
    let done = match Xtask::parse().verb {
        Verb::Compare(options) => compare::run(&options),
        Verb::Storm(options) => storm::run(&options),
        Verb::Soak(options) => soak::run(&options),
        Verb::Interfere(options) => interfere::run(&options),
        Verb::Crowd(options) => crowd::run(&options),
        Verb::Accuracy(options) => accuracy::run(&options),
        Verb::Python(options) => python::run(&options),
        Verb::Torture(options) => torture::run(&options),
        Verb::Fuzz(options) => fuzz::run(&options),
        Verb::FirstChange => first_change::run(),
        Verb::Assets(options) => assets::run(&options),
        Verb::Interface(options) => interface::run(&options),
        Verb::Licences(options) => release::licences::run(&options),
        Verb::Release(options) => release::run(&options),
        Verb::Package(options) => package::run(&options),
        Verb::Clone(options) => clone::run(&options),
        Verb::Picture => picture::run(),
        Verb::Capture => capture::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Two verbs were there twice, in two versions, and three not at all.
    #[test]
    fn the_page_has_each_verb_once() {
        let page = std::fs::read_to_string(cargo::root().join("docs/verbs.md")).unwrap();
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
        let mut told: Vec<&str> = rows.map(|(verb, _)| verb).collect();
        told.sort_unstable();
        let xtask = Xtask::command();
        let mut verbs: Vec<&str> = xtask.get_subcommands().map(clap::Command::get_name).collect();
        verbs.sort_unstable();
        assert_eq!(told, verbs);
    }
}
