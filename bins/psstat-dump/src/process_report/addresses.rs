//! Where a process has what in its memory. The kernel says 0 to those who may
//! not trace it; that is left out.

use psstat_proc_parse::Stat;

use super::{Section, Value};

pub(super) fn section(stat: &Stat<'_>) -> Section {
    let mut section = Section::new("addresses");
    let known = [
        ("start_code", Some(stat.startcode)),
        ("end_code", Some(stat.endcode)),
        ("start_data", stat.start_data),
        ("end_data", stat.end_data),
        ("start_brk", stat.start_brk),
        ("start_stack", Some(stat.startstack)),
        ("arg_start", stat.arg_start),
        ("arg_end", stat.arg_end),
        ("env_start", stat.env_start),
        ("env_end", stat.env_end),
        ("kstkesp", Some(stat.kstkesp)),
        ("kstkeip", Some(stat.kstkeip)),
    ];
    for (field, address) in known {
        let address = address.filter(|address| *address > UNKNOWN);
        let shown = address.map(|address| Value::text(format!("0x{address:x}")));
        section.fact(field, shown.unwrap_or(Value::Absent));
    }
    section
}

/// What the kernel prints for `startcode` and `endcode` where it does not tell.
const UNKNOWN: u64 = 1;
