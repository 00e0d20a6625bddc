//! The installation of the .rpm.

use std::path::Path;

use crate::Result;
use crate::container::Chroot;

/// Installs it in a copy of this machine's root, verifies its files, and removes it.
pub(super) fn inside(dir: &Path, rpm: &Path) -> Result<()> {
    let chroot = Chroot::new(dir)?;
    std::fs::copy(rpm, chroot.path("/root/psstat.rpm"))?;
    // The machine may have another architecture, and its packages are not in rpm's database.
    chroot.sh("rpm --install --nodeps --ignorearch psstat.rpm 2>&1")?;
    // Prints each file that is missing, or has another content, owner, mode or capability.
    chroot.sh("rpm --verify --nodeps psstat")?;
    let capable = "/usr/lib/psstat/psstat-tcollector";
    let privileges = chroot.sh(&format!("getcap {capable}; stat -c '%U:%G %a' {capable}"))?.stdout;
    let capabilities = "cap_dac_read_search,cap_sys_ptrace,cap_perfmon,cap_bpf=ep";
    let expected = format!("{capable} {capabilities}\nroot:psstat 750\n");
    if privileges != expected {
        return Err(format!("{privileges}, not {expected}").into());
    }
    let list = chroot.sh("rpm --query --list psstat")?.stdout;
    let files: Vec<&str> = list.lines().collect();
    for file in [
        "/usr/bin/psstat-dump",
        "/usr/lib/psstat/collector",
        "/usr/lib/systemd/system/psstat.service",
        "/usr/lib/systemd/system/psstat-textfile.service",
        "/usr/lib/systemd/system/psstat-record.service",
        "/usr/share/man/man1/psstat-tcollector.1",
        "/usr/share/psstat/prometheus/psstat.rules.yml",
        "/usr/share/doc/psstat/docs/install.md",
        "/etc/default/psstat",
    ] {
        if !files.contains(&file) || !chroot.has(file) {
            return Err(format!("no {file} in {list}").into());
        }
    }
    // As the user's changes of any config file, this one is kept.
    chroot
        .sh("echo PSSTAT_INTERVAL=30 >> /etc/default/psstat; rpm --erase --nodeps psstat 2>&1")?;
    let left: Vec<&&str> = files.iter().filter(|file| chroot.has(file)).collect();
    if !left.is_empty() || !chroot.has("/etc/default/psstat.rpmsave") {
        return Err(format!("after its removal: {left:?}").into());
    }
    println!("{}: {} files installed, verified and removed", rpm.display(), files.len());
    Ok(())
}
