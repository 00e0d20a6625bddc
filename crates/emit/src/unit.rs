//! The units of metrics.

use std::fmt;

/// The unit of a metric's values: its name, and the base unit that expositions use instead.
///
/// ```
/// use psstat_emit::Unit;
///
/// const MICROSECONDS: Unit = Unit::new("microseconds").base_unit("seconds", 6);
/// const REQUESTS: Unit = Unit::new("requests");
/// assert_eq!((MICROSECONDS.base(), REQUESTS.base()), (Some("seconds"), None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unit {
    name: &'static str,
    base: Option<&'static str>,
    power: u8,
}

impl Unit {
    /// No unit.
    pub const NONE: Unit = Unit::new("");
    /// Bytes.
    pub const BYTES: Unit = Unit::new("bytes").base_unit("bytes", 0);
    /// Seconds.
    pub const SECONDS: Unit = Unit::new("seconds").base_unit("seconds", 0);
    /// Thousandths of a second; in expositions, seconds.
    pub const MILLISECONDS: Unit = Unit::new("milliseconds").base_unit("seconds", 3);
    /// Hundredths; in expositions, a ratio.
    pub const PERCENT: Unit = Unit::new("percent").base_unit("ratio", 2);
    /// 1 for true, 0 for false.
    pub const BOOLEAN: Unit = Unit::new("0 or 1");

    /// The unit of a number of objects, such as `requests`. In expositions it has no name.
    #[must_use]
    pub const fn new(name: &'static str) -> Unit {
        Unit { name, base: None, power: 0 }
    }

    /// Sets the unit in expositions: a value in it is the value divided by ten to this power.
    ///
    /// # Panics
    /// If the unit is not `[a-z]+`, or the power is above 15.
    #[must_use]
    pub const fn base_unit(self, base: &'static str, power: u8) -> Unit {
        assert!(power <= 15, "the power of a unit is above 15");
        let bytes = base.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            assert!(bytes[at].is_ascii_lowercase(), "invalid unit");
            at += 1;
        }
        assert!(at > 0, "invalid unit");
        Unit { name: self.name, base: Some(base), power }
    }

    /// The unit in words: `bytes`, `percent of one core`; empty for [`Unit::NONE`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.name
    }

    /// The base unit in an exposition (OpenMetrics, Prometheus), which is also the suffix of the
    /// family's name. `None` for numbers of objects: their families have no unit.
    #[must_use]
    pub const fn base(self) -> Option<&'static str> {
        self.base
    }

    /// A value in the base unit is the value divided by ten to this power.
    #[must_use]
    pub const fn base_power(self) -> u8 {
        self.power
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}
