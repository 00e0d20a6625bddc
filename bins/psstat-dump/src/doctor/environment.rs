//! Limits, the conf, and who runs here.

use std::collections::BTreeMap;
use std::path::Path;

use psstat_matcher::file::{self, LoadError};
use psstat_matcher::ownership::check_ownership;
use psstat_support::cmdline::{is_collector, is_tcollector};
use psstat_support::procfs;
use rustix::fs::inotify;
use rustix::process::{Resource, getrlimit};

use super::Check;
use crate::conf::{self, Location};

/// How many descriptors are kept of a process, so that reading is cheap.
const FDS_PER_PROCESS: u64 = 4;
/// Descriptors that are left for everything else.
const RESERVE: u64 = 64;

/// Whether all processes' files can be kept open.
pub(super) fn descriptors(proc: &Path) -> Check {
    const NAME: &str = "descriptors";
    let processes = procfs::pids(proc).map_or(0, Iterator::count) as u64;
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    descriptors_of(NAME, processes, soft, hard)
}

fn descriptors_of(name: &'static str, processes: u64, soft: u64, hard: u64) -> Check {
    let needed = processes.saturating_mul(FDS_PER_PROCESS).saturating_add(RESERVE);
    if needed <= soft {
        let found = format!("{soft} allowed, enough to keep the files of {processes} processes");
        return Check::ok(name, found);
    }
    let found = format!(
        "{soft} allowed; keeping the files of all {processes} processes takes {needed}, \
         so some are opened anew each time, which costs more CPU"
    );
    let remedy = if needed <= hard {
        format!("`ulimit -n {needed}`")
    } else {
        format!("`ulimit -Hn {needed}` as root, or LimitNOFILE={needed} in the service")
    };
    Check::note(name, found, remedy)
}

/// Whether the conf can be watched.
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
    let tried = inotify::init(inotify::CreateFlags::CLOEXEC).and_then(|inotify| {
        inotify::add_watch(&inotify, "/", inotify::WatchFlags::CREATE).map(|_| ())
    });
    match tried {
        Ok(()) => Check::ok(NAME, format!("works; {limits}")),
        Err(error) => Check::note(
            NAME,
            format!("{error}: a changed conf is seen after seconds; {limits}"),
            "`sysctl fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=65536`",
        ),
    }
}

/// Whether there is a conf, and how it is.
pub(super) fn conf(location: &Location, owner: &str) -> Vec<Check> {
    const NAME: &str = "conf";
    let path = conf::shown(&location.path);
    let check = format!("`psstat-dump check {path}` says what is wrong");
    match file::load(&location.path) {
        Ok(loaded) => {
            let (rules, images) = (&loaded.conf.rules.rules(), loaded.conf.rules.images().len());
            let found = format!("{path}: {} rules of {images} images", rules.len());
            let mut checks = vec![if loaded.conf.has_errors() {
                let bad = loaded.conf.diagnostics.len();
                Check::bad(NAME, format!("{found}, {bad} complaints"), check)
            } else {
                Check::ok(NAME, found)
            }];
            for complaint in check_ownership(&loaded.stamp, owner) {
                let remedy = format!("`chown root {path}; chmod 644 {path}`");
                checks.push(Check::note("conf_owner", format!("{path} {complaint}"), remedy));
            }
            checks
        }
        Err(LoadError::Unreadable(error))
            if !location.named && error.kind() == std::io::ErrorKind::NotFound =>
        {
            let found = format!("there is no {path}; the collector has nothing to collect");
            vec![Check::note(NAME, found, "write it: a line is `imagename<white space>regex`")]
        }
        Err(reason) => vec![Check::bad(NAME, format!("{path} {reason}"), check)],
    }
}

/// Whether tcollector and the collector run.
pub(super) fn collector(here: &BTreeMap<u32, Vec<u8>>) -> Check {
    const NAME: &str = "collector";
    let runs = |is: fn(&[u8]) -> bool| here.values().any(|cmdline| is(cmdline));
    match (runs(is_collector), runs(is_tcollector)) {
        (true, true) => Check::ok(NAME, "psstat-tcollector and tcollector run"),
        (true, false) => Check::ok(NAME, "psstat-tcollector runs, tcollector does not"),
        (false, true) => Check::note(
            NAME,
            "tcollector runs, psstat-tcollector does not",
            "put psstat-tcollector into tcollector's folder collectors/0",
        ),
        (false, false) => Check::note(
            NAME,
            "neither tcollector nor psstat-tcollector runs here",
            "none is needed for psstat-dump",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn descriptors_are_counted() {
        assert_eq!(descriptors_of("d", 100, 464, 500).state, State::Ok);
        let remedy = |soft, hard| descriptors_of("d", 101, soft, hard).help.unwrap();
        assert_eq!(remedy(467, 468), "`ulimit -n 468`");
        assert!(remedy(467, 467).starts_with("`ulimit -Hn 468`"));
    }

    #[test]
    fn finds_running_programs() {
        let found = |lines: &[&str]| {
            let here = (1..).zip(lines.iter().map(|line| line.as_bytes().to_vec())).collect();
            collector(&here).finding
        };
        let both = ["python3 /opt/tcollector/tcollector.py -H x", "/c/0/psstat-tcollector"];
        assert_eq!(found(&both), "psstat-tcollector and tcollector run");
        assert_eq!(found(&both[1..]), "psstat-tcollector runs, tcollector does not");
        assert_eq!(found(&both[..1]), "tcollector runs, psstat-tcollector does not");
        assert!(found(&["vi a b c tcollector"]).starts_with("neither"));
    }
}
