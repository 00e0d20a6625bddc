//! Parses a `stat` file and prints the name, CPU time and memory of the process.
//!
//! `cargo run --example stat -- /proc/self/stat`, or a file copied from another
//! machine.

use psstat_proc_parse::Stat;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "/proc/self/stat".to_owned());
    let text = std::fs::read(&path)?;
    let stat = Stat::parse(&text).map_err(|error| format!("{path}: {error}"))?;
    println!("{} {}", stat.pid, stat.comm.escape_ascii());
    println!("{}, {} threads", stat.utime + stat.stime, stat.num_threads);
    println!("{} bytes, {} resident", stat.vsize, stat.rss);
    Ok(())
}
