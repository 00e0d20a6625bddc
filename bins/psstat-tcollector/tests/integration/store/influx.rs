//! InfluxDB 1.x, whose OpenTSDB listener accepts the lines that tcollector sends.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpStream};

use super::{Points, Server, installed, series};
use crate::http;

#[derive(Debug)]
pub(crate) struct Influx {
    _server: Server,
    http: u16,
    opentsdb: u16,
}

impl Influx {
    /// `None` if it is not installed.
    pub(crate) fn start() -> Option<Influx> {
        let program = installed("influxd")?;
        let (server, [_, http, opentsdb]) = Server::start(
            &program,
            |data, [backup, http, opentsdb]| {
                let path = data.join("influxdb.conf");
                let data = data.display();
                let conf = format!(
                    r#"
reporting-enabled = false
bind-address = "127.0.0.1:{backup}"
[meta]
dir = "{data}/meta"
[data]
dir = "{data}/data"
wal-dir = "{data}/wal"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{http}"
[[opentsdb]]
enabled = true
bind-address = "127.0.0.1:{opentsdb}"
database = "opentsdb"
batch-timeout = "100ms"
"#
                );
                std::fs::write(&path, conf).unwrap();
                vec!["-config".to_owned(), path.display().to_string()]
            },
            |[_, http, opentsdb]| {
                http::get(http, "/ping").is_ok_and(|answer| answer.status == 204)
                    && TcpStream::connect((Ipv4Addr::LOCALHOST, opentsdb)).is_ok()
            },
        );
        Some(Influx { _server: server, http, opentsdb })
    }

    /// A connection for `put` lines.
    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.opentsdb)).unwrap()
    }

    /// Its port for HTTP, with the database `opentsdb`.
    pub(crate) fn port(&self) -> u16 {
        http::post(self.http, "/query?q=CREATE%20DATABASE%20opentsdb", "").unwrap();
        self.http
    }

    /// Writes lines of its own protocol. Their measurements are those of the listener's points.
    pub(crate) fn write(&self, lines: &str) -> http::Response {
        self.port();
        http::post(self.http, "/write?db=opentsdb", lines).unwrap()
    }

    /// The values of a query with one series, by time.
    pub(crate) fn select(&self, query: &str) -> BTreeMap<u64, f64> {
        let query = http::url_encode(query);
        let answer = http::get_json(self.http, &format!("/query?db=opentsdb&epoch=s&q={query}"));
        let rows = answer["results"][0]["series"][0]["values"].as_array();
        let rows = rows.into_iter().flatten();
        rows.map(|row| (row[0].as_u64().unwrap(), row[1].as_f64().unwrap())).collect()
    }

    pub(crate) fn points(&self) -> Points {
        let query = http::url_encode("SELECT value FROM /.*/ GROUP BY *");
        let answer = http::get_json(self.http, &format!("/query?db=opentsdb&epoch=s&q={query}"));
        let mut points = Points::new();
        for one in answer["results"][0]["series"].as_array().into_iter().flatten() {
            let mut tags: BTreeMap<String, String> =
                serde_json::from_value(one["tags"].clone()).unwrap();
            // It lists the tags of all metrics; missing ones are empty.
            tags.retain(|_, value| !value.is_empty());
            let name = series(one["name"].as_str().unwrap(), &tags);
            for value in one["values"].as_array().unwrap() {
                let time = value[0].as_u64().unwrap();
                points.insert((name.clone(), time), value[1].as_f64().unwrap());
            }
        }
        points
    }
}
