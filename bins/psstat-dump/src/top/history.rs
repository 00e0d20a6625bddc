//! The values of an image in the last windows.

use std::collections::VecDeque;

use crate::table::row::Row;

/// Number of windows in a history.
pub const LENGTH: usize = 60;

/// The metric of a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// CPU time, percent of one core.
    #[default]
    Cpu,
    /// Resident memory.
    Memory,
    /// Bytes read and written per second.
    Io,
    /// Connections of all protocols.
    Connections,
}

impl Metric {
    /// All metrics, in the order of the key `h`.
    pub const ALL: [Metric; 4] = [Metric::Cpu, Metric::Memory, Metric::Io, Metric::Connections];

    /// The heading.
    pub fn heading(self) -> &'static str {
        match self {
            Metric::Cpu => "CPU",
            Metric::Memory => "MEMORY",
            Metric::Io => "IO",
            Metric::Connections => "CONN",
        }
    }

    /// The next metric.
    #[must_use]
    pub fn next(self) -> Metric {
        let at = Metric::ALL.iter().position(|metric| *metric == self).unwrap_or(0);
        Metric::ALL.get(at + 1).copied().unwrap_or_default()
    }

    /// The value for a row.
    pub fn value(self, row: &Row) -> Option<f64> {
        match self {
            Metric::Cpu => row.numbers.cpu_percent,
            Metric::Memory => row.numbers.rss.map(|rss| rss as f64),
            Metric::Io => row
                .growth
                .io
                .map(|(done, seconds)| done.rchar.saturating_add(done.wchar) as f64 / seconds),
            Metric::Connections => connections(row).map(|count| count as f64),
        }
    }
}

/// ESTABLISHED sockets of all protocols.
pub fn connections(row: &Row) -> Option<u64> {
    let numbers = &row.numbers;
    Some(numbers.tcp?.saturating_add(numbers.udp?).saturating_add(numbers.unix?))
}

/// The last windows of an image, the most recent last.
#[derive(Clone, Debug, Default)]
pub struct History {
    values: VecDeque<[Option<f64>; Metric::ALL.len()]>,
}

impl History {
    /// Adds a window.
    pub fn add(&mut self, row: &Row) {
        if self.values.len() == LENGTH {
            self.values.pop_front();
        }
        self.values.push_back(Metric::ALL.map(|metric| metric.value(row)));
    }

    /// The last windows as bars of one character, the most recent at the right.
    /// The highest value is a full bar; for CPU at least one core. Unknown values
    /// are blank.
    pub fn sparkline(&self, metric: Metric, width: usize) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let at = Metric::ALL.iter().position(|one| *one == metric).unwrap_or(0);
        let values = self.values.iter().map(|window| window.get(at).copied().flatten());
        let values: Vec<Option<f64>> = values.collect();
        let scale_min = if metric == Metric::Cpu { 100.0 } else { 1.0 };
        let highest = values.iter().flatten().fold(scale_min, |highest, value| value.max(highest));
        let skipped = values.len().saturating_sub(width);
        let bars = values.iter().skip(skipped).map(|value| {
            let Some(value) = value else { return ' ' };
            // Negative values and NaN become 0.
            let level = (value / highest * (BARS.len() - 1) as f64).round() as usize;
            BARS.get(level).copied().unwrap_or('█')
        });
        let bars: String = bars.collect();
        format!("{bars:>width$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::row::Growth;
    use psstat_sampler::Usage;

    #[test]
    fn bars_are_proportional() {
        let mut history = History::default();
        let row = |pcpu| {
            let mut numbers = Usage::default();
            numbers.cpu_percent = pcpu;
            Row { images: Vec::new(), id: None, numbers, growth: Growth::default() }
        };
        for pcpu in [Some(0.0), None, Some(50.0), Some(100.0)] {
            history.add(&row(pcpu));
        }
        assert_eq!(history.sparkline(Metric::Cpu, 6), "  ▁ ▅█");
        assert_eq!(history.sparkline(Metric::Cpu, 2), "▅█");
        assert_eq!(history.sparkline(Metric::Io, 3), "   ");
        for _ in 0..100 {
            history.add(&row(Some(1.0)));
        }
        assert_eq!(history.values.len(), LENGTH);
    }

    #[test]
    fn cycles_through_all_metrics() {
        let mut metric = Metric::Cpu;
        for want in [Metric::Memory, Metric::Io, Metric::Connections, Metric::Cpu] {
            metric = metric.next();
            assert_eq!(metric, want);
        }
    }
}
