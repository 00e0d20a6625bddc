//! `cargo lab machines`: the programs on emulated machines of other architectures and kernels.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::PossibleValuesParser;
use psstat_testproc::TempDir;
use psstat_testproc::archive::Archive;
use serde_json::Value;

use crate::run_lock::RunLock;
use crate::stop::Stop;
use crate::table::Table;
use crate::{Result, cargo, host_info};

mod initramfs;
mod kernel;
mod machine;

use initramfs::Initramfs;
use kernel::Kernel;
use machine::{MACHINES, Machine};

/// Run both programs on emulated machines of other architectures and kernels, and check their values.
///
/// Boots kernels of Debian and Ubuntu in qemu, each with known processes: files, threads, sockets of
/// all kinds, io beyond 32 bits, inherited io, memory, swap, shared sockets, a main thread that has
/// exited, CPU load. Compares the sums and processes of `psstat-dump`, its page for each process, and
/// the series of the collector, from /proc and by BPF, with them and with the kernel's files. Where
/// BPF works, it also runs the sampler's tests of it, and counts a process between two cycles of the
/// collector. A capture of each machine is then read on this one. Installs the emulators and linkers
/// (apt) and Rust's targets (rustup), and downloads the kernels. Exits 1 if a value is wrong.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The machines; all by default
    #[arg(value_name = "MACHINE")]
    #[arg(value_parser = PossibleValuesParser::new(MACHINES.iter().map(|machine| machine.name)))]
    machines: Vec<String>,
    /// Seconds that a machine may take
    #[arg(long, default_value_t = 600)]
    timeout: u64,
}

const PROGRAMS: [&str; 4] = ["psstat-guest", "psstat-testproc", "psstat-tcollector", "psstat-dump"];
/// The sampler's tests of BPF.
const TESTS: &str = "sampler-tests";
const MEMORY: &str = "1024";
const CPUS: &str = "2";

