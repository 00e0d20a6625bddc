//! The output formats.

use std::fmt;
use std::str::FromStr;

/// An output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `metric time value tag=value…`, one line per point, for tcollector, which adds `host`.
    Tcollector,
    /// One JSON array per cycle, in one line, for OpenTSDB's `/api/put`.
    Json,
    /// One OpenMetrics text exposition per cycle, for a scraper or node_exporter's textfile
    /// collector. Its samples have no timestamps: the textfile collector rejects them, and a
    /// scraper uses its own. The textfile collector reads the older Prometheus text format, in
    /// which the counters have an unknown type.
    OpenMetrics,
}

impl Format {
    /// `tcollector`, `json` or `openmetrics`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Tcollector => "tcollector",
            Format::Json => "json",
            Format::OpenMetrics => "openmetrics",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        [Format::Tcollector, Format::Json, Format::OpenMetrics]
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or(FormatError)
    }
}

/// A text that is not the name of a [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected tcollector, json or openmetrics")]
pub struct FormatError;
