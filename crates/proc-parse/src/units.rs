//! The units of memory and of time in the kernel's files.

use core::fmt;
use core::iter::Sum;
use core::ops::{Add, Sub};
use core::time::Duration;

/// Defines a number of a unit.
macro_rules! unit {
    ($(#[$doc:meta])* $unit:ident($number:ty), $suffix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
        pub struct $unit(pub $number);

        impl From<$unit> for $number {
            #[inline]
            fn from(number: $unit) -> $number {
                number.0
            }
        }

        impl From<$number> for $unit {
            #[inline]
            fn from(number: $number) -> Self {
                Self(number)
            }
        }

        impl Add for $unit {
            type Output = Self;

            #[inline]
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl Sub for $unit {
            type Output = Self;

            #[inline]
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl Sum for $unit {
            fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
                Self(numbers.map(|number| number.0).sum())
            }
        }

        impl fmt::Display for $unit {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} {}", self.0, $suffix)
            }
        }
    };
}

unit! {
    /// A number of pages, the unit of `statm` and of `rss` in `stat`.
    ///
    /// The size of a page is that of the machine that printed the file,
    /// `sysconf(_SC_PAGESIZE)`; this crate does not know it.
    ///
    /// ```
    /// use psstat_proc_parse::Statm;
    ///
    /// let statm = Statm::parse(b"765 406 377 5 0 123 0\n")?;
    /// assert_eq!(statm.resident.to_bytes(4096), 1_662_976);
    /// assert_eq!(statm.resident.to_string(), "406 pages");
    /// # Ok::<(), psstat_proc_parse::Error>(())
    /// ```
    Pages(u64), "pages"
}

unit! {
    /// A number of kilobytes of 1,024 bytes, the unit of `Vm…` and `Rss…` in `status`.
    ///
    /// ```
    /// use psstat_proc_parse::{Kilobytes, Status};
    ///
    /// let status = Status::parse(b"VmRSS:\t    1668 kB\n")?;
    /// assert_eq!(status.vm_rss.map(Kilobytes::to_bytes), Some(1_708_032));
    /// # Ok::<(), psstat_proc_parse::Error>(())
    /// ```
    Kilobytes(u64), "kB"
}

unit! {
    /// A number of clock ticks, the unit of times in `stat`.
    ///
    /// The number of ticks per second is that of the machine that printed the file,
    /// `sysconf(_SC_CLK_TCK)`, which is 100 on nearly all; this crate does not know it.
    ///
    /// ```
    /// use core::time::Duration;
    /// use psstat_proc_parse::Ticks;
    ///
    /// assert_eq!(Ticks(133_599).to_duration(100), Duration::from_millis(1_335_990));
    /// assert_eq!((Ticks(7) + Ticks(3)).to_string(), "10 ticks");
    /// ```
    Ticks(u64), "ticks"
}

unit! {
    /// A number of clock ticks that the kernel prints with a sign: the times of children in `stat`.
    SignedTicks(i64), "ticks"
}

impl Ticks {
    /// The time, with this number of ticks per second: cut to nanoseconds. The longest time if it
    /// is longer than that, or the number is 0.
    #[must_use]
    pub const fn to_duration(self, ticks_per_second: u64) -> Duration {
        let (Some(seconds), Some(rest)) =
            (self.0.checked_div(ticks_per_second), self.0.checked_rem(ticks_per_second))
        else {
            return Duration::MAX;
        };
        // Less than a second.
        let nanoseconds = rest as u128 * 1_000_000_000 / ticks_per_second as u128;
        Duration::new(seconds, nanoseconds as u32)
    }
}

impl Pages {
    /// The number of bytes, with this number of bytes per page; `u64::MAX` if it is larger.
    #[must_use]
    #[inline]
    pub const fn to_bytes(self, page_size: u64) -> u64 {
        self.0.saturating_mul(page_size)
    }
}

impl Kilobytes {
    /// The number of bytes; `u64::MAX` if it is larger.
    #[must_use]
    #[inline]
    pub const fn to_bytes(self) -> u64 {
        self.0.saturating_mul(1024)
    }
}
