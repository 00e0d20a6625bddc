//! The running machine's `/proc`, compared with the reference parsers. What exits or is denied
//! meanwhile is left out.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use psstat_corpus::check_file;

fn processes() -> impl Iterator<Item = PathBuf> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().as_bytes().iter().all(u8::is_ascii_digit))
        .map(|entry| entry.path())
}

fn every_process(file: &str) {
    let mut checked = 0;
    for process in processes() {
        let Ok(text) = fs::read(process.join(file)) else { continue };
        // Read of a process that has just been reaped; its cmdline may be
        // empty while it lives.
        if text.is_empty() && file != "cmdline" {
            continue;
        }
        println!("{}: {}", process.display(), text.escape_ascii());
        assert!(check_file(file, &text));
        checked += 1;
    }
    // The test itself is a process that it may read.
    assert!(checked > 0);
}

#[test]
fn stat() {
    every_process("stat");
}

#[test]
fn statm() {
    every_process("statm");
}

#[test]
fn io() {
    every_process("io");
}

#[test]
fn status() {
    every_process("status");
}

#[test]
fn cmdline() {
    every_process("cmdline");
}

#[test]
fn limits() {
    every_process("limits");
}

#[test]
fn descriptors_and_namespaces() {
    for process in processes() {
        for folder in ["fd", "ns"] {
            let Ok(entries) = fs::read_dir(process.join(folder)) else { continue };
            for link in entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()) {
                assert!(check_file("fd.txt", &[b"0 -> ", link.as_os_str().as_bytes()].concat()));
            }
        }
    }
}

#[test]
fn socket_tables() {
    for table in ["tcp", "tcp6", "udp", "udp6", "unix"] {
        // Without IPv6 two of them are not there.
        let Ok(text) = fs::read(format!("/proc/self/net/{table}")) else { continue };
        println!("{}", text.escape_ascii());
        assert!(check_file(table, &text));
    }
}
