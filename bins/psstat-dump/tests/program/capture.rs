//! `capture`, and the other commands on its result.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};

use psstat_testproc::{Config, TempDir, TestProcess, oracle};
use serde_json::{Value, json};

use crate::run::{assert_resident, csv, json as json_of, run, stderr, stdout, unique};

/// The bytes of all files and links below a directory.
fn everything(dir: &Path, into: &mut Vec<u8>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            everything(&entry.path(), into);
        } else if kind.is_symlink() {
            into.extend(fs::read_link(entry.path()).unwrap().as_os_str().as_encoded_bytes());
        } else {
            into.extend(fs::read(entry.path()).unwrap());
        }
    }
}

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
fn capture_is_complete_and_redacted() {
    let name = unique("captured");
    let config = Config::new(&name).args(["--password=hunter2", "--token", "hunter3", "plain"]);
    let mut testproc = TestProcess::spawn(&config).unwrap();
    testproc.open_files(2).unwrap();
    testproc.tcp_pairs(2).unwrap();
    testproc.unix_pairs(1).unwrap();
    testproc.threads(3).unwrap();
    testproc.write_bytes(5_000, 2).unwrap();
    let mut other = crate::run::testproc(&name);
    other.tcp_pairs(1).unwrap();
    // Not selected; the tables must not contain its sockets.
    let mut unselected = crate::run::testproc(&unique("unselected"));
    unselected.tcp_pairs(1).unwrap();
    testproc.quiesce().unwrap();
    other.quiesce().unwrap();
    let pid = testproc.pid();
    let (fds, io) = (oracle::fds(pid).unwrap(), oracle::io(pid).unwrap());
    let (memory, sockets) = (oracle::memory(pid).unwrap(), oracle::established(pid).unwrap());
    let unselected_sockets = oracle::established(unselected.pid()).unwrap();

    let temp = TempDir::new().unwrap();
    let path = temp.join("capture");
    let dir = path.to_str().unwrap();
    let (status, document) =
        json_of(&["capture", dir, "-e", &format!("^{name}"), "--keep-arguments", "--json"]);
    assert_eq!((status, &document["processes"], &document["unread"]), (0, &json!(2), &json!({})));
    drop((testproc, other));

    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    let cmdline = fs::read(path.join(format!("{pid}/cmdline"))).unwrap();
    let want = format!("{name}\0--password=REDACTED\0--token\0REDACTED\0plain\0");
    assert_eq!(cmdline, want.as_bytes());
    let mut bytes = Vec::new();
    everything(&path, &mut bytes);
    assert!(!contains(&bytes, "hunter"));
    for inode in &unselected_sockets.tcp {
        assert!(!contains(&bytes, &format!(" {inode} ")), "{inode}");
    }

    // The processes have exited; all data comes from the directory.
    let (status, document) = json_of(&["--no-conf", "--json", "-p", "--proc", dir]);
    assert_eq!(status, 0);
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    let row = rows.iter().find(|row| row["pid"] == pid).unwrap();
    assert_eq!(row["fds"], fds);
    assert_eq!(row["threads"], 4);
    assert_eq!(row["tcp_established"], sockets.all_tcp());
    assert_eq!(row["unix_established"], sockets.unix.len());
    let statm = fs::read_to_string(path.join(format!("{pid}/statm"))).unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(row["rss_bytes"], pages * rustix::param::page_size() as u64);
    assert_resident(&row["rss_bytes"], memory.resident.cast_signed());
    assert_eq!(row["wchar_bytes"], io["wchar"]);
    assert_eq!(row["pcpu_percent"], Value::Null);

    let (status, report) = json_of(&["pid", &pid.to_string(), "--json", "--proc", dir]);
    assert_eq!(status, 0);
    assert_eq!(report["descriptors"]["open"], fds);
    assert_eq!(report["io"]["wchar_bytes"], io["wchar"]);
    let open = sockets.all_tcp() + sockets.unix.len() as u64;
    assert_eq!(report["sockets"]["established"], open);
    assert!(report["identity"]["started_unix_seconds"].as_f64().unwrap() > 0.0);

    let (status, document) =
        json_of(&["explain", &pid.to_string(), "-e", "plain$", "--json", "--proc", dir]);
    assert_eq!((status, &document["rules"][0]["matches"]), (0, &json!(true)));
    let conf = temp.join("psstat.conf");
    fs::write(&conf, format!("it ^{name}\n")).unwrap();
    let conf = conf.to_str().unwrap();
    let (status, document) = json_of(&["check", conf, "--json", "--proc", dir]);
    assert_eq!((status, &document["rules"][0]["processes"]), (0, &json!(2)));
    let (status, document) =
        json_of(&["explain", "--rule", "it", "--conf", conf, "--json", "--proc", dir]);
    assert_eq!((status, document["rules"][0]["matches"].as_array().unwrap().len()), (0, 2));
    let (status, document) = json_of(&["doctor", "--conf", conf, "--json", "--proc", dir]);
    assert_eq!((status, &document["ok"]), (0, &json!(true)));
    let again = temp.join("again");
    let (status, _) =
        json_of(&["capture", again.to_str().unwrap(), "--json", "--proc", dir, &name]);
    assert_eq!(status, 0);
    let copied = fs::read(again.join(format!("{pid}/stat"))).unwrap();
    assert_eq!(copied, fs::read(path.join(format!("{pid}/stat"))).unwrap());
}

