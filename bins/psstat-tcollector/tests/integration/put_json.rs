//! OpenTSDB's `/api/put` accepts a cycle in JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::common::{PROGRAM, outcome, until};
use crate::http;
use crate::population::Population;
use crate::store::{OpenTsdb, Points, Victoria, assert_found, series};

#[test]
fn victoria_accepts_every_cycle() {
    let Some(victoria) = Victoria::start() else { return };
    let tags = [("host", "pxy12"), ("cluster", "ams3")];
    assert_accepted("VictoriaMetrics", &tags, |line| victoria.put(line), || victoria.points());
}

/// Each line is a request that OpenTSDB's default configuration accepts.
#[test]
fn opentsdb_accepts_every_line() {
    let Some(opentsdb) = OpenTsdb::shared() else { return };
    let tags = [("host", "pxy13"), ("cluster", "ams3")];
    let put = |line: &str| opentsdb.put("", line);
    assert_accepted("OpenTSDB", &tags, put, || opentsdb.points("pxy13"));
}

/// Otherwise a point would not have a host.
#[test]
fn points_without_tags_have_the_host() {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let Some(victoria) = Victoria::start() else { return };
    let tags = [("host", &*host)];
    assert_accepted("VictoriaMetrics", &tags, |line| victoria.put(line), || victoria.points());
}

/// Sends two cycles with these tags to a store, and compares what it has then. The host's name
/// needs no option.
fn assert_accepted(
    store: &str,
    extra: &[(&str, &str)],
    put: impl Fn(&str) -> http::Response,
    points: impl Fn() -> Points,
) {
    let population = Population::new();
    let mut command = std::process::Command::new(PROGRAM);
    command.env_clear().env("PSSTAT_TEST_IO_START", "process");
    command.args(["--format", "json", "--interval", "1", "--cycles", "2"]);
    if extra.len() > 1 {
        for (key, value) in extra {
            command.arg("--tag").arg(format!("{key}={value}"));
        }
    }
    command.arg("--conf").arg(&population.conf);
    let (status, stdout, stderr) = outcome(&mut command);
    assert_eq!(status, Some(0), "{stderr}");

    let mut expected = Points::new();
    let mut named: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for line in stdout.lines() {
        let answer = put(line);
        assert!((200..300).contains(&answer.status), "{answer:?}");
        let cycle: Vec<Value> = serde_json::from_str(line).unwrap();
        for point in cycle {
            let mut tags: BTreeMap<String, String> =
                serde_json::from_value(point["tags"].clone()).unwrap();
            let metric = point["metric"].as_str().unwrap();
            let name = series(metric, &tags);
            let time = point["timestamp"].as_u64().unwrap();
            assert_eq!(expected.insert((name, time), point["value"].as_f64().unwrap()), None);
            for (key, value) in extra {
                assert_eq!(tags.remove(*key).as_deref(), Some(*value));
            }
            named.entry(time).or_default().insert(series(metric, &tags));
        }
    }
    assert_eq!(named.len(), 2);
    assert!(named.values().all(|series| *series == Population::series()), "{named:?}");
    let mut held = Points::new();
    until("all points", || {
        held = points();
        held.len() >= expected.len()
    });
    assert_found(store, "json", &expected, &held);
    // The accepted values are those of the processes.
    let last = expected.keys().map(|(_, time)| *time).max().unwrap();
    for (known, value) in population.known() {
        let (metric, tags) = known.split_once(' ').unwrap();
        let mut tags: BTreeMap<String, String> = tags
            .split(' ')
            .map(|tag| tag.split_once('=').unwrap())
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        tags.extend(extra.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())));
        let name = series(&format!("proc.stat.ps.{metric}"), &tags);
        assert_eq!(held.get(&(name, last)), Some(&(value as f64)), "{known}");
    }
}
