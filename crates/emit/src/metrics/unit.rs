//! The units. An entry has the name of the unit, its words, and, if expositions name a unit, the
//! base unit that they use, with the power of ten by which values are divided.

/// Defines [`Unit`] from the table below.
macro_rules! units {
    ($( $(#[$doc:meta])* $unit:ident = $words:literal $(, base $base:literal / 10^$power:literal)?; )+) => {
        /// The unit of a metric's values.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Unit {
            $($(#[$doc])* $unit,)+
        }

        impl Unit {
            /// The unit in words: `bytes`, `percent of one core`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Unit::$unit => $words,)+
                }
            }

            /// The base unit in an exposition (OpenMetrics, Prometheus), which is also the suffix
            /// of the family's name. `None` for numbers of objects: their families have no unit.
            #[must_use]
            pub fn base(self) -> Option<&'static str> {
                let base: &[&'static str] = match self {
                    $(Unit::$unit => &[$($base)?],)+
                };
                base.first().copied()
            }

            /// A value in the base unit is the value divided by ten to this power.
            #[must_use]
            pub fn base_power(self) -> u8 {
                let power: &[u8] = match self {
                    $(Unit::$unit => &[$($power)?],)+
                };
                power.first().copied().unwrap_or(0)
            }
        }
    };
}

units! {
    /// Bytes.
    Bytes = "bytes", base "bytes" / 10^0;
    /// System calls.
    Calls = "calls";
    /// Cycles of the collector.
    Cycles = "cycles";
    /// Open file descriptors.
    Descriptors = "descriptors";
    /// Page faults.
    Faults = "page faults";
    /// Lines of the config file.
    Lines = "lines";
    /// Thousandths of a second.
    Milliseconds = "milliseconds", base "seconds" / 10^3;
    /// Hundredths of the time of one core: 200 for two busy cores.
    PercentOfCore = "percent of one core", base "ratio" / 10^2;
    /// Hundredths.
    Percent = "percent", base "ratio" / 10^2;
    /// Processes.
    Processes = "processes";
    /// Reads of a file.
    Reads = "reads";
    /// Rules.
    Rules = "rules";
    /// Seconds.
    Seconds = "seconds", base "seconds" / 10^0;
    /// Sockets.
    Sockets = "sockets";
    /// Context switches.
    Switches = "switches";
    /// Threads.
    Threads = "threads";
    /// 1 for true, 0 for false.
    Boolean = "0 or 1";
}
