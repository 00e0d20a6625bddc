//! node_exporter serves the collector's file with values, types and help.

use psstat_testproc::formats::openmetrics;

use crate::common::{Setup, until};
use crate::population::Population;
use crate::store::{NodeExporter, assert_found, exposed};

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
    assert_found("node_exporter", "prometheus, --output", &exposed(&file), &exposed(&served));
    for line in file.lines().filter(|line| line.starts_with("# ")) {
        assert!(served.lines().any(|other| other == line), "{line}\n{served}");
    }
}
