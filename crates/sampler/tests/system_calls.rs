//! The sampler's system calls, by strace: what a process costs in a cycle, each
//! table once, and a denied file not again.

mod common;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{A, B, Watch, options, testproc, wait_for, word};
use psstat_sampler::{FastPaths, Options};
use psstat_testproc::oracle::{Sockets, established};
use psstat_testproc::{Config, TempDir, TestProcess, test_name};

/// For a test's other half, which runs under strace: the words of its images,
/// and a folder to meet in.
const WORDS: &str = "PSSTAT_TEST_WORDS";
const PLACE: &str = "PSSTAT_TEST_PLACE";

/// In the half under strace: what the other one told it.
fn told() -> Option<(Vec<String>, PathBuf)> {
    let words = std::env::var(WORDS).ok()?;
    Some((words.split(' ').map(str::to_owned).collect(), std::env::var_os(PLACE)?.into()))
}

/// A folder to meet in.
fn place() -> TempDir {
    let place = TempDir::new().unwrap();
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o777)).unwrap();
    place
}

fn trace(place: &Path) -> PathBuf {
    place.join("trace")
}

/// Runs one test of this binary again under strace, with a command before it:
/// what it does with files. Nothing where that cannot be.
fn traced(test: &str, prefix: &[&str], words: &[&str], place: &Path) -> Option<Child> {
    traced_for("%file", test, prefix, words, place)
}

/// The same for the system calls of one's choice.
fn traced_for(
    calls: &str,
    test: &str,
    prefix: &[&str],
    words: &[&str],
    place: &Path,
) -> Option<Child> {
    let mut program = std::env::current_exe().unwrap();
    if !prefix.is_empty() {
        // Another user may not reach the target folder. Not needlessly: a copy
        // cannot be run while a process forked meanwhile has it open.
        program = place.join("test");
        psstat_testproc::copy_program(std::env::current_exe().unwrap(), &program).unwrap();
    }
    let calls = format!("trace={calls}");
    let strace = ["strace", "-f", "-qq", "-y", "-s", "200", "-e", &calls, "-o"];
    let strace = strace.map(str::to_owned).into_iter().chain([trace(place).display().to_string()]);
    let words_before: Vec<String> =
        prefix.iter().map(|&word| word.to_owned()).chain(strace).collect();
    let mut trial = Command::new(&words_before[0]);
    trial.args(&words_before[1..]).arg("true").current_dir(place);
    match trial.output() {
        Ok(output) if output.status.success() => {}
        other => {
            println!("skipped: {words_before:?}: {other:?}");
            return None;
        }
    }
    let mut command = Command::new(&words_before[0]);
    command.args(&words_before[1..]).arg(program).args(["--exact", test, "--nocapture"]);
    command.env(WORDS, words.join(" ")).env(PLACE, place).current_dir(place);
    Some(command.stdout(Stdio::null()).spawn().unwrap())
}

/// The lines of each cycle that [`mark`] began.
fn cycles(place: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(trace(place)).unwrap();
    let mut cycles = Vec::new();
    for line in text.lines() {
        if line.contains("\"/a-cycle\"") {
            cycles.push(Vec::new());
        } else if let Some(cycle) = cycles.last_mut() {
            cycle.push(line.to_owned());
        }
    }
    cycles
}

/// Leaves a mark in the trace.
fn mark() {
    assert!(std::fs::metadata("/a-cycle").is_err());
}

/// The socket tables that were opened, by name: each with the processes by way
/// of which.
fn tables(lines: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let Some(path) = line.split('"').nth(1) else { continue };
        if let Some((process, table)) = path.split_once("/net/") {
            tables.entry(table.to_owned()).or_default().push(process.to_owned());
        }
    }
    tables
}

const TABLES: [&str; 5] = ["tcp", "tcp6", "udp", "udp6", "unix"];

/// Three processes in a network namespace of their own: two images, and a
/// socket that two of them share.
struct Space {
    first: TestProcess,
    second: TestProcess,
    third: TestProcess,
}

impl Space {
    fn new(a: &str, b: &str, pairs: u64) -> Option<Space> {
        let mut first = testproc(a);
        match first.unshare_net() {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                println!("skipped: no right to make a network namespace");
                return None;
            }
            result => result.unwrap(),
        }
        first.tcp_pairs(pairs).unwrap();
        first.udp_connected(1).unwrap();
        let mut second = first.fork_child(&Config::new(b)).unwrap();
        second.tcp_pairs(2 * pairs).unwrap();
        second.tcp6_pairs(1).unwrap();
        let mut third = first.fork_copy().unwrap();
        third.unix_pairs(pairs).unwrap();
        for testproc in [&first, &second, &third] {
            testproc.quiesce().unwrap();
        }
        Some(Space { first, second, third })
    }
}

