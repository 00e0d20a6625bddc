//! Whether capabilities of a process apply to the processes of a procfs.

use std::io;
use std::path::{Path, PathBuf};

/// The link of the initial user namespace, whose inode is the same in every kernel since
/// Linux 3.8 (`PROC_USER_INIT_INO`).
const INITIAL: &str = "user:[4026531837]";

/// Whether capabilities in the user namespace of `process`, an entry of `/proc`, apply to the
/// processes of the procfs `proc`: it is the initial namespace, or that of their pid 1. A
/// capability in another namespace gives no access to them, although it is effective.
///
/// True without user namespaces in the kernel. False if the namespace of pid 1 cannot be read,
/// which needs access to it. `read_link` reads a link of a process, which can block while the
/// process is stuck in the kernel.
pub fn covers_processes(
    process: &Path,
    proc: &Path,
    read_link: impl Fn(&Path) -> io::Result<PathBuf>,
) -> bool {
    let link = |process: &Path| read_link(&process.join("ns/user"));
    match link(process) {
        Ok(own) => is_covering(&own, || link(&proc.join("1")).ok()),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn is_covering(own: &Path, of_pid_1: impl FnOnce() -> Option<PathBuf>) -> bool {
    own == Path::new(INITIAL) || of_pid_1().is_some_and(|other| other == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_namespace_or_the_initial_one() {
        let covers = |own: &str, other: Option<&str>| {
            is_covering(Path::new(own), || other.map(PathBuf::from))
        };
        assert!(covers(INITIAL, None) && covers(INITIAL, Some("user:[7]")));
        assert!(covers("user:[7]", Some("user:[7]")));
        assert!(!covers("user:[7]", Some(INITIAL)) && !covers("user:[7]", None));
    }

    #[test]
    fn no_link_means_no_user_namespaces() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read_link = |path: &Path| std::fs::read_link(path);
        assert!(covers_processes(source, source, read_link));
        let blocks = |_: &Path| Err(io::ErrorKind::TimedOut.into());
        assert!(!covers_processes(source, source, blocks));
    }
}
