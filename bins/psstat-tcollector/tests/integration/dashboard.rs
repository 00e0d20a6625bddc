//! The dashboards of the package.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use psstat_emit::Group;
use serde_json::Value;

use crate::common::{Setup, until};
use crate::population::Population;
use crate::store::Prometheus;

/// The panels of a dashboard that have queries.
fn panels(name: &str) -> Vec<Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/grafana");
    let text = std::fs::read_to_string(directory.join(name)).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row").cloned().collect()
}

/// Each query of the dashboard for Prometheus, on the collector's metrics: the series of each image
/// and type.
#[test]
fn prometheus_answers_each_panel() {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let Some(prometheus) = Prometheus::scraping(address) else { return };
    let population = Population::new();
    let groups: Vec<&str> = Group::ALL.iter().map(|group| group.as_str()).collect();
    let setup = Setup::with(&population.conf).arg("--listen").arg(address.to_string());
    let setup = setup.arg("--metrics").arg(groups.join(","));
    let _collector = setup.spawn();
    let panels = panels("psstat-prometheus.json");
    assert!(panels.len() > 15, "{}", panels.len());
    for panel in panels {
        let title = &panel["title"];
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let query = query.replace("$instance", ".+").replace("$image", ".+");
            let query = query.replace("$__rate_interval", "10s");
            assert!(!query.contains('$'), "{query}");
            // A rate needs two scrapes.
            until(&format!("{title}: {query}"), || prometheus.count(&query) > 0);
        }
    }
}
