//! What must hold in a soak beyond what must hold in a storm.

use std::collections::BTreeMap;

use super::people::{self, Counts};
use super::role::Role;
use super::trace::Middle;
use crate::storm::collector::Cycle;
use crate::storm::judge::Judge;

/// How much memory may be added after the first minute: what the kernel's own
/// count of it is off by, and the allocator's pages.
pub(crate) const MEMORY_SLACK: u64 = 512 << 10;
/// And for each process of the machine beyond the most there were until then.
pub(crate) const MEMORY_A_PROCESS: u64 = 1 << 10;
/// How many times a cycle may cost in the end what it cost after the first
/// minute, held against the yardstick.
pub(crate) const CPU_FACTOR: f64 = 1.25;
/// Lines of the log that a change of the conf may cause.
const LINES_A_CHANGE: usize = 8;

/// Every series of an image.
const SERIES: [(&str, &[&str]); 7] = [
    (
        "io",
        &["rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes"],
    ),
    ("fd", &["open"]),
    ("threads", &[]),
    ("net", &["tcp", "udp", "unix"]),
    ("pcpu", &[]),
    ("mem", &["total", "resident"]),
    ("procs", &[]),
];

/// The first series that an image lacks.
pub(crate) fn lacks(cycle: &Cycle, image: &str) -> Option<String> {
    let all = SERIES.iter().flat_map(|(metric, types)| {
        let typed = types.iter().map(move |kind| format!("{metric} image={image} type={kind}"));
        let plain = types.is_empty().then(|| format!("{metric} image={image}"));
        typed.chain(plain)
    });
    all.into_iter().find(|series| !cycle.has(series))
}

/// What a cycle says otherwise than the truth, image by image.
pub(crate) fn untrue(
    cycle: &Cycle,
    images: &[(String, Role)],
    truth: &BTreeMap<&'static str, Counts>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (image, role) in images {
        let Some(counts) = truth.get(role.name()) else { continue };
        for (series, count) in people::series(image).iter().zip(counts) {
            let said = cycle.get(series);
            if said != Some(*count) {
                wrong.push(format!("{series}: {said:?} where there is {count}"));
            }
        }
    }
    wrong
}

/// Holds the end against what was after the first minute, in a calm or under
/// load.
pub(crate) fn compare(judge: &mut Judge, when: &str, early: &Middle, late: &Middle, more: u64) {
    let most = early.resident + MEMORY_SLACK + more * MEMORY_A_PROCESS;
    if late.resident > most {
        let now = late.resident;
        judge.broke(format!("{when}: {now} bytes resident, {most} are the most"));
    }
    if late.threads != early.threads {
        let (then, now) = (early.threads, late.threads);
        judge.broke(format!("{when}: {now} threads, there were {then}"));
    }
    let factor = late.relative / early.relative;
    if factor > CPU_FACTOR {
        judge.broke(format!("{when}: a cycle costs {factor:.2} times what it cost"));
    }
}

/// Descriptors in the two calms, which have the same processes.
pub(crate) fn compare_descriptors(judge: &mut Judge, early: &Middle, late: &Middle) {
    let (then, now) = (early.descriptors, late.descriptors);
    if then != now {
        judge.broke(format!("{now} descriptors in the last calm, {then} in the first"));
    }
}

/// Whether the log had too many lines for so many changes of the conf.
pub(crate) fn judge_log(judge: &mut Judge, lines: usize, changes: usize) {
    let most = LINES_A_CHANGE * (changes + 1);
    if lines > most {
        judge.broke(format!("{lines} lines in the log for {changes} changes of the conf"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: Middle = Middle {
        cpu: std::time::Duration::from_millis(4),
        relative: 2.0,
        resident: 5 << 20,
        descriptors: 90,
        threads: 2,
        seen: 100,
        matched: 20,
    };

    /// How many things did not hold.
    fn broken(late: Middle, more: u64) -> usize {
        let mut judge = Judge::default();
        compare(&mut judge, "test", &EARLY, &late, more);
        compare_descriptors(&mut judge, &EARLY, &late);
        judge.broken().len()
    }

    #[test]
    fn the_end_is_held_against_the_beginning() {
        assert_eq!(broken(EARLY, 0), 0);
        assert_eq!(broken(Middle { relative: 2.4, resident: 4 << 20, ..EARLY }, 0), 0);
        let more = Middle { resident: EARLY.resident + MEMORY_SLACK + 1, ..EARLY };
        assert_eq!((broken(more, 0), broken(more, 1)), (1, 0));
        assert_eq!(broken(Middle { threads: 3, ..EARLY }, 0), 1);
        assert_eq!(broken(Middle { descriptors: 91, ..EARLY }, 0), 1);
        assert_eq!(broken(Middle { relative: 2.6, ..EARLY }, 0), 1);
    }

    #[test]
    fn an_image_has_every_series() {
        let mut all: Vec<(String, u64)> = Vec::new();
        for (metric, types) in SERIES {
            let tags = types.iter().map(|kind| format!("{metric} image=a type={kind}"));
            all.extend(tags.map(|series| (series, 0)));
            if types.is_empty() {
                all.push((format!("{metric} image=a"), 0));
            }
        }
        assert_eq!(all.len(), 16);
        for missing in 0..all.len() {
            let there: Vec<(&str, u64)> = all
                .iter()
                .enumerate()
                .filter(|&(at, _)| at != missing)
                .map(|(_, (series, value))| (series.as_str(), *value))
                .collect();
            assert_eq!(lacks(&Cycle::of(&there), "a").as_ref(), Some(&all[missing].0));
        }
    }

    #[test]
    fn what_is_not_so_is_told() {
        let images = [("a".to_owned(), Role::Server)];
        let truth = BTreeMap::from([("server", [1, 2, 3, 4, 5, 6])]);
        let names = people::series("a");
        let mut said: Vec<(&str, u64)> = names.iter().map(String::as_str).zip(1..).collect();
        assert_eq!(untrue(&Cycle::of(&said), &images, &truth), [""; 0]);
        said[3].1 = 5;
        assert_eq!(untrue(&Cycle::of(&said), &images, &truth).len(), 1);
        assert_eq!(untrue(&Cycle::of(&said[..3]), &images, &truth).len(), 3);
    }
}
