//! The first process of a machine that `cargo lab machines` boots.
//!
//! It starts processes with known resources, runs both programs of psstat, compares their numbers
//! with the known ones and with the kernel's files, and prints the result. It also prints a
//! capture, for the host to read. On a running system it does the same without booting it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use psstat_testproc::archive::Archive;
use serde_json::Value;

mod bpf;
mod population;
mod report;
mod sys;
mod system;

use population::Role;
use report::Report;

type Error = Box<dyn std::error::Error>;
type Result<T> = std::result::Result<T, Error>;

/// The directory of the programs in the machine.
const PROGRAMS: &str = "/bin";
/// The images that are captured: they have all kinds of values.
const CAPTURED: [&str; 6] = ["tcp", "tcp6", "unix", "memory", "io", "threads"];

fn main() {
    let first = std::process::id() == 1;
    let done = if first { system::boot() } else { Ok(()) }.and_then(|()| run());
    if let Err(error) = done {
        println!("ERROR {error}");
    }
    println!("END");
    if first {
        system::power_off();
    }
}

fn run() -> Result<()> {
    system::describe()?;
    let roles = population::start()?;
    let conf = std::env::temp_dir().join("psstat-guest.conf");
    let rules: String = roles
        .iter()
        .map(|role| format!("{name} ^{}{name}$\n", population::PREFIX, name = role.name))
        .collect();
    std::fs::write(&conf, rules)?;
    let conf = conf.to_str().ok_or("the path of the config file is not UTF-8")?;

    let mut report = Report::default();
    for role in &roles {
        role.check_kernel(&mut report)?;
    }
    check_table(&roles, conf, &mut report)?;
    check_processes(&roles, conf, &mut report)?;
    check_collector("collector", &roles, conf, "proc", &mut report)?;
    let works = bpf::check(&roles, conf, &mut report)?;
    for role in &roles {
        check_process_report(role, &mut report)?;
    }
    capture(&roles, conf)?;
    // Some use CPU time.
    drop(roles);
    if works {
        bpf::run_tests(&mut report)?;
    }
    report.print();
    Ok(())
}

/// A program of psstat.
fn program(name: &str) -> Command {
    let directory = std::env::var("PSSTAT_PROGRAMS").unwrap_or_else(|_| PROGRAMS.to_owned());
    let mut command = Command::new(Path::new(&directory).join(name));
    command.stdin(Stdio::null());
    command
}

/// The output and the messages of a program. Its messages are printed.
fn output_and_messages(name: &str, args: &[&str]) -> Result<(String, String)> {
    let output = program(name).args(args).output()?;
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    for line in messages.lines() {
        println!("MESSAGE {line}");
    }
    if !output.status.success() {
        return Err(format!("{name} {args:?}: {}", output.status).into());
    }
    Ok((String::from_utf8(output.stdout)?, messages))
}

fn output(name: &str, args: &[&str]) -> Result<String> {
    Ok(output_and_messages(name, args)?.0)
}

fn json(args: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&output("psstat-dump", args)?)?)
}

/// The sums per image of psstat-dump.
fn check_table(roles: &[Role], conf: &str, report: &mut Report) -> Result<()> {
    let document = json(&["--conf", conf, "--json"])?;
    for role in roles {
        let row = find(&document, |row| row["image"] == role.name);
        role.check_row("table", row, &role.sums()?, report);
    }
    Ok(())
}

/// The processes of psstat-dump.
fn check_processes(roles: &[Role], conf: &str, report: &mut Report) -> Result<()> {
    let document = json(&["--conf", conf, "-p", "--json"])?;
    for role in roles {
        for process in &role.processes {
            let row = find(&document, |row| row["pid"] == process.pid());
            role.check_row("processes", row, &role.values(process)?, report);
        }
    }
    Ok(())
}

fn find(document: &Value, is: impl Fn(&Value) -> bool) -> Option<&Value> {
    document["rows"].as_array()?.iter().find(|row| is(row))
}

/// The values of the collector's output by metric, without its prefix, and tags.
fn series(output: &str) -> BTreeMap<String, &str> {
    let lines = output.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let name = words.next()?.strip_prefix("proc.stat.ps.")?;
        let value = words.nth(1)?;
        let mut tags: Vec<&str> = words.collect();
        tags.sort_unstable();
        Some((format!("{name} {}", tags.join(" ")).trim().to_owned(), value))
    });
    lines.collect()
}

/// The series of the collector with a source of readings; its messages.
fn check_collector(
    name: &str,
    roles: &[Role],
    conf: &str,
    source: &str,
    report: &mut Report,
) -> Result<String> {
    let args = ["--conf", conf, "--once", "--metrics", "swap", "--source", source];
    let (text, messages) = output_and_messages("psstat-tcollector", &args)?;
    let series = series(&text);
    for role in roles {
        let sums = if source == "bpf" { bpf::sums(role)? } else { role.sums()? };
        for (value, expected) in sums {
            let Some((metric, kind)) = population::series(value) else { continue };
            let kind = kind.map_or(String::new(), |kind| format!(" type={kind}"));
            let found = series.get(&format!("{metric} image={}{kind}", role.name));
            let found = found.and_then(|value| value.parse().ok());
            report.compare(name, role.name, value, &expected, found);
        }
    }
    for value in ["collector.rss", "collector.panics"] {
        println!("NOTE {value} {}", series.get(value).unwrap_or(&"absent"));
    }
    for (value, number) in &series {
        let errors =
            ["collector.failed", "collector.denied"].iter().any(|of| value.starts_with(of));
        if errors && *number != "0" {
            println!("NOTE {value} {number}");
        }
    }
    Ok(messages)
}

/// All values of one process.
fn check_process_report(role: &Role, report: &mut Report) -> Result<()> {
    for process in &role.processes {
        let document = json(&["pid", &process.pid().to_string(), "--json"])?;
        for (name, expected) in role.values(process)? {
            let Some(pointer) = population::pointer(name) else { continue };
            let found = document.pointer(pointer).and_then(Value::as_f64);
            report.compare("pid", role.name, name, &expected, found);
        }
        if let Some(established) = role.established() {
            let found = document.pointer("/sockets/established").and_then(Value::as_f64);
            report.compare("pid", role.name, "established", &established, found);
        }
    }
    Ok(())
}

/// Prints a capture, and the values that a reader of it must find.
fn capture(roles: &[Role], conf: &str) -> Result<()> {
    let directory = std::env::temp_dir().join(format!("psstat-capture-{}", std::process::id()));
    let path = directory.to_str().ok_or("the path of the capture is not UTF-8")?;
    let mut args = vec!["capture", "--conf", conf, path];
    args.extend(CAPTURED);
    output("psstat-dump", &args)?;
    for role in roles.iter().filter(|role| CAPTURED.contains(&role.name)) {
        for process in &role.processes {
            for (name, expected) in role.values(process)? {
                if let (Some(field), Some(value)) = (population::field(name), expected.exactly()) {
                    println!("CAPTURED {} {} {field} {value}", role.name, process.pid());
                }
            }
        }
    }
    println!("CAPTURE BEGIN");
    print!("{}", Archive::of_dir(&directory)?);
    println!("CAPTURE END");
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
