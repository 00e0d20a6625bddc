//! The average of several windows, as pidstat ends with one.

use std::collections::{BTreeMap, BTreeSet};

use psstat_sampler::Counters;

use crate::measure::Snapshot;
use crate::row::{Numbers, Row, Who};

/// What was in the windows so far.
#[derive(Debug, Default)]
pub struct Average {
    windows: u64,
    images: BTreeMap<Vec<String>, Sum>,
    /// By pid and start time.
    processes: BTreeMap<(u32, u64), Sum>,
    total: Sum,
}

/// One row of several windows.
#[derive(Debug, Default)]
struct Sum {
    /// As it was last.
    last: Option<Row>,
    procs: Mean,
    pcpu: Mean,
    rss: Mean,
    vsize: Mean,
    descriptors: Mean,
    threads: Mean,
    tcp: Mean,
    udp: Mean,
    unix: Mean,
    io_done: Option<(Counters, f64)>,
}

/// The mean of the values that were there.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    values: u64,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        self.sum += value.unwrap_or(0.0);
        self.values += u64::from(value.is_some());
    }

    fn whole(&mut self, value: Option<u64>) {
        self.add(value.map(|value| value as f64));
    }

    fn get(self) -> Option<f64> {
        (self.values > 0).then(|| self.sum / self.values as f64)
    }

    fn rounded(self) -> Option<u64> {
        // None is negative.
        self.get().map(|mean| mean.round() as u64)
    }
}

impl Sum {
    fn add(&mut self, row: &Row) {
        let numbers = row.numbers;
        self.procs.whole(Some(row.procs));
        self.pcpu.add(numbers.pcpu);
        self.rss.whole(numbers.rss);
        self.vsize.whole(numbers.vsize);
        self.descriptors.whole(numbers.descriptors);
        self.threads.whole(numbers.threads);
        self.tcp.whole(numbers.tcp);
        self.udp.whole(numbers.udp);
        self.unix.whole(numbers.unix);
        if let Some((done, seconds)) = numbers.io_done {
            let (before, time) = self.io_done.unwrap_or((Counters::ZERO, 0.0));
            self.io_done = Some((before.plus(done), time + seconds));
        }
        self.last = Some(row.clone());
    }

    fn row(&self) -> Option<Row> {
        let last = self.last.as_ref()?;
        let numbers = Numbers {
            pcpu: self.pcpu.get(),
            rss: self.rss.rounded(),
            vsize: self.vsize.rounded(),
            descriptors: self.descriptors.rounded(),
            threads: self.threads.rounded(),
            tcp: self.tcp.rounded(),
            udp: self.udp.rounded(),
            unix: self.unix.rounded(),
            // What grows has no average but its rate.
            io: last.numbers.io,
            io_done: self.io_done,
        };
        Some(Row { procs: self.procs.rounded().unwrap_or(0), numbers, ..last.clone() })
    }
}

impl Average {
    /// Takes in a window.
    pub fn add(&mut self, snapshot: &Snapshot) {
        self.windows += 1;
        for row in &snapshot.images {
            self.images.entry(row.images.clone()).or_default().add(row);
        }
        for row in &snapshot.processes {
            if let Some(Who { pid, starttime, .. }) = row.who {
                self.processes.entry((pid, starttime)).or_default().add(row);
            }
        }
        // Those that have gone would become ever more.
        let processes = snapshot.processes.iter().filter_map(|row| row.who.as_ref());
        let there: BTreeSet<_> = processes.map(|who| (who.pid, who.starttime)).collect();
        self.processes.retain(|key, _| there.contains(key));
        self.total.add(&snapshot.total);
    }

    /// How many windows it is of.
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// The rows of images, each over the windows in which it was.
    pub fn images(&self) -> Vec<Row> {
        self.images.values().filter_map(Sum::row).collect()
    }

    /// The rows of the processes that were in the last window.
    pub fn processes(&self) -> Vec<Row> {
        self.processes.values().filter_map(Sum::row).collect()
    }

    /// The total.
    pub fn total(&self) -> Option<Row> {
        self.total.row()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use psstat_sampler::Health;

    use super::*;

    fn image(name: &str, procs: u64, numbers: Numbers) -> Row {
        Row { images: vec![name.to_owned()], who: None, procs, numbers }
    }

    fn snapshot(images: Vec<Row>, processes: Vec<Row>) -> Snapshot {
        Snapshot {
            time: SystemTime::UNIX_EPOCH,
            window: Some(Duration::from_secs(1)),
            images,
            processes,
            total: image("", 1, Numbers::default()),
            health: Health::default(),
        }
    }

    #[test]
    fn of_what_was_there() {
        let of = |pcpu, rss, written, seconds| Numbers {
            pcpu: Some(pcpu),
            rss,
            io: Some(Counters { wchar: written, ..Counters::ZERO }),
            io_done: Some((Counters { wchar: written, ..Counters::ZERO }, seconds)),
            ..Numbers::default()
        };
        let mut average = Average::default();
        average.add(&snapshot(vec![image("a", 1, of(10.0, Some(100), 300, 1.0))], Vec::new()));
        let second =
            vec![image("a", 2, of(40.0, None, 600, 2.0)), image("b", 1, of(3.0, None, 0, 2.0))];
        average.add(&snapshot(second, Vec::new()));
        let rows = average.images();
        assert_eq!((average.windows(), rows.len()), (2, 2));
        let a = &rows[0].numbers;
        assert_eq!((rows[0].procs, a.pcpu, a.rss, a.vsize), (2, Some(25.0), Some(100), None));
        // 900 bytes in 3 s, whatever the windows were.
        assert_eq!(a.io_done.map(|(done, seconds)| (done.wchar, seconds)), Some((900, 3.0)));
        assert_eq!(a.io.map(|io| io.wchar), Some(600));
        assert_eq!(rows[1].numbers.pcpu, Some(3.0));
        assert_eq!(average.total().map(|row| row.procs), Some(1));
    }

    #[test]
    fn a_reused_pid_is_another_process_and_those_gone_are_forgotten() {
        let process = |starttime| {
            let who = Who { pid: 7, ppid: 1, starttime, command_line: b"x".to_vec() };
            Row { who: Some(who), ..image("a", 1, Numbers::default()) }
        };
        let mut average = Average::default();
        average.add(&snapshot(Vec::new(), vec![process(1)]));
        average.add(&snapshot(Vec::new(), vec![process(1), process(2)]));
        assert_eq!(average.processes().len(), 2);
        average.add(&snapshot(Vec::new(), vec![process(2)]));
        assert_eq!(average.processes().len(), 1);
    }
}
