//! The cost of classifying a new process, by the number of rules and by command line. The images
//! of each command line are checked before anything is measured.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use psstat_matcher::{Conf, Field, MatchCache, ProcessText, Rules};
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

const RULES: [usize; 3] = [5, 50, 500];

/// The rules of a usual config: daemons by path, scripts and services by arguments, in turn. The
/// first five match the command lines below.
fn rules(count: usize) -> Rules {
    let mut conf = String::new();
    for number in 0..count {
        let line = match number {
            0 => r"httpd ^/usr/sbin/httpd\b".to_owned(),
            1 => r"postgres/writer postgres: (?:\S+ )?background writer".to_owned(),
            2 => r"worker python3? \S*/worker\.py(?: |$)".to_owned(),
            3 => r"search/java java .*-Dservice\.name=search\b".to_owned(),
            4 => r"fi/lrh lrh.*fi/".to_owned(),
            n if n % 3 == 0 => format!(r"daemon-{n} ^/usr/s?bin/daemon{n}\b"),
            n if n % 3 == 1 => format!(r"service-{n} java .*-Dservice\.name=service-{n}(?: |$)"),
            n => format!(r"script-{n} python3? \S*/script_{n}\.py"),
        };
        let _ = writeln!(conf, "{line}");
    }
    let conf = Conf::parse(conf.as_bytes());
    assert!(!conf.has_errors());
    assert_eq!(conf.rules.rules().len(), count);
    conf.rules
}

/// The command line of an application server: a class path of a hundred archives, and the name of
/// the service near the end.
fn java() -> String {
    let mut line = String::from("/usr/lib/jvm/java-17/bin/java -server -Xms4g -Xmx4g -XX:+UseG1GC");
    line.push_str(" -cp ");
    let mut archive = 0;
    while line.len() < 7_000 {
        let _ = write!(line, "/opt/search/lib/component-{archive:03}-1.{}.0.jar:", archive % 40);
        archive += 1;
    }
    line.push_str(" -Dservice.name=search -Dport=8080 com.example.search.Main --production");
    line
}

