//! What a measurement was made on.

/// Processor, cores and kernel in a line.
pub(crate) fn line() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim())
    });
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let system = rustix::system::uname();
    let kernel = system.release().to_string_lossy();
    // What follows the version is the builder's own.
    let version = kernel.split('-').next().unwrap_or_default();
    format!("{}, {cores} cores, Linux {version}", model.unwrap_or("unknown processor"))
}

/// Processes that wanted a core, on average over the last minute: with more
/// than there are cores, what is measured waits for others.
pub(crate) fn load() -> String {
    let loadavg = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    loadavg.split(' ').next().unwrap_or_default().to_owned()
}