/// Runs the experiment.
pub(crate) fn run(options: &Options) -> Result<()> {
    let _lock = RunLock::acquire()?;
    let stop = Stop::on_signals()?;
    let machines: Vec<&Machine> = match &options.machines[..] {
        [] => MACHINES.iter().collect(),
        some => some.iter().filter_map(|name| Machine::named(name)).collect(),
    };
    install(&machines)?;
    let dump = cargo::programs(&["psstat-dump"], None, &[])?.join("psstat-dump");
    let downloads = cargo::downloads("machines")?;
    let mut table = Table::new(&[
        "machine",
        "kernel",
        "package",
        "bits",
        "page",
        "byte order",
        "compared",
        "by BPF",
        "tests of BPF",
        "in its capture",
        "wrong",
        "collector, KiB",
        "seconds",
    ]);
    let mut wrong = Vec::new();
    let mut notes = Vec::new();
    for machine in &machines {
        stop.check()?;
        let environment = machine.build_environment();
        let programs = cargo::programs(&PROGRAMS, Some(machine.triple), &environment)?;
        let tests = cargo::test_program("psstat-sampler", "bpf", machine.triple, &environment)?;
        let kernel = Kernel::download(machine, &downloads)?;
        let log = downloads.join(format!("{}.log", machine.name));
        let time = boot(machine, &kernel, (&programs, &tests), &log, options, &stop)?;
        let text = String::from_utf8_lossy(&fs::read(&log)?).replace('\r', "");
        let result = GuestResult::parse(&text).map_err(|error| {
            format!("{}: {error}; its console is in {}", machine.name, log.display())
        })?;
        let (captured, capture_wrong) = check_capture(&result, &dump)?;
        let fact = |name: &str| result.facts.get(name).cloned().unwrap_or_default();
        let resident: u64 = fact("NOTE collector.rss").parse().unwrap_or(0);
        table.row([
            machine.name.to_owned(),
            fact("KERNEL"),
            kernel.version()?,
            fact("BITS"),
            fact("PAGE"),
            fact("ORDER"),
            result.compared.to_string(),
            fact("BY-BPF"),
            fact("TESTS"),
            captured.to_string(),
            (result.wrong.len() + capture_wrong.len()).to_string(),
            (resident / 1024).to_string(),
            time.as_secs().to_string(),
        ]);
        for line in result.wrong.iter().chain(&capture_wrong) {
            wrong.push(format!("{}: {line}", machine.name));
        }
        notes.extend(result.log.iter().map(|line| format!("{}: {line}", machine.name)));
    }
    println!("commit {}; {}; load {}", cargo::commit()?, host_info::line(), host_info::load());
    print!("{}", table.text());
    for line in notes.iter().chain(&wrong) {
        println!("{line}");
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{} values are wrong", wrong.len()).into()) }
}

/// Runs a command, and returns its output.
fn command(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Installs missing packages and targets.
fn install(machines: &[&Machine]) -> Result<()> {
    let mut packages = vec!["xz-utils", "zstd"];
    packages.extend(machines.iter().flat_map(|machine| machine.packages));
    packages.sort_unstable();
    packages.dedup();
    packages.retain(|package| {
        let query = Command::new("dpkg-query").args(["-W", "-f=${Status}", package]).output();
        !query.is_ok_and(|query| query.stdout.ends_with(b" installed"))
    });
    if !packages.is_empty() {
        command(Command::new("apt-get").args(["update", "-qq"]))?;
        let mut install = Command::new("apt-get");
        install.args(["install", "-y", "-qq", "--no-install-recommends"]);
        command(install.args(packages))?;
    }
    let installed = command(Command::new("rustup").args(["target", "list", "--installed"]))?;
    for machine in machines {
        if !installed.lines().any(|line| line == machine.triple) {
            command(Command::new("rustup").args(["target", "add", machine.triple]))?;
        }
    }
    Ok(())
}

/// Boots a machine with its console in a file; returns when it has powered off.
fn boot(
    machine: &Machine,
    kernel: &Kernel,
    (programs, tests): (&Path, &Path),
    log: &Path,
    options: &Options,
    stop: &Stop,
) -> Result<Duration> {
    let temp = TempDir::new()?;
    let mut initramfs = Initramfs::default();
    for directory in ["bin", "dev", "proc", "sys", "tmp", "modules"] {
        initramfs.directory(directory);
    }
    initramfs.device("dev/console", 5, 1);
    initramfs.file("init", &fs::read(programs.join("psstat-guest"))?);
    for program in PROGRAMS {
        initramfs.file(&format!("bin/{program}"), &fs::read(programs.join(program))?);
    }
    initramfs.file(&format!("bin/{TESTS}"), &fs::read(tests)?);
    for (module, content) in kernel.modules()? {
        initramfs.file(&format!("modules/{module}"), &content);
    }
    let image = temp.join("initramfs");
    fs::write(&image, initramfs.finish())?;
    // init gets unknown parameters as environment.
    let parameters = format!(
        "console={} quiet loglevel=3 panic=-1 PSSTAT_TESTPROC=/bin/psstat-testproc",
        machine.console
    );
    let [emulator, arguments @ ..] = machine.emulator else { return Err("no emulator".into()) };
    let start = Instant::now();
    let mut process = Command::new(emulator)
        .args(arguments)
        .args(["-m", MEMORY, "-smp", CPUS, "-display", "none", "-nic", "none", "-no-reboot"])
        .args(["-monitor", "none", "-serial", "stdio"])
        .args(["-append", &parameters])
        .arg("-kernel")
        .arg(kernel.image())
        .arg("-initrd")
        .arg(&image)
        .stdin(Stdio::null())
        .stdout(File::create(log)?)
        .spawn()
        .map_err(|error| format!("{emulator}: {error}"))?;
    let ended = loop {
        if process.try_wait()?.is_some() {
            break Ok(start.elapsed());
        }
        if start.elapsed() > Duration::from_secs(options.timeout) {
            let seconds = options.timeout;
            break Err(format!("{} took more than {seconds} s", machine.name).into());
        }
        if let Err(error) = stop.sleep(Duration::from_millis(200)) {
            break Err(error);
        }
    };
    if ended.is_err() {
        process.kill()?;
        process.wait()?;
    }
    ended
}

/// The output of the first process of a machine.
#[derive(Debug, Default)]
struct GuestResult {
    facts: BTreeMap<String, String>,
    compared: u64,
    wrong: Vec<String>,
    /// The collector's log about BPF.
    log: Vec<String>,
    /// The expected values of the capture: image, pid, field, value.
    captured: Vec<(String, u64, String, u64)>,
    capture: String,
}

impl GuestResult {
    fn parse(text: &str) -> Result<GuestResult> {
        let mut result = GuestResult::default();
        let mut lines = text.lines();
        let mut ended = false;
        while let Some(line) = lines.next() {
            if line == "CAPTURE BEGIN" {
                for line in lines.by_ref().take_while(|&line| line != "CAPTURE END") {
                    result.capture.push_str(line);
                    result.capture.push('\n');
                }
            } else if let Some(wrong) = line.strip_prefix("WRONG ") {
                result.wrong.push(wrong.to_owned());
            } else if let Some(log) = line.strip_prefix("LOG ") {
                result.log.push(log.to_owned());
            } else if let Some(error) = line.strip_prefix("ERROR ") {
                return Err(error.into());
            } else if let Some(counts) = line.strip_prefix("COMPARED ") {
                let compared = counts.split(' ').next().unwrap_or_default();
                result.compared = compared.parse()?;
            } else if let Some(values) = line.strip_prefix("CAPTURED ") {
                let words: Vec<&str> = values.split(' ').collect();
                let [image, pid, field, value] = words[..] else { continue };
                let values = (image.to_owned(), pid.parse()?, field.to_owned(), value.parse()?);
                result.captured.push(values);
            } else if let Some((name, value)) = line.rsplit_once(' ') {
                result.facts.insert(name.to_owned(), value.to_owned());
            }
            ended |= line == "END";
        }
        if !ended || result.compared == 0 {
            return Err("it did not finish".into());
        }
        Ok(result)
    }
}

/// Reads the capture of a machine on this one; returns the number of values, and the wrong ones.
fn check_capture(result: &GuestResult, dump: &Path) -> Result<(usize, Vec<String>)> {
    let temp = TempDir::new()?;
    let archive: PathBuf = temp.join("capture.txtar");
    fs::write(&archive, &result.capture)?;
    let directory = temp.join("capture");
    Archive::read(&archive)?.unpack(&directory)?;
    let mut read = Command::new(dump);
    read.args(["--no-conf", "-p", "--json", "--proc"]).arg(&directory);
    let document: Value = serde_json::from_str(&command(&mut read)?)?;
    let rows = document["rows"].as_array().ok_or("no rows in the capture's JSON")?;
    let mut wrong = Vec::new();
    for (image, pid, field, value) in &result.captured {
        let row = rows.iter().find(|row| row["pid"] == *pid);
        let found = row.and_then(|row| row[field].as_u64());
        if found != Some(*value) {
            let found = found.map_or("nothing".to_owned(), |found| found.to_string());
            wrong.push(format!("capture {image} {field}: {found} instead of {value}"));
        }
    }
    Ok((result.captured.len(), wrong))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "[    0.1] a message\nKERNEL 6.1.0\nNOTE collector.rss 65536\n\
        LOG processes are read by BPF\nCAPTURED tcp 7 tcp_established 8\nCAPTURE BEGIN\n-- 7/stat --\n7 (x) S\nCAPTURE END\n\
        WRONG table tcp tcp: 7 instead of Exactly(8)\nCOMPARED 415 1\nEND\n";

    #[test]
    fn console_is_parsed() {
        let result = GuestResult::parse(CONSOLE).unwrap();
        assert_eq!(result.facts["KERNEL"], "6.1.0");
        assert_eq!(result.facts["NOTE collector.rss"], "65536");
        assert_eq!((result.compared, result.wrong.len()), (415, 1));
        assert_eq!(result.log, ["processes are read by BPF"]);
        assert_eq!(result.captured, [("tcp".into(), 7, "tcp_established".into(), 8)]);
        assert_eq!(result.capture, "-- 7/stat --\n7 (x) S\n");
    }

    #[test]
    fn incomplete_console_is_an_error() {
        assert!(GuestResult::parse(&CONSOLE.replace("END\n", "")).is_err());
        assert!(GuestResult::parse(&CONSOLE.replace("COMPARED 415", "COMPARED 0")).is_err());
        assert!(GuestResult::parse(&format!("ERROR no IPv4\n{CONSOLE}")).is_err());
    }

    #[test]
    fn wrong_values_of_a_capture_are_found() {
        let dump = psstat_testproc::binary("psstat-dump", "psstat-dump").unwrap();
        let zeros = "0 ".repeat(9);
        let capture = format!(
            "-- 7/stat --\n7 (x) S 1 7 7 0 -1 {zeros}20 0 5 0 100 4096 1 {zeros}0 0 0 0 17 {zeros}0 0 \
             0 0 0\n-- 7/cmdline --\nx\\0\\\n"
        );
        let expected = |value| ("x".to_owned(), 7, "threads".to_owned(), value);
        let result = GuestResult {
            capture,
            captured: vec![expected(5), expected(6)],
            ..GuestResult::default()
        };
        let (compared, wrong) = check_capture(&result, &dump).unwrap();
        assert_eq!(compared, 2);
        assert_eq!(wrong, ["capture x threads: 5 instead of 6"]);
    }
}
