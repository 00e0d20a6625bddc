//! The example measures worker processes, here ones with a known usage.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use psstat_testproc::{Config, TempDir, TestProcess, binary, example};

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

/// A process that is killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An example that runs until it is killed.
fn endless(name: &str) -> (Killed, BufReader<ChildStdout>) {
    endless_with(name, &[])
}

fn endless_with(name: &str, args: &[&str]) -> (Killed, BufReader<ChildStdout>) {
    let mut command = Command::new(example("psstat-sampler", name).unwrap());
    let mut running = Killed(command.args(args).stdout(Stdio::piped()).spawn().unwrap());
    let output = running.0.stdout.take().unwrap();
    (running, BufReader::new(output))
}

#[test]
fn example_shows_processes_named_postgres() {
    let dir = TempDir::new().unwrap();
    let program = dir.join("postgres");
    psstat_testproc::copy_program(binary("psstat-testproc", "psstat-testproc").unwrap(), &program)
        .unwrap();
    let mut process = Command::new(&program);
    let process = process.arg("-D").arg("data dir").stdin(Stdio::piped()).stdout(Stdio::null());
    let process = Killed(process.spawn().unwrap());
    let (_running, output) = endless("postgres");
    let mut lines = output.lines().map(Result::unwrap);
    // Others may have the same name.
    let line = format!("{} -D data dir", program.display());
    let of_process = lines.find(|text| text.ends_with(&line)).unwrap();
    let words: Vec<&str> = of_process.split(' ').collect();
    assert_eq!(words[0], process.0.id().to_string(), "{of_process}");
    let rss = words[3].strip_prefix("Some(").unwrap().strip_suffix(')').unwrap();
    assert!(rss.parse::<u64>().unwrap() > 100_000, "{of_process}");
    assert!(of_process.contains("Some(IoCounters { rchar: "), "{of_process}");
    assert!(lines.any(|line| line.starts_with("db: Some(")));
}

#[test]
fn example_shows_the_io_of_a_group() {
    // The name of the program is cut to the first 15 bytes of this.
    let name = format!("psstat-testproc-io-{}", std::process::id());
    let mut writer = TestProcess::spawn(&Config::new(&name)).unwrap();
    let (_running, output) = endless_with("io_rate", &[&name]);
    let mut lines = output.lines().map(Result::unwrap);
    let written = |line: String| -> u64 { line.split(' ').nth(3).unwrap().parse().unwrap() };
    assert!((0..1_000_000).contains(&written(lines.next().unwrap())));
    writer.write_bytes(1_000_000, 1).unwrap();
    let sum = lines.map(written).find(|written| *written > 0).unwrap();
    assert!((1_000_000..1_100_000).contains(&sum), "{sum}");
}

/// The README shows this program, which is to have at most 15 lines.
#[test]
fn readme_has_the_example() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(dir.join(path)).unwrap();
    let program = read("examples/postgres.rs");
    let program = program.split_once('\n').unwrap().1;
    assert!(read("README.md").contains(program));
    assert!(program.lines().filter(|line| !line.is_empty()).count() <= 15);
}

#[test]
fn example_shows_the_largest_processes() {
    let output = Command::new(example("psstat-sampler", "top_rss").unwrap()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let rss: Vec<u64> =
        text.lines().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert!(output.status.success() && (2..=5).contains(&rss.len()), "{text}");
    assert!(rss.is_sorted_by(|a, b| a >= b) && rss[1] > 0, "{text}");
}

#[test]
fn example_has_a_loop_of_its_own() {
    let (_running, output) = endless("own_loop");
    for line in output.lines().take(2) {
        let line = line.unwrap();
        let count = line.strip_prefix("Some((").unwrap().split(',').next().unwrap();
        assert!(count.parse::<u64>().unwrap() > 1, "{line}");
    }
}
