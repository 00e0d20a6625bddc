//! Captures the files of processes that a bug report needs.
//!
//! The result is a directory like `/proc`: for each process `stat`, `statm`,
//! `status`, `io`, `limits`, `comm`, the redacted `cmdline` and `cgroup`, the links of `fd`
//! and `ns`, and the tables of `net` with only the rows of the captured
//! processes' sockets; in addition `stat`, `uptime` and `version` of the host, and
//! its units and byte order ([`Machine`]), and the names of the users (`etc/passwd`), and the
//! [`additions`]. If the main thread has exited, the files of memory,
//! descriptors and namespaces are those of a thread that lives, in `task/TID`, as in `/proc`.
//! Names of files and sockets are redacted like command lines ([`scrub`]); the name
//! of the process, at most 15 bytes, is not. Files that could not be read are missing.
//! The links contain the targets of descriptors, which do not exist on another
//! host.

pub(crate) mod additions;
mod output;
pub(crate) mod scrub;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use psstat_proc_parse::net::{inet, unix};
use psstat_proc_parse::{FdTarget, Status};
use psstat_sampler::capture::Machine;
use psstat_support::users::{self, UserNames};

use crate::process_report::{Files, ReadError, machine, read_host_file};
use additions::Addition;
use output::Output;
pub(crate) use output::name_in_archive;
use scrub::Scrubber;

/// Files of a process that are copied without changes.
const FILES: [&str; 6] = ["stat", "statm", "status", "io", "limits", "comm"];
/// Those of the thread that lives if the main thread has exited.
const FILES_OF_THREAD: [&str; 4] = ["stat", "statm", "status", "comm"];
/// The file with the names of users.
const PASSWD: &str = "etc/passwd";
/// The socket tables.
const TABLES: [&str; 5] = ["tcp", "tcp6", "udp", "udp6", "unix"];
/// Files of the host that are copied without changes.
const HOST_FILES: [&str; 3] = ["stat", "uptime", "version"];

/// The result of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Captured {
    /// Number of captured processes.
    pub process_count: usize,
    /// Number of processes for which each file could not be read.
    pub unread: BTreeMap<String, usize>,
}

