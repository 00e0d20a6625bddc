//! `cargo xtask accuracy`: pcpu of processes whose load is known, and how
//! long the window is that all processes share.

pub(crate) mod crowd;
mod errors;
mod window;

use std::time::{Duration, Instant};

use clap::Args;
use psstat_sampler::{FastPaths, ImageId, Sampler};
use psstat_testproc::{Config, TestProcess};

use self::errors::Errors;
use crate::stop::Stop;
use crate::{Result, cargo, machine, sys};

/// Hold pcpu against processes whose load is known, and measure the window.
///
/// Processes burn 5, 30 and 75 % of a core, in periods of 2 ms, while the sampler takes windows of
/// 1 s, by the CPU clock and by ticks at once. Each window is held against the load that was asked
/// for and against a reading of the process's clock by this verb beside the sampler's; the mean of
/// all windows against what the process itself says it has used. Then a crowd of sleeping
/// processes, each of which burns a little in the middle of the window, tells how long each one's
/// window was. Exits 1 if a window by the CPU clock is more than 0.2 points from the other reading,
/// or one of the crowd's more than 10 ms from 1 s. Writes nothing. Wants a core to spare: a burner
/// that has to wait for others does not have its load, and a sleep that ends late is a longer
/// window.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Windows with the burners
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    windows: u32,

    /// Processes in the crowd
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    crowd: u32,
}

/// Percent of a core.
const LOADS: [u64; 3] = [5, 30, 75];

/// Measures, and prints the tables.
pub(crate) fn run(options: &Options) -> Result<()> {
    cargo::go_on_in_release()?;
    let stop = Stop::on_signals()?;
    println!("{}; load {}", machine::line(), machine::load());
    let mut missed = burners(options, &stop)?;
    missed.extend(window::run(usize::try_from(options.crowd)?, &stop)?);
    println!();
    for line in &missed {
        println!("missed: {line}");
    }
    if missed.is_empty() { Ok(()) } else { Err("not as accurate as it should be".into()) }
}

/// A sampler whose images are the processes whose command lines begin with
/// these words.
fn sampler(fast: FastPaths) -> Result<Sampler> {
    Ok(Sampler::new(psstat_sampler::Options {
        fast_paths: fast,
        ..psstat_sampler::Options::default()
    })?)
}

fn open(sampler: &mut Sampler, words: &[String]) -> Instant {
    sampler.open(&mut |process, images| {
        let found = words.iter().position(|word| process.args_joined.starts_with(word.as_bytes()));
        images.extend(found.and_then(|at| u32::try_from(at).ok()).map(ImageId));
    })
}

/// One burner, and how far off each way of reading was.
struct Burner {
    actor: TestProcess,
    load: u64,
    /// By the CPU clock, by ticks.
    errors: [Errors; 2],
    /// The load in the window by our own reading.
    truth: f64,
}

/// Gives what is beyond its bound.
fn burners(options: &Options, stop: &Stop) -> Result<Vec<String>> {
    let pid = std::process::id();
    let words = LOADS.map(|load| format!("burner{pid}-{load}"));
    let mut burners = Vec::new();
    for (word, load) in words.iter().zip(LOADS) {
        let actor = TestProcess::spawn(&Config::new(word))?;
        burners.push(Burner { actor, load, errors: Default::default(), truth: 0.0 });
    }
    let clock = sampler(FastPaths::ALL)?;
    if !clock.fast_paths().cpu_clock {
        return Err("CPU clocks cannot be read here".into());
    }
    let ticks = sampler(FastPaths { cpu_clock: false, ..FastPaths::ALL })?;
    let mut samplers = [clock, ticks];
    for burner in &mut burners {
        burner.actor.burn_until_stopped(burner.load as f64, 1)?;
    }
    for _ in 0..options.windows {
        let before = burners.iter().map(|burner| own(&burner.actor)).collect::<Result<Vec<_>>>()?;
        let dues = samplers.each_mut().map(|sampler| open(sampler, &words));
        for (number, (sampler, due)) in samplers.iter_mut().zip(dues).enumerate() {
            stop.sleep(due.saturating_duration_since(Instant::now()))?;
            if number == 0 {
                for (burner, &(cpu, at)) in burners.iter_mut().zip(&before) {
                    let (now, after) = own(&burner.actor)?;
                    burner.truth = percent(now.saturating_sub(cpu), after - at);
                }
            }
            let sample = sampler.close();
            for (burner, image) in burners.iter_mut().zip((0..).map(ImageId)) {
                let pcpu = sample.image(image).pcpu.ok_or("no pcpu")?;
                let errors = burner.errors.get_mut(number).ok_or("no such way")?;
                errors.window(pcpu, burner.load as f64, burner.truth);
            }
        }
    }
    println!("\n{} windows; errors in points, 1 point being 1 % of a core\n", options.windows);
    Errors::print_heading();
    let mut missed = Vec::new();
    for burner in &mut burners {
        let burned = burner.actor.stop_burning()?;
        let account = percent(burned.cpu, burned.wall);
        for (errors, way) in burner.errors.iter().zip(["CPU clock", "ticks"]) {
            errors.print(burner.load, way, account);
        }
        let [by_clock, _] = &burner.errors;
        let (load, largest) = (burner.load, by_clock.largest());
        if largest > errors::BOUND {
            let by = largest - errors::BOUND;
            missed.push(format!(
                "a window at {load} % is off by {largest:.3} points, {by:.3} too much"
            ));
        }
    }
    Ok(missed)
}

/// CPU time of an actor, and when it was that.
fn own(actor: &TestProcess) -> Result<(Duration, Instant)> {
    let at = Instant::now();
    Ok((Duration::from_nanos(sys::cpu_nanoseconds(actor.pid())?), at))
}

fn percent(cpu: Duration, wall: Duration) -> f64 {
    100.0 * cpu.as_secs_f64() / wall.as_secs_f64()
}
