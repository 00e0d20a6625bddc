//! The output of a capture: a directory, or an archive that becomes one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

/// The ends of the names of archives.
const SUFFIXES: [&str; 2] = [".tar.gz", ".tgz"];

/// The name of the directory in an archive; `None` if the path is not that of an archive.
pub(crate) fn name_in_archive(path: &Path) -> Option<&Path> {
    let name = path.file_name()?.as_bytes();
    let stem = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix.as_bytes()))?;
    (!stem.is_empty()).then(|| Path::new(std::ffi::OsStr::from_bytes(stem)))
}

/// A place for files, links and directories, by their paths in it. Only this user can read them.
pub(super) enum Output {
    Directory(PathBuf),
    Archive(Archive),
}

/// An archive that is being written, which is removed if it is not finished.
pub(super) struct Archive {
    builder: Option<Builder<GzEncoder<File>>>,
    root: PathBuf,
    path: PathBuf,
}

impl Drop for Archive {
    fn drop(&mut self) {
        if self.builder.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Archive {
    fn builder(&mut self) -> io::Result<&mut Builder<GzEncoder<File>>> {
        self.builder.as_mut().ok_or_else(|| io::Error::other("the archive is finished"))
    }
}

impl Output {
    /// Creates the directory, which may exist if it is empty, or the archive, and their parents.
    pub(super) fn create(path: &Path) -> io::Result<Output> {
        if let Some(parent) = path.parent() {
            DirBuilder::new().mode(0o700).recursive(true).create(parent)?;
        }
        let Some(root) = name_in_archive(path) else {
            create_dir(path)?;
            return Ok(Output::Directory(path.to_owned()));
        };
        let file = create_file(path)?;
        let builder = Builder::new(GzEncoder::new(file, Compression::default()));
        let archive =
            Archive { builder: Some(builder), root: root.to_owned(), path: path.to_owned() };
        let mut output = Output::Archive(archive);
        output.dir(Path::new(""))?;
        Ok(output)
    }

    /// Creates a directory; those above it exist.
    pub(super) fn dir(&mut self, path: &Path) -> io::Result<()> {
        match self {
            Output::Directory(root) => create_dir(&root.join(path)),
            Output::Archive(archive) => {
                let path = archive.root.join(path);
                let mut header = header(EntryType::Directory, 0o700, 0);
                archive.builder()?.append_data(&mut header, path, io::empty())
            }
        }
    }

    /// Writes a file.
    pub(super) fn file(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        match self {
            Output::Directory(root) => create_file(&root.join(path))?.write_all(bytes),
            Output::Archive(archive) => {
                let path = archive.root.join(path);
                let mut header = header(EntryType::Regular, 0o600, bytes.len() as u64);
                archive.builder()?.append_data(&mut header, path, bytes)
            }
        }
    }

    /// Makes a symbolic link with any target.
    pub(super) fn link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        match self {
            Output::Directory(root) => symlink(target, root.join(path)),
            Output::Archive(archive) => {
                let path = archive.root.join(path);
                let mut header = header(EntryType::Symlink, 0o777, 0);
                archive.builder()?.append_link(&mut header, path, target)
            }
        }
    }

    /// Makes the same file under another path. Not every file system can.
    pub(super) fn same_file(&mut self, path: &Path, first: &Path) -> io::Result<()> {
        match self {
            Output::Directory(root) => fs::hard_link(root.join(first), root.join(path)),
            Output::Archive(archive) => {
                let (path, first) = (archive.root.join(path), archive.root.join(first));
                let mut header = header(EntryType::Link, 0o600, 0);
                archive.builder()?.append_link(&mut header, path, first)
            }
        }
    }

    /// Completes the output.
    pub(super) fn finish(self) -> io::Result<()> {
        let Output::Archive(mut archive) = self else { return Ok(()) };
        let path = archive.path.clone();
        let Some(builder) = archive.builder.take() else { return Ok(()) };
        let written =
            builder.into_inner().and_then(GzEncoder::finish).and_then(|file| file.sync_all());
        written.inspect_err(|_| {
            let _ = fs::remove_file(&path);
        })
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    header.set_mtime(now.as_secs());
    header
}

/// Creates a directory, or accepts an empty one.
fn create_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read_dir(path)?.next().is_some() {
                return Err(io::Error::new(error.kind(), "the directory is not empty"));
            }
            Ok(())
        }
        other => other,
    }
}

fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_archives() {
        for (path, want) in [
            ("report.tar.gz", Some("report")),
            ("/a.tgz/b.tgz", Some("b")),
            ("report", None),
            ("a.tar.gz/b", None),
            (".tar.gz", None),
            ("/", None),
        ] {
            assert_eq!(name_in_archive(Path::new(path)), want.map(Path::new), "{path}");
        }
    }

    /// A program that ends early leaves no archive that could be taken for a complete one.
    #[test]
    fn unfinished_archives_are_removed() {
        let temp = psstat_testproc::TempDir::new().unwrap();
        let path = temp.join("x.tar.gz");
        let mut output = Output::create(&path).unwrap();
        output.file(Path::new("f"), b"x").unwrap();
        drop(output);
        assert!(!path.exists());
        Output::create(&path).unwrap().finish().unwrap();
        assert!(path.exists());
        assert!(Output::create(&path).is_err());
        assert!(path.exists(), "an existing file is kept");
    }
}
