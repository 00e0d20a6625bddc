//! The collector among what it serves: under a fake tcollector that treats it as
//! tcollector does, with its points in real stores, and read by real parsers.
//!
//! The stores are Debian's, started for a test on free ports of the loopback
//! interface with their data in the test's folder.

// What the other tests of the program run it with; not all of it is needed here.
#[allow(dead_code, unused_imports)]
#[path = "../service/common/mod.rs"]
mod common;

mod fake_tcollector;
mod http;
mod lifecycle;
mod metric_names;
mod openmetrics;
mod population;
mod put_json;
mod shipped;
mod store;
