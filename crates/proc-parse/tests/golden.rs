//! Real kernels' files under `fixtures`, each held against the slow reading.

mod common;

use std::fs;
use std::path::Path;

/// Checks every file below `folder` whose name is a parser's, and counts them.
fn walk(folder: &Path, checked: &mut usize) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            walk(&path, checked);
            continue;
        }
        let Some(check) = common::check_for(&entry.file_name().to_string_lossy()) else { continue };
        let text = fs::read(&path).unwrap();
        // What was denied to the one who captured it is empty, and `/proc/stat`
        // is another file of the same name.
        let denied = text.is_empty() && !path.ends_with("cmdline");
        if !denied && !text.starts_with(b"cpu ") {
            println!("{}", path.display());
            check(&text);
            *checked += 1;
        }
    }
}

#[test]
fn files_of_real_kernels_read_as_they_say() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let checked = |folder: &Path| {
        let mut checked = 0;
        walk(folder, &mut checked);
        checked
    };
    // One process and the five tables.
    assert_eq!(checked(&fixtures.join("proc")), 12);
    // Some twenty processes with seven files each, and the tables.
    let folders =
        fs::read_dir(fixtures.join("kernels")).unwrap().map(|entry| entry.unwrap().path());
    let is_kernel = |path: &std::path::PathBuf| path.join("version.txt").exists();
    let kernels: Vec<_> = folders.filter(is_kernel).map(|path| checked(&path)).collect();
    assert_eq!(kernels.len(), 8);
    assert!(kernels.iter().all(|&checked| checked >= 150), "{kernels:?}");
}
