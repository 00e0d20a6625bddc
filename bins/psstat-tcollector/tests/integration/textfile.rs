//! node_exporter serves the collector's file with values, types and help.

use std::collections::BTreeMap;

use psstat_testproc::formats::openmetrics;

use crate::common::{Setup, until};
use crate::population::Population;
use crate::store::NodeExporter;

#[test]
fn node_exporter_serves_the_file() {
    let Some(exporter) = NodeExporter::start() else { return };
    let population = Population::new();
    let path = exporter.directory().join("psstat.prom");
    let setup = Setup::with(&population.conf).args(&["--cycles", "2", "--output"]);
    let mut collector = setup.arg(&path).other_format("prometheus").spawn();
    assert_eq!(collector.end(), Some(0));
    let file = std::fs::read_to_string(&path).unwrap();
    openmetrics::parse_prometheus(file.as_bytes()).unwrap();

    let mut served = String::new();
    until("the file is served", || {
        served = exporter.metrics();
        served.contains("proc_stat_ps_procs")
    });
    assert!(served.contains("node_textfile_scrape_error 0\n"), "{served}");
    // The labels come in another order.
    let samples = |text: &str| -> BTreeMap<String, f64> {
        let lines = text.lines().filter(|line| line.starts_with("proc_stat_ps_"));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let mut labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
            labels.sort_unstable();
            (format!("{name} {labels:?}"), value.parse().unwrap())
        };
        lines.map(sample).collect()
    };
    assert_eq!(samples(&served), samples(&file));
    for line in file.lines().filter(|line| line.starts_with("# ")) {
        assert!(served.lines().any(|other| other == line), "{line}\n{served}");
    }
}
