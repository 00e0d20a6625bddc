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
