//! The system calls of the sampler, by strace: the cost of a process per cycle, one read per
//! socket table, and no second open of a denied file.

mod common;

use std::collections::BTreeMap;
use std::process::Child;

use common::second_process::{AS_OTHER_USER, SharedDir};
use common::{
    A, B, Options, Watch, has_ipv6, is_root, options, quiesce, short_window, testproc,
    testproc_in_netns, word,
};
use psstat_sampler::intervals::{CGROUP_INTERVAL, IDLE_READ_INTERVAL, TCP_WALK_INTERVAL};
use psstat_sampler::{FastPaths, ProcessFields};
use psstat_testproc::oracle::{Sockets, established};
use psstat_testproc::{Config, Kind, TestProcess, isolated, test_name};
use std::time::Duration;

/// Runs a test of this binary in a second process under strace.
fn trace(
    dir: &SharedDir,
    test: &str,
    calls: &str,
    prefix: &[&str],
    words: &[&str],
) -> Option<Child> {
    let (calls, output) = (format!("trace={calls}"), dir.join("trace"));
    let mut command = prefix.to_vec();
    command.extend(["strace", "-f", "-qq", "-y", "-s", "200", "-e", &calls, "-o"]);
    command.push(output.to_str().unwrap());
    dir.spawn(test, &command, words)
}

const MARK: &str = "/start-of-a-cycle";

/// Writes a mark into the trace.
fn mark() {
    assert!(std::fs::metadata(MARK).is_err());
}

/// The lines of the trace after each [`mark`].
fn traced_cycles(dir: &SharedDir) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(dir.join("trace")).unwrap();
    let mut cycles = Vec::new();
    for line in text.lines() {
        if line.contains(MARK) {
            cycles.push(Vec::new());
        } else if let Some(cycle) = cycles.last_mut() {
            cycle.push(line.to_owned());
        }
    }
    cycles
}

/// The socket tables that were opened, by name, each with the processes whose directory was used.
fn opened_tables(lines: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let Some(path) = line.split('"').nth(1) else { continue };
        if let Some((process, table)) = path.split_once("/net/") {
            tables.entry(table.to_owned()).or_default().push(process.to_owned());
        }
    }
    tables
}

/// Three processes of two images in a new network namespace; two of them share a socket.
struct Netns {
    first: TestProcess,
    second: TestProcess,
    third: TestProcess,
}

impl Netns {
    fn new(a: &str, b: &str, pairs: u64) -> Option<Netns> {
        let mut first = testproc_in_netns(a)?;
        first.tcp_pairs(pairs).unwrap();
        first.udp_connected(1).unwrap();
        let mut second = first.fork_child(&Config::new(b)).unwrap();
        second.tcp_pairs(2 * pairs).unwrap();
        second.tcp6_pairs(1).unwrap();
        let mut third = first.fork_copy().unwrap();
        third.unix_pairs(pairs).unwrap();
        quiesce(&[&first, &second, &third]);
        Some(Netns { first, second, third })
    }
}

/// By BPF an idle process costs no system call in a steady cycle, and all processes together some
/// reads of 32 KiB.
#[test]
fn member_costs_no_call_by_bpf() {
    const MEMBERS: usize = 20;
    const CYCLES: usize = 12;
    if let Some((dir, words)) = SharedDir::inherited() {
        let bpf = common::bpf();
        if bpf.is_none() {
            return dir.send("skipped", "");
        }
        let mut watch = Watch::with(Options { bpf, ..short_window() }, &[&words[0]]);
        watch.cycles(20);
        for _ in 0..CYCLES {
            mark();
            assert_eq!(watch.cycle().image(A).processes, MEMBERS as u64);
        }
        return mark();
    }
    let word = word("by-bpf");
    let testprocs: Vec<TestProcess> = (0..MEMBERS).map(|_| testproc(&word)).collect();
    testprocs.iter().for_each(|testproc| testproc.quiesce().unwrap());
    let dir = SharedDir::new();
    let calls = "%file,%desc,clock_gettime,bpf,sendto";
    let Some(mut second) = trace(&dir, test_name!(), calls, &[], &[&word]) else { return };
    assert!(second.wait().unwrap().success());
    if dir.join("skipped").exists() {
        return;
    }
    let cycles = traced_cycles(&dir);
    assert_eq!(cycles.len(), CYCLES + 1);
    for testproc in &testprocs {
        let pid = testproc.pid();
        let calls: Vec<_> = cycles[..CYCLES].iter().map(|lines| calls_for(pid, lines)).collect();
        // The intervals of its command line and descriptors.
        let others = calls.iter().filter(|calls| !calls.is_empty()).count();
        assert!(others <= 2, "{pid}: {calls:?}");
    }
    let iterators = cycles[..CYCLES]
        .iter()
        .map(|lines| lines.iter().filter(|line| line.contains("BPF_ITER_CREATE")).count());
    let iterators: Vec<usize> = iterators.collect();
    // One at each end of the window. Further ones for the sockets, which stand for their tables, if
    // it is their turn or another process has connected, and for new processes.
    let idle = iterators.iter().filter(|&&count| count == 2).count();
    assert!(idle >= CYCLES / 3 && iterators.iter().all(|&count| count >= 2), "{iterators:?}");
    for lines in &cycles[..CYCLES] {
        let is_table = |line: &&String| {
            let is_file = line.contains(" openat(") && line.contains("net/");
            // The counters of TCP show that its states stand.
            line.contains(" sendto(") || (is_file && !line.contains("net/snmp"))
        };
        assert_eq!(lines.iter().find(is_table), None);
        assert!(!lines.iter().any(|line| line.contains("BPF_PROG_LOAD")), "{lines:?}");
    }
}

