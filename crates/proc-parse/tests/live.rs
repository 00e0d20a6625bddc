//! The running machine's own `/proc`, held against the slow reading. What
//! vanishes or is denied meanwhile is left out.

mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

fn processes() -> impl Iterator<Item = PathBuf> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().as_bytes().iter().all(u8::is_ascii_digit))
        .map(|entry| entry.path())
}

fn every_process(file: &str) {
    let check = common::check_for(file).unwrap();
    let mut checked = 0;
    for process in processes() {
        let Ok(text) = fs::read(process.join(file)) else { continue };
        // Read of a process that has just been reaped; its cmdline may be
        // empty while it lives.
        if text.is_empty() && file != "cmdline" {
            continue;
        }
        println!("{}: {}", process.display(), text.escape_ascii());
        check(&text);
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
                common::fd(link.as_os_str().as_bytes());
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
        common::check_for(table).unwrap()(&text);
    }
}
