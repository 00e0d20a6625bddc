//! Descriptors and threads of this program, as points in any of the formats.
//!
//! `cargo run -p psstat-emit --example self_metrics -- openmetrics NAME`

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use psstat_emit::{Encoder, Format, ImageName, Series, Timestamp, Value};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let format: Format = args.next().ok_or("usage: self_metrics FORMAT NAME")?.parse()?;
    let image = ImageName::new(&args.next().ok_or("usage: self_metrics FORMAT NAME")?)?;
    // A JSON point needs a tag; tcollector and scrapers add the host.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    let tags = match format {
        Format::Json => vec![format!("host={}", host.trim()).parse()?],
        _ => Vec::new(),
    };
    let mut encoder = Encoder::new(format, &tags)?;

    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut out = Vec::new();
    let mut cycle = encoder.begin(&mut out, Timestamp::from_unix(seconds.try_into()?)?)?;
    for (series, directory) in
        [(Series::FdOpen, "/proc/self/fd"), (Series::Threads, "/proc/self/task")]
    {
        let count = std::fs::read_dir(directory)?.count();
        cycle.point(series, &image, Value::from_u64(count as u64))?;
    }
    cycle.finish();
    std::io::stdout().write_all(&out)?;
    Ok(())
}
