//! The OpenMetrics parser of Prometheus's Python client reads the exposition
//! as our own does. Without that package the test says so and is skipped.

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::round_trip::{LABEL, cycle};
use psstat_corpus::{assert_nearly_equal, exposition};
use psstat_testproc::formats::{Point, millionths, openmetrics};

/// Prints each sample as a line of JSON: family, labels, value.
const READ: &str = "
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(json.dumps([family.name, list(sample.labels.items()), sample.value]))
";

fn python() -> Command {
    let mut python = Command::new("python3");
    python.stdin(Stdio::piped()).stdout(Stdio::piped());
    python
}

#[test]
fn prometheus_client_reads_it() {
    let import = python().args(["-c", "import prometheus_client"]).stderr(Stdio::null()).output();
    if !import.is_ok_and(|output| output.status.success()) {
        println!("skipped: python3 has no prometheus_client");
        return;
    }
    let mut runner = TestRunner::deterministic();
    for _ in 0..10 {
        let bytes = cycle(LABEL).new_tree(&mut runner).unwrap().current();
        let Some(exposition) = exposition(&bytes) else { continue };
        let expected = openmetrics::parse(&exposition).unwrap();

        let mut child = python().args(["-c", READ]).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&exposition).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&exposition));

        let lines = String::from_utf8(output.stdout).unwrap();
        let points: Vec<Point> = lines.lines().map(point).collect();
        assert_nearly_equal(&points, &expected);
    }
}

fn point(line: &str) -> Point {
    let (metric, tags, value): (String, Vec<(String, String)>, Value) =
        serde_json::from_str(line).unwrap();
    let value = match value.as_i64() {
        Some(integer) => millionths(&integer.to_string(), 0).unwrap(),
        None => (value.as_f64().unwrap() * 1e6).round() as i128,
    };
    Point { metric, time: None, value, tags }
}
