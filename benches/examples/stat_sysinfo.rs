//! With sysinfo: the same values of a live process, without threads
//! (crates/proc-parse/examples/stat.rs).
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pid = std::env::args().nth(1).map_or(Ok(std::process::id()), |pid| pid.parse())?;
    let mut system = System::new();
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[Pid::from_u32(pid)]),
        true,
        ProcessRefreshKind::nothing().with_memory().with_cpu(),
    );
    let process = system.process(Pid::from_u32(pid)).ok_or("no such process")?;
    println!("{pid} {}", process.name().display());
    println!("{} ms", process.accumulated_cpu_time());
    println!("{} bytes, {} resident", process.virtual_memory(), process.memory());
    Ok(())
}
