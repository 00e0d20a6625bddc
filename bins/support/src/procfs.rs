//! Recognition of `/proc` directories, and their lists of processes.

use std::io;
use std::path::Path;

/// Whether a directory is a mounted procfs, not a capture of one.
///
/// # Errors
/// That of `statfs(2)`.
pub fn is_procfs(proc: &Path) -> io::Result<bool> {
    Ok(rustix::fs::statfs(proc)?.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

/// The pids that a procfs lists, in its order. An entry that cannot be read ends the list.
///
/// # Errors
/// When the directory cannot be opened.
pub fn pids(proc: &Path) -> io::Result<impl Iterator<Item = u32>> {
    let entries = std::fs::read_dir(proc)?.map_while(Result::ok);
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// Whether a directory is a procfs, or a capture of one, which lists at least one process. The
/// directory of an unmounted `/proc` is neither.
///
/// # Errors
/// When the directory is not a procfs and cannot be listed.
pub fn is_procfs_or_capture(proc: &Path) -> io::Result<bool> {
    Ok(is_procfs(proc).unwrap_or(false) || pids(proc)?.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn procfs_is_recognized() {
        assert!(is_procfs(Path::new("/proc")).unwrap());
        assert!(is_procfs_or_capture(Path::new("/proc")).unwrap());
        assert!(pids(Path::new("/proc")).unwrap().any(|pid| pid == std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(!is_procfs(source).unwrap() && !is_procfs_or_capture(source).unwrap());
        assert!(is_procfs_or_capture(&source.join("missing")).is_err());
    }
}
