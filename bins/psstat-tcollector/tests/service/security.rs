//! Attacks through a process or the config file, as docs/security.md lists them.
//! docs/promises.md names the test of each.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::{Command, Stdio};

use psstat_testproc::{Config, TempDir, TestProcess};
use rustix::fs::{CWD, FileType, Mode};
use rustix::process::Signal;

use super::common::{
    PROGRAM, Setup, conf, expected_values, outcome, testproc, wait_settled, word, write_conf,
};

/// No line can start another line or move a cursor.
fn assert_no_control_characters(lines: &[String]) {
    for line in lines {
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

/// A process chooses its names: no byte of them gets into a point or a log line.
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
        assert_eq!(cycle.image("forged"), expected_values("forged", &[evil.pid()]));
    }
    let log = collector.log();
    assert!(log.iter().chain(&collector.printed()).all(|line| !line.contains("evil")), "{log:#?}");
    assert_no_control_characters(&log);
}

/// The same for a config file and its name: a diagnostic is one line, and an image cannot get a
/// name that OpenTSDB would parse as more than a tag.
#[test]
fn config_text_is_not_printed() {
    let temp = TempDir::new().unwrap();
    let path = temp.join("psstat\n\x1b[31m.conf");
    let lines = "good no-such-process\na,b=c x\na\u{b}b x\n\x1b]0;evil\x07 x\nevil\u{2028}psstat: x\n\
                 ok \x1b[2J(\nimage=evil,type=io x\n{} x\n\"x\":1 x\n";
    write_conf(&path, lines);
    wait_settled();
    for format in ["tcollector", "json", "openmetrics"] {
        let setup = Setup::bare().arg("--once").arg("--conf").arg(&path);
        let setup = if format == "tcollector" { setup } else { setup.other_format(format) };
        let mut collector = setup.spawn();
        assert_eq!(collector.end(), Some(0));
        let log = collector.log();
        assert_no_control_characters(&log);
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
        assert_eq!(cycle.image("fine"), expected_values("fine", &[slow.pid()]));
        assert_eq!(cycle.get("procs image=evil") + cycle.get("procs image=linear"), 0);
        assert_eq!(cycle.get("collector.step_limited_rules"), 1);
    }
    let logged = collector.logged("the rule of image evil in line 1 exceeded its step limit");
    assert_eq!(logged.len(), 1, "{:#?}", collector.log());
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
}

/// The maximum number of descriptors and sockets of a process.
#[test]
fn process_with_maximum_fds_is_counted() {
    let (many_word, quiet_word) = (word("many"), word("quiet"));
    let mut many = testproc(&many_word);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let number = limit.unwrap_or(u64::MAX).min(18_000);
    many.unix_pairs(number / 6).unwrap();
    many.open_files(number / 2).unwrap();
    many.quiesce().unwrap();
    let quiet = testproc(&quiet_word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("many {many_word}\nquiet {quiet_word}\n"));
    let collector = Setup::with(&path).spawn();
    let (many, quiet) =
        (expected_values("many", &[many.pid()]), expected_values("quiet", &[quiet.pid()]));
    for cycle in collector.cycles(3) {
        assert_eq!(cycle.image("many"), many);
        assert_eq!(cycle.image("quiet"), quiet);
        let rss = cycle.get("collector.rss");
        assert!(rss < 64 << 20, "{rss} bytes");
    }
}

/// A process with the command line of an image belongs to it; its values are added, and the
/// counters of the others are unaffected, also when it exits.
#[test]
fn impersonating_process_only_adds() {
    let word = word("name");
    let mut real = testproc(&word);
    real.write_bytes(1_000_000, 10).unwrap();
    real.quiesce().unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("name {word}\n"));
    let collector = Setup::with(&path).spawn();
    collector.wait_loaded(1);
    let before = collector.next_cycle().image("name");
    assert_eq!(before, expected_values("name", &[real.pid()]));
    {
        let mut evil = testproc("another title");
        evil.write_bytes(5_000_000, 50).unwrap();
        collector.next_cycle();
        evil.set_title(&word).unwrap();
        let cycle = collector.cycle("it counts", |cycle| cycle.get("procs image=name") == 2);
        // I/O from before the change of its title is not counted.
        let added = cycle.get("io image=name type=wchar") - before["io image=name type=wchar"];
        assert!((0..10_000).contains(&added), "{added}");
    }
    let cycle = collector.cycle("its exit", |cycle| cycle.get("procs image=name") == 1);
    for (series, value) in expected_values("name", &[real.pid()]) {
        match series.starts_with("io ") {
            true => assert!(cycle.get(&series) >= value, "{series}"),
            false => assert_eq!(cycle.get(&series), value, "{series}"),
        }
    }
}

/// Forged rows for each socket of a process, as if it were connected, in the name of another
/// socket.
fn forge_rows(pid: u32) -> Vec<u8> {
    let mut name = Vec::from(*b"x");
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let link = std::fs::read_link(entry.unwrap().path()).unwrap();
        let link = link.to_string_lossy().into_owned();
        if let Some(inode) = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
            let address = "0000000000000000";
            let row = format!("\n{address}: 00000003 00000000 00000000 0001 03 {inode}");
            if name.len() + row.len() < 107 {
                name.extend(row.into_bytes());
            }
        }
    }
    name
}

