//! The units of sizes of memory in the kernel's files.

use core::fmt;
use core::iter::Sum;
use core::ops::{Add, Sub};

/// Defines a number of a unit.
macro_rules! unit {
    ($(#[$doc:meta])* $unit:ident, $suffix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
        pub struct $unit(pub u64);

        impl From<$unit> for u64 {
            #[inline]
            fn from(number: $unit) -> u64 {
                number.0
            }
        }

        impl From<u64> for $unit {
            #[inline]
            fn from(number: u64) -> Self {
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
    Pages, "pages"
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
    Kilobytes, "kB"
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
