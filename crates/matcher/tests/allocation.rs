//! Matching does not allocate once it has seen texts of each kind, nor does a
//! look at a conf that has not changed.

use std::time::{Duration, Instant};

use psstat_matcher::Conf;
use psstat_matcher::watcher::{ConfigWatcher, Event, POLL_INTERVAL, SETTLE_TIME};
use psstat_testproc::TempDir;
use psstat_testproc::alloc::{CountingAllocator, measure};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

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
    assert_eq!(measure(|| (0..100).for_each(|_| run())).1.allocations, 0);
    assert!(images > 120);
}

#[test]
fn idle_poll_does_not_allocate() {
    let directory = TempDir::new().unwrap();
    std::fs::create_dir_all(directory.join("a/b")).unwrap();
    let path = directory.join("a/b/psstat.conf");
    std::fs::write(&path, "image regex\n").unwrap();
    // Young files are read once more; this one is not young any more.
    std::thread::sleep(Duration::from_secs(3));
    let mut live = ConfigWatcher::new(&path);
    let mut clock = Instant::now();
    assert!(matches!(live.poll(clock), Some(Event::Loaded(_))));
    let mut look = || {
        clock += POLL_INTERVAL;
        assert!(live.poll(clock).is_none());
    };
    look();
    assert_eq!(measure(|| (0..100).for_each(|_| look())).1.allocations, 0);
    // They were looks.
    std::fs::write(&path, "other regex\n").unwrap();
    clock += POLL_INTERVAL;
    assert!(live.poll(clock).is_none());
    assert!(matches!(live.poll(clock + SETTLE_TIME), Some(Event::Loaded(_))));
}

/// Each rule made an automaton of its own for text beyond ASCII when the first
/// one came, in the midst of a cycle: a thousand such rules took 10 GB.
#[test]
fn text_beyond_ascii_takes_memory_within_bounds() {
    let rules: String = (0..60).map(|i| format!("i{i} \\w{{50}}[x{}]\n", i % 10)).collect();
    let conf = Conf::parse(rules.as_bytes());
    assert_eq!(conf.diagnostics, []);
    let text = format!("{}9", "\u{e9}".repeat(50));
    let mut found = Vec::new();
    let classify = || conf.rules.classify(text.as_bytes(), &mut |image| found.push(image));
    let (verdict, used) = measure(classify);
    assert_eq!((&found[..], verdict.step_limit_hits), (&[9, 19, 29, 39, 49, 59][..], 0));
    let (kept, most) = (used.kept >> 20, used.peak >> 20);
    assert!(kept < 24 && most < 64, "{kept} MiB are kept, {most} were the most");
}

/// Each `\w` had its hundreds of ranges for itself, twice: one line of a conf
/// could take 500 MB.
#[test]
fn patterns_take_memory_within_bounds() {
    let line = format!("image {}\n", "\\w\\D".repeat(9_000));
    let (conf, used) = measure(|| Conf::parse(line.as_bytes()));
    assert_eq!(conf.diagnostics, []);
    let (kept, most) = (used.kept >> 20, used.peak >> 20);
    assert!(kept < 16 && most < 64, "{kept} MiB are kept, {most} were the most");
}
