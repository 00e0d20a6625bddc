//! Process ids from the arguments.

use std::path::Path;

use psstat_proc_parse::Status;

use crate::process_report::Files;
use crate::terminal;

/// The processes of these ids. The id of a thread is replaced by that of its
/// process, with a message: the files of a thread mix its own values with those
/// of the process.
pub(super) fn processes(proc: &Path, ids: &[u32]) -> Vec<u32> {
    let mut pids = Vec::new();
    for &id in ids {
        let pid = process_of_thread(proc, id).unwrap_or(id);
        if pid != id {
            terminal::eprint_line(&format!("psstat-dump: {id} is a thread of process {pid}"));
        }
        if !pids.contains(&pid) {
            pids.push(pid);
        }
    }
    pids
}

fn process_of_thread(proc: &Path, id: u32) -> Option<u32> {
    let status = Files::open(proc, id).ok()?.read("status").ok()?;
    let tgid = Status::parse(&status).ok()?.tgid?;
    u32::try_from(tgid).ok().filter(|tgid| *tgid > 0)
}
