//! A cycle in JSON is what `/api/put` takes, as it is.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::common::{PROGRAM, outcome, until};
use crate::population::Population;
use crate::store::{Points, Victoria, series};

#[test]
fn each_cycle_is_accepted_whole() {
    let Some(victoria) = Victoria::start() else { return };
    let population = Population::new();
    let mut command = std::process::Command::new(PROGRAM);
    command.env_clear().args(["--format", "json", "--interval", "1", "--cycles", "2"]);
    command.args(["--tag", "host=pxy12", "--tag", "cluster=ams3", "--conf"]).arg(&population.conf);
    let (status, stdout, stderr) = outcome(&mut command);
    assert_eq!(status, Some(0), "{stderr}");

    let mut expected = Points::new();
    for line in stdout.lines() {
        let answer = victoria.put(line);
        assert!((200..300).contains(&answer.status), "{answer:?}");
        let cycle: Vec<Value> = serde_json::from_str(line).unwrap();
        for point in cycle {
            let tags: BTreeMap<String, String> =
                serde_json::from_value(point["tags"].clone()).unwrap();
            assert_eq!(tags["host"], "pxy12");
            assert_eq!(tags["cluster"], "ams3");
            let name = series(point["metric"].as_str().unwrap(), &tags);
            let time = point["timestamp"].as_u64().unwrap();
            assert_eq!(expected.insert((name, time), point["value"].as_f64().unwrap()), None);
        }
    }
    let mut held = Points::new();
    until("all points", || {
        held = victoria.points();
        held.len() >= expected.len()
    });
    assert_eq!(held, expected);
    // And what was accepted is what the processes are.
    let last = expected.keys().map(|(_, time)| *time).max().unwrap();
    for (known, value) in population.known() {
        let (metric, tags) = known.split_once(' ').unwrap();
        let mut tags: BTreeMap<String, String> = tags
            .split(' ')
            .map(|tag| tag.split_once('=').unwrap())
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        tags.insert("host".to_owned(), "pxy12".to_owned());
        tags.insert("cluster".to_owned(), "ams3".to_owned());
        let name = series(&format!("proc.stat.ps.{metric}"), &tags);
        assert_eq!(held.get(&(name, last)), Some(&(value as f64)), "{known}");
    }
}
