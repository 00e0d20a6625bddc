//! The output formats.

use std::fmt;
use std::str::FromStr;

use crate::error::ConfigError;

/// An output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `metric time value tag=value…`, one line per point, for tcollector, which adds `host`.
    Tcollector,
    /// Lines, each a JSON array of at most 50 points and 8,000 bytes, which OpenTSDB's `/api/put`
    /// accepts as it is with its default settings.
    Json,
    /// InfluxDB's line protocol: one measurement per metric, its tags, the field `value` (an
    /// integer, or a float if the metric has decimals), and nanoseconds since 1970. For InfluxDB,
    /// and for Telegraf's `execd`.
    Influx,
    /// One OpenMetrics 1.0 text exposition per cycle, in base units, for a scraper. Its samples
    /// have no timestamps: a scraper uses its own.
    OpenMetrics,
    /// One exposition per cycle in the Prometheus text format 0.0.4, in base units, without
    /// timestamps: for node_exporter's textfile collector, which rejects timestamps, and for
    /// scrapers that do not read OpenMetrics.
    Prometheus,
}

impl Format {
    /// Every format.
    pub const ALL: &[Format] = &[
        Format::Tcollector,
        Format::Json,
        Format::Influx,
        Format::OpenMetrics,
        Format::Prometheus,
    ];

    /// `tcollector`, `json`, `influx`, `openmetrics` or `prometheus`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Tcollector => "tcollector",
            Format::Json => "json",
            Format::Influx => "influx",
            Format::OpenMetrics => "openmetrics",
            Format::Prometheus => "prometheus",
        }
    }

    /// Whether a cycle is an exposition: families with their types and help, in base units and
    /// without times. A reader takes one exposition, not a stream of them.
    #[must_use]
    pub fn is_exposition(self) -> bool {
        matches!(self, Format::OpenMetrics | Format::Prometheus)
    }

    /// Whether a point has its time and value before its tags.
    pub(crate) fn has_value_first(self) -> bool {
        matches!(self, Format::Tcollector | Format::Json)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let format = Format::ALL.iter().copied().find(|format| format.as_str() == text);
        format.ok_or(ConfigError::UnknownFormat)
    }
}
