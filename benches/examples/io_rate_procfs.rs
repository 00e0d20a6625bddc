//! With procfs: the I/O of all processes with a name each second, without that of processes that
//! exit in between (crates/sampler/examples/io_rate.rs).
use std::collections::HashMap;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).ok_or("usage: io_rate_procfs NAME")?;
    let mut last = HashMap::new();
    for second in 0.. {
        let (mut now, mut read, mut written) = (HashMap::new(), 0, 0);
        for process in procfs::process::all_processes()?.flatten() {
            // It can exit meanwhile.
            let (Ok(stat), Ok(io)) = (process.stat(), process.io()) else { continue };
            if stat.comm == name {
                // A pid can be that of another process by now.
                let key = (stat.pid, stat.starttime);
                let (rchar, wchar) = last.get(&key).copied().unwrap_or((0, 0));
                read += io.rchar - rchar;
                written += io.wchar - wchar;
                now.insert(key, (io.rchar, io.wchar));
            }
        }
        if second > 0 {
            println!("{read} bytes/s read, {written} bytes/s written");
        }
        last = now;
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    Ok(())
}
