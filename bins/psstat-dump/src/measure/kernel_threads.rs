//! Kernel threads: their CPU time and state.
//!
//! The sampler reads processes with a command line, which kernel threads do not have. They have no
//! memory, no descriptors and no io either.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use psstat_proc_parse::{Stat, Statm};
use psstat_sampler::Usage;
use psstat_support::procfs;

use crate::blocking;
use crate::process_report::{is_kernel_thread, read_host_file};
use crate::table::row::{CommName, Growth, ProcessId, Row};

/// Measures kernel threads in windows.
#[derive(Debug)]
pub(super) struct KernelThreads {
    proc: PathBuf,
    opened: Option<Opened>,
}

/// The start of a window.
#[derive(Debug)]
struct Opened {
    at: Instant,
    /// CPU time by pid and start time.
    cpu: HashMap<(u32, u64), Duration>,
}

/// A reading of a kernel thread.
struct Reading {
    id: ProcessId,
    cpu: Duration,
}

impl KernelThreads {
    pub(super) fn new(proc: &Path) -> KernelThreads {
        KernelThreads { proc: proc.to_owned(), opened: None }
    }

    pub(super) fn open(&mut self) {
        let readings = read(&self.proc);
        let cpu = |one: Reading| ((one.id.pid, one.id.starttime), one.cpu);
        let cpu = readings.into_iter().map(cpu).collect();
        self.opened = Some(Opened { at: Instant::now(), cpu });
    }

    /// A row for each kernel thread. Without [`open`](Self::open), CPU usage is unknown.
    pub(super) fn close(&mut self) -> Vec<Row> {
        let opened = self.opened.take();
        let readings = read(&self.proc);
        let row = |Reading { id, cpu }: Reading| {
            let cpu_percent = opened.as_ref().and_then(|opened| {
                let used = cpu.saturating_sub(*opened.cpu.get(&(id.pid, id.starttime))?);
                Some(used.as_secs_f64() / opened.at.elapsed().as_secs_f64() * 100.0)
            });
            let mut numbers = Usage::default();
            (numbers.processes, numbers.cpu_percent) = (1, cpu_percent);
            Row { images: vec![image(&id)], id: Some(id), numbers, growth: Growth::default() }
        };
        readings.into_iter().map(row).collect()
    }
}

/// Adds a row for each image of kernel threads to the rows of the images, and all threads to the
/// total.
pub(super) fn add_images(threads: &[Row], images: &mut Vec<Row>, total: &mut Row) {
    let first = images.len();
    let sum = |one: Option<f64>, other: Option<f64>| match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    };
    for thread in threads {
        let mut rows = images.iter_mut().skip(first);
        let numbers = match rows.find(|row| row.images == thread.images) {
            Some(row) => &mut row.numbers,
            None => {
                images.push(Row { id: None, ..thread.clone() });
                let Some(row) = images.last_mut() else { continue };
                row.numbers.processes = 0;
                row.numbers.cpu_percent = None;
                &mut row.numbers
            }
        };
        for numbers in [numbers, &mut total.numbers] {
            numbers.processes += 1;
            numbers.cpu_percent = sum(numbers.cpu_percent, thread.numbers.cpu_percent);
        }
    }
}

/// The image of a kernel thread: its name up to a slash, which a CPU or a device follows, in
/// brackets, which names of other images do not have.
fn image(id: &ProcessId) -> String {
    let name = id.comm.as_ref().map(|name| String::from_utf8_lossy(name.bytes()).into_owned());
    let name = name.unwrap_or_default();
    format!("[{}]", name.split('/').next().unwrap_or_default())
}

fn read(proc: &Path) -> Vec<Reading> {
    let pids = procfs::pids(proc).into_iter().flatten();
    let reading = |pid: u32| {
        let dir = proc.join(pid.to_string());
        // First the file whose read never blocks: a process with memory is not a kernel thread.
        let statm = read_host_file(&dir, "statm").ok()?;
        if Statm::parse(&statm).ok()?.size.0 != 0 {
            return None;
        }
        let in_thread = dir.clone();
        let stat = blocking::read(pid, "stat", move || read_host_file(&in_thread, "stat"));
        let stat = stat.ok()?.ok()?;
        let stat = Stat::parse(&stat).ok().filter(is_kernel_thread)?;
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let of_ticks = || {
            let ticks_used = stat.utime.0.saturating_add(stat.stime.0);
            Duration::from_secs_f64(ticks_used as f64 / ticks as f64)
        };
        let id = ProcessId {
            pid,
            ppid: u32::try_from(stat.ppid).unwrap_or(0),
            starttime: stat.starttime.0,
            comm: Some(CommName::KernelThread(stat.comm.to_vec())),
            state: Some(stat.state.as_byte()),
            ..ProcessId::default()
        };
        Some(Reading { id, cpu: schedstat(&dir).unwrap_or_else(of_ticks) })
    };
    pids.filter_map(reading).collect()
}

/// The CPU time in nanoseconds, the first number of `schedstat`. `None` for a kernel without it.
fn schedstat(dir: &Path) -> Option<Duration> {
    let text = std::fs::read_to_string(dir.join("schedstat")).ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(pid: u32, comm: &str, cpu_percent: Option<f64>) -> Row {
        let comm = Some(CommName::KernelThread(comm.as_bytes().to_vec()));
        let id = ProcessId { pid, comm, ..ProcessId::default() };
        let mut numbers = Usage::default();
        (numbers.processes, numbers.cpu_percent) = (1, cpu_percent);
        Row { images: vec![image(&id)], id: Some(id), numbers, growth: Growth::default() }
    }

    #[test]
    fn images_are_sums() {
        let threads = [
            thread(3, "kworker/0:1-events", Some(2.0)),
            thread(4, "kworker/1:1", Some(0.5)),
            thread(5, "jbd2/vda-8", None),
        ];
        let other = Row { images: vec!["kworker".to_owned()], id: None, ..thread(1, "x", None) };
        let mut total = Row { images: Vec::new(), id: None, ..thread(1, "x", Some(10.0)) };
        let mut images = vec![other.clone()];
        add_images(&threads, &mut images, &mut total);
        let shown = |row: &Row| {
            (row.images.join(""), row.numbers.processes, row.numbers.cpu_percent, row.numbers.rss)
        };
        let rows: Vec<_> = images.iter().map(shown).collect();
        let want = |image: &str, processes, cpu| (image.to_owned(), processes, cpu, None);
        assert_eq!(images[0], other);
        assert_eq!(rows[1..], [want("[kworker]", 2, Some(2.5)), want("[jbd2]", 1, None)]);
        assert_eq!(shown(&total), want("", 4, Some(12.5)));
    }
}
