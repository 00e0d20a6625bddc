//! The OpenTelemetry collector.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use psstat_testproc::TempDir;

use super::{EXPORTER, STORE, assert_scraped, configuration};
use crate::common::{Setup, conf, testproc, until, word, write_conf};
use crate::scrapers::free_address;
use crate::store::{Server, Victoria, installed};

/// Its own metrics would need a port.
const WITHOUT_TELEMETRY: &str = "service:\n  telemetry: {metrics: {level: none}}\n";

fn start(program: &Path, config: &str) -> Server {
    let (server, []) = Server::start(
        program,
        |data, []| {
            let path = data.join("config.yaml");
            std::fs::write(&path, config).unwrap();
            vec![format!("--config=file:{}", path.display())]
        },
        |[]| true,
    );
    server
}

fn scrape_config(file: &str, exporter: SocketAddr, more: &[(&str, &str)]) -> String {
    let exporter = exporter.to_string();
    let mut replacements =
        vec![(EXPORTER, &*exporter), ("15s", "1s"), ("service:\n", WITHOUT_TELEMETRY)];
    replacements.extend(more);
    configuration(file, &replacements)
}

#[test]
#[ignore = "run by cargo xtask agents"]
fn otel_collector_scrapes() {
    let Some(program) = installed("otelcol") else { return };
    for images in [0, 1000] {
        assert_scraped(
            "OTel collector, prometheusremotewrite",
            images,
            |exporter, store| {
                let url = format!("http://127.0.0.1:{}", store.port());
                start(&program, &scrape_config("otelcol.yaml", exporter, &[(STORE, &url)]))
            },
            &["job", "instance"],
        );
    }
}

/// The series of an image whose rule was removed end in the store, not five minutes later.
#[test]
#[ignore = "run by cargo xtask agents"]
fn otel_collector_ends_series() {
    let Some(program) = installed("otelcol") else { return };
    let Some(store) = Victoria::written() else { return };
    let [stays, ends] = ["stays", "ends"].map(word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("stays {stays}\nends {ends}\n"));
    let exporter = free_address();
    let setup = Setup::with(&path).arg("--listen").arg(exporter.to_string());
    let _collector = setup.spawn();
    let url = format!("http://127.0.0.1:{}", store.port());
    let config = scrape_config("otelcol.yaml", exporter, &[(STORE, &url)]);
    let _agent = start(&program, &config);
    until("the image", || store.count("proc_stat_ps_procs{image=\"ends\"}") == 1);
    write_conf(&path, &format!("stays {stays}\n"));
    until("stale", || store.count("{image=\"ends\"}") == 0);
    assert_eq!(store.count("proc_stat_ps_procs{image=\"stays\"}"), 1);
}

/// The deltas of a counter over a restart of the collector: what the processes did.
#[test]
#[ignore = "run by cargo xtask agents"]
fn otel_collector_makes_deltas() {
    let Some(program) = installed("otelcol") else { return };
    let word = word("delta");
    let mut process = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("delta {word}\n"));
    // Before the collector starts: in no delta.
    process.write_bytes(5_000_000, 5).unwrap();
    process.quiesce().unwrap();
    let before = process.expected_io().unwrap().wchar;
    let exporter = free_address();
    let collector = || {
        let setup = Setup::with(&path).io_since_start();
        setup.arg("--listen").arg(exporter.to_string()).spawn()
    };
    let first = collector();
    let agent = start(&program, &scrape_config("otelcol-delta.yaml", exporter, &[]));
    let deltas = || deltas(&agent.log(), "proc_stat_ps_io_bytes_total", "image=delta type=wchar");
    let total = || deltas().iter().sum::<f64>() as u64;
    // The first value of a series is dropped.
    until("deltas of a quiet process", || deltas().len() > 2);
    process.write_bytes(3_000_000, 3).unwrap();
    until("3 MB", || total() >= 3_000_000);
    drop(first);
    let count = deltas().len();
    let _second = collector();
    until("deltas after the restart", || deltas().len() > count + 2);
    process.write_bytes(2_000_000, 2).unwrap();
    until("2 MB", || total() >= 5_000_000);
    process.quiesce().unwrap();
    let sent = process.expected_io().unwrap().wchar - before;
    println!("deltas: {:?}", deltas());
    assert_eq!(total(), sent);
}

/// The values of a series in the log of the debug exporter, in their order.
fn deltas(log: &str, metric: &str, tags: &str) -> Vec<f64> {
    let mut values = Vec::new();
    let (mut name, mut labels) = ("", BTreeMap::new());
    for line in log.lines().map(str::trim) {
        if let Some(found) = line.strip_prefix("-> Name: ") {
            name = found;
        } else if line.starts_with("NumberDataPoints #") {
            labels = BTreeMap::new();
        } else if let Some(value) = line.strip_prefix("Value: ") {
            let labels: Vec<String> =
                labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            if name == metric && labels.join(" ") == tags {
                values.push(value.parse().unwrap());
            }
        } else if let Some((key, value)) =
            line.strip_prefix("-> ").and_then(|line| line.split_once(": Str("))
        {
            labels.insert(key, value.trim_end_matches(')'));
        }
    }
    values
}
