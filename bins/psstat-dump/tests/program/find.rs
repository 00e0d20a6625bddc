//! `find`, on sockets and files that the test holds, and compared with `ss` and `lsof`.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use psstat_testproc::{Config, TempDir, TestProcess};
use rustix::fs::fstat;
use serde_json::{Value, json};

use crate::run::{copy_program, csv, json as json_of, run, stderr, stdout, testproc, unique};

/// The rows and the document.
fn find(args: &[&str]) -> (i32, Vec<Value>, Value) {
    let (status, document) = json_of(&[&["find", "--no-conf", "--json"], args].concat());
    (status, document["rows"].as_array().unwrap().clone(), document)
}

fn rows_of(rows: &[Value], pid: u32) -> Vec<Value> {
    rows.iter().filter(|row| row["pid"] == pid).cloned().collect()
}

fn own_pid() -> u32 {
    std::process::id()
}

fn inode(fd: impl AsFd) -> u64 {
    fstat(fd).unwrap().st_ino
}

/// A child that has this as its stdin. It is killed when this is dropped.
struct Holder(Child);

impl Holder {
    fn start(stdin: impl Into<OwnedFd>) -> Holder {
        let mut sleep = Command::new("sleep");
        sleep.arg("1000").stdin(Stdio::from(stdin.into())).stdout(Stdio::null());
        Holder(sleep.spawn().unwrap())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn listener_and_both_ends_of_its_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let server = listener.accept().unwrap().0;
    let waiting = TcpStream::connect(address).unwrap();
    let holder = Holder::start(listener.try_clone().unwrap());
    let port = format!(":{}", address.port());
    for what in [&port, &address.to_string()] {
        let (status, rows, document) = find(&[what]);
        assert_eq!((status, &document["what"]), (0, &json!([what])));
        let own = rows_of(&rows, own_pid());
        let of = |fd: u64| own.iter().find(|row| row["inode"] == fd).unwrap();
        let row = of(inode(&listener));
        assert_eq!((&row["kind"], &row["state"]), (&json!("tcp"), &json!("LISTEN")));
        assert_eq!(row["local"], address.to_string());
        // Those of other tests can be accepted by no one either.
        assert_eq!((&row["accept_queue"], &row["rx_queue_bytes"]), (&json!(1), &Value::Null));
        assert!(row["backlog"].as_u64().unwrap() > 0);
        assert_eq!(row["uid"], rustix::process::geteuid().as_raw());
        assert_eq!(row["held_by"], "fd");
        let fd = row["fd"].as_u64().unwrap();
        let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        assert_eq!(link, Path::new(&format!("socket:[{}]", inode(&listener))));
        for (socket, end) in [(&server, "local"), (&client, "remote"), (&waiting, "remote")] {
            let row = of(inode(socket));
            assert_eq!(
                (&row["state"], &row[end]),
                (&json!("ESTABLISHED"), &json!(address.to_string()))
            );
        }
        // A listener that two processes share has a row for each, before the connections.
        let shared = rows_of(&rows, holder.0.id());
        assert_eq!(shared.len(), 1, "{shared:?}");
        assert_eq!((&shared[0]["fd"], &shared[0]["process"]), (&json!(0), &json!("sleep")));
        assert_eq!(shared[0]["images"], json!(["sleep"]));
        assert_eq!((&rows[0]["state"], &rows[1]["state"]), (&json!("LISTEN"), &json!("LISTEN")));
    }
    let (status, rows, _) = find(&["--listen", &port]);
    assert_eq!((status, rows.len()), (0, 2), "{rows:?}");
    let inode = inode(&server).to_string();
    for what in [&inode, &format!("socket:[{inode}]")] {
        let (status, rows, _) = find(&[what]);
        assert_eq!((status, rows.len()), (0, 1), "{rows:?}");
        assert_eq!(rows[0]["local"], address.to_string());
    }
}

/// A socket that is bound to all addresses has those of the host, and no others.
#[test]
fn socket_of_all_addresses() {
    let v4 = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = v4.local_addr().unwrap().port();
    for (host, is_found) in [("127.0.0.1", true), ("localhost", true), ("192.0.2.1", false)] {
        let (status, rows, _) = find(&[&format!("{host}:{port}")]);
        let found = rows.iter().any(|row| row["inode"] == inode(&v4));
        assert_eq!((status == 0, found), (is_found, is_found), "{host}: {rows:?}");
    }
    let Ok(v6) = TcpListener::bind("[::]:0") else {
        return println!("skipped: no IPv6");
    };
    let port = v6.local_addr().unwrap().port();
    for host in ["[::1]", "127.0.0.1"] {
        let (_, rows, _) = find(&[&format!("{host}:{port}")]);
        assert!(rows.iter().any(|row| row["kind"] == "tcp6" && row["inode"] == inode(&v6)));
    }
    // An IPv4 client of it.
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let server = v6.accept().unwrap().0;
    let (_, rows, _) = find(&[&client.local_addr().unwrap().to_string()]);
    let inodes: BTreeSet<u64> = rows.iter().filter_map(|row| row["inode"].as_u64()).collect();
    assert!(inodes.is_superset(&[inode(&client), inode(&server)].into()), "{rows:?}");
}

#[test]
fn unix_sockets_by_path_and_name() {
    let temp = TempDir::new().unwrap();
    let path = temp.join("s\x1b[31m");
    let listener = UnixListener::bind(&path).unwrap();
    let _client = UnixStream::connect(&path).unwrap();
    let output = run(&["find", "--no-conf", path.to_str().unwrap()]);
    let text = stdout(&output);
    assert!(text.contains("s\\x1b[31m") && !text.contains('\x1b'), "{text}");
    let (_, rows, _) = find(&[path.to_str().unwrap()]);
    let row = rows.iter().find(|row| row["inode"] == inode(&listener)).unwrap();
    assert_eq!((&row["state"], &row["accept_queue"]), (&json!("LISTEN"), &json!(1)));
    assert_eq!(row["local"], path.to_str().unwrap());
    let name = unique("find-abstract");
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let client = UnixStream::connect_addr(&address).unwrap();
    let _server = listener.accept().unwrap();
    let (status, rows, _) = find(&[&format!("@{name}")]);
    let of = |fd: u64| rows.iter().find(|row| row["inode"] == fd).unwrap();
    assert_eq!((status, &of(inode(&listener))["state"]), (0, &json!("LISTEN")));
    assert_eq!(of(inode(&client))["remote"], format!("@{name}"));
}

#[test]
fn socket_of_another_network_namespace() {
    let mut testproc = testproc(&unique("find-elsewhere"));
    if let Err(error) = testproc.unshare_net() {
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        return println!("skipped: no network namespace: {error}");
    }
    testproc.tcp_pairs(1).unwrap();
    testproc.non_established_sockets(1).unwrap();
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", testproc.pid())).unwrap();
    let listener = table.lines().find(|line| line.split_whitespace().nth(3) == Some("0A")).unwrap();
    let local = listener.split_whitespace().nth(1).unwrap();
    let port = u16::from_str_radix(local.rsplit(':').next().unwrap(), 16).unwrap();
    let (status, rows, _) = find(&[&format!(":{port}")]);
    let rows = rows_of(&rows, testproc.pid());
    let row = rows.iter().find(|row| row["state"] == "LISTEN").unwrap();
    let namespace = std::fs::read_link(format!("/proc/{}/ns/net", testproc.pid())).unwrap();
    let inode = row["network_namespace"].as_u64().unwrap();
    assert_eq!((status, format!("net:[{inode}]").as_str()), (0, namespace.to_str().unwrap()));
    let text = stdout(&run(&["find", "--no-conf", &format!(":{port}")]));
    assert!(text.lines().next().unwrap().ends_with("NAMESPACE"), "{text}");
}

#[test]
fn files_by_path() {
    let temp = TempDir::new().unwrap();
    std::fs::create_dir(temp.join("dir")).unwrap();
    let (log, removed) = (temp.join("dir/log"), temp.join("dir/removed"));
    let (file, _deleted) = (File::create(&log).unwrap(), File::create(&removed).unwrap());
    std::fs::remove_file(&removed).unwrap();
    std::fs::hard_link(&log, temp.join("hard")).unwrap();
    std::os::unix::fs::symlink(&log, temp.join("soft")).unwrap();
    let mut sleep = Command::new("sleep");
    let holder = Holder(sleep.arg("1000").current_dir(temp.join("dir")).spawn().unwrap());
    let path = |name: &str| temp.join(name).to_str().unwrap().to_owned();
    for name in ["dir/log", "hard", "soft"] {
        let (status, rows, _) = find(&[&path(name)]);
        assert_eq!((status, rows.len()), (0, 1), "{name}: {rows:?}");
        assert_eq!((&rows[0]["kind"], &rows[0]["access"]), (&json!("file"), &json!("w")));
        assert_eq!(
            (&rows[0]["pid"], &rows[0]["path"]),
            (&json!(own_pid()), &json!(path("dir/log")))
        );
        assert_eq!((&rows[0]["inode"], &rows[0]["state"]), (&json!(inode(&file)), &Value::Null));
    }
    let (status, rows, _) = find(&[&path("dir/removed")]);
    assert_eq!((status, rows.len()), (0, 1), "{rows:?}");
    assert_eq!(
        (&rows[0]["state"], &rows[0]["path"]),
        (&json!("deleted"), &json!(path("dir/removed")))
    );
    // Below a directory, with the working directory of the other process.
    let (_, rows, _) = find(&[&path("dir")]);
    let found: BTreeSet<(u64, &str)> = rows
        .iter()
        .map(|row| (row["pid"].as_u64().unwrap(), row["path"].as_str().unwrap()))
        .collect();
    let (own, other) = (u64::from(own_pid()), u64::from(holder.0.id()));
    let want = [(own, path("dir/log")), (own, path("dir/removed")), (other, path("dir"))];
    assert_eq!(found, want.iter().map(|(pid, path)| (*pid, path.as_str())).collect());
    let cwd = rows_of(&rows, holder.0.id());
    assert_eq!((&cwd[0]["held_by"], &cwd[0]["kind"]), (&json!("cwd"), &json!("directory")));
    // A file with a name that starts with that of another one.
    assert_eq!(find(&[&path("dir/lo")]).0, 1);
    // Its inode: other file systems can have the same one.
    let (_, rows, _) = find(&[&inode(&file).to_string()]);
    assert!(rows.iter().any(|row| row["path"] == path("dir/log")));
}

#[test]
fn programs_and_pipes() {
    let testproc = TestProcess::spawn(&Config::new(unique("find-program"))).unwrap();
    let program = std::fs::read_link(format!("/proc/{}/exe", testproc.pid())).unwrap();
    let (_, rows, _) = find(&[program.to_str().unwrap()]);
    let rows = rows_of(&rows, testproc.pid());
    assert_eq!((rows.len(), &rows[0]["held_by"]), (1, &json!("exe")), "{rows:?}");
    let (reader, writer) = std::io::pipe().unwrap();
    let holder = Holder::start(OwnedFd::from(reader));
    let (_, rows, _) = find(&[&inode(&writer).to_string()]);
    let ends: BTreeSet<(u64, &str)> = rows
        .iter()
        .filter(|row| row["kind"] == "pipe")
        .map(|row| (row["pid"].as_u64().unwrap(), row["access"].as_str().unwrap()))
        .collect();
    assert!(ends.is_superset(&[(holder.0.id().into(), "r"), (own_pid().into(), "w")].into()));
}

/// A mount point finds what is open on its file system, also by another path.
#[test]
fn mount_point() {
    let temp = TempDir::new().unwrap();
    let [mount, other] = ["mount", "other"].map(|name| temp.join(name).display().to_string());
    std::fs::create_dir(&mount).unwrap();
    std::fs::create_dir(&other).unwrap();
    let script = "mount -t tmpfs find $0 && mount --bind $0 $1 && exec 7>$1/file && echo && \
                  exec sleep 1000";
    let mut sh = Command::new("unshare");
    sh.args(["--mount", "--propagation", "private", "sh", "-c", script, &mount, &other]);
    let mut holder = Holder(sh.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut ready = [0];
    let read = std::io::Read::read(holder.0.stdout.as_mut().unwrap(), &mut ready);
    if read.unwrap() == 0 {
        assert!(!rustix::process::geteuid().is_root());
        return println!("skipped: no right to mount");
    }
    // In the mount namespace of that process.
    let mut nsenter = Command::new("nsenter");
    let pid = holder.0.id().to_string();
    nsenter.args(["--mount", "--target", &pid, env!("CARGO_BIN_EXE_psstat-dump")]);
    let output = nsenter.args(["find", "--no-conf", "--csv", &mount]).output().unwrap();
    let records = csv(&stdout(&output));
    let at = |field: &str| records[0].iter().position(|name| name == field).unwrap();
    let found: Vec<&str> = records[1..]
        .iter()
        .filter(|record| record[at("pid")] == pid)
        .map(|record| &*record[at("path")])
        .collect();
    assert_eq!(found, [format!("{other}/file")], "{records:?}");
    // Here, nothing is mounted there.
    assert_eq!(find(&[&mount]).0, 1);
}

#[test]
fn main_thread_that_has_exited() {
    let mut testproc = testproc(&unique("find-leader"));
    let temp = TempDir::new().unwrap();
    File::create(temp.join("open")).unwrap();
    testproc.open_file(&temp.join("open")).unwrap();
    testproc.leader_exit().unwrap();
    let (_, rows, _) = find(&[temp.join("open").to_str().unwrap()]);
    assert_eq!(rows_of(&rows, testproc.pid()).len(), 1, "{rows:?}");
}

/// The processes of others are named once, and sockets without a visible process have dashes.
#[test]
fn without_permission() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root can run the program as another user");
    }
    let temp = TempDir::new().unwrap();
    let program = temp.join("psstat-dump");
    copy_program(&program);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!(":{}", listener.local_addr().unwrap().port());
    let mut as_other_user = Command::new(&program);
    as_other_user.args(["find", "--no-conf", &port]).uid(65_534).gid(65_534).env_clear();
    let output = as_other_user.output().unwrap();
    let (text, message) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(0), "{text}{message}");
    let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..7], ["-", "-", "-", "root", "-", "tcp", "LISTEN"], "{text}");
    assert_eq!(message.matches("permission denied").count(), 1, "{message}");
    assert!(message.contains("; root sees them"), "{message}");
}

