//! `cargo xtask licences`: whether every dependency may be used, by deny.toml.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use serde_json::Value;
use spdx::{Expression, LicenseReq, ParseMode};
use toml::Table;

use crate::{Result, cargo};

/// Hold the licence of every dependency against deny.toml.
///
/// Asks cargo for the dependencies of every workspace of this repository, those of tests and
/// benchmarks included, and evaluates each one's SPDX expression by the licences that deny.toml
/// allows; crates that it denies, a crate without a licence and one that comes from git are refused
/// too. deny.toml has the form of cargo-deny, which may be used instead. Exits 1 if one is refused.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {}

/// The workspaces, where they are.
const WORKSPACES: [&str; 3] = ["Cargo.toml", "benches/Cargo.toml", "fuzz/Cargo.toml"];

/// What deny.toml says.
#[derive(Debug, Default)]
struct Policy {
    allow: Vec<String>,
    /// By crate, what is allowed for it alone.
    exceptions: BTreeMap<String, Vec<String>>,
    /// By crate, why it is denied.
    deny: BTreeMap<String, String>,
}

/// Checks all and prints the counts.
pub(crate) fn run(_: &Options) -> Result<()> {
    let text = std::fs::read_to_string(cargo::root().join("deny.toml"))?;
    let policy = Policy::read(&text).map_err(|error| format!("deny.toml: {error}"))?;
    let mut refused = Vec::new();
    for workspace in WORKSPACES {
        let manifest = cargo::root().join(workspace);
        if !manifest.exists() {
            continue;
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for package in packages(&manifest)? {
            *counts.entry(package.licence.clone().unwrap_or_default()).or_default() += 1;
            if let Some(why) = policy.refuses(&package) {
                refused.push(format!("{workspace}: {}: {why}", package.name));
            }
        }
        println!("{workspace}: {} packages", counts.values().sum::<usize>());
        for (licence, count) in counts {
            println!("{count:>5}  {licence}");
        }
    }
    for line in &refused {
        eprintln!("refused: {line}");
    }
    if refused.is_empty() { Ok(()) } else { Err("deny.toml refuses a dependency".into()) }
}

/// A package as cargo tells of it.
#[derive(Clone, Debug, Default)]
struct Package {
    name: String,
    licence: Option<String>,
    /// Where it comes from; nowhere, if it is in this repository.
    source: Option<String>,
}

fn packages(manifest: &Path) -> Result<Vec<Package>> {
    let output = cargo::command()
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
        .arg(manifest)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().into());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().ok_or("cargo tells of no packages")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ok(packages
        .iter()
        .map(|package| Package {
            name: text(&package["name"]).unwrap_or_default(),
            licence: text(&package["license"]),
            source: text(&package["source"]),
        })
        .collect())
}

impl Policy {
    fn read(text: &str) -> Result<Policy> {
        let table: Table = text.parse()?;
        let licences = table.get("licenses").ok_or("there is no [licenses]")?;
        let allow = strings(licences.get("allow")).ok_or("[licenses] has no list `allow`")?;
        let mut policy = Policy { allow, ..Policy::default() };
        for exception in entries(licences.get("exceptions")) {
            let allow = strings(exception.get("allow")).ok_or("an exception without `allow`")?;
            policy.exceptions.insert(crate_of(exception)?, allow);
        }
        for denied in entries(table.get("bans").and_then(|bans| bans.get("deny"))) {
            let reason = denied.get("reason").and_then(toml::Value::as_str).unwrap_or("denied");
            policy.deny.insert(crate_of(denied)?, reason.to_owned());
        }
        Ok(policy)
    }

    /// Why a package may not be used.
    fn refuses(&self, package: &Package) -> Option<String> {
        if let Some(reason) = self.deny.get(&package.name) {
            return Some(format!("denied: {reason}"));
        }
        if let Some(source) = &package.source
            && !source.starts_with("registry+")
        {
            return Some(format!("it comes from {source}, not from a registry"));
        }
        let Some(licence) = &package.licence else {
            return Some("it states no licence".to_owned());
        };
        // `MIT/Apache-2.0` is how older packages say OR.
        let expression = match Expression::parse_mode(licence, ParseMode::LAX) {
            Ok(expression) => expression,
            Err(error) => return Some(format!("{licence:?} is no SPDX expression: {error}")),
        };
        let own = self.exceptions.get(&package.name).map(Vec::as_slice).unwrap_or_default();
        let allows = |licence: &LicenseReq| {
            let name = licence.to_string();
            self.allow.iter().chain(own).any(|allowed| *allowed == name)
        };
        (!expression.evaluate(allows)).then(|| format!("{licence} is not allowed"))
    }
}

fn strings(value: Option<&toml::Value>) -> Option<Vec<String>> {
    let list = value?.as_array()?;
    list.iter().map(|entry| entry.as_str().map(str::to_owned)).collect()
}

fn entries(value: Option<&toml::Value>) -> &[toml::Value] {
    value.and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn crate_of(entry: &toml::Value) -> Result<String> {
    let name = entry.get("crate").and_then(toml::Value::as_str);
    Ok(name.ok_or("an entry without `crate`")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"]
        exceptions = [{ crate = "special", allow = ["NCSA"] }]
        [bans]
        deny = [{ crate = "bad", reason = "it is bad" }]
    "#;

    fn refused(name: &str, licence: &str) -> Option<String> {
        let source = Some("registry+here".to_owned());
        let package = Package { name: name.to_owned(), licence: Some(licence.to_owned()), source };
        Policy::read(TEXT).unwrap().refuses(&package)
    }

    #[test]
    fn expressions_are_evaluated() {
        for right in [
            "MIT",
            "MIT OR GPL-3.0-only",
            "GPL-3.0-only OR MIT",
            "MIT/Apache-2.0",
            "(MIT OR GPL-2.0-only) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
            "MIT AND (GPL-2.0-only OR (Apache-2.0 AND Unicode-3.0))",
        ] {
            assert_eq!(refused("any", right), None, "{right}");
        }
        for wrong in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "(MIT OR Apache-2.0) AND NCSA",
            "LGPL-2.1-or-later",
            "no licence at all",
            "",
        ] {
            assert!(refused("any", wrong).is_some(), "{wrong}");
        }
        assert_eq!(refused("special", "(MIT OR Apache-2.0) AND NCSA"), None);
    }

    #[test]
    fn what_is_denied_or_of_unknown_origin_is_refused() {
        assert_eq!(refused("bad", "MIT").unwrap(), "denied: it is bad");
        let policy = Policy::read(TEXT).unwrap();
        let mut package = Package { licence: Some("MIT".to_owned()), ..Package::default() };
        assert_eq!(policy.refuses(&package), None, "of this repository");
        package.source = Some("git+somewhere".to_owned());
        assert!(policy.refuses(&package).is_some());
        assert!(policy.refuses(&Package::default()).is_some(), "without a licence");
        assert!(Policy::read("[licenses]").is_err());
    }

    #[test]
    fn the_policy_of_this_repository_can_be_read() {
        let text = std::fs::read_to_string(cargo::root().join("deny.toml")).unwrap();
        let policy = Policy::read(&text).unwrap();
        assert!(!policy.allow.is_empty() && !policy.deny.is_empty());
    }
}
