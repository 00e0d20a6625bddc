//! The config files in fixtures/conf.

use psstat_matcher::{Conf, CoverageCheck, MatchCache, Severity};

#[test]
fn example_has_no_diagnostics() {
    let conf = Conf::parse(include_bytes!("../../../fixtures/conf/example.conf"));
    assert_eq!(conf.diagnostics, []);
    let images = |text: &[u8]| {
        let mut cache = MatchCache::default();
        let images = conf.rules.matches(text, &mut cache).map(|found| found.name.to_owned());
        images.collect::<Vec<_>>()
    };
    for (text, expected) in [
        ("/sbin/init splash", &["init"][..]),
        ("/usr/lib/systemd/systemd --switched-root", &["init"]),
        ("/usr/lib/systemd/systemd-journald", &[]),
        ("-bash", &["shell"]),
        ("/bin/sh -c true", &["shell"]),
        ("/usr/sbin/sshd -D", &["ssh"]),
        ("sshd: root@pts/0", &["ssh"]),
        ("target/release/psstat-tcollector", &["psstat"]),
        ("cargo run", &["cargo"]),
        ("/usr/bin/java -Xmx1g -Dapp=shop -jar x.jar", &["java/app"]),
        ("/usr/bin/python3.11 -m http.server", &["python"]),
        ("python3 -m pip install x", &[]),
    ] {
        assert_eq!(images(text.as_bytes()), expected, "{text}");
    }
    // Its rule for the collector is meant.
    let mut coverage = CoverageCheck::new(&conf.rules);
    for text in ["/sbin/init", "bash", "sshd: root@pts/0", "cargo run", "cron", "agetty"] {
        coverage.record(text.as_bytes());
    }
    coverage.record_self(b"/usr/bin/psstat-tcollector");
    let diagnostics = coverage.diagnostics();
    assert!(diagnostics.iter().all(|d| d.severity == Severity::Note), "{diagnostics:?}");
}

#[test]
fn every_invalid_line_is_reported() {
    let text = include_str!("../../../fixtures/conf/bad.conf");
    let conf = Conf::parse(text.as_bytes());
    let line = |start: &str| text.lines().position(|l| l.starts_with(start)).map(|n| n + 1);
    let warnings: Vec<usize> = conf
        .diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Warning)
        .map(|d| d.line.unwrap())
        .collect();
    let errors: Vec<usize> = conf
        .diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .map(|d| d.line.unwrap())
        .collect();
    // From the first invalid line to the last, and the one at the end.
    let (first, last) = (line("bad:name"), line("size"));
    let expected: Vec<usize> =
        (first.unwrap_or(0)..=last.unwrap_or(0)).chain(line("space")).collect();
    assert_eq!(errors, expected);
    // The first and the third rule of the image are redundant.
    let expected = [line("good  "), line("empty"), line("Good"), line("good            lrh x")];
    assert_eq!(warnings, expected.map(|n| n.unwrap_or(0)));
    assert!(conf.diagnostics.iter().all(|d| !d.help.is_empty() && !d.message.is_empty()));
}

#[test]
fn example_of_a_directory_has_no_diagnostics() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/conf/conf.d");
    let loaded = psstat_matcher::sources::load([dir], None);
    assert!(loaded.is_current(), "{:?}", loaded.files);
    assert_eq!(loaded.conf.diagnostics, []);
    let rules = loaded.files.iter().map(|file| file.rules).collect::<Vec<_>>();
    assert_eq!(rules, [0, 3, 2]);
}
