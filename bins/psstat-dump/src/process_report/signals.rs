//! Pending signals of a process and their dispositions.

use psstat_proc_parse::Status;

use super::{Section, Value};

/// Signals by number, starting at 1, as on x86 and Arm; see signal(7).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// The first real-time signal for applications; the C library uses the two
/// before it.
const RTMIN: u32 = 34;

pub(super) fn section(status: Option<&Status<'_>>) -> Section {
    let mut section = Section::new("signals");
    let Some(status) = status else { return section };
    section.field("sigqueue_used", Value::number(status.sig_queue.map(|queue| queue.queued)));
    section.field("sigqueue_limit", Value::number(status.sig_queue.map(|queue| queue.limit)));
    let sets = [
        ("pending_thread", status.sig_pnd),
        ("pending", status.shd_pnd),
        ("blocked", status.sig_blk),
        ("ignored", status.sig_ign),
        ("caught", status.sig_cgt),
    ];
    for (field, set) in sets {
        section.field(field, set.map_or(Value::Absent, |set| names(set).into()));
    }
    section
}

/// The name of a signal without `SIG`; `None` for a number that has none.
pub(crate) fn name(number: u32) -> Option<&'static str> {
    NAMES.get((number as usize).checked_sub(1)?).copied()
}

/// The signals of a set: `none`, or their names.
fn names(set: u64) -> String {
    let text = |signal: u32| match name(signal) {
        Some(name) => name.to_owned(),
        None if signal == RTMIN => "RTMIN".to_owned(),
        None if signal > RTMIN => format!("RTMIN+{}", signal - RTMIN),
        None => signal.to_string(),
    };
    let names: Vec<_> = (1..=u64::BITS).filter(|n| set >> (n - 1) & 1 == 1).map(text).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_names() {
        assert_eq!(names(0), "none");
        assert_eq!(names(0x4001), "HUP TERM");
        assert_eq!(names(0x8000_0003_8000_0000), "32 33 RTMIN RTMIN+30");
        assert_eq!(names(1 << 30), "SYS");
    }
}
