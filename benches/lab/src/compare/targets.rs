//! The performance targets and whether they were met.

use std::time::Duration;

use crate::Result;

/// CPU per cycle relative to the floor.
const FLOOR: f64 = 1.5;
/// Resident memory in bytes, fixed and per process.
const MEMORY: u64 = 8 << 20;
const MEMORY_PER_PROCESS: u64 = 1 << 10;
/// With at most this number of matched processes, a cycle may cost this number of ms more than the
/// socket tables.
const SMALL_POPULATION: u64 = 100;
const ABOVE_TABLES: f64 = 3.0;
/// The growth of the cost per process from the smallest to the largest population.
const GROWTH: f64 = 0.25;
/// CPU and system calls per cycle relative to the baseline. The number of calls depends on how many
/// periodic reads fall into the traced cycles.
const BASELINE: f64 = 1.03;
const BASELINE_CALLS: f64 = 1.01;

/// A measured value and its bound.
#[derive(Clone, Debug)]
pub(super) struct Target {
    name: String,
    value: f64,
    bound: Bound,
    unit: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
}

impl Target {
    /// CPU per cycle relative to the floor.
    pub(super) fn floor(ratio: f64) -> Target {
        Target::new("CPU relative to the floor".into(), ratio, Bound::AtMost(FLOOR), "")
    }

    /// CPU per cycle relative to the baseline.
    pub(super) fn baseline(ratio: f64) -> Target {
        Target::new("CPU relative to the baseline".into(), ratio, Bound::AtMost(BASELINE), "")
    }

    /// System calls per cycle relative to the baseline.
    pub(super) fn baseline_calls(ratio: f64) -> Target {
        let name = "system calls relative to the baseline".to_owned();
        Target::new(name, ratio, Bound::AtMost(BASELINE_CALLS), "")
    }

    /// Resident bytes with this number of processes on the machine.
    pub(super) fn memory(resident: u64, processes: u64) -> Target {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let limit = MEMORY + processes * MEMORY_PER_PROCESS;
        Target::new("resident memory".into(), mib(resident), Bound::AtMost(mib(limit)), " MiB")
    }

    /// CPU per cycle of another tool relative to psstat.
    pub(super) fn peer(name: &str, ratio: f64, target: f64) -> Target {
        Target::new(format!("CPU of {name} relative to psstat"), ratio, Bound::AtLeast(target), "")
    }

    /// Cost above the socket tables, where so few processes are matched that there is a target.
    pub(super) fn above_tables(cost: Duration, matched: u64, processes: u64) -> Option<Target> {
        let ms = cost.as_secs_f64() * 1000.0;
        let name = "CPU above the socket tables".to_owned();
        (matched <= SMALL_POPULATION && matched < processes)
            .then(|| Target::new(name, ms, Bound::AtMost(ABOVE_TABLES), " ms"))
    }

    /// The growth of the cost per process, as a fraction.
    pub(super) fn growth(growth: f64) -> Target {
        let name = "growth of the cost per process".to_owned();
        Target::new(name, 100.0 * growth, Bound::Below(100.0 * GROWTH), " %")
    }

    fn new(name: String, value: f64, bound: Bound, unit: &'static str) -> Target {
        Target { name, value, bound, unit }
    }

    /// The bound as a cell of a table.
    pub(super) fn bound(&self) -> String {
        let unit = self.unit;
        match self.bound {
            Bound::AtMost(bound) => format!("at most {bound:.2}{unit}"),
            Bound::Below(bound) => format!("below {bound:.2}{unit}"),
            Bound::AtLeast(bound) => format!("at least {bound:.2}{unit}"),
        }
    }

    fn is_missed(&self) -> bool {
        // NaN misses every bound.
        !match self.bound {
            Bound::AtMost(bound) => self.value <= bound,
            Bound::Below(bound) => self.value < bound,
            Bound::AtLeast(bound) => self.value >= bound,
        }
    }

    /// The result in a line.
    fn verdict(&self) -> String {
        let Target { name, value, unit, .. } = self;
        let (Bound::AtMost(bound) | Bound::Below(bound) | Bound::AtLeast(bound)) = self.bound;
        let verdict = if self.is_missed() {
            format!("missed by {:.2}{unit}", (value - bound).abs())
        } else {
            "met".to_owned()
        };
        format!("{verdict}: {name} {value:.2}{unit}, {}", self.bound())
    }
}

/// Prints the results.
///
/// # Errors
/// If a target was missed.
pub(super) fn check(targets: &[Target]) -> Result<()> {
    for target in targets {
        println!("{}", target.verdict());
    }
    match targets.iter().filter(|target| target.is_missed()).count() {
        0 => Ok(()),
        missed => Err(format!("{missed} of {} targets were missed", targets.len()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_met_or_missed() {
        for (target, verdict) in [
            (Target::floor(1.5), "met: CPU relative to the floor 1.50, at most 1.50"),
            (Target::floor(1.75), "missed by 0.25: CPU relative to the floor 1.75, at most 1.50"),
            (
                Target::memory((9 << 20) + 1, 1024),
                "missed by 0.00 MiB: resident memory 9.00 MiB, at most 9.00 MiB",
            ),
            (Target::peer("x", 3.0, 3.0), "met: CPU of x relative to psstat 3.00, at least 3.00"),
            (
                Target::peer("x", 2.5, 3.0),
                "missed by 0.50: CPU of x relative to psstat 2.50, at least 3.00",
            ),
            (
                Target::growth(0.25),
                "missed by 0.00 %: growth of the cost per process 25.00 %, below 25.00 %",
            ),
        ] {
            assert_eq!(target.verdict(), verdict);
        }
        assert!(Target::floor(f64::NAN).is_missed());
        assert!(check(&[Target::floor(1.0)]).is_ok());
        assert!(check(&[Target::floor(1.0), Target::floor(1.6)]).is_err());
    }

    #[test]
    fn small_populations_are_compared_with_the_tables() {
        let of = |ms, matched| Target::above_tables(Duration::from_millis(ms), matched, 2000);
        assert!(!of(3, 100).unwrap().is_missed());
        assert!(of(4, 100).unwrap().is_missed());
        assert!(of(4, 101).is_none());
        assert!(Target::above_tables(Duration::ZERO, 100, 100).is_none());
    }
}
