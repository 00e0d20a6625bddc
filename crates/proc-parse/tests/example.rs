//! The example, run as a user of the crate would run it: on a file of a real
//! kernel, and on one that was cut off.

use std::path::Path;
use std::process::{Command, Output};

use psstat_testproc::{TempDir, example};

fn run(path: &Path) -> Output {
    let example = example("psstat-proc-parse", "stat").unwrap();
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

    let temp = TempDir::new().unwrap();
    let cut = temp.join("stat");
    std::fs::write(&cut, &text[..text.len() - 1]).unwrap();
    let refused = run(&cut);
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("stat: field 52 (exit_code) at byte"), "{said}");
}
