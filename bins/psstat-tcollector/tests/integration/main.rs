//! The collector with the programs around it: a fake tcollector, real stores for its points, and
//! real parsers. The stores are Debian's, and OpenTSDB with HBase. They are started for a test, and
//! OpenTSDB for all of them, on free ports of the loopback interface with their data in a temporary
//! directory.

// Not all of `common` is used here.
#[allow(dead_code, unused_imports)]
#[path = "../service/common/mod.rs"]
mod common;

mod agents;
mod alert_rules;
mod dashboard;
mod fake_tcollector;
mod http;
mod influx_lines;
mod lifecycle;
mod metric_names;
mod openmetrics;
mod opentsdb;
mod opentsdb_alerts;
mod opentsdb_storage;
mod peer;
mod population;
mod put_json;
mod scrapers;
mod shipped;
mod store;
mod textfile;
mod units;
