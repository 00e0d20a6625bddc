//! The heart of the collector, of all four crates: a conf in, points out.
//!
//! `cargo run -p psstat-tcollector --example heart -- fixtures/everywhere.conf`
//!
//! What the collector adds: it reads the conf again when it changes, keeps going
//! whatever happens, tells of its own health, and gives up rights.

use std::io::Write;
use std::thread::sleep;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use psstat_emit::{Encoder, Format, ImageName, Series, Timestamp, Value};
use psstat_matcher::Conf;
use psstat_proc_parse::Statm;
use psstat_sampler::{ImageId, Options, Sampler};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: heart CONF")?;

    // matcher: bytes to rules. A bad line is told of, and the others count.
    let conf = Conf::parse(&std::fs::read(&path)?);
    for diagnostic in &conf.diagnostics {
        eprintln!("{}", diagnostic.display(&path));
    }
    let mut images = Vec::new();
    for (name, number) in conf.rules.images().iter().zip(0..) {
        images.push((ImageName::new(name.as_str())?, ImageId(number)));
    }
    images.sort_unstable();

    // sampler: which processes, and what they do. The rules are a closure to it.
    let mut sampler = Sampler::new(Options::default())?;
    let due = sampler.open(&mut |process, found| {
        conf.rules.classify(process.args_joined, &mut |image| found.push(ImageId(image as u32)));
    });
    sleep(due.saturating_duration_since(Instant::now()));
    let sample = sampler.close();

    // emit: numbers to lines, which go out in one write.
    let mut encoder = Encoder::new(Format::Tcollector, &[])?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut lines = Vec::new();
    let mut points = encoder.begin(&mut lines, Timestamp::from_unix(now.try_into()?)?)?;
    for series in [Series::Threads, Series::MemResident, Series::Procs] {
        for (image, number) in &images {
            let numbers = sample.image(*number);
            let value = match series {
                Series::Threads => numbers.threads,
                Series::MemResident => numbers.rss,
                _ => Some(numbers.procs),
            };
            // What could not be read has no point, never a 0.
            if let Some(value) = value {
                points.point(series, image, Value::from_u64(value))?;
            }
        }
    }
    points.finish();
    std::io::stdout().write_all(&lines)?;

    // proc-parse: a file of the kernel's, for what the sampler does not tell.
    let own = Statm::parse(&std::fs::read("/proc/self/statm")?)?;
    eprintln!("{} processes seen; {} pages resident here", sample.health.processes, own.resident);
    Ok(())
}
