//! The sockets of `pid`: counts by protocol and state, order, both endpoints.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};

use psstat_testproc::TempDir;
use serde_json::{Value, json};

use crate::run::{json as json_of, run, stdout, testproc, unique};

fn sockets(pid: u32) -> Value {
    let (status, report) = json_of(&["pid", &pid.to_string(), "--json"]);
    assert_eq!(status, 0);
    report["sockets"].clone()
}

fn with<'s>(sockets: &'s Value, protocol: &str, state: &str) -> Vec<&'s Value> {
    let list = sockets["list"].as_array().unwrap().iter();
    list.filter(|s| s["protocol"] == protocol && s["state"] == state).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Each socket's peer is in the list.
fn assert_pairs(sockets: &[&Value]) {
    let ends = |one: &str, other: &str| -> BTreeSet<(String, String)> {
        sockets.iter().map(|socket| (text(&socket[one]), text(&socket[other]))).collect()
    };
    assert_eq!(ends("local", "remote"), ends("remote", "local"));
}

/// The socket of a client has no path. No file in `/proc` contains the path of
/// its server.
#[test]
fn unix_client_shows_the_path_of_its_server() {
    let temp = TempDir::new().unwrap();
    let path = temp.join("server\x1b[31m\n");
    let listener = UnixListener::bind(&path).unwrap();
    let client = UnixStream::connect(&path).unwrap();
    let server = listener.accept().unwrap().0;
    let of_path = |value: &Value| value == path.to_str().unwrap();
    // In this process other tests have sockets as well.
    let sockets = sockets(std::process::id());
    let at = |field: &str, state: &str| -> Value {
        let list = with(&sockets, "unix stream", state);
        let found: Vec<_> = list.into_iter().filter(|s| of_path(&s[field])).collect();
        assert_eq!(found.len(), 1, "{field} {state}: {sockets}");
        found[0].clone()
    };
    let (of_client, of_server) = (at("remote", "CONNECTED"), at("local", "CONNECTED"));
    let inode = |fd: &dyn std::os::fd::AsFd| rustix::fs::fstat(fd).unwrap().st_ino;
    assert_eq!((&of_client["local"], &of_server["remote"]), (&Value::Null, &Value::Null));
    assert_eq!(of_client["peer_inode"], inode(&server));
    assert_eq!(of_server["peer_inode"], inode(&client));
    let listening = at("local", "LISTEN");
    assert_eq!((&listening["remote"], &listening["peer_inode"]), (&Value::Null, &Value::Null));
}

#[test]
fn socketpair_ends_are_peers() {
    let mut testproc = testproc(&unique("peers"));
    testproc.unix_pairs(1).unwrap();
    testproc.unix_dgram_pairs(1).unwrap();
    let (status, report) = json_of(&["pid", &testproc.pid().to_string(), "--json"]);
    assert_eq!(status, 0);
    let descriptors = report["descriptors"]["list"].as_array().unwrap();
    let inode_of = |socket: &Value| {
        let fd: u64 = text(&socket["fds"]).parse().unwrap();
        let target = descriptors.iter().find(|d| d["fd"] == fd).unwrap()["target"].clone();
        text(&target).trim_start_matches("socket:[").trim_end_matches(']').parse().unwrap()
    };
    for protocol in ["unix stream", "unix dgram"] {
        let list = with(&report["sockets"], protocol, "CONNECTED");
        assert_eq!(list.len(), 2, "{report}");
        for (one, other) in [(0, 1), (1, 0)] {
            let peer: u64 = inode_of(list[other]);
            assert_eq!(list[one]["peer_inode"], peer);
        }
    }
}

#[test]
fn sockets_of_another_network_namespace() {
    let mut testproc = testproc(&unique("elsewhere"));
    if let Err(error) = testproc.unshare_net() {
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        return println!("skipped: no network namespace: {error}");
    }
    testproc.tcp_pairs(1).unwrap();
    testproc.tcp6_pairs(2).unwrap();
    testproc.udp_connected(1).unwrap();
    testproc.unix_pairs(1).unwrap();
    testproc.non_established_sockets(1).unwrap();
    let sockets = sockets(testproc.pid());
    for (protocol, number, begin) in [("tcp", 2, "127.0.0.1:"), ("tcp6", 4, "[::1]:")] {
        let list = with(&sockets, protocol, "ESTABLISHED");
        assert_eq!(list.len(), number, "{sockets}");
        assert!(list.iter().all(|socket| text(&socket["local"]).starts_with(begin)), "{list:?}");
        assert_pairs(&list);
    }
    let udp = with(&sockets, "udp", "ESTABLISHED");
    assert_eq!(udp.len(), 1);
    for end in ["local", "remote"] {
        let port = text(&udp[0][end]).trim_start_matches("127.0.0.1:").parse::<u16>();
        assert!(port.is_ok_and(|port| port > 0), "{udp:?}");
    }
    let listening = with(&sockets, "unix stream", "LISTEN");
    assert!(text(&listening[0]["local"]).starts_with('@'), "{listening:?}");
    // Peers of unix sockets are known only in this process's namespace.
    for socket in with(&sockets, "unix stream", "CONNECTED") {
        assert_eq!((&socket["remote"], &socket["peer_inode"]), (&Value::Null, &Value::Null));
    }
}

