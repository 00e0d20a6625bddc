//! Telegraf.

use std::path::Path;

use psstat_testproc::TempDir;
use psstat_testproc::formats::influx;

use super::{EXPORTER, INSTALLED, assert_scraped, configuration, recorded_collector};
use crate::common::until;
use crate::population::Population;
use crate::store::{Influx, Points, Server, assert_found, installed, series};

fn start(program: &Path, config: &str) -> Server {
    let (server, []) = Server::start(
        program,
        |data, []| {
            let path = data.join("telegraf.conf");
            std::fs::write(&path, config).unwrap();
            vec!["--config".to_owned(), path.display().to_string()]
        },
        |[]| true,
    );
    server
}

const AGENT: &str = "[agent]\n  interval = \"1s\"\n  flush_interval = \"1s\"\n";

#[test]
#[ignore = "run by cargo xtask agents"]
fn telegraf_scrapes() {
    let Some(program) = installed("telegraf") else { return };
    for images in [0, 1000] {
        assert_scraped(
            "Telegraf, inputs.prometheus",
            images,
            |exporter, store| {
                let input =
                    configuration("psstat-prometheus.conf", &[(EXPORTER, &exporter.to_string())]);
                let output = format!(
                    r#"
[[outputs.http]]
  url = "http://127.0.0.1:{}/api/v1/write"
  data_format = "prometheusremotewrite"
  [outputs.http.headers]
    Content-Type = "application/x-protobuf"
    Content-Encoding = "snappy"
"#,
                    store.port()
                );
                start(&program, &format!("{AGENT}{input}{output}"))
            },
            &["host", "url"],
        );
    }
}

#[test]
#[ignore = "run by cargo xtask agents"]
fn telegraf_runs_the_collector() {
    let (Some(program), Some(store)) = (installed("telegraf"), Influx::start()) else { return };
    let population = Population::new();
    let temp = TempDir::new().unwrap();
    let (script, output) = recorded_collector(&population.conf, &temp);
    let input = configuration(
        "psstat-execd.conf",
        &[
            (INSTALLED, script.to_str().unwrap()),
            ("\"--quiet\"", "\"--quiet\", \"--interval\", \"1\""),
        ],
    );
    let config = format!(
        "{AGENT}  omit_hostname = true\n{input}\n[[outputs.influxdb]]\n  \
         urls = [\"http://127.0.0.1:{}\"]\n  database = \"opentsdb\"\n  skip_database_creation = true\n",
        store.port()
    );
    let agent = start(&program, &config);
    let mut found = Points::new();
    until("three cycles", || {
        found = store.points();
        times(&found) >= 3
    });
    drop(agent);
    let printed = std::fs::read(&output).unwrap();
    let whole = printed.iter().rposition(|&byte| byte == b'\n').unwrap();
    let mut sent = Points::new();
    for point in influx::parse(&printed[..=whole]).unwrap() {
        let name = series(&point.metric, &point.tags.iter().cloned().collect());
        sent.insert((name, point.time.unwrap()), point.number());
    }
    // Those that were written while it ran: the last one may be incomplete.
    let last = found.keys().map(|(_, time)| *time).max().unwrap();
    sent.retain(|(_, time), _| *time < last);
    found.retain(|(_, time), _| *time < last);
    assert!(times(&sent) >= 2);
    assert_found("Telegraf, inputs.execd", "influx", &sent, &found);
}

fn times(points: &Points) -> usize {
    points.keys().map(|(_, time)| time).collect::<std::collections::BTreeSet<_>>().len()
}
