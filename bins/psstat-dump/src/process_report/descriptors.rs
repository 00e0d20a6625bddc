//! The open descriptors of a process.

use std::collections::BTreeMap;

use psstat_proc_parse::FdTarget;
use rustix::fs::{FileType, makedev};

use super::files::{Link, Target};
use super::{Files, ReadError, Section, Value};

/// `open` is the number of descriptors, which can be known if the links are not
/// readable; `slots` is the allocated size of the descriptor table, `FDSize`.
pub(super) fn section(
    files: &Files,
    links: &Result<Vec<Link>, ReadError>,
    open: Option<u64>,
    slots: Option<u64>,
) -> Section {
    let mut section = Section::new("descriptors");
    section.field("open", Value::number(open));
    section.field("slots", Value::number(slots));
    let others = files.threads_with_other_fds().filter(|others| *others > 0);
    section.field("threads_with_other_descriptors", Value::number(others));
    let links = match links {
        Ok(links) => links,
        Err(error) => {
            section.unread = Some(error.clone());
            return section;
        }
    };
    let targets = files.targets(links);
    let mut devices = devices(&files.read("mountinfo").unwrap_or_default());
    for ((fd, link), target) in links.iter().zip(&targets) {
        if let Some(target) = target
            && may_be_unmounted_queue(link, *target)
            && !devices.contains_key(&target.device)
        {
            devices.insert(target.device, files.is_message_queue(*fd));
        }
    }
    let kinds: Vec<&str> =
        links.iter().zip(targets).map(|((_, link), target)| kind(link, target, &devices)).collect();
    for (field, kind) in KINDS {
        let count = kinds.iter().filter(|one| **one == kind).count();
        section.field(field, Value::Number(count as u64));
    }
    let row = |((fd, link), kind): (&Link, &&str)| {
        vec![Value::Number(u64::from(*fd)), Value::text(*kind), Value::Text(link.clone())]
    };
    let rows = links.iter().zip(&kinds).map(row).collect();
    section.list("list", &["fd", "kind", "target"], rows);
    section
}

/// The fields that count the kinds.
const KINDS: [(&str, &str); 13] = [
    ("files", "file"),
    ("deleted_files", "deleted file"),
    ("devices", "device"),
    ("sockets", "socket"),
    ("pipes", "pipe"),
    ("fifos", "fifo"),
    ("message_queues", "message queue"),
    ("anon_inodes", "anon inode"),
    ("memfds", "memfd"),
    ("shared_memory", "shared memory"),
    ("secret_memory", "secret memory"),
    ("namespaces", "namespace"),
    ("others", "other"),
];

/// The kind of a descriptor: from its link and, if that is a path, from the type
/// and device of the file, and the number of its names. Without these (in a capture) the path
/// decides.
fn kind(link: &[u8], target: Option<Target>, devices: &Devices) -> &'static str {
    let deleted = match FdTarget::parse(link) {
        FdTarget::Socket(_) => return "socket",
        FdTarget::Pipe(_) => return "pipe",
        FdTarget::AnonInode(_) => return "anon inode",
        FdTarget::Memfd(_) => return "memfd",
        FdTarget::Namespace { .. } => return "namespace",
        FdTarget::Device(_) => false,
        FdTarget::File { deleted, .. } => deleted,
        _ => return "other",
    };
    match target.map(|target| target.file_type) {
        Some(FileType::Fifo) => return "fifo",
        Some(FileType::CharacterDevice | FileType::BlockDevice) => return "device",
        Some(FileType::RegularFile)
            if target.is_some_and(|target| devices.get(&target.device) == Some(&true)) =>
        {
            return "message queue";
        }
        _ => {}
    }
    // The name of a file that exists can end in ` (deleted)`.
    let exists = target.is_some_and(|target| {
        target.file_type == FileType::RegularFile && target.links.is_some_and(|links| links > 0)
    });
    let deleted = deleted && !exists;
    if link.starts_with(b"/dev/shm/") {
        return "shared memory";
    }
    if link == b"/secretmem (deleted)" {
        return "secret memory";
    }
    match deleted {
        true => "deleted file",
        false if target.is_none() && link.starts_with(b"/dev/") => "device",
        false => "file",
    }
}