/// The line of an image in a message of [`send_cycle`].
fn expected_line(testprocs: &[&TestProcess]) -> String {
    let sockets = testprocs.iter().map(|testproc| established(testproc.pid()).unwrap());
    let all: Sockets = sockets.reduce(|all, more| all.union(&more)).unwrap();
    format!("{} {} {}", all.all_tcp(), all.all_udp(), all.unix.len())
}

/// Runs a cycle and sends the sockets of both images, in one line each.
fn send_cycle(watch: &mut Watch, dir: &SharedDir, name: &str, in_window: impl FnOnce()) {
    mark();
    let due = watch.open();
    in_window();
    let sample = watch.close(due);
    let lines = [A, B].map(|image| {
        let image = sample.image(image);
        format!("{} {} {}", image.tcp.unwrap(), image.udp.unwrap(), image.unix.unwrap())
    });
    dir.send(name, &lines.join("\n"));
}

#[test]
fn tables_are_read_once_per_namespace() {
    if let Some((dir, words)) = SharedDir::inherited() {
        let all = FastPaths { socket_counters: false, idle_processes: false, ..FastPaths::ALL };
        let fast_paths = if words[2] == "fast" { all } else { FastPaths::NONE };
        let options = Options { fast_paths, ..options() };
        let mut watch = Watch::with(options, &[&words[0], &words[1]]);
        send_cycle(&mut watch, &dir, "0", || ());
        send_cycle(&mut watch, &dir, "1", || ());
        send_cycle(&mut watch, &dir, "2", || {
            dir.send("kill", "");
            dir.receive("killed");
        });
        dir.receive("another");
        send_cycle(&mut watch, &dir, "3", || ());
        return send_cycle(&mut watch, &dir, "4", || ());
    }
    for mode in ["fast", "slow"] {
        let (a, b, dir) = (word("tables-a"), word("tables-b"), SharedDir::new());
        let (Some(mut one), Some(two)) = (Netns::new(&a, &b, 2), Netns::new(&a, &b, 3)) else {
            return;
        };
        let mut here = testproc(&a);
        here.tcp_pairs(1).unwrap();
        here.quiesce().unwrap();
        let words = [&*a, &b, mode];
        let Some(mut second) = trace(&dir, test_name!(), "%file", &[], &words) else { return };
        let both = |one: &Netns, two: &Netns| {
            [
                expected_line(&[&here, &one.first, &one.third, &two.first, &two.third]),
                expected_line(&[&one.second, &two.second]),
            ]
            .join("\n")
        };
        let expected = both(&one, &two);
        assert_eq!(dir.receive("0"), expected);
        assert_eq!(dir.receive("1"), expected);
        // Kills the process through whose directory the tables were read.
        dir.receive("kill");
        let first = one.first.pid();
        one.first.kill().unwrap();
        one.first.reap().unwrap();
        dir.send("killed", "");
        let expected = [
            expected_line(&[&here, &one.third, &two.first, &two.third]),
            expected_line(&[&one.second, &two.second]),
        ];
        assert_eq!(dir.receive("2"), expected.join("\n"));
        // One namespace is removed with its last member, and another one is created.
        drop((one.second, one.third));
        let three = Netns::new(&a, &b, 4).unwrap();
        dir.send("another", "");
        let expected = both(&two, &three);
        assert_eq!(dir.receive("3"), expected);
        assert_eq!(dir.receive("4"), expected);
        assert!(second.wait().unwrap().success());

        let cycles = traced_cycles(&dir);
        let tables: Vec<_> = cycles.iter().map(|lines| opened_tables(lines)).collect();
        assert_eq!(tables.len(), 5);
        // The tables of the sampler's own namespace too, if netlink is not used.
        let expected = if cfg!(feature = "netlink") && mode == "fast" { 2 } else { 3 };
        for (cycle, opened) in tables.iter().enumerate() {
            for table in ["tcp", "tcp6", "udp", "udp6", "unix"] {
                let opens = opened.get(table).map_or(0, Vec::len);
                assert_eq!(opens, expected, "{table} in cycle {cycle}: {tables:?}");
            }
        }
        let uses_first = |cycle: usize| tables[cycle]["tcp"].contains(&first.to_string());
        assert!(uses_first(1) && !uses_first(2), "{tables:?}");
    }
}

