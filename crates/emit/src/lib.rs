//! The metrics of psstat and their encoders.
//!
//! ```
//! use psstat_emit::{CollectorSeries, Encoder, Format, ImageName, Series, Tag, Timestamp, Value};
//!
//! let tags = ["cluster=ams3".parse::<Tag>()?];
//! let mut encoder = Encoder::new(Format::Tcollector, &tags)?;
//! let images = [ImageName::new("fi/lrh")?, ImageName::new("httpd")?];
//!
//! let mut out = Vec::new();
//! let mut cycle = encoder.begin(&mut out, Timestamp::from_unix(1_700_000_000)?)?;
//! for image in &images {
//!     cycle.point(Series::Pcpu, image, Value::from_thousandths(12_500))?;
//! }
//! cycle.collector_point(CollectorSeries::DeniedIo, Value::from_u64(0))?;
//! cycle.finish();
//!
//! assert_eq!(
//!     String::from_utf8(out)?,
//!     "proc.stat.ps.pcpu 1700000000 12.5 image=fi/lrh cluster=ams3\n\
//!      proc.stat.ps.pcpu 1700000000 12.5 image=httpd cluster=ams3\n\
//!      proc.stat.ps.collector.denied 1700000000 0 type=io cluster=ams3\n"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`metrics`] defines each metric's name, types, unit, kind and help. [`Series`] and
//! [`CollectorSeries`] are its series as enums, so that a `match` that omits one does not
//! compile.
//!
//! # Invalid points
//!
//! This crate cannot encode points that OpenTSDB or tcollector would reject:
//!
//! - names and tags outside `[-_./a-zA-Z0-9]+` ([`ImageName::new`], [`Tag::new`]);
//! - NaN, infinity, and integers outside `i64` ([`Value`] cannot hold them);
//! - times that are not seconds in 32 bits ([`Timestamp`]);
//! - a line of 1,000 bytes or more, more tags than OpenTSDB allows, duplicate tags, a JSON point
//!   without tags ([`Encoder::new`]);
//! - a timestamp that is not after the previous one ([`Encoder::begin`]);
//! - duplicate series in a cycle, a negative counter ([`CycleEncoder::point`],
//!   [`CycleEncoder::collector_point`]).
//!
//! The caller has to ensure that a counter does not decrease from one cycle to the next.

#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod encoder;
mod format;
pub mod metrics;
mod name;
mod template;
mod value;

pub use encoder::{CycleEncoder, Encoder, EncoderError, PointError, TimeNotAdvanced};
pub use format::{Format, FormatError};
pub use metrics::{CollectorSeries, Group, Series};
pub use name::{ImageName, MAX_TAG_VALUE_LEN, NameError, Tag, TagError};
pub use value::{Timestamp, TimestampError, Value};

/// Compiles the example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
