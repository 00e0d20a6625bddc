//! Connections of live processes, compared with the output of `ss` (iproute2).

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::process::Command;

use crate::common::{A, Watch, every_mode, has_ipv6, quiesce, testproc, word};
use psstat_sampler::Usage;
use psstat_testproc::{Kind, TestProcess};

/// The lines of all ESTABLISHED sockets; `None` if `ss` is not installed.
fn run_ss() -> Option<String> {
    let mut ss = Command::new("ss");
    ss.args(["-H", "-n", "-e", "-p", "--tcp", "--udp", "--unix", "state", "established"]);
    let output = match ss.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: ss is not installed");
            return None;
        }
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The number of distinct sockets of these processes: tcp, udp, unix.
fn count(lines: &str, pids: &[u32]) -> [u64; 3] {
    let mut inodes = [const { BTreeSet::new() }; 3];
    for line in lines.lines() {
        if !pids.iter().any(|pid| line.contains(&format!(",pid={pid},"))) {
            continue;
        }
        let mut columns = line.split_whitespace();
        let (protocol, inode) = match columns.next() {
            Some("tcp") => (0, columns.find_map(|column| column.strip_prefix("ino:"))),
            Some("udp") => (1, columns.find_map(|column| column.strip_prefix("ino:"))),
            // In the column of the local port.
            Some("u_str" | "u_dgr" | "u_seq") => (2, columns.nth(3)),
            _ => panic!("unexpected line: {line}"),
        };
        let inode: u64 = inode.and_then(|inode| inode.parse().ok()).unwrap();
        inodes[protocol].insert(inode);
    }
    inodes.map(|inodes| inodes.len() as u64)
}

fn assert_matches_ss(watch: &mut Watch, lines: &str, testprocs: &[&TestProcess]) {
    let pids: Vec<u32> = testprocs.iter().map(|testproc| testproc.pid()).collect();
    let image = watch.cycles(2).image(A);
    let expected = count(lines, &pids);
    assert_eq!([image.tcp, image.udp, image.unix], expected.map(Some));
    for process in watch.sampler.processes() {
        let Usage { tcp, udp, unix, .. } = process.usage;
        let expected = count(lines, &[process.pid]);
        assert_eq!([tcp, udp, unix], expected.map(Some), "{}", process.pid);
    }
    assert_eq!(watch.sampler.processes().count(), pids.len());
}

#[test]
fn ss_reports_the_same_sockets() {
    let word = word("ss");
    let (mut one, mut two) = (testproc(&word), testproc(&word));
    for (n, kind) in (3..).zip([Kind::Tcp, Kind::Udp, Kind::UnixStream, Kind::UnixDgram]) {
        one.open_sockets(kind, n).unwrap();
        two.open_sockets(kind, 2).unwrap();
    }
    if has_ipv6() {
        for (n, kind) in (1..).zip([Kind::Tcp6, Kind::Tcp6Mapped, Kind::Udp6]) {
            one.open_sockets(kind, n).unwrap();
        }
    }
    two.non_established_sockets(3).unwrap();
    one.share_socket(Kind::Tcp, &mut two).unwrap();
    let copy = two.fork_copy().unwrap();
    quiesce(&[&one, &two]);
    let Some(lines) = run_ss() else { return };
    assert!(count(&lines, &[one.pid()]).iter().all(|&sockets| sockets > 0), "{lines}");
    for options in every_mode() {
        let mut watch = Watch::with(options, &[&word]);
        assert_matches_ss(&mut watch, &lines, &[&one, &two, &copy]);
    }
    let mut watch = Watch::new(&[&word]);
    watch.cycle();
    one.close_sockets(Kind::Tcp, 2).unwrap();
    one.replace_socket(Kind::Udp, Kind::UnixStream).unwrap();
    one.quiesce().unwrap();
    let Some(lines) = run_ss() else { return };
    assert_matches_ss(&mut watch, &lines, &[&one, &two, &copy]);
}
