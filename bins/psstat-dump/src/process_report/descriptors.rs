//! The open descriptors of a process.

use psstat_proc_parse::FdTarget;
use rustix::fs::{FileType, makedev};

use super::files::{Link, TargetType};
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
    let queues = message_queue_devices(&files.read("mountinfo").unwrap_or_default());
    let types = files.target_types(links);
    let kinds: Vec<&str> =
        links.iter().zip(types).map(|((_, link), target)| kind(link, target, &queues)).collect();
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
/// and device of the file. Without these (in a capture) the path decides.
fn kind(link: &[u8], target: Option<TargetType>, queues: &[u64]) -> &'static str {
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
    match target {
        Some((FileType::Fifo, _)) => return "fifo",
        Some((FileType::CharacterDevice | FileType::BlockDevice, _)) => return "device",
        Some((FileType::RegularFile, device)) if queues.contains(&device) => {
            return "message queue";
        }
        _ => {}
    }
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

/// The device numbers of the message queue file systems that the process has
/// mounted; see proc_pid_mountinfo(5).
fn message_queue_devices(mountinfo: &[u8]) -> Vec<u64> {
    let device = |line: &str| {
        let (mount, source) = line.split_once(" - ")?;
        let (major, minor) = mount.split(' ').nth(2)?.split_once(':')?;
        let device = makedev(major.parse().ok()?, minor.parse().ok()?);
        source.starts_with("mqueue ").then_some(device)
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
            assert_eq!(kind(link, None, &[]), want);
            assert!(KINDS.iter().any(|(_, kind)| *kind == want));
        }
    }

    #[test]
    fn kinds_by_file_type() {
        for (link, file_type, want) in [
            (&b"/run/x"[..], FileType::Fifo, "fifo"),
            (b"/run/x (deleted)", FileType::Fifo, "fifo"),
            (b"/jail/null", FileType::CharacterDevice, "device"),
            (b"/dev/hugepages/x", FileType::RegularFile, "file"),
            (b"/dev", FileType::Directory, "file"),
        ] {
            assert_eq!(kind(link, Some((file_type, 5)), &[7]), want);
        }
        assert_eq!(kind(b"/q", Some((FileType::RegularFile, 7)), &[7]), "message queue");
    }

    #[test]
    fn message_queues_are_in_mountinfo() {
        let mounts = b"21 1 0:20 / /proc rw shared:5 - proc proc rw\n\
            22 1 0:19 / /dev/mqueue rw,nosuid - mqueue mqueue rw\n";
        assert_eq!(message_queue_devices(mounts), [makedev(0, 19)]);
    }
}
