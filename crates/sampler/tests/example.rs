//! The example tells what workers cost, on workers whose cost is known.

use std::process::{Command, Stdio};

use psstat_testproc::{Config, TestProcess, example};

/// The numbers of its one line: processes, CPU, KiB, bytes read and written.
fn numbers(said: &str) -> [f64; 5] {
    assert_eq!(said.lines().count(), 1, "{said}");
    let words = said.split_whitespace();
    let numbers: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().unwrap()
}

fn word(case: &str) -> String {
    format!("example-{case}-{}", std::process::id())
}

#[test]
fn two_that_wait_cost_nothing() {
    let word = word("idle");
    let _workers = [(); 2].map(|()| TestProcess::spawn(&Config::new(&word)).unwrap());
    let program = example("psstat-sampler", "workers").unwrap();
    let output = Command::new(program).args([word.as_str(), "1"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let [processes, cpu, resident, read, written] = numbers(&said);
    assert_eq!((processes, cpu, read, written), (2.0, 0.0, 0.0, 0.0), "{said}");
    assert!(resident > 100.0, "{said}");
}

#[test]
fn one_that_burns_and_one_that_writes() {
    let word = word("busy");
    let [mut burner, mut writer] =
        [(); 2].map(|()| TestProcess::spawn(&Config::new(&word)).unwrap());
    burner.burn_until_stopped(50.0, 1).unwrap();
    let program = example("psstat-sampler", "workers").unwrap();
    let mut running = Command::new(program);
    running.args([word.as_str(), "1"]).stdout(Stdio::piped());
    let mut running = running.spawn().unwrap();
    let mut total = 0.0;
    while running.try_wait().unwrap().is_none() {
        writer.write_bytes(1000, 1).unwrap();
        total += 1000.0;
    }
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let [processes, cpu, _, read, written] = numbers(&said);
    assert_eq!(processes, 2.0, "{said}");
    // On a machine that may be busy with others.
    assert!(cpu > 1.0, "{said}");
    // What it is told to do it reads, and what it has done it answers.
    assert!(read > 0.0 && (1000.0..=2.0 * total).contains(&written), "{said}, {total}");
}
