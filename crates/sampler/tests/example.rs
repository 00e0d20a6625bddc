//! The example tells what workers cost, on workers whose cost is known.

use std::process::Command;

use psstat_actor::{Actor, Config, example};

#[test]
fn what_two_workers_cost() {
    let word = format!("example-worker-{}", std::process::id());
    let workers = [(); 2].map(|()| Actor::spawn(&Config::new(&word)).unwrap());
    let program = example("psstat-sampler", "workers").unwrap();
    let output = Command::new(program).args([word.as_str(), "1"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with(&format!("{} processes: ", workers.len())), "{said}");
    // They wait for commands: a second of theirs costs nothing.
    assert!(said.contains(" 0.0 % CPU, "), "{said}");
    assert!(said.ends_with(", 0 B read, 0 B written\n"), "{said}");
}
