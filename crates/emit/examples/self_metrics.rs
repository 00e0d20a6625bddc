//! Descriptors and threads of this program, as points in any of the formats.
//!
//! `cargo run -p psstat-emit --example self_metrics -- openmetrics NAME`

use std::io::Write;
use std::time::SystemTime;

use psstat_emit::{Encoder, Format, Metric, TagValue};

static FDS: Metric = Metric::gauge("self.fds", "Open descriptors.").labels(&["program"]);
static THREADS: Metric = Metric::gauge("self.threads", "Threads.").labels(&["program"]);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let format: Format = args.next().ok_or("usage: self_metrics FORMAT NAME")?.parse()?;
    let program = TagValue::new(args.next().ok_or("usage: self_metrics FORMAT NAME")?)?;
    // tcollector and scrapers add the host; OpenTSDB does not.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    let tags = match format {
        Format::Json => vec![format!("host={}", host.trim()).parse()?],
        _ => Vec::new(),
    };
    let mut encoder = Encoder::new(format, &[&FDS, &THREADS], &tags)?;

    let mut out = Vec::new();
    let mut cycle = encoder.begin(&mut out, SystemTime::now().try_into()?)?;
    for (metric, directory) in [(&FDS, "/proc/self/fd"), (&THREADS, "/proc/self/task")] {
        cycle.point(metric, &[&program], std::fs::read_dir(directory)?.count())?;
    }
    cycle.finish()?;
    std::io::stdout().write_all(&out)?;
    Ok(())
}
