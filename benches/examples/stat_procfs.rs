//! With procfs: parses a `stat` file (crates/proc-parse/examples/stat.rs).
use procfs::FromRead as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "/proc/self/stat".to_owned());
    let stat = procfs::process::Stat::from_file(&path)?;
    println!("{} {}", stat.pid, stat.comm);
    println!("{} ticks, {} threads", stat.utime + stat.stime, stat.num_threads);
    println!("{} bytes, {} pages resident", stat.vsize, stat.rss);
    Ok(())
}
