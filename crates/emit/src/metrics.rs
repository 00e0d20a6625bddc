//! The metrics of psstat: name, types, unit, kind and help of each.
//!
//! It is a table like that of any other program. Its source is `metrics/table.rs`: a new metric is
//! a new entry there, and in `metrics/units.rs` if its unit is new; nothing else in this crate
//! changes.
//!
//! [`Series`] and [`CollectorSeries`] are the rows as enums, so that a `match` that omits one does
//! not compile. They are therefore not `#[non_exhaustive]`: a release with a new metric is a
//! breaking one.
//!
//! ```
//! use psstat_emit::metrics::{self, CollectorSeries, Series};
//! use psstat_emit::{Encoder, Format, Tag, TagValue, Timestamp, Value};
//!
//! let tags = ["cluster=ams3".parse::<Tag>()?];
//! let mut encoder = Encoder::new(Format::Tcollector, metrics::TABLE, &tags)?;
//! let images = [TagValue::new("fi/lrh")?, TagValue::new("httpd")?];
//!
//! let mut out = Vec::new();
//! let mut cycle = encoder.begin(&mut out, Timestamp::from_unix(1_700_000_000)?)?;
//! for image in &images {
//!     cycle.point(Series::Pcpu.metric(), &[image], Value::from_thousandths(12_500))?;
//!     cycle.point(Series::FdOpen.metric(), &[image], 17)?;
//! }
//! cycle.point(CollectorSeries::DeniedIo.metric(), &[], 0)?;
//! cycle.finish()?;
//!
//! assert_eq!(
//!     String::from_utf8(out)?,
//!     "proc.stat.ps.fd 1700000000 17 image=fi/lrh type=open cluster=ams3\n\
//!      proc.stat.ps.fd 1700000000 17 image=httpd type=open cluster=ams3\n\
//!      proc.stat.ps.pcpu 1700000000 12.5 image=fi/lrh cluster=ams3\n\
//!      proc.stat.ps.pcpu 1700000000 12.5 image=httpd cluster=ams3\n\
//!      proc.stat.ps.collector.denied 1700000000 0 type=io cluster=ams3\n"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

/// Defines `Series`, `CollectorSeries`, `ENTRIES` and `TABLE` from the table.
macro_rules! metrics {
    ($(
        $(#[$enum_doc:meta])*
        $enum:ident ($rows:ident, labels: $labels:expr) {
            $(
                $entry:ident: $name:literal, $kind:ident, $unit:ident,
                $(group $group:ident,)?
                family $family:literal,
                help $help:literal,
                {$( $(#[$doc:meta])* $variant:ident $(= $type:literal)? ),+ $(,)?}
            )+
        }
    )+) => {
        /// The rows of the table, in the order of a cycle's points: those of [`Series`], then those
        /// of [`CollectorSeries`].
        pub static TABLE: &[&Metric] = &[$($($(&$rows[$enum::$variant as usize],)+)+)+];

        /// The entries of the table, in its order.
        pub static ENTRIES: &[&Entry] = &[$($(&$entry,)+)+];

        $(
            static $rows: &[Metric] = &[$($(
                $entry.metric $(.tags(&[("type", $type)]))?,
            )+)+];

            $(
                static $entry: Entry = Entry {
                    metric: Metric::new(Kind::$kind, $name, $help)
                        .unit(units::$unit)
                        .labels($labels)
                        .family($family),
                    type_tags: &[$($($type,)?)+],
                    group: [$(Some(Group::$group),)? None][0],
                };
            )+
        )+

        $(
            $(#[$enum_doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub enum $enum {
                $($($(#[$doc])* $variant,)+)+
            }

            impl $enum {
                /// All series, in the order of a cycle's points.
                pub const ALL: &[$enum] = &[$($($enum::$variant,)+)+];

                /// The row of this series, with the tag `type` if it has one.
                #[must_use]
                #[inline]
                pub fn metric(self) -> &'static Metric {
                    &$rows[self as usize]
                }

                /// The entry that this series belongs to.
                #[must_use]
                pub fn entry(self) -> &'static Entry {
                    match self {
                        $($($enum::$variant)|+ => &$entry,)+
                    }
                }

                /// The value of its `type` tag, if it has one.
                #[must_use]
                pub fn type_tag(self) -> Option<&'static str> {
                    self.metric().tags.first().map(|&(_, value)| value)
                }
            }
        )+
    };
}

// Declared after the macro, which is visible only below its definition.
mod table;

mod metric;
mod units;

pub use metric::{Entry, Group};
pub use table::{CollectorSeries, ENTRIES, Series, TABLE};