/// The kind of a descriptor, for which message queues are files.
pub(crate) fn descriptor_kind(link: &[u8], target: Option<Target>) -> &'static str {
    kind(link, target, &Devices::new())
}

/// Whether each file system contains message queues, by its device number.
type Devices = BTreeMap<u64, bool>;

/// Whether a file can be a message queue of a file system that the process has not mounted: its
/// path is then that from the root of the file system. Other files are not asked for their file
/// system, since a server may not respond.
fn may_be_unmounted_queue(link: &[u8], target: Target) -> bool {
    let is_in_root = |path: &[u8]| {
        path.strip_prefix(b"/").is_some_and(|name| !name.is_empty() && !name.contains(&b'/'))
    };
    target.file_type == FileType::RegularFile
        && matches!(FdTarget::parse(link), FdTarget::File { path, .. } if is_in_root(path))
}

/// The file systems that the process has mounted; see proc_pid_mountinfo(5).
fn devices(mountinfo: &[u8]) -> Devices {
    let device = |line: &str| {
        let (mount, source) = line.split_once(" - ")?;
        let (major, minor) = mount.split(' ').nth(2)?.split_once(':')?;
        let device = makedev(major.parse().ok()?, minor.parse().ok()?);
        Some((device, source.starts_with("mqueue ")))
    };
    String::from_utf8_lossy(mountinfo).lines().filter_map(device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_link() {
        let links: [(&[u8], &str); 12] = [
            (b"/etc/hosts", "file"),
            (b"/tmp/x (deleted)", "deleted file"),
            (b"/dev/null", "device"),
            (b"socket:[7]", "socket"),
            (b"pipe:[7]", "pipe"),
            (b"anon_inode:[eventpoll]", "anon inode"),
            (b"/memfd:x (deleted)", "memfd"),
            (b"/dev/shm/x", "shared memory"),
            (b"/dev/shm/x (deleted)", "shared memory"),
            (b"/secretmem (deleted)", "secret memory"),
            (b"net:[4026531840]", "namespace"),
            (b"unknown", "other"),
        ];
        for (link, want) in links {
            assert_eq!(kind(link, None, &Devices::new()), want);
            assert!(KINDS.iter().any(|(_, kind)| *kind == want));
        }
    }

    #[test]
    fn kinds_by_file_type() {
        let devices = Devices::from([(7, true), (8, false)]);
        let target =
            |file_type, device, links| Some(Target { file_type, device, links: Some(links) });
        for (link, file_type, want) in [
            (&b"/run/x"[..], FileType::Fifo, "fifo"),
            (b"/run/x (deleted)", FileType::Fifo, "fifo"),
            (b"/jail/null", FileType::CharacterDevice, "device"),
            (b"/dev/hugepages/x", FileType::RegularFile, "file"),
            (b"/dev", FileType::Directory, "file"),
        ] {
            assert_eq!(kind(link, target(file_type, 5, 1), &devices), want);
        }
        assert_eq!(kind(b"/q", target(FileType::RegularFile, 7, 1), &devices), "message queue");
        for (links, want) in [(0, "deleted file"), (1, "file")] {
            let target = target(FileType::RegularFile, 5, links);
            assert_eq!(kind(b"/tmp/x (deleted)", target, &devices), want);
        }
    }

    #[test]
    fn message_queues_are_in_mountinfo() {
        let mounts = b"21 1 0:20 / /proc rw shared:5 - proc proc rw\n\
            22 1 0:19 / /dev/mqueue rw,nosuid - mqueue mqueue rw\n";
        assert_eq!(devices(mounts), [(makedev(0, 19), true), (makedev(0, 20), false)].into());
    }
}
