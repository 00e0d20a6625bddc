//! A program's own descriptors and threads, as points in any of the formats.
//!
//! `cargo run -p psstat-emit --example own -- openmetrics NAME`

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use psstat_emit::{Encoder, Format, ImageName, Series, Timestamp, Value};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let format: Format = args.next().ok_or("usage: own FORMAT NAME")?.parse()?;
    let image = ImageName::new(&args.next().ok_or("usage: own FORMAT NAME")?)?;
    // A point in JSON needs a tag; tcollector and a scraper add the host's name.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    let tags = match format {
        Format::Json => vec![format!("host={}", host.trim()).parse()?],
        _ => Vec::new(),
    };
    let mut encoder = Encoder::new(format, &tags)?;

    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut out = Vec::new();
    let mut cycle = encoder.begin(&mut out, Timestamp::from_unix(seconds.try_into()?)?)?;
    for (series, folder) in
        [(Series::FdOpen, "/proc/self/fd"), (Series::Threads, "/proc/self/task")]
    {
        let count = std::fs::read_dir(folder)?.count();
        cycle.point(series, &image, Value::from_u64(count as u64))?;
    }
    cycle.finish();
    std::io::stdout().write_all(&out)?;
    Ok(())
}
