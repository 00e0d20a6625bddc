//! Real stores: started, queried, ended.

mod influx;
mod node_exporter;
mod opentsdb;
mod process_exporter;
mod prometheus;
mod victoria;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use psstat_testproc::TempDir;

use crate::common::TIMEOUT;

pub(crate) use influx::Influx;
pub(crate) use node_exporter::NodeExporter;
pub(crate) use opentsdb::{OpenTsdb, filter};
pub(crate) use process_exporter::ProcessExporter;
pub(crate) use prometheus::Prometheus;
pub(crate) use victoria::Victoria;

/// Every point by its series (the metric, then its tags by their names:
/// `metric a=b c=d`) and its time in seconds.
pub(crate) type Points = BTreeMap<(String, u64), f64>;

/// The series of a metric and its tags.
pub(crate) fn series(metric: &str, tags: &BTreeMap<String, String>) -> String {
    let tags: Vec<String> = tags.iter().map(|(key, value)| format!(" {key}={value}")).collect();
    format!("{metric}{}", tags.concat())
}

/// The values of an exposition in the Prometheus text format, by series.
pub(crate) fn exposed(exposition: &str) -> BTreeMap<String, f64> {
    let samples = exposition.lines().filter(|line| line.starts_with("proc_"));
    let values = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = name.split_once('{').unwrap_or((name, ""));
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
        let labels = labels.map(|label| {
            let (key, value) = label.split_once('=').unwrap();
            (key.to_owned(), value.trim_matches('"').to_owned())
        });
        (series(name, &labels.collect()), value.parse().unwrap())
    });
    values.collect()
}

/// Asserts that a consumer has the points that were sent to it, and prints their numbers, of which
/// `cargo xtask agents` makes a table.
pub(crate) fn assert_found<K: Ord + std::fmt::Debug>(
    consumer: &str,
    format: &str,
    sent: &BTreeMap<K, f64>,
    found: &BTreeMap<K, f64>,
) {
    println!("points: {consumer} | {format} | {} | {}", sent.len(), found.len());
    let strange = found.keys().find(|point| !sent.contains_key(*point));
    assert_eq!(strange, None, "{consumer} has a point that was not sent");
    for (point, value) in sent {
        assert_eq!(found.get(point), Some(value), "{consumer}: {point:?}");
    }
}

/// The path of a program, if it is installed. If not, the test prints that it is skipped.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(name));
    let program = found.into_iter().find(|path| path.is_file());
    if program.is_none() {
        println!("skipped: {name} is not installed");
    }
    program
}

/// A server with its data in a temporary directory. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) data: TempDir,
}

impl Server {
    /// Starts a program on free ports and waits until it is ready. If a port was taken by another
    /// program meanwhile, it is replaced.
    pub(crate) fn start<const N: usize>(
        program: &Path,
        options: impl Fn(&Path, [u16; N]) -> Vec<String>,
        ready: impl Fn([u16; N]) -> bool,
    ) -> (Server, [u16; N]) {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let data = TempDir::new().unwrap();
            let ports = free_ports();
            let log = std::fs::File::create(data.join("log")).unwrap();
            // It ends with the test, also after a panic.
            let child = Command::new("setpriv")
                .args(["--pdeathsig", "KILL"])
                .arg(program)
                .args(options(data.path(), ports))
                .env_clear()
                .env("HOME", data.path())
                .env("PATH", "/usr/bin:/bin")
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            let mut server = Server { child, data };
            while server.child.try_wait().unwrap().is_none() {
                if ready(ports) {
                    return (server, ports);
                }
                assert!(Instant::now() < deadline, "not ready: {}", server.log());
                std::thread::sleep(Duration::from_millis(20));
            }
            let log = server.log();
            assert!(log.contains("address already in use"), "{program:?} ended: {log}");
        }
    }

    /// Its output.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.data.join("log")).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports of the loopback interface that are not in use.
fn free_ports<const N: usize>() -> [u16; N] {
    // All are held at once, so that they are distinct.
    let listeners = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
