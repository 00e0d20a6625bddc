//! The example measures worker processes, here ones with a known usage.

use std::process::{Child, Command, Stdio};

use psstat_testproc::{Config, TestProcess, example};

/// Two worker processes.
fn workers(word: &str) -> [TestProcess; 2] {
    [(); 2].map(|()| TestProcess::spawn(&Config::new(word)).unwrap())
}

fn start(word: &str) -> Child {
    let mut command = Command::new(example("psstat-sampler", "workers").unwrap());
    command.args([word, "1"]).stdout(Stdio::piped()).spawn().unwrap()
}

/// The values of its only line: processes, CPU, KiB, bytes read and written.
fn values(running: Child) -> [f64; 5] {
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    assert_eq!(text.lines().count(), 1);
    let values = text.split_whitespace().filter_map(|word| word.parse().ok());
    values.collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn example_measures_idle_workers() {
    let word = format!("example-idle-{}", std::process::id());
    let _workers = workers(&word);
    let [processes, cpu, resident, read, written] = values(start(&word));
    assert_eq!((processes, cpu, read, written), (2.0, 0.0, 0.0, 0.0));
    assert!(resident > 100.0);
}

#[test]
fn example_measures_busy_workers() {
    let word = format!("example-busy-{}", std::process::id());
    let [mut burner, mut writer] = workers(&word);
    burner.burn_until_stopped(50.0, 1).unwrap();
    let mut running = start(&word);
    let mut total = 0.0;
    while running.try_wait().unwrap().is_none() {
        writer.write_bytes(1000, 1).unwrap();
        total += 1000.0;
    }
    let [processes, cpu, _, read, written] = values(running);
    assert_eq!(processes, 2.0);
    // The machine may be busy.
    assert!(cpu > 1.0);
    // The writer also reads commands and writes responses.
    assert!(read > 0.0 && (1000.0..=2.0 * total).contains(&written), "{total}");
}
