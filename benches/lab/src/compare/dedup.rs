//! How many points tcollector's deduplication drops, measured on images of which every other one
//! is busy.

use std::collections::HashMap;

use psstat_testproc::TempDir;

use super::options::Options;
use super::psstat::{self, CYCLE_TIMEOUT};
use crate::collector::CYCLE_END;
use crate::observer::Running;
use crate::population::{Population, raise_fd_limit};
use crate::stop::Stop;
use crate::table::Table;
use crate::{Result, host_info};

/// Seconds per cycle that are assumed.
const INTERVAL: u64 = 15;
/// How long tcollector drops an unchanged value: by its documentation, and by the default of its
/// `--dedup-interval`.
const DEDUP_INTERVALS: [u64; 2] = [600, 300];

/// tcollector's rule for a series: a value equal to the last one sent is dropped, for a limited
/// time; before a different value, the last dropped one is sent, so that the graph has a step.
#[derive(Debug)]
struct Dedup<'a> {
    interval: u64,
    /// The last value sent, whether one was dropped since, and when it was sent.
    series: HashMap<&'a str, (&'a str, bool, u64)>,
}

impl<'a> Dedup<'a> {
    fn new(interval: u64) -> Dedup<'a> {
        Dedup { interval, series: HashMap::new() }
    }

    /// How many lines are sent for this one.
    fn lines(&mut self, series: &'a str, value: &'a str, time: u64) -> u64 {
        let Some((last, dropped, sent)) = self.series.get_mut(series) else {
            self.series.insert(series, (value, false, time));
            return 1;
        };
        let is_expired = time - *sent >= self.interval;
        if *last == value && !is_expired {
            *dropped = true;
            return 0;
        }
        let step = *last != value && (*dropped || is_expired);
        (*last, *dropped, *sent) = (value, false, time);
        1 + u64::from(step)
    }
}

/// The owner of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineClass {
    Busy,
    Idle,
    Collector,
}

/// The series, value and class of a line.
fn parse(line: &str) -> Option<(String, String, LineClass)> {
    let mut fields = line.splitn(4, ' ');
    let (metric, _time, value) = (fields.next()?, fields.next()?, fields.next()?);
    let tags = fields.next().unwrap_or_default();
    let image = tags.split(' ').find_map(|tag| tag.strip_prefix("image=image-"));
    let class = match image.and_then(|number| number.parse::<u64>().ok()) {
        _ if metric.contains(".collector.") => LineClass::Collector,
        Some(number) if number.is_multiple_of(2) => LineClass::Busy,
        _ => LineClass::Idle,
    };
    Some((format!("{metric} {tags}"), value.into(), class))
}

/// Runs the collector over a population and prints the number of points that would be sent.
pub(super) fn run(options: &Options, dir: &TempDir, stop: &Stop) -> Result<()> {
    let spec = options.spec();
    raise_fd_limit(4 * spec.processes + 1000)?;
    let _population = Population::start(&spec, stop)?;
    let command = psstat::collector(&psstat::program(options)?, options, dir)?;
    let mut running = Running::start(&command, CYCLE_END)?;
    let timeout = CYCLE_TIMEOUT + options.interval();
    let cycles = running.pass(options.warm_up + options.cycles.max(1), timeout, stop)?;
    let mut points = Vec::new();
    for (cycle, marker) in (0..).zip(&cycles) {
        for line in &marker.lines {
            let (series, value, class) =
                parse(line).ok_or_else(|| format!("not a point: {line:?}"))?;
            points.push((cycle, series, value, class));
        }
    }
    let lines = cycles.iter().flat_map(|marker| &marker.lines);
    let bytes: usize = lines.map(|line| line.len() + 1).sum();
    println!(
        "{}. {} images, every other one busy; {} cycles, {INTERVAL} s apart; {:.0} bytes per line.\n",
        host_info::line(),
        spec.images,
        options.cycles,
        bytes as f64 / points.len().max(1) as f64
    );
    println!("{}", table(&points, options).text());
    Ok(())
}

/// Applies the rule to all points; the table counts those after the warm-up.
fn table(points: &[(u64, String, String, LineClass)], options: &Options) -> Table {
    let mut table =
        Table::new(&["points per cycle", "all", "sent, 600 s", "saved", "sent, 300 s", "saved"]);
    for (name, selected) in [
        ("busy images", Some(LineClass::Busy)),
        ("idle images", Some(LineClass::Idle)),
        ("the collector", Some(LineClass::Collector)),
        ("all", None),
    ] {
        let mut all = 0u64;
        let sent = DEDUP_INTERVALS.map(|interval| {
            let mut dedup = Dedup::new(interval);
            let mut sent = 0;
            all = 0;
            for (cycle, series, value, class) in points {
                let lines = dedup.lines(series, value, cycle * INTERVAL);
                let is_counted = *cycle >= u64::from(options.warm_up);
                if is_counted && selected.is_none_or(|selected| selected == *class) {
                    all += 1;
                    sent += lines;
                }
            }
            sent
        });
        let per_cycle = |count| format!("{:.1}", count as f64 / f64::from(options.cycles.max(1)));
        let saved = |sent: u64| format!("{:.0} %", 100.0 - 100.0 * sent as f64 / all.max(1) as f64);
        let [long, short] = sent;
        table.row([
            name.into(),
            per_cycle(all),
            per_cycle(long),
            saved(long),
            per_cycle(short),
            saved(short),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unchanged_series_are_resent() {
        let mut dedup = Dedup::new(60);
        let sent: Vec<u64> = (0..10).map(|n| dedup.lines("a", "1", 15 * n)).collect();
        assert_eq!(sent, [1, 0, 0, 0, 1, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn last_dropped_value_is_sent_before_a_change() {
        let mut dedup = Dedup::new(600);
        let values = ["1", "2", "2", "2", "3", "4", "4"];
        let sent: Vec<u64> =
            (0..).zip(values).map(|(n, value)| dedup.lines("a", value, 15 * n)).collect();
        assert_eq!(sent, [1, 1, 0, 0, 2, 1, 0]);
        assert_eq!(dedup.lines("b", "4", 200), 1);
    }

    #[test]
    fn line_class() {
        let line = "proc.stat.ps.net 1700000000 5 image=image-003 type=udp";
        let series = "proc.stat.ps.net image=image-003 type=udp".to_owned();
        assert_eq!(parse(line), Some((series, "5".to_owned(), LineClass::Idle)));
        let own = parse("proc.stat.ps.collector.cpu 1700000000 3.008").unwrap();
        assert_eq!(own.2, LineClass::Collector);
        assert_eq!(parse("proc.stat.ps.procs 1 2 image=image-014").unwrap().2, LineClass::Busy);
    }
}
