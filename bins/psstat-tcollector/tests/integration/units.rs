//! The systemd units of the package.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use psstat_testproc::{TempDir, binary};

use crate::common::PROGRAM;
use crate::population::Population;
use crate::store::installed;

const UNITS: [&str; 3] = ["psstat.service", "psstat-textfile.service", "psstat-record.service"];

fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd").join(name)
}

/// The lists of capabilities in a text, each in alphabetic order.
fn capabilities(text: &str) -> BTreeSet<Vec<String>> {
    let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || "_, ".contains(char)));
    let lists = words.map(|words| {
        let names = words.split([',', ' ']).map(str::to_ascii_lowercase);
        let mut names: Vec<String> = names.filter(|name| name.starts_with("cap_")).collect();
        names.sort();
        names
    });
    lists.filter(|list| !list.is_empty()).collect()
}

/// The units of the collector, the .deb and the .rpm grant what docs/security.md names.
#[test]
fn packages_and_units_grant_the_same_capabilities() {
    let read = ["cap_dac_read_search", "cap_sys_ptrace"].map(str::to_owned);
    let load = ["cap_bpf", "cap_perfmon"].map(str::to_owned);
    let mut all = [&load[..], &read[..]].concat();
    all.sort();
    let read = read.to_vec();
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = |path: &str| std::fs::read_to_string(package.join(path)).unwrap();
    let lines = |text: &str, with: &str| {
        let lines = text.lines().filter(|line| line.contains(with)).map(str::to_owned);
        lines.collect::<Vec<String>>().join("\n")
    };
    for (name, granted) in [
        ("psstat.service", &all),
        ("psstat-textfile.service", &all),
        // It loads no program.
        ("psstat-record.service", &read),
    ] {
        let text = std::fs::read_to_string(unit(name)).unwrap();
        let settings = ["CapabilityBoundingSet=", "AmbientCapabilities="];
        let settings = settings.map(|setting| lines(&text, setting)).join("\n");
        assert_eq!(capabilities(&settings), BTreeSet::from([granted.clone()]), "{name}");
    }
    let manifest = file("Cargo.toml");
    let rpm = capabilities(&lines(&manifest, "caps ="));
    assert_eq!(rpm, BTreeSet::from([all.clone()]));
    // With the fallback of both.
    let fallback = capabilities(&lines(&manifest, "setcap cap_"));
    assert_eq!(fallback, BTreeSet::from([read.clone()]));
    let postinst = file("../../packaging/deb/postinst");
    let loading = postinst.lines().find_map(|line| line.trim().strip_prefix("loading=")).unwrap();
    let deb = capabilities(&lines(&postinst, "setcap cap_").replace("$loading", loading));
    assert_eq!(deb, BTreeSet::from([all.clone(), read]));
    let page = file("../../docs/security.md");
    let named = page.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    let named = named.filter(|word| word.starts_with("CAP_")).map(str::to_ascii_lowercase);
    assert_eq!(named.collect::<BTreeSet<String>>(), all.into_iter().collect());
}

/// systemd knows every setting, and finds every program.
#[test]
fn systemd_accepts_the_units() {
    let Some(analyze) = installed("systemd-analyze") else { return };
    let temp = TempDir::new().unwrap();
    for name in UNITS {
        let text = std::fs::read_to_string(unit(name)).unwrap();
        // The programs of this build; their man pages are not installed.
        let dump = binary("psstat-dump", "psstat-dump").unwrap();
        let text = text.replace("/usr/bin/psstat-tcollector", PROGRAM);
        let text = text.replace("/usr/bin/psstat-dump", dump.to_str().unwrap());
        let is_documentation = |line: &&str| line.starts_with("Documentation=man:");
        let lines: Vec<&str> = text.lines().filter(|line| !is_documentation(line)).collect();
        let text = lines.join("\n");
        let copy = temp.join(name);
        std::fs::write(&copy, text).unwrap();
        let output = Command::new(&analyze).arg("verify").arg(&copy).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let about_it: Vec<&str> = said.lines().filter(|line| line.contains("psstat")).collect();
        assert!(about_it.is_empty(), "{about_it:#?}");
    }
}