/// In a namespace whose sockets do not change, the TCP tables are walked once per interval. A
/// change is found in the same cycle, and of tcp and tcp6 only one is walked if the other has no
/// rows. The tables of UDP are read only if there are such sockets.
#[test]
fn tables_are_read_when_counters_change() {
    const IDLE: usize = 2 * TCP_WALK_INTERVAL as usize;
    if let Some((dir, words)) = SharedDir::inherited() {
        let window = Duration::from_millis(2);
        let fast_paths = FastPaths { sock_diag: false, idle_processes: false, ..FastPaths::ALL };
        let options = Options { fast_paths, window, ..options() };
        let mut watch = Watch::with(options, &[&words[0]]);
        for cycle in 0..1 + IDLE {
            mark();
            let sample = watch.cycle();
            assert_eq!((sample.image(A).tcp, sample.image(A).udp), (Some(4), Some(1)), "{cycle}");
        }
        for step in ["close-wait", "idle", "tcp6", "tcp6-again", "udp6"] {
            dir.send(step, "");
            let expected = dir.receive(&format!("{step}-done"));
            mark();
            let sample = watch.cycle();
            let image = sample.image(A);
            let counts = format!("{} {}", image.tcp.unwrap(), image.udp.unwrap());
            assert_eq!(counts, expected, "{step}");
        }
        return mark();
    }
    let unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !isolated(test_name!(), &unshare) || !has_ipv6() {
        return;
    }
    let (word, dir) = (word("counters"), SharedDir::new());
    let Some(mut testproc) = testproc_in_netns(&word) else { return };
    testproc.tcp_pairs(2).unwrap();
    testproc.udp_connected(1).unwrap();
    testproc.quiesce().unwrap();
    let Some(mut second) = trace(&dir, test_name!(), "%file", &[], &[&word]) else { return };
    for step in ["close-wait", "idle", "tcp6", "tcp6-again", "udp6"] {
        dir.receive(step);
        match step {
            "close-wait" => drop(testproc.non_established_sockets(1).unwrap()),
            "udp6" => drop(testproc.open_sockets(Kind::Udp6, 1).unwrap()),
            "idle" => {}
            _ => drop(testproc.tcp6_pairs(1).unwrap()),
        }
        testproc.quiesce().unwrap();
        let sockets = established(testproc.pid()).unwrap();
        dir.send(&format!("{step}-done"), &format!("{} {}", sockets.all_tcp(), sockets.all_udp()));
    }
    assert!(second.wait().unwrap().success());

    let opens: Vec<[usize; 4]> = traced_cycles(&dir)
        .iter()
        .map(|lines| {
            let tables = opened_tables(lines);
            ["tcp", "tcp6", "udp", "udp6"].map(|table| tables.get(table).map_or(0, Vec::len))
        })
        .collect();
    let (idle, changed) = opens[1..].split_at(IDLE);
    assert_eq!(opens[0], [1, 1, 1, 0], "first");
    // Both TCP tables, which confirms the counters.
    let due: Vec<usize> = (0..IDLE).filter(|&cycle| idle[cycle] == [1, 1, 1, 0]).collect();
    assert_eq!(due.len(), 2, "{idle:?}");
    assert_eq!(due[1] - due[0], TCP_WALK_INTERVAL as usize);
    let others = idle.iter().filter(|&&opens| opens == [0, 0, 1, 0]).count();
    assert_eq!(others, IDLE - 2, "{idle:?}");
    // The test process also opened a UDP socket of IPv6 with those that are not established.
    let expected = [[1, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1]];
    for (step, (&opens, mut expected)) in changed.iter().zip(expected).enumerate() {
        if (IDLE + step - due[0]).is_multiple_of(TCP_WALK_INTERVAL as usize) {
            (expected[0], expected[1]) = (1, 1);
        }
        assert_eq!(opens, expected, "step {step}: {changed:?}");
    }
}

