//! Name, resident memory in bytes and CPU time in seconds of one process.

use std::fs::File;
use std::io::Read;

use crate::Error;

type Usage = (String, u64, f64);

/// With psstat-proc-parse: the caller reads the file.
pub(crate) fn psstat(pid: i32) -> Result<Usage, Error> {
    let mut buffer = [0; 1024];
    let read = File::open(format!("/proc/{pid}/stat"))?.read(&mut buffer)?;
    let stat = psstat_proc_parse::Stat::parse(&buffer[..read])?;
    let (page_size, ticks_per_second) = (procfs::page_size(), procfs::ticks_per_second());
    let name = String::from_utf8_lossy(stat.comm).into_owned();
    let cpu = (stat.utime + stat.stime).to_duration(ticks_per_second).as_secs_f64();
    Ok((name, stat.rss.to_bytes(page_size), cpu))
}

/// With procfs: the process is a value.
pub(crate) fn procfs(pid: i32) -> Result<Usage, Error> {
    let stat = procfs::process::Process::new(pid)?.stat()?;
    let (page_size, ticks_per_second) = (procfs::page_size(), procfs::ticks_per_second());
    let cpu = (stat.utime + stat.stime) as f64 / ticks_per_second as f64;
    Ok((stat.comm, stat.rss * page_size, cpu))
}

/// With sysinfo: the process is in a `System`, which is refreshed.
pub(crate) fn sysinfo(system: &mut sysinfo::System, pid: i32) -> Result<Usage, Error> {
    use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate};
    let pid = Pid::from_u32(pid.try_into()?);
    let selected = ProcessRefreshKind::nothing().with_memory().with_cpu();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, selected);
    let process = system.process(pid).ok_or("no such process")?;
    let cpu = process.accumulated_cpu_time() as f64 / 1000.0;
    Ok((process.name().to_string_lossy().into_owned(), process.memory(), cpu))
}

/// All of them return the same values.
pub(crate) fn compare(pid: i32) -> Result<(), Error> {
    let mut system = sysinfo::System::new();
    let all = [psstat(pid)?, procfs(pid)?, sysinfo(&mut system, pid)?];
    for (name, memory, cpu) in &all {
        assert_eq!(name, &all[0].0);
        assert!(memory.abs_diff(all[0].1) < 1 << 20, "{all:?}");
        assert!((cpu - all[0].2).abs() < 0.1, "{all:?}");
    }
    Ok(())
}
