//! Lists the sockets of a process: `sockets PID`.
use psstat_proc_parse::{FdTarget, net::inet::InetRows, net::unix::UnixRows};
use std::{collections::HashSet, fs, os::unix::ffi::OsStrExt as _};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pid = std::env::args().nth(1).unwrap_or("self".into());
    let mut inodes = HashSet::new();
    for fd in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // It can be closed meanwhile.
        let Ok(link) = fs::read_link(fd?.path()) else { continue };
        if let FdTarget::Socket(inode) = FdTarget::parse(link.as_os_str().as_bytes()) {
            inodes.insert(inode);
        }
    }
    for protocol in ["tcp", "tcp6", "udp", "udp6"] {
        // There is no table of IPv6 if the kernel has none.
        let table = fs::read(format!("/proc/{pid}/net/{protocol}")).unwrap_or_default();
        for row in InetRows::new(&table).flatten().filter(|row| inodes.contains(&row.inode)) {
            println!("{protocol} {} {} {}", row.local, row.remote, row.state);
        }
    }
    let table = fs::read(format!("/proc/{pid}/net/unix"))?;
    for row in UnixRows::new(&table).flatten().filter(|row| inodes.contains(&row.inode)) {
        println!("unix {} {}", row.path.unwrap_or_default().escape_ascii(), row.state);
    }
    Ok(())
}
