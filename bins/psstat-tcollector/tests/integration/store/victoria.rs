//! VictoriaMetrics, which accepts OpenTSDB's `put` lines and its JSON.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use serde_json::Value;

use super::prometheus::{Prometheus, scrape_config};
use super::{Points, Server, installed, series};
use crate::http;

#[derive(Debug)]
pub(crate) struct Victoria {
    _server: Server,
    http: u16,
    opentsdb_http: u16,
}

impl Victoria {
    /// `None` if it is not installed.
    pub(crate) fn start() -> Option<Victoria> {
        let program = installed("victoria-metrics")?;
        let (server, [http, opentsdb_http]) = Server::start(
            &program,
            |data, [http, opentsdb_http]| {
                vec![
                    format!("-storageDataPath={}/data", data.display()),
                    format!("-httpListenAddr=127.0.0.1:{http}"),
                    format!("-opentsdbHTTPListenAddr=127.0.0.1:{opentsdb_http}"),
                    "-memory.allowedBytes=64MB".to_owned(),
                ]
            },
            |[http, opentsdb_http]| {
                http::get(http, "/health").is_ok_and(|answer| answer.body == "OK")
                    && TcpStream::connect((Ipv4Addr::LOCALHOST, opentsdb_http)).is_ok()
            },
        );
        Some(Victoria { _server: server, http, opentsdb_http })
    }

    /// One that scrapes as Prometheus does. `None` if it is not installed.
    pub(crate) fn scraping(exporter: SocketAddr) -> Option<Prometheus> {
        Victoria::with_prometheus_api(Some(exporter))
    }

    /// One to which others write, for the queries of Prometheus; `None` if it is not installed.
    pub(crate) fn written() -> Option<Prometheus> {
        Victoria::with_prometheus_api(None)
    }

    fn with_prometheus_api(exporter: Option<SocketAddr>) -> Option<Prometheus> {
        let program = installed("victoria-metrics")?;
        let (server, [http]) = Server::start(
            &program,
            |data, [http]| {
                let mut options = vec![
                    format!("-storageDataPath={}/data", data.display()),
                    format!("-httpListenAddr=127.0.0.1:{http}"),
                    "-memory.allowedBytes=512MB".to_owned(),
                    // Queries of now return what is stored now.
                    "-search.latencyOffset=0s".to_owned(),
                    "-search.disableCache".to_owned(),
                ];
                if let Some(exporter) = exporter {
                    let config = data.join("scrape.yml");
                    std::fs::write(&config, scrape_config(exporter)).unwrap();
                    options.push(format!("-promscrape.config={}", config.display()));
                }
                options
            },
            |[http]| http::get(http, "/health").is_ok_and(|answer| answer.body == "OK"),
        );
        Some(Prometheus { _server: server, http })
    }

    /// The port of OpenTSDB's `/api/put`. Its port for `put` lines does not answer `version`.
    pub(crate) fn put_port(&self) -> u16 {
        self.opentsdb_http
    }

    /// OpenTSDB's `/api/put`.
    pub(crate) fn put(&self, json: &str) -> http::Response {
        http::post(self.opentsdb_http, "/api/put", json).unwrap()
    }

    /// Stores an exposition in the text format of Prometheus, with this time.
    pub(crate) fn import(&self, exposition: &str, time: u64) {
        let path = format!("/api/v1/import/prometheus?timestamp={time}000");
        let response = http::post(self.http, &path, exposition).unwrap();
        assert_eq!(response.status, 204, "{response:?}");
        http::get_ok(self.http, "/internal/force_flush");
    }

    /// The number of series in the result of a query at this time, with steps of a minute.
    pub(crate) fn count(&self, query: &str, time: u64) -> usize {
        let query = http::url_encode(query);
        let path = format!("/api/v1/query?query={query}&time={time}&step=60s&nocache=1");
        let answer = http::get_json(self.http, &path);
        assert_eq!(answer["status"], "success", "{answer}");
        answer["data"]["result"].as_array().unwrap().len()
    }

    pub(crate) fn points(&self) -> Points {
        // New points are buffered for a second otherwise.
        http::get_ok(self.http, "/internal/force_flush");
        let all = http::url_encode("{__name__!=\"\"}");
        let lines = http::get_ok(self.http, &format!("/api/v1/export?match[]={all}"));
        let mut points = Points::new();
        for line in lines.lines() {
            let one: Value = serde_json::from_str(line).unwrap();
            let mut tags: BTreeMap<String, String> =
                serde_json::from_value(one["metric"].clone()).unwrap();
            let name = series(&tags.remove("__name__").unwrap(), &tags);
            let values = one["values"].as_array().unwrap();
            for (time, value) in one["timestamps"].as_array().unwrap().iter().zip(values) {
                let milliseconds = time.as_u64().unwrap();
                assert_eq!(milliseconds % 1000, 0, "{line}");
                points.insert((name.clone(), milliseconds / 1000), value.as_f64().unwrap());
            }
        }
        points
    }
}
