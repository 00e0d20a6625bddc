//! The dashboard of vmui, the page of VictoriaMetrics.

use psstat_emit::metrics::{self, Entry};
use serde_json::{Value, json};

use super::{SECTIONS, Store, description, prometheus_query, title, unit};

/// The whole width is 12.
const WIDTH: u64 = 6;

/// A section per row, a panel per metric. It has no choice of hosts and images: all are shown.
pub(super) fn dashboard() -> Value {
    let rows = SECTIONS.map(|(title, belongs)| {
        let panels: Vec<Value> = metrics::ENTRIES
            .iter()
            .filter(|entry| belongs(entry))
            .map(|entry| panel(entry))
            .collect();
        json!({"title": title, "panels": panels})
    });
    json!({"title": "psstat", "rows": rows})
}

fn panel(entry: &Entry) -> Value {
    // MetricsQL takes the step of the picture as the window of a rate.
    let (expr, alias) = prometheus_query(entry, "", "");
    json!({
        "title": title(entry),
        "description": description(entry),
        "unit": suffix(entry),
        "expr": [expr],
        "alias": [alias],
        "width": WIDTH,
    })
}

/// The text after the numbers, which vmui does not convert.
fn suffix(entry: &Entry) -> &'static str {
    match unit(Store::Prometheus, entry) {
        "Bps" => "B/s",
        "bytes" => "B",
        "s" => "s",
        // A number, a ratio, or seconds per second.
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_metric_has_a_panel_of_its_own() {
        let dashboard = dashboard();
        let rows = dashboard["rows"].as_array().unwrap();
        let panels = || rows.iter().flat_map(|row| row["panels"].as_array().unwrap());
        assert_eq!(panels().count(), metrics::ENTRIES.len());
        let titles: BTreeSet<&str> =
            panels().map(|panel| panel["title"].as_str().unwrap()).collect();
        assert_eq!(titles.len(), metrics::ENTRIES.len());
        // vmui has no variables.
        assert!(!dashboard.to_string().contains('$'));
    }
}
