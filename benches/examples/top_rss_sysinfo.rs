//! With sysinfo: the five processes with the most resident memory
//! (crates/sampler/examples/top_rss.rs).
use std::ffi::OsStr;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

fn main() {
    let mut system = System::new();
    let selected = ProcessRefreshKind::nothing().with_memory().with_cmd(UpdateKind::Always);
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, selected);
    let mut processes: Vec<_> = system.processes().values().collect();
    processes.sort_by_key(|process| std::cmp::Reverse(process.memory()));
    for process in processes.iter().take(5) {
        let command_line = process.cmd().join(OsStr::new(" "));
        println!("{} {} {}", process.pid(), process.memory(), command_line.display());
    }
}