/// The system calls of the set, with those of the sets in it.
fn members(analyze: &Path, set: &str, found: &mut BTreeSet<String>) {
    let output = Command::new(analyze).args(["syscall-filter", set]).output().unwrap();
    assert!(output.status.success(), "{set}");
    let text = String::from_utf8(output.stdout).unwrap();
    for word in text.lines().skip(1).map(str::trim).filter(|word| !word.starts_with('#')) {
        if word.starts_with('@') {
            members(analyze, word, found);
        } else {
            found.insert(word.to_owned());
        }
    }
}

/// A system call outside of the filter fails, and a fallback would hide that.
#[test]
fn units_allow_all_system_calls() {
    let (Some(analyze), Some(strace)) = (installed("systemd-analyze"), installed("strace")) else {
        return;
    };
    let mut allowed = BTreeSet::new();
    for set in ["@default", "@system-service"] {
        members(&analyze, set, &mut allowed);
    }
    assert!(allowed.contains("openat") && !allowed.contains("ptrace"), "{allowed:?}");
    let mut denied = BTreeSet::new();
    for set in ["@privileged", "@resources"] {
        members(&analyze, set, &mut denied);
    }
    // The collector reduces what the unit has reduced already, and ignores the errors; in its units it
    // may call capset.
    for reduced in ["capset", "setpriority"] {
        assert!(denied.remove(reduced), "{denied:?}");
    }
    assert!(denied.contains("bpf"), "{denied:?}");
    let population = Population::new();
    let temp = TempDir::new().unwrap();
    let file = temp.join("psstat.prom");
    let file = file.to_str().unwrap();
    // SIGTERM ends the server and the recorder.
    let listen = ["timeout", "3", PROGRAM, "--listen", "127.0.0.1:0"];
    let textfile = [PROGRAM, "--cycles", "2", "--format", "prometheus", "--output", file];
    let (dump, recording) = (binary("psstat-dump", "psstat-dump").unwrap(), temp.join("recording"));
    let [dump, recording] = [&dump, &recording].map(|path| path.to_str().unwrap());
    let recorder = ["timeout", "3", dump, "record", recording];
    for (name, command) in UNITS.into_iter().zip([&listen[..], &textfile[..], &recorder[..]]) {
        let text = std::fs::read_to_string(unit(name)).unwrap();
        let filters = text.lines().filter(|line| line.starts_with("SystemCallFilter="));
        let mut expected =
            vec!["SystemCallFilter=@system-service", "SystemCallFilter=~@privileged @resources"];
        let loads_bpf = name != "psstat-record.service";
        if loads_bpf {
            expected.push("SystemCallFilter=bpf capset");
        }
        assert_eq!(filters.collect::<Vec<_>>(), expected, "{name}");
        // Those of loading are granted with the permission to call it, and to drop them.
        for line in text.lines().filter(|line| line.contains("CAP_SYS_PTRACE")) {
            let is_granted =
                line.ends_with("=CAP_SYS_PTRACE CAP_DAC_READ_SEARCH CAP_BPF CAP_PERFMON");
            assert_eq!(is_granted, loads_bpf, "{name}: {line}");
        }
        assert!(text.lines().any(|line| line == "Nice=5"), "{name}");
        let record = temp.join("record");
        let mut traced = Command::new(&strace);
        traced.args(["-f", "-qq", "-o"]).arg(&record).args(command);
        traced.args(["--interval", "1", "--conf"]).arg(&population.conf);
        let code = traced.output().unwrap().status.code();
        assert!(matches!(code, Some(0 | 124)), "{name}: {code:?}");
        let record = std::fs::read_to_string(&record).unwrap();
        let called: BTreeSet<&str> = record
            .lines()
            // The number of the thread, and the call or its continuation.
            .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
            .map(|(call, _)| call)
            .filter(|call| {
                call.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            })
            .collect();
        assert!(called.contains("openat") && called.len() > 20, "{called:?}");
        let is_refused = |call: &str| {
            let is_denied = !allowed.contains(call) || denied.contains(call);
            is_denied && !(loads_bpf && call == "bpf")
        };
        let refused: Vec<_> = called.iter().filter(|call| is_refused(call)).collect();
        assert!(refused.is_empty(), "{name}: {refused:?}");
    }
}
