//! Every metric that psstat has: name, types, unit, kind and help.
//!
//! They stand in one table, `catalogue/table.rs`. A new metric is a new entry
//! there, and nothing else in this crate. The table's order is the order of a
//! cycle's points (see [`Encoder`](crate::Encoder)).

/// Makes `Series`, `Health` and `ALL` of the table.
macro_rules! catalogue {
    ($(
        $(#[$enum_doc:meta])*
        $enum:ident (per_image: $per_image:literal) {
            $(
                $entry:ident: $name:literal, $kind:ident, $unit:ident,
                family $family:literal,
                help $help:literal,
                {$( $(#[$doc:meta])* $variant:ident $(= $type:literal)? ),+ $(,)?}
            )+
        }
    )+) => {
        /// Every metric, in the order of a cycle's points.
        pub const ALL: &[&Metric] = &[$($(&$entry,)+)+];

        $($(
            static $entry: Metric = Metric {
                name: $name,
                family: $family,
                types: &[$($($type,)?)+],
                per_image: $per_image,
                kind: Kind::$kind,
                unit: Unit::$unit,
                help: $help,
            };
        )+)+

        $(
            $(#[$enum_doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub enum $enum {
                $($($(#[$doc])* $variant,)+)+
            }

            impl $enum {
                /// All of them, in the order of a cycle's points.
                pub const ALL: &[$enum] = &[$($($enum::$variant,)+)+];

                /// The metric that it is a series of.
                #[must_use]
                pub fn metric(self) -> &'static Metric {
                    match self {
                        $($($enum::$variant)|+ => &$entry,)+
                    }
                }

                /// The value of its `type` tag, if it has one.
                #[must_use]
                pub fn type_value(self) -> Option<&'static str> {
                    let types: &[&'static str] = match self {
                        $($($enum::$variant => &[$($type)?],)+)+
                    };
                    types.first().copied()
                }
            }
        )+
    };
}

// Below the macro, which is not visible above its definition.
mod table;

pub use table::{ALL, Health, Series};

/// Whether a value counts up or is what it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, and is never negative: its rate is what tells.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl Kind {
    /// `counter` or `gauge`, as in an OpenMetrics TYPE line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        }
    }
}

/// What a value is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// System calls.
    Calls,
    /// Cycles of the collector.
    Cycles,
    /// Open file descriptors.
    Descriptors,
    /// Lines of the conf.
    Lines,
    /// Thousandths of a second.
    Milliseconds,
    /// Hundredths of one core's time: two busy cores are 200.
    PercentOfCore,
    /// Processes.
    Processes,
    /// Reads of a file.
    Reads,
    /// Rules of the conf.
    Rules,
    /// Sockets.
    Sockets,
    /// Threads.
    Threads,
    /// 1 for yes, 0 for no.
    YesNo,
}

impl Unit {
    /// The unit in words, for a table: `bytes`, `percent of one core`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Bytes => "bytes",
            Unit::Calls => "calls",
            Unit::Cycles => "cycles",
            Unit::Descriptors => "descriptors",
            Unit::Lines => "lines",
            Unit::Milliseconds => "milliseconds",
            Unit::PercentOfCore => "percent of one core",
            Unit::Processes => "processes",
            Unit::Reads => "reads",
            Unit::Rules => "rules",
            Unit::Sockets => "sockets",
            Unit::Threads => "threads",
            Unit::YesNo => "0 or 1",
        }
    }

    /// What an OpenMetrics UNIT line says, and the family's name ends in.
    /// `None` for what is counted in things: their families have no unit.
    #[must_use]
    pub fn openmetrics(self) -> Option<&'static str> {
        match self {
            Unit::Bytes => Some("bytes"),
            Unit::Milliseconds => Some("milliseconds"),
            Unit::PercentOfCore => Some("percent"),
            _ => None,
        }
    }
}

/// One metric: an entry of the catalogue.
///
/// An entry is also one OpenMetrics family. A family has one kind and one
/// unit, so `proc.stat.ps.io` has three entries under its one name: bytes,
/// calls, and `cancelled_write_bytes`, which the kernel can make smaller and
/// which is a gauge for that reason.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The name in tcollector lines and OpenTSDB JSON: `proc.stat.ps.io`.
    pub name: &'static str,
    /// The name of its OpenMetrics family: `proc_stat_ps_io_bytes`. A
    /// counter's samples have `_total` after it.
    pub family: &'static str,
    /// The values of the `type` tag; none where it has no such tag.
    pub types: &'static [&'static str],
    /// Whether there is a value an image, in an `image` tag. If not, it is
    /// the collector's own.
    pub per_image: bool,
    /// Counter or gauge.
    pub kind: Kind,
    /// What it is counted in.
    pub unit: Unit,
    /// A line that says what is counted.
    pub help: &'static str,
}
