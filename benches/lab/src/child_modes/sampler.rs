//! A process that runs the sampler without matcher and encoder: the cost of reading alone.

use std::io::Write as _;
use std::time::{Duration, Instant};

use psstat_sampler::{ProcessFields, Sampler};

use crate::Result;
use crate::population::image_of;

/// Runs the mode: `[milliseconds of the window, milliseconds per cycle]`. Writes the points that
/// the comparison checks, as the collector would.
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[window, interval] = fields else { return Err("wrong number of fields".into()) };
    let mut sampler = Sampler::builder()
        .window(Duration::from_millis(window))
        .fields(ProcessFields::NONE)
        .keep_texts(false)
        .build()?;
    let mut out = Vec::new();
    let mut next = Instant::now();
    loop {
        let window = sampler.open_with(|process, images| {
            images.extend(image_of(process.args_joined));
        });
        std::thread::sleep(window.deadline().saturating_duration_since(Instant::now()));
        let sample = window.close();
        out.clear();
        for (_, image) in sample.images() {
            let counts = [
                ("procs", "", Some(image.processes)),
                ("fd", "", image.fds),
                ("net", "type=tcp", image.tcp),
                ("net", "type=udp", image.udp),
                ("net", "type=unix", image.unix),
            ];
            for (metric, kind, count) in counts {
                if let Some(count) = count {
                    writeln!(out, "proc.stat.ps.{metric} 0 {count} {kind}")?;
                }
            }
        }
        writeln!(out, "{}0 0", crate::collector::CYCLE_END[0])?;
        std::io::stdout().write_all(&out)?;
        std::io::stdout().flush()?;
        next += Duration::from_millis(interval);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}
