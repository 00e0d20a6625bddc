//! Limits, the config file, and running collectors.

use std::collections::BTreeMap;
use std::path::Path;

use psstat_matcher::ownership::OwnerPolicy;
use psstat_matcher::{Diagnostic, Severity};
use psstat_sampler::{FDS_PER_PROCESS, RESERVED_FDS};
use psstat_support::cmdline::{is_collector, is_tcollector};
use psstat_support::procfs;
use rustix::fs::inotify;
use rustix::process::{Resource, getrlimit};

use super::Check;
use crate::blocking;
use crate::conf::{self, Location, Unreadable};
use crate::table::units;

/// Whether the files of all processes can be kept open.
pub(super) fn descriptors(proc: &Path) -> Check {
    const NAME: &str = "descriptors";
    let processes = procfs::pids(proc).map_or(0, Iterator::count) as u64;
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    descriptors_of(NAME, processes, soft, hard)
}

fn descriptors_of(name: &'static str, processes: u64, soft: u64, hard: u64) -> Check {
    let needed =
        processes.saturating_mul(FDS_PER_PROCESS as u64).saturating_add(RESERVED_FDS as u64);
    if needed <= soft {
        let result = format!("{soft} allowed, enough to keep files of {processes} processes open");
        return Check::ok(name, result);
    }
    let result = format!(
        "{soft} allowed; keeping the files of all {processes} processes open needs {needed}, \
         so some are reopened each cycle, which costs CPU"
    );
    let help = if needed <= hard {
        format!("`ulimit -n {needed}`")
    } else {
        format!("`ulimit -Hn {needed}` as root, or LimitNOFILE={needed} in the service")
    };
    Check::warn(name, result, help)
}

/// Whether the config file can be watched.
pub(super) fn inotify() -> Check {
    const NAME: &str = "inotify";
    let value = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}"));
        text.map_or("?".to_owned(), |text| text.trim().to_owned())
    };
    let limits = format!(
        "limits of this user: {} instances, {} watches",
        value("max_user_instances"),
        value("max_user_watches")
    );
    let result = inotify::init(inotify::CreateFlags::CLOEXEC).and_then(|inotify| {
        inotify::add_watch(&inotify, "/", inotify::WatchFlags::CREATE).map(|_| ())
    });
    match result {
        Ok(()) => Check::ok(NAME, format!("works; {limits}")),
        Err(error) => Check::warn(
            NAME,
            format!("{error}: changes of the config file are detected by polling; {limits}"),
            "`sysctl fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=65536`",
        ),
    }
}

/// Whether the config files exist and are valid.
pub(super) fn conf(location: &Location, owner: &str) -> Vec<Check> {
    const NAME: &str = "conf";
    let paths: Vec<String> = location.paths.iter().map(|path| conf::display(path)).collect();
    let described = location.describe();
    let help = format!("run `psstat-dump check {}`", paths.join(" "));
    let loaded = match location.load(Some(&OwnerPolicy::new(owner, false))) {
        Ok(loaded) => loaded,
        Err(unreadable) if unreadable.is_missing() => {
            let result =
                format!("{described} does not exist; the collector has nothing to collect");
            let help = format!(
                "create it, with lines `imagename<white space>regex`; if the file is another one, \
                 {}",
                location.options()
            );
            return vec![if location.is_explicit() {
                Check::fail(NAME, result, help)
            } else {
                Check::warn(NAME, result, help)
            }];
        }
        Err(Unreadable { error, .. }) => {
            return vec![Check::fail(NAME, format!("{described} {error}"), help)];
        }
    };
    let mut checks = Vec::new();
    let unusable = loaded.files.iter().filter(|file| !file.is_current());
    for (file, error) in unusable.filter_map(|file| Some((file, file.error.as_ref()?))) {
        // A single path is described with its origin.
        let is_single = location.paths.len() == 1 && !file.is_entry;
        let path = if is_single { described.clone() } else { conf::display(&file.path) };
        checks.push(Check::fail(NAME, format!("{path} {error}"), &help));
    }
    let (rules, images) = (loaded.conf.rules.rules().len(), loaded.conf.rules.images().len());
    if rules > 0 {
        let from = match loaded.files.iter().filter(|file| file.rules > 0).count() {
            _ if loaded.files.len() == 1 => String::new(),
            count => format!(" from {}", units::count(count as u64, "file", "files")),
        };
        let rules = units::count(rules as u64, "rule", "rules");
        let images = units::count(images as u64, "image", "images");
        let result = format!("{described}: {rules} for {images}{from}");
        let diagnostics = loaded.conf.diagnostics.iter().filter(|d| d.severity != Severity::Note);
        let check = if loaded.conf.has_errors() {
            let count = units::count(diagnostics.count() as u64, "diagnostic", "diagnostics");
            Check::fail(NAME, format!("{result}, {count}"), help)
        } else {
            Check::ok(NAME, result)
        };
        checks.insert(0, check);
    }
    // Those of lines are for `check`.
    for diagnostic in loaded
        .conf
        .diagnostics
        .iter()
        .filter(|one| one.line.is_none() && one.severity == Severity::Warning)
    {
        let Diagnostic { message, help, path, .. } = diagnostic;
        let path = path.as_deref().map(conf::display).unwrap_or_default();
        checks.push(Check::warn(NAME, format!("{path}: {message}"), help));
    }
    for file in &loaded.files {
        let path = conf::display(&file.path);
        let mode = if file.is_directory { "755" } else { "644" };
        for issue in &file.ownership {
            let help = format!("`chown root {path}; chmod {mode} {path}`");
            checks.push(Check::warn("conf_owner", format!("{path} {issue}"), help));
        }
    }
    checks
}

