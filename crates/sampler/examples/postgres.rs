//! Prints CPU, memory and I/O of all processes named postgres each second, with their command lines.
use psstat_sampler::Sampler;

fn main() -> Result<(), psstat_sampler::Error> {
    let mut sampler = Sampler::builder().image("db", |p| p.name() == b"postgres").build()?;
    for sample in sampler.every(std::time::Duration::from_secs(1)) {
        for (name, all) in sample.images() {
            println!("{name}: {:?} %, {:?} bytes, {:?}", all.cpu_percent, all.rss, all.io);
        }
        for p in sample.processes() {
            let (one, line) = (&p.usage, p.command_line());
            println!("{} {:?} % {:?} {:?} {line}", p.pid, one.cpu_percent, one.rss, one.io);
        }
    }
    Ok(())
}
