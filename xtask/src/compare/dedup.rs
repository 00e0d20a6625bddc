//! What tcollector's dedup saves of the points: measured on images of which
//! every other is busy.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use super::options::Options;
use super::population::Population;
use super::scratch::Scratch;
use super::table::{Table, machine};
use super::{meter, psstat};
use crate::Result;
use crate::stop::Stop;

/// Seconds from cycle to cycle that are reckoned with.
const INTERVAL: u64 = 15;
/// For so many seconds tcollector keeps an unchanged value back: what its
/// documentation says, and what its `--dedup-interval` is if not given.
const INTERVALS: [u64; 2] = [600, 300];

/// tcollector's rule for one series: a value that is the same as the last one
/// sent is kept back, for so long at most; when another one comes, the last
/// that was kept back is sent before it, so that the graph has a step.
#[derive(Debug)]
struct Dedup<'a> {
    interval: u64,
    /// Value, whether one was kept back, when the last was sent.
    series: HashMap<&'a str, (&'a str, bool, u64)>,
}

impl<'a> Dedup<'a> {
    fn new(interval: u64) -> Dedup<'a> {
        Dedup { interval, series: HashMap::new() }
    }

    /// How many lines are sent because of this one.
    fn lines(&mut self, series: &'a str, value: &'a str, time: u64) -> u64 {
        let Some((last, kept_back, sent)) = self.series.get_mut(series) else {
            self.series.insert(series, (value, false, time));
            return 1;
        };
        let is_old = time - *sent >= self.interval;
        if *last == value && !is_old {
            *kept_back = true;
            return 0;
        }
        let step = *last != value && (*kept_back || is_old);
        (*last, *kept_back, *sent) = (value, false, time);
        1 + u64::from(step)
    }
}

/// A line's series, value and class.
fn parts(line: &str) -> Option<(String, String, Class)> {
    let mut fields = line.splitn(4, ' ');
    let (metric, _time, value) = (fields.next()?, fields.next()?, fields.next()?);
    let tags = fields.next().unwrap_or_default();
    let image = tags.split(' ').find_map(|tag| tag.strip_prefix("image=image-"));
    let class = match image.and_then(|number| number.parse::<u64>().ok()) {
        _ if metric.contains(".collector.") => Class::Collector,
        Some(number) if number.is_multiple_of(2) => Class::Busy,
        _ => Class::Idle,
    };
    Some((format!("{metric} {tags}"), value.into(), class))
}

/// Whose points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Busy,
    Idle,
    Collector,
}

/// Runs the collector over a population and prints what would be sent.
pub(super) fn run(options: &Options, scratch: &Scratch, stop: &Stop) -> Result<()> {
    let spec = options.spec();
    super::raise_descriptor_limit(4 * spec.processes + 1000)?;
    let _population = Population::start(&spec, stop)?;
    let path = psstat::collector_path(options)?;
    let mut command = psstat::collector(&path, options, scratch)?;
    let cycles = u64::from(options.warm_up + options.cycles);
    command.args(["--cycles", &cycles.to_string()]);
    let mut child = meter::bound(&command).stdout(Stdio::piped()).spawn()?;
    let out = child.stdout.take().ok_or("no stdout")?;
    let reader = std::thread::spawn(move || BufReader::new(out).lines().collect());
    let patience = Duration::from_secs(60) + options.interval() * u32::try_from(cycles)?;
    let until = std::time::Instant::now() + patience;
    let ended = loop {
        if let Err(error) = stop.sleep(Duration::from_millis(200)) {
            break Err(error);
        }
        if child.try_wait()?.is_some() {
            break Ok(());
        }
        if std::time::Instant::now() > until {
            break Err("the collector does not come to its end".into());
        }
    };
    let _ = child.kill();
    child.wait()?;
    ended?;
    let lines: std::io::Result<Vec<String>> = reader.join().map_err(|_| "a defect in reading")?;
    report(&lines?, u64::from(options.warm_up), spec.images)
}

/// Applies the rule to all lines, and prints what came of those after the first
/// cycles.
fn report(lines: &[String], warm_up: u64, images: u64) -> Result<()> {
    let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    let mut cycle = 0u64;
    let mut before = None;
    let mut points = Vec::new();
    for line in lines {
        let time = line.split(' ').nth(1);
        if before.is_some() && time != before {
            cycle += 1;
        }
        before = time;
        let (series, value, class) = parts(line).ok_or_else(|| format!("no point: {line:?}"))?;
        points.push((cycle, series, value, class));
    }
    let counted = (cycle + 1).checked_sub(warm_up).filter(|&cycles| cycles > 0);
    let counted = counted.ok_or("too few cycles")? as f64;
    println!(
        "{}. {images} images, every other busy; {} cycles, taken as {INTERVAL} s apart; {:.0} bytes \
         a line.\n",
        machine(),
        counted,
        bytes as f64 / lines.len().max(1) as f64
    );
    let mut table =
        Table::new(&["points a cycle", "all", "sent, 600 s", "saved", "sent, 300 s", "saved"]);
    for (name, wanted) in [
        ("busy images", Some(Class::Busy)),
        ("idle images", Some(Class::Idle)),
        ("the collector", Some(Class::Collector)),
        ("all", None),
    ] {
        let mut all = 0u64;
        let sent = INTERVALS.map(|interval| {
            let mut dedup = Dedup::new(interval);
            let mut sent = 0;
            all = 0;
            for (cycle, series, value, class) in &points {
                let lines = dedup.lines(series, value, cycle * INTERVAL);
                if *cycle >= warm_up && wanted.is_none_or(|wanted| wanted == *class) {
                    all += 1;
                    sent += lines;
                }
            }
            sent
        });
        let a_cycle = |count: u64| format!("{:.1}", count as f64 / counted);
        let saved = |sent: u64| format!("{:.0} %", 100.0 - 100.0 * sent as f64 / all.max(1) as f64);
        let [long, short] = sent;
        table.row([
            name.into(),
            a_cycle(all),
            a_cycle(long),
            saved(long),
            a_cycle(short),
            saved(short),
        ]);
    }
    println!("{}", table.text());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_still_is_sent_now_and_then() {
        let mut dedup = Dedup::new(60);
        let sent: Vec<u64> = (0..10).map(|n| dedup.lines("a", "1", 15 * n)).collect();
        assert_eq!(sent, [1, 0, 0, 0, 1, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn before_a_change_the_last_one_kept_back_is_sent() {
        let mut dedup = Dedup::new(600);
        let values = ["1", "2", "2", "2", "3", "4", "4"];
        let sent: Vec<u64> =
            (0..).zip(values).map(|(n, value)| dedup.lines("a", value, 15 * n)).collect();
        assert_eq!(sent, [1, 1, 0, 0, 2, 1, 0]);
        assert_eq!(dedup.lines("b", "4", 200), 1);
    }

    #[test]
    fn a_line_tells_whose_it_is() {
        let line = "proc.stat.ps.net 1700000000 5 image=image-003 type=udp";
        let series = "proc.stat.ps.net image=image-003 type=udp".to_owned();
        assert_eq!(parts(line), Some((series, "5".to_owned(), Class::Idle)));
        let own = parts("proc.stat.ps.collector.cpu 1700000000 3.008").unwrap();
        assert_eq!(own.2, Class::Collector);
        assert_eq!(parts("proc.stat.ps.procs 1 2 image=image-014").unwrap().2, Class::Busy);
    }
}
