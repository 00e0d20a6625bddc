//! Matching does not allocate after texts of each kind, nor does polling an
//! unchanged config file.

use std::os::unix::fs::symlink;
use std::time::Instant;

use psstat_matcher::watcher::{ConfigWatcher, Event, POLL_INTERVAL, SETTLE_TIME};
use psstat_matcher::{Conf, MatchCache};
use psstat_testproc::TempDir;
use psstat_testproc::alloc::{CountingAllocator, measure};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn steady_matching_does_not_allocate() {
    let conf = Conf::parse(
        "a lrh.*fi/\nb java.*-jar \\S+$\nc \\bpython\\d?\\b\nd (\\w)\\1\ne (?<!x)foo(?=\\s)\n\
         f (?i)\u{e9}t\u{e9}\ng \\w+\\s\nh ^.$\ni (?:(a)|b)*?\\Bc\n\
         j/{x} (?P<x>lrh|\\w+)\nk/{y}/{z} (?P<y>.)(?P<z>o)?(?=oo|h )\n"
            .as_bytes(),
    );
    assert_eq!(conf.diagnostics, []);
    // A result that is known, and others that replace each other.
    let long: Vec<Vec<u8>> =
        (0..66).map(|n| [vec![b'f'; 4_100 + n], b" lrh fi/ foo ".to_vec()].concat()).collect();
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
    let (mut images, mut cache) = (0, MatchCache::default());
    let mut run = || {
        for text in texts {
            images += conf.rules.matches(text, &mut cache).len();
        }
        for text in &long {
            images += conf.rules.matches(text, &mut cache).len();
        }
    };
    (0..4).for_each(|_| run());
    assert_eq!(measure(|| (0..3).for_each(|_| run())).1.allocations, 0);
    assert!(images > 12);
}

#[test]
fn idle_poll_does_not_allocate() {
    let directory = TempDir::new().unwrap();
    std::fs::create_dir_all(directory.join("a/b")).unwrap();
    let path = directory.join("a/b/psstat.conf");
    // A recently modified file would be read once more; this one is old.
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/conf/example.conf");
    symlink(std::fs::canonicalize(fixture).unwrap(), &path).unwrap();
    let mut watcher = ConfigWatcher::new(&path);
    let mut clock = Instant::now();
    assert!(matches!(watcher.poll(clock), Some(Event::Loaded(_))));
    let mut poll = || {
        clock += POLL_INTERVAL;
        assert!(watcher.poll(clock).is_none());
    };
    poll();
    assert_eq!(measure(|| (0..100).for_each(|_| poll())).1.allocations, 0);
    // These calls did check the file.
    std::fs::write(directory.join("new"), "other regex\n").unwrap();
    std::fs::rename(directory.join("new"), &path).unwrap();
    clock += POLL_INTERVAL;
    assert!(watcher.poll(clock).is_none());
    assert!(matches!(watcher.poll(clock + SETTLE_TIME), Some(Event::Loaded(_))));
}

/// For the first text beyond ASCII, each rule built its own automaton during a
/// cycle: a thousand such rules took 10 GB.
#[test]
fn memory_for_unicode_text_is_bounded() {
    let rules: String = (0..60).map(|i| format!("i{i} \\w{{50}}[x{}]\n", i % 10)).collect();
    let conf = Conf::parse(rules.as_bytes());
    assert!(!conf.has_errors());
    let text = format!("{}9", "\u{e9}".repeat(50));
    let (mut images, mut cache) = (Vec::new(), MatchCache::default());
    let (stats, used) = measure(|| {
        let matches = conf.rules.matches(text.as_bytes(), &mut cache);
        let stats = matches.stats();
        images.extend(matches.map(|found| found.image));
        stats
    });
    assert_eq!((&images[..], stats.step_limit_hits), (&[9, 19, 29, 39, 49, 59][..], 0));
    let (kept, peak) = (used.kept >> 20, used.peak >> 20);
    assert!(kept < 24 && peak < 64, "{kept} MiB kept, peak {peak} MiB");
}

/// Each `\w` had two copies of its hundreds of ranges: one line of a config file
/// could take 500 MB.
#[test]
fn memory_of_patterns_is_bounded() {
    let line = format!("image {}\n", "\\w\\D".repeat(9_000));
    let (conf, used) = measure(|| Conf::parse(line.as_bytes()));
    assert!(!conf.has_errors());
    let (kept, peak) = (used.kept >> 20, used.peak >> 20);
    assert!(kept < 16 && peak < 64, "{kept} MiB kept, peak {peak} MiB");
}
