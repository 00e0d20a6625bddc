//! Which files a path names: the file itself by device and inode, the files below a directory, all
//! of a mounted file system, and deleted files by the name that they had.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, makedev};

/// The text that the kernel appends to the path of a deleted file.
const DELETED: &[u8] = b" (deleted)";

/// A file, by its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) file_type: FileType,
    /// The number of its names.
    pub(super) links: Option<u32>,
    /// Of a device.
    rdev: u64,
}

impl FileId {
    /// The file that a path names, relative to `dir`. Symbolic links are followed. This can block
    /// on a file system whose server does not respond.
    pub(super) fn at(dir: impl rustix::fd::AsFd, path: impl rustix::path::Arg) -> Option<FileId> {
        // Cached attributes: the server of a network file system may not respond.
        let flags = AtFlags::STATX_DONT_SYNC;
        let mask = StatxFlags::TYPE | StatxFlags::NLINK | StatxFlags::INO;
        let stat = rustix::fs::statx(dir, path, flags, mask).ok()?;
        let has_links = stat.stx_mask & StatxFlags::NLINK.bits() != 0;
        Some(FileId {
            device: makedev(stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            file_type: FileType::from_raw_mode(stat.stx_mode.into()),
            links: has_links.then_some(stat.stx_nlink),
            rdev: makedev(stat.stx_rdev_major, stat.stx_rdev_minor),
        })
    }

    fn is_same(&self, other: &FileId) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// A path to search for.
#[derive(Clone, Debug)]
pub(super) struct PathTarget {
    /// Absolute, without symbolic links as far as it exists.
    name: Vec<u8>,
    /// The path as it was given, with the current directory in front.
    given: Vec<u8>,
    /// The file with this name now.
    file: Option<FileId>,
    /// Whether another file system is mounted there.
    is_mount_point: bool,
}

impl PathTarget {
    /// Resolves a path. This can block.
    pub(super) fn resolve(path: &Path) -> PathTarget {
        let mut target = PathTarget::by_name(path);
        target.name = canonical(path).into_os_string().into_encoded_bytes();
        target.file = FileId::at(CWD, OsStr::from_bytes(&target.name));
        let parent = Path::new(OsStr::from_bytes(&target.name)).join("..");
        target.is_mount_point = target.is_directory()
            && target.file.zip(FileId::at(CWD, &parent)).is_some_and(|(file, parent)| {
                // The parent of the root directory is that directory.
                file.device != parent.device || file.inode == parent.inode
            });
        target
    }

    /// A path that cannot be resolved: its files are found by their names.
    pub(super) fn by_name(path: &Path) -> PathTarget {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let name = absolute.into_os_string().into_encoded_bytes();
        PathTarget { given: name.clone(), name, file: None, is_mount_point: false }
    }

    fn is_directory(&self) -> bool {
        self.file.is_some_and(|file| file.file_type == FileType::Directory)
    }

    /// Whether a unix socket is bound to this path, or to one below it.
    pub(super) fn has_name(&self, name: &[u8]) -> bool {
        [&self.name, &self.given].into_iter().any(|path| name == path || is_below(name, path))
    }

    /// Whether a file belongs to it. `link` is its path, as the kernel prints it; `file` is unknown
    /// in a capture. `has_same_mounts`: the process sees the same file systems as this one. This
    /// can block.
    pub(super) fn contains(
        &self,
        link: &[u8],
        file: Option<&FileId>,
        has_same_mounts: impl FnOnce() -> bool,
    ) -> bool {
        if let (Some(target), Some(file)) = (&self.file, file) {
            let is_on_device =
                target.file_type == FileType::BlockDevice && target.rdev == file.device;
            let is_on_mount = self.is_mount_point && target.device == file.device;
            if target.is_same(file) || is_on_device || is_on_mount {
                return true;
            }
        }
        let name = without_deleted(link, file);
        if name != self.name && !is_below(name, &self.name) {
            return false;
        }
        let Some(file) = file else { return true };
        // A file in a container can have the same path as one here.
        if is_deleted(link, Some(file)) {
            return has_same_mounts() || self.file.is_some_and(|own| own.device == file.device);
        }
        FileId::at(CWD, OsStr::from_bytes(name)).is_some_and(|here| here.is_same(file))
    }
}

/// The path without symbolic links. The part that does not exist remains as it is.
fn canonical(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for ancestor in absolute.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            let rest = absolute.strip_prefix(ancestor).unwrap_or(Path::new(""));
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    absolute
}

fn is_below(name: &[u8], directory: &[u8]) -> bool {
    let rest = name.strip_prefix(directory.strip_suffix(b"/").unwrap_or(directory));
    rest.is_some_and(|rest| rest.starts_with(b"/"))
}

/// Whether a file has no name any more. The name of a file that exists can end in ` (deleted)`.
pub(super) fn is_deleted(link: &[u8], file: Option<&FileId>) -> bool {
    link.ends_with(DELETED) && file.and_then(|file| file.links).is_none_or(|links| links == 0)
}

/// The path of a link, without the mark of a deleted file.
pub(super) fn without_deleted<'a>(link: &'a [u8], file: Option<&FileId>) -> &'a [u8] {
    match link.strip_suffix(DELETED) {
        Some(name) if is_deleted(link, file) => name,
        _ => link,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below() {
        for (name, directory, want) in [
            ("/a/b", "/a", true),
            ("/a/b", "/a/", true),
            ("/ab", "/a", false),
            ("/a", "/a", false),
            ("/a", "/", true),
            ("/", "/", true),
            ("a", "/", false),
        ] {
            assert_eq!(is_below(name.as_bytes(), directory.as_bytes()), want, "{name} {directory}");
        }
    }

    #[test]
    fn the_part_that_exists_is_canonical() {
        let temp = std::env::temp_dir().canonicalize().unwrap();
        let name = format!("psstat-paths-{}", std::process::id());
        let (dir, link) = (temp.join(&name), temp.join(format!("{name}-link")));
        std::fs::create_dir(&dir).unwrap();
        std::os::unix::fs::symlink(&dir, &link).unwrap();
        assert_eq!(canonical(&link), dir);
        assert_eq!(canonical(&link.join("x/y")), dir.join("x/y"));
        let target = PathTarget::resolve(&link.join("x"));
        for name in [&dir, &link] {
            assert!(target.has_name(name.join("x").as_os_str().as_bytes()));
            assert!(!target.has_name(name.join("xy").as_os_str().as_bytes()));
        }
        assert!(PathTarget::resolve(Path::new("/")).is_mount_point);
        assert!(PathTarget::resolve(Path::new("/proc")).is_mount_point);
        assert!(!PathTarget::resolve(&dir).is_mount_point);
        std::fs::remove_dir(&dir).unwrap();
        std::fs::remove_file(&link).unwrap();
    }
}
