//! The metrics of psstat: name, types, unit, kind and help of each.
//!
//! The table is `metrics/table.rs`. A new metric is a new entry there, and in `metrics/unit.rs`
//! if its unit is new; nothing else in this crate changes. The order of the table is the order
//! of a cycle's points (see [`Encoder`](crate::Encoder)).

/// Defines `Series`, `CollectorSeries` and `ALL` from the table.
macro_rules! metrics {
    ($(
        $(#[$enum_doc:meta])*
        $enum:ident (per_image: $per_image:literal) {
            $(
                $entry:ident: $name:literal, $kind:ident, $unit:ident,
                $(group $group:ident,)?
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
                type_tags: &[$($($type,)?)+],
                group: [$(Some(Group::$group),)? None][0],
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
                /// All series, in the order of a cycle's points.
                pub const ALL: &[$enum] = &[$($($enum::$variant,)+)+];

                /// The metric of this series.
                #[must_use]
                pub fn metric(self) -> &'static Metric {
                    match self {
                        $($($enum::$variant)|+ => &$entry,)+
                    }
                }

                /// The value of its `type` tag, if it has one.
                #[must_use]
                pub fn type_tag(self) -> Option<&'static str> {
                    let type_tags: &[&'static str] = match self {
                        $($($enum::$variant => &[$($type)?],)+)+
                    };
                    type_tags.first().copied()
                }
            }
        )+
    };
}

// Declared after the macro, which is visible only below its definition.
mod table;

mod metric;
mod unit;

pub use metric::{Group, Kind, Metric};
pub use table::ALL;
pub use table::{CollectorSeries, Series};
pub use unit::Unit;
