//! With procfs: the five processes with the most resident memory
//! (crates/sampler/examples/top_rss.rs).
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut processes = Vec::new();
    for process in procfs::process::all_processes()?.flatten() {
        // It can exit meanwhile.
        if let (Ok(statm), Ok(args)) = (process.statm(), process.cmdline()) {
            processes.push((statm.resident * procfs::page_size(), process.pid, args.join(" ")));
        }
    }
    processes.sort_unstable_by(|a, b| b.cmp(a));
    for (rss, pid, command_line) in processes.iter().take(5) {
        println!("{pid} {rss} {command_line}");
    }
    Ok(())
}
