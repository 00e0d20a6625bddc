//! A capture of a procfs.

use std::fs;
use std::path::Path;

use psstat_testproc::{TempDir, oracle};
use serde_json::Value;

use crate::run::{json, testproc, unique};

/// Copies the files of a process that the table reads.
fn copy(pid: u32, to: &Path) {
    let (from, to) = (Path::new("/proc").join(pid.to_string()), to.join(pid.to_string()));
    for dir in ["fd", "net", "ns"] {
        fs::create_dir_all(to.join(dir)).unwrap();
    }
    for file in ["stat", "statm", "status", "io", "cmdline", "comm"] {
        fs::write(to.join(file), fs::read(from.join(file)).unwrap()).unwrap();
    }
    for table in ["tcp", "tcp6", "udp", "udp6", "unix"] {
        if let Ok(bytes) = fs::read(from.join("net").join(table)) {
            fs::write(to.join("net").join(table), bytes).unwrap();
        }
    }
    let net = fs::read_link(from.join("ns/net")).unwrap();
    std::os::unix::fs::symlink(net, to.join("ns/net")).unwrap();
    for entry in fs::read_dir(from.join("fd")).unwrap() {
        let entry = entry.unwrap();
        let target = fs::read_link(entry.path()).unwrap();
        std::os::unix::fs::symlink(target, to.join("fd").join(entry.file_name())).unwrap();
    }
}

#[test]
fn has_the_same_values_without_rates() {
    let name = unique("copied");
    let mut testproc = testproc(&name);
    testproc.open_files(5).unwrap();
    testproc.tcp_pairs(2).unwrap();
    testproc.threads(2).unwrap();
    testproc.quiesce().unwrap();
    let pid = testproc.pid();
    let temp = TempDir::new().unwrap();
    copy(pid, temp.path());
    let (fds, threads) = (oracle::fds(pid).unwrap(), oracle::threads(pid).unwrap());
    let io = oracle::io(pid).unwrap();
    // The kernel's count of pages can change while a process sleeps, so the copy is
    // compared.
    let statm = fs::read_to_string(temp.join(pid.to_string()).join("statm")).unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    let resident = pages * rustix::param::page_size() as u64;
    drop(testproc);

    let proc = temp.path().to_str().unwrap();
    let (status, document) = json(&["--no-conf", "--json", "--proc", proc]);
    assert_eq!(status, 0);
    assert_eq!(document["window_seconds"], Value::Null);
    let row = &document["rows"][0];
    assert_eq!(row["image"], name);
    assert_eq!(row["fds"], fds);
    assert_eq!(row["threads"], threads);
    assert_eq!(row["tcp_established"], 4);
    assert_eq!(row["rss_bytes"], resident);
    assert_eq!(row["wchar_bytes"], io["wchar"]);
    assert_eq!(row["pcpu_percent"], Value::Null);
    assert_eq!(row["wchar_bytes_per_second"], Value::Null);
}

/// `cat` without permission leaves an empty file. The process counted as exited, `pid` said that
/// it did not exist, and `doctor` left it out.
#[test]
fn files_without_a_copy_are_reported() {
    let name = unique("incomplete");
    let mut testproc = testproc(&name);
    testproc.tcp_pairs(1).unwrap();
    let other = crate::run::testproc(&name);
    let pid = testproc.pid().to_string();
    for (file, is_empty) in [
        ("io", true),
        ("io", false),
        ("statm", true),
        ("fd", false),
        ("net", false),
        ("net/tcp", false),
        ("net/unix", false),
    ] {
        let temp = TempDir::new().unwrap();
        copy(testproc.pid(), temp.path());
        copy(other.pid(), temp.path());
        let path = temp.join(&pid).join(file);
        match is_empty {
            true => fs::write(&path, "").unwrap(),
            false if path.is_dir() => fs::remove_dir_all(&path).unwrap(),
            false => fs::remove_file(&path).unwrap(),
        }
        // The other one has the tables of the namespace.
        if file.starts_with("net") {
            fs::remove_dir_all(temp.join(other.pid().to_string())).unwrap();
        }
        let proc = temp.path().to_str().unwrap();
        let (_, document) = json(&["-p", "--no-conf", "--json", "--proc", proc]);
        let rows = document["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["pid"] == testproc.pid());
        let row = row.unwrap_or_else(|| panic!("{file}: {document}"));
        let (column, section) = match file {
            "io" => ("rchar_bytes", "io"),
            "statm" => ("rss_bytes", "memory"),
            "fd" => ("tcp_established", "descriptors"),
            "net" | "net/tcp" => ("tcp_established", "sockets"),
            _ => ("unix_established", "sockets"),
        };
        assert_eq!(row[column], Value::Null, "{file}: {document}");
        let (_, report) = json(&["pid", &pid, "--json", "--proc", proc]);
        let reason = report[section]["unread"].as_str().unwrap_or_default();
        // Most values of the memory are in other files.
        assert!(reason.contains("the capture has no") || file == "statm", "{file}: {report}");
        if section == "sockets" {
            assert_eq!(report[section]["not_in_tables"], Value::Null, "{file}: {report}");
            continue;
        }
        let (_, doctor) = json(&["doctor", "--no-conf", "--json", "--proc", proc]);
        let checks = doctor["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == file).unwrap();
        let result = check["result"].as_str().unwrap();
        assert!(
            result.starts_with(&format!("no copy for 1 of 2 processes (pid {pid})")),
            "{check}"
        );
        let help = check["help"].as_str().unwrap();
        assert!(check["status"] == "warn" && !help.contains("kernel"), "{check}");
    }
}
