//! The metric catalogue of psstat and its encoders.
//!
//! ```
//! use psstat_emit::{Encoder, Format, HealthSeries, Image, Series, Tag, Timestamp, Value};
//!
//! let tags = ["cluster=ams3".parse::<Tag>()?];
//! let mut encoder = Encoder::new(Format::Tcollector, &tags)?;
//! let images = [Image::new("fi/lrh")?, Image::new("httpd")?];
//!
//! let mut out = Vec::new();
//! let mut cycle = encoder.begin(&mut out, Timestamp::from_unix(1_700_000_000)?)?;
//! for image in &images {
//!     cycle.point(Series::Pcpu, image, Value::from_thousandths(12_500))?;
//! }
//! cycle.health(HealthSeries::DeniedIo, Value::from_u64(0))?;
//! cycle.end();
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
//! [`catalogue`] is the one place that knows each metric's name, types, unit,
//! kind and help. [`Series`] and [`HealthSeries`] are its series as enums, so a
//! `match` that forgets one does not compile.
//!
//! # What can't be encoded
//!
//! What a TSD or tcollector would refuse has no way through this crate:
//!
//! - names and tags outside `[-_./a-zA-Z0-9]+` ([`Image::new`], [`Tag::new`]);
//! - NaN, infinity, and integers outside `i64` ([`Value`] has none);
//! - times that are not seconds in 32 bits ([`Timestamp`]);
//! - a line of 1,000 bytes or more, more tags than a TSD takes, a tag given
//!   twice, a JSON point without a tag ([`Encoder::new`]);
//! - a second that was sent already, or an earlier one ([`Encoder::begin`]);
//! - the same series twice in a cycle, a counter below zero
//!   ([`Cycle::point`], [`Cycle::health`]).
//!
//! That a counter does not fall from one cycle to the next is up to the caller.

#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod encoder;
pub mod metrics;
mod name;
mod template;
mod value;

pub use encoder::{
    CycleEncoder, Encoder, EncoderError, Format, FormatError, PointError, TimeNotAdvanced,
};
pub use metrics::table::{CollectorSeries, Series};
pub use name::{ImageName, MAX_TAG_VALUE_LEN, NameError, Tag, TagError};
pub use value::{Timestamp, TimestampError, Value};

/// Compiles the example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
