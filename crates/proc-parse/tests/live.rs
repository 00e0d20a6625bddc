//! The running machine's `/proc`, compared with the reference parsers. Processes that exit meanwhile
//! and files that are denied are left out.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use psstat_corpus::check_file;
use psstat_proc_parse::Cgroups;

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
        // The process has just been reaped. The cmdline of a running process may be
        // empty.
        if text.is_empty() && file != "cmdline" {
            continue;
        }
        println!("{}: {}", process.display(), text.escape_ascii());
        assert!(check_file(file, &text));
        checked += 1;
    }
    // The test can at least read its own process.
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
fn cgroup() {
    for process in processes() {
        let Ok(text) = fs::read(process.join("cgroup")) else { continue };
        let groups = Cgroups::parse(&text).unwrap();
        let lines = text.split_inclusive(|&byte| byte == b'\n');
        assert_eq!(groups.iter().count(), lines.count());
        assert!(groups.iter().all(|group| group.path.starts_with(b"/")), "{groups:?}");
    }
}

#[test]
fn fds_and_namespaces() {
    for process in processes() {
        for directory in ["fd", "ns"] {
            let Ok(entries) = fs::read_dir(process.join(directory)) else { continue };
            for link in entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()) {
                assert!(check_file("fd.txt", &[b"0 -> ", link.as_os_str().as_bytes()].concat()));
            }
        }
    }
}

#[test]
fn socket_tables() {
    for table in ["tcp", "tcp6", "udp", "udp6", "unix"] {
        // Two of them do not exist without IPv6.
        let Ok(text) = fs::read(format!("/proc/self/net/{table}")) else { continue };
        println!("{}", text.escape_ascii());
        assert!(check_file(table, &text));
    }
}
