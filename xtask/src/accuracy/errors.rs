//! How far off the windows were.

/// The bound by the CPU clock, in points.
pub(crate) const BOUND: f64 = 0.2;

/// Windows of one process, read one way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errors {
    windows: f64,
    sum: f64,
    /// Against the load that was asked for.
    from_load: Spread,
    /// Against another reading of the same clock at nearly the same moments.
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
    /// A window that gave `pcpu`.
    pub(crate) fn window(&mut self, pcpu: f64, load: f64, reading: f64) {
        self.windows += 1.0;
        self.sum += pcpu;
        self.from_load.add(pcpu - load);
        self.from_reading.add(pcpu - reading);
    }

    /// The largest error against the other reading: not against the load, which
    /// a burner that had to wait for others does not have.
    pub(crate) fn largest(&self) -> f64 {
        self.from_reading.largest
    }

    pub(crate) fn print_heading() {
        println!(
            "                   each window to its load     to another reading         mean of all"
        );
        println!(
            "load  read by      largest     mean  % <0.2  largest     mean  % <0.2  to its account"
        );
    }

    /// A row; `account` is the load by the process's own account of the whole
    /// time.
    pub(crate) fn print(&self, load: u64, way: &str, account: f64) {
        println!(
            "{load:>3} % {way:<10} {}{} {:>+15.3}",
            self.from_load.cells(self.windows),
            self.from_reading.cells(self.windows),
            self.sum / self.windows - account,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_errors() {
        let mut spread = Spread::default();
        for error in [0.1, -0.3, 0.0, 0.2] {
            spread.add(error);
        }
        assert_eq!(spread.cells(4.0), "   0.300    0.150       75");
    }

    #[test]
    fn a_burner_that_waits_is_no_error() {
        let mut errors = Errors::default();
        errors.window(28.0, 30.0, 28.1);
        assert!(errors.largest() < BOUND);
        errors.window(30.0, 30.0, 30.3);
        assert!(errors.largest() > BOUND);
    }
}
