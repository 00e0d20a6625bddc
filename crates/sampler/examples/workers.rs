//! Prints the CPU, memory and I/O of worker processes every second. WORD is a part of their command
//! line.
//!
//! `cargo run -p psstat-sampler --example workers -- WORD [SECONDS]`
use std::time::{Duration, Instant};

use psstat_sampler::{ImageId, Options, Sampler};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let word = args.next().ok_or("missing argument: a part of the workers' command line")?;
    let seconds = args.next().map_or(Ok(u32::MAX), |seconds| seconds.parse())?;
    let (self_pid, workers) = (std::process::id(), ImageId(0));
    let options = Options { window: Duration::from_millis(900), ..Options::default() };
    let mut sampler = Sampler::new(options)?;
    let (mut before, mut next) = (None, Instant::now());
    for _ in 0..=seconds {
        let due = sampler.open(&mut |process, images| {
            let matches =
                process.args_joined.windows(word.len()).any(|part| part == word.as_bytes());
            if matches && process.pid != self_pid {
                images.push(workers);
            }
        });
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let now = sampler.close().image(workers);
        if let (Some(io), Some(before)) = (now.io, before.replace(now.io).flatten()) {
            let io = io.saturating_sub(before);
            let cpu = now.cpu_percent.unwrap_or(f64::NAN);
            let rss = now.rss.map_or(f64::NAN, |bytes| bytes as f64 / 1024.0);
            println!(
                "{} processes: {cpu:.1} % CPU, {rss:.0} KiB resident, {} B read, {} B written",
                now.processes, io.rchar, io.wchar
            );
        }
        next += Duration::from_secs(1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
