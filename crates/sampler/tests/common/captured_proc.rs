//! A procfs made of plain files.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use psstat_sampler::{Options, Sampler};

/// A process by its files; `starttime` is field 22 of `stat`.
pub(crate) fn write_process(proc: &Path, pid: u32, starttime: u64, rchar: u64) -> PathBuf {
    let folder = proc.join(pid.to_string());
    let files = || -> std::io::Result<()> {
        for sub in ["fd", "ns", "task"] {
            fs::create_dir_all(folder.join(sub))?;
        }
        fs::create_dir_all(folder.join("task").join(pid.to_string()))?;
        fs::write(
            folder.join("stat"),
            format!(
                "{pid} (worker) S 1 {pid} {pid} 0 -1 4194304 9 0 0 0 5 3 0 0 20 0 1 0 {starttime} \
                 8192000 200 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 \
                 0 0 0\n"
            ),
        )?;
        fs::write(folder.join("statm"), "2000 200 100 5 0 300 0\n")?;
        fs::write(folder.join("cmdline"), "worker\0")?;
        write_io(&folder, rchar)
    };
    files().unwrap();
    folder
}

pub(crate) fn write_io(folder: &Path, rchar: u64) -> std::io::Result<()> {
    fs::write(
        folder.join("io"),
        format!(
            "rchar: {rchar}\nwchar: 0\nsyscr: 1\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\n\
             cancelled_write_bytes: 0\n"
        ),
    )
}

pub(crate) fn sampler(proc: &Path) -> Sampler {
    let options = Options {
        proc_root: proc.to_owned(),
        window: Duration::from_millis(1),
        // Kept ones would go on reading the old files.
        max_open_fds: Some(0),
        ..super::options()
    };
    Sampler::new(options).unwrap()
}

/// Makes it live in this network namespace.
pub(crate) fn live_in(folder: &Path, netns: &str) {
    symlink(netns, folder.join("ns/net")).unwrap();
}

/// Makes it hold sockets with these inodes.
pub(crate) fn hold(folder: &Path, inodes: Range<u32>) {
    for inode in inodes {
        symlink(format!("socket:[{inode}]"), folder.join("fd").join(inode.to_string())).unwrap();
    }
}

/// The tables of its network namespace, with these sockets in tcp's.
pub(crate) fn write_tables(folder: &Path, inodes: Range<u32>) {
    fs::create_dir_all(folder.join("net")).unwrap();
    let head = "  sl  local_address rem_address   st\n";
    let row = |inode: u32| {
        format!(
            "   0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        \
             0 {inode} 1 0000000000000000 20 4 30 10 -1\n"
        )
    };
    let rows: String = inodes.map(row).collect();
    fs::write(folder.join("net/tcp"), format!("{head}{rows}")).unwrap();
    for empty in ["udp", "unix"] {
        fs::write(folder.join("net").join(empty), head).unwrap();
    }
}
