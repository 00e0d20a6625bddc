//! A copy of what a bug report needs of some processes.
//!
//! A folder like `/proc`: for each process `stat`, `statm`, `status`, `io`,
//! `limits`, `comm`, its scrubbed `cmdline`, the links of `fd` and `ns`, and
//! the tables of `net`, of which only the rows of captured processes' sockets
//! are kept. Names of files and sockets are scrubbed like command lines; the
//! process's own name, of at most 15 bytes, is not. Beside them the machine's `stat`, `uptime` and `version`. What
//! could not be read is not there. The links say what descriptors were open
//! on; on another machine they lead nowhere, or elsewhere.

pub(crate) mod scrub;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use psstat_proc_parse::FdTarget;
use psstat_proc_parse::net::{inet, unix};

use crate::process_report::{Files, ReadError};

/// Files of a process that are taken as they are.
const FILES: [&str; 6] = ["stat", "statm", "status", "io", "limits", "comm"];
/// The socket tables.
const TABLES: [&str; 5] = ["tcp", "tcp6", "udp", "udp6", "unix"];
/// Files of the machine that are taken as they are.
const MACHINE: [&str; 3] = ["stat", "uptime", "version"];

/// What became of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Captured {
    /// How many processes are in it.
    pub process_count: usize,
    /// Which files could not be read, and of how many processes.
    pub unread: BTreeMap<String, usize>,
}

