//! The collector's points in OpenTSDB: docs/opentsdb.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use psstat_testproc::TempDir;
use psstat_testproc::formats::Point;
use psstat_testproc::formats::tsd::{parse, parse_stream};
use rustix::process::{Pid, Signal};
use serde_json::json;

use crate::common::{Cycle, PROGRAM, conf, outcome, testproc, until, word};
use crate::fake_tcollector::{Clock, Record, Site};
use crate::http::{self, url_encode};
use crate::population::Population;
use crate::store::{Influx, OpenTsdb, Points, filter, series};

/// The points of one cycle of a collector with these options.
pub(crate) fn cycle_of(options: &[&str]) -> Vec<Point> {
    let (status, stdout, stderr) =
        outcome(Command::new(PROGRAM).env_clear().arg("--once").args(options));
    assert_eq!(status, Some(0), "{stderr}");
    parse(stdout.as_bytes()).unwrap()
}

/// A `put` line for a point with another time and value, and with a host.
pub(crate) fn put(point: &Point, time: u64, value: &str, host: &str) -> String {
    let mut line = format!("put {} {time} {value} host={host}", point.metric);
    for (key, value) in &point.tags {
        write!(line, " {key}={value}").unwrap();
    }
    line + "\n"
}

/// A counter that begins at 0 again is a reset for `rate{dropcounter}`; docs/opentsdb.md shows what
/// other rates make of it. The same for `non_negative_derivative` of InfluxDB.
#[test]
fn rates_survive_a_restart_of_the_collector() {
    let Some(opentsdb) = OpenTsdb::shared() else { return };
    let Some(influx) = Influx::start() else { return };
    let word = word("restarted");
    let mut process = testproc(&word);
    let temp = TempDir::new().unwrap();
    let conf = conf(&temp, &format!("it {word}\n"));
    std::fs::create_dir_all(temp.join("collectors/0")).unwrap();
    std::os::unix::fs::symlink(PROGRAM, temp.join("collectors/0/psstat")).unwrap();
    let site = Site {
        collectors: temp.join("collectors"),
        environment: vec![
            ("PSSTAT_CONF", conf.display().to_string()),
            ("PSSTAT_INTERVAL", "1".to_owned()),
        ],
        clock: Clock::SHORT,
        tags: "host=restarted",
        stores: vec![opentsdb.connect().into(), influx.connect().into()],
    };
    let tcollector = site.start();
    const BYTES: u64 = 5_000_000;
    let written = |cycle: &Cycle| cycle.get("io image=it type=wchar");
    tcollector.next_cycle();
    process.write_bytes(BYTES, 1).unwrap();
    until("the first collector counts", || written(&tcollector.next_cycle()) > 4_000_000);
    let first = tcollector.record().starts[0].1;
    let pid = Pid::from_raw(i32::try_from(first).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    tcollector.wait("the second one", |record| record.starts.len() > 1);
    // Its counters begin at 0, so the cycles of both cannot be checked as one stream.
    let counter = |record: &Record| -> Vec<Point> {
        parse_stream(record.lines.iter().filter(|line| line.ends_with("=wchar"))).unwrap()
    };
    let lines = || counter(&tcollector.record());
    until("a smaller value", || lines().windows(2).any(|pair| pair[1].value < pair[0].value));
    process.write_bytes(1_000_000, 1).unwrap();
    until("the second collector counts", || {
        lines().last().is_some_and(|point| (1.0..4e6).contains(&point.number()))
    });
    let (_, record) = tcollector.shut_down();
    assert_eq!(record.answers, "");

    let shipped: Vec<(u64, f64)> =
        counter(&record).iter().map(|point| (point.time.unwrap(), point.number())).collect();
    // As in a URL: `sum:rate{dropcounter}:proc.stat.ps.io{host=…}`.
    let rates = |rate: &str| -> BTreeMap<u64, f64> {
        let query = format!("sum:{rate}:proc.stat.ps.io{{host=restarted,type=wchar}}");
        let answer = opentsdb.get(&format!("/api/query?start=1&m={}", url_encode(&query)));
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let points = answer[0]["dps"].as_object().unwrap().iter();
        points.map(|(time, value)| (time.parse().unwrap(), value.as_f64().unwrap())).collect()
    };
    until("the last point", || rates("rate").contains_key(&shipped.last().unwrap().0));
    // Those of two points of the same collector.
    let expected: BTreeMap<u64, f64> = shipped
        .windows(2)
        .filter(|pair| pair[1].1 >= pair[0].1)
        .map(|pair| (pair[1].0, (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0) as f64))
        .collect();
    assert!(expected.len() + 2 == shipped.len(), "{shipped:?}");
    assert_eq!(rates("rate{dropcounter}"), expected);
    let total: f64 = expected.values().sum();
    assert!(total <= 6_100_000.0 && expected.values().all(|rate| *rate >= 0.0), "{expected:?}");
    assert!(rates("rate").values().any(|rate| *rate < 0.0));
    assert!(rates("rate{counter}").values().any(|rate| *rate > 1e15));

    let rates = |function: &str| {
        influx.select(&format!(
            "SELECT {function}(value, 1s) FROM \"proc.stat.ps.io\" WHERE type = 'wchar'"
        ))
    };
    until("the last point in InfluxDB", || {
        rates("derivative").contains_key(&shipped.last().unwrap().0)
    });
    let found = rates("non_negative_derivative");
    assert!(found.keys().eq(expected.keys()), "{found:?}, not {expected:?}");
    for (time, rate) in &expected {
        assert!((found[time] - rate).abs() <= rate * 1e-9, "{time}: {}, not {rate}", found[time]);
    }
    assert!(rates("derivative").values().any(|rate| *rate < 0.0));
}

/// 200 hosts with different values.
#[test]
fn sums_over_a_fleet_are_exact() {
    const HOSTS: u64 = 200;
    let Some(opentsdb) = OpenTsdb::shared() else { return };
    let population = Population::new();
    let mut cycle = cycle_of(&["--conf", population.conf.to_str().unwrap()]);
    cycle.retain(|point| point.tag("image").is_some());
    let begin = cycle[0].time.unwrap();
    let mut sums = Points::new();
    let mut lines = String::new();
    for host in 0..HOSTS {
        for point in &cycle {
            for time in [begin, begin + 15, begin + 30] {
                let value = point.number() + (host + time - begin) as f64;
                let value = (value * 1000.0).round() / 1000.0;
                lines += &put(point, time, &value.to_string(), &format!("fleet-{host}"));
                let tags = point.tags.iter().cloned().collect();
                *sums.entry((series(&point.metric, &tags), time)).or_default() += value;
            }
        }
    }
    assert_eq!(opentsdb.telnet(&lines), "");

    let mut metrics: BTreeMap<&str, bool> = BTreeMap::new();
    for point in &cycle {
        metrics.insert(&point.metric, point.tag("type").is_some());
    }
    let queries = metrics.iter().map(|(metric, has_type)| {
        let group = |tag| json!({"type": "wildcard", "tagk": tag, "filter": "*", "groupBy": true});
        let hosts =
            json!({"type": "wildcard", "tagk": "host", "filter": "fleet-*", "groupBy": false});
        let mut filters = vec![hosts, group("image")];
        filters.extend(has_type.then(|| group("type")));
        json!({"metric": metric, "aggregator": "sum", "filters": filters})
    });
    let queries = queries.collect();
    let complete = |points: &Points| {
        points.len() == sums.len()
            && sums.iter().all(|(point, sum)| (points[point] - sum).abs() <= sum.abs() * 1e-12)
    };
    let mut points = Points::new();
    until("all hosts", || {
        points = opentsdb.select(&queries);
        complete(&points)
    });
    assert!(metrics.len() > 10, "{metrics:?}");
    // One host less is another sum.
    let one = json!({"metric": "proc.stat.ps.procs", "aggregator": "sum",
        "filters": [filter("host", "fleet-7"), filter("image", "svc/db")]});
    let of_one = opentsdb.select(&json!([one]));
    assert_eq!(of_one.values().copied().collect::<Vec<_>>(), [8.0, 23.0, 38.0]);
}

/// `tsd.core.auto_create_metrics` is off. Only the unknown metric is refused.
#[test]
fn unknown_metrics_are_refused() {
    let Some(opentsdb) = OpenTsdb::shared() else { return };
    let line = |metric: &str| format!("put {metric} 1700000000 1 host=unknown image=a\n");
    let lines =
        line("proc.stat.ps.swap") + &line("proc.stat.ps.nothing") + &line("proc.stat.ps.procs");
    let answers = opentsdb.telnet(&lines);
    assert!(answers.starts_with("put: unknown metric: "), "{answers}");
    assert_eq!(answers.lines().count(), 1, "{answers}");
    until("the others", || opentsdb.points("unknown").len() == 2);
}

/// Of two collectors with the same tags, an hour of whose points cannot be read.
#[test]
fn two_values_in_a_second_hide_an_hour() {
    let Some(opentsdb) = OpenTsdb::shared() else { return };
    const HOUR: u64 = 1_700_000_000 / 3600 * 3600;
    let line = |time: u64, value: &str| {
        format!("put proc.stat.ps.pcpu {time} {value} host=twice image=a\n")
    };
    let lines = line(HOUR, "1") + &line(HOUR + 15, "1") + &line(HOUR + 15, "2.5");
    assert_eq!(opentsdb.telnet(&(lines + &line(HOUR + 3600, "3"))), "");
    let query = json!([{"metric": "proc.stat.ps.pcpu", "aggregator": "none",
        "filters": [filter("host", "twice")]}]);
    let hour = |begin: u64| opentsdb.query(begin..=begin + 3599, &query);
    until("the next hour", || hour(HOUR + 3600).body.contains(":3"));
    let answer = hour(HOUR);
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("Duplicate timestamp"), "{answer:?}");
}