/// A file or link: its name, and its contents or target.
type Copied = (&'static str, Vec<u8>);

/// The data of one process.
struct Process {
    pid: u32,
    files: Vec<Copied>,
    /// If the main thread has exited: a thread that lives, and its files. Descriptors, links and
    /// tables are then its own as well.
    live_thread: Option<(u32, Vec<Copied>)>,
    descriptors: Option<Vec<(u32, Vec<u8>)>>,
    links: Vec<Copied>,
}

/// Copies these processes from `proc`, and adds the files of `additions`, which is called if there
/// is any process; otherwise, nothing is written. The output is a new directory, or an archive if
/// its name is that of one; only this user can read it. Missing parent directories are created.
///
/// # Errors
/// When the output exists (a directory may be empty), or cannot be written.
pub(crate) fn capture(
    proc: &Path,
    pids: &[u32],
    to: &Path,
    scrubber: &Scrubber<'_>,
    additions: impl FnOnce() -> Vec<Addition>,
) -> io::Result<Captured> {
    let mut captured = Captured::default();
    let mut processes = Vec::new();
    let mut tables: BTreeMap<Vec<u8>, Vec<(&str, Vec<u8>)>> = BTreeMap::new();
    let mut sockets = BTreeSet::new();
    for &pid in pids {
        let Ok(files) = Files::open(proc, pid) else { continue };
        let Some(process) = read(pid, &files, scrubber, &mut captured.unread) else { continue };
        for (_, link) in process.descriptors.iter().flatten() {
            if let FdTarget::Socket(inode) = FdTarget::parse(link) {
                sockets.insert(inode);
            }
        }
        // Read once per network namespace.
        tables.entry(process.namespace()).or_insert_with(|| {
            let read = |name| Some((name, files.read(&format!("net/{name}")).ok()?));
            TABLES.into_iter().filter_map(read).collect()
        });
        processes.push(process);
    }
    captured.process_count = processes.len();
    if processes.is_empty() {
        return Ok(captured);
    }
    let mut output = Output::create(to)?;
    output.file(Path::new(Machine::FILE), machine(proc).to_string().as_bytes())?;
    for name in HOST_FILES {
        if let Ok(bytes) = read_host_file(proc, name) {
            output.file(Path::new(name), &bytes)?;
        }
    }
    let passwd = passwd(proc, &processes, scrubber);
    if !passwd.is_empty() {
        output.dir(Path::new("etc"))?;
        output.file(Path::new(PASSWD), &passwd)?;
    }
    let additions = additions();
    if additions.iter().any(|(path, _)| path.starts_with(additions::CONF)) {
        output.dir(Path::new(additions::CONF))?;
    }
    for (path, bytes) in &additions {
        output.file(path, bytes)?;
    }
    let mut written: BTreeMap<Vec<u8>, PathBuf> = BTreeMap::new();
    for process in &processes {
        let dir = PathBuf::from(process.pid.to_string());
        process.write(&mut output, &dir)?;
        let net = process.dir_of_links(&dir).join("net");
        output.dir(&net)?;
        let namespace = process.namespace();
        for (name, table) in tables.get(&namespace).into_iter().flatten() {
            let file = net.join(name);
            // A hard link to the first copy if possible, else another copy.
            let first = written.get(&namespace).map(|first| first.join(name));
            if first.is_none_or(|first| output.same_file(&file, &first).is_err()) {
                output.file(&file, &filter_rows(name, table, &sockets, scrubber))?;
            }
        }
        written.entry(namespace).or_insert(net);
    }
    output.finish()?;
    Ok(captured)
}

/// The names of the users of these processes, except those that are redacted.
fn passwd(proc: &Path, processes: &[Process], scrubber: &Scrubber<'_>) -> Vec<u8> {
    let mut uids = BTreeSet::new();
    for process in processes {
        let status = process.files.iter().find(|(name, _)| *name == "status");
        let status = status.and_then(|(_, bytes)| Status::parse(bytes).ok());
        uids.extend(status.and_then(|status| Some(status.uid?.effective)));
    }
    let mut lines = Vec::new();
    let Ok(users) = UserNames::start(users::file_of(proc)) else { return lines };
    for uid in uids {
        if let Some(name) = users.name(uid).filter(|name| scrubber.keeps_user(uid, name)) {
            lines.extend_from_slice(name);
            lines.extend_from_slice(format!(":x:{uid}:{uid}:::\n").as_bytes());
        }
    }
    lines
}

/// Reads all files of a process; `None` if it has exited.
fn read(
    pid: u32,
    files: &Files,
    scrubber: &Scrubber<'_>,
    unread: &mut BTreeMap<String, usize>,
) -> Option<Process> {
    let mut process =
        Process { pid, files: Vec::new(), live_thread: None, descriptors: None, links: Vec::new() };
    let mut failed = |name: &str, error: &ReadError| {
        if *error != ReadError::NotFound {
            *unread.entry(name.to_owned()).or_default() += 1;
        }
    };
    for name in FILES {
        match files.read_main_thread(name) {
            Ok(bytes) => process.files.push((name, bytes)),
            Err(error) => failed(name, &error),
        }
    }
    match files.read_main_thread("cgroup") {
        Ok(bytes) => process.files.push(("cgroup", scrubber.cgroup(&bytes))),
        Err(error) => failed("cgroup", &error),
    }
    let command_line = match files.read("cmdline") {
        Ok(raw) => Some(("cmdline", scrubber.command_line(&raw))),
        Err(error) => {
            failed("cmdline", &error);
            None
        }
    };
    if let Some(tid) = files.live_tid() {
        let read = |name| Some((name, files.read_live_thread(name)?));
        let cgroup = files.read_live_thread("cgroup");
        let cgroup = cgroup.map(|bytes| ("cgroup", scrubber.cgroup(&bytes)));
        let of_thread = FILES_OF_THREAD.into_iter().filter_map(read);
        let of_thread = of_thread.chain(cgroup).chain(command_line);
        process.live_thread = Some((tid, of_thread.collect()));
        process.files.push(("cmdline", Vec::new()));
    } else {
        process.files.extend(command_line);
    }
    match files.descriptors() {
        Ok(links) => {
            let scrubbed = |(fd, link): (u32, Vec<u8>)| (fd, scrubber.link(&link));
            process.descriptors = Some(links.into_iter().map(scrubbed).collect());
        }
        Err(error) => failed("fd", &error),
    }
    for name in ["ns/net", "ns/pid"] {
        match files.link(name) {
            Ok(link) => process.links.push((name, link)),
            Err(error) => failed(name, &error),
        }
    }
    // One that exited during the capture is omitted, because its files are
    // incomplete. If reading `stat` blocks, the other files are captured.
    match files.read("stat") {
        Ok(_) | Err(ReadError::Blocked) => Some(process),
        Err(_) => None,
    }
}

impl Process {
    /// The identity of the network namespace. If it cannot be read, the process
    /// is treated as if it had its own.
    fn namespace(&self) -> Vec<u8> {
        let link = self.links.iter().find(|(name, _)| *name == "ns/net");
        link.map_or_else(|| self.pid.to_string().into_bytes(), |(_, link)| link.clone())
    }

    /// The directory of its links and tables, in that of the process.
    fn dir_of_links(&self, dir: &Path) -> PathBuf {
        let thread = self.live_thread.as_ref().map(|(tid, _)| format!("task/{tid}"));
        thread.map_or_else(|| dir.to_owned(), |thread| dir.join(thread))
    }

    fn write(&self, output: &mut Output, dir: &Path) -> io::Result<()> {
        output.dir(dir)?;
        for (name, bytes) in &self.files {
            output.file(&dir.join(name), bytes)?;
        }
        let thread = self.dir_of_links(dir);
        if let Some((_, files)) = &self.live_thread {
            output.dir(&dir.join("fd"))?;
            output.dir(&dir.join("task"))?;
            output.dir(&thread)?;
            for (name, bytes) in files {
                output.file(&thread.join(name), bytes)?;
            }
        }
        let path = |link: &[u8]| PathBuf::from(OsString::from_vec(link.to_vec()));
        output.dir(&thread.join("ns"))?;
        for (name, link) in &self.links {
            output.link(&thread.join(name), &path(link))?;
        }
        if let Some(links) = &self.descriptors {
            let directory = thread.join("fd");
            output.dir(&directory)?;
            for (fd, link) in links {
                output.link(&directory.join(fd.to_string()), &path(link))?;
            }
        }
        Ok(())
    }
}

/// The heading and the rows of these sockets; of tables without names also rows in an unknown
/// format.
fn filter_rows(
    name: &str,
    table: &[u8],
    sockets: &BTreeSet<u64>,
    scrubber: &Scrubber<'_>,
) -> Vec<u8> {
    if name == "unix" {
        return filter_unix_rows(table, sockets, scrubber);
    }
    let is_kept = |line: &&[u8]| {
        let row = inet::InetRow::parse(line.strip_suffix(b"\n").unwrap_or(line));
        row.map_or(true, |row| sockets.contains(&row.inode))
    };
    table.split_inclusive(|byte| *byte == b'\n').filter(is_kept).collect::<Vec<_>>().concat()
}

/// The path of a socket can contain secrets, and line breaks: a text that is not a row is dropped.
fn filter_unix_rows(table: &[u8], sockets: &BTreeSet<u64>, scrubber: &Scrubber<'_>) -> Vec<u8> {
    let mut rows = unix::UnixRows::new(table);
    let mut kept = table.strip_suffix(rows.rest()).unwrap_or_default().to_vec();
    loop {
        let before = rows.rest();
        let Some(row) = rows.next() else { return kept };
        let line = before.strip_suffix(rows.rest()).unwrap_or_default();
        let Ok(row) = row else { continue };
        if sockets.contains(&row.inode) {
            let path = row.path.unwrap_or_default();
            let columns = line.strip_suffix(b"\n").and_then(|line| line.strip_suffix(path));
            kept.extend_from_slice(columns.unwrap_or_default());
            kept.extend(scrubber.path(path));
            kept.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_of_captured_sockets_are_kept() {
        let row = |inode: u64| {
            format!(
                "   0: 0100007F:0277 0100007F:9C40 01 00000000:00000000 00:00000000 \
                 00000000     0        0 {inode} 1 0000000000000000 20 4 30 10 -1\n"
            )
        };
        let table = format!("  sl  local_address\n{}{}unknown\n", row(7), row(8));
        let want = format!("  sl  local_address\n{}unknown\n", row(8));
        let kept = filter_rows("tcp", table.as_bytes(), &BTreeSet::from([8]), &Scrubber::default());
        assert_eq!(String::from_utf8(kept).unwrap(), want);
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01     7 /run/a\n\
            0000000000000000: 00000002 00000000 00010000 0001 01     8 /run/b\n";
        let kept = filter_rows("unix", table, &BTreeSet::from([7]), &Scrubber::default());
        let kept = String::from_utf8(kept).unwrap();
        assert!(kept.starts_with("Num") && kept.ends_with("/run/a\n"), "{kept}");
    }
}
