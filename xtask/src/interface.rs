//! `cargo xtask interface`: the public items of the crates as a tracked text, which shows each
//! change of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use clap::Args;
use public_api::Builder;

use crate::{Result, cargo};

/// Write the public items of the crates to interface.txt next to each Cargo.toml
///
/// With all features, derived traits and auto traits. A test compares the texts with the code: run
/// this after an intended change.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Options {
    /// Only check whether the texts are up to date
    #[arg(long)]
    check: bool,
}

/// The published crates: the directory, and the name in rustdoc.
const CRATES: [(&str, &str); 4] = [
    ("proc-parse", "psstat_proc_parse"),
    ("matcher", "psstat_matcher"),
    ("sampler", "psstat_sampler"),
    ("emit", "psstat_emit"),
];

/// Writes or checks the texts of all crates.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut stale = Vec::new();
    for (dir, name) in CRATES {
        let (path, now) = (path(dir), listing(dir, name)?);
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
    Err(format!("differs from the code: {}; run `cargo xtask interface`", stale.join(", ")).into())
}

fn path(dir: &str) -> PathBuf {
    cargo::root().join("crates").join(dir).join("interface.txt")
}

/// The public items of a crate, one per line, without blanket implementations of the standard
/// library.
fn listing(dir: &str, name: &str) -> Result<String> {
    let target = cargo::target()?;
    let made = cargo::command()
        .args(["rustdoc", "--quiet", "--lib", "--all-features", "--package"])
        .arg(name.replace('_', "-"))
        .arg("--target-dir")
        .arg(&target)
        .args(["--", "-Zunstable-options", "--output-format=json", "--cap-lints=allow"])
        // The JSON of rustdoc is unstable: the pinned `public-api` reads this version of it.
        .env("RUSTC_BOOTSTRAP", "1")
        .status()?;
    if !made.success() {
        return Err(format!("rustdoc failed on {name}").into());
    }
    let json = target.join("doc").join(format!("{name}.json"));
    let items = |omit: bool| -> Result<Vec<String>> {
        let api = Builder::from_rustdoc_json(&json)
            .omit_blanket_impls(true)
            .omit_auto_trait_impls(omit)
            .omit_auto_derived_impls(omit)
            .build()?;
        Ok(api.items().map(ToString::to_string).collect())
    };
    let written = items(true)?;
    let mut text =
        format!("# The public items of crates/{dir}. Written by `cargo xtask interface`.\n");
    for item in &written {
        writeln!(text, "{item}")?;
    }
    for line in trait_lines(&written, &items(false)?) {
        writeln!(text, "{line}")?;
    }
    Ok(text)
}

/// A line per type with its derived traits and auto traits: the implementations in `all` that are
/// not in `written`.
fn trait_lines(written: &[String], all: &[String]) -> impl Iterator<Item = String> {
    let written: BTreeSet<&String> = written.iter().collect();
    let mut traits: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for item in all.iter().filter(|item| !written.contains(item)) {
        let Some((left, right)) =
            item.strip_prefix("impl").and_then(|rest| rest.split_once(" for "))
        else {
            continue;
        };
        let at = left.rfind(' ').map_or(0, |at| at + 1);
        let (generics, path) = left.split_at(at);
        let name = path.rsplit("::").next().unwrap_or(path);
        // Of no use outside of the compiler.
        if !["Freeze", "UnsafeUnpin", "StructuralPartialEq"].contains(&name) {
            let sign = if path.starts_with('!') { "!" } else { "" };
            traits.entry((right, generics.trim())).or_default().push(format!("{sign}{name}"));
        }
    }
    traits.into_iter().map(|((right, generics), mut names)| {
        names.sort_unstable();
        format!("impl{generics} {} for {right}", names.join(" + "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traits_are_collected_by_type() {
        let written = ["pub struct a::A".to_owned()];
        let all = [
            "pub struct a::A",
            "impl core::clone::Clone for a::A",
            "pub fn a::A::clone(&self) -> a::A",
            "impl core::marker::Freeze for a::A",
            "impl core::marker::Send for a::A",
            "impl !core::marker::Sync for a::A",
            "impl<'a> core::marker::Send for a::B<'a>",
        ];
        let lines = trait_lines(&written, &all.map(str::to_owned)).collect::<Vec<_>>();
        assert_eq!(lines, ["impl !Sync + Clone + Send for a::A", "impl<'a> Send for a::B<'a>"]);
    }

    #[test]
    fn texts_match_the_code() {
        run(&Options { check: true }).unwrap();
    }
}
