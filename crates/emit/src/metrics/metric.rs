//! An entry of psstat's table.

use std::fmt;

use crate::metric::Metric;

/// Metrics that a collector reads only if they are requested, since they cost more than others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Group {
    /// `proc.stat.ps.state`.
    States,
    /// `proc.stat.ps.faults`.
    Faults,
    /// `proc.stat.ps.switches`.
    Switches,
    /// `proc.stat.ps.swap`.
    Swap,
    /// `proc.stat.ps.tcp`.
    Tcp,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Group {
    /// All groups.
    pub const ALL: &[Group] =
        &[Group::States, Group::Faults, Group::Switches, Group::Swap, Group::Tcp];

    /// The name of the group: `states`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Group::States => "states",
            Group::Faults => "faults",
            Group::Switches => "switches",
            Group::Swap => "swap",
            Group::Tcp => "tcp",
        }
    }

    /// The group with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Group> {
        Group::ALL.iter().copied().find(|group| group.as_str() == name)
    }
}

/// One entry of psstat's table: a metric, and its series.
///
/// An entry corresponds to one OpenMetrics family. A family has one kind and one unit, so two
/// entries share the name `proc.stat.ps.io`: bytes and calls.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Name, kind, unit, help and labels, without the tag `type`.
    pub metric: Metric,
    /// The values of its `type` tag; empty if it has no such tag.
    pub type_tags: &'static [&'static str],
    /// The group that it belongs to; `None` for a metric that is always there.
    pub group: Option<Group>,
}

impl Entry {
    /// Whether it has one value per image, named by the `image` tag. If not, it describes the
    /// collector.
    #[must_use]
    pub const fn is_per_image(&self) -> bool {
        !self.metric.labels.is_empty()
    }
}
