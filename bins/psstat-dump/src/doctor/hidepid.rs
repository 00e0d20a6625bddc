//! Whether the procfs hides other users' processes (`hidepid=`, see proc(5)).

use std::path::Path;

use rustix::fs::{major, minor};

use super::Check;
use super::rights::may_trace;
use crate::conf;

const NAME: &str = "hidepid";

/// What of a process opens a procfs that hides.
struct SelfCaps {
    /// `CAP_SYS_PTRACE` is in effect.
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
    let Ok(mounts) = std::fs::read(proc.join("self/mountinfo")) else {
        return Check::note(NAME, "self/mountinfo cannot be read", "see `mount -t proc`");
    };
    let device = rustix::fs::stat(proc).map(|stat| (major(stat.st_dev), minor(stat.st_dev)));
    match device.ok().and_then(|device| options(&mounts, device)) {
        Some(options) => judge(&options, &SelfCaps::read(proc), proc),
        None => Check::note(
            NAME,
            "cannot be told: this procfs is mounted in another mount namespace",
            "`mount -t proc` there tells the options",
        ),
    }
}

/// The options of the procfs on this device, whatever the path that leads to
/// it; see proc_pid_mountinfo(5).
fn options(mountinfo: &[u8], (major, minor): (u32, u32)) -> Option<String> {
    let device = format!("{major}:{minor}");
    String::from_utf8_lossy(mountinfo).lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let mut source = source.split(' ');
        let is_it = mount.split(' ').nth(2) == Some(&device) && source.next() == Some("proc");
        is_it.then(|| source.nth(1).unwrap_or_default().to_owned())
    })
}

/// As the kernel's `has_pid_permissions` does.
fn judge(options: &str, own: &SelfCaps, proc: &Path) -> Check {
    let option = |name: &str| options.split(',').find_map(|option| option.strip_prefix(name));
    let mode = option("hidepid=").filter(|mode| !["0", "off"].contains(mode));
    let Some(mode) = mode else {
        return Check::ok(NAME, "processes of all users are listed");
    };
    if own.may_trace {
        let found = format!("hidepid={mode}, which hides nothing from CAP_SYS_PTRACE");
        return Check::ok(NAME, found);
    }
    // Where none is named, it is root's.
    let named = option("gid=").and_then(|gid| gid.parse().ok());
    let group: u32 = named.unwrap_or(0);
    let heeds_group = !["4", "ptraceable"].contains(&mode);
    if heeds_group && own.groups.contains(&group) {
        let found = format!("hidepid={mode}, which hides nothing from group {group}");
        return Check::ok(NAME, found);
    }
    let right = if own.is_root {
        "give the container CAP_SYS_PTRACE (`docker run --cap-add SYS_PTRACE`)"
    } else {
        "run as root"
    };
    let join = match named {
        Some(group) if heeds_group => format!(", or in group {group}, which the mount names,"),
        _ => String::new(),
    };
    Check::bad(
        NAME,
        format!("hidepid={mode}: other users' processes are not seen or not readable"),
        format!("{right}{join} or `mount -o remount,hidepid=0 {}`", conf::shown(proc)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn picks_options_of_the_right_mount() {
        let mounts = b"21 1 0:20 / /proc rw,relatime shared:5 - proc proc rw,hidepid=invisible\n\
            22 1 0:21 / /sys rw - sysfs sysfs rw\n\
            23 1 0:2 / /host/proc rw - proc proc rw\n\
            25 24 0:24 / /x\\040y rw master:3 - proc proc rw,gid=4,hidepid=2\n";
        let of = |minor| options(mounts, (0, minor));
        assert_eq!(of(20).as_deref(), Some("rw,hidepid=invisible"));
        assert_eq!(of(2).as_deref(), Some("rw"));
        assert_eq!(of(24).as_deref(), Some("rw,gid=4,hidepid=2"));
        assert_eq!((of(21), of(4)), (None, None));
    }

    #[test]
    fn privileged_user_is_ok() {
        let (nobody, trace, group, root) = (
            SelfCaps { may_trace: false, is_root: false, groups: vec![65534] },
            SelfCaps { may_trace: true, is_root: false, groups: vec![65534] },
            SelfCaps { may_trace: false, is_root: false, groups: vec![65534, 4] },
            // In a container, most often, and there in root's group.
            SelfCaps { may_trace: false, is_root: true, groups: vec![0] },
        );
        for (options, own, want) in [
            ("rw", &nobody, State::Ok),
            ("rw,hidepid=off", &nobody, State::Ok),
            ("rw,hidepid=0,gid=4", &nobody, State::Ok),
            ("rw,hidepid=2", &nobody, State::Fail),
            ("rw,hidepid=2,gid=4", &nobody, State::Fail),
            ("rw,gid=4,hidepid=noaccess", &group, State::Ok),
            ("rw,gid=40,hidepid=invisible", &group, State::Fail),
            ("rw,gid=4,hidepid=4", &group, State::Fail),
            ("rw,gid=4,hidepid=ptraceable", &group, State::Fail),
            ("rw,hidepid=ptraceable", &trace, State::Ok),
            ("rw,hidepid=2", &root, State::Ok),
            ("rw,hidepid=ptraceable", &root, State::Fail),
            ("rw,hidepid=2,gid=4", &root, State::Fail),
        ] {
            assert_eq!(judge(options, own, Path::new("/proc")).state, want, "{options}");
        }
    }
}