/// A process that is killed on drop.
struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Scripts and commands run by sudo used to be copied with their passwords. Names
/// of files and sockets can contain secrets as well.
#[test]
fn secrets_of_scripts_files_and_sockets_are_redacted() {
    let temp = TempDir::new().unwrap();
    let file = temp.join("get?token=hunter2");
    let socket = temp.join("password=hunter3");
    let script = "mysqldump -u root -phunter4 shop | curl -u me:hunter5 https://x -T -";
    let program = unique("scripted");
    let mut command = Command::new("sleep");
    command.arg0(&program).arg("300").stdin(fs::File::create(&file).unwrap());
    let listener = UnixListener::bind(&socket).unwrap();
    let sleeper = Sleeper(command.stdout(OwnedFd::from(listener)).spawn().unwrap());
    let words = ["-c", script, "sudo", "mysql", "-phunter6"];
    let shell = TestProcess::spawn(&Config::new(&program).args(words)).unwrap();

    let path = temp.join("capture");
    let dir = path.to_str().unwrap();
    let (pid, shell) = (sleeper.0.id(), shell.pid());
    let pids = [pid.to_string(), shell.to_string()];
    let output = run(&["capture", dir, "--pid", &pids[0], "--pid", &pids[1], "--keep-arguments"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let mut bytes = Vec::new();
    everything(&path, &mut bytes);
    assert!(!contains(&bytes, "hunter"));

    let command_line = fs::read(path.join(format!("{shell}/cmdline"))).unwrap();
    let want = "mysqldump -u root -pREDACTED shop | curl -u REDACTED https://x -T -";
    let want = format!("{program}\0-c\0{want}\0sudo\0mysql\0-pREDACTED\0");
    assert_eq!(String::from_utf8(command_line).unwrap(), want);
    let link = fs::read_link(path.join(format!("{pid}/fd/0"))).unwrap();
    assert_eq!(link, temp.join("get?token=REDACTED"));
    let table = fs::read(path.join(format!("{pid}/net/unix"))).unwrap();
    assert!(contains(&table, &format!("{}/password=REDACTED\n", temp.path().display())));
}

#[test]
fn captures_named_pids_and_refuses_nonempty_dir() {
    let testproc = crate::run::testproc(&unique("captured-pid"));
    let temp = TempDir::new().unwrap();
    let path = temp.join("capture");
    let dir = path.to_str().unwrap();
    let pid = testproc.pid().to_string();
    let output = run(&["capture", dir, "--pid", &pid, "--csv"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(csv(&stdout(&output))[1], [dir, "1", ""]);
    let output = run(&["capture", dir, "--pid", &pid]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("not empty"));
    let nested = temp.join("new/parents/capture");
    let output = run(&["capture", nested.to_str().unwrap(), "--pid", &pid]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(nested.join(&pid).exists());
    let empty = temp.join("empty");
    let output = run(&["capture", empty.to_str().unwrap(), "--pid", "4194305"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("no process matches") && !empty.exists());
    let by_name = temp.join("by-name");
    let name = unique("captured-pid");
    let output = run(&["capture", by_name.to_str().unwrap(), "--no-conf", &name]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(by_name.join(&pid).exists());
    for wrong in [&["capture"][..], &["capture", "/proc/nowhere/x", "--pid", "1"]] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// By default only safe parts and the text that a rule needs are copied.
#[test]
fn unknown_arguments_are_redacted_by_default() {
    let name = unique("kept");
    let words = ["--port=8080", "letmein", "shop=orders", "/srv/app/run.sh", "shop=letmein"];
    let process = TestProcess::spawn(&Config::new(&name).args(words)).unwrap();
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    fs::write(&conf, format!("it ^{name} .*shop=orders\nnot ^{name}$\n")).unwrap();
    let (conf, pid) = (conf.to_str().unwrap(), process.pid().to_string());
    let want =
        format!("{name}\0--port=8080\0REDACTED\0shop=orders\0/srv/app/run.sh\0shop=REDACTED\0");
    for (at, selection) in
        [&["it"][..], &["--pid", &pid], &["-e", &format!("^{name}")]].iter().enumerate()
    {
        let path = temp.join(format!("capture-{at}"));
        let dir = path.to_str().unwrap();
        let output = run(&[&["capture", dir, "--conf", conf], *selection].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let command_line = fs::read(path.join(&pid).join("cmdline")).unwrap();
        assert_eq!(String::from_utf8(command_line).unwrap(), want, "{selection:?}");
        // It is classified as the original.
        let (_, document) = json_of(&["check", conf, "--json", "--proc", dir]);
        let counts: Vec<&Value> =
            document["rules"].as_array().unwrap().iter().map(|rule| &rule["processes"]).collect();
        assert_eq!(counts, [&json!(1), &json!(0)]);
    }
}

/// The second line of a name used to be kept as it was, and so was a name of one word.
#[test]
fn socket_names_with_secrets_are_redacted() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;

    let temp = TempDir::new().unwrap();
    let token = ["b gh", "p_", &"aB3".repeat(12)].concat();
    let id = std::process::id();
    let abstract_names = [
        format!("a{id}\npassword=hunterword"),
        format!("a{id}\n {token}"),
        format!("hunterword{id}"),
        // A row of a socket that is captured.
        format!("r{id}\n0000000000000000: 00000003 00000000 00000000 0001 03 INODE hunterword"),
    ];
    let mut listeners = vec![UnixListener::bind(temp.join("x\ntoken=hunterword")).unwrap()];
    let inode = rustix::fs::fstat(&listeners[0]).unwrap().st_ino.to_string();
    for name in abstract_names {
        let name = name.replace("INODE", &inode);
        let address = SocketAddr::from_abstract_name(name).unwrap();
        listeners.push(UnixListener::bind_addr(&address).unwrap());
    }
    let _memory = rustix::fs::memfd_create("hunterword", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let pid = id.to_string();
    for (args, kept) in [(&[][..], ""), (&["--keep-arguments"][..], "hunterword")] {
        let path = temp.join(format!("capture{}", args.len()));
        let dir = path.to_str().unwrap();
        let capture = [&["capture", dir, "--pid", &pid, "--json"][..], args].concat();
        assert_eq!(json_of(&capture).0, 0);
        let table = fs::read_to_string(path.join(&pid).join("net/unix")).unwrap();
        for inode in listeners.iter().map(|one| rustix::fs::fstat(one).unwrap().st_ino) {
            assert!(table.contains(&format!(" {inode}")), "{inode}\n{table}");
        }
        for secret in ["password=hunterword", "token=hunterword", &token[2..]] {
            assert!(!table.contains(secret), "{secret}\n{table}");
        }
        let mut bytes = Vec::new();
        everything(&path, &mut bytes);
        assert_eq!(contains(&bytes, "hunterword"), !kept.is_empty(), "{table}");
    }
}

/// One file has all that a bug report needs, and becomes the same directory.
#[test]
fn archive_has_the_config_file_and_the_checks() {
    let name = unique("archived");
    let mut testproc = TestProcess::spawn(&Config::new(&name).arg("letmein")).unwrap();
    testproc.tcp_pairs(2).unwrap();
    let second = crate::run::testproc(&name);
    let temp = TempDir::new().unwrap();
    let conf = temp.join("conf.d");
    fs::create_dir(&conf).unwrap();
    let rule = format!("# a comment\nit ^{name}\n");
    fs::write(conf.join("a.conf"), "none ^none-of-these$\n").unwrap();
    fs::write(conf.join("b.conf"), &rule).unwrap();
    let conf = conf.to_str().unwrap();
    let file = temp.join("new/report.tar.gz");
    let output = run(&["capture", file.to_str().unwrap(), "--conf", conf]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("tar -xzf"), "{}", stdout(&output));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = run(&["capture", file.to_str().unwrap(), "--conf", conf]);
    assert_eq!(again.status.code(), Some(2), "{}", stdout(&again));

    // By another program.
    let status = Command::new("tar").arg("-xzf").arg(&file).current_dir(temp.path()).status();
    assert!(status.unwrap().success());
    let dir = temp.join("report");
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_to_string(dir.join("conf/002-b.conf")).unwrap(), rule);
    let versions = fs::read_to_string(dir.join("versions.txt")).unwrap();
    let release = rustix::system::uname().release().to_str().unwrap().to_owned();
    assert!(versions.starts_with(concat!("psstat-dump ", env!("CARGO_PKG_VERSION"), "\n")));
    assert!(versions.contains(&release), "{versions}");
    let doctor = fs::read_to_string(dir.join("doctor.txt")).unwrap();
    assert!(
        doctor.contains("kernel") && doctor.contains(&release) && !doctor.contains('\u{1b}'),
        "{doctor}"
    );
    let mut bytes = Vec::new();
    everything(&dir, &mut bytes);
    assert!(!contains(&bytes, "letmein"));

    let report = dir.to_str().unwrap();
    let unpacked_conf = dir.join("conf").display().to_string();
    let args = ["-p", "--json", "--proc", report, "--conf", &unpacked_conf];
    let (status, document) = json_of(&args);
    let rows = document["rows"].as_array().unwrap();
    assert_eq!((status, rows.len()), (0, 2), "{document}");
    let row = rows.iter().find(|row| row["pid"] == testproc.pid()).unwrap();
    assert_eq!(row["images"], json!(["it"]));
    let links = |pid: u32, of: &Path| {
        let descriptors = fs::read_dir(of.join(pid.to_string()).join("fd")).unwrap();
        descriptors.filter(|entry| fs::read_link(entry.as_ref().unwrap().path()).is_ok()).count()
    };
    for pid in [testproc.pid(), second.pid()] {
        assert_eq!(links(pid, &dir), links(pid, Path::new("/proc")));
    }
}
