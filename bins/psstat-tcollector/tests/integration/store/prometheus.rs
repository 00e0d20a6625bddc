//! Prometheus, which scrapes an exposition and stores the samples, and VictoriaMetrics, which does the
//! same with the same interface for queries.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use super::{Server, installed, series};
use crate::common::until;
use crate::http;

#[derive(Debug)]
pub(crate) struct Prometheus {
    pub(super) _server: Server,
    pub(super) http: u16,
}

/// The configuration of a scraper.
pub(crate) fn scrape_config(exporter: SocketAddr) -> String {
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs: [{{job_name: psstat, static_configs: [{{targets: ['{exporter}']}}]}}]\n"
    )
}

impl Prometheus {
    /// Scrapes `localhost:PORT/metrics` from then on. `None` if it is not installed.
    pub(crate) fn scraping(exporter: SocketAddr) -> Option<Prometheus> {
        let program = installed("prometheus")?;
        let (server, [http]) = Server::start(
            &program,
            |data, [http]| {
                std::fs::write(data.join("prometheus.yml"), scrape_config(exporter)).unwrap();
                let data = data.display();
                vec![
                    format!("--config.file={data}/prometheus.yml"),
                    format!("--storage.tsdb.path={data}/data"),
                    format!("--web.listen-address=127.0.0.1:{http}"),
                ]
            },
            |[http]| http::get(http, "/-/ready").is_ok_and(|answer| answer.status == 200),
        );
        Some(Prometheus { _server: server, http })
    }

    /// Its port for HTTP.
    pub(crate) fn port(&self) -> u16 {
        self.http
    }

    /// The values of one successful scrape, by series, without the tags that Prometheus adds.
    pub(crate) fn values(&self) -> BTreeMap<String, f64> {
        let mut values = BTreeMap::new();
        // The values of a scrape are withdrawn if the next one times out.
        until("values of a successful scrape", || {
            let answer = http::get_json(self.http, "/api/v1/targets");
            let target = &answer["data"]["activeTargets"][0];
            let error = target["lastError"].as_str().unwrap_or_default();
            assert!(error.is_empty() || error.contains("deadline"), "{error}");
            if target["health"] == "up" {
                values = self.last_values();
            }
            !values.is_empty()
        });
        values
    }

    /// Those of the last scrape; none if it failed.
    pub(crate) fn last_values(&self) -> BTreeMap<String, f64> {
        self.stored_values(&["job", "instance"])
    }

    /// The last values of the collector's metrics, without these tags.
    pub(crate) fn stored_values(&self, added: &[&str]) -> BTreeMap<String, f64> {
        let mut values = BTreeMap::new();
        for one in self.query("{__name__=~\"proc_.*\"}") {
            let mut tags: BTreeMap<String, String> =
                serde_json::from_value(one["metric"].clone()).unwrap();
            let name = tags.remove("__name__").unwrap();
            for tag in added {
                assert!(tags.remove(*tag).is_some(), "{name}: no {tag}: {tags:?}");
            }
            assert_eq!(values.insert(series(&name, &tags), value(&one)), None);
        }
        values
    }

    /// The result of a query.
    fn query(&self, query: &str) -> Vec<Value> {
        let query = http::url_encode(query);
        let mut answer = http::get_json(self.http, &format!("/api/v1/query?query={query}"));
        let result = answer["data"]["result"].take();
        serde_json::from_value(result).unwrap()
    }

    /// The number of series in the result of a query.
    pub(crate) fn count(&self, query: &str) -> usize {
        self.query(query).len()
    }

    /// The value of a query with one series; `None` if it has none.
    pub(crate) fn value(&self, query: &str) -> Option<f64> {
        let result = self.query(query);
        assert!(result.len() <= 1, "{result:?}");
        result.first().map(value)
    }

    /// The growth of a counter in the last ten minutes, by its stored samples: a decrease is a reset
    /// to 0. Without extrapolation.
    pub(crate) fn growth(&self, series: &str) -> f64 {
        let result = self.query(&format!("{series}[10m]"));
        let samples = result[0]["values"].as_array().unwrap().iter();
        let mut values: Vec<f64> =
            samples.map(|sample| sample[1].as_str().unwrap().parse().unwrap()).collect();
        // VictoriaMetrics returns the marks of stale series as samples.
        values.retain(|value| !value.is_nan());
        let steps = values
            .windows(2)
            .map(|pair| if pair[1] < pair[0] { pair[1] } else { pair[1] - pair[0] });
        steps.sum()
    }

    /// The type of a family in Prometheus's metadata.
    pub(crate) fn kind(&self, family: &str) -> String {
        let answer = http::get_json(self.http, "/api/v1/targets/metadata");
        let all = answer["data"].as_array().unwrap();
        let one = all.iter().find(|one| one["metric"] == family);
        one.unwrap_or_else(|| panic!("nothing of {family}"))["type"].as_str().unwrap().to_owned()
    }
}

/// The value of a series in the result of a query.
fn value(one: &Value) -> f64 {
    one["value"][1].as_str().unwrap().parse().unwrap()
}
