//! Matching does not allocate once it has seen texts of each kind, nor does a
//! look at a conf that has not changed.

// The allocator's interface is unsafe, and a test that cannot go on panics.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use std::time::{Duration, Instant};

use psstat_matcher::Conf;
use psstat_matcher::live::{Event, LOOK, LiveConf, QUIET};

struct Counting;

thread_local! {
    /// Allocations of this thread alone: others belong to the test harness.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// Bytes that it has, and the most that it has had.
    static BYTES: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

// SAFETY: all work is the system allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|c| c.set(c.get() + 1));
        grow(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrink(layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = COUNT.try_with(|c| c.set(c.get() + 1));
        grow(size);
        shrink(layout.size());
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn grow(by: usize) {
    let _ = BYTES.try_with(|b| {
        let now = b.get().0 + by;
        b.set((now, now.max(b.get().1)));
    });
}

fn shrink(by: usize) {
    let _ = BYTES.try_with(|b| b.set((b.get().0.saturating_sub(by), b.get().1)));
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn steady_matching_allocates_nothing() {
    let conf = Conf::parse(
        "a lrh.*fi/\nb java.*-jar \\S+$\nc \\bpython\\d?\\b\nd (\\w)\\1\ne (?<!x)foo(?=\\s)\n\
         f (?i)\u{e9}t\u{e9}\ng \\w+\\s\nh ^.$\ni (?:(a)|b)*?\\Bc\n"
            .as_bytes(),
    );
    assert_eq!(conf.diagnostics, []);
    let texts: [&[u8]; 8] = [
        b"/opt/lrh -c fi/x",
        b"java -jar x.jar",
        b"python3 foo bar",
        "\u{c9}T\u{c9} python \u{301} foo".as_bytes(),
        b"\xff\xfe foo aab",
        b"foo",
        b"\xff",
        b"ababababababcc foo\n",
    ];
    let mut images = 0;
    let mut run = || {
        for text in texts {
            conf.rules.classify(text, &mut |_| images += 1);
        }
    };
    (0..20).for_each(|_| run());
    let before = COUNT.get();
    (0..100).for_each(|_| run());
    assert_eq!(COUNT.get() - before, 0);
    assert!(images > 120);
}

#[test]
fn idle_poll_does_not_allocate() {
    let directory = std::env::temp_dir().join(format!("psstat-look-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("a/b")).unwrap();
    let path = directory.join("a/b/psstat.conf");
    std::fs::write(&path, "image regex\n").unwrap();
    // Young files are read once more; this one is not young any more.
    std::thread::sleep(Duration::from_secs(3));
    let mut live = LiveConf::new(&path);
    let mut clock = Instant::now();
    assert!(matches!(live.poll(clock), Some(Event::Loaded(_))));
    let mut look = || {
        clock += LOOK;
        assert!(live.poll(clock).is_none());
    };
    look();
    let before = COUNT.get();
    (0..100).for_each(|_| look());
    assert_eq!(COUNT.get() - before, 0);
    // They were looks.
    std::fs::write(&path, "other regex\n").unwrap();
    clock += LOOK;
    assert!(live.poll(clock).is_none());
    assert!(matches!(live.poll(clock + QUIET), Some(Event::Loaded(_))));
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Each rule made an automaton of its own for text beyond ASCII when the first
/// one came, in the midst of a cycle: a thousand such rules took 10 GB.
#[test]
fn text_beyond_ascii_takes_memory_within_bounds() {
    let rules: String = (0..60).map(|i| format!("i{i} \\w{{50}}[x{}]\n", i % 10)).collect();
    let conf = Conf::parse(rules.as_bytes());
    assert_eq!(conf.diagnostics, []);
    let text = format!("{}9", "\u{e9}".repeat(50));
    let before = BYTES.get().0;
    BYTES.set((before, before));
    let mut found = Vec::new();
    let verdict = conf.rules.classify(text.as_bytes(), &mut |image| found.push(image));
    let (now, most) = BYTES.get();
    assert_eq!((&found[..], verdict.limited), (&[9, 19, 29, 39, 49, 59][..], 0));
    let (kept, most) = ((now - before) >> 20, (most - before) >> 20);
    assert!(kept < 24 && most < 64, "{kept} MiB are kept, {most} were the most");
}

/// Each `\w` had its hundreds of ranges for itself, twice: one line of a conf
/// could take 500 MB.
#[test]
fn patterns_take_memory_within_bounds() {
    let line = format!("image {}\n", "\\w\\D".repeat(9_000));
    let before = BYTES.get().0;
    BYTES.set((before, before));
    let conf = Conf::parse(line.as_bytes());
    assert_eq!(conf.diagnostics, []);
    let (now, most) = BYTES.get();
    let (kept, most) = ((now - before) >> 20, (most - before) >> 20);
    assert!(kept < 16 && most < 64, "{kept} MiB are kept, {most} were the most");
}
