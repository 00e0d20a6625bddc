//! Attacks through a process or the config file, as docs/security.md lists them.
//! docs/promises.md names the test of each.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::Command;

use psstat_testproc::{Config, TempDir, TestProcess};
use rustix::fs::{CWD, FileType, Mode};
use rustix::process::Signal;

use super::common::{
    PROGRAM, Setup, conf, let_conf_be_still, outcome, testproc, truth_of, word, write_conf,
};

/// Nothing in it can begin a line or move a cursor.
fn assert_harmless(lines: &[String]) {
    for line in lines {
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

/// A process may call itself anything: no byte of that gets into a point or a
/// log line.
#[test]
fn process_names_are_not_printed() {
    let word = word("forged");
    let forged = "\nproc.stat.ps.io 1 1 image=evil type=rchar\n\x1b]0;evil\x07\u{202e}\nevil: \r";
    let mut evil = TestProcess::spawn(&Config::new(&word).arg(forged).arg(forged)).unwrap();
    // As if it were a zombie of another parent, with other times.
    evil.set_comm(") Z 1 1 1\n) R 0").unwrap();
    evil.tcp_pairs(2).unwrap();
    evil.threads(2).unwrap();
    evil.quiesce().unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("forged {word}\n"));
    let collector = Setup::with(&path).arg("--debug").spawn();
    for cycle in collector.cycles(3) {
        assert_eq!(cycle.images(), ["forged"]);
        assert_eq!(cycle.image("forged"), truth_of("forged", &[evil.pid()]));
    }
    let log = collector.log();
    assert!(log.iter().chain(&collector.printed()).all(|line| !line.contains("evil")), "{log:#?}");
    assert_harmless(&log);
}

/// In a conf too, and in its name: a diagnostic shows where and what, on one
/// line, and no image gets a name that a TSD would take apart.
#[test]
fn a_conf_gets_nothing_into_the_output() {
    let temp = TempDir::new().unwrap();
    let path = temp.join("psstat\n\x1b[31m.conf");
    let lines = "good nobody-at-all\na,b=c x\na\u{b}b x\n\x1b]0;evil\x07 x\nevil\u{2028}psstat: x\n\
                 ok \x1b[2J(\nimage=evil,type=io x\n{} x\n\"x\":1 x\n";
    write_conf(&path, lines);
    let_conf_be_still();
    for format in ["tcollector", "json", "openmetrics"] {
        let setup = Setup::bare().arg("--once").arg("--conf").arg(&path);
        let setup = if format == "tcollector" { setup } else { setup.other_format(format) };
        let mut collector = setup.spawn();
        assert_eq!(collector.end(), Some(0));
        let log = collector.log();
        assert_harmless(&log);
        assert!(log.iter().all(|line| line.starts_with("psstat: ")), "{log:#?}");
        assert_eq!(log.len(), 8, "{log:#?}");
        let printed = collector.printed().join("\n");
        assert!(printed.contains("good") && !printed.contains("evil"), "{format}: {printed}");
    }
    let (_, _, stderr) = outcome(Command::new(PROGRAM).arg("--check").arg("--conf").arg(&path));
    assert!(stderr.chars().all(|c| c == '\n' || !c.is_control()), "{stderr:?}");
}

/// A rule that backtracks, and a command line made for it.
#[test]
fn catastrophic_pattern_is_bounded() {
    let word = word("slow");
    let slow = TestProcess::spawn(&Config::new(&word).arg("a".repeat(50_000)).arg("!")).unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("evil {word} (a+)+\\1$\nlinear {word} (a+)+$\nfine {word}\n"));
    let collector = Setup::with(&path).spawn();
    let cycles = collector.cycles(4);
    for cycle in &cycles {
        assert_eq!(cycle.image("fine"), truth_of("fine", &[slow.pid()]));
        assert_eq!(cycle.get("procs image=evil") + cycle.get("procs image=linear"), 0);
        assert_eq!(cycle.get("collector.step_limited_rules"), 1);
    }
    let told = collector.logged("the rule of image evil in line 1 exceeded its step limit");
    assert_eq!(told.len(), 1, "{:#?}", collector.log());
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
}

/// As many descriptors and sockets as a process may have.
#[test]
fn a_process_with_very_many_descriptors_is_counted() {
    let (many_word, calm_word) = (word("many"), word("calm"));
    let mut many = testproc(&many_word);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let number = limit.unwrap_or(u64::MAX).min(18_000);
    many.unix_pairs(number / 6).unwrap();
    many.open_files(number / 2).unwrap();
    many.quiesce().unwrap();
    let calm = testproc(&calm_word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("many {many_word}\ncalm {calm_word}\n"));
    let collector = Setup::with(&path).spawn();
    let (many, calm) = (truth_of("many", &[many.pid()]), truth_of("calm", &[calm.pid()]));
    for cycle in collector.cycles(3) {
        assert_eq!(cycle.image("many"), many);
        assert_eq!(cycle.image("calm"), calm);
        let rss = cycle.get("collector.rss");
        assert!(rss < 64 << 20, "{rss} bytes");
    }
}

