//! InfluxDB accepts a cycle in its own line protocol.

use std::process::Command;

use psstat_testproc::formats::influx;

use crate::common::{PROGRAM, outcome, until};
use crate::population::Population;
use crate::store::{Influx, Points, assert_found, series};

#[test]
fn influxdb_stores_every_line() {
    let Some(store) = Influx::start() else { return };
    let population = Population::new();
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("PSSTAT_TEST_IO_START", "process");
    command.args(["--format", "influx", "--interval", "1", "--cycles", "2"]);
    command.args(["--tag", "host=pxy12", "--conf"]).arg(&population.conf);
    let (status, stdout, stderr) = outcome(&mut command);
    assert_eq!(status, Some(0), "{stderr}");

    let read = influx::parse(stdout.as_bytes()).unwrap();
    let mut expected = Points::new();
    for point in &read {
        let tags = point.tags.iter().cloned().collect();
        let name = series(&point.metric, &tags);
        assert_eq!(expected.insert((name, point.time.unwrap()), point.number()), None);
    }
    let last = read.iter().filter_map(|point| point.time).max().unwrap();
    for (known, value) in population.known() {
        let point = read.iter().rev().find(|point| {
            let tags: Vec<String> =
                point.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let name = point.metric.trim_start_matches("proc.stat.ps.");
            point.time == Some(last)
                && format!("{name} {}", tags.join(" ")) == format!("{known} host=pxy12")
        });
        assert_eq!(
            point.map(psstat_testproc::formats::Point::number),
            Some(value as f64),
            "{known}"
        );
    }

    let answer = store.write(&stdout);
    assert_eq!(answer.status, 204, "{answer:?}");
    let mut held = Points::new();
    until("all points", || {
        held = store.points();
        held.len() >= expected.len()
    });
    assert_found("InfluxDB", "influx", &expected, &held);
}
