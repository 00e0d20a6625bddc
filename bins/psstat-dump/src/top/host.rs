//! Load, CPU usage by core and memory of the host, for the head of the screen.

use std::path::{Path, PathBuf};

use crate::process_report::read_host_file;

/// Cores that are shown at most.
const MAX_CORES: usize = 1024;

/// The state of the host at the end of a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// The load averages of 1, 5 and 15 minutes, as the kernel writes them.
    pub load: Option<[f64; 3]>,
    /// The busy part of all cores, in percent.
    pub cpu_percent: Option<f64>,
    /// That of each core.
    pub cores: Vec<f64>,
    /// Bytes of memory, and how many of them are available.
    pub memory: Option<(u64, u64)>,
    /// Bytes of swap space, and how many of them are free.
    pub swap: Option<(u64, u64)>,
}

/// Busy and total time of a core, in ticks.
type Times = (u64, u64);

/// Reads the state of the host.
#[derive(Debug)]
pub(super) struct HostReader {
    proc: PathBuf,
    all: Option<Times>,
    cores: Vec<Times>,
}

impl HostReader {
    pub(super) fn new(proc: &Path) -> HostReader {
        HostReader { proc: proc.to_owned(), all: None, cores: Vec::new() }
    }

    /// The state since the last call. A value that cannot be read is absent.
    pub(super) fn read(&mut self) -> Host {
        let text = |name: &str| {
            let bytes = read_host_file(&self.proc, name).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (all, cores) = cpu_times(&text("stat"));
        let (loadavg, meminfo) = (text("loadavg"), text("meminfo"));
        let mut host = Host { load: load(&loadavg), ..Host::default() };
        host.cpu_percent = self.all.zip(all).and_then(|(before, now)| share(before, now));
        // A core that was switched on or off changes their number.
        if cores.len() == self.cores.len() {
            let shares = self.cores.iter().zip(&cores);
            host.cores = shares.map(|(before, now)| share(*before, *now).unwrap_or(0.0)).collect();
        }
        (self.all, self.cores) = (all, cores);
        let field = |name| kilobytes(&meminfo, name);
        host.memory = field("MemTotal:").zip(field("MemAvailable:"));
        host.swap = field("SwapTotal:").zip(field("SwapFree:")).filter(|(total, _)| *total > 0);
        host
    }
}

/// The busy part of the time between two readings, in percent.
fn share(before: Times, now: Times) -> Option<f64> {
    let (busy, all) = (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
    (all > 0).then(|| (busy as f64 / all as f64 * 100.0).min(100.0))
}

/// The times of all cores together, and of each.
fn cpu_times(stat: &str) -> (Option<Times>, Vec<Times>) {
    let (mut all, mut cores) = (None, Vec::new());
    for line in stat.lines().take_while(|line| line.starts_with("cpu")).take(MAX_CORES + 1) {
        let mut fields = line.split_ascii_whitespace();
        let name = fields.next().unwrap_or_default();
        // user, nice, system, idle, iowait, irq, softirq, steal; guest is part of user.
        let ticks: Vec<u64> = fields.take(8).map(|field| field.parse().unwrap_or(0)).collect();
        let total = ticks.iter().fold(0, |sum: u64, ticks| sum.saturating_add(*ticks));
        let idle = ticks.iter().skip(3).take(2).fold(0, |sum: u64, it| sum.saturating_add(*it));
        let times = (total.saturating_sub(idle), total);
        if name == "cpu" { all = Some(times) } else { cores.push(times) }
    }
    (all, cores)
}

fn load(text: &str) -> Option<[f64; 3]> {
    let mut fields = text.split_ascii_whitespace().map_while(|field| field.parse::<f64>().ok());
    Some([fields.next()?, fields.next()?, fields.next()?])
}

fn kilobytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use psstat_testproc::TempDir;

    #[test]
    fn values_of_a_window() {
        let temp = TempDir::new().unwrap();
        let write = |name: &str, text: &str| std::fs::write(temp.join(name), text).unwrap();
        write(
            "stat",
            "cpu  10 0 10 80 0 0 0 0 5 0\ncpu0 5 0 5 40 0 0 0 0\ncpu1 5 0 5 40 0 0 0 0\nintr 7\n",
        );
        write("loadavg", "0.42 1.66 11.69 2/95 7\n");
        write(
            "meminfo",
            "MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable: 512 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
        );
        let mut reader = HostReader::new(&temp.join(""));
        let first = reader.read();
        assert_eq!((first.cpu_percent, first.cores.len()), (None, 0));
        assert_eq!(first.load, Some([0.42, 1.66, 11.69]));
        assert_eq!((first.memory, first.swap), (Some((2 << 20, 512 << 10)), None));
        write(
            "stat",
            "cpu  60 0 10 120 10 0 0 0 5 0\ncpu0 55 0 5 40 0 0 0 0\ncpu1 5 0 5 80 10 0 0 0\n",
        );
        let second = reader.read();
        assert_eq!((second.cpu_percent, second.cores), (Some(50.0), vec![100.0, 0.0]));
        write("stat", "");
        let third = reader.read();
        assert_eq!((third.cpu_percent, third.cores.len()), (None, 0));
    }
}