/// In another network namespace the collector reads the text table. A forged row used to make a
/// listener count as connected.
#[test]
fn forged_rows_in_another_namespace_do_not_count() {
    const SCRIPT: &str = r#"
import socket, sys
forger = socket.socket(socket.AF_UNIX)
row = "0000000000000000: 00000003 00000000 00000000 0001 03 %s /x" % sys.argv[1]
forger.bind("\0z\n" + row + "\n")
print("ready", flush=True)
sys.stdin.read()
"#;
    let word = word("elsewhere");
    let mut victim = testproc(&word);
    if let Err(error) = victim.unshare_net() {
        return println!("skipped: no network namespace: {error}");
    }
    victim.non_established_sockets(1).unwrap();
    victim.unix_pairs(1).unwrap();
    victim.quiesce().unwrap();
    let expected = expected_values("elsewhere", &[victim.pid()]);
    let table = std::fs::read_to_string(format!("/proc/{}/net/unix", victim.pid())).unwrap();
    let listener = table.lines().find(|row| row.contains(" 00010000 ")).unwrap();
    let inode = listener.split_whitespace().nth(6).unwrap();
    let mut forger = Command::new("nsenter");
    forger.arg(format!("--net=/proc/{}/ns/net", victim.pid()));
    forger.args(["python3", "-c", SCRIPT, inode]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut forger) = forger.spawn() else { return println!("skipped: no nsenter") };
    let read = std::io::Read::read(forger.stdout.as_mut().unwrap(), &mut [0]);
    if !read.is_ok_and(|length| length == 1) {
        forger.wait().unwrap();
        return println!("skipped: no python3, or not root");
    }
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("elsewhere {word}\n"));
    let collector = Setup::with(&path).spawn();
    let series = "net image=elsewhere type=unix";
    let counts: Vec<i64> = collector.cycles(3).into_iter().map(|cycle| cycle.get(series)).collect();
    // Its input ends, and so does the process.
    drop(forger.stdin.take());
    forger.wait().unwrap();
    assert_eq!(counts, [expected[series]; 3]);
    assert_eq!(collector.logged("1 unix sockets have rows in different states").len(), 1);
}

/// The text table of unix sockets contains the raw name of a socket, including newlines. In its own
/// network namespace the collector uses netlink instead.
#[test]
fn forged_socket_table_rows_are_ignored() {
    let word = word("sockets");
    let mut victim = testproc(&word);
    victim.non_established_sockets(1).unwrap();
    victim.unix_pairs(1).unwrap();
    victim.quiesce().unwrap();
    let expected = expected_values("sockets", &[victim.pid()]);
    let name = forge_rows(victim.pid());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let table = std::fs::read_to_string("/proc/self/net/unix").unwrap();
    let row = "\n0000000000000000: 00000003 00000000 00000000 0001 03 ";
    assert!(table.contains(row), "the forged row is there");
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("sockets {word}\n"));
    let collector = Setup::with(&path).arg("--debug").spawn();
    for cycle in collector.cycles(3) {
        if collector.logged("sockets from sock_diag").is_empty() {
            println!("skipped: no sock_diag here");
            return;
        }
        assert_eq!(
            cycle.get("net image=sockets type=unix"),
            expected["net image=sockets type=unix"]
        );
    }
}

/// Links to files that are not regular: opening some devices has side effects.
#[test]
fn special_file_is_not_opened_as_config() {
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
    collector.wait_loaded(1);
    let opened = |target: &Path| {
        let record = std::fs::read_to_string(&record).unwrap();
        let target = format!("\"{}\"", target.display());
        let calls = record.lines().filter(|call| call.contains(&target));
        calls.filter(|call| !call.contains("O_PATH")).count()
    };
    let before = opened(&path);
    assert_eq!(before, 0, "a regular file is opened by its O_PATH descriptor");
    let fifo = temp.join("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for target in [Path::new("/dev/null"), &fifo, Path::new("/proc/self/mem")] {
        let new = temp.join("new");
        symlink(target, &new).unwrap();
        std::fs::rename(&new, &path).unwrap();
        collector.wait_for_log(1, "is not a regular file");
        // Enough time for a read without an event.
        let cycle = collector.cycles(collector.count() + 4).pop().unwrap();
        assert_eq!(cycle.image("link"), expected_values("link", &[testproc.pid()]));
        assert_eq!(opened(&path), 0, "{}", target.display());
    }
    let logged = collector.logged("is not a regular file; keeping the previous 1 rule");
    assert_eq!(logged.len(), 1, "{:#?}", collector.log());
}

/// A user who controls the path of the config file links it to a file that only root may read.
#[test]
fn link_to_secret_reveals_nothing() {
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

/// A user who may send signals to the collector cannot stop its work.
#[test]
fn sighup_flood_costs_no_cycle() {
    let word = word("flood");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("flood {word}\n"));
    let collector = Setup::with(&path).spawn();
    collector.wait_loaded(1);
    let begun = collector.next_cycle();
    let begin = std::time::Instant::now();
    while begin.elapsed() < std::time::Duration::from_secs(3) {
        for _ in 0..20 {
            collector.signal(Signal::HUP);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let after = collector.next_cycle();
    assert!(after.time > begun.time);
    assert_eq!(after.image("flood"), expected_values("flood", &[testproc.pid()]));
    assert_eq!(after.get("collector.panics"), 0);
}
