//! The queries of docs/opentsdb.md for alerts, on half an hour of points: each condition is met by the
//! hosts that are named here, and by no other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::common::until;
use crate::http::url_encode;
use crate::store::OpenTsdb;

/// The beginning of an hour in which no other test has points.
const BEGIN: u64 = 1_600_000_000 / 3600 * 3600;
/// The length of the history. Whole intervals of every downsampler.
const LENGTH: u64 = 1800;

/// The series of a healthy host and their values; `{image}` is `nginx`.
const SERIES: [(&str, Shape); 10] = [
    ("procs image=nginx", Shape::Always(3)),
    ("starts image=nginx", Shape::Every(400)),
    ("exits image=nginx", Shape::Every(400)),
    ("fd.ratio image=nginx", Shape::Always(41)),
    ("net image=nginx type=tcp", Shape::Always(12)),
    ("unread image=nginx type=io", Shape::Always(0)),
    ("collector.conf_loaded", Shape::Always(1)),
    ("collector.bad_lines", Shape::Always(0)),
    ("collector.skipped_cycles", Shape::Always(0)),
    ("collector.panics", Shape::Always(0)),
];

/// The series whose end is the end of the collector.
const ALIVE: &str = "collector.processes";

/// The values of a series over time.
#[derive(Clone, Copy)]
enum Shape {
    Always(u64),
    /// The second value from this second on.
    Until(u64, u64, u64),
    /// A counter that grows by 1 in this interval.
    Every(u64),
    /// The same, and 0 again at this second.
    Restarts(u64, u64),
}

impl Shape {
    fn at(self, second: u64) -> u64 {
        match self {
            Shape::Always(value) => value,
            Shape::Until(value, at, then) => {
                if second < at {
                    value
                } else {
                    then
                }
            }
            Shape::Every(interval) => second / interval,
            Shape::Restarts(interval, at) => (second - if second < at { 0 } else { at }) / interval,
        }
    }
}

/// Each host with the values in which it is not like a healthy one.
const HOSTS: [(&str, &[(&str, Shape)]); 13] = [
    ("healthy", &[]),
    // Without processes in the last minute only.
    (
        "brief",
        &[
            ("procs image=nginx", Shape::Until(3, LENGTH - 60, 0)),
            ("net image=nginx type=tcp", Shape::Until(12, LENGTH - 60, 0)),
            ("fd.ratio image=nginx", Shape::Until(95, LENGTH - 240, 10)),
        ],
    ),
    // At the ends of the intervals of both downsamplers, so that a maximum is less than the one before.
    (
        "restarted",
        &[
            ("starts image=nginx", Shape::Restarts(400, 1200)),
            ("exits image=nginx", Shape::Restarts(400, 1200)),
        ],
    ),
    (
        "restarted earlier",
        &[
            ("collector.skipped_cycles", Shape::Until(7, 900, 0)),
            ("collector.panics", Shape::Until(1, 900, 0)),
        ],
    ),
    (
        "no process",
        &[
            ("procs image=nginx", Shape::Until(3, 1500, 0)),
            ("net image=nginx type=tcp", Shape::Until(12, 1500, 0)),
        ],
    ),
    (
        "crash loop",
        &[("starts image=nginx", Shape::Every(100)), ("exits image=nginx", Shape::Every(100))],
    ),
    ("descriptors near the limit", &[("fd.ratio image=nginx", Shape::Until(41, 1200, 93))]),
    ("connections lost", &[("net image=nginx type=tcp", Shape::Until(12, 1500, 0))]),
    ("partial sums", &[("unread image=nginx type=io", Shape::Until(0, 600, 2))]),
    ("config file", &[("collector.conf_loaded", Shape::Until(1, 1500, 0))]),
    ("config file, bad lines", &[("collector.bad_lines", Shape::Until(0, 1500, 2))]),
    ("late cycles, panics", &[("collector.panics", Shape::Until(0, 1500, 1))]),
    ("no collector", &[(ALIVE, Shape::Always(0))]),
];

/// The name of a host as a tag.
fn tag(host: &str) -> String {
    format!("alert-{}", host.replace([' ', ','], "_"))
}

fn lines() -> String {
    let mut lines = String::new();
    for (host, differences) in HOSTS {
        // Points stop ten minutes before the end.
        let end =
            if differences.iter().any(|(name, _)| *name == ALIVE) { LENGTH - 600 } else { LENGTH };
        for second in (0..end).step_by(15) {
            let time = BEGIN + second;
            let mut put = |name: &str, value: u64| {
                let (metric, tags) = name.split_once(' ').unwrap_or((name, ""));
                let tags = format!("host={} {tags}", tag(host));
                writeln!(lines, "put proc.stat.ps.{metric} {time} {value} {}", tags.trim_end())
                    .unwrap();
            };
            put(ALIVE, 214);
            for (name, shape) in SERIES {
                let other = differences.iter().find(|(other, _)| *other == name);
                put(name, other.map_or(shape, |(_, shape)| *shape).at(second));
            }
        }
    }
    lines
}