/// What the sampler must say of these.
fn truth(testprocs: &[&TestProcess]) -> String {
    let sockets = testprocs.iter().map(|testproc| established(testproc.pid()).unwrap());
    let all: Sockets = sockets.reduce(|all, more| all.union(&more)).unwrap();
    format!("{} {} {}", all.all_tcp(), all.all_udp(), all.unix.len())
}

/// What it said in each cycle, of both images.
fn said(watch: &mut Watch, place: &Path, name: &str, within: impl FnOnce()) {
    mark();
    let due = watch.open();
    within();
    let sample = watch.close(due);
    let text = [A, B].map(|image| {
        let image = sample.image(image);
        format!("{} {} {}", image.tcp.unwrap(), image.udp.unwrap(), image.unix.unwrap())
    });
    std::fs::write(place.join("part"), text.join("\n")).unwrap();
    std::fs::rename(place.join("part"), place.join(name)).unwrap();
}

fn heard(place: &Path, name: &str) -> Vec<String> {
    wait_for(&place.join(name));
    let text = std::fs::read_to_string(place.join(name)).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn each_table_is_read_once_a_cycle_however_many_live_in_its_namespace() {
    if let Some((words, place)) = told() {
        let fast = if place.join("plain").exists() { FastPaths::NONE } else { FastPaths::ALL };
        let mut watch =
            Watch::with(Options { fast_paths: fast, ..options() }, &[&words[0], &words[1]]);
        said(&mut watch, &place, "0", || ());
        said(&mut watch, &place, "1", || ());
        // The one by way of which the tables were read ends in the window.
        said(&mut watch, &place, "2", || {
            std::fs::write(place.join("kill"), "").unwrap();
            wait_for(&place.join("killed"));
        });
        wait_for(&place.join("another"));
        said(&mut watch, &place, "3", || ());
        return said(&mut watch, &place, "4", || ());
    }
    for own in [0, 1] {
        let (a, b, place) = (word("tables-a"), word("tables-b"), place());
        let (Some(mut one), Some(two)) = (Space::new(&a, &b, 2), Space::new(&a, &b, 3)) else {
            return;
        };
        let mut here = testproc(&a);
        here.tcp_pairs(1).unwrap();
        here.quiesce().unwrap();
        if own > 0 {
            std::fs::write(place.join("plain"), "").unwrap();
        }
        let Some(mut half) = traced(test_name!(), &[], &[&a, &b], place.path()) else { return };
        let both = |one: &Space, two: &Space| {
            [
                truth(&[&here, &one.first, &one.third, &two.first, &two.third]),
                truth(&[&one.second, &two.second]),
            ]
        };
        let expected = both(&one, &two);
        assert_eq!(heard(place.path(), "0"), expected);
        assert_eq!(heard(place.path(), "1"), expected);
        wait_for(&place.join("kill"));
        let first = one.first.pid();
        one.first.kill().unwrap();
        one.first.reap().unwrap();
        std::fs::write(place.join("killed"), "").unwrap();
        let left = [
            truth(&[&here, &one.third, &two.first, &two.third]),
            truth(&[&one.second, &two.second]),
        ];
        assert_eq!(heard(place.path(), "2"), left);
        // One namespace goes with all its members, another comes.
        drop((one.second, one.third));
        let three = Space::new(&a, &b, 4).unwrap();
        std::fs::write(place.join("another"), "").unwrap();
        let expected = both(&two, &three);
        assert_eq!(heard(place.path(), "3"), expected);
        assert_eq!(heard(place.path(), "4"), expected);
        assert!(half.wait().unwrap().success());

        let read: Vec<_> = cycles(place.path()).iter().map(|lines| tables(lines)).collect();
        assert_eq!(read.len(), 5);
        for (cycle, read) in read.iter().enumerate() {
            for table in TABLES {
                let by_way_of = read.get(table).map_or(0, Vec::len);
                // Our own namespace's too, where netlink does not tell.
                let text = if cfg!(feature = "netlink") { own } else { 1 };
                assert_eq!(by_way_of, 2 + text, "{table} in cycle {cycle}: {read:?}");
            }
        }
        let by_way_of_first = |cycle: usize| read[cycle]["tcp"].contains(&first.to_string());
        assert!(by_way_of_first(1) && !by_way_of_first(2), "{read:?}");
    }
}

/// Each denied open may write a record into the audit log.
#[test]
fn what_is_denied_is_not_opened_again() {
    const CYCLES: usize = 30;
    let images = [FastPaths::ALL, FastPaths::NONE];
    if let Some((words, _)) = told() {
        for fast in images {
            let window = Duration::from_millis(5);
            let mut watch =
                Watch::with(Options { fast_paths: fast, window, ..options() }, &[&words[0]]);
            for _ in 0..CYCLES {
                mark();
                let sample = watch.cycle();
                assert_eq!((sample.image(A).procs, sample.image(A).io), (1, None));
            }
        }
        return;
    }
    if rustix::process::getuid().as_raw() != 0 {
        return println!("skipped: not root");
    }
    let (word, place) = (word("audit"), place());
    let mut one = testproc(&word);
    one.tcp_pairs(1).unwrap();
    one.quiesce().unwrap();
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let Some(mut half) = traced(test_name!(), &nobody, &[&word], place.path()) else { return };
    assert!(half.wait().unwrap().success());
    let cycles = cycles(place.path());
    assert_eq!(cycles.len(), images.len() * CYCLES);
    for (way, cycles) in images.iter().zip(cycles.chunks(CYCLES)) {
        let mut denied: BTreeMap<&str, usize> = BTreeMap::new();
        for line in cycles.iter().flatten() {
            // By its path, or by its name in the folder. Others of the machine
            // are looked at too when they are new.
            let names = [format!("\"{}/", one.pid()), format!("/proc/{}>", one.pid())];
            let is_its = names.iter().any(|name| line.contains(name));
            if is_its && (line.contains("EACCES") || line.contains("EPERM")) {
                *denied.entry(line.split('"').nth(1).unwrap()).or_default() += 1;
            }
        }
        assert!(!denied.is_empty(), "nothing is denied to nobody");
        assert!(denied.values().all(|&times| times <= 2), "{way:?}: {denied:?}");
    }
}

/// The calls that concern a process, by name: by its files, open or not, or its
/// clock.
fn calls_for(pid: u32, lines: &[String]) -> BTreeMap<String, usize> {
    let signs = [
        format!("/proc/{pid}/"),
        format!("/proc/{pid}>"),
        format!("\"{pid}/"),
        format!("\"{pid}\""),
        // Its CPU clock, which some versions of strace spell out.
        format!("(0x{:x}", (!pid << 3) | 2),
        format!("CPUCLOCK({pid}, "),
    ];
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    // By way of somebody the tables are read, which cost no process anything.
    let is_its =
        |line: &&String| signs.iter().any(|sign| line.contains(sign)) && !line.contains("/net/");
    for line in lines.iter().filter(is_its) {
        // `1234 fstat(5</proc/77/fd>, ...`; a call's second part is none.
        let call = line.split_once(' ').and_then(|(_, call)| call.trim_start().split_once('('));
        let Some((name, _)) = call.filter(|(name, _)| !name.starts_with('<')) else { continue };
        // One call by two names.
        let name = if name == "newfstatat" { "fstat" } else { name };
        *calls.entry(name.to_owned()).or_default() += 1;
    }
    calls
}

/// The figures of the documents: in a steady cycle an idle process costs these
/// six calls, even if the window leaves no time for the looks in turn.
#[test]
fn a_sleeping_member_costs_six_calls_a_cycle() {
    const MEMBERS: usize = 20;
    const CYCLES: usize = 12;
    if let Some((words, place)) = told() {
        let window = Duration::from_millis(words[1].parse().unwrap());
        let mut watch = Watch::with(Options { window, ..options() }, &[&words[0]]);
        let fast = watch.sampler.fast_paths();
        if !(fast.cpu_clock && fast.fd_count_from_size && fast.thread_count_from_links) {
            return std::fs::write(place.join("plain"), "").unwrap();
        }
        // Past the first looks, which come ever more rarely.
        watch.cycles(20);
        for _ in 0..CYCLES {
            mark();
            assert_eq!(watch.cycle().image(A).procs, MEMBERS as u64);
        }
        return mark();
    }
    let word = word("sleeping");
    let testprocs: Vec<TestProcess> = (0..MEMBERS).map(|_| testproc(&word)).collect();
    testprocs.iter().for_each(|testproc| testproc.quiesce().unwrap());
    for window in ["5", "0"] {
        let place = place();
        let calls = "%file,%desc,clock_gettime";
        let words = [&*word, window];
        let Some(mut half) = traced_for(calls, test_name!(), &[], &words, place.path()) else {
            return;
        };
        assert!(half.wait().unwrap().success());
        if place.join("plain").exists() {
            return println!("skipped: not every fast way is to be had");
        }
        let cycles = cycles(place.path());
        // Behind the last one is the end.
        assert_eq!(cycles.len(), CYCLES + 1);
        let each = [("clock_gettime", 2), ("fstat", 2), ("pread64", 2)];
        let each: BTreeMap<String, usize> =
            each.into_iter().map(|(name, number)| (name.to_owned(), number)).collect();
        for testproc in &testprocs {
            let calls: Vec<_> =
                cycles[..CYCLES].iter().map(|lines| calls_for(testproc.pid(), lines)).collect();
            // Its command line has a turn of 128 cycles, its descriptors one of 320.
            let others = calls.iter().filter(|&calls| *calls != each).count();
            assert!(others <= 1, "{window} ms, {}: {calls:?}", testproc.pid());
        }
    }
}
