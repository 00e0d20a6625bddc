//! Whether the procfs hides other users' processes (`hidepid=`, see proc(5)).

use std::path::Path;

use rustix::fs::{major, minor};

use super::Check;
use super::capabilities::may_trace;
use super::kernel::self_dir;
use crate::conf;

const NAME: &str = "hidepid";

/// Attributes of this process that give access despite `hidepid`.
struct SelfCaps {
    /// `CAP_SYS_PTRACE` is effective.
    may_trace: bool,
    is_root: bool,
    groups: Vec<u32>,
}

impl SelfCaps {
    fn read(proc: &Path) -> SelfCaps {
        let all = rustix::process::getgroups().unwrap_or_default();
        let groups = all.into_iter().chain([rustix::process::getegid()]);
        SelfCaps {
            may_trace: may_trace(proc),
            is_root: rustix::process::geteuid().is_root(),
            groups: groups.map(rustix::process::Gid::as_raw).collect(),
        }
    }
}

pub(super) fn hidepid(proc: &Path) -> Check {
    let Ok(mounts) = std::fs::read(self_dir(proc).join("mountinfo")) else {
        return Check::warn(NAME, "cannot read self/mountinfo", "see `mount -t proc`");
    };
    let device = rustix::fs::stat(proc).map(|stat| (major(stat.st_dev), minor(stat.st_dev)));
    match device.ok().and_then(|device| options(&mounts, device)) {
        Some(options) => judge(&options, &SelfCaps::read(proc), proc),
        None => Check::warn(
            NAME,
            "unknown: this procfs is mounted in another mount namespace",
            "run `mount -t proc` there to see the options",
        ),
    }
}

/// The mount options of the procfs with this device number; see
/// proc_pid_mountinfo(5).
fn options(mountinfo: &[u8], (major, minor): (u32, u32)) -> Option<String> {
    let device = format!("{major}:{minor}");
    String::from_utf8_lossy(mountinfo).lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let mut source = source.split(' ');
        let is_match = mount.split(' ').nth(2) == Some(&device) && source.next() == Some("proc");
        is_match.then(|| source.nth(1).unwrap_or_default().to_owned())
    })
}

/// The check of the kernel's `has_pid_permissions`.
fn judge(options: &str, caps: &SelfCaps, proc: &Path) -> Check {
    let option = |name: &str| options.split(',').find_map(|option| option.strip_prefix(name));
    let mode = option("hidepid=").filter(|mode| !["0", "off"].contains(mode));
    let Some(mode) = mode else {
        return Check::ok(NAME, "processes of all users are listed");
    };
    if caps.may_trace {
        let result = format!("hidepid={mode}, but CAP_SYS_PTRACE gives access");
        return Check::ok(NAME, result);
    }
    // The default group is that of root.
    let mount_group = option("gid=").and_then(|gid| gid.parse().ok());
    let group: u32 = mount_group.unwrap_or(0);
    let has_group = !["4", "ptraceable"].contains(&mode);
    if has_group && caps.groups.contains(&group) {
        let result = format!("hidepid={mode}, but group {group} gives access");
        return Check::ok(NAME, result);
    }
    let help = if caps.is_root {
        "give the container CAP_SYS_PTRACE (`docker run --cap-add SYS_PTRACE`)"
    } else {
        "run as root"
    };
    let group = match mount_group {
        Some(group) if has_group => format!(", or in group {group} of the mount options,"),
        _ => String::new(),
    };
    Check::fail(
        NAME,
        format!("hidepid={mode}: other users' processes are invisible or unreadable"),
        format!("{help}{group} or `mount -o remount,hidepid=0 {}`", conf::display(proc)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn picks_options_of_the_right_mount() {
        let mounts = b"21 1 0:20 / /proc rw,relatime shared:5 - proc proc rw,hidepid=invisible\n\
            22 1 0:21 / /sys rw - sysfs sysfs rw\n\
            23 1 0:2 / /host/proc rw - proc proc rw\n\
            25 24 0:24 / /x\\040y rw master:3 - proc proc rw,gid=4,hidepid=2\n";
        let of_minor = |minor| options(mounts, (0, minor));
        assert_eq!(of_minor(20).as_deref(), Some("rw,hidepid=invisible"));
        assert_eq!(of_minor(2).as_deref(), Some("rw"));
        assert_eq!(of_minor(24).as_deref(), Some("rw,gid=4,hidepid=2"));
        assert_eq!((of_minor(21), of_minor(4)), (None, None));
    }

    #[test]
    fn privileged_user_is_ok() {
        let (user, trace, group, root) = (
            SelfCaps { may_trace: false, is_root: false, groups: vec![65534] },
            SelfCaps { may_trace: true, is_root: false, groups: vec![65534] },
            SelfCaps { may_trace: false, is_root: false, groups: vec![65534, 4] },
            // Usually in a container, with root's group.
            SelfCaps { may_trace: false, is_root: true, groups: vec![0] },
        );
        for (options, caps, want) in [
            ("rw", &user, Status::Ok),
            ("rw,hidepid=off", &user, Status::Ok),
            ("rw,hidepid=0,gid=4", &user, Status::Ok),
            ("rw,hidepid=2", &user, Status::Fail),
            ("rw,hidepid=2,gid=4", &user, Status::Fail),
            ("rw,gid=4,hidepid=noaccess", &group, Status::Ok),
            ("rw,gid=40,hidepid=invisible", &group, Status::Fail),
            ("rw,gid=4,hidepid=4", &group, Status::Fail),
            ("rw,gid=4,hidepid=ptraceable", &group, Status::Fail),
            ("rw,hidepid=ptraceable", &trace, Status::Ok),
            ("rw,hidepid=2", &root, Status::Ok),
            ("rw,hidepid=ptraceable", &root, Status::Fail),
            ("rw,hidepid=2,gid=4", &root, Status::Fail),
        ] {
            assert_eq!(judge(options, caps, Path::new("/proc")).status, want, "{options}");
        }
    }
}