/// The conditions of the page with their queries.
fn rows() -> BTreeMap<&'static str, Vec<&'static str>> {
    let page = include_str!("../../../../docs/opentsdb.md");
    let table = page.split("## Alerts").nth(1).unwrap().split("## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let rows = rows.map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let queries = cells[1].split('`').filter(|text| text.contains("proc.stat.ps."));
        (cells[0].trim_start_matches("| "), queries.collect())
    });
    rows.collect()
}

/// The values of a query by host, with their times since the beginning.
type Answer = BTreeMap<String, Vec<(u64, f64)>>;

fn answer(opentsdb: &OpenTsdb, query: &str) -> Answer {
    let path =
        format!("/api/query?start={BEGIN}&end={}&m={}", BEGIN + LENGTH - 1, url_encode(query));
    let answer = opentsdb.get(&path);
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    let all: Vec<serde_json::Value> = serde_json::from_str(&answer.body).unwrap();
    let mut hosts = Answer::new();
    for one in all {
        let host = one["tags"]["host"].as_str().unwrap().to_owned();
        let points = one["dps"].as_object().unwrap().iter();
        let points = points
            .map(|(time, value)| (time.parse::<u64>().unwrap() - BEGIN, value.as_f64().unwrap()));
        let mut points: Vec<(u64, f64)> = points.collect();
        points.sort_by_key(|(time, _)| *time);
        assert!(hosts.insert(host, points).is_none(), "{query}: a host twice");
    }
    hosts
}

/// Whether the last values of a host all satisfy a condition.
fn last(answer: &Answer, host: &str, count: usize, is_met: impl Fn(f64) -> bool) -> bool {
    let values = answer.get(host).map_or(&[][..], Vec::as_slice);
    values.len() >= count && values.iter().rev().take(count).all(|(_, value)| is_met(*value))
}

/// Whether the alert of a row is raised for a host, by the third column of the page.
fn is_raised(condition: &str, answers: &[Answer], host: &str) -> bool {
    let last = |query: usize, count, is_met: &dyn Fn(f64) -> bool| {
        last(&answers[query], host, count, is_met)
    };
    let zero = |value| value == 0.0;
    let positive = |value| value > 0.0;
    match condition {
        "no process" => last(0, 2, &zero),
        "crash loop" => last(0, 1, &|rate| rate > 0.008) && last(1, 1, &|rate| rate > 0.008),
        "descriptors near the limit" => last(0, 5, &|percent| percent > 80.0),
        "connections lost" => last(0, 2, &zero) && last(1, 2, &positive),
        "partial sums" => last(0, 15, &positive),
        "config file" => last(0, 1, &zero) || last(1, 1, &positive),
        "late cycles, panics" => last(0, 1, &positive) || last(1, 1, &positive),
        "no collector" => answers[0][host].last().is_none_or(|(time, _)| *time < LENGTH - 300),
        other => panic!("a condition without a test: {other}"),
    }
}

#[test]
fn alerts_are_raised_by_their_hosts_alone() {
    let Some(opentsdb) = OpenTsdb::shared() else { return };
    assert_eq!(opentsdb.telnet(&lines()), "");
    let rows = rows();
    assert_eq!(rows.len(), 8, "{rows:?}");
    for name in SERIES.map(|(name, _)| name).into_iter().chain([ALIVE]) {
        let metric = name.split(' ').next().unwrap();
        until(&format!("all points of {metric}"), || {
            let found = answer(opentsdb, &format!("sum:proc.stat.ps.{metric}{{host=*}}"));
            // The last ten minutes of one host are missing.
            found.values().map(Vec::len).sum::<usize>() == HOSTS.len() * 120 - 40
        });
    }
    for (condition, queries) in rows {
        let answers: Vec<Answer> = queries.iter().map(|query| answer(opentsdb, query)).collect();
        let raised = HOSTS.map(|(host, _)| host);
        let raised = raised.into_iter().filter(|host| is_raised(condition, &answers, &tag(host)));
        let expected = HOSTS.map(|(host, _)| host);
        let expected = expected.into_iter().filter(|host| host.starts_with(condition));
        let raised: BTreeSet<&str> = raised.collect();
        assert!(!raised.is_empty(), "{condition}: {answers:?}");
        assert_eq!(raised, expected.collect(), "{condition}: {answers:?}");
    }
}
