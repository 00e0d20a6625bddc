//! Prometheus's parsers accept an exposition.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};

use crate::common::{PROGRAM, Setup, outcome, until};
use crate::population::Population;
use crate::store::{Prometheus, installed};

/// One cycle in this format.
pub(crate) fn exposition_with(population: &Population, format: &str, options: &[&str]) -> String {
    let mut command = Command::new(PROGRAM);
    command.env_clear().args(options).args(["--format", format, "--once", "--conf"]);
    let (status, stdout, stderr) = outcome(command.arg(&population.conf));
    assert_eq!(status, Some(0), "{stderr}");
    stdout
}

fn exposition(population: &Population, format: &str) -> String {
    exposition_with(population, format, &[])
}

/// Serves the exposition until the test ends.
fn serve(listener: TcpListener, exposition: String) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = BufReader::new(&stream).lines();
            while request.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let _ = write!(
                stream,
                "HTTP/1.0 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\r\n{exposition}"
            );
        }
    });
}

/// Prometheus's OpenMetrics parser rejects an exposition as a whole if a line is invalid.
#[test]
fn prometheus_scrapes_everything() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let Some(prometheus) = Prometheus::scraping(listener.local_addr().unwrap()) else { return };
    let population = Population::new();
    let exposition = exposition(&population, "openmetrics");
    serve(listener, exposition.clone());
    let values = prometheus.values();
    let samples = exposition.lines().filter(|line| line.starts_with("proc_stat_ps_")).count();
    assert_eq!(values.len(), samples, "{exposition}");
    for (known, value) in population.known() {
        let (metric, tags) = known.split_once(' ').unwrap();
        let family = match (metric, tags.rsplit('=').next().unwrap()) {
            ("io", "rchar" | "wchar") => "io_bytes_total",
            ("io", _) => "io_calls_total",
            (metric, _) => metric,
        };
        let name = format!("proc_stat_ps_{family} {tags}");
        assert_eq!(values.get(&name), Some(&(value as f64)), "{name} in {values:#?}");
    }
    assert_eq!(prometheus.kind("proc_stat_ps_io_bytes"), "counter");
    assert_eq!(prometheus.kind("proc_stat_ps_fd"), "gauge");
}

/// Prometheus scrapes the collector itself.
#[test]
fn prometheus_scrapes_the_collector() {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let Some(prometheus) = Prometheus::scraping(address) else { return };
    let population = Population::new();
    let setup = Setup::with(&population.conf).arg("--listen").arg(address.to_string());
    let _collector = setup.spawn();
    until("values of a cycle", || prometheus.last_values().len() > 10);
    let values = prometheus.last_values();
    for (known, value) in population.known() {
        if let Some(image) = known.strip_prefix("procs ") {
            let name = format!("proc_stat_ps_procs {image}");
            assert_eq!(values.get(&name), Some(&(value as f64)), "{values:#?}");
        }
    }
    assert_eq!(prometheus.kind("proc_stat_ps_io_bytes"), "counter");
}

/// promtool reads the older text format, and warns about names and missing help texts.
#[test]
fn promtool_finds_nothing() {
    let Some(promtool) = installed("promtool") else { return };
    let population = Population::new();
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let exposition = exposition(&population, "prometheus");
    child.stdin.take().unwrap().write_all(exposition.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
    let samples = exposition.lines().filter(|line| !line.starts_with('#')).count();
    assert!(samples >= population.known().len(), "{exposition}");
}

/// The Python package.
#[test]
fn prometheus_client_reads_it() {
    const READ: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(family.type, sample.name, sample.value, *map('='.join, sorted(sample.labels.items())))
";
    let has = Command::new("python3").args(["-c", "import prometheus_client"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        println!("skipped: python3 has no prometheus_client");
        return;
    }
    let population = Population::new();
    let exposition = exposition(&population, "openmetrics");
    let mut child = Command::new("python3")
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(exposition.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{exposition}");
    let text = String::from_utf8(output.stdout).unwrap();
    let read: BTreeMap<String, f64> = text
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (format!("{} {}", words[1], words[3..].join(" ")), words[2].parse().unwrap())
        })
        .collect();
    let printed: BTreeMap<String, f64> = exposition
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').replace(',', " ").replace('"', "");
            (format!("{name} {labels}"), value.parse().unwrap())
        })
        .collect();
    assert_eq!(read, printed);
    // The types that it reads.
    let samples: BTreeMap<String, f64> = text
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (
                format!("{} {} {}", words[0], words[1], words[3..].join(" ")),
                words[2].parse().unwrap(),
            )
        })
        .collect();
    let known = population.known();
    for (ours, theirs) in [
        (
            "io image=svc/web type=wchar",
            "counter proc_stat_ps_io_bytes_total image=svc/web type=wchar",
        ),
        (
            "io image=svc/db type=syscw",
            "counter proc_stat_ps_io_calls_total image=svc/db type=syscw",
        ),
        ("fd image=svc/web type=open", "gauge proc_stat_ps_fd image=svc/web type=open"),
        ("net image=svc/web type=tcp", "gauge proc_stat_ps_net image=svc/web type=tcp"),
        ("procs image=svc/none", "gauge proc_stat_ps_procs image=svc/none"),
    ] {
        assert_eq!(samples.get(theirs), Some(&(known[ours] as f64)), "{theirs} in {samples:#?}");
    }
}
