//! `cargo xtask interface`: the public items of the crates, as a text that is
//! checked in, so that a change to them is seen.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use clap::Args;
use public_api::Builder;

use crate::{Result, cargo};

/// Write the crates' public items to interface.txt beside each Cargo.toml
///
/// With all features. A test holds the texts against the code: after a change that is meant, run
/// this, and let its reader see what became of the interface.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Options {
    /// Only tell whether the texts are up to date
    #[arg(long)]
    check: bool,
}

/// The crates that others depend on: folder, and name as rustdoc writes it.
const CRATES: [(&str, &str); 4] = [
    ("proc-parse", "psstat_proc_parse"),
    ("matcher", "psstat_matcher"),
    ("sampler", "psstat_sampler"),
    ("emit", "psstat_emit"),
];

/// Writes or checks the texts of all crates.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut stale = Vec::new();
    for (folder, name) in CRATES {
        let (path, now) = (text(folder), listing(folder, name)?);
        if fs::read_to_string(&path).is_ok_and(|before| before == now) {
            continue;
        }
        if options.check {
            stale.push(path.display().to_string());
        } else {
            fs::write(&path, now)?;
            println!("{}", path.display());
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("not the interface of the code: {}; run `cargo xtask interface`", stale.join(", "))
        .into())
}

fn text(folder: &str) -> PathBuf {
    cargo::root().join("crates").join(folder).join("interface.txt")
}

/// Every public item of a crate, one a line, without what the compiler and the
/// standard library implement for all types.
fn listing(folder: &str, name: &str) -> Result<String> {
    let target = cargo::target()?;
    let made = cargo::command()
        .args(["rustdoc", "--quiet", "--lib", "--all-features", "--package"])
        .arg(name.replace('_', "-"))
        .arg("--target-dir")
        .arg(&target)
        .args(["--", "-Zunstable-options", "--output-format=json", "--cap-lints=allow"])
        // rustdoc's JSON is not stable yet: this version of it is what the
        // pinned `public-api` reads.
        .env("RUSTC_BOOTSTRAP", "1")
        .status()?;
    if !made.success() {
        return Err(format!("rustdoc failed on {name}").into());
    }
    let json = target.join("doc").join(format!("{name}.json"));
    let api = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    let mut text = format!("# What crates/{folder} offers. Made by `cargo xtask interface`.\n");
    for item in api.items() {
        writeln!(text, "{item}")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_those_of_the_code() {
        run(&Options { check: true }).unwrap();
    }
}
