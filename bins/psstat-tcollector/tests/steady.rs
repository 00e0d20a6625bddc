//! A steady cycle of the whole collector allocates nothing and is one write:
//! the program's own loop, from the look at the conf to the output, in this
//! process and over processes made for it.
//!
//! Other processes of the machine come and go, and new ones need memory, so
//! this runs in a pid namespace of its own.
// The permission for tests does not reach the functions beside them.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser as _;
use psstat_actor::TempDir;
use psstat_tcollector::options::Options;
use psstat_tcollector::run::run;
use rustix::pipe::PipeFlags;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const INSIDE: &str = "PSSTAT_TEST_INSIDE";
const NAME: &str = "a_steady_cycle_allocates_nothing_and_is_one_write";
/// Cycles of a second; in the first ones the young are looked at more often.
const CYCLES: usize = 14;
const STEADY: usize = 5;
/// What a look at the conf may allocate, on the way to its file.
const A_LOOK: u64 = 40;

#[test]
fn a_steady_cycle_allocates_nothing_and_is_one_write() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let outcome = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(INSIDE, "1")
        .output();
    match outcome {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            let complained = String::from_utf8_lossy(&output.stderr);
            if complained.contains("unshare: ") {
                return println!("skipped: no pid namespace: {complained}");
            }
            println!("{complained}");
            assert!(output.status.success(), "{said}\n{complained}");
        }
        Err(error) => println!("skipped: no unshare: {error}"),
    }
}

fn sleepers(n: usize) -> Vec<Child> {
    let sleeper = || Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    (0..n).map(|_| sleeper()).collect()
}

/// What came of one write: its length, and the allocations until then.
type Writes = Vec<(usize, u64)>;

fn inside() {
    let mut children = sleepers(30);
    let folder = TempDir::new().unwrap();
    let conf = folder.join("psstat.conf");
    std::fs::write(&conf, "sleepers ^sleep\\s\n").unwrap();
    // A pipe of packets: each write of up to 4,096 bytes is a read of its own.
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::DIRECT).unwrap();
    let stdout = rustix::io::dup(rustix::stdio::stdout()).unwrap();
    rustix::stdio::dup2_stdout(&theirs).unwrap();
    drop(theirs);
    let reader = std::thread::spawn(move || {
        let mut writes = Writes::with_capacity(4 * CYCLES);
        let mut buffer = vec![0; 1 << 16];
        loop {
            match rustix::io::read(&ours, &mut buffer) {
                Ok(0) | Err(_) => return writes,
                Ok(read) => {
                    assert!(buffer[..read].ends_with(b"\n"));
                    writes.push((read, ALLOCATIONS.load(Ordering::Relaxed)));
                }
            }
        }
    });
    // Their command line is the test's until their exec.
    std::thread::sleep(Duration::from_millis(200));
    let cycles = CYCLES.to_string();
    let arguments = ["psstat-tcollector", "--interval", "1", "--cycles", &cycles, "--conf"];
    let arguments = arguments.map(Into::into).into_iter().chain([conf.into_os_string()]);
    let settings = Options::try_parse_from(arguments).unwrap().settle().unwrap();
    assert_eq!(run(settings), 0);
    rustix::stdio::dup2_stdout(&stdout).unwrap();
    let writes = reader.join().unwrap();
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    eprintln!("{writes:?}");
    assert_eq!(writes.len(), CYCLES, "a write a cycle");
    assert!(writes.iter().all(|&(length, _)| length < 4096));
    let steady = &writes[CYCLES - STEADY - 1..];
    let each: Vec<u64> = steady.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    // The conf is looked at every 2 s; a cycle without a look allocates nothing.
    let (looks, others): (Vec<u64>, Vec<u64>) = each.iter().partition(|&&count| count > 0);
    assert!(others.len() >= STEADY / 2, "allocations a cycle: {each:?}");
    assert!(looks.iter().all(|&count| count <= A_LOOK), "allocations a cycle: {each:?}");
}