/// What was read of one process.
struct Process {
    pid: u32,
    files: Vec<(&'static str, Vec<u8>)>,
    descriptors: Option<Vec<(u32, Vec<u8>)>>,
    links: Vec<(&'static str, Vec<u8>)>,
}

/// Copies these processes from `proc` into the new folder `to`, which only
/// this user may enter.
///
/// # Errors
/// When the folder is there already and not empty, or cannot be written.
pub(crate) fn capture(proc: &Path, pids: &[u32], to: &Path) -> io::Result<Captured> {
    create_dir(to)?;
    let mut captured = Captured::default();
    for name in MACHINE {
        if let Ok(bytes) = fs::read(proc.join(name)) {
            write(&to.join(name), &bytes)?;
        }
    }
    let mut processes = Vec::new();
    let mut tables: BTreeMap<Vec<u8>, Vec<(&str, Vec<u8>)>> = BTreeMap::new();
    let mut sockets = BTreeSet::new();
    for &pid in pids {
        let Ok(files) = Files::open(proc, pid) else { continue };
        let Some(process) = read(pid, &files, &mut captured.unread) else { continue };
        for (_, link) in process.descriptors.iter().flatten() {
            if let FdTarget::Socket(inode) = FdTarget::parse(link) {
                sockets.insert(inode);
            }
        }
        // One reading a network namespace.
        tables.entry(process.namespace()).or_insert_with(|| {
            let read = |name| Some((name, files.read(&format!("net/{name}")).ok()?));
            TABLES.into_iter().filter_map(read).collect()
        });
        processes.push(process);
    }
    let mut written: BTreeMap<Vec<u8>, PathBuf> = BTreeMap::new();
    for process in &processes {
        let folder = to.join(process.pid.to_string());
        process.write(&folder)?;
        let net = folder.join("net");
        create_dir(&net)?;
        let namespace = process.namespace();
        for (name, table) in tables.get(&namespace).into_iter().flatten() {
            let file = net.join(name);
            // The same file again costs nothing; where that cannot be, a copy.
            let first = written.get(&namespace).map(|first| first.join(name));
            if first.is_none_or(|first| fs::hard_link(first, &file).is_err()) {
                write(&file, &filter_rows(name, table, &sockets))?;
            }
        }
        written.entry(namespace).or_insert(net);
    }
    captured.process_count = processes.len();
    Ok(captured)
}

/// All of a process; `None` where it has ended.
fn read(pid: u32, files: &Files, unread: &mut BTreeMap<String, usize>) -> Option<Process> {
    let mut process = Process { pid, files: Vec::new(), descriptors: None, links: Vec::new() };
    let mut failed = |name: &str, why: &ReadError| {
        if *why != ReadError::Gone {
            *unread.entry(name.to_owned()).or_default() += 1;
        }
    };
    for name in FILES {
        match files.read(name) {
            Ok(bytes) => process.files.push((name, bytes)),
            Err(why) => failed(name, &why),
        }
    }
    match files.command_line() {
        Ok(raw) => process.files.push(("cmdline", scrub::command_line(&raw))),
        Err(why) => failed("cmdline", &why),
    }
    match files.descriptors() {
        Ok(links) => {
            let scrubbed = |(fd, link): (u32, Vec<u8>)| (fd, scrub::link(&link));
            process.descriptors = Some(links.into_iter().map(scrubbed).collect());
        }
        Err(why) => failed("fd", &why),
    }
    for name in ["ns/net", "ns/pid"] {
        match files.link(name) {
            Ok(link) => process.links.push((name, link)),
            Err(why) => failed(name, &why),
        }
    }
    // Without a stat there is no process; one that went while it was read
    // would be half there.
    let is_whole = process.files.iter().any(|(name, _)| *name == "stat");
    (is_whole && files.read("stat").is_ok()).then_some(process)
}

impl Process {
    /// What tells its network namespace from others; where that may not be
    /// read, it is taken for its own.
    fn namespace(&self) -> Vec<u8> {
        let link = self.links.iter().find(|(name, _)| *name == "ns/net");
        link.map_or_else(|| self.pid.to_string().into_bytes(), |(_, link)| link.clone())
    }

    fn write(&self, folder: &Path) -> io::Result<()> {
        create_dir(folder)?;
        for (name, bytes) in &self.files {
            write(&folder.join(name), bytes)?;
        }
        create_dir(&folder.join("ns"))?;
        for (name, link) in &self.links {
            symlink(std::ffi::OsString::from_vec(link.clone()), folder.join(name))?;
        }
        if let Some(links) = &self.descriptors {
            create_dir(&folder.join("fd"))?;
            for (fd, link) in links {
                let at = folder.join("fd").join(fd.to_string());
                symlink(std::ffi::OsString::from_vec(link.clone()), at)?;
            }
        }
        Ok(())
    }
}

/// The rows of a table that belong to these sockets, the heading, and rows in
/// a form that is not known.
fn filter_rows(name: &str, table: &[u8], sockets: &BTreeSet<u64>) -> Vec<u8> {
    let is_kept = |line: &&[u8]| {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let inode = if name == "unix" {
            unix::Row::parse(bare).map(|row| row.inode)
        } else {
            inet::Row::parse(bare).map(|row| row.inode)
        };
        inode.map_or(true, |inode| sockets.contains(&inode))
    };
    let lines = table.split_inclusive(|byte| *byte == b'\n').filter(is_kept);
    if name != "unix" {
        return lines.collect::<Vec<_>>().concat();
    }
    // A socket's path is a name that a process chose.
    lines.flat_map(scrub::path_of_row).collect()
}

/// Makes a folder, or takes one that is empty.
fn create_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read_dir(path)?.next().is_some() {
                return Err(io::Error::new(error.kind(), "the folder is not empty"));
            }
            Ok(())
        }
        other => other,
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    io::Write::write_all(&mut file?, bytes)
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
        let table = format!("  sl  local_address\n{}{}odd\n", row(7), row(8));
        let want = format!("  sl  local_address\n{}odd\n", row(8));
        let kept = filter_rows("tcp", table.as_bytes(), &BTreeSet::from([8]));
        assert_eq!(String::from_utf8(kept).unwrap(), want);
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01     7 /run/a\n\
            0000000000000000: 00000002 00000000 00010000 0001 01     8 /run/b\n";
        let kept = filter_rows("unix", table, &BTreeSet::from([7]));
        let kept = String::from_utf8(kept).unwrap();
        assert!(kept.starts_with("Num") && kept.ends_with("/run/a\n"), "{kept}");
    }
}
