//! With procfs: lists the sockets of a process (crates/proc-parse/examples/sockets.rs).
use procfs::process::{FDTarget, Process};
use std::collections::HashSet;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pid = std::env::args().nth(1).map_or(Ok(std::process::id() as i32), |pid| pid.parse())?;
    let process = Process::new(pid)?;
    let mut inodes = HashSet::new();
    for fd in process.fd()? {
        // It can be closed meanwhile.
        if let Ok(fd) = fd
            && let FDTarget::Socket(inode) = fd.target
        {
            inodes.insert(inode);
        }
    }
    for (protocol, table) in [("tcp", process.tcp()), ("tcp6", process.tcp6())] {
        // There is no table of IPv6 if the kernel has none.
        for row in table.into_iter().flatten().filter(|row| inodes.contains(&row.inode)) {
            println!("{protocol} {} {} {:?}", row.local_address, row.remote_address, row.state);
        }
    }
    for (protocol, table) in [("udp", process.udp()), ("udp6", process.udp6())] {
        for row in table.into_iter().flatten().filter(|row| inodes.contains(&row.inode)) {
            println!("{protocol} {} {} {:?}", row.local_address, row.remote_address, row.state);
        }
    }
    for row in process.unix()?.into_iter().filter(|row| inodes.contains(&row.inode)) {
        println!("unix {} {:?}", row.path.unwrap_or_default().display(), row.state);
    }
    Ok(())
}
