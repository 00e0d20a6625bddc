//! A minimal collector, of all four crates: reads a config file and prints points.
//!
//! `cargo run -p psstat-tcollector --example minimal_collector -- fixtures/everywhere.conf`
//!
//! The real collector also reloads the config file when it changes, continues after any error,
//! reports its own metrics, and drops privileges.

use std::io::Write;
use std::time::SystemTime;

use psstat_emit::metrics::{self, Series};
use psstat_emit::{Encoder, Format, TagValue};
use psstat_matcher::{Conf, MatchCache};
use psstat_proc_parse::Statm;
use psstat_sampler::Sampler;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: minimal_collector CONF")?;

    // matcher: bytes to rules. Invalid lines give diagnostics, and the others are used.
    let conf = Conf::parse(&std::fs::read(&path)?);
    for diagnostic in &conf.diagnostics {
        eprintln!("{}", diagnostic.display(&path));
    }
    let names = conf.rules.images().iter().map(|image| image.as_str().to_owned());
    let names: Vec<String> = names.collect();

    // sampler: processes and their values. The rules are a closure; images are joined by name.
    let mut cache = MatchCache::default();
    let mut sampler = Sampler::builder()
        .classify(move |process, images| {
            let matches = conf.rules.matches(process.args_joined, &mut cache);
            images.extend(matches.map(|found| found.name));
        })
        .build()?;
    sampler.set_images(names.iter().map(String::as_str));
    let sample = sampler.measure();

    // emit: values to lines, printed in one write.
    let mut encoder = Encoder::new(Format::Tcollector, metrics::TABLE, &[])?;
    let mut lines = Vec::new();
    let mut points = encoder.begin(&mut lines, SystemTime::now().try_into()?)?;
    for (name, usage) in sample.images() {
        let image = TagValue::new(name)?;
        points.point(Series::Procs.metric(), &[&image], usage.processes)?;
        // A value that could not be read has no point; it is not 0.
        for (series, value) in [(Series::Threads, usage.threads), (Series::MemResident, usage.rss)]
        {
            if let Some(value) = value {
                points.point(series.metric(), &[&image], value)?;
            }
        }
    }
    points.finish()?;
    std::io::stdout().write_all(&lines)?;

    // proc-parse: a file of the kernel, for values that the sampler does not report.
    let statm = Statm::parse(&std::fs::read("/proc/self/statm")?)?;
    eprintln!(
        "{} processes; {} resident pages of this one",
        sample.health().processes,
        statm.resident
    );
    Ok(())
}
