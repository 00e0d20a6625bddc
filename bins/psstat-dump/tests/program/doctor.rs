//! `doctor`.

use std::os::unix::process::CommandExt as _;
use std::sync::atomic::{AtomicU32, Ordering};

use psstat_testproc::TempDir;
use serde_json::{Value, json};

use crate::run::{copy_program, csv, json as json_of, run, stdout, testproc, unique};

fn check<'d>(document: &'d Value, name: &str) -> &'d Value {
    document["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

fn assert_status_and_remedies(status: i32, document: &Value) {
    let checks = document["checks"].as_array().unwrap();
    let bad = checks.iter().any(|check| check["state"] == "bad");
    assert_eq!((status, &document["ok"]), (i32::from(bad), &json!(!bad)));
    for check in checks {
        assert_eq!(check["state"] == "ok", check["remedy"] == Value::Null, "{check}");
    }
}

#[test]
fn all_output_formats() {
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, "a b\nc d\na e\n").unwrap();
    let args = ["doctor", "--conf", conf.to_str().unwrap()];
    let (status, document) = json_of(&[&args[..], &["--json"]].concat());
    assert_status_and_remedies(status, &document);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(check(&document, "kernel")["found"], format!("Linux {}", release.trim()));
    let found = check(&document, "conf")["found"].as_str().unwrap();
    assert!(found.ends_with(": 3 rules of 2 images"), "{found}");
    for name in ["io", "fd", "hidepid", "pid_namespace", "descriptors", "inotify", "collector"] {
        check(&document, name);
    }
    // This test has the rights that the program inherits.
    let own = psstat_testproc::oracle::status_field(std::process::id(), "CapEff").unwrap();
    let has_none = own.trim_matches('0').is_empty();
    let found = check(&document, "capabilities")["found"].as_str().unwrap();
    assert_eq!(found == "effective: none", has_none, "{found}");
    let text = stdout(&run(&args));
    assert!(text.lines().next().unwrap().ends_with(&format!("Linux {}", release.trim())), "{text}");
    let records = csv(&stdout(&run(&[&args[..], &["--csv"]].concat())));
    assert_eq!(records.len(), document["checks"].as_array().unwrap().len() + 1);
}

#[test]
fn a_bad_conf_is_bad() {
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    let path = conf.to_str().unwrap();
    for (lines, found) in [(None, "cannot be read"), (Some("a b\nc (\n"), "1 complaints")] {
        if let Some(lines) = lines {
            std::fs::write(&conf, lines).unwrap();
        }
        let (status, document) = json_of(&["doctor", "--json", "--conf", path]);
        assert_eq!(status, 1);
        let conf = check(&document, "conf");
        assert_eq!(conf["state"], "bad");
        assert!(conf["found"].as_str().unwrap().contains(found), "{conf}");
        assert!(conf["remedy"].as_str().unwrap().contains("psstat-dump check"));
    }
}

#[test]
fn unprivileged_run_reports_denied_files() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: not root");
    }
    let _testproc = testproc(&unique("doctored"));
    let temp = TempDir::new().unwrap();
    let program = temp.join("psstat-dump");
    copy_program(&program);
    let mut command = std::process::Command::new(&program);
    command.args(["doctor", "--json"]).uid(65534).gid(65534).current_dir("/");
    let output = command.output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_status_and_remedies(output.status.code().unwrap(), &document);
    assert_eq!(output.status.code(), Some(1));
    for name in ["io", "fd", "ns/net"] {
        let check = check(&document, name);
        assert_eq!(check["state"], "bad");
        assert!(check["found"].as_str().unwrap().starts_with("denied for "), "{check}");
        let setcap = format!("setcap cap_sys_ptrace,cap_dac_read_search+ep {}", program.display());
        assert!(check["remedy"].as_str().unwrap().contains(&setcap), "{check}");
    }
    assert_eq!(check(&document, "statm")["state"], "ok");
}

#[test]
fn a_short_limit_of_descriptors_is_noted() {
    // A shell sets it for the program alone.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -n 70; exec \"$0\" doctor --json"]);
    let output = shell.arg(env!("CARGO_BIN_EXE_psstat-dump")).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let check = check(&document, "descriptors");
    assert_eq!(check["state"], "note", "{check}");
    assert!(check["found"].as_str().unwrap().starts_with("70 allowed; "), "{check}");
}

/// A shell in a mount namespace of its own, whose `$P` is a folder with a procfs
/// of these options, and which then runs the program as `as_whom` says. Nothing
/// where that is not possible.
fn hiding(options: &str, as_whom: &str, proc: &str) -> Option<(i32, Value)> {
    let temp = TempDir::new().unwrap();
    let program = temp.join("psstat-dump");
    copy_program(&program);
    // Every time a user who has no other process.
    static USERS: AtomicU32 = AtomicU32::new(1);
    let user = std::process::id() * 100 + USERS.fetch_add(1, Ordering::Relaxed);
    let as_whom = as_whom.replace("USER", &user.to_string());
    std::fs::create_dir(temp.join("proc")).unwrap();
    std::os::unix::fs::symlink("proc", temp.join("link")).unwrap();
    let script = format!(
        "mount -t proc -o {options} proc proc && exec setpriv {as_whom} \
         ./psstat-dump doctor --json --proc {proc}"
    );
    let mut shell = std::process::Command::new("unshare");
    shell.args(["--mount", "sh", "-c", &script]).current_dir(temp.path());
    let output = match shell.output() {
        Ok(output) if !output.stdout.is_empty() => output,
        other => {
            println!("skipped: {script}: {other:?}");
            return None;
        }
    };
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_status_and_remedies(output.status.code().unwrap(), &document);
    let listed = document["checks"].as_array().unwrap().iter().find(|c| c["name"] == "stat");
    let listed = listed.unwrap()["found"].as_str().unwrap().split(' ').rev();
    // "readable for all of N processes: …"
    let number = listed.filter_map(|word| word.parse().ok()).next().unwrap();
    Some((number, check(&document, "hidepid").clone()))
}

