//! A thread that never sleeps, compared with the elapsed time.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use psstat_sampler::FastPaths;

use super::{open, sampler};
use crate::Result;
use crate::child_modes::ChildGuard;
use crate::stop::Stop;

/// The maximum error in ms: 0.05 points of a second.
const BOUND: f64 = 0.5;
/// Short, because the kernel takes the CPU from a real-time thread for 50 ms of each second in which
/// others wait for it.
const WINDOW: Duration = Duration::from_millis(300);

/// Measures windows over a thread that makes no system call, which would bring its CPU clock
/// up to date; returns what is out of bounds.
pub(crate) fn run(windows: u32, stop: &Stop) -> Result<Vec<String>> {
    let names = [format!("busy{}", std::process::id())];
    let child = busy(&names[0])?;
    let pid = child.0.id();
    stop.sleep(Duration::from_millis(200))?;
    let mut sampler = sampler(FastPaths::ALL)?;
    sampler.set_window(WINDOW)?;
    let tick = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse);
    println!(
        "\na thread that never sleeps, to the elapsed time less its waits for a CPU; ticks of {} ms\n",
        tick.tv_nsec / 1_000_000
    );
    println!("  length ms     share   waited ms  error ms");
    let (mut missed, mut undisturbed) = (Vec::new(), 0);
    for number in 0..=windows {
        let before = waited(pid)?;
        let window = open(&mut sampler, &names);
        stop.sleep(window.deadline().saturating_duration_since(Instant::now()))?;
        let sample = window.close();
        let share = sample.image(&names[0]).and_then(|usage| usage.cpu_percent);
        let share = share.ok_or("no CPU share")?;
        let waited = waited(pid)?.saturating_sub(before).as_secs_f64() * 1e3;
        let length = sample.processes().next().and_then(|process| process.window);
        let length = length.ok_or("no window")?.as_secs_f64() * 1e3;
        // The first window classifies the processes.
        if number == 0 {
            continue;
        }
        let error = length * share / 100.0 - (length - waited);
        println!("{length:>11.3} {share:>9.4} {waited:>11.3} {error:>+9.4}");
        // A wait may lie partly outside the window.
        if waited < 0.1 {
            undisturbed += 1;
            if error.abs() > BOUND {
                missed.push(format!("a window of a busy thread is off by {error:+.4} ms"));
            }
        }
    }
    println!("\n{undisturbed} windows without a wait");
    Ok(missed)
}

/// With a real-time priority if that is permitted.
fn busy(name: &str) -> Result<ChildGuard> {
    let mut command = Command::new("sh");
    command
        .arg0(name)
        .args(["-c", "chrt -f -p 1 $$ >&2; while :; do :; done"])
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    Ok(ChildGuard(command.spawn()?))
}

/// How long a process has waited for a CPU, read while it runs: a wait is counted when it ends.
fn waited(pid: u32) -> Result<Duration> {
    let read = || -> Result<[u64; 2]> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
        let mut numbers = text.split_ascii_whitespace().map(str::parse);
        let (run, waited) = numbers.next().zip(numbers.next()).ok_or("no schedstat")?;
        Ok([run?, waited?])
    };
    let [before, _] = read()?;
    loop {
        let [run, waited] = read()?;
        if run != before {
            return Ok(Duration::from_nanos(waited));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
