//! Processes in a pid namespace, read from inside and from outside.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use psstat_sampler::intervals::CMDLINE_INTERVAL;
use psstat_testproc::{TempDir, oracle};

use super::common::{Cycle, PROGRAM, Setup, conf, expected_values, mean_load, until, word};

/// A shell that is pid 1 of a new pid namespace with its procfs. The namespace ends with the
/// command, and the command with the test.
fn in_namespace(script: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child"]);
    command.args(["--mount-proc", "sh", "-c", script, "sh"]);
    command
}

fn is_permitted() -> bool {
    let trial = in_namespace("true").output();
    let permitted = trial.as_ref().is_ok_and(|output| output.status.success());
    if !permitted {
        println!("skipped: no right to make a pid namespace: {trial:?}");
    }
    permitted
}

/// The processes with this command line, by their pid in their namespace.
fn pids_in_namespace(command_line: &[&str]) -> BTreeMap<u32, u32> {
    let expected: String = command_line.iter().map(|arg| format!("{arg}\0")).collect();
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if oracle::cmdline(pid).is_ok_and(|text| text == expected.as_bytes())
            && let Ok(pids) = oracle::status_field(pid, "NSpid")
        {
            let inner = pids.split_whitespace().next_back().unwrap();
            found.insert(inner.parse().unwrap(), pid);
        }
    }
    found
}

/// Waits until `count` processes with this command line sleep, and returns them. A process has its
/// command line before it has loaded its libraries.
fn wait_asleep(command_line: &[&str], count: usize) -> BTreeMap<u32, u32> {
    let mut pids = BTreeMap::new();
    until("they sleep", || {
        pids = pids_in_namespace(command_line);
        pids.len() == count
            && pids.values().all(|&pid| oracle::state(pid).is_ok_and(|state| state == 'S'))
    });
    pids
}

/// A unique time to sleep, which no other process of the machine uses.
fn unique_sleep_time(name: &str) -> String {
    let digits = word(name).bytes().filter(u8::is_ascii_digit).map(char::from).collect::<String>();
    format!("86400.{digits}")
}

#[test]
fn pids_below_ten_are_counted() {
    if !is_permitted() {
        return;
    }
    let sleep = unique_sleep_time("within");
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("low ^sleep {sleep}$\nfirst psstat-tcollector .*--debug\n"));
    // The collector replaces the shell, pid 1. The file tells the shell that all of them sleep.
    let mark = temp.join("asleep");
    let script = format!(
        "for i in 2 3 4 5 6 7 8 9; do sleep {sleep} & done; \
         i=0; while [ $i -lt 600 -a ! -e {} ]; do sleep 0.1; i=$((i+1)); done; exec \"$@\"",
        mark.display()
    );
    let mut command = in_namespace(&script);
    command.arg(PROGRAM);
    let setup = Setup::of(command).env("PSSTAT_INTERVAL", "1");
    let collector = setup.args(&["--debug", "--conf"]).arg(&path).spawn();
    let pids = wait_asleep(&["sleep", &sleep], 8);
    std::fs::write(&mark, "").unwrap();
    let cycle = collector.cycles(2).remove(1);
    assert_eq!(pids.keys().copied().collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8, 9]);
    let pids: Vec<u32> = pids.into_values().collect();
    assert_eq!(cycle.image("low"), expected_values("low", &pids));
    assert_eq!(cycle.get("procs image=first"), 1, "pid 1");
    assert_eq!(collector.logged("CPU from the CPU clock").len(), 1, "{:#?}", collector.log());
    assert!(cycle.printed("pcpu image=first").is_some());
}

