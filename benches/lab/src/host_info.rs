//! The machine of a measurement.

/// Processor, cores and kernel in a line.
pub(crate) fn line() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim())
    });
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    // The version without the suffix of the distribution.
    let version = release.split('-').next().unwrap_or_default();
    format!("{}, {cores} cores, Linux {version}", model.unwrap_or("unknown processor"))
}

/// The load average of the last minute. With more than the number of cores, measured processes
/// wait for others.
pub(crate) fn load() -> String {
    let loadavg = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    loadavg.split(' ').next().unwrap_or_default().to_owned()
}
