//! A steady cycle allocates nothing, in any thread.
//!
//! Other processes of the machine come and go, and so do their sockets, and new
//! ones need memory; so this runs in namespaces of its own.
// The permission for tests does not reach the functions beside them.
#![allow(unsafe_code, clippy::unwrap_used)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::{A, every_way};
use psstat_sampler::{Options, Sampler};

struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count() {
    if COUNTS.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const INSIDE: &str = "PSSTAT_TEST_INSIDE";

#[test]
fn a_steady_cycle_allocates_nothing() {
    if std::env::var_os(INSIDE).is_some() {
        return steady_cycles();
    }
    let inside = Command::new("unshare")
        .args(["--pid", "--net", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "a_steady_cycle_allocates_nothing", "--nocapture"])
        .env(INSIDE, "1")
        .output();
    match inside {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            let complained = String::from_utf8_lossy(&output.stderr);
            if complained.contains("unshare: ") {
                return println!("skipped: no namespaces: {complained}");
            }
            assert!(output.status.success(), "{said}\n{complained}");
        }
        Err(error) => println!("skipped: no unshare: {error}"),
    }
}

fn sleepers(n: usize) -> Vec<Child> {
    let sleeper = || Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    (0..n).map(|_| sleeper()).collect()
}

fn steady_cycles() {
    let mut children = sleepers(50);
    // Their command line is the test's until their exec.
    std::thread::sleep(Duration::from_millis(200));
    for options in every_way() {
        // With less patience, a busy machine makes a command line look as if it
        // blocked, and another thread is started.
        let patience = Duration::from_secs(60);
        let window = Duration::from_millis(2);
        let options = Options { window, command_line_patience: patience, ..options };
        let mut sampler = Sampler::new(options.clone()).unwrap();
        let mut cycle = || {
            let due = sampler.open(&mut |process, images| {
                if process.text.starts_with(b"sleep") {
                    images.push(A);
                }
            });
            std::thread::sleep(due.saturating_duration_since(std::time::Instant::now()));
            assert_eq!(sampler.close().image(A).procs, 50);
        };
        // Past the first looks, which come ever more rarely.
        for _ in 0..20 {
            cycle();
        }
        // More than a turn of command lines (8), of whole listings (8), and of
        // descriptors (40).
        ALLOCATIONS.store(0, Ordering::Relaxed);
        COUNTS.store(true, Ordering::Relaxed);
        for _ in 0..48 {
            cycle();
        }
        COUNTS.store(false, Ordering::Relaxed);
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), 0, "{options:?}");
    }
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