/// Whether tcollector and one collector are running.
pub(super) fn collector(proc: &Path, command_lines: &BTreeMap<u32, Vec<u8>>) -> Check {
    collector_of(command_lines, |pid| prints_points(proc, pid))
}

/// Whether the stdout of a collector is a pipe, as under tcollector. One that serves its points, or
/// replaces a file, has another one. True if it cannot be read.
fn prints_points(proc: &Path, pid: u32) -> bool {
    let path = proc.join(pid.to_string()).join("fd/1");
    match blocking::read(pid, "fd/1", move || std::fs::read_link(path)) {
        Ok(Ok(target)) => target.as_os_str().as_encoded_bytes().starts_with(b"pipe:"),
        _ => true,
    }
}

fn collector_of(
    command_lines: &BTreeMap<u32, Vec<u8>>,
    prints_points: impl Fn(u32) -> bool,
) -> Check {
    const NAME: &str = "collector";
    let collectors = command_lines.iter().filter(|(_, cmdline)| is_collector(cmdline));
    let collectors: Vec<u32> = collectors.map(|(pid, _)| *pid).collect();
    let printing: Vec<String> = collectors
        .iter()
        .filter(|pid| collectors.len() > 1 && prints_points(**pid))
        .map(u32::to_string)
        .collect();
    if printing.len() > 1 {
        let pids = printing.join(", ");
        return Check::warn(
            NAME,
            format!("{} collectors print points: processes {pids}", printing.len()),
            "stop all but one, unless their tags differ (`--tag`, another host name): OpenTSDB \
             refuses every query of an hour in which a series has two values for the same second",
        );
    }
    let runs_tcollector = command_lines.values().any(|cmdline| is_tcollector(cmdline));
    match (!collectors.is_empty(), runs_tcollector) {
        (true, true) => Check::ok(NAME, "psstat-tcollector and tcollector are running"),
        (true, false) => Check::ok(NAME, "psstat-tcollector is running, tcollector is not"),
        (false, true) => Check::warn(
            NAME,
            "tcollector is running, psstat-tcollector is not",
            "install psstat-tcollector in tcollector's directory collectors/0",
        ),
        (false, false) => Check::warn(
            NAME,
            "neither tcollector nor psstat-tcollector is running",
            "psstat-dump needs neither",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn descriptor_limits() {
        assert_eq!(descriptors_of("d", 100, 464, 500).status, Status::Ok);
        let help = |soft, hard| descriptors_of("d", 101, soft, hard).help.unwrap();
        assert_eq!(help(467, 468), "`ulimit -n 468`");
        assert!(help(467, 467).starts_with("`ulimit -Hn 468`"));
    }

    #[test]
    fn finds_running_programs() {
        let result = |lines: &[&str]| {
            let command_lines =
                (1..).zip(lines.iter().map(|line| line.as_bytes().to_vec())).collect();
            collector_of(&command_lines, |_| true).result
        };
        let both = ["python3 /opt/tcollector/tcollector.py -H x", "/c/0/psstat-tcollector"];
        assert_eq!(result(&both), "psstat-tcollector and tcollector are running");
        assert_eq!(result(&both[1..]), "psstat-tcollector is running, tcollector is not");
        assert_eq!(result(&both[..1]), "tcollector is running, psstat-tcollector is not");
        assert!(result(&["vi a b c tcollector"]).starts_with("neither"));
    }

    #[test]
    fn second_collector_is_found() {
        let command_lines = (5..8).map(|pid| (pid, b"/c/0/psstat-tcollector".to_vec())).collect();
        let check = collector_of(&command_lines, |_| true);
        assert_eq!(check.result, "3 collectors print points: processes 5, 6, 7");
        assert_eq!(check.status, Status::Warn);
        assert!(check.help.unwrap().contains("--tag"));
        let check = collector_of(&command_lines, |pid| pid != 6);
        assert_eq!(check.result, "2 collectors print points: processes 5, 7");
        // The others are exporters.
        assert_eq!(collector_of(&command_lines, |pid| pid == 6).status, Status::Ok);
    }
}
