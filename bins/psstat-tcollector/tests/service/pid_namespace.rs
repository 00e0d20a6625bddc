//! Processes in a pid namespace, seen from within and from without.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use psstat_testproc::{TempDir, oracle};

use super::common::{PROGRAM, Setup, conf, mean_load, truth_of, until, word};

/// In a pid namespace with a procfs of its own, a shell that is pid 1 there.
/// The namespace ends with the command, and the command with the test.
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

/// The processes with this command line, by their pid in their own namespace.
fn by_inner_pid(command_line: &[&str]) -> BTreeMap<u32, u32> {
    let wanted: String = command_line.iter().map(|arg| format!("{arg}\0")).collect();
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if oracle::cmdline(pid).is_ok_and(|text| text == wanted.as_bytes())
            && let Ok(pids) = oracle::status_field(pid, "NSpid")
        {
            let inner = pids.split_whitespace().next_back().unwrap();
            found.insert(inner.parse().unwrap(), pid);
        }
    }
    found
}

/// Waits until as many processes with this command line sleep, and gives them: such
/// a process has its command line before it has loaded its libraries.
fn asleep(command_line: &[&str], count: usize) -> BTreeMap<u32, u32> {
    let mut pids = BTreeMap::new();
    until("they sleep", || {
        pids = by_inner_pid(command_line);
        pids.len() == count
            && pids.values().all(|&pid| oracle::state(pid).is_ok_and(|state| state == 'S'))
    });
    pids
}

/// A time to sleep for, which no other process of the machine asks for.
fn sleep_of(name: &str) -> String {
    let digits = word(name).bytes().filter(u8::is_ascii_digit).map(char::from).collect::<String>();
    format!("86400.{digits}")
}

#[test]
fn pids_below_ten_count_like_any_other() {
    if !is_permitted() {
        return;
    }
    let sleep = sleep_of("within");
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("low ^sleep {sleep}$\nfirst psstat-tcollector .*--debug\n"));
    // The shell's place, pid 1, becomes the collector's. The mark is the test's word
    // that all of them sleep.
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
    let pids = asleep(&["sleep", &sleep], 8);
    std::fs::write(&mark, "").unwrap();
    let cycle = collector.cycles(2).remove(1);
    assert_eq!(pids.keys().copied().collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8, 9]);
    let pids: Vec<u32> = pids.into_values().collect();
    assert_eq!(cycle.image("low"), truth_of("low", &pids));
    assert_eq!(cycle.get("procs image=first"), 1, "pid 1");
    assert_eq!(collector.logged("CPU from the CPU clock").len(), 1, "{:#?}", collector.log());
    assert!(cycle.printed("pcpu image=first").is_some());
}

/// A pid namespace; gone with all its processes when dropped.
struct Namespace(Child);

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn another_namespace_is_read_through_its_procfs() {
    if !is_permitted() {
        return;
    }
    let (sleep, load) = (sleep_of("without"), word("load"));
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
    let pids = asleep(&command_line, 8);
    assert_eq!(pids.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
    let mut burner = BTreeMap::new();
    until("it burns", || {
        burner = by_inner_pid(&["sh", "-c", "while :; do :; done", &load]);
        !burner.is_empty()
    });
    let burner = burner[&9];
    let first = pids[&1];
    let pids: Vec<u32> = pids.into_values().collect();
    let truth = truth_of("calm", &pids);
    assert_eq!((truth["net image=calm type=tcp"], truth["net image=calm type=unix"]), (1, 1));

    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("calm ^sleep {sleep}$\nbusy {load}$\n"));
    let proc = format!("/proc/{first}/root/proc");
    let collector = Setup::with(&path).args(&["--debug", "--proc", &proc]).spawn();
    collector.cycles(1);
    let (begin, before) = (Instant::now(), oracle::cpu_time(burner).unwrap());
    let cycles = collector.cycles(4);
    let (time, after) = (begin.elapsed(), oracle::cpu_time(burner).unwrap());
    for cycle in &cycles {
        assert_eq!(cycle.image("calm"), truth);
        assert_eq!(cycle.get("procs image=busy"), 1);
        assert_eq!(cycle.get("collector.processes"), 9, "nobody else lives there");
    }
    let load = 100.0 * (after - before).as_secs_f64() / time.as_secs_f64();
    // A busy machine gives it more in one second than in another.
    let mean = mean_load(&cycles[1..], "busy");
    assert!((mean - load).abs() < 20.0 && mean > 1.0, "{mean} % printed, {load} % burnt");
    assert_eq!(collector.logged("CPU from stat (ticks)").len(), 1, "{:#?}", collector.log());

    // It goes with all that live there, and the collector lives on.
    drop(namespace);
    let cycle = collector.cycle("all are gone", |cycle| {
        (cycle.get("procs image=calm"), cycle.get("procs image=busy")) == (0, 0)
    });
    assert_eq!(cycle.get("io image=calm type=rchar"), truth["io image=calm type=rchar"]);
}
