//! Encodes metrics in the text formats of time series databases: tcollector lines, JSON for
//! OpenTSDB's `/api/put`, InfluxDB's line protocol, OpenMetrics, and the Prometheus text format.
//!
//! A program declares its metrics as constants, and gives their values in any order. Each format
//! is made of the same points:
//!
//! ```
//! use psstat_emit::{Encoder, Format, Metric, TagValue, Timestamp, Unit};
//!
//! static REQUESTS: Metric =
//!     Metric::counter("shop.requests", "Requests by route.").labels(&["route"]);
//! static BUSY: Metric =
//!     Metric::counter("shop.busy", "Time in requests.").unit(Unit::SECONDS).labels(&["route"]);
//! static QUEUE: Metric = Metric::gauge("shop.queue", "Requests that wait.");
//!
//! let mut encoder = Encoder::new(Format::Prometheus, &[&REQUESTS, &BUSY, &QUEUE], &[])?;
//! let routes = [(TagValue::new("cart")?, 17, 0.25), (TagValue::new("pay")?, 4, 1.5)];
//!
//! let mut out = Vec::new();
//! let mut cycle = encoder.begin(&mut out, Timestamp::try_from(std::time::SystemTime::now())?)?;
//! for (route, requests, seconds) in &routes {
//!     cycle.point(&REQUESTS, &[route], *requests)?;
//!     cycle.point(&BUSY, &[route], *seconds)?;
//! }
//! cycle.point(&QUEUE, &[], 3)?;
//! cycle.finish()?;
//!
//! assert_eq!(
//!     String::from_utf8(out)?,
//!     r##"# HELP shop_requests_total Requests by route.
//! ## TYPE shop_requests_total counter
//! shop_requests_total{route="cart"} 17
//! shop_requests_total{route="pay"} 4
//! ## HELP shop_busy_seconds_total Time in requests.
//! ## TYPE shop_busy_seconds_total counter
//! shop_busy_seconds_total{route="cart"} 0.25
//! shop_busy_seconds_total{route="pay"} 1.5
//! ## HELP shop_queue Requests that wait.
//! ## TYPE shop_queue gauge
//! shop_queue 3
//! "##
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`metrics`] is the table of psstat.
//!
//! # Invalid points
//!
//! This crate cannot encode points that OpenTSDB or tcollector would reject:
//!
//! - names and tags outside `[-_./a-zA-Z0-9]+` ([`Metric`], [`TagValue`], [`Tag`]);
//! - NaN, infinity, and integers outside `i64` ([`CycleEncoder::point`], [`Value`]);
//! - times that are not seconds in 32 bits ([`Timestamp`]);
//! - a line of 1,000 bytes or more, more tags than OpenTSDB allows, duplicate tags, a JSON point
//!   without tags ([`Encoder::new`], [`CycleEncoder::point`]);
//! - a timestamp that is not after the previous one ([`Encoder::begin`]);
//! - duplicate series in a cycle ([`CycleEncoder::finish`]), a negative counter
//!   ([`CycleEncoder::point`]).
//!
//! The caller has to ensure that a counter does not decrease from one cycle to the next.

#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod encoder;
mod error;
mod format;
mod metric;
pub mod metrics;
mod name;
mod template;
mod unit;
mod value;

pub use encoder::{CycleEncoder, Encoder};
pub use error::{ConfigError, EncodeError, Part};
pub use format::Format;
pub use metric::{Kind, Metric};
pub use name::{MAX_TAG_LEN, Tag, TagValue};
pub use unit::Unit;
pub use value::{Timestamp, Value};

/// Compiles the example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