#[test]
fn sorted_and_counted_by_protocol_and_state() {
    let mut testproc = testproc(&unique("sorted"));
    testproc.non_established_sockets(2).unwrap();
    testproc.udp_connected(1).unwrap();
    testproc.tcp_pairs(3).unwrap();
    testproc.unix_pairs(1).unwrap();
    let sockets = sockets(testproc.pid());
    let list = sockets["list"].as_array().unwrap();
    let kind = |socket: &Value| (text(&socket["protocol"]), text(&socket["state"]));
    let kinds: Vec<_> = list.iter().map(kind).collect();
    assert!(kinds.is_sorted(), "{kinds:?}");
    let counted = sockets["by_state"].as_array().unwrap();
    assert!(counted.iter().map(kind).is_sorted_by(|one, next| one < next), "{counted:?}");
    for count in counted {
        let number = kinds.iter().filter(|of| **of == kind(count)).count();
        assert_eq!(count["sockets"], number, "{count}");
    }
    let all: u64 = counted.iter().map(|count| count["sockets"].as_u64().unwrap()).sum();
    assert_eq!(sockets["in_tables"], all);
    // Unconnected udp sockets are not closed.
    assert_eq!(with(&sockets, "udp", "UNCONN").len(), 2);
    assert_eq!(with(&sockets, "udp", "CLOSE").len(), 0);
    let listening = with(&sockets, "tcp", "LISTEN");
    assert_eq!(listening[0]["rx_queue_bytes"], Value::Null);
    assert_eq!(listening[0]["accept_queue"], json!(0));

    let text_report = stdout(&run(&["pid", &testproc.pid().to_string()]));
    let at =
        |line: &str| text_report.find(line).unwrap_or_else(|| panic!("no {line:?}\n{text_report}"));
    let (counts, list) = (at("\n  by state\n    PROTOCOL "), at("\n  PROTOCOL "));
    let established = at("\n    tcp         ESTABLISHED 6\n");
    assert!(counts < established && established < list);
}

/// Kills a process on drop.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process with a listener and both ends of an MPTCP connection over 127.0.0.1 in a network
/// namespace of its own. One end, or each, also tries to connect to 192.0.2.1, which does not
/// respond. 10 bytes wait at the end that accepted. `None` if this is not possible here.
fn mptcp_process() -> Option<KillOnDrop> {
    const SCRIPT: &str = r#"
ip link set lo up && ip route add 192.0.2.0/24 dev lo &&
ip mptcp limits set subflows 4 add_addr_accepted 4 && ip mptcp endpoint add 192.0.2.1 signal ||
exit 1
exec python3 -c '
import select, socket, sys, time
make = lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
listener, client = make(), make()
listener.bind(("127.0.0.1", 0))
listener.listen()
client.connect(listener.getsockname())
server = listener.accept()[0]
client.sendall(b"0123456789")
server.sendall(b"x")
client.recv(1)
select.select([server], [], [])
while " 02 " not in open("/proc/self/net/tcp").read(): time.sleep(0.02)
print("ready", flush=True)
sys.stdin.read()'
"#;
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = KillOnDrop(command.stderr(Stdio::piped()).spawn().ok()?);
    let (sender, lines) = std::sync::mpsc::channel();
    let stdout = child.0.stdout.take()?;
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let line = lines.recv_timeout(psstat_testproc::TIMEOUT).unwrap_or_default();
    (line == "ready").then_some(child)
}