/// Each denied open may write a record into the audit log.
#[test]
fn denied_files_are_not_reopened() {
    const CYCLES: usize = 30;
    const MODES: [FastPaths; 2] = [FastPaths::ALL, FastPaths::NONE];
    if let Some((_, words)) = SharedDir::inherited() {
        for fast_paths in MODES {
            let window = Duration::from_millis(5);
            let options = Options { fast_paths, window, ..options() };
            let mut watch = Watch::with(options, &[&words[0]]);
            for _ in 0..CYCLES {
                mark();
                let sample = watch.cycle();
                assert_eq!((sample.image(A).processes, sample.image(A).io), (1, None));
            }
        }
        return;
    }
    if !is_root() {
        return;
    }
    let (word, dir) = (word("audit"), SharedDir::new());
    let mut one = testproc(&word);
    one.tcp_pairs(1).unwrap();
    one.quiesce().unwrap();
    let second = trace(&dir, test_name!(), "%file", &AS_OTHER_USER, &[&word]);
    let Some(mut second) = second else { return };
    assert!(second.wait().unwrap().success());
    let cycles = traced_cycles(&dir);
    assert_eq!(cycles.len(), MODES.len() * CYCLES);
    // By its path, or by its name relative to the directory. The sampler also reads other new
    // processes of the machine.
    let names = [format!("\"{}/", one.pid()), format!("/proc/{}>", one.pid())];
    for (mode, cycles) in MODES.iter().zip(cycles.chunks(CYCLES)) {
        let mut denied: BTreeMap<&str, usize> = BTreeMap::new();
        for line in cycles.iter().flatten() {
            let is_denied = line.contains("EACCES") || line.contains("EPERM");
            if is_denied && names.iter().any(|name| line.contains(name)) {
                *denied.entry(line.split('"').nth(1).unwrap()).or_default() += 1;
            }
        }
        assert!(!denied.is_empty(), "no file was denied");
        assert!(denied.values().all(|&opens| opens <= 2), "{mode:?}: {denied:?}");
    }
}

/// The number of system calls for a process, by name: with its files, open or by path, or with
/// its CPU clock.
fn calls_for(pid: u32, lines: &[String]) -> BTreeMap<&str, usize> {
    let arguments = [
        format!("/proc/{pid}/"),
        format!("/proc/{pid}>"),
        format!("\"{pid}/"),
        format!("\"{pid}\""),
        // Its CPU clock, which some versions of strace decode.
        format!("(0x{:x}", (!pid << 3) | 2),
        format!("CPUCLOCK({pid}, "),
    ];
    let mut calls = BTreeMap::new();
    // The tables are read once per namespace, through any of its processes.
    let is_its = |line: &&String| {
        arguments.iter().any(|argument| line.contains(argument)) && !line.contains("/net/")
    };
    for line in lines.iter().filter(is_its) {
        // `1234 fstat(5</proc/77/fd>, ...`. The second line of an interrupted call does not count.
        let call = line.split_once(' ').and_then(|(_, call)| call.trim_start().split_once('('));
        let Some((name, _)) = call.filter(|(name, _)| !name.starts_with('<')) else { continue };
        let name = if name == "newfstatat" { "fstat" } else { name };
        *calls.entry(name).or_default() += 1;
    }
    calls
}

