//! What do my workers cost, every second? Give a part of their command line.
//!
//! `cargo run -p psstat-sampler --example workers -- WORD [SECONDS]`

use std::time::{Duration, Instant};

use psstat_sampler::{ImageId, Options, Sampler};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let word = args.next().ok_or("which workers? give a part of their command line")?;
    let seconds = args.next().map_or(Ok(u32::MAX), |seconds| seconds.parse())?;
    let own = std::process::id();
    let workers = ImageId(0);
    let options = Options { window: Duration::from_millis(900), ..Options::default() };
    let mut sampler = Sampler::new(options)?;
    let mut before = None;
    let mut next = Instant::now();
    for _ in 0..=seconds {
        let due = sampler.open(&mut |process, images| {
            let hit = process.text.windows(word.len()).any(|part| part == word.as_bytes());
            if hit && process.pid != own {
                images.push(workers);
            }
        });
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let now = sampler.close().image(workers);
        if let (Some(io), Some(before)) = (now.io, before.replace(now.io).flatten()) {
            let done = io.minus(before);
            println!(
                "{} processes: {:.1} % CPU, {} KiB resident, {} B read, {} B written",
                now.procs,
                now.pcpu.unwrap_or(f64::NAN),
                now.rss.unwrap_or(0) / 1024,
                done.rchar,
                done.wchar
            );
        }
        next += Duration::from_secs(1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
