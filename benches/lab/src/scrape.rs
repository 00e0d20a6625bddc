//! `cargo lab scrape`: the cost of a scrape of the collector and of other exporters.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use psstat_testproc::TempDir;

use crate::peers::{Exporter, Peer, PeerCost};
use crate::population::{Population, Spec, config, raise_fd_limit};
use crate::run_lock::RunLock;
use crate::stop::Stop;
use crate::table::{Table, mib, ms};
use crate::{Result, cargo, host_info};

/// Measure a scrape of the collector, of process-exporter and of the OpenTelemetry collector's process
/// scraper on the same processes.
///
/// The collector makes a cycle per second and is scraped each second, so that each scrape includes a
/// cycle. The others are run where they are in PATH: `cargo xtask agents --install` prints the
/// directories of the newest ones. Needs root. Exits 1 if the collector takes more than a tenth of the
/// CPU time of the cheapest of them, or more than a fifth of its memory.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Processes, with 34 file descriptors each
    #[arg(long, default_value_t = 2000)]
    processes: u64,

    /// Images, with one rule each
    #[arg(long, default_value_t = 50)]
    images: u64,

    /// Scrapes of the collector to measure
    #[arg(long, default_value_t = 40)]
    scrapes: u32,

    /// The collector to measure [default: a release build of the working tree]
    #[arg(long, value_name = "PATH")]
    psstat: Option<PathBuf>,
}

/// Scrapes before the measured ones: the first reads of a process cost more.
const WARM_UP: u32 = 24;
/// The first cycle takes at most these seconds.
const FIRST_CYCLE: u32 = 60;
/// The tools.
const PEERS: [Peer; 3] = [Peer::ProcessExporterLean, Peer::ProcessExporter, Peer::OtelHostmetrics];
/// How much less the collector must take.
const CPU: f64 = 10.0;
const MEMORY: f64 = 5.0;

/// Measures all and prints a table.
pub(crate) fn run(options: &Options) -> Result<()> {
    let _lock = RunLock::acquire()?;
    let stop = Stop::on_signals()?;
    let dir = TempDir::new()?;
    let program = options.psstat.clone().map_or_else(cargo::collector, Ok)?;
    raise_fd_limit(100 * options.processes + 1000)?;
    let spec = Spec {
        processes: options.processes,
        matched: options.processes,
        images: options.images,
        fds: 34,
        tcp: 4 * options.processes,
        udp: options.processes,
        unix: 4 * options.processes,
        active: 0,
        replaced: 0,
    };
    let _population = Population::start(&spec, &stop)?;

    let mut own = Vec::new();
    for source in ["proc", "bpf"] {
        eprintln!("psstat-tcollector --source {source}");
        let rules = crate::write(&dir, "psstat.conf", &config(options.images))?;
        let mut command = Command::new(&program);
        command.args(["--interval", "1", "--source", source, "--conf"]).arg(rules);
        let series = "proc_stat_ps_procs{image=\"image-000\"}";
        let exporter = Exporter::spawn(command, "--listen=127.0.0.1:", series, &stop)?;
        // Until the first cycle it has nothing to serve.
        for _ in 0..FIRST_CYCLE {
            if exporter.scrape().is_ok() {
                break;
            }
            stop.sleep(Duration::from_secs(1))?;
        }
        own.push((source, exporter.measure(WARM_UP, options.scrapes, &stop)?));
    }
    let mut peers = Vec::new();
    for peer in PEERS {
        eprintln!("{}", peer.name());
        match peer.measure(&dir, &stop) {
            Ok(cost) => peers.push((peer, cost)),
            Err(error) => {
                stop.check()?;
                println!("{}: {error}", peer.name());
            }
        }
    }
    println!("{}. {} processes in {} images\n", host_info::line(), spec.processes, spec.images);
    print(&own, &peers);
    check(&own, &peers)
}

fn print(own: &[(&str, PeerCost)], peers: &[(Peer, PeerCost)]) {
    let mut table = Table::new(&["exporter", "CPU per scrape, ms", "mean, ms", "resident, MiB"]);
    let mut row = |name: String, cost: &PeerCost| {
        table.row([name, ms(cost.cpu.median), ms(cost.cpu.mean), mib(cost.resident)]);
    };
    for (source, cost) in own {
        row(format!("psstat-tcollector --listen, --source {source}"), cost);
    }
    for (peer, cost) in peers {
        row(peer.name().to_owned(), cost);
    }
    println!("{}", table.text());
}

/// Compares the collector, with its default source, with the cheapest of the others.
fn check(own: &[(&str, PeerCost)], peers: &[(Peer, PeerCost)]) -> Result<()> {
    let cpu = |cost: &PeerCost| cost.cpu.median.as_secs_f64();
    let memory = |cost: &PeerCost| cost.resident as f64;
    let least = |value: &dyn Fn(&PeerCost) -> f64| {
        peers.iter().map(|(_, cost)| value(cost)).fold(f64::INFINITY, f64::min)
    };
    let (_, psstat) = own.first().ok_or("nothing was measured")?;
    if peers.is_empty() {
        return Err("no other exporter is installed".into());
    }
    let ratios = [
        ("CPU time", least(&cpu) / cpu(psstat), CPU),
        ("memory", least(&memory) / memory(psstat), MEMORY),
    ];
    for (name, ratio, target) in ratios {
        println!("{name} of the cheapest relative to psstat: {ratio:.1}, at least {target:.1}");
    }
    if ratios.iter().all(|(_, ratio, target)| ratio >= target) {
        Ok(())
    } else {
        Err("a target was missed".into())
    }
}