/// Name, command line, and its images with any number of rules.
fn command_lines() -> [(&'static str, String, &'static [&'static str]); 6] {
    let unmatched = "/lib/systemd/systemd-logind --nothing --of --ours";
    [
        ("httpd", "/usr/sbin/httpd -k start -DFOREGROUND".into(), &["httpd"]),
        ("postgres", "postgres: 15/main: background writer".into(), &["postgres/writer"]),
        ("python", "/usr/bin/python3 /srv/app/worker.py --queue mail".into(), &["worker"]),
        ("java of 7 KB", java(), &["search/java"]),
        ("unmatched", unmatched.into(), &[]),
        ("unmatched, 7 KB", java().replace("service.name=search", "service.name=none"), &[]),
    ]
}

fn classify(criterion: &mut Criterion) {
    for (what, line, images) in command_lines() {
        let mut group = criterion.benchmark_group(format!("classify {what}"));
        group.throughput(Throughput::Bytes(line.len() as u64));
        for count in RULES {
            let rules = rules(count);
            let text = line.as_bytes();
            let mut cache = MatchCache::default();
            let found: Vec<_> =
                rules.matches(text, &mut cache).map(|image| image.name.to_owned()).collect();
            assert_eq!(found, images, "{what} by {count} rules");
            group.bench_function(BenchmarkId::new("rules", count), |bencher| {
                bencher.iter(|| rules.matches(black_box(text), &mut cache).len());
            });
        }
        group.finish();
    }
}

/// The cost of a reload.
fn compile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile");
    group.sample_size(10);
    for count in RULES {
        group.bench_function(BenchmarkId::new("rules", count), |bencher| {
            bencher.iter(|| rules(black_box(count)));
        });
    }
    group.finish();
}

/// Rules for different programs, and six command lines of 20 to 7,000 bytes, every other one of
/// which matches a rule.
fn distinct(count: usize) -> (Vec<String>, Vec<String>) {
    let patterns =
        (0..count).map(|n| format!(r"^/opt/program-{n}/bin/\w+(?: .*)?--config=\S+")).collect();
    let lines = [20, 80, 200, 500, 1_900, 7_000].iter().enumerate().map(|(n, &len)| {
        let number = if n % 2 == 0 { n.min(count - 1) } else { 9_999 };
        let mut line = format!("/opt/program-{number}/bin/server");
        while line.len() < len {
            line.push_str(" --name=value-of-it");
        }
        line + " --config=/etc/x.conf"
    });
    (patterns, lines.collect())
}

/// Rules with the same beginning that differ in a later word, and Java command lines that they
/// match.
fn alike(count: usize) -> (Vec<String>, Vec<String>) {
    let patterns =
        (0..count).map(|n| format!(r"java.*-Dservice\.name=service-{n}(?: |$)")).collect();
    let lines = [0, 3, count - 1, 9_999].into_iter().map(|number| {
        let mut line = String::from("/usr/lib/jvm/java-17/bin/java -server -Xms4g -cp ");
        while line.len() < 850 {
            line.push_str("/opt/search/lib/component-1.0.jar:");
        }
        let _ = write!(line, " -Dservice.name=service-{number} com.example.Main");
        line
    });
    (patterns, lines.collect())
}

/// One regex per rule.
fn each(patterns: &[String]) -> Vec<Regex> {
    let regex = |pattern: &String| RegexBuilder::new(pattern).unicode(false).build().unwrap();
    patterns.iter().map(regex).collect()
}

/// One automaton for all.
fn set(patterns: &[String]) -> RegexSet {
    let size = 1 << 30;
    RegexSetBuilder::new(patterns).unicode(false).size_limit(size).build().unwrap()
}

/// Finds the rules that match a command line.
type Way<'a> = &'a dyn Fn(&str, &mut Vec<usize>);

/// The matcher compared with one regex per rule and with one automaton for all, on the same rules
/// and command lines.
fn choice(criterion: &mut Criterion) {
    for (what, make) in [("distinct", distinct as fn(usize) -> _), ("alike", alike)] {
        let mut group = criterion.benchmark_group(format!("choice {what}"));
        group.sample_size(20);
        for count in RULES {
            let (patterns, lines): (Vec<String>, Vec<String>) = make(count);
            group.throughput(Throughput::Elements(lines.len() as u64));
            let conf: String =
                patterns.iter().enumerate().map(|(n, p)| format!("image{n} {p}\n")).collect();
            let rules = Conf::parse(conf.as_bytes()).rules;
            assert_eq!(rules.rules().len(), count);
            let (each, set) = (each(&patterns), set(&patterns));
            let cache = RefCell::new(MatchCache::default());
            let ours = |line: &str, found: &mut Vec<usize>| {
                let cache = &mut cache.borrow_mut();
                found.extend(rules.matches(line.as_bytes(), cache).map(|one| one.image));
            };
            let by_each = |line: &str, found: &mut Vec<usize>| {
                let line = line.as_bytes();
                found.extend(each.iter().enumerate().filter(|r| r.1.is_match(line)).map(|r| r.0));
            };
            let by_set = |line: &str, found: &mut Vec<usize>| {
                found.extend(set.matches(line.as_bytes()).iter());
            };
            let ways: [(&str, Way<'_>); 3] =
                [("this", &ours), ("one regex per rule", &by_each), ("one automaton", &by_set)];
            let answers = ways.map(|(_, way)| {
                let mut found = Vec::new();
                lines.iter().for_each(|line| way(line, &mut found));
                found
            });
            assert!(!answers[0].is_empty() && answers.iter().all(|a| *a == answers[0]));
            for (name, way) in ways {
                group.bench_function(BenchmarkId::new(name, count), |bencher| {
                    let mut found = Vec::with_capacity(count);
                    bencher.iter(|| {
                        for line in &lines {
                            found.clear();
                            way(black_box(line), &mut found);
                        }
                        found.len()
                    });
                });
            }
        }
        group.finish();
    }
}

/// Rules that make image names, and rules on another field, compared with plain ones: on the same Java
/// command lines, one of which no rule matches.
fn made_names(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("made names");
    group.sample_size(20);
    for count in [50, 500] {
        let (patterns, lines): (Vec<String>, Vec<String>) = alike(count);
        let with_group = |pattern: &String| {
            pattern.replace("service-", "(?P<name>service-").replace("(?: |$)", ")(?: |$)")
        };
        let rules = |image: &dyn Fn(usize) -> String, field: Field, patterns: &[String]| {
            let mut rules = Rules::default();
            for (n, pattern) in patterns.iter().enumerate() {
                rules.push_rule(image(n).parse().unwrap(), field, pattern.as_bytes()).unwrap();
            }
            rules
        };
        let patterns_with_group: Vec<String> = patterns.iter().map(with_group).collect();
        let comms: Vec<String> = (0..count).map(|n| format!("^worker-{n}$")).collect();
        let plain = rules(&|n| format!("image{n}"), Field::CommandLine, &patterns);
        let made =
            rules(&|n| format!("image{n}/{{name}}"), Field::CommandLine, &patterns_with_group);
        let on_comm = rules(&|n| format!("image{n}"), Field::Comm, &comms);
        let cache = RefCell::new(MatchCache::default());
        let found = |rules: &Rules, comm: Option<&[u8]>| {
            let mut images = 0;
            for line in &lines {
                let text = ProcessText { comm, ..ProcessText::from(line.as_bytes()) };
                images += rules.matches(black_box(text), &mut cache.borrow_mut()).len();
            }
            images
        };
        assert_eq!((found(&plain, None), found(&made, None)), (3, 3));
        assert_eq!(found(&on_comm, Some(b"worker-7")), 4);
        group.throughput(Throughput::Elements(lines.len() as u64));
        for (what, rules) in [("plain", &plain), ("made", &made), ("on comm", &on_comm)] {
            group.bench_function(BenchmarkId::new(what, count), |bencher| {
                bencher.iter(|| found(rules, Some(b"worker-7")));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, classify, choice, compile, made_names);
criterion_main!(benches);