/// No process owns a socket in TIME_WAIT, but it can keep a server from starting.
#[test]
fn sockets_without_a_process() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let server = listener.accept().unwrap().0;
    drop(server);
    drop(client);
    drop(listener);
    let what = format!(":{}", address.port());
    let output = run(&["find", "--no-conf", &what]);
    let message = stderr(&output);
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(1), ""), "{message}");
    assert!(message.contains(&format!("no process holds {what}")), "{message}");
    let unowned = format!("1 socket of {what} without a process: 1 TIME_WAIT");
    assert!(message.contains(&unowned), "{message}");
    let (_, _, document) = find(&[&what]);
    let want = json!([{"what": what, "state": "TIME_WAIT", "sockets": 1}]);
    assert_eq!(document["without_process"], want);
}

#[test]
fn images_of_a_config_file() {
    let (temp, name) = (TempDir::new().unwrap(), unique("find-image"));
    let mut testproc = testproc(&name);
    File::create(temp.join("open")).unwrap();
    testproc.open_file(&temp.join("open")).unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, format!("one ^{name}\ntwo {name}\n")).unwrap();
    let open = temp.join("open");
    let args = ["find", "--conf", conf.to_str().unwrap(), open.to_str().unwrap(), "@none"];
    let output = run(&args);
    let text = stdout(&output);
    let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    // Several arguments: the first column is the one that was found.
    assert_eq!(row[..2], [open.to_str().unwrap(), "one,two"], "{text}");
    assert!(stderr(&output).contains("no process holds @none"));
}

