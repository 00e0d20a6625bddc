//! With sysinfo: the I/O to storage of all processes with a name each second, without that of
//! processes that exit in between (crates/sampler/examples/io_rate.rs).
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).ok_or("usage: io_rate_sysinfo NAME")?;
    let mut system = System::new();
    let selected = ProcessRefreshKind::nothing().with_disk_usage().without_tasks();
    for second in 0.. {
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, selected);
        let (mut read, mut written) = (0, 0);
        for process in system.processes_by_exact_name(name.as_ref()) {
            let io = process.disk_usage();
            read += io.read_bytes;
            written += io.written_bytes;
        }
        if second > 0 {
            println!("{read} bytes/s read, {written} bytes/s written");
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    Ok(())
}