/// Whoever calls itself like an image's process is one; it adds what it has,
/// and takes nothing from the others, also not by its end.
#[test]
fn a_process_that_takes_an_images_name_only_adds() {
    let word = word("name");
    let mut real = testproc(&word);
    real.write_bytes(1_000_000, 10).unwrap();
    real.quiesce().unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("name {word}\n"));
    let collector = Setup::with(&path).spawn();
    collector.in_force(1);
    let before = collector.fresh().image("name");
    assert_eq!(before, truth_of("name", &[real.pid()]));
    {
        let mut evil = testproc("somebody else");
        evil.write_bytes(5_000_000, 50).unwrap();
        collector.fresh();
        evil.set_title(&word).unwrap();
        let cycle = collector.cycle("it counts", |cycle| cycle.get("procs image=name") == 2);
        // What it did under another name is not the image's.
        let added = cycle.get("io image=name type=wchar") - before["io image=name type=wchar"];
        assert!((0..10_000).contains(&added), "{added}");
    }
    let cycle = collector.cycle("it is gone", |cycle| cycle.get("procs image=name") == 1);
    for (series, value) in truth_of("name", &[real.pid()]) {
        match series.starts_with("io ") {
            true => assert!(cycle.get(&series) >= value, "{series}"),
            false => assert_eq!(cycle.get(&series), value, "{series}"),
        }
    }
}

/// Rows of other sockets, forged in the name of a socket: of each socket of a
/// process, as if it were connected.
fn forge_rows(pid: u32) -> Vec<u8> {
    let mut name = Vec::from(*b"x");
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let link = std::fs::read_link(entry.unwrap().path()).unwrap();
        let link = link.to_string_lossy().into_owned();
        if let Some(inode) = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
            let row = format!("\n0: 00000003 00000000 00000000 0001 03 {inode}");
            if name.len() + row.len() < 107 {
                name.extend(row.into_bytes());
            }
        }
    }
    name
}

/// The text table of unix sockets shows a socket's name raw, newlines and all.
/// In the collector's own network namespace netlink is asked instead.
#[test]
fn a_forged_row_of_the_socket_table_is_not_believed() {
    let word = word("sockets");
    let mut victim = testproc(&word);
    victim.non_established_sockets(1).unwrap();
    victim.unix_pairs(1).unwrap();
    victim.quiesce().unwrap();
    let truth = truth_of("sockets", &[victim.pid()]);
    let name = forge_rows(victim.pid());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let table = std::fs::read_to_string("/proc/self/net/unix").unwrap();
    assert!(table.contains("\n0: 00000003"), "the forged row is there");
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("sockets {word}\n"));
    let collector = Setup::with(&path).arg("--debug").spawn();
    for cycle in collector.cycles(3) {
        if collector.logged("sockets from sock_diag").is_empty() {
            println!("skipped: no sock_diag here");
            return;
        }
        assert_eq!(cycle.get("net image=sockets type=unix"), truth["net image=sockets type=unix"]);
    }
}

/// Links to what is no regular file: to open some devices does something.
#[test]
fn a_conf_that_is_no_regular_file_is_not_opened() {
    let word = word("link");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("link {word}\n"));
    let record = temp.join("record");
    let mut strace = Command::new("strace");
    strace
        .args(["-D", "-f", "-qq", "-e", "trace=open,openat,openat2", "-o"])
        .arg(&record)
        .arg(PROGRAM);
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: no strace");
        return;
    }
    let setup = Setup::of(strace).env("PSSTAT_INTERVAL", "1").arg("--conf").arg(&path);
    let collector = setup.spawn();
    collector.in_force(1);
    let opened = |target: &Path| {
        let record = std::fs::read_to_string(&record).unwrap();
        let target = format!("\"{}\"", target.display());
        let calls = record.lines().filter(|call| call.contains(&target));
        calls.filter(|call| !call.contains("O_PATH")).count()
    };
    let before = opened(&path);
    assert_eq!(before, 0, "a good one is opened by what was looked at");
    let fifo = temp.join("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for target in [Path::new("/dev/null"), &fifo, Path::new("/proc/self/mem")] {
        let new = temp.join("new");
        symlink(target, &new).unwrap();
        std::fs::rename(&new, &path).unwrap();
        collector.hear(1, "is not a regular file");
        // Time enough for a look without an event.
        let cycle = collector.cycles(collector.count() + 4).pop().unwrap();
        assert_eq!(cycle.image("link"), truth_of("link", &[testproc.pid()]));
        assert_eq!(opened(&path), 0, "{}", target.display());
    }
    let told = collector.logged("is not a regular file; keeping the previous 1 rules");
    assert_eq!(told.len(), 1, "{:#?}", collector.log());
}

/// Whoever controls the conf's path links it to a file that root may read.
#[test]
fn a_link_to_a_secret_shows_nothing_of_it() {
    let temp = TempDir::new().unwrap();
    let (secret, path) = (temp.join("shadow"), temp.join("psstat.conf"));
    std::fs::write(&secret, "root:$6$hash-of-root:19000:0:::\npass:word (hunter2\nx=hunter3 y\n")
        .unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&secret, &path).unwrap();
    let mut collector = Setup::with(&path).args(&["--cycles", "2"]).spawn();
    collector.finish();
    let (log, printed) = (collector.log().join("\n"), collector.printed().join("\n"));
    assert!(log.contains("psstat.conf:1:5: error"), "{log}");
    for secret in ["hash", "hunter", "root", "word"] {
        assert!(!log.contains(secret) && !printed.contains(secret), "{secret}: {log}");
    }
}

/// Whoever may signal it may not stop it from working.
#[test]
fn sighup_flood_is_harmless() {
    let word = word("flood");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("flood {word}\n"));
    let collector = Setup::with(&path).spawn();
    collector.in_force(1);
    let begun = collector.fresh();
    let begin = std::time::Instant::now();
    while begin.elapsed() < std::time::Duration::from_secs(3) {
        for _ in 0..20 {
            collector.signal(Signal::HUP);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let after = collector.fresh();
    assert!(after.time > begun.time);
    assert_eq!(after.image("flood"), truth_of("flood", &[testproc.pid()]));
    assert_eq!(after.get("collector.panics"), 0);
}
