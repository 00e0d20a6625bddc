//! Files of real kernels under `fixtures`, compared with the reference parsers.

use std::fs;
use std::path::Path;

use psstat_corpus::check_file;
use psstat_testproc::archive::Archive;

/// Checks every file of an archive whose name is a parser's, and counts them.
fn checked(archive: &Archive) -> usize {
    let mut checked = 0;
    for (path, text) in archive.files() {
        let name = path.rsplit('/').next().unwrap_or(path);
        println!("{path}");
        // A file that could not be read when it was captured is empty.
        if !text.is_empty() || name == "cmdline" {
            checked += usize::from(check_file(name, text));
        }
    }
    checked
}

#[test]
fn parses_real_kernel_files() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    // One process, the five tables, and three files of counters.
    assert_eq!(checked(&Archive::of_dir(&fixtures.join("proc")).unwrap()), 15);
    // About twenty processes with seven files each, and the tables.
    let files = fs::read_dir(fixtures.join("kernels")).unwrap().map(|entry| entry.unwrap().path());
    let archives = files.filter(|path| path.extension().is_some_and(|ext| ext == "txtar"));
    let counts: Vec<usize> = archives.map(|path| checked(&Archive::read(path).unwrap())).collect();
    assert_eq!(counts.len(), 8);
    assert!(counts.iter().all(|&count| count >= 150), "{counts:?}");
}
