//! The way from the root to a file, through every symbolic link.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// A directory that the way leads through, and the name that is looked up in
/// it: when that name gets another meaning, the way leads elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathComponent {
    pub(super) directory: PathBuf,
    pub(super) name: OsString,
}

/// Walks the absolute `path` and calls `step` with each directory and name
/// *before* the name is looked up, so that a watch that is set there sees
/// every later change. Returns where the way ends, as far as it could be
/// walked.
pub(super) fn walk(path: &Path, mut step: impl FnMut(PathComponent)) -> PathBuf {
    let mut here = PathBuf::from("/");
    // What is still to be walked, the next part last.
    let mut todo: Vec<OsString> = parts(path);
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == ".." {
            here.pop();
            continue;
        }
        step(PathComponent { directory: here.clone(), name: name.clone() });
        let next = here.join(&name);
        match std::fs::read_link(&next) {
            Ok(target) if links < MAX_LINKS => {
                links += 1;
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                todo.extend(parts(&target));
            }
            // No link, or not there: go on; a directory that is missing
            // gives no watch, and the one above it tells when it comes.
            _ => here = next,
        }
    }
    here
}

/// The parts of a path, the first one last.
fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}
