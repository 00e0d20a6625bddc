//! `cargo xtask dashboard`: dashboards of Grafana, for Prometheus and OpenTSDB, and of vmui, from the
//! metric table.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use psstat_emit::metrics::{self, Entry};
use psstat_emit::{Kind, Unit};
use psstat_testproc::TempDir;
use serde_json::{Value, json};

use crate::{Result, cargo};

mod vmui;

/// Write dashboards with a panel per metric to packaging/grafana and packaging/vmui
///
/// Of Grafana: one for Prometheus and VictoriaMetrics, one for OpenTSDB. One of vmui, the page of
/// VictoriaMetrics. A test compares the files with the metric table: run this after a change of it.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Options {
    /// Only check whether the files are up to date
    #[arg(long)]
    check: bool,
    /// Read the files with the strict reader of Grafana's Foundation SDK. Needs Go
    #[arg(long)]
    validate: bool,
}

/// Grafana's Foundation SDK for Go.
const SDK: &str = "github.com/grafana/grafana-foundation-sdk/go v0.0.22";

/// Where the series are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Store {
    Prometheus,
    OpenTsdb,
}

const WIDTH: u64 = 12;
const HEIGHT: u64 = 8;

/// Writes or checks all dashboards.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.validate {
        return validate();
    }
    let mut stale = Vec::new();
    for (path, dashboard) in [
        (path(Store::Prometheus), dashboard(Store::Prometheus)),
        (path(Store::OpenTsdb), dashboard(Store::OpenTsdb)),
        (cargo::root().join("packaging/vmui/psstat.json"), vmui::dashboard()),
    ] {
        let now = serde_json::to_string_pretty(&dashboard)? + "\n";
        if fs::read_to_string(&path).is_ok_and(|before| before == now) {
            continue;
        }
        if options.check {
            stale.push(path.display().to_string());
        } else {
            fs::write(&path, now)?;
            println!("{}", path.display());
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("not up to date: {}; run `cargo xtask dashboard`", stale.join(", ")).into())
}

/// Reads the files with the SDK.
fn validate() -> Result<()> {
    let dir = TempDir::new()?;
    fs::write(dir.join("go.mod"), format!("module validate\n\ngo 1.21\n\nrequire {SDK}\n"))?;
    fs::write(dir.join("main.go"), include_str!("dashboard/validate.go"))?;
    let done = Command::new("go")
        .args(["run", "."])
        .args([path(Store::Prometheus), path(Store::OpenTsdb)])
        .current_dir(dir.path())
        .env("GOFLAGS", "-mod=mod")
        .status()
        .map_err(|error| format!("go: {error}"))?;
    if done.success() { Ok(()) } else { Err("the SDK does not accept a dashboard".into()) }
}

fn path(store: Store) -> PathBuf {
    cargo::root().join("packaging/grafana").join(format!("psstat-{}.json", store.name()))
}

impl Store {
    /// Grafana's name of the type of data source.
    fn name(self) -> &'static str {
        match self {
            Store::Prometheus => "prometheus",
            Store::OpenTsdb => "opentsdb",
        }
    }

    /// The data source that the user selects.
    fn source(self) -> Value {
        json!({"type": self.name(), "uid": "${datasource}"})
    }

    /// The tag that tells hosts apart.
    fn host(self) -> &'static str {
        match self {
            Store::Prometheus => "instance",
            Store::OpenTsdb => "host",
        }
    }

    /// The query for the values of a tag.
    fn tag_values(self, tag: &str) -> String {
        match self {
            Store::Prometheus => format!("label_values(proc_stat_ps_procs, {tag})"),
            Store::OpenTsdb => format!("tag_values(proc.stat.ps.procs, {tag})"),
        }
    }
}

