//! The output of a collector, by cycles.

use std::collections::BTreeMap;
use std::time::Duration;

use psstat_testproc::formats::Point;
use psstat_testproc::formats::tsd::parse_stream;

/// The points of a cycle.
#[derive(Clone, Debug)]
pub(crate) struct Cycle {
    /// Seconds since 1970.
    pub(crate) time: u64,
    /// By metric without its prefix, and tags: `io image=web type=rchar`.
    values: BTreeMap<String, String>,
}

/// The metric of the last line of each cycle.
const LAST: &str = "proc.stat.ps.collector.skipped_cycles ";

impl Cycle {
    /// A value as it was printed.
    pub(crate) fn printed(&self, series: &str) -> Option<&str> {
        self.values.get(series).map(String::as_str)
    }

    /// An integer that must be present.
    pub(crate) fn get(&self, series: &str) -> i64 {
        let value = self.printed(series).unwrap_or_else(|| panic!("no {series} in {self:#?}"));
        value.parse().unwrap()
    }

    /// A number that must be present.
    pub(crate) fn number(&self, series: &str) -> f64 {
        let value = self.printed(series).unwrap_or_else(|| panic!("no {series} in {self:#?}"));
        value.parse().unwrap()
    }

    /// All series of an image.
    pub(crate) fn series(&self, image: &str) -> Vec<&str> {
        let tag = format!("image={image}");
        let series = self.values.keys().filter(|series| series.split(' ').any(|word| word == tag));
        series.map(String::as_str).collect()
    }

    /// All values of an image except those that change while its processes sleep, such as pcpu and
    /// resident memory (the kernel may reclaim pages), and that depend on when it is read.
    pub(crate) fn image(&self, image: &str) -> BTreeMap<String, i64> {
        let series = self.series(image).into_iter().filter(|series| !moves(series));
        series.map(|series| (series.to_owned(), self.get(series))).collect()
    }

    /// The images that have points.
    pub(crate) fn images(&self) -> Vec<&str> {
        let procs = self.values.keys().filter_map(|series| series.strip_prefix("procs image="));
        procs.collect()
    }
}

/// Whether a series of an image is not in [`expected_values`](super::expected_values).
pub(crate) fn moves(series: &str) -> bool {
    let metric = series.split(' ').next().unwrap_or_default();
    ["pcpu", "cpu", "age", "starts", "exits", "fd.ratio"].contains(&metric)
        || series.ends_with("type=resident")
        || series.ends_with("type=shared")
}

/// The number of complete cycles.
pub(crate) fn count<'l>(lines: impl Iterator<Item = &'l str>) -> usize {
    lines.filter(|line| line.starts_with(LAST)).count()
}

/// Checks all lines against tcollector's rules and returns the complete cycles.
pub(crate) fn parse_cycles<'l>(lines: impl Iterator<Item = &'l str>) -> Vec<Cycle> {
    let points = parse_stream(lines).unwrap();
    let mut cycles = Vec::new();
    let mut values = BTreeMap::new();
    let mut begun = 0;
    for point in &points {
        let time = point.time.unwrap();
        if values.is_empty() {
            assert!(time > begun, "two cycles in second {begun}");
            begun = time;
        }
        assert_eq!(time, begun, "a cycle with two times");
        let metric = point.metric.strip_prefix("proc.stat.ps.").expect("a strange metric");
        values.insert(series(metric, point), point.printed());
        if LAST.trim_end() == point.metric {
            cycles.push(Cycle { time: begun, values: std::mem::take(&mut values) });
        }
    }
    no_counter_falls(&cycles);
    cycles
}

/// The maximum delay of a cycle on a machine with other load. A cycle that waits for a stuck
/// operation takes longer, or never ends.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(20);

/// Asserts that these cycles, with an interval of one second, were on time.
pub(crate) fn assert_on_time(cycles: &[Cycle]) {
    for pair in cycles.windows(2) {
        let [before, after] = pair else { continue };
        let step = after.time - before.time;
        let late = after.get("collector.skipped_cycles") - before.get("collector.skipped_cycles");
        let max_delay = MAX_DELAY.as_secs();
        assert!((1..=max_delay).contains(&step), "a cycle came after {step} s: {after:#?}");
        assert!(late.cast_unsigned() <= max_delay, "{late} cycles were left out: {after:#?}");
    }
}

/// Asserts that cycles with this interval in seconds were skipped only if one took too long for
/// them: a busy machine can stall for seconds.
pub(crate) fn assert_skips_needed(cycles: &[Cycle], interval: u64) {
    for (at, pair) in cycles.windows(2).enumerate() {
        let [cycle, after] = pair else { continue };
        let late = after.get("collector.skipped_cycles") - cycle.get("collector.skipped_cycles");
        // From the end of the previous cycle to the end of this one.
        let took = match at.checked_sub(1) {
            Some(before) => (cycle.time - cycles[before].time) as f64,
            None => cycle.number("collector.wall") / 1e3,
        };
        // Or this one itself took too long.
        let took = took.max((after.time - cycle.time) as f64);
        let needed = (late + 1) as f64 * interval as f64;
        assert!(late == 0 || needed <= took, "{late} left out after {took} s: {after:#?}");
    }
}

/// The CPU usage of an image in these cycles in percent, weighted by the lengths of the windows,
/// which differ if the machine stalls.
pub(crate) fn mean_load(cycles: &[Cycle], image: &str) -> f64 {
    let wall = |cycle: &Cycle| cycle.number("collector.wall");
    let used = |cycle: &Cycle| cycle.number(&format!("pcpu image={image}")) * wall(cycle);
    cycles.iter().map(used).sum::<f64>() / cycles.iter().map(wall).sum::<f64>()
}

fn series(metric: &str, point: &Point) -> String {
    let tags: Vec<String> = point.tags.iter().map(|(key, tag)| format!(" {key}={tag}")).collect();
    format!("{metric}{}", tags.concat())
}

fn no_counter_falls(cycles: &[Cycle]) {
    let mut highest: BTreeMap<&str, i64> = BTreeMap::new();
    for cycle in cycles {
        for series in cycle.values.keys() {
            let counts = ["io ", "starts ", "exits ", "cpu ", "faults ", "switches "]
                .iter()
                .any(|name| series.starts_with(name))
                || series.starts_with("collector.panics")
                || series.starts_with("collector.skipped_cycles");
            if counts {
                // CPU time has three decimals.
                let value = match series.starts_with("cpu ") {
                    true => (cycle.number(series) * 1000.0).round() as i64,
                    false => cycle.get(series),
                };
                let before = highest.insert(series, value).unwrap_or(0);
                assert!(value >= before, "{series} fell from {before} to {value}");
            }
        }
    }
}
