//! `cargo lab namespaces`: the cost of network namespaces.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use psstat_testproc::TempDir;

use crate::child_modes::netns_member::STATES;
use crate::child_modes::{self, ChildGuard};
use crate::collector::Collector;
use crate::reads::Reads;
use crate::run_lock::RunLock;
use crate::stats::Stats;
use crate::stop::Stop;
use crate::table::ms;
use crate::{Result, cargo, host_info};

/// Run the collector with many network namespaces of one process each.
///
/// Prints the median CPU time per cycle, by the state of the sockets in each namespace, and with
/// --baseline that of the collector of a commit at the same time on the same processes. In each
/// cycle all sockets must be counted. Exits 1 if they are not. Needs root.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The number of namespaces
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=5_000))]
    namespaces: u64,
    /// Measured cycles for each state
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    cycles: u64,
    /// Measure the collector of this commit as well
    #[arg(long)]
    baseline: Option<String>,
}

/// The `argv[0]` of the processes.
const NAME: &str = "psstat-netns";
/// Seconds per cycle: enough for the window, and for all tables of all namespaces.
const INTERVAL: u64 = 5;
const FD_BUDGET: usize = 10_000;
/// Cycles that are not measured.
const WARM_UP: u64 = 2;

/// Runs the experiment.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut programs: Vec<(String, PathBuf)> = Vec::new();
    if let Some(commit) = &options.baseline {
        let (program, hash) = cargo::collector_of(commit)?;
        programs.push((hash, program));
    }
    programs.push(("working tree".to_owned(), cargo::collector()?));
    let _lock = RunLock::acquire()?;
    let stop = Stop::on_signals()?;
    let dir = TempDir::new()?;
    let config = crate::write(&dir, "psstat.conf", &format!("netns ^{NAME} \n"))?;
    println!("{}; load {}", host_info::line(), host_info::load());
    println!("{} namespaces, CPU per cycle in ms:\n", options.namespaces);
    let names: Vec<&str> = programs.iter().map(|(name, _)| name.as_str()).collect();
    println!("| in each namespace | {} |", names.join(" | "));
    println!("|{}", "---|".repeat(names.len() + 1));
    for (state, (title, sockets)) in (0..).zip(STATES) {
        let members = (0..options.namespaces).map(|_| start(state)).collect::<Result<Vec<_>>>()?;
        let collectors = programs.iter().map(|(_, program)| {
            Collector::start(program, &config, FD_BUDGET, INTERVAL, &Reads::from_proc())
        });
        let mut collectors = collectors.collect::<Result<Vec<_>>>()?;
        let mut costs = vec![Vec::new(); collectors.len()];
        for number in 0..WARM_UP + options.cycles {
            for (collector, costs) in collectors.iter_mut().zip(&mut costs) {
                let cycle = collector.next(&stop)?;
                let counted = cycle.get("net image=netns type=tcp");
                if number > 0
                    && sockets.is_some_and(|one| counted != Some(one * options.namespaces))
                {
                    return Err(format!("{title}: {counted:?} sockets were counted").into());
                }
                costs.push(cycle.cpu);
            }
        }
        drop(members);
        let cost = |readings: &Vec<Duration>| {
            ms(Stats::between(readings.get(WARM_UP as usize - 1..).unwrap_or_default()).median)
        };
        println!("| {title} | {} |", costs.iter().map(cost).collect::<Vec<_>>().join(" | "));
    }
    Ok(())
}

/// Starts a process in a network namespace of its own.
fn start(state: u64) -> Result<ChildGuard> {
    let mut command = child_modes::command(child_modes::NETNS_MEMBER);
    command.arg0(NAME).arg(state.to_string()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut member = ChildGuard(command.spawn()?);
    let mut ready = String::new();
    BufReader::new(member.0.stdout.take().ok_or("no stdout")?).read_line(&mut ready)?;
    if ready.is_empty() {
        return Err("a network namespace could not be created".into());
    }
    Ok(member)
}
