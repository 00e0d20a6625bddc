//! README's commands do what README says.
// The permission for tests does not reach the functions beside them.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use psstat_actor::{binary, truth};

/// What follows `cargo run --release --bin NAME --` on README's lines.
fn commands(name: &str) -> Vec<Vec<String>> {
    let readme = include_str!("../../../README.md");
    let run = format!("cargo run --release --bin {name}");
    let lines = readme.lines().filter_map(|line| line.strip_prefix(&run));
    lines
        .map(|rest| rest.split_whitespace().filter(|word| *word != "--").map(Into::into).collect())
        .collect()
}

fn run(program: &Path, args: &[String]) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let output = Command::new(program).args(args).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_collector_prints_points_of_this_machine() {
    let commands = commands("psstat-tcollector");
    assert!(!commands.is_empty());
    for args in commands {
        assert!(args.contains(&"--once".to_owned()), "{args:?} would not end");
        let stdout = run(Path::new(env!("CARGO_BIN_EXE_psstat-tcollector")), &args);
        let points: Vec<_> = stdout
            .lines()
            .map(|line| {
                truth::check_tcollector_line(line).unwrap_or_else(|error| panic!("{error}"))
            })
            .collect();
        // The collector itself is one of the images, so there is one process.
        let own = points.iter().find(|point| {
            point.metric == "proc.stat.ps.procs" && point.tag("image") == Some("collector")
        });
        assert!(own.is_some_and(|point| point.number() >= 1.0), "{stdout}");
    }
}

#[test]
fn the_inspector_shows_a_table() {
    let commands = commands("psstat-dump");
    assert!(!commands.is_empty());
    let program = binary("psstat-dump", "psstat-dump").unwrap();
    for args in commands {
        let stdout = run(&program, &args);
        assert!(stdout.starts_with("IMAGE"), "{stdout}");
        assert!(stdout.lines().count() > 1, "{stdout}");
    }
}
