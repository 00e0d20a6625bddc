//! A procfs of plain files.

use super::{Options, Sampler};
use std::fs;
use std::ops::Range;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Writes the files of a process; `starttime` is field 22 of `stat`.
pub(crate) fn write_process(proc: &Path, pid: u32, starttime: u64, rchar: u64) -> PathBuf {
    let dir = proc.join(pid.to_string());
    for name in ["fd", "ns", &format!("task/{pid}")] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    let stat = format!(
        "{pid} (worker) S 1 {pid} {pid} 0 -1 4194304 9 0 0 0 5 3 0 0 20 0 1 0 {starttime} 8192000 \
         200 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
    );
    let io = format!(
        "rchar: {rchar}\nwchar: 0\nsyscr: 1\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\n\
         cancelled_write_bytes: 0\n"
    );
    let statm = "2000 200 100 5 0 300 0\n";
    for (name, text) in [("stat", &*stat), ("statm", statm), ("cmdline", "worker\0"), ("io", &*io)]
    {
        fs::write(dir.join(name), text).unwrap();
    }
    dir
}

pub(crate) fn sampler(proc: &Path) -> Sampler {
    let options = Options {
        proc_root: proc.to_owned(),
        window: Duration::from_millis(1),
        // Descriptors held open would continue to read the old files.
        max_open_fds: Some(0),
        ..super::options()
    };
    Sampler::new(options).unwrap()
}

/// Sets the network namespace of a process.
pub(crate) fn set_netns(dir: &Path, netns: &str) {
    symlink(netns, dir.join("ns/net")).unwrap();
}

/// Gives a process descriptors of sockets with these inodes.
pub(crate) fn add_sockets(dir: &Path, inodes: Range<u32>) {
    for inode in inodes {
        symlink(format!("socket:[{inode}]"), dir.join("fd").join(inode.to_string())).unwrap();
    }
}

/// Writes the socket tables of a process, with these sockets in the tcp table.
pub(crate) fn write_tables(dir: &Path, inodes: Range<u32>) {
    fs::create_dir_all(dir.join("net")).unwrap();
    let header = "  sl  local_address rem_address   st\n";
    let row = |inode: u32| {
        format!(
            "   0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        \
             0 {inode} 1 0000000000000000 20 4 30 10 -1\n"
        )
    };
    let rows: String = inodes.map(row).collect();
    fs::write(dir.join("net/tcp"), format!("{header}{rows}")).unwrap();
    for empty in ["udp", "unix"] {
        fs::write(dir.join("net").join(empty), header).unwrap();
    }
}
