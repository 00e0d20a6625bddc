//! The dashboards of the package.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use psstat_emit::metrics::Group;
use serde_json::{Value, json};

use crate::common::{Setup, until};
use crate::http::url_encode;
use crate::openmetrics::exposition_with;
use crate::opentsdb::{cycle_of, put};
use crate::population::Population;
use crate::store::{OpenTsdb, Prometheus, Victoria};

/// The panels of a dashboard that have queries.
fn panels(name: &str) -> Vec<Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/grafana");
    let text = std::fs::read_to_string(directory.join(name)).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row").cloned().collect()
}

/// The value of `--metrics` for everything.
fn all_groups() -> String {
    let groups: Vec<&str> = Group::ALL.iter().map(|group| group.as_str()).collect();
    groups.join(",")
}

/// Each query of the dashboard for Prometheus, on the collector's metrics: the series of each image
/// and type.
#[test]
fn prometheus_answers_each_panel() {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let Some(prometheus) = Prometheus::scraping(address) else { return };
    let population = Population::new();
    let setup = Setup::with(&population.conf).arg("--listen").arg(address.to_string());
    let setup = setup.arg("--metrics").arg(all_groups());
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

/// Each query of vmui's dashboard, on two cycles.
#[test]
fn victoria_answers_each_panel_of_vmui() {
    let Some(victoria) = Victoria::start() else { return };
    let population = Population::new();
    let exposition = exposition_with(&population, "prometheus", &["--metrics", &all_groups()]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for time in [now - 30, now - 15] {
        victoria.import(&exposition, time);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/vmui/psstat.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let rows = dashboard["rows"].as_array().unwrap();
    let panels: Vec<_> = rows.iter().flat_map(|row| row["panels"].as_array().unwrap()).collect();
    assert!(panels.len() > 25, "{}", panels.len());
    for panel in panels {
        for query in panel["expr"].as_array().unwrap() {
            let query = query.as_str().unwrap();
            until(&format!("{}: {query}", panel["title"]), || victoria.count(query, now - 15) > 0);
        }
    }
}

/// Each query of the dashboard for OpenTSDB, on points of five minutes.
#[test]
fn opentsdb_answers_each_panel() {
    let Some(opentsdb) = OpenTsdb::shared() else { return };
    let population = Population::new();
    let conf = population.conf.to_str().unwrap();
    let cycle = cycle_of(&["--conf", conf, "--metrics", &all_groups()]);
    let end = cycle[0].time.unwrap();
    let minutes = (0..5).map(|minute| end - 60 * minute);
    let lines = minutes.flat_map(|time| {
        cycle.iter().map(move |point| put(point, time, &point.printed(), "panels"))
    });
    assert_eq!(opentsdb.telnet(&lines.collect::<String>()), "");
    let panels = panels("psstat-opentsdb.json");
    assert!(panels.len() > 25, "{}", panels.len());
    for panel in &panels {
        let title = &panel["title"];
        for target in panel["targets"].as_array().unwrap() {
            let query = json!([grafana_query(target)]);
            let mut points = Default::default();
            until(&format!("{title}: {query}"), || {
                points = opentsdb.select(&query);
                points.len() > 1
            });
            assert!(points.values().all(|value| *value >= 0.0), "{title}: {points:?}");
        }
    }
    // The dashboard's variables.
    let lookup = format!("m={}", url_encode("proc.stat.ps.procs{image=*}"));
    let lookup = || opentsdb.get(&format!("/api/search/lookup?limit=100000&{lookup}")).body;
    for image in ["svc/web", "svc/db", "svc/none"] {
        let tags = json!({"host": "panels", "image": image}).to_string();
        until("the image is found", || lookup().contains(&tags));
    }
}

/// The query that Grafana's data source makes of a target, with version 2.2 of OpenTSDB or later
/// and all images of a host.
fn grafana_query(target: &Value) -> Value {
    let mut query = json!({"metric": target["metric"], "aggregator": target["aggregator"]});
    if target["shouldComputeRate"] == true {
        query["rate"] = true.into();
        // Neither a maximum nor a value for resets.
        query["rateOptions"] = json!({"counter": target["isCounter"], "dropResets": true});
    }
    assert_eq!(target["disableDownsampling"], false);
    let text = |key: &str| target[key].as_str().unwrap();
    query["downsample"] =
        format!("{}-{}", text("downsampleInterval"), text("downsampleAggregator")).into();
    assert_eq!(target["downsampleFillPolicy"], "none");
    let filters = target["filters"].to_string();
    let filters = filters.replace("$host", "panels").replace("$image", "svc/web|svc/db|svc/none");
    assert!(!filters.contains('$'), "{filters}");
    query["filters"] = serde_json::from_str(&filters).unwrap();
    query
}
