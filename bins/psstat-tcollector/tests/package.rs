//! The pages of the documentation are complete, also in the Debian package.

// Functions outside of tests use unwrap too.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// Pages of the repository that are not in the package.
const FOR_CLONES: [&str; 5] = [
    "deny.toml",
    "CONTRIBUTING.md",
    "ARCHITECTURE.md",
    "benches/README.md",
    "benches/lab/README.md",
];

/// The pages were installed next to CHANGELOG.md, and without README.md, and their links were
/// broken.
#[test]
fn links_of_packaged_pages_resolve() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let package = include_str!("../Cargo.toml");
    for entry in std::fs::read_dir(root.join("docs")).unwrap() {
        let page = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(&page) else { continue };
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if link.is_empty() || link.contains("://") {
                continue;
            }
            assert!(root.join("docs").join(link).exists(), "{link} in {page:?}");
            // Pages for developers and examples are in the repository only.
            let is_for_clones = |file| FOR_CLONES.contains(&file) || file.contains("/examples/");
            if link.strip_prefix("../").is_some_and(is_for_clones) {
                continue;
            }
            let brought = match link.strip_prefix("../") {
                Some(file) => {
                    package.contains(&format!("[\"../../{file}\", \"usr/share/doc/psstat/\""))
                }
                None => package.contains("[\"../../docs/*\", \"usr/share/doc/psstat/docs/\""),
            };
            assert!(brought, "{link} in {page:?}");
        }
    }
}

/// The cells of a page's table rows, without the headings.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect());
    cells
        .filter(|cells: &Vec<_>| !["promise", "fault", "attack", "values"].contains(&cells[0]))
        .collect()
}

/// All Rust files below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The pages for developers named files at the places where they had been before a move.
#[test]
fn files_named_for_developers_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let directories = ["bins", "crates", "fixtures", "xtask"];
    let files: Vec<PathBuf> =
        directories.iter().flat_map(|directory| sources(&root.join(directory))).collect();
    for page in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        for name in text.split('`').filter(|name| name.ends_with(".rs") && !name.contains(' ')) {
            // The file that a reader of CONTRIBUTING.md adds.
            let exists = name == "sampler/tests/majflt.rs"
                || files.iter().any(|file| file.ends_with(name.trim_start_matches('/')));
            assert!(exists, "{page}: {name} does not exist");
        }
    }
}

#[test]
fn every_promise_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = |name: &str| std::fs::read_to_string(root.join("docs").join(name)).unwrap();
    let promises = page("promises.md");
    let promises = rows(&promises);
    for name in ["faults.md", "security.md"] {
        let page = page(name);
        let rows = rows(&page);
        assert!(rows.len() > 10, "{name} has {} rows", rows.len());
        for row in rows {
            let has_entry = promises.iter().any(|promise| promise[0] == row[0]);
            assert!(has_entry, "{name}: no entry in promises.md for: {}", row[0]);
        }
    }
    let files = ["bins", "crates"].into_iter().flat_map(|directory| sources(&root.join(directory)));
    let code: String = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    for promise in promises {
        let tests: Vec<&str> = promise[1].split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test for: {}", promise[0]);
        for test in tests {
            let exists = code.contains(&format!("fn {test}("));
            assert!(exists, "{test} does not exist; promises.md names it for: {}", promise[0]);
        }
    }
}
