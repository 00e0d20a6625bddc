//! Prints the I/O of all processes with a name each second: `io_rate NAME`.
use psstat_sampler::Sampler;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).ok_or("usage: io_rate NAME")?;
    let mut sampler =
        Sampler::builder().image("group", move |p| p.name() == name.as_bytes()).build()?;
    let mut last = None;
    for sample in sampler.every(std::time::Duration::from_secs(1)) {
        let now = sample.image("group").and_then(|group| group.io);
        if let (Some(now), Some(last)) = (now, last) {
            let io = now.saturating_sub(last);
            println!("{} bytes/s read, {} bytes/s written", io.rchar, io.wchar);
        }
        last = now;
    }
    Ok(())
}
