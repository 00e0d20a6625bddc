//! The definition of one metric: a row of a table.

use std::borrow::Cow;
use std::fmt;

use crate::unit::Unit;

/// Whether a value is a counter or a gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The value never decreases and is never negative; its rate is of interest.
    Counter,
    /// The value can increase and decrease.
    Gauge,
}

impl Kind {
    /// `counter` or `gauge`, as in an OpenMetrics TYPE line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The maximum number of tags of a row: OpenTSDB allows eight per point, one of which is `host`.
pub(crate) const MAX_ROW_TAGS: usize = 7;

/// One metric, a row of a table that an [`Encoder`](crate::Encoder) encodes.
///
/// A row is a constant. Its names are checked when it is made, so that an invalid one in a `static`
/// or a `const` does not compile:
///
/// ```
/// use psstat_emit::{Metric, Unit};
///
/// static REQUESTS: Metric =
///     Metric::counter("shop.requests", "Requests by route.").labels(&["route", "status"]);
/// static MEMORY: Metric = Metric::gauge("shop.memory", "Resident memory.").unit(Unit::BYTES);
///
/// assert_eq!(REQUESTS.family_name(), "shop_requests");
/// assert_eq!(MEMORY.family_name(), "shop_memory_bytes");
/// ```
///
/// ```compile_fail
/// use psstat_emit::Metric;
///
/// static REQUESTS: Metric = Metric::counter("shop requests", "A space is not allowed.");
/// ```
///
/// Several rows can share a name if their [tags](Metric::tags) or their [unit](Metric::unit)
/// differ. The rows of one family of an exposition have the same kind, unit and help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The name in tcollector lines, OpenTSDB JSON and InfluxDB's lines: `proc.stat.ps.io`.
    pub name: &'static str,
    /// A one-line description.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// The unit of its values.
    pub unit: Unit,
    /// The keys of the tags whose values each point has.
    pub labels: &'static [&'static str],
    /// Further tags, the same in each point. They follow the labels.
    pub tags: &'static [(&'static str, &'static str)],
    /// The name of its family in expositions, if it is not the one of [`Metric::family_name`].
    pub family: Option<&'static str>,
}

impl Metric {
    /// A row without labels and unit.
    ///
    /// # Panics
    /// If the name is not `[-_./a-zA-Z0-9]+` of at most 255 bytes.
    #[must_use]
    pub const fn new(kind: Kind, name: &'static str, help: &'static str) -> Metric {
        assert!(is_name(name), "invalid name of a metric");
        let unit = Unit::NONE;
        Metric { name, help, kind, unit, labels: &[], tags: &[], family: None }
    }

    /// A counter.
    ///
    /// # Panics
    /// As [`Metric::new`].
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str) -> Metric {
        Metric::new(Kind::Counter, name, help)
    }

    /// A gauge.
    ///
    /// # Panics
    /// As [`Metric::new`].
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str) -> Metric {
        Metric::new(Kind::Gauge, name, help)
    }

    /// Sets the unit of the values.
    #[must_use]
    pub const fn unit(mut self, unit: Unit) -> Metric {
        self.unit = unit;
        self
    }

    /// Sets the keys of the tags whose values each point has.
    ///
    /// # Panics
    /// If a key is not `[a-zA-Z_][a-zA-Z0-9_]*` of at most 255 bytes, starts with `__`, or occurs
    /// twice, or labels and tags are more than seven.
    #[must_use]
    pub const fn labels(mut self, labels: &'static [&'static str]) -> Metric {
        self.labels = labels;
        self.check_keys();
        self
    }

    /// Sets tags that are the same in each point, such as `type=read`.
    ///
    /// # Panics
    /// As [`Metric::labels`], and if a value is not `[-_./a-zA-Z0-9]+` of at most 255 bytes.
    #[must_use]
    pub const fn tags(mut self, tags: &'static [(&'static str, &'static str)]) -> Metric {
        self.tags = tags;
        self.check_keys();
        let mut at = 0;
        while at < tags.len() {
            assert!(is_name(tags[at].1), "invalid value of a tag");
            at += 1;
        }
        self
    }

    /// Sets the name of the family in expositions. It ends in the unit, if there is one, and not
    /// in `_total`, which the samples of a counter get in addition.
    ///
    /// # Panics
    /// If the name is not `[a-zA-Z_:][a-zA-Z0-9_:]*`.
    #[must_use]
    pub const fn family(mut self, family: &'static str) -> Metric {
        let bytes = family.as_bytes();
        assert!(!bytes.is_empty() && !bytes[0].is_ascii_digit(), "invalid name of a family");
        let mut at = 0;
        while at < bytes.len() {
            assert!(
                bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'_' | b':'),
                "invalid name of a family"
            );
            at += 1;
        }
        self.family = Some(family);
        self
    }

    /// The name of its family in expositions: the one that was set, or the name with `_` for each
    /// character that is not allowed, and the [base unit](Unit::base).
    #[must_use]
    pub fn family_name(&self) -> Cow<'static, str> {
        if let Some(family) = self.family {
            return family.into();
        }
        let mut name: String = self
            .name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' })
            .collect();
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            name.insert(0, '_');
        }
        if let Some(unit) = self.unit.base()
            && name.strip_suffix(unit).is_none_or(|rest| !rest.ends_with('_'))
        {
            name.push('_');
            name.push_str(unit);
        }
        name.into()
    }

    /// The number of its tags in each point.
    pub(crate) const fn tag_count(&self) -> usize {
        self.labels.len() + self.tags.len()
    }

    /// The key of a label or a tag.
    const fn key(&self, at: usize) -> &'static str {
        if at < self.labels.len() { self.labels[at] } else { self.tags[at - self.labels.len()].0 }
    }

    const fn check_keys(&self) {
        assert!(self.tag_count() <= MAX_ROW_TAGS, "more than seven tags");
        let mut at = 0;
        while at < self.tag_count() {
            let key = self.key(at);
            assert!(is_name(key) && is_label_name(key), "invalid key of a tag");
            let mut before = 0;
            while before < at {
                assert!(!is_equal(key, self.key(before)), "duplicate key of a tag");
                before += 1;
            }
            at += 1;
        }
    }
}

/// `[-_./a-zA-Z0-9]+`, at most [`MAX_TAG_LEN`](crate::MAX_TAG_LEN) bytes.
pub(crate) const fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_alphanumeric() && !matches!(bytes[at], b'-' | b'_' | b'.' | b'/') {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty() && bytes.len() <= crate::name::MAX_TAG_LEN
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`; names that start with `__` are reserved.
pub(crate) const fn is_label_name(key: &str) -> bool {
    let bytes = key.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_alphanumeric() && bytes[at] != b'_' {
            return false;
        }
        at += 1;
    }
    !matches!(bytes, [] | [b'0'..=b'9', ..] | [b'_', b'_', ..])
}

const fn is_equal(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut at = 0;
    while at < left.len() && at < right.len() && left[at] == right[at] {
        at += 1;
    }
    at == left.len() && at == right.len()
}