/// The numbers in the documentation: an idle process costs two system calls in a steady cycle, also
/// if the window leaves no time for the round-robin scans, and six where it is read in turn.
#[test]
fn idle_member_costs_two_calls_per_cycle() {
    const MEMBERS: usize = 20;
    const TURNS: usize = 2;
    const CYCLES: usize = TURNS * IDLE_READ_INTERVAL as usize;
    if let Some((dir, words)) = SharedDir::inherited() {
        let window = Duration::from_millis(words[1].parse().unwrap());
        let mut watch = Watch::with(Options { window, ..options() }, &[&words[0]]);
        let fast = watch.sampler.fast_paths();
        if !(fast.idle_processes && fast.fd_count_from_size && fast.thread_count_from_links) {
            return dir.send("skipped", "");
        }
        // In the first cycles of a process it is read more often.
        watch.cycles(20);
        for _ in 0..CYCLES {
            mark();
            assert_eq!(watch.cycle().image(A).processes, MEMBERS as u64);
        }
        return mark();
    }
    let word = word("idle");
    let testprocs: Vec<TestProcess> = (0..MEMBERS).map(|_| testproc(&word)).collect();
    testprocs.iter().for_each(|testproc| testproc.quiesce().unwrap());
    for window in ["5", "0"] {
        let dir = SharedDir::new();
        let calls = "%file,%desc,clock_gettime";
        let second = trace(&dir, test_name!(), calls, &[], &[&word, window]);
        let Some(mut second) = second else { return };
        assert!(second.wait().unwrap().success());
        if dir.join("skipped").exists() {
            return println!("skipped: not every fast path is available");
        }
        let cycles = traced_cycles(&dir);
        // The lines after the last mark are the end of the process.
        assert_eq!(cycles.len(), CYCLES + 1);
        let idle = BTreeMap::from([("clock_gettime", 2)]);
        let read = BTreeMap::from([("clock_gettime", 2), ("fstat", 2), ("pread64", 2)]);
        for testproc in &testprocs {
            let pid = testproc.pid();
            let calls: Vec<_> =
                cycles[..CYCLES].iter().map(|lines| calls_for(pid, lines)).collect();
            // The interval of its command line is 128 cycles, that of its descriptors 320.
            // Either may be in one of its cycles, and the kernel may make it run once.
            let count = |expected| calls.iter().filter(|&calls| calls == expected).count();
            let (idle, read) = (count(&idle), count(&read));
            assert!(idle + read + 1 >= CYCLES, "{window} ms, {pid}: {calls:?}");
            assert!(read + 1 >= TURNS && read <= TURNS + 1, "{window} ms, {pid}: {calls:?}");
        }
    }
}

/// The fields of an idle process are not read in each cycle, and only if they are requested: its
/// control group in turn, the others not, unless all of it is due.
#[test]
fn fields_are_read_in_turn() {
    const MEMBERS: usize = 10;
    const TURNS: usize = 3;
    const CYCLES: usize = TURNS * CGROUP_INTERVAL as usize;
    if let Some((dir, words)) = SharedDir::inherited() {
        let window = Duration::from_millis(2);
        let mut watch = Watch::with(Options { window, ..options() }, &[&words[0]]);
        if !watch.sampler.fast_paths().cpu_clock {
            return dir.send("skipped", "");
        }
        for fields in [ProcessFields { comm: true, user: true, cgroup: true }, ProcessFields::NONE]
        {
            watch.sampler.set_fields(fields);
            watch.sampler.reclassify_all(1);
            watch.cycles(20);
            for _ in 0..CYCLES {
                mark();
                assert_eq!(watch.cycle().image(A).processes, MEMBERS as u64);
            }
        }
        return mark();
    }
    let (word, dir) = (word("in-turn"), SharedDir::new());
    let testprocs: Vec<TestProcess> = (0..MEMBERS).map(|_| testproc(&word)).collect();
    testprocs.iter().for_each(|testproc| testproc.quiesce().unwrap());
    let Some(mut second) = trace(&dir, test_name!(), "%file", &[], &[&word]) else { return };
    assert!(second.wait().unwrap().success());
    if dir.join("skipped").exists() {
        return println!("skipped: no CPU clock");
    }
    let cycles = traced_cycles(&dir);
    assert_eq!(cycles.len(), 2 * CYCLES + 1);
    for testproc in &testprocs {
        let pid = testproc.pid();
        let opens = |cycles: &[Vec<String>], file: &str| -> Vec<usize> {
            let name = format!("\"{pid}/{file}\"");
            let of_cycle =
                |lines: &Vec<String>| lines.iter().filter(|line| line.contains(&name)).count();
            cycles.iter().map(of_cycle).collect()
        };
        let cgroup = opens(&cycles[..CYCLES], "cgroup");
        assert_eq!(cgroup.iter().sum::<usize>(), TURNS, "{cgroup:?}");
        for turn in cgroup.chunks(CGROUP_INTERVAL as usize) {
            assert_eq!(turn.iter().sum::<usize>(), 1, "{cgroup:?}");
        }
        for file in ["comm", "status", "cmdline"] {
            let opens = opens(&cycles[..CYCLES], file);
            // Its turn, and one if the kernel made it run, for example to take its pages.
            assert!(opens.iter().sum::<usize>() < TURNS, "{file}: {opens:?}");
        }
        for file in ["comm", "status", "cgroup"] {
            assert_eq!(opens(&cycles[CYCLES..], file).iter().sum::<usize>(), 0, "{file}");
        }
    }
}