/// `USER` is a number.
const NOBODY: &str = "--reuid USER --regid USER --clear-groups";

/// It was bad for whoever was not root, also after its own remedy was followed;
/// and well for root, also where root has no capability.
#[test]
fn hidepid_fails_for_unprivileged_users() {
    let group = "--reuid USER --regid USER --groups 4711";
    let traces = format!(
        "{NOBODY} --inh-caps +sys_ptrace,+dac_read_search \
         --ambient-caps +sys_ptrace,+dac_read_search"
    );
    let weak_root = "--bounding-set -sys_ptrace --groups 65534 --regid 65534";
    let root = "--groups 0";
    for (options, as_whom, want) in [
        ("hidepid=0", NOBODY, "ok"),
        ("hidepid=2", NOBODY, "bad"),
        ("hidepid=2,gid=4711", NOBODY, "bad"),
        ("hidepid=2,gid=4711", group, "ok"),
        ("hidepid=1,gid=4711", group, "ok"),
        ("hidepid=4,gid=4711", group, "bad"),
        ("hidepid=2", &traces, "ok"),
        ("hidepid=4", &traces, "ok"),
        ("hidepid=2", root, "ok"),
        ("hidepid=2", weak_root, "bad"),
    ] {
        let Some((seen, check)) = hiding(options, as_whom, "proc") else { return };
        assert_eq!(check["state"], want, "{options} {as_whom}: {check}");
        let found = check["found"].as_str().unwrap();
        assert_eq!(found.contains("all users"), options == "hidepid=0", "{check}");
        // The kernel's own word: this test's process is there or not.
        if !options.starts_with("hidepid=1") && as_whom != weak_root {
            assert_eq!(seen > 1, want == "ok", "{options} {as_whom}: {seen} processes");
        }
    }
    let (_, check) = hiding("hidepid=2,gid=4711", NOBODY, "proc").unwrap();
    assert!(check["remedy"].as_str().unwrap().contains("in group 4711"), "{check}");
    let (_, check) = hiding("hidepid=4,gid=4711", NOBODY, "proc").unwrap();
    assert!(!check["remedy"].as_str().unwrap().contains("4711"), "{check}");
}

/// Such paths were no mount point's, so that nothing seemed to be hidden.
#[test]
fn a_procfs_that_hides_is_known_by_any_path() {
    for path in ["link", "./proc", "link/../proc"] {
        let Some((_, check)) = hiding("hidepid=2", NOBODY, path) else { return };
        assert_eq!(check["state"], "bad", "{path}: {check}");
    }
}

#[test]
fn unknown_mount_is_reported_as_unknown() {
    let temp = TempDir::new().unwrap();
    std::fs::create_dir(temp.join("proc")).unwrap();
    let mut shell = std::process::Command::new("unshare");
    let script = "mount -t proc -o hidepid=2 proc proc && echo && exec sleep 1000";
    shell.args(["--mount", "sh", "-c", script]).current_dir(temp.path());
    let mut child = shell.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut ready = [0];
    let mounted = std::io::Read::read(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let path = format!("/proc/{}/root{}/proc", child.id(), temp.path().display());
    let document = (mounted == 1).then(|| json_of(&["doctor", "--json", "--proc", &path]).1);
    child.kill().unwrap();
    child.wait().unwrap();
    let Some(document) = document else { return println!("skipped: no mount namespace") };
    let check = check(&document, "hidepid");
    assert_eq!(check["state"], "note", "{check}");
    assert!(check["found"].as_str().unwrap().starts_with("cannot be told"), "{check}");
}

/// What it says of the faster ways is what the kernel does.
#[test]
fn reports_fast_paths() {
    use std::os::unix::fs::MetadataExt as _;
    let (_, document) = json_of(&["doctor", "--json"]);
    let works = |name: &str| check(&document, name)["state"] == "ok";
    let mut testproc = testproc(&unique("ways"));
    let threads = testproc.threads(3).unwrap();
    let of = |file: &str| std::fs::metadata(format!("/proc/{}/{file}", testproc.pid())).unwrap();
    let fds = psstat_testproc::oracle::fds(testproc.pid()).unwrap();
    assert_eq!(works("fd_size"), of("fd").len() == fds);
    assert_eq!(works("task_links"), of("task").nlink() == threads + 2);
    // One number: the namespace of the procfs is that of this test.
    let pids = psstat_testproc::oracle::status_field(std::process::id(), "NSpid").unwrap();
    assert_eq!(works("cpu_clock"), pids == std::process::id().to_string());
    let first = std::fs::read_link("/proc/self/ns/pid").unwrap();
    let is_first = first.to_str() == Some("pid:[4026531836]");
    assert_eq!(works("partial_listing"), works("cpu_clock") && is_first);
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::NETLINK,
        rustix::net::SocketType::DGRAM,
        Some(rustix::net::netlink::SOCK_DIAG),
    );
    assert_eq!(works("sock_diag"), socket.is_ok());
}
