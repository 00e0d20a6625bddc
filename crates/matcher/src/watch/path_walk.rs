//! The components of a path from the root to a file, symbolic links resolved.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// The kernel's limit on symbolic links in one path.
const MAX_LINKS: usize = 40;

/// A directory on the path and the name that is resolved in it. If the name
/// changes its meaning, the path leads to another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathComponent {
    pub(super) directory: PathBuf,
    pub(super) name: OsString,
}

/// Walks the absolute `path` and calls `visit` with each directory and name
/// *before* the name is resolved, so that a watch set by `visit` sees every
/// later change. Returns the path without links, as far as it could be
/// resolved.
pub(super) fn walk(path: &Path, mut visit: impl FnMut(PathComponent)) -> PathBuf {
    let mut directory = PathBuf::from("/");
    // Components left to walk, the next one last.
    let mut pending: Vec<OsString> = components_reversed(path);
    let mut links = 0;
    while let Some(name) = pending.pop() {
        if name == ".." {
            directory.pop();
            continue;
        }
        visit(PathComponent { directory: directory.clone(), name: name.clone() });
        let next = directory.join(&name);
        match std::fs::read_link(&next) {
            Ok(target) if links < MAX_LINKS => {
                links += 1;
                if target.is_absolute() {
                    directory = PathBuf::from("/");
                }
                pending.extend(components_reversed(&target));
            }
            // Not a link, or missing. A missing directory gets no watch; the
            // watch on its parent reports its creation.
            _ => directory = next,
        }
    }
    directory
}

/// The components of a path, the first one last.
fn components_reversed(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}
