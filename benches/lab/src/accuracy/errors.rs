//! The errors of the measured CPU shares.

/// The bound for readings of the CPU clock, in points.
pub(crate) const BOUND: f64 = 0.2;

/// The windows of one process by one way of reading.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errors {
    windows: f64,
    sum: f64,
    /// Against the requested load.
    from_load: Spread,
    /// Against another reading of the same clock at nearly the same times.
    from_reading: Spread,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    largest: f64,
    sum: f64,
    within: f64,
}

impl Spread {
    fn add(&mut self, error: f64) {
        let error = error.abs();
        self.largest = self.largest.max(error);
        self.sum += error;
        self.within += f64::from(u8::from(error <= BOUND));
    }

    fn cells(self, windows: f64) -> String {
        let Spread { largest, sum, within } = self;
        format!("{largest:>8.3} {:>8.3} {:>8.0}", sum / windows, 100.0 * within / windows)
    }
}

impl Errors {
    /// Adds a window with this CPU share.
    pub(crate) fn add(&mut self, cpu_percent: f64, load: f64, reading: f64) {
        self.windows += 1.0;
        self.sum += cpu_percent;
        self.from_load.add(cpu_percent - load);
        self.from_reading.add(cpu_percent - reading);
    }

    /// The largest error against the other reading; not against the load, which a process that had
    /// to wait for a core does not have.
    pub(crate) fn largest(&self) -> f64 {
        self.from_reading.largest
    }

    pub(crate) fn print_heading() {
        println!(
            "                   each window to its load     to another reading         mean of all"
        );
        println!(
            "load  read by      largest     mean  % <0.2  largest     mean  % <0.2  to total CPU"
        );
    }

    /// Prints a row; `total` is the load over the whole time by the process itself.
    pub(crate) fn print(&self, load: u64, method: &str, total: f64) {
        println!(
            "{load:>3} % {method:<10} {}{} {:>+15.3}",
            self.from_load.cells(self.windows),
            self.from_reading.cells(self.windows),
            self.sum / self.windows - total,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_of_errors() {
        let mut spread = Spread::default();
        for error in [0.1, -0.3, 0.0, 0.2] {
            spread.add(error);
        }
        assert_eq!(spread.cells(4.0), "   0.300    0.150       75");
    }

    #[test]
    fn waiting_for_a_core_is_not_an_error() {
        let mut errors = Errors::default();
        errors.add(28.0, 30.0, 28.1);
        assert!(errors.largest() < BOUND);
        errors.add(30.0, 30.0, 30.3);
        assert!(errors.largest() > BOUND);
    }
}
