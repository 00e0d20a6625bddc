//! Prints the number of processes each second, in an async program with a loop of its own. The steps
//! of a cycle take milliseconds, so the task has a thread of its own.
use std::time::Duration;

use psstat_sampler::Sampler;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sampler = Sampler::builder().image("all", |_| true).build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(measure(sampler));
    Ok(())
}

async fn measure(mut sampler: Sampler) {
    let mut interval = tokio::time::interval(Duration::from_secs(2));
    loop {
        interval.tick().await;
        let window = sampler.open();
        tokio::time::sleep_until(window.deadline().into()).await;
        let sample = window.close();
        let all = sample.image("all").map(|usage| (usage.processes, usage.cpu_percent));
        println!("{all:?}");
    }
}
