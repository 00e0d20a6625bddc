//! Captured procfs: a directory with copies of files of `/proc`, possibly of unknown origin.
//!
//! Its entries can be anything: pipes and devices whose open or read blocks, links to other
//! files of this host, files of any size. Only directories and regular files in it are opened.

mod machine;

pub use machine::Machine;

use std::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

/// Larger files are refused. The table of a million sockets has 150 MB; captures contain the
/// rows of the captured processes' sockets.
pub const MAX_FILE_SIZE: u64 = 64 << 20;

/// Opens an entry of a captured procfs for reading, by its path relative to `dir`. `flags`
/// are those of `openat(2)`; with `O_DIRECTORY` it must be a directory, with `O_PATH` alone it
/// can be anything, also a symbolic link, and otherwise it must be a regular file. Symbolic
/// links are never followed, and the open never blocks.
///
/// # Errors
/// `ELOOP` or `ENOTDIR` for a symbolic link, `EINVAL` for a pipe, socket or device, `EISDIR`
/// for a directory, `EFBIG` for a file of more than [`MAX_FILE_SIZE`], and those of
/// `openat(2)`.
pub fn open(dir: impl AsFd, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    const WALK: OFlags =
        OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut components = path.to_bytes().split(|&byte| byte == b'/');
    let name = components.next_back().ok_or(Errno::INVAL)?;
    let mut parent = None::<OwnedFd>;
    for component in components {
        let at = parent.as_ref().map_or(dir.as_fd(), AsFd::as_fd);
        parent = Some(rustix::fs::openat(at, component, WALK, Mode::empty())?);
    }
    let parent = parent.as_ref().map_or(dir.as_fd(), AsFd::as_fd);
    if flags.intersects(OFlags::DIRECTORY | OFlags::PATH) {
        return rustix::fs::openat(parent, name, flags, Mode::empty());
    }
    // Before the open, since that of a device can have effects.
    check(parent, name)?;
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    check_stat(&rustix::fs::fstat(&file)?)?;
    Ok(file)
}

fn check(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    check_stat(&rustix::fs::statat(parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?)
}

fn check_stat(stat: &rustix::fs::Stat) -> Result<(), Errno> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_size.cast_unsigned() > MAX_FILE_SIZE => Err(Errno::FBIG),
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Errno::ISDIR),
        FileType::Symlink => Err(Errno::LOOP),
        _ => Err(Errno::INVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, mknodat};
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_in_the_directory_are_opened() {
        let temp = psstat_testproc::TempDir::new().unwrap();
        std::fs::create_dir_all(temp.join("7/net")).unwrap();
        std::fs::write(temp.join("7/stat"), "x").unwrap();
        std::fs::write(temp.join("7/net/tcp"), "x").unwrap();
        let huge = std::fs::File::create(temp.join("7/huge")).unwrap();
        huge.set_len(20 << 30).unwrap();
        mknodat(CWD, temp.join("7/pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(temp.join("7/socket")).unwrap();
        for (target, link) in [
            ("/dev/zero", "7/zero"),
            ("stat", "7/inside"),
            ("loop", "7/loop"),
            ("net", "7/linked-net"),
            ("7", "8"),
        ] {
            symlink(target, temp.join(link)).unwrap();
        }
        let dir = std::fs::File::open(temp.path()).unwrap();
        let open = |path: &CStr, flags| open(&dir, path, flags).map(drop);
        for (path, want) in [
            (c"7/stat", Ok(())),
            (c"7/net/tcp", Ok(())),
            (c"7/huge", Err(Errno::FBIG)),
            (c"7/pipe", Err(Errno::INVAL)),
            (c"7/socket", Err(Errno::INVAL)),
            (c"7/net", Err(Errno::ISDIR)),
            (c"7/zero", Err(Errno::LOOP)),
            (c"7/inside", Err(Errno::LOOP)),
            (c"7/loop", Err(Errno::LOOP)),
            (c"7/linked-net/tcp", Err(Errno::NOTDIR)),
            (c"8/stat", Err(Errno::NOTDIR)),
            (c"9/stat", Err(Errno::NOENT)),
        ] {
            assert_eq!(open(path, OFlags::RDONLY), want, "{path:?}");
        }
        assert_eq!(open(c"7/net", OFlags::DIRECTORY), Ok(()));
        assert_eq!(open(c"8", OFlags::DIRECTORY | OFlags::PATH), Err(Errno::NOTDIR));
        assert_eq!(open(c"7/zero", OFlags::PATH), Ok(()), "to read the link itself");
    }
}
