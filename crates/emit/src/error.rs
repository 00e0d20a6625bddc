//! The errors: of a configuration, and of a point.

use std::fmt;

use crate::metric::MAX_ROW_TAGS;
use crate::name::{MAX_TAG_LEN, Tag};

/// The longest tcollector line with its newline is shorter than this number of bytes.
/// OpenTSDB drops lines of 1,024 bytes, and tcollector adds its own tags.
pub(crate) const MAX_LINE: usize = 1000;

/// A format, a tag or a table that cannot be used: an error of the program's configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A key or value is empty.
    #[error("{0} is empty")]
    Empty(Part),
    /// A key or value has a character outside `[-_./a-zA-Z0-9]`.
    #[error("{part} has {found:?} at byte {at}; only letters, digits and - _ . / are allowed")]
    Character {
        /// The key or the value.
        part: Part,
        /// The byte offset of the character.
        at: usize,
        /// The character.
        found: char,
    },
    /// A key or value is longer than [`MAX_TAG_LEN`].
    #[error("{part} is {length} bytes long; at most {MAX_TAG_LEN} are allowed")]
    TooLong {
        /// The key or the value.
        part: Part,
        /// Its length in bytes.
        length: usize,
    },
    /// The text of a tag has no `=`.
    #[error("expected KEY=VALUE")]
    MissingEquals,
    /// A text is not the name of a format.
    #[error("expected tcollector, json, influx, openmetrics or prometheus")]
    UnknownFormat,
    /// An extra tag has the key of a label or a tag of the table.
    #[error("tag {0} is reserved")]
    ReservedTag(Tag),
    /// Two extra tags have the same key.
    #[error("duplicate tag key: {0}")]
    DuplicateTag(Tag),
    /// With the extra tags besides `host`, a point has more tags than OpenTSDB allows.
    #[error("{count} tags besides host; OpenTSDB allows {allowed}")]
    TooManyTags {
        /// The number of extra tags besides `host`.
        count: usize,
        /// The number that is allowed: eight tags per point, without `host` and those of the
        /// table.
        allowed: usize,
    },
    /// With these tags, a line could have 1,000 bytes or more.
    #[error("tags are {excess} bytes too long: lines must be shorter than {MAX_LINE} bytes")]
    TagsTooLong {
        /// The number of bytes by which the tags have to be shortened.
        excess: usize,
    },
    /// JSON without a tag: OpenTSDB rejects a point without tags, and nothing else adds one.
    #[error("JSON points need at least one tag, such as host=NAME")]
    MissingTag,
    /// The key is not a valid label name of an exposition.
    #[error(
        "{0}: not a valid label name of an exposition ([a-zA-Z_][a-zA-Z0-9_]*, not starting with __)"
    )]
    InvalidLabelName(Tag),
    /// Two rows of the table have the same name, labels and tags.
    #[error("the table has {0} twice")]
    DuplicateMetric(&'static str),
    /// Two rows of the table have the same name in an exposition, and another kind, unit or help,
    /// or other names in the other formats.
    #[error("the table has different metrics with the name of {0} in an exposition")]
    FamilyConflict(&'static str),
}

/// A key or a value of a tag, in an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The key.
    TagKey,
    /// The value.
    TagValue,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::TagKey => "the tag's key",
            Part::TagValue => "the tag's value",
        })
    }
}

/// A point, or a time, that was not encoded. The cycle can continue without it.
///
/// The texts are names of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A time is outside of the range of [`Timestamp`](crate::Timestamp).
    #[error("timestamp {seconds} is outside OpenTSDB's range (10 to 4294967295)")]
    TimeOutOfRange {
        /// The rejected time, in seconds since 1970.
        seconds: i64,
    },
    /// The time of a cycle is not later than that of the previous cycle.
    #[error("timestamp {now} is not after the previous one ({last})")]
    TimeNotAdvanced {
        /// The time of the previous cycle, in seconds since 1970.
        last: u32,
        /// The rejected time, in seconds since 1970.
        now: u32,
    },
    /// The metric is not in the table of the encoder.
    #[error("not in the table of the encoder: {0}")]
    UnknownMetric(&'static str),
    /// The point has more or fewer values than its metric has labels.
    #[error("{found} values for the {expected} labels of {name}")]
    LabelCount {
        /// The name of the metric.
        name: &'static str,
        /// The number of its labels.
        expected: usize,
        /// The number of values.
        found: usize,
    },
    /// The value is infinite or not a number.
    #[error("not a finite number: {0}")]
    NotFinite(&'static str),
    /// The value of a counter is negative.
    #[error("negative counter: {0}")]
    NegativeCounter(&'static str),
    /// The tcollector line would have 1,000 bytes or more. This needs values of labels that have
    /// together more than [`MAX_TAG_LEN`] bytes.
    #[error("the line is too long: {0}")]
    LineTooLong(&'static str),
    /// The cycle has 4 GiB.
    #[error("the cycle is too long: {0}")]
    CycleTooLong(&'static str),
    /// Two points of a cycle have the same metric and the same values of its labels. The output is
    /// complete and has the first of them.
    #[error("duplicate point: {0}")]
    Duplicate(&'static str),
}

/// The tags that OpenTSDB allows besides `host` and those of the table.
pub(crate) const fn allowed_tags(row_tags: usize) -> usize {
    MAX_ROW_TAGS.saturating_sub(row_tags)
}
