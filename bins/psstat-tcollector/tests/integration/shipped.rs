//! From the processes to the stores, through the fake tcollector.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use psstat_testproc::formats::Point;
use psstat_testproc::formats::tsd::parse_stream;

use crate::common::{Cycle, PROGRAM, until};
use crate::fake_tcollector::{Clock, Site, Store};
use crate::population::Population;
use crate::store::{Influx, OpenTsdb, Points, Victoria, assert_found, series};

const TAGS: &str = "host=pxy12 cluster=ams3 class=pxy";

/// Every series with the values, tags and timestamps that the collector printed.
#[test]
fn influx_and_victoria_store_the_values() {
    let (Some(influx), Some(victoria)) = (Influx::start(), Victoria::start()) else { return };
    let stores = vec![influx.connect().into(), Store::Http(victoria.put_port())];
    let (shipped, versions) = ship(stores);
    // Without a newline.
    assert_eq!(versions, ["InfluxDB TSDB proxy"]);
    assert_holds("InfluxDB", || influx.points(), &shipped);
    assert_holds("VictoriaMetrics", || victoria.points(), &shipped);
}

/// The same with metrics that exist because docs/install.md lists them.
#[test]
fn opentsdb_stores_the_values() {
    let Some(opentsdb) = OpenTsdb::shared() else { return };
    let (shipped, versions) = ship(vec![opentsdb.connect().into()]);
    assert_eq!(versions.len(), 1);
    assert!(versions[0].starts_with("net.opentsdb.tools BuildData built at "), "{versions:?}");
    assert_holds("OpenTSDB", || opentsdb.points("pxy12"), &shipped);
}

/// Sends some cycles to stores. Returns the points, and the answers to `version`.
fn ship(stores: Vec<Store>) -> (Points, Vec<String>) {
    let mut population = Population::new();
    let collectors = population.temp.join("collectors");
    std::fs::create_dir_all(collectors.join("0")).unwrap();
    std::os::unix::fs::symlink(PROGRAM, collectors.join("0/psstat")).unwrap();
    let begun = now();
    let site = Site {
        collectors,
        environment: vec![
            ("PSSTAT_CONF", population.conf.display().to_string()),
            ("PSSTAT_INTERVAL", "1".to_owned()),
            // The population knows what it did before.
            ("PSSTAT_TEST_IO_START", "process".to_owned()),
        ],
        clock: Clock::TRUE,
        tags: TAGS,
        stores,
    };
    let tcollector = site.start();

    assert_known(&tcollector.next_cycle(), &population);
    population.work();
    assert_known(&tcollector.next_cycle(), &population);
    population.end_one();
    assert_known(&tcollector.next_cycle(), &population);
    let (status, record) = tcollector.shut_down();
    assert_eq!(status.code(), Some(0), "{record:#?}");
    assert_eq!(record.starts.len(), 1, "{record:#?}");
    assert_eq!(record.lost, 0);
    assert_eq!(record.answers, "", "a store refused a line");

    let lines = parse_stream(&record.lines).unwrap();
    for line in &lines {
        assert!((begun..=now()).contains(&line.time.unwrap()), "{line:?}");
    }
    let mut cycles: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for line in &lines {
        let tags = line.tags.iter().cloned().collect();
        cycles.entry(line.time.unwrap()).or_default().insert(series(&line.metric, &tags));
    }
    // The last one may be incomplete.
    cycles.pop_last();
    for (time, cycle) in &cycles {
        let expected = Population::series();
        let difference: Vec<&String> = cycle.symmetric_difference(&expected).collect();
        assert_eq!(difference, [""; 0], "{time}");
    }
    let shipped: Points = lines.iter().map(shipped).collect();
    assert_eq!(shipped.len(), lines.len());
    (shipped, record.versions)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn assert_known(cycle: &Cycle, population: &Population) {
    for (series, value) in population.known() {
        // By BPF the last call of a process that was killed counts too, a read that was interrupted.
        let is_call = series == "io image=svc/web type=syscr";
        let last_calls = if is_call { population.killed } else { 0 };
        let counted = cycle.get(&series);
        assert!((value..=value + last_calls).contains(&counted), "{series} {value}: {cycle:#?}");
    }
}

/// A point as a store must return it.
fn shipped(line: &Point) -> ((String, u64), f64) {
    let mut tags: BTreeMap<String, String> = line.tags.iter().cloned().collect();
    for tag in TAGS.split(' ') {
        let (key, value) = tag.split_once('=').unwrap();
        assert_eq!(tags.insert(key.to_owned(), value.to_owned()), None, "{key} twice");
    }
    ((series(&line.metric, &tags), line.time.unwrap()), line.number())
}

/// Waits until a store has all points, and compares each.
fn assert_holds(store: &str, points: impl Fn() -> Points, expected: &Points) {
    let mut held = Points::new();
    until(store, || {
        held = points();
        held.len() >= expected.len()
    });
    assert_found(store, "tcollector", expected, &held);
}
