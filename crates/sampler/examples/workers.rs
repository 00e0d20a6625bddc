//! Prints the CPU, memory and I/O of worker processes every second. WORD is a part of their command
//! line.
//!
//! `cargo run -p psstat-sampler --example workers -- WORD [SECONDS]`
use std::time::Duration;

use psstat_sampler::Sampler;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let word = args.next().ok_or("missing argument: a part of the workers' command line")?;
    let seconds = args.next().map_or(Ok(usize::MAX), |seconds| seconds.parse())?;
    let self_pid = std::process::id();
    let mut sampler = Sampler::builder()
        .image("workers", move |process| {
            let mut parts = process.args_joined.windows(word.len());
            process.pid != self_pid && parts.any(|part| part == word.as_bytes())
        })
        .build()?;
    let mut before = None;
    for sample in sampler.every(Duration::from_secs(1)).take(seconds.saturating_add(1)) {
        let now = sample.image("workers").ok_or("no such image")?;
        if let (Some(io), Some(before)) = (now.io, before.replace(now.io).flatten()) {
            let io = io.saturating_sub(before);
            let cpu = now.cpu_percent.unwrap_or(f64::NAN);
            let rss = now.rss.map_or(f64::NAN, |bytes| bytes as f64 / 1024.0);
            println!(
                "{} processes: {cpu:.1} % CPU, {rss:.0} KiB resident, {} B read, {} B written",
                now.processes, io.rchar, io.wchar
            );
        }
    }
    Ok(())
}
