//! The example, run as a user of the crate would run it: on a file of a real
//! kernel, and on one that was cut off.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `cargo test` builds the examples too, unless it is told to build one test.
fn run(path: &Path) -> Output {
    let test = std::env::current_exe().unwrap();
    let example: PathBuf = test.ancestors().nth(2).unwrap().join("examples/stat");
    assert!(example.exists(), "run `cargo build -p psstat-proc-parse --example stat` first");
    Command::new(example).arg(path).output().unwrap()
}

#[test]
fn a_stat_from_a_file() {
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/proc/6.18/worker/stat");
    let whole = run(&fixture);
    assert!(whole.status.success(), "{whole:?}");
    let text = std::fs::read(&fixture).unwrap();
    let behind = text.iter().rposition(|&byte| byte == b')').unwrap() + 2;
    let fields = String::from_utf8(text[behind..].to_vec()).unwrap();
    let field = |number: usize| fields.split_whitespace().nth(number - 3).unwrap().to_owned();
    let ticks = field(14).parse::<u64>().unwrap() + field(15).parse::<u64>().unwrap();
    let said = String::from_utf8(whole.stdout).unwrap();
    assert!(said.contains(&format!("{ticks} ticks, {} threads", field(20))), "{said}");
    assert!(said.contains(&format!("{} bytes, {} pages", field(23), field(24))), "{said}");

    let cut = std::env::temp_dir().join(format!("psstat-stat-{}", std::process::id()));
    std::fs::write(&cut, &text[..text.len() - 1]).unwrap();
    let refused = run(&cut);
    std::fs::remove_file(&cut).unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("stat: field 52 (exit_code) at byte"), "{said}");
}