/// The rows of an MPTCP socket are those of its connections, all with its inode. The first row
/// used to be taken for the socket: one that is not established hid the others, and the queues
/// were those of a connection, 0 while data waits in the socket.
#[test]
fn mptcp_socket_counts_once() {
    let Some(process) = mptcp_process() else {
        return println!("skipped: no MPTCP in a network namespace (ip mptcp, python3, root)");
    };
    let sockets = sockets(process.0.id());
    let (connected, connecting) =
        (with(&sockets, "tcp", "ESTABLISHED"), with(&sockets, "tcp", "SYN_SENT"));
    assert_eq!((connected.len(), connecting.is_empty()), (2, false), "{sockets}");
    assert_pairs(&connected);
    // All rows of a socket have its descriptor.
    let fds = |rows: &[&Value]| rows.iter().map(|row| text(&row["fds"])).collect::<BTreeSet<_>>();
    assert!(fds(&connected).is_superset(&fds(&connecting)), "{sockets}");
    for row in connected.iter().chain(&connecting) {
        assert!(text(&row["local"]).ends_with(char::is_numeric), "{row}");
        assert_eq!((&row["rx_queue_bytes"], &row["tx_queue_bytes"]), (&Value::Null, &Value::Null));
    }
    assert_eq!((&sockets["established"], &sockets["in_tables"]), (&json!(2), &json!(3)));
    assert_eq!(sockets["not_in_tables"], 0);
    let by_state = json!([
        {"protocol": "tcp", "state": "ESTABLISHED", "sockets": 2},
        {"protocol": "tcp", "state": "LISTEN", "sockets": 1},
    ]);
    assert_eq!(sockets["by_state"], by_state);
    // The sampler as well.
    let (_, table) = json_of(&["-p", "--no-conf", "--json", "python3"]);
    let rows = table["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["pid"] == process.0.id()).unwrap();
    assert_eq!(row["tcp_established"], 2);
}

/// The inode of a process's listening unix socket.
fn unix_listener(pid: u32) -> u64 {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap();
    let inodes = table.lines().filter(|row| row.contains(" 00010000 "));
    let inodes = inodes.map(|row| row.split_whitespace().nth(6).unwrap().parse().unwrap());
    let inodes: Vec<u64> = inodes.collect();
    let owned = |inode: &&u64| {
        std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten().any(|entry| {
            std::fs::read_link(entry.path())
                .is_ok_and(|link| link.as_os_str() == &*format!("socket:[{inode}]"))
        })
    };
    *inodes.iter().find(owned).unwrap()
}

/// A process in the network namespace of another one that binds a socket to a name with a row of
/// a connected socket. `None` if this is not possible here.
fn forger(victim: u32, inode: u64) -> Option<KillOnDrop> {
    const SCRIPT: &str = r#"
import socket, sys
forger = socket.socket(socket.AF_UNIX)
row = "0000000000000000: 00000003 00000000 00000000 0001 03 %s /x" % sys.argv[1]
forger.bind("\0z\n" + row + "\n")
print("ready", flush=True)
sys.stdin.read()
"#;
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{victim}/ns/net"));
    command.args(["python3", "-c", SCRIPT, &inode.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = KillOnDrop(command.spawn().ok()?);
    let mut line = String::new();
    BufReader::new(child.0.stdout.as_mut()?).read_line(&mut line).ok()?;
    let table = std::fs::read_to_string(format!("/proc/{victim}/net/unix")).unwrap();
    (line == "ready\n").then(|| {
        assert!(table.contains(&format!("0001 03 {inode} /x")), "{table}");
        child
    })
}

/// The row of another process made the listener count as connected.
#[test]
fn forged_rows_do_not_count() {
    for elsewhere in [true, false] {
        let name = unique(if elsewhere { "victim-elsewhere" } else { "victim" });
        let mut victim = testproc(&name);
        if elsewhere && let Err(error) = victim.unshare_net() {
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
            println!("skipped: no network namespace: {error}");
            continue;
        }
        victim.non_established_sockets(1).unwrap();
        victim.quiesce().unwrap();
        let inode = unix_listener(victim.pid());
        let Some(_forger) = forger(victim.pid(), inode) else {
            println!("skipped: no nsenter or python3, or not root");
            continue;
        };
        let sockets = sockets(victim.pid());
        // Elsewhere no row can be trusted.
        let state = if elsewhere { "CONTRADICTORY" } else { "LISTEN" };
        let listening = with(&sockets, "unix stream", state);
        assert_eq!((listening.len(), &sockets["established"]), (1, &json!(0)), "{sockets}");
        assert_eq!(with(&sockets, "unix stream", "CONNECTED"), [&Value::Null; 0], "{sockets}");
        assert_eq!(listening[0]["local"].is_null(), elsewhere, "{sockets}");
        let (_, table) = json_of(&["-p", "--no-conf", "--json", &name]);
        assert_eq!(table["rows"][0]["unix_established"], 0, "{table}");
    }
}
