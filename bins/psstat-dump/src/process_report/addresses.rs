//! Memory addresses of a process. The kernel prints 0 unless the reader may
//! ptrace the process; these are omitted.

use psstat_proc_parse::Stat;

use super::{Section, Value};

pub(super) fn section(stat: Option<&Stat<'_>>) -> Section {
    let mut section = Section::new("addresses");
    let Some(stat) = stat else { return section };
    let addresses = [
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
    for (field, address) in addresses {
        let address = address.filter(|address| *address > HIDDEN);
        let text = address.map(|address| Value::text(format!("0x{address:x}")));
        section.field(field, text.unwrap_or(Value::Absent));
    }
    section
}

/// The value of hidden `startcode` and `endcode`.
const HIDDEN: u64 = 1;
