//! `cargo lab accuracy`: the CPU share of processes with a known load, and the length of the window
//! of each process.

mod busy;
mod errors;
mod window;

use std::time::{Duration, Instant};

use clap::Args;
use psstat_sampler::{FastPaths, ProcessFields, Sampler, Window};
use psstat_testproc::{Config, TestProcess};

use self::errors::Errors;
use crate::run_lock::RunLock;
use crate::stop::Stop;
use crate::{Result, host_info, sys};

/// Compare measured CPU shares with known loads, and measure the window of each process.
///
/// Processes use 5, 30 and 75 % of a core, in periods of 2 ms, while the sampler takes windows of
/// 1 s, by the CPU clock and by clock ticks at the same time. Each window is compared with the
/// requested load and with a reading of the CPU clock by this program at nearly the same times; the
/// mean of all windows with the total CPU time that the process itself reports. Next, a thread that
/// never sleeps is compared with the elapsed time, less the time that it waited for a CPU: its clock
/// moves in ticks, which a second reading of the same clock cannot show. Then a large
/// population of sleeping processes, each of which runs for a moment in the middle of the window,
/// tells the length of each one's window. Exits 1 if a window by the CPU clock is more than 0.2
/// points from the other reading, if a busy thread that did not wait is more than 0.5 ms off, or a
/// process's window more than 10 ms from 1 s. Needs an otherwise idle core: a process that has to
/// wait does not have its load, and a late wake-up is a longer window.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Windows with the loaded processes
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    windows: u32,

    /// Sleeping processes
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    processes: u32,
}

/// Percent of a core.
const LOADS: [u64; 3] = [5, 30, 75];

/// Measures, and prints the tables.
pub(crate) fn run(options: &Options) -> Result<()> {
    let _lock = RunLock::acquire()?;
    let stop = Stop::on_signals()?;
    println!("{}; load {}", host_info::line(), host_info::load());
    let mut missed = measure_loads(options, &stop)?;
    missed.extend(busy::run(options.windows, &stop)?);
    missed.extend(window::run(usize::try_from(options.processes)?, &stop)?);
    println!();
    for line in &missed {
        println!("missed: {line}");
    }
    if missed.is_empty() { Ok(()) } else { Err("not as accurate as required".into()) }
}

fn sampler(fast: FastPaths) -> Result<Sampler> {
    let builder = Sampler::builder().fast_paths(fast);
    Ok(builder.fields(ProcessFields::NONE).keep_texts(false).build()?)
}

/// Opens a window; the image of a process is the name with which its command line begins.
fn open<'s>(sampler: &'s mut Sampler, names: &[String]) -> Window<'s> {
    sampler.open_with(|process, images| {
        let found = names.iter().find(|name| process.args_joined.starts_with(name.as_bytes()));
        images.extend(found.map(String::as_str));
    })
}

/// A process with a load, and the errors of each way of reading.
struct Loaded {
    process: TestProcess,
    load: u64,
    /// By the CPU clock, by ticks.
    errors: [Errors; 2],
    /// The load in the window by this program's reading.
    reading: f64,
}

/// Returns what is out of bounds.
fn measure_loads(options: &Options, stop: &Stop) -> Result<Vec<String>> {
    let pid = std::process::id();
    let names = LOADS.map(|load| format!("load{pid}-{load}"));
    let mut loaded = Vec::new();
    for (name, load) in names.iter().zip(LOADS) {
        let process = TestProcess::spawn(&Config::new(name))?;
        loaded.push(Loaded { process, load, errors: Default::default(), reading: 0.0 });
    }
    let clock = sampler(FastPaths::ALL)?;
    if !clock.fast_paths().cpu_clock {
        return Err("CPU clocks cannot be read here".into());
    }
    let ticks = sampler(FastPaths { cpu_clock: false, ..FastPaths::ALL })?;
    let mut samplers = [clock, ticks];
    for one in &mut loaded {
        one.process.burn_until_stopped(one.load as f64, 1)?;
    }
    for _ in 0..options.windows {
        let before = loaded.iter().map(|one| cpu_time(&one.process)).collect::<Result<Vec<_>>>()?;
        let windows = samplers.each_mut().map(|sampler| open(sampler, &names));
        for (number, window) in windows.into_iter().enumerate() {
            stop.sleep(window.deadline().saturating_duration_since(Instant::now()))?;
            if number == 0 {
                for (one, &(cpu, at)) in loaded.iter_mut().zip(&before) {
                    let (now, after) = cpu_time(&one.process)?;
                    one.reading = percent(now.saturating_sub(cpu), after - at);
                }
            }
            let sample = window.close();
            for (one, name) in loaded.iter_mut().zip(&names) {
                let usage = sample.image(name).ok_or("no image")?;
                let share = usage.cpu_percent.ok_or("no CPU share")?;
                let errors = one.errors.get_mut(number).ok_or("no such reading")?;
                errors.add(share, one.load as f64, one.reading);
            }
        }
    }
    println!("\n{} windows; errors in points, 1 point is 1 % of a core\n", options.windows);
    Errors::print_heading();
    let mut missed = Vec::new();
    for one in &mut loaded {
        let burned = one.process.stop_burning()?;
        let total = percent(burned.cpu, burned.wall);
        for (errors, method) in one.errors.iter().zip(["CPU clock", "ticks"]) {
            errors.print(one.load, method, total);
        }
        let (load, largest) = (one.load, one.errors[0].largest());
        if largest > errors::BOUND {
            let by = largest - errors::BOUND;
            missed.push(format!(
                "a window at {load} % is off by {largest:.3} points, {by:.3} too much"
            ));
        }
    }
    Ok(missed)
}

/// The CPU time of a process, and when it was read.
fn cpu_time(process: &TestProcess) -> Result<(Duration, Instant)> {
    let at = Instant::now();
    Ok((Duration::from_nanos(sys::cpu_nanoseconds(process.pid())?), at))
}

fn percent(cpu: Duration, wall: Duration) -> f64 {
    100.0 * cpu.as_secs_f64() / wall.as_secs_f64()
}
