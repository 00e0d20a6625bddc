//! The units. An entry has the name of the unit, its words, and its OpenMetrics suffix, if any.

/// Defines [`Unit`] from the table below.
macro_rules! units {
    ($( $(#[$doc:meta])* $unit:ident = $words:literal $(, openmetrics $suffix:literal)?; )+) => {
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

            /// The unit in an OpenMetrics UNIT line, which is also the suffix of the family's
            /// name. `None` for numbers of objects: their families have no unit.
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

units! {
    /// Bytes.
    Bytes = "bytes", openmetrics "bytes";
    /// System calls.
    Calls = "calls";
    /// Cycles of the collector.
    Cycles = "cycles";
    /// Open file descriptors.
    Descriptors = "descriptors";
    /// Lines of the config file.
    Lines = "lines";
    /// Thousandths of a second.
    Milliseconds = "milliseconds", openmetrics "milliseconds";
    /// Hundredths of the time of one core: 200 for two busy cores.
    PercentOfCore = "percent of one core", openmetrics "percent";
    /// Processes.
    Processes = "processes";
    /// Reads of a file.
    Reads = "reads";
    /// Rules.
    Rules = "rules";
    /// Sockets.
    Sockets = "sockets";
    /// Threads.
    Threads = "threads";
    /// 1 for true, 0 for false.
    Boolean = "0 or 1";
}
