//! The average of several windows, which is printed last, as pidstat does.

use std::collections::{BTreeMap, BTreeSet};

use psstat_sampler::Usage;

use crate::measure::Snapshot;
use crate::table::row::{Growth, ProcessId, Row};

/// The sums over the windows so far.
#[derive(Debug, Default)]
pub struct Average {
    windows: u64,
    images: BTreeMap<Vec<String>, Accumulator>,
    /// By pid and start time.
    processes: BTreeMap<(u32, u64), Accumulator>,
    total: Accumulator,
}

/// The sum of one row over several windows.
#[derive(Debug, Default)]
struct Accumulator {
    /// The last row.
    last: Option<Row>,
    /// Sums of the values that were present.
    sum: Usage,
    /// Number of windows in which each value was present.
    counts: Usage,
    growth: Growth,
}

impl Accumulator {
    fn add(&mut self, row: &Row) {
        self.sum = self.sum.zip(&row.numbers, |sum, value| match (sum, value) {
            (Some(sum), Some(value)) => Some(sum + value),
            (sum, value) => sum.or(value),
        });
        self.counts = self.counts.zip(&row.numbers, |count, value| {
            Some(count.unwrap_or(0.0) + f64::from(u8::from(value.is_some())))
        });
        self.growth = self.growth.add(&row.growth);
        self.last = Some(row.clone());
    }

    fn row(&self) -> Option<Row> {
        let last = self.last.as_ref()?;
        let mut numbers = self.sum.zip(&self.counts, |sum, count| Some(sum? / count?));
        // Counters have no average; their rates are in `growth`. An age
        // grows, and numbers by state belong together.
        let Usage {
            io,
            cpu,
            switches,
            faults,
            starts,
            exits,
            oldest,
            youngest,
            states,
            tcp_states,
            unread,
            ..
        } = last.numbers;
        (numbers.io, numbers.cpu) = (io, cpu);
        (numbers.switches, numbers.faults) = (switches, faults);
        (numbers.starts, numbers.exits) = (starts, exits);
        (numbers.oldest, numbers.youngest) = (oldest, youngest);
        (numbers.states, numbers.tcp_states) = (states, tcp_states);
        numbers.unread = unread;
        Some(Row { numbers, growth: self.growth, ..last.clone() })
    }
}

impl Average {
    /// Adds a window.
    pub fn add(&mut self, snapshot: &Snapshot) {
        self.windows += 1;
        for row in &snapshot.images {
            self.images.entry(row.images.clone()).or_default().add(row);
        }
        for row in &snapshot.processes {
            if let Some(ProcessId { pid, starttime, .. }) = row.id {
                self.processes.entry((pid, starttime)).or_default().add(row);
            }
        }
        // Exited processes would accumulate.
        let ids = snapshot.processes.iter().filter_map(|row| row.id.as_ref());
        let keys: BTreeSet<_> = ids.map(|id| (id.pid, id.starttime)).collect();
        self.processes.retain(|key, _| keys.contains(key));
        self.total.add(&snapshot.total);
    }

    /// Number of windows.
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// The rows of the images, each averaged over the windows that contain it.
    pub fn images(&self) -> Vec<Row> {
        self.images.values().filter_map(Accumulator::row).collect()
    }

    /// The rows of the processes of the last window.
    pub fn processes(&self) -> Vec<Row> {
        self.processes.values().filter_map(Accumulator::row).collect()
    }

    /// The total.
    pub fn total(&self) -> Option<Row> {
        self.total.row()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use psstat_sampler::{Health, IoCounters};

    use super::*;

    fn image(name: &str, procs: u64) -> Row {
        let mut numbers = Usage::default();
        numbers.processes = procs;
        Row { images: vec![name.to_owned()], id: None, numbers, growth: Growth::default() }
    }

    fn snapshot(images: Vec<Row>, processes: Vec<Row>) -> Snapshot {
        Snapshot {
            time: SystemTime::UNIX_EPOCH,
            window: Some(Duration::from_secs(1)),
            images,
            processes,
            total: image("", 1),
            health: Health::default(),
        }
    }

    #[test]
    fn averages_only_windows_where_present() {
        let row = |name, procs, pcpu, rss, written, seconds| {
            let mut row = image(name, procs);
            (row.numbers.cpu_percent, row.numbers.rss) = (Some(pcpu), rss);
            let io = IoCounters { wchar: written, ..IoCounters::default() };
            row.numbers.io = Some(io);
            row.numbers.starts = procs + 10;
            row.numbers.unread.io = procs;
            row.numbers.oldest = Some(Duration::from_secs(procs));
            row.growth.io = Some((io, seconds));
            row
        };
        let mut average = Average::default();
        average.add(&snapshot(vec![row("a", 1, 10.0, Some(100), 300, 1.0)], Vec::new()));
        let second = vec![row("a", 2, 40.0, None, 600, 2.0), row("b", 1, 3.0, None, 0, 2.0)];
        average.add(&snapshot(second, Vec::new()));
        let rows = average.images();
        assert_eq!((average.windows(), rows.len()), (2, 2));
        let a = &rows[0].numbers;
        assert_eq!((a.processes, a.cpu_percent, a.rss, a.vsize), (2, Some(25.0), Some(100), None));
        // 900 bytes in 3 s, independent of the windows.
        assert_eq!(
            rows[0].growth.io.map(|(done, seconds)| (done.wchar, seconds)),
            Some((900, 3.0))
        );
        assert_eq!(a.io.map(|io| io.wchar), Some(600));
        // That of the last window.
        assert_eq!(a.unread.io, 2);
        assert_eq!((a.starts, a.oldest), (12, Some(Duration::from_secs(2))));
        assert_eq!(rows[1].numbers.cpu_percent, Some(3.0));
        assert_eq!(average.total().map(|row| row.numbers.processes), Some(1));
    }

    #[test]
    fn reused_pid_is_a_new_process() {
        let process = |starttime| {
            let id = ProcessId {
                pid: 7,
                ppid: 1,
                starttime,
                command_line: b"x".to_vec(),
                ..ProcessId::default()
            };
            Row { id: Some(id), ..image("a", 1) }
        };
        let mut average = Average::default();
        average.add(&snapshot(Vec::new(), vec![process(1)]));
        average.add(&snapshot(Vec::new(), vec![process(1), process(2)]));
        assert_eq!(average.processes().len(), 2);
        average.add(&snapshot(Vec::new(), vec![process(2)]));
        assert_eq!(average.processes().len(), 1);
    }
}
