//! The other output formats.

use std::collections::{BTreeMap, BTreeSet};

use psstat_testproc::TempDir;
use serde_json::Value;

use super::common::{Collector, Setup, conf, expected_values, moves, testproc, word};

#[test]
fn json_is_arrays_with_host_tags() {
    let word = word("json");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("json {word}\n"));
    let here = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let with = |more: &[&str]| {
        let setup = Setup::with(&path).args(&["--cycles", "2"]).args(more);
        setup.other_format("json").spawn()
    };
    let mut collectors = [
        (here.as_str(), with(&[])),
        ("pxy12.ams3", with(&["--tag", "host=pxy12.ams3", "--tag", "dc=ams3"])),
    ];
    for (host, collector) in &mut collectors {
        assert_eq!(collector.end(), Some(0));
        let mut cycles: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
        for line in collector.printed() {
            // Bodies that OpenTSDB accepts with its default settings.
            assert!(line.len() < 8_000, "{line}");
            let points: Vec<Value> = serde_json::from_str(&line).unwrap();
            assert!((1..=50).contains(&points.len()), "{line}");
            let time = points[0]["timestamp"].as_u64().unwrap();
            assert!(cycles.keys().all(|earlier| *earlier <= time));
            cycles.entry(time).or_default().extend(points);
        }
        assert_eq!(cycles.len(), 2);
        for (time, points) in cycles {
            let mut found = BTreeMap::new();
            let mut series = BTreeSet::new();
            for point in &points {
                assert_eq!(point["timestamp"].as_u64(), Some(time));
                assert!(point["value"].is_number(), "{point}");
                let mut tags = point["tags"].as_object().unwrap().clone();
                assert_eq!(tags.remove("host").unwrap(), *host);
                assert_eq!(tags.remove("dc").is_some(), *host == "pxy12.ams3");
                let metric = point["metric"].as_str().unwrap();
                let metric = metric.strip_prefix("proc.stat.ps.").unwrap();
                let tags: Vec<String> = ["image", "type"]
                    .iter()
                    .filter_map(|key| Some(format!(" {key}={}", tags.remove(*key)?.as_str()?)))
                    .collect();
                let name = format!("{metric}{}", tags.concat());
                assert!(series.insert(name.clone()), "{name} twice");
                if name.contains("image=json") && !moves(&name) {
                    found.insert(name, point["value"].as_i64().unwrap());
                }
            }
            assert_eq!(found, expected_values("json", &[testproc.pid()]));
            assert!(series.contains("collector.skipped_cycles"));
        }
    }
}

#[test]
fn openmetrics_is_one_exposition_per_cycle() {
    let word = word("om");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("om {word}\n"));
    let setup = Setup::with(&path).args(&["--cycles", "2"]);
    let mut collector: Collector = setup.other_format("openmetrics").spawn();
    assert_eq!(collector.end(), Some(0));
    let lines = collector.printed();
    assert_eq!(lines.last().map(String::as_str), Some("# EOF"));
    let expositions: Vec<&[String]> =
        lines.split(|line| line == "# EOF").filter(|lines| !lines.is_empty()).collect();
    assert_eq!(expositions.len(), 2);
    let expected = expected_values("om", &[testproc.pid()]);
    for exposition in expositions {
        for (name, series) in [
            ("proc_stat_ps_fd", "fd image=om type=open"),
            ("proc_stat_ps_threads", "threads image=om"),
            ("proc_stat_ps_procs", "procs image=om"),
        ] {
            let samples: Vec<&String> = exposition
                .iter()
                .filter(|line| {
                    line.starts_with(&format!("{name}{{")) && line.contains("image=\"om\"")
                })
                .collect();
            assert_eq!(samples.len(), 1, "{name}");
            let value = samples[0].split("} ").nth(1).unwrap().split(' ').next().unwrap();
            assert_eq!(value, expected[series].to_string());
            assert!(exposition.iter().any(|line| line.starts_with(&format!("# TYPE {name} "))));
        }
    }
}