/// The title of a section, and whether a metric belongs to it.
type Section = (&'static str, fn(&Entry) -> bool);

const SECTIONS: [Section; 3] = [
    ("Images", |entry| entry.is_per_image() && entry.group.is_none()),
    ("Images: groups of --metrics", |entry| entry.group.is_some()),
    ("The collector", |entry| !entry.is_per_image()),
];

fn dashboard(store: Store) -> Value {
    let mut panels = Vec::new();
    let mut y = 0;
    for (title, belongs) in SECTIONS {
        panels.push(json!({
            "type": "row",
            "title": title,
            "id": panels.len() + 1,
            "collapsed": false,
            "gridPos": {"h": 1, "w": 2 * WIDTH, "x": 0, "y": y},
            "panels": [],
        }));
        y += 1;
        let section = metrics::ENTRIES.iter().filter(|entry| belongs(entry));
        for (at, entry) in section.enumerate() {
            let is_right = at % 2 == 1;
            let x = if is_right { WIDTH } else { 0 };
            panels.push(panel(store, entry, panels.len() + 1, (x, y)));
            y += if is_right { HEIGHT } else { 0 };
        }
        y += HEIGHT;
    }
    json!({
        "uid": format!("psstat-{}", store.name()),
        "title": match store {
            Store::Prometheus => "psstat",
            Store::OpenTsdb => "psstat (OpenTSDB)",
        },
        "description": "Groups of processes, measured by psstat",
        "tags": ["psstat"],
        "schemaVersion": 39,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "templating": {"list": [
            {
                "name": "datasource",
                "label": "data source",
                "type": "datasource",
                "query": store.name(),
            },
            variable(store, store.host()),
            variable(store, "image"),
        ]},
        "panels": panels,
    })
}

/// A choice of values of a tag.
fn variable(store: Store, tag: &str) -> Value {
    json!({
        "name": tag,
        "label": tag,
        "type": "query",
        "datasource": store.source(),
        "query": store.tag_values(tag),
        "refresh": 2,
        "sort": 1,
        "multi": true,
        "includeAll": true,
        "current": {"text": ["All"], "value": ["$__all"]},
    })
}

/// The title of a metric's panel.
fn title(entry: &Entry) -> String {
    let metric = &entry.metric;
    let title = metric.name.trim_start_matches("proc.stat.ps.").replace(['.', '_'], " ");
    // Two entries of the table can share a name.
    let shares_name =
        metrics::ENTRIES.iter().filter(|other| other.metric.name == metric.name).count() > 1;
    let title = if shares_name { format!("{title}, {}", metric.unit.as_str()) } else { title };
    if metric.kind == Kind::Counter { format!("{title}, per second") } else { title }
}

fn description(entry: &Entry) -> String {
    let help = &entry.metric.help;
    match entry.group {
        Some(group) => format!("{help} Sent with --metrics {}.", group.as_str()),
        None => help.to_string(),
    }
}

fn panel(store: Store, entry: &Entry, id: usize, (x, y): (u64, u64)) -> Value {
    json!({
        "type": "timeseries",
        "id": id,
        "title": title(entry),
        "description": description(entry),
        "datasource": store.source(),
        "gridPos": {"h": HEIGHT, "w": WIDTH, "x": x, "y": y},
        "fieldConfig": {
            "defaults": {"unit": unit(store, entry), "min": 0, "custom": {"fillOpacity": 10}},
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": targets(store, entry),
    })
}

/// Grafana's name of the unit.
fn unit(store: Store, entry: &Entry) -> &'static str {
    let metric = &entry.metric;
    let is_rate = metric.kind == Kind::Counter;
    match (store, metric.unit, metric.unit.base()) {
        (_, Unit::BYTES, _) => {
            if is_rate {
                "Bps"
            } else {
                "bytes"
            }
        }
        // Seconds per second.
        (_, _, Some("seconds")) if is_rate => "percentunit",
        (Store::Prometheus, _, Some("seconds")) => "s",
        (Store::OpenTsdb, Unit::MILLISECONDS, _) => "ms",
        (Store::OpenTsdb, _, Some("seconds")) => "s",
        (Store::Prometheus, _, Some("ratio")) => "percentunit",
        (Store::OpenTsdb, _, Some("ratio")) => "percent",
        _ => "short",
    }
}

/// Whether hosts are combined by their maximum, because a sum has no meaning.
fn is_maximum(entry: &Entry) -> bool {
    ["proc.stat.ps.fd.ratio", "proc.stat.ps.age"].contains(&entry.metric.name)
}

fn targets(store: Store, entry: &Entry) -> Vec<Value> {
    match store {
        Store::Prometheus => vec![prometheus_target(entry)],
        // A target for each type of the two entries with one name.
        Store::OpenTsdb => opentsdb_targets(entry),
    }
}

fn prometheus_target(entry: &Entry) -> Value {
    let filter = if entry.is_per_image() {
        "{instance=~\"$instance\",image=~\"$image\"}"
    } else {
        "{instance=~\"$instance\"}"
    };
    let (expr, legend) = prometheus_query(entry, filter, "[$__rate_interval]");
    json!({
        "refId": "A",
        "datasource": Store::Prometheus.source(),
        "editorMode": "code",
        "expr": expr,
        "legendFormat": legend,
        "range": true,
    })
}

/// The query of a metric and the names of its series, with a filter and the window of rates.
fn prometheus_query(entry: &Entry, filter: &str, window: &str) -> (String, String) {
    let family = entry.metric.family_name();
    let series = match entry.metric.kind {
        Kind::Counter => format!("rate({family}_total{filter}{window})"),
        _ => format!("{family}{filter}"),
    };
    let first = if entry.is_per_image() { "image" } else { "instance" };
    let (by, legend) = if entry.type_tags.is_empty() {
        (first.to_owned(), format!("{{{{{first}}}}}"))
    } else {
        (format!("{first}, type"), format!("{{{{{first}}}}} {{{{type}}}}"))
    };
    let aggregate = if is_maximum(entry) { "max" } else { "sum" };
    (format!("{aggregate} by ({by}) ({series})"), legend)
}

fn opentsdb_targets(entry: &Entry) -> Vec<Value> {
    let metric = &entry.metric;
    let filter = |tag: &str, filter: &str, group_by: bool| json!({"type": "literal_or", "tagk": tag, "filter": filter, "groupBy": group_by});
    let mut filters = vec![filter("host", "$host", !entry.is_per_image())];
    if entry.is_per_image() {
        filters.push(filter("image", "$image", true));
    }
    if !entry.type_tags.is_empty() {
        filters.push(filter("type", &entry.type_tags.join("|"), true));
    }
    let first = if entry.is_per_image() { "$tag_image" } else { "$tag_host" };
    let alias =
        if entry.type_tags.is_empty() { first.to_owned() } else { format!("{first} $tag_type") };
    let is_rate = metric.kind == Kind::Counter;
    vec![json!({
        "refId": "A",
        "datasource": Store::OpenTsdb.source(),
        "metric": metric.name,
        "alias": alias,
        "aggregator": if is_maximum(entry) { "max" } else { "sum" },
        "downsampleInterval": "1m",
        "downsampleAggregator": if is_maximum(entry) { "max" } else { "avg" },
        "downsampleFillPolicy": "none",
        "disableDownsampling": false,
        "shouldComputeRate": is_rate,
        // With a data source of version 2.2 or later this is `rate{dropcounter}`.
        "isCounter": is_rate,
        "filters": filters,
    })]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_those_of_the_metric_table() {
        run(&Options { check: true, validate: false }).unwrap();
    }

    #[test]
    fn each_metric_has_a_panel_and_each_panel_its_place() {
        for store in [Store::Prometheus, Store::OpenTsdb] {
            let dashboard = dashboard(store);
            let panels = dashboard["panels"].as_array().unwrap();
            assert_eq!(panels.len(), metrics::ENTRIES.len() + 3);
            let mut places = Vec::new();
            let mut titles = Vec::new();
            for panel in panels {
                let place = &panel["gridPos"];
                let place = (place["x"].as_u64().unwrap(), place["y"].as_u64().unwrap());
                assert!(!places.contains(&place), "{panel:#}");
                places.push(place);
                assert!(!titles.contains(&&panel["title"]), "{panel:#}");
                titles.push(&panel["title"]);
            }
        }
    }
}