/// What `ss` and `lsof` print for the sockets of this process and for a file.
#[test]
fn same_as_ss_and_lsof() {
    let temp = TempDir::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let holder = Holder::start(listener.try_clone().unwrap());
    let (_, rows, _) = find(&["--listen", &format!(":{port}")]);
    let found: BTreeSet<(u64, u64)> = rows
        .iter()
        .map(|row| (row["pid"].as_u64().unwrap(), row["fd"].as_u64().unwrap()))
        .collect();
    assert!(found.iter().any(|(pid, _)| *pid == u64::from(holder.0.id())));
    match Command::new("ss").args(["-tlnpH", &format!("sport = :{port}")]).output() {
        Ok(output) => {
            let text = stdout(&output);
            let numbers = |part: &str| -> Option<(u64, u64)> {
                let (pid, rest) = part.split_once(",fd=")?;
                let fd = rest.split(|c: char| !c.is_ascii_digit()).next()?;
                Some((pid.parse().ok()?, fd.parse().ok()?))
            };
            let of_ss: BTreeSet<_> = text.split("pid=").skip(1).filter_map(numbers).collect();
            assert_eq!(found, of_ss, "{text}");
            let backlog = text.split_whitespace().nth(2).unwrap();
            assert_eq!(rows[0]["backlog"].to_string(), backlog, "{text}");
        }
        Err(_) => println!("skipped: no ss"),
    }
    let path = temp.join("file");
    let file = File::create(&path).unwrap();
    let _second = Holder::start(file.try_clone().unwrap());
    let (_, rows, _) = find(&[path.to_str().unwrap()]);
    let pids: BTreeSet<String> = rows.iter().map(|row| row["pid"].to_string()).collect();
    assert_eq!(pids.len(), 2);
    match Command::new("lsof").args(["-t", "--"]).arg(&path).output() {
        Ok(output) => {
            let of_lsof = stdout(&output).lines().map(str::to_owned).collect();
            assert_eq!(pids, of_lsof);
        }
        Err(_) => println!("skipped: no lsof"),
    }
}

#[test]
fn documents_and_usage_errors() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!(":{}", listener.local_addr().unwrap().port());
    let records = csv(&stdout(&run(&["find", "--no-conf", "--csv", &port])));
    let (_, rows, document) = find(&[&port]);
    assert_eq!(document["kind"], "find");
    let fields: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
    assert_eq!(records[0].iter().collect::<Vec<_>>(), fields);
    assert_eq!(records.len(), 1 + rows.len());
    assert!(document["processes"].as_u64().unwrap() > 0);
    for (args, want) in [
        (&["find"][..], "<WHAT>"),
        (&["find", ":http"], "not a number from 1 to 65535"),
        (&["find", "no-such-file"], "`psstat-dump -p no-such-file`"),
        (&["find", ""], "write `.`"),
    ] {
        let output = run(args);
        assert_eq!((output.status.code(), &*stdout(&output)), (Some(2), ""), "{args:?}");
        assert!(stderr(&output).contains(want), "{args:?}: {}", stderr(&output));
    }
}
