//! The open descriptors of a process.

use psstat_proc_parse::FdTarget;

use super::files::Link;
use super::{ReadError, Section, Value};

/// `open` is the number of descriptors, which can be known if the links are not
/// readable; `slots` is the allocated size of the descriptor table, `FDSize`.
pub(super) fn section(
    links: &Result<Vec<Link>, ReadError>,
    open: Option<u64>,
    slots: Option<u64>,
) -> Section {
    let mut section = Section::new("descriptors");
    section.field("open", Value::number(open));
    section.field("slots", Value::number(slots));
    let links = match links {
        Ok(links) => links,
        Err(error) => {
            section.unread = Some(error.clone());
            return section;
        }
    };
    for (field, kind) in KINDS {
        let count = links.iter().filter(|(_, link)| self::kind(link) == kind).count();
        section.field(field, Value::Number(count as u64));
    }
    let row = |(number, link): &Link| {
        let kind = Value::text(kind(link));
        vec![Value::Number(u64::from(*number)), kind, Value::Text(link.clone())]
    };
    let rows = links.iter().map(row).collect();
    section.list("list", &["fd", "kind", "target"], rows);
    section
}

/// The fields that count the kinds.
const KINDS: [(&str, &str); 9] = [
    ("files", "file"),
    ("deleted_files", "deleted file"),
    ("devices", "device"),
    ("sockets", "socket"),
    ("pipes", "pipe"),
    ("anon_inodes", "anon inode"),
    ("memfds", "memfd"),
    ("namespaces", "namespace"),
    ("others", "other"),
];

fn kind(link: &[u8]) -> &'static str {
    match FdTarget::parse(link) {
        FdTarget::Socket(_) => "socket",
        FdTarget::Pipe(_) => "pipe",
        FdTarget::AnonInode(_) => "anon inode",
        FdTarget::Memfd(_) => "memfd",
        FdTarget::Namespace { .. } => "namespace",
        FdTarget::Device(_) => "device",
        FdTarget::File { deleted: false, .. } => "file",
        FdTarget::File { deleted: true, .. } => "deleted file",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_every_kind() {
        let links: [(&[u8], &str); 9] = [
            (b"/etc/hosts", "files"),
            (b"/tmp/x (deleted)", "deleted_files"),
            (b"/dev/null", "devices"),
            (b"socket:[7]", "sockets"),
            (b"pipe:[7]", "pipes"),
            (b"anon_inode:[eventpoll]", "anon_inodes"),
            (b"/memfd:x (deleted)", "memfds"),
            (b"net:[4026531840]", "namespaces"),
            (b"unknown", "others"),
        ];
        for (link, field) in links {
            let section = section(&Ok(vec![(0, link.to_vec())]), Some(1), None);
            let ones: Vec<_> = section
                .fields
                .iter()
                .filter(|field| field.value == Value::Number(1))
                .map(|field| field.name)
                .collect();
            assert_eq!(ones, ["open", field]);
        }
    }
}