/// A pid namespace; dropping it kills all its processes.
struct Namespace(Child);

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn other_pid_namespace_is_read_by_its_procfs() {
    if !is_permitted() {
        return;
    }
    let (sleep, load) = (unique_sleep_time("without"), word("load"));
    // Two sockets that all of them share.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (_server, _) = listener.accept().unwrap();
    let (_end, other_end) = UnixStream::pair().unwrap();
    let mut command = in_namespace(&format!(
        "exec 3<&0; for i in 2 3 4 5 6 7 8; do sleep {sleep} <&3 & done; \
         sh -c 'while :; do :; done' {load} & exec sleep {sleep}"
    ));
    command.stdin(OwnedFd::from(client)).stdout(OwnedFd::from(other_end)).stderr(Stdio::null());
    let namespace = Namespace(command.spawn().unwrap());
    drop(command);
    let command_line = ["sleep", &sleep];
    let pids = wait_asleep(&command_line, 8);
    assert_eq!(pids.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
    let mut burner = BTreeMap::new();
    until("it burns", || {
        burner = pids_in_namespace(&["sh", "-c", "while :; do :; done", &load]);
        !burner.is_empty()
    });
    let burner = burner[&9];
    let first = pids[&1];
    let pids: Vec<u32> = pids.into_values().collect();
    let expected = expected_values("quiet", &pids);
    assert_eq!(
        (expected["net image=quiet type=tcp"], expected["net image=quiet type=unix"]),
        (1, 1)
    );

    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("quiet ^sleep {sleep}$\nbusy {load}$\n"));
    let proc = format!("/proc/{first}/root/proc");
    let collector = Setup::with(&path).args(&["--debug", "--proc", &proc]).spawn();
    collector.cycles(1);
    let (begin, before) = (Instant::now(), oracle::cpu_time(burner).unwrap());
    let cycles = collector.cycles(4);
    let (time, after) = (begin.elapsed(), oracle::cpu_time(burner).unwrap());
    for cycle in &cycles {
        assert_eq!(cycle.image("quiet"), expected);
        assert_eq!(cycle.get("procs image=busy"), 1);
        assert_eq!(cycle.get("collector.processes"), 9, "no other processes there");
    }
    let load = 100.0 * (after - before).as_secs_f64() / time.as_secs_f64();
    // On a busy machine the load varies from second to second.
    let mean = mean_load(&cycles[1..], "busy");
    assert!((mean - load).abs() < 20.0 && mean > 1.0, "{mean} % printed, {load} % burnt");
    assert_eq!(collector.logged("CPU from stat (ticks)").len(), 1, "{:#?}", collector.log());

    // The namespace ends with all its processes, and the collector continues.
    drop(namespace);
    let cycle = collector.cycle("all have exited", |cycle| {
        (cycle.get("procs image=quiet"), cycle.get("procs image=busy")) == (0, 0)
    });
    assert_eq!(cycle.get("io image=quiet type=rchar"), expected["io image=quiet type=rchar"]);
}

/// In a namespace, because other tests have processes with an empty command line as well. The old
/// collector kept such a process in its images, and the new one never had it.
#[test]
fn old_and_new_collector_agree_about_empty_command_line() {
    if !is_permitted() {
        return;
    }
    if !Command::new("bash").args(["-c", "exec -a x true"]).status().is_ok_and(|s| s.success()) {
        return println!("skipped: no bash to execute a program by another name");
    }
    let sleep = unique_sleep_time("empty");
    let becomes_empty = "read line; exec -a '' cat";
    let mut command = in_namespace(&format!(
        "exec 3<&0; bash -c \"{becomes_empty}\" <&3 >/dev/null & exec sleep {sleep}"
    ));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut namespace = Namespace(command.spawn().unwrap());
    let first = wait_asleep(&["sleep", &sleep], 1)[&1];
    let shell = wait_asleep(&["bash", "-c", becomes_empty], 1)[&2];

    let temp = TempDir::new().unwrap();
    let path = conf(&temp, "shell ^bash \nempty ^$\nblank ^\\s*$\nall .\n");
    let proc = format!("/proc/{first}/root/proc");
    let start = || Setup::with(&path).args(&["--proc", &proc]).spawn();
    let procs = |cycle: &Cycle| {
        ["shell", "empty", "blank", "all"].map(|image| cycle.get(&format!("procs image={image}")))
    };
    let old = start();
    // Not recent any more.
    for cycle in old.cycles(4) {
        assert_eq!(procs(&cycle), [1, 0, 0, 2]);
    }
    namespace.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    until("it has an empty command line", || {
        oracle::cmdline(shell).is_ok_and(|line| line == b"\0")
            && oracle::state(shell).is_ok_and(|state| state == 'S')
    });
    let expected = expected_values("empty", &[shell]);
    let new = start();
    let agreed = old.cycles(CMDLINE_INTERVAL as usize + 1).pop().unwrap();
    assert_eq!(procs(&agreed), [0, 1, 1, 2]);
    for cycle in new.cycles(2) {
        assert_eq!(procs(&cycle), [0, 1, 1, 2]);
        assert_eq!(cycle.image("empty"), expected);
        assert_eq!(cycle.get("collector.processes"), 2);
    }
}
