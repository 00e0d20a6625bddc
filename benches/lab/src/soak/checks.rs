//! The checks of a soak besides those of each cycle.

use std::collections::BTreeMap;

use super::population::{self, Counts};
use super::trace::Medians;
use crate::checks::Checks;
use crate::child_modes::role::Role;
use crate::collector::Cycle;

/// How much memory may grow after the first minute: the error of the kernel's count, and pages of
/// the allocator.
pub(crate) const MEMORY_SLACK: u64 = 512 << 10;
/// Additional growth per process of the machine beyond the maximum of the first minute.
pub(crate) const MEMORY_PER_PROCESS: u64 = 1 << 10;
/// How much a cycle may cost at the end relative to the first minute, both relative to the
/// reference.
pub(crate) const CPU_FACTOR: f64 = 1.25;
/// Log lines per change of the config.
const LINES_PER_CHANGE: usize = 8;

/// The series of an image.
const SERIES: [(&str, &[&str]); 8] = [
    (
        "io",
        &["rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes"],
    ),
    ("fd", &["open"]),
    ("threads", &[]),
    ("net", &["tcp", "udp", "unix"]),
    ("pcpu", &[]),
    ("cpu", &["user", "system"]),
    ("mem", &["total", "resident"]),
    ("procs", &[]),
];

/// The first missing series of an image.
pub(crate) fn missing_series(cycle: &Cycle, image: &str) -> Option<String> {
    let all = SERIES.iter().flat_map(|(metric, types)| {
        let typed = types.iter().map(move |kind| format!("{metric} image={image} type={kind}"));
        let plain = types.is_empty().then(|| format!("{metric} image={image}"));
        typed.chain(plain)
    });
    all.into_iter().find(|series| !cycle.has(series))
}

/// The differences between a cycle and the expected counts.
pub(crate) fn mismatches(
    cycle: &Cycle,
    images: &[(String, Role)],
    expected: &BTreeMap<&'static str, Counts>,
) -> Vec<String> {
    let mut mismatches = Vec::new();
    for (image, role) in images {
        let Some(counts) = expected.get(role.name()) else { continue };
        for (series, count) in population::series(image).iter().zip(counts) {
            let found = cycle.get(series);
            if found != Some(*count) {
                mismatches.push(format!("{series} is {found:?}, expected {count}"));
            }
        }
    }
    mismatches
}

/// Compares the end with the first minute, quiescent or under load.
pub(crate) fn compare(checks: &mut Checks, when: &str, start: &Medians, end: &Medians, more: u64) {
    let limit = start.resident + MEMORY_SLACK + more * MEMORY_PER_PROCESS;
    if end.resident > limit {
        checks.violated(format!("{when}: {} bytes resident; limit {limit}", end.resident));
    }
    if end.threads != start.threads {
        checks.violated(format!("{when}: {} threads, {} before", end.threads, start.threads));
    }
    let factor = end.relative / start.relative;
    if factor > CPU_FACTOR {
        checks.violated(format!("{when}: a cycle costs {factor:.2} times as much as before"));
    }
}

/// Compares the file descriptors of the quiescent phases, which have the same processes.
pub(crate) fn compare_fds(checks: &mut Checks, start: &Medians, end: &Medians) {
    if start.fds != end.fds {
        let (first, last) = (start.fds, end.fds);
        checks.violated(format!("{last} fds in the last quiescent phase, {first} in the first"));
    }
}

/// Checks the number of log lines for this number of changes of the config.
pub(crate) fn check_log(checks: &mut Checks, lines: usize, changes: usize) {
    if lines > LINES_PER_CHANGE * (changes + 1) {
        checks.violated(format!("{lines} log lines for {changes} changes of the config"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Medians = Medians {
        cpu: std::time::Duration::from_millis(4),
        relative: 2.0,
        resident: 5 << 20,
        fds: 90,
        threads: 2,
        processes: 100,
        matched: 20,
    };

    /// The number of violations.
    fn violations(end: Medians, more: u64) -> usize {
        let mut checks = Checks::default();
        compare(&mut checks, "test", &START, &end, more);
        compare_fds(&mut checks, &START, &end);
        checks.count()
    }

    #[test]
    fn compares_end_with_start() {
        assert_eq!(violations(START, 0), 0);
        assert_eq!(violations(Medians { relative: 2.4, resident: 4 << 20, ..START }, 0), 0);
        let more = Medians { resident: START.resident + MEMORY_SLACK + 1, ..START };
        assert_eq!((violations(more, 0), violations(more, 1)), (1, 0));
        assert_eq!(violations(Medians { threads: 3, ..START }, 0), 1);
        assert_eq!(violations(Medians { fds: 91, ..START }, 0), 1);
        assert_eq!(violations(Medians { relative: 2.6, ..START }, 0), 1);
    }

    #[test]
    fn missing_series_is_found() {
        let mut all: Vec<(String, u64)> = Vec::new();
        for (metric, types) in SERIES {
            let tags = types.iter().map(|kind| format!("{metric} image=a type={kind}"));
            all.extend(tags.map(|series| (series, 0)));
            if types.is_empty() {
                all.push((format!("{metric} image=a"), 0));
            }
        }
        assert_eq!(all.len(), 18);
        for missing in 0..all.len() {
            let present: Vec<(&str, u64)> = all
                .iter()
                .enumerate()
                .filter(|&(at, _)| at != missing)
                .map(|(_, (series, value))| (series.as_str(), *value))
                .collect();
            assert_eq!(missing_series(&Cycle::of(&present), "a").as_ref(), Some(&all[missing].0));
        }
    }

    #[test]
    fn mismatch_is_reported() {
        let images = [("a".to_owned(), Role::Server)];
        let expected = BTreeMap::from([("server", [1, 2, 3, 4, 5, 6])]);
        let names = population::series("a");
        let mut found: Vec<(&str, u64)> = names.iter().map(String::as_str).zip(1..).collect();
        assert_eq!(mismatches(&Cycle::of(&found), &images, &expected), [""; 0]);
        found[3].1 = 5;
        assert_eq!(mismatches(&Cycle::of(&found), &images, &expected).len(), 1);
        assert_eq!(mismatches(&Cycle::of(&found[..3]), &images, &expected).len(), 3);
    }
}
