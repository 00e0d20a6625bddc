//! The values that process-exporter has too.

use std::time::Duration;

use crate::common::{Setup, conf, testproc, until, word};
use crate::store::ProcessExporter;
use psstat_testproc::TempDir;

#[test]
fn same_as_process_exporter() {
    let word = word("peer");
    let [mut one, mut two] = [&word, &word].map(|word| testproc(word));
    one.threads(5).unwrap();
    one.open_files(20).unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("peer {word}\n"));
    let Some(exporter) = ProcessExporter::start(&word) else { return };
    let collector = Setup::with(&path).args(&["--metrics", "faults"]).spawn();
    // It reads a new process in its second scrape completely.
    until("the peer knows both", || exporter.read().sum("num_procs", "") == 2.0);
    for process in [&one, &two] {
        process.quiesce().unwrap();
    }
    let peer_before = exporter.read();
    let before = collector.next_cycle();
    let burned = one.burn(100.0, Duration::from_millis(400)).unwrap().cpu.as_secs_f64();
    two.mmap_touch(8 << 20).unwrap();
    for process in [&one, &two] {
        process.quiesce().unwrap();
    }
    let cycle = collector.next_cycle();
    let peer = exporter.read();

    let value = |series: &str| {
        let (metric, tags) = series.split_once(' ').unwrap_or((series, ""));
        format!("{metric} image=peer {tags}").trim_end().to_owned()
    };
    let now = |series: &str| cycle.number(&value(series));
    let growth = |series: &str| now(series) - before.number(&value(series));
    let peer_growth =
        |metric: &str, label: &str| peer.sum(metric, label) - peer_before.sum(metric, label);
    // (metric, psstat, process-exporter, tolerance)
    let cpu = growth("cpu type=user") + growth("cpu type=system");
    let start = cycle.time as f64 - now("age type=oldest");
    let values = [
        ("procs", now("procs"), peer.sum("num_procs", ""), 0.0),
        ("threads", now("threads"), peer.sum("num_threads", ""), 0.0),
        ("descriptors", now("fd type=open"), peer.sum("open_filedesc", ""), 0.0),
        ("limit", now("fd.ratio"), peer.sum("worst_fd_ratio", "") * 100.0, 0.01),
        ("virtual", now("mem type=total"), peer.sum("memory_bytes", "\"virtual\""), 0.0),
        // The kernel can take pages, and process-exporter's are rounded per thread.
        ("resident", now("mem type=resident"), peer.sum("memory_bytes", "\"resident\""), 1e6),
        // Ticks of 10 ms for each mode of each process.
        ("CPU", cpu, peer_growth("cpu_seconds_total", ""), 0.05),
        ("faults", growth("faults type=minor"), peer_growth("minor_page_faults_total", ""), 64.0),
        // It adds a start to a boot time in whole seconds.
        ("start", start, peer.sum("oldest_start_time_seconds", ""), 3.0),
    ];
    println!("{values:#?}");
    for (metric, psstat, peer, tolerance) in values {
        assert!((psstat - peer).abs() <= tolerance, "{metric}: {psstat}, not {peer}");
    }
    // It did both.
    assert!(cpu >= burned && growth("faults type=minor") > 1_000.0, "{values:?}");
}
