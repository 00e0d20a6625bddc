//! The definition of one metric.

use super::unit::Unit;

/// Whether a value is a counter or a gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The value never decreases and is never negative; its rate is of interest.
    Counter,
    /// The value can increase and decrease.
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

impl Group {
    /// All groups.
    pub const ALL: &[Group] =
        &[Group::States, Group::Faults, Group::Switches, Group::Swap, Group::Tcp];

    /// The name of the group: `states`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
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

/// One metric: an entry of the metric table.
///
/// An entry corresponds to one OpenMetrics family. A family has one kind and one unit, so two
/// entries share the name `proc.stat.ps.io`: bytes and calls.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The name in tcollector lines and OpenTSDB JSON: `proc.stat.ps.io`.
    pub name: &'static str,
    /// The name of its family in expositions: `proc_stat_ps_io_bytes`. It ends in the
    /// [base unit](Unit::base), and the samples of a counter have the suffix `_total`.
    pub family: &'static str,
    /// The values of its `type` tag; empty if it has no such tag.
    pub type_tags: &'static [&'static str],
    /// The group that it belongs to; `None` for a metric that is always there.
    pub group: Option<Group>,
    /// Whether it has one value per image, named by the `image` tag. If not, it describes the
    /// collector.
    pub per_image: bool,
    /// Counter or gauge.
    pub kind: Kind,
    /// The unit of its values.
    pub unit: Unit,
    /// A one-line description.
    pub help: &'static str,
}
