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

    /// The name in the settings.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Cpu => "cpu",
            Metric::Memory => "memory",
            Metric::Io => "io",
            Metric::Connections => "connections",
        }
    }

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

    /// The values of a metric, the most recent last.
    pub fn values(&self, metric: Metric) -> impl Iterator<Item = Option<f64>> + '_ {
        let at = Metric::ALL.iter().position(|one| *one == metric).unwrap_or(0);
        self.values.iter().map(move |window| window.get(at).copied().flatten())
    }

    /// The highest value of a metric.
    pub fn highest(&self, metric: Metric) -> f64 {
        self.values(metric).flatten().fold(0.0, f64::max)
    }

    /// The last windows as bars of one character, the most recent at the right. `top` is a full
    /// bar. Unknown values are blank.
    pub fn sparkline(&self, metric: Metric, width: usize, top: f64) -> String {
        let values: Vec<Option<f64>> = self.values(metric).collect();
        let skipped = values.len().saturating_sub(width);
        let bars = values.iter().skip(skipped).map(|value| value.map_or(' ', |it| bar(it, top)));
        let bars: String = bars.collect();
        format!("{bars:>width$}")
    }
}

/// A value as a bar of one character.
pub(super) fn bar(value: f64, top: f64) -> char {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    // Negative values and NaN become 0.
    let level = (value / top * (BARS.len() - 1) as f64).round() as usize;
    BARS.get(level).copied().unwrap_or('█')
}

/// The end of a scale: the smallest of 1, 2, 5, 10, 20 and so on, times the unit, that is not
/// below the value; for CPU at least one core.
pub(super) fn scale(metric: Metric, highest: f64) -> f64 {
    let (base, least) = match metric {
        Metric::Cpu => (10.0, 100.0),
        Metric::Memory | Metric::Io => (1024.0, 1024.0),
        Metric::Connections => (10.0, 10.0),
    };
    let mut unit = 1.0;
    while unit * base < highest {
        unit *= base;
    }
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1024.0];
    let fits = |step: &&f64| unit * **step >= highest;
    let step = steps.iter().find(fits).copied().unwrap_or(base).min(base);
    (unit * step).max(least)
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
        assert_eq!(history.sparkline(Metric::Cpu, 6, 100.0), "  ▁ ▅█");
        assert_eq!(history.sparkline(Metric::Cpu, 2, 200.0), "▃▅");
        assert_eq!(history.sparkline(Metric::Io, 3, 1.0), "   ");
        assert_eq!(history.highest(Metric::Cpu), 100.0);
        for _ in 0..100 {
            history.add(&row(Some(1.0)));
        }
        assert_eq!(history.values.len(), LENGTH);
    }

    #[test]
    fn scales_are_round() {
        for (metric, highest, want) in [
            (Metric::Cpu, 0.0, 100.0),
            (Metric::Cpu, 101.0, 200.0),
            (Metric::Cpu, 6400.0, 10_000.0),
            (Metric::Memory, 0.0, 1024.0),
            (Metric::Memory, 3.5 * 1024.0 * 1024.0, 5.0 * 1024.0 * 1024.0),
            (Metric::Memory, 600.0 * 1024.0, 1024.0 * 1024.0),
            (Metric::Io, 1025.0, 2048.0),
            (Metric::Connections, 11.0, 20.0),
            (Metric::Connections, 99.0, 100.0),
        ] {
            assert_eq!(scale(metric, highest), want, "{metric:?} {highest}");
        }
        assert!(scale(Metric::Memory, 1e300).is_finite());
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
