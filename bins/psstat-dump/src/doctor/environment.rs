//! Limits, the config file, and running collectors.

use std::collections::BTreeMap;
use std::path::Path;

use psstat_matcher::file::{self, LoadError};
use psstat_matcher::ownership::check_ownership;
use psstat_matcher::{Diagnostic, Severity};
use psstat_sampler::{FDS_PER_PROCESS, RESERVED_FDS};
use psstat_support::cmdline::{is_collector, is_tcollector};
use psstat_support::procfs;
use rustix::fs::inotify;
use rustix::process::{Resource, getrlimit};

use super::Check;
use crate::conf::{self, Location};
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

/// Whether the config file exists and is valid.
pub(super) fn conf(location: &Location, owner: &str) -> Vec<Check> {
    const NAME: &str = "conf";
    let path = conf::display(&location.path);
    let file = location.describe();
    let help = format!("run `psstat-dump check {path}`");
    match file::load(&location.path) {
        Ok(loaded) => {
            let (rules, images) = (&loaded.conf.rules.rules(), loaded.conf.rules.images().len());
            let result = format!("{file}: {} rules for {images} images", rules.len());
            let mut checks = vec![if loaded.conf.has_errors() {
                let count = loaded.conf.diagnostics.len() as u64;
                let count = units::count(count, "diagnostic", "diagnostics");
                Check::fail(NAME, format!("{result}, {count}"), help)
            } else {
                Check::ok(NAME, result)
            }];
            // Those of lines are for `check`.
            for diagnostic in loaded
                .conf
                .diagnostics
                .iter()
                .filter(|one| one.line == 0 && one.severity == Severity::Warning)
            {
                let Diagnostic { message, help, .. } = diagnostic;
                checks.push(Check::warn(NAME, format!("{path}: {message}"), help));
            }
            for issue in check_ownership(&loaded.stamp, owner) {
                let help = format!("`chown root {path}; chmod 644 {path}`");
                checks.push(Check::warn("conf_owner", format!("{path} {issue}"), help));
            }
            checks
        }
        Err(LoadError::Unreadable(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            let result = format!("{file} does not exist; the collector has nothing to collect");
            let help = format!(
                "create it, with lines `imagename<white space>regex`; if the file is another one, \
                 {}",
                location.options()
            );
            vec![if location.is_explicit() {
                Check::fail(NAME, result, help)
            } else {
                Check::warn(NAME, result, help)
            }]
        }
        Err(reason) => vec![Check::fail(NAME, format!("{file} {reason}"), help)],
    }
}

/// Whether tcollector and the collector are running.
pub(super) fn collector(command_lines: &BTreeMap<u32, Vec<u8>>) -> Check {
    const NAME: &str = "collector";
    let runs = |is: fn(&[u8]) -> bool| command_lines.values().any(|cmdline| is(cmdline));
    match (runs(is_collector), runs(is_tcollector)) {
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
            collector(&command_lines).result
        };
        let both = ["python3 /opt/tcollector/tcollector.py -H x", "/c/0/psstat-tcollector"];
        assert_eq!(result(&both), "psstat-tcollector and tcollector are running");
        assert_eq!(result(&both[1..]), "psstat-tcollector is running, tcollector is not");
        assert_eq!(result(&both[..1]), "tcollector is running, psstat-tcollector is not");
        assert!(result(&["vi a b c tcollector"]).starts_with("neither"));
    }
}
