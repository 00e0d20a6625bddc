//! Prometheus and VictoriaMetrics scrape the collector: many images, rates over a restart, images that
//! end. `cargo xtask agents` runs these tests with newer versions.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use psstat_testproc::TempDir;
use rustix::process::Signal;

use crate::common::{Collector, Setup, conf, testproc, until, wait_settled, word, write_conf};
use crate::http;
use crate::population::Population;
use crate::store::{NodeExporter, Prometheus, Victoria, assert_found, exposed};

/// Starts a scraper of an address.
type Start = fn(SocketAddr) -> Option<Prometheus>;

/// By their names.
const SCRAPERS: [(&str, Start); 2] =
    [("Prometheus", Prometheus::scraping), ("VictoriaMetrics", Victoria::scraping)];

/// An address that is free when this returns.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// A collector at an address.
fn collector(conf: &Path, address: SocketAddr) -> Collector {
    let setup = Setup::with(conf).io_since_start();
    setup.arg("--listen").arg(address.to_string()).spawn()
}

/// A collector that serves the same cycle for as long as the test takes, and its exposition.
pub(crate) fn constant(conf: &Path, address: SocketAddr) -> (Collector, String) {
    let setup = Setup::with(conf).env("PSSTAT_INTERVAL", "500");
    let collector = setup.arg("--listen").arg(address.to_string()).spawn();
    let mut exposition = String::new();
    until("the first cycle", || {
        let answer = http::get(address.port(), "/metrics").ok();
        exposition =
            answer.filter(|answer| answer.status == 200).map_or(String::new(), |it| it.body);
        !exposition.is_empty()
    });
    (collector, exposition)
}

/// Adds images of the same processes to the config file of a population.
pub(crate) fn add_images(population: &Population, count: usize) {
    let mut rules = std::fs::read_to_string(&population.conf).unwrap();
    let words: Vec<String> =
        rules.lines().map(|rule| rule.split(' ').nth(1).unwrap().to_owned()).collect();
    for number in 0..count {
        rules += &format!("many/{number} {}\n", words[number % words.len()]);
    }
    write_conf(&population.conf, &rules);
    wait_settled();
}

#[test]
fn thousand_images_are_scraped() {
    let population = Population::new();
    add_images(&population, 1000);
    let address = free_address();
    let (_collector, exposition) = constant(&population.conf, address);
    let sent = exposed(&exposition);
    assert!(sent.len() > 25_000, "{}", sent.len());
    for (name, start) in SCRAPERS {
        let Some(scraper) = start(address) else { return };
        // VictoriaMetrics shows the points of a scrape in parts.
        until("all points", || scraper.values().len() >= sent.len());
        assert_found(name, "--listen, 1,003 images", &sent, &scraper.values());
    }
}

/// The increase of a counter over a restart of the collector is what the processes did, although
/// one of them is not there any more.
#[test]
fn increase_over_a_restart() {
    const SERIES: &str = "proc_stat_ps_io_bytes_total{image=\"restart\",type=\"wchar\"}";
    let word = word("restart");
    let [mut stays, mut ends] = [&word, &word].map(|word| testproc(word));
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("restart {word}\n"));
    // Before the collector starts: not to be counted.
    stays.write_bytes(50_000_000, 50).unwrap();
    stays.quiesce().unwrap();
    let before = stays.expected_io().unwrap().wchar + ends.expected_io().unwrap().wchar;
    let address = free_address();
    let mut scrapers = Vec::new();
    for (name, start) in SCRAPERS {
        let Some(scraper) = start(address) else { return };
        scrapers.push((name, scraper));
    }
    let wait_for = |what: &str, is_expected: &dyn Fn(f64) -> bool| {
        for (name, scraper) in &scrapers {
            until(&format!("{name}: {what}"), || scraper.value(SERIES).is_some_and(is_expected));
        }
    };

    let mut first = collector(&path, address);
    wait_for("0", &|value| value < 1e6);
    ends.write_bytes(30_000_000, 30).unwrap();
    stays.write_bytes(3_000_000, 3).unwrap();
    wait_for("33 MB", &|value| value >= 33e6);
    ends.quiesce().unwrap();
    let ended = ends.expected_io().unwrap().wchar;
    ends.kill().unwrap();
    ends.reap().unwrap();
    first.signal(Signal::TERM);
    assert_eq!(first.end(), Some(0));
    for (name, scraper) in &scrapers {
        until(&format!("{name}: stale"), || scraper.count("{__name__=~\"proc_.*\"}") == 0);
    }

    let _second = collector(&path, address);
    wait_for("0 again", &|value| value < 1e6);
    stays.write_bytes(2_000_000, 2).unwrap();
    wait_for("2 MB", &|value| value >= 2e6);
    stays.quiesce().unwrap();
    let expected = stays.expected_io().unwrap().wchar + ended - before;
    for (name, scraper) in &scrapers {
        assert_eq!(scraper.value(&format!("resets({SERIES}[10m])")), Some(1.0), "{name}");
        assert_eq!(scraper.growth(SERIES), expected as f64, "{name}");
        let increase = scraper.value(&format!("increase({SERIES}[10m])")).unwrap();
        println!("{name}: increase {increase} of {expected}");
        // Prometheus extrapolates by up to an interval before the first and after the last sample.
        assert!(increase >= 0.99 * expected as f64, "{name}: {increase}, not {expected}");
    }
}

/// The series of an image whose rule was removed end with the next scrape, not five minutes later.
#[test]
fn ended_image_is_stale() {
    let [stays, ends] = ["stays", "ends"].map(word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("stays {stays}\nends {ends}\n"));
    let address = free_address();
    let _collector = collector(&path, address);
    let mut scrapers = Vec::new();
    for (name, start) in SCRAPERS {
        let Some(scraper) = start(address) else { return };
        until(name, || scraper.count("proc_stat_ps_procs{image=\"ends\"}") == 1);
        scrapers.push((name, scraper));
    }
    write_conf(&path, &format!("stays {stays}\n"));
    for (name, scraper) in &scrapers {
        until(&format!("{name}: stale"), || scraper.count("{image=\"ends\"}") == 0);
        // The other image is still there.
        assert_eq!(scraper.count("proc_stat_ps_procs{image=\"stays\"}"), 1, "{name}");
    }
}

/// The same with node_exporter between the collector's file and Prometheus.
#[test]
fn ended_image_is_stale_behind_node_exporter() {
    let Some(exporter) = NodeExporter::start() else { return };
    let Some(prometheus) = Prometheus::scraping(exporter.address()) else { return };
    let [stays, ends] = ["stays", "ends"].map(word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("stays {stays}\nends {ends}\n"));
    let setup = Setup::with(&path).arg("--output").arg(exporter.directory().join("psstat.prom"));
    let _collector = setup.other_format("prometheus").spawn();
    until("the image", || prometheus.count("proc_stat_ps_procs{image=\"ends\"}") == 1);
    write_conf(&path, &format!("stays {stays}\n"));
    until("stale", || prometheus.count("{image=\"ends\"}") == 0);
    assert_eq!(prometheus.count("proc_stat_ps_procs{image=\"stays\"}"), 1);
}
