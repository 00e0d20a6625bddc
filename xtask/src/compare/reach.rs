//! What is to be reached, and whether it was.

use std::time::Duration;

use crate::Result;

/// CPU a cycle, in times of the floor.
const FLOOR: f64 = 1.5;
/// Resident memory, bytes, and for each process.
const MEMORY: u64 = 8 << 20;
const MEMORY_A_PROCESS: u64 = 1 << 10;
/// Where so few of all processes are matched, a cycle is to cost no more than
/// the socket tables and this, in ms.
const FEW: u64 = 100;
const BEYOND_TABLES: f64 = 3.0;
/// By how much of itself the cost of a process may grow from few processes to
/// many.
const GROWTH: f64 = 0.25;

/// Something that was measured, and its bound.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    what: String,
    is: f64,
    bound: Bound,
    unit: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
}

impl Reach {
    /// CPU a cycle to the floor's.
    pub(super) fn floor(times: f64) -> Reach {
        Reach::new("CPU to the floor".into(), times, Bound::AtMost(FLOOR), "")
    }

    /// Resident bytes with so many processes on the stage.
    pub(super) fn memory(resident: u64, processes: u64) -> Reach {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let most = MEMORY + processes * MEMORY_A_PROCESS;
        Reach::new("resident memory".into(), mib(resident), Bound::AtMost(mib(most)), " MiB")
    }

    /// A tool's CPU to psstat's.
    pub(super) fn peer(name: &str, times: f64, reach: f64) -> Reach {
        Reach::new(format!("CPU of {name} to psstat"), times, Bound::AtLeast(reach), "")
    }

    /// What a cycle costs beyond the socket tables, if so few are matched that
    /// there is a bound.
    pub(super) fn beyond_tables(cost: Duration, matched: u64, processes: u64) -> Option<Reach> {
        let ms = cost.as_secs_f64() * 1000.0;
        let what = "CPU beyond the socket tables".to_owned();
        (matched <= FEW && matched < processes)
            .then(|| Reach::new(what, ms, Bound::AtMost(BEYOND_TABLES), " ms"))
    }

    /// By how much of the first a process costs more among many.
    pub(super) fn growth(growth: f64) -> Reach {
        let what = "growth of the cost a process".to_owned();
        Reach::new(what, 100.0 * growth, Bound::Below(100.0 * GROWTH), " %")
    }

    fn new(what: String, is: f64, bound: Bound, unit: &'static str) -> Reach {
        Reach { what, is, bound, unit }
    }

    /// The bound, as a cell.
    pub(super) fn bound(&self) -> String {
        let unit = self.unit;
        match self.bound {
            Bound::AtMost(bound) => format!("at most {bound:.1}{unit}"),
            Bound::Below(bound) => format!("below {bound:.1}{unit}"),
            Bound::AtLeast(bound) => format!("at least {bound:.1}{unit}"),
        }
    }

    fn is_missed(&self) -> bool {
        // A number that is none holds nothing.
        !match self.bound {
            Bound::AtMost(bound) => self.is <= bound,
            Bound::Below(bound) => self.is < bound,
            Bound::AtLeast(bound) => self.is >= bound,
        }
    }

    /// What came of it, in a line.
    fn verdict(&self) -> String {
        let Reach { what, is, unit, .. } = self;
        let (Bound::AtMost(bound) | Bound::Below(bound) | Bound::AtLeast(bound)) = self.bound;
        let begin = if self.is_missed() {
            format!("missed by {:.2}{unit}", (is - bound).abs())
        } else {
            "reached".to_owned()
        };
        format!("{begin}: {what} {is:.2}{unit}, {}", self.bound())
    }
}

/// Prints what came of all.
///
/// # Errors
/// If a bound was missed.
pub(super) fn judge(all: &[Reach]) -> Result<()> {
    for reach in all {
        println!("{}", reach.verdict());
    }
    match all.iter().filter(|reach| reach.is_missed()).count() {
        0 => Ok(()),
        missed => Err(format!("{missed} of {} bounds were missed", all.len()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_held() {
        for (reach, verdict) in [
            (Reach::floor(1.5), "reached: CPU to the floor 1.50, at most 1.5"),
            (Reach::floor(1.75), "missed by 0.25: CPU to the floor 1.75, at most 1.5"),
            (
                Reach::memory((9 << 20) + 1, 1024),
                "missed by 0.00 MiB: resident memory 9.00 MiB, at most 9.0 MiB",
            ),
            (Reach::peer("x", 3.0, 3.0), "reached: CPU of x to psstat 3.00, at least 3.0"),
            (Reach::peer("x", 2.5, 3.0), "missed by 0.50: CPU of x to psstat 2.50, at least 3.0"),
            (
                Reach::growth(0.25),
                "missed by 0.00 %: growth of the cost a process 25.00 %, below 25.0 %",
            ),
        ] {
            assert_eq!(reach.verdict(), verdict);
        }
        assert!(Reach::floor(f64::NAN).is_missed());
        assert!(judge(&[Reach::floor(1.0)]).is_ok());
        assert!(judge(&[Reach::floor(1.0), Reach::floor(1.6)]).is_err());
    }

    #[test]
    fn few_are_held_against_the_tables() {
        let of = |ms, matched| Reach::beyond_tables(Duration::from_millis(ms), matched, 2000);
        assert!(!of(3, 100).unwrap().is_missed());
        assert!(of(4, 100).unwrap().is_missed());
        assert!(of(4, 101).is_none());
        assert!(Reach::beyond_tables(Duration::ZERO, 100, 100).is_none());
    }
}
