//! Agents with the configurations of docs/agents.md. `cargo xtask agents` installs pinned versions and
//! runs these tests; they are ignored otherwise, since the builds take long.

mod collectd;
mod otel;
mod telegraf;
mod vmagent;
mod zabbix;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use psstat_testproc::TempDir;

use crate::common::{PROGRAM, until};
use crate::population::Population;
use crate::scrapers::{constant, free_address};
use crate::store::{Prometheus, Server, Victoria, assert_found, exposed};

/// The program in the configurations that run it.
const INSTALLED: &str = "/usr/lib/psstat/psstat-tcollector";
/// The exporter in the configurations that scrape it.
const EXPORTER: &str = "localhost:9256";
/// The store in the configurations that write to one.
const STORE: &str = "http://localhost:8428";

/// The configuration in docs/agents.md whose first comment is the path of a file, with these texts
/// replaced.
fn configuration(file: &str, replacements: &[(&str, &str)]) -> String {
    let page = include_str!("../../../../../docs/agents.md");
    let mut blocks = page.split("\n```").skip(1).step_by(2);
    let is_named = |line: &str| {
        let path = line.strip_prefix("# ").unwrap_or_default().split([' ', ':']).next();
        path.is_some_and(|path| path.ends_with(file))
    };
    let found = blocks.find(|block| block.lines().take(3).any(is_named));
    let block = found.unwrap_or_else(|| panic!("no block of {file}"));
    let mut text = block.split_once('\n').unwrap().1.to_owned() + "\n";
    for (from, to) in replacements {
        assert!(text.contains(from), "no {from} in {text}");
        text = text.replace(from, to);
    }
    text
}

/// An agent scrapes a collector and writes to VictoriaMetrics, which must have all values, with
/// these further tags.
fn assert_scraped(
    agent: &str,
    images: usize,
    start: impl Fn(SocketAddr, &Prometheus) -> Server,
    added: &[&str],
) {
    let Some(store) = Victoria::written() else { return };
    let population = Population::new();
    crate::scrapers::add_images(&population, images);
    let address = free_address();
    let (_collector, exposition) = constant(&population.conf, address);
    let sent = exposed(&exposition);
    let agent_server = start(address, &store);
    let mut found = BTreeMap::new();
    until(agent, || {
        if store.count("{__name__=~\"proc_.*\"}") < sent.len() {
            return false;
        }
        found = store.stored_values(added);
        true
    });
    assert_found(agent, &format!("--listen, {} images", images + 3), &sent, &found);
    drop(agent_server);
}

/// A script in place of the collector, which runs it with a config file and a cycle per second and
/// copies its output to a file. Returns the script and the file.
fn recorded_collector(conf: &Path, temp: &TempDir) -> (PathBuf, PathBuf) {
    let (script, output) = (temp.join("collector"), temp.join("output"));
    let text = format!(
        "#!/bin/sh\nPSSTAT_CONF={} PSSTAT_TEST_IO_START=process {PROGRAM} \"$@\" | /usr/bin/tee -a {}\n",
        conf.display(),
        output.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(&output, "").unwrap();
    // The agent can run it as another user.
    std::fs::set_permissions(&output, PermissionsExt::from_mode(0o666)).unwrap();
    (script, output)
}
