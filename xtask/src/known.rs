//! A process with known numbers, for the checks of packed programs.

use std::collections::BTreeMap;

use psstat_testproc::{Config, TestProcess};

use crate::{Result, assert_ok};

/// A process of root with known numbers.
pub(crate) struct Known {
    name: String,
    process: TestProcess,
}

impl Known {
    pub(crate) fn new() -> Result<Known> {
        let name = format!("known-{}x", std::process::id());
        let mut process = TestProcess::spawn(&Config::new(&name))?;
        process.write_bytes(123_456, 12)?;
        process.tcp_pairs(3)?;
        process.open_files(7)?;
        process.quiesce()?;
        Ok(Known { name, process })
    }

    /// A line of a config file: the image `known`.
    pub(crate) fn rule(&self) -> String {
        format!("known {}", self.name)
    }

    /// The values that need privileges.
    fn privileged(&self) -> Result<BTreeMap<&'static str, u64>> {
        let io = self.process.expected_io()?;
        Ok(BTreeMap::from([
            ("io type=rchar", io.rchar),
            ("io type=wchar", io.wchar),
            ("io type=syscr", io.syscr),
            ("io type=syscw", io.syscw),
            ("net type=tcp", 6),
        ]))
    }

    /// Compares the points of `--once` with the process. Values that need privileges must be absent
    /// without them.
    pub(crate) fn compare(&self, points: &str, is_privileged: bool) -> Result<()> {
        let mut values = BTreeMap::new();
        for line in points.lines().filter(|line| line.contains(" image=known")) {
            let words: Vec<&str> = line.split(' ').collect();
            let [metric, _, value, _, rest @ ..] = &words[..] else { return Err(line.into()) };
            let metric = metric.trim_start_matches("proc.stat.ps.");
            let series = [&[metric], rest].concat().join(" ");
            values.insert(series, value.parse::<f64>()?);
        }
        let mut wrong = Vec::new();
        for (series, value) in [("procs", 1), ("threads", 1)] {
            if values.get(series) != Some(&f64::from(value)) {
                wrong.push(format!("{series} is not {value}"));
            }
        }
        for (series, value) in self.privileged()? {
            let expected = is_privileged.then_some(value as f64);
            if values.get(series) != expected.as_ref() {
                wrong.push(format!("{series} is not {expected:?}"));
            }
        }
        assert_ok(wrong.is_empty(), &format!("{wrong:?}: {values:#?}"))
    }
}