/// `image`, `type` and the host's own are among them.
#[test]
fn eight_tags_are_accepted_and_nine_refused() {
    let Some(opentsdb) = OpenTsdb::shared() else { return };
    let line = |count: usize| {
        let tags: String = (3..=count).map(|number| format!(" tag{number}=x")).collect();
        format!("put proc.stat.ps.io 1700000000 1 host=tags image=a{tags}\n")
    };
    let answers = opentsdb.telnet(&(line(8) + &line(9)));
    assert!(answers.contains("Too many tags"), "{answers}");
    until("the point with eight tags", || opentsdb.points("tags").len() == 1);
}

/// The other points of the array are stored. `?details` names the bad one.
#[test]
fn bad_point_of_an_array_is_refused_alone() {
    let Some(opentsdb) = OpenTsdb::shared() else { return };
    let point = |metric: &str| {
        json!({"metric": metric, "timestamp": 1_700_000_000, "value": 1,
            "tags": {"host": "refused", "image": "a"}})
    };
    let array = json!([point("proc.stat.ps.swap"), point("proc.stat.ps.nothing")]).to_string();
    let (plain, details) = (opentsdb.put("", &array), opentsdb.put("?details", &array));
    assert_eq!((plain.status, details.status), (400, 400), "{plain:?} {details:?}");
    let is_named = |answer: &http::Response| answer.body.contains("proc.stat.ps.nothing");
    assert!(is_named(&details) && !is_named(&plain), "{plain:?} {details:?}");
    until("the other point", || opentsdb.points("refused").len() == 1);
    // Longer requests are refused as a whole.
    let long = json!(vec![point("proc.stat.ps.swap"); 100]).to_string();
    let answer = opentsdb.put("?details", &long);
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("Chunked request not supported"), "{answer:?}");
}
