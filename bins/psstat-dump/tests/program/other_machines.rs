//! Captures of other kinds of machines, `fixtures/machines.txtar`.

use std::fs;
use std::path::Path;
use std::process::Command;

use psstat_testproc::TempDir;
use psstat_testproc::archive::Archive;
use serde_json::{Value, json};

use crate::run::{json as json_of, run, stdout, testproc, unique};

fn unpack() -> TempDir {
    let temp = TempDir::new().unwrap();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/machines.txtar");
    Archive::read(archive).unwrap().unpack(temp.path()).unwrap();
    temp
}

fn report(capture: &Path, pid: &str) -> Value {
    let (status, report) = json_of(&["pid", pid, "--json", "--proc", capture.to_str().unwrap()]);
    assert_eq!(status, 0);
    report
}

fn row_of(capture: &Path, pid: u64) -> Value {
    let capture = capture.to_str().unwrap();
    let (_, table) = json_of(&["-p", "--no-conf", "--json", "--proc", capture]);
    let rows = table["rows"].as_array().unwrap();
    rows.iter().find(|row| row["pid"] == pid).unwrap().clone()
}

/// `VmRSS` of `status`, which the kernel prints in kB, whatever the size of pages.
fn vm_rss(capture: &Path, pid: u64) -> u64 {
    let status = fs::read_to_string(capture.join(format!("{pid}/status"))).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Pages of 64 KiB were counted with the size of this machine's pages: 4.2 MB instead of 68 MB.
#[test]
fn page_size_of_an_old_capture() {
    let temp = unpack();
    let capture = temp.join("ppc64le");
    for pid in [159, 133] {
        assert_eq!(row_of(&capture, pid)["rss_bytes"], vm_rss(&capture, pid));
        let report = report(&capture, &pid.to_string());
        let memory = &report["memory"];
        assert_eq!(memory["statm_resident_bytes"], vm_rss(&capture, pid));
    }
    assert_eq!(row_of(&capture, 159)["rss_bytes"], 68_354_048);
    // `status` shows it as well, and processes that show nothing or changed between the reads.
    let status_only = temp.join("status-only");
    fs::rename(&capture, &status_only).unwrap();
    fs::remove_file(status_only.join("159/stat")).unwrap();
    for (pid, statm) in [("1", "0 0 0 0 0 0 0\n"), ("2", "31 19 14 15 0 9 0\n")] {
        fs::create_dir(status_only.join(pid)).unwrap();
        fs::copy(status_only.join("133/stat"), status_only.join(pid).join("stat")).unwrap();
        fs::write(status_only.join(pid).join("statm"), statm).unwrap();
    }
    fs::remove_dir_all(status_only.join("133")).unwrap();
    let resident = &report(&status_only, "159")["memory"]["statm_resident_bytes"];
    assert_eq!(*resident, 68_354_048);
}

/// Local and remote addresses of a process.
fn addresses(report: &Value) -> Vec<[&str; 3]> {
    let list = report["sockets"]["list"].as_array().unwrap();
    let fields = ["state", "local", "remote"];
    list.iter().map(|socket| fields.map(|field| socket[field].as_str().unwrap())).collect()
}

/// Addresses were printed backwards: `1.0.0.127`.
#[test]
fn addresses_of_a_big_endian_machine() {
    let temp = unpack();
    let capture = temp.join("s390x");
    let of_big_endian = report(&capture, "133");
    let tcp = [
        ["ESTABLISHED", "127.0.0.1:36355", "127.0.0.1:52150"],
        ["ESTABLISHED", "[::1]:58910", "[::1]:59425"],
        ["ESTABLISHED", "[::ffff:127.1.2.3]:33279", "[::ffff:127.0.0.1]:53434"],
    ];
    let found = addresses(&of_big_endian);
    for socket in tcp {
        assert!(found.contains(&socket), "{socket:?} in {found:?}");
    }
    assert_eq!(of_big_endian["sockets"]["address_byte_order"], "big endian");
    assert_eq!(row_of(&capture, 133)["rss_bytes"], vm_rss(&capture, 133));

    // The same process on the other machine, whose order is unknown.
    let old = report(&temp.join("ppc64le"), "133");
    let assumed = old["sockets"]["address_byte_order"].as_str().unwrap();
    assert!(assumed.starts_with("assumed to be "), "{assumed}");
    if cfg!(target_endian = "little") {
        assert!(addresses(&old).contains(&tcp[0]), "{old}");
    }
    fs::write(temp.join("ppc64le/psstat-capture"), "byte_order little\n").unwrap();
    let known = report(&temp.join("ppc64le"), "133");
    assert!(addresses(&known).contains(&tcp[0]), "{known}");
    assert_eq!(known["sockets"]["address_byte_order"], "little endian");
}

/// The file of the capture has precedence over the units of this machine.
#[test]
fn units_of_the_captured_machine() {
    let temp = unpack();
    let capture = temp.join("ppc64le");
    let before = report(&capture, "159");
    // `stat`: 12 + 60 ticks.
    assert_eq!(before["cpu"]["utime_seconds"], 0.12);
    let text = "clock_ticks_per_second 1000\npage_size 16384\nunknown value\n";
    fs::write(capture.join("psstat-capture"), text).unwrap();
    let after = report(&capture, "159");
    assert_eq!(
        (&after["cpu"]["utime_seconds"], &after["cpu"]["stime_seconds"]),
        (&json!(0.012), &json!(0.06))
    );
    // 1043 pages.
    assert_eq!(after["memory"]["statm_resident_bytes"], 1043 * 16384);
    assert_eq!(row_of(&capture, 159)["rss_bytes"], 1043 * 16384);
    // A capture of a capture keeps them.
    let again = temp.join("again");
    let [from, to] = [&capture, &again].map(|dir| dir.to_str().unwrap());
    assert_eq!(run(&["capture", to, "--pid", "159", "--proc", from]).status.code(), Some(0));
    let text = fs::read_to_string(again.join("psstat-capture")).unwrap();
    assert_eq!(text, "page_size 16384\nclock_ticks_per_second 1000\n");
}

#[test]
fn capture_contains_the_machine() {
    let testproc = testproc(&unique("machine"));
    let temp = TempDir::new().unwrap();
    let dir = temp.join("capture");
    let output = run(&["capture", dir.to_str().unwrap(), "--pid", &testproc.pid().to_string()]);
    assert_eq!(output.status.code(), Some(0));
    let value = |program: &str, arg: &str| {
        stdout(&Command::new(program).arg(arg).output().unwrap()).trim().to_owned()
    };
    let order = if cfg!(target_endian = "big") { "big" } else { "little" };
    let want = format!(
        "architecture {}\nkernel {}\npage_size {}\nclock_ticks_per_second {}\nbyte_order {order}\n\
         boot_time_unix_nanoseconds ",
        value("uname", "-m"),
        value("uname", "-r"),
        value("getconf", "PAGESIZE"),
        value("getconf", "CLK_TCK"),
    );
    let text = fs::read_to_string(dir.join("psstat-capture")).unwrap();
    let nanoseconds = text.strip_prefix(&want).unwrap_or_else(|| panic!("{text}, not {want}"));
    let boot = nanoseconds.trim().parse::<u64>().unwrap() / 1_000_000_000;
    let stat = fs::read_to_string(dir.join("stat")).unwrap();
    let btime = stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap();
    let btime: u64 = btime.parse().unwrap();
    // The clock can be adjusted between the two.
    assert!(boot.abs_diff(btime) <= 1, "{boot} {btime}");
}
