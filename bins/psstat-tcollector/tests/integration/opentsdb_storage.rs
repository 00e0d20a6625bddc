//! The size of the points of a fleet in HBase, for docs/scale.md.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use psstat_testproc::TempDir;
use psstat_testproc::formats::Point;
use psstat_testproc::formats::tsd::parse_stream;

use crate::common::{Setup, conf, testproc, word};
use crate::opentsdb::put;
use crate::store::OpenTsdb;

const HOSTS: usize = 200;
/// Of an hour.
const CYCLES: usize = 240;
/// The beginning of an hour that is over, so that the TSD compacts its rows.
const HOUR: u64 = 1_700_000_000 / 3600 * 3600;

/// Two images of each host: all processes of this machine, and a process that sleeps.
#[test]
#[ignore = "measures for half an hour"]
fn size_of_a_fleet_in_hbase() {
    let variants: [(&str, &[&str]); 3] = [
        // At once, and all of them: by default it takes 100 rows every 10 seconds.
        (
            "rows compacted by the TSD",
            &[
                "tsd.storage.compaction.flush_speed=1000",
                "tsd.storage.compaction.min_flush_threshold=1",
            ],
        ),
        ("a cell per point", &["tsd.storage.enable_compaction=false"]),
        ("appends", &["tsd.storage.enable_appends=true"]),
    ];
    let word = word("idle");
    let _idle = testproc(&word);
    let temp = TempDir::new().unwrap();
    let conf = conf(&temp, &format!("busy .\nidle {word}\n"));
    let cycles = CYCLES.to_string();
    let setup = Setup::with(&conf).args(&["--cycles", &cycles]).io_since_start();
    let mut collector = setup.spawn();
    while collector.count() < CYCLES {
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(collector.end(), Some(0));
    // Each series with its points.
    let mut series: BTreeMap<_, Vec<Point>> = BTreeMap::new();
    for point in parse_stream(collector.printed()).unwrap() {
        series.entry(point.series()).or_default().push(point);
    }
    series.retain(|_, points| points[0].tag("image").is_some());
    let rows = series.len() * HOSTS;
    let points: usize = series.values().map(Vec::len).sum::<usize>() * HOSTS;
    println!("{HOSTS} hosts, {} series each, {points} points in {rows} rows", series.len());

    for (name, settings) in variants {
        let Some(opentsdb) = OpenTsdb::with(settings) else { return };
        let begun = Instant::now();
        for host in 0..HOSTS {
            let lines = series.values().flat_map(|points| {
                (0..).zip(points).map(move |(cycle, point)| {
                    let value = of_host(point, host).to_string();
                    put(point, HOUR + 15 * cycle, &value, &format!("host{host}"))
                })
            });
            assert_eq!(opentsdb.telnet(&lines.collect::<String>()), "");
        }
        println!("{name}: written in {:.0} s", begun.elapsed().as_secs_f64());
        if name.starts_with("rows") {
            opentsdb.wait_compacted();
        }
        for (compression, encoding) in [("NONE", "NONE"), ("NONE", "DIFF"), ("GZ", "DIFF")] {
            let bytes = opentsdb.rewrite(compression, encoding);
            println!(
                "{name}: compression {compression}, encoding {encoding}: {bytes} bytes, {:.2} per point, {:.0} per row",
                bytes as f64 / points as f64,
                bytes as f64 / rows as f64
            );
        }
    }
}

/// A value of a host, with the decimals of the point. Equal values of all hosts would be compressed to
/// almost nothing.
fn of_host(point: &Point, host: usize) -> f64 {
    let unit = if point.value % 1_000_000 == 0 { 1.0 } else { 1000.0 };
    (point.number() * unit * (1.0 + host as f64 / 997.0)).round() / unit
}
