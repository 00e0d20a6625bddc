//! The comparisons and their result.

/// The expected value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// This number.
    Exactly(u64),
    /// This number or more.
    AtLeast(u64),
    /// One of two numbers.
    Either(u64, u64),
    /// A number that is at most `by` away from `value`.
    About {
        /// The middle of the range.
        value: f64,
        /// The largest difference.
        by: f64,
    },
}

impl Expected {
    /// The number, if there is only one.
    pub(crate) fn exactly(self) -> Option<u64> {
        match self {
            Expected::Exactly(value) => Some(value),
            Expected::Either(..) | Expected::AtLeast(_) | Expected::About { .. } => None,
        }
    }

    fn accepts(self, found: f64) -> bool {
        match self {
            // All are below 2^53.
            Expected::Exactly(value) => found == value as f64,
            Expected::Either(one, other) => found == one as f64 || found == other as f64,
            Expected::AtLeast(value) => found >= value as f64,
            Expected::About { value, by } => (found - value).abs() <= by,
        }
    }
}

/// The number of comparisons, and those that failed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    made: u64,
    wrong: Vec<String>,
}

impl Report {
    /// Compares a value; `None` is a value that is absent.
    pub(crate) fn compare(
        &mut self,
        source: &str,
        role: &str,
        name: &str,
        expected: &Expected,
        found: Option<f64>,
    ) {
        self.made += 1;
        if !found.is_some_and(|found| expected.accepts(found)) {
            let found = found.map_or("nothing".to_owned(), |found| found.to_string());
            self.wrong.push(format!("{source} {role} {name}: {found} instead of {expected:?}"));
        }
    }

    /// Adds an error other than a value.
    pub(crate) fn wrong(&mut self, wrong: String) {
        self.wrong.push(wrong);
    }

    /// The number of comparisons.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    pub(crate) fn print(&self) {
        for wrong in &self.wrong {
            println!("WRONG {wrong}");
        }
        println!("COMPARED {} {}", self.made, self.wrong.len());
    }
}
