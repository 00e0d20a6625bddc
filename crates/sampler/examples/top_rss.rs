//! Prints the five processes with the most resident memory.
use psstat_sampler::Sampler;

fn main() -> Result<(), psstat_sampler::Error> {
    let mut sampler = Sampler::builder().image("all", |_| true).build()?;
    let sample = sampler.measure();
    let mut processes: Vec<_> = sample.processes().collect();
    processes.sort_by_key(|process| std::cmp::Reverse(process.usage.rss));
    for process in processes.iter().take(5) {
        let rss = process.usage.rss.unwrap_or_default();
        println!("{} {rss} {}", process.pid, process.command_line());
    }
    Ok(())
}
