//! Every metric that psstat has: name, types, unit, kind and help.
//!
//! They stand in one table, `catalogue/table.rs`. A new metric is a new entry
//! there, its unit too if that is new, and nothing else in this crate. The table's order is the order of a
//! cycle's points (see [`Encoder`](crate::Encoder)).

/// Makes `Series`, `HealthSeries` and `ALL` of the table.
macro_rules! metrics {
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

/// Makes `Unit` of the table.
macro_rules! units {
    ($( $(#[$doc:meta])* $unit:ident = $words:literal $(, openmetrics $suffix:literal)?; )+) => {
        /// What a value is counted in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Unit {
            $($(#[$doc])* $unit,)+
        }

        impl Unit {
            /// The unit in words, for a table: `bytes`, `percent of one core`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Unit::$unit => $words,)+
                }
            }

            /// What an OpenMetrics UNIT line says, and the family's name ends
            /// in. `None` for what is counted in things: their families have
            /// no unit.
            #[must_use]
            pub fn openmetrics(self) -> Option<&'static str> {
                let suffix: &[&'static str] = match self {
                    $(Unit::$unit => &[$($suffix)?],)+
                };
                suffix.first().copied()
            }
        }
    };
}

// Below the macros, which are not visible above their definition.
pub(crate) mod table;

pub use table::{ALL, Unit};

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
