//! Rules on other fields than the command line.

use psstat_matcher::{Conf, CoverageCheck, Field, ImageName, MatchCache, ProcessText, Rule};

/// The names of the images of a text.
fn names<'p>(conf: &Conf, process: impl Into<ProcessText<'p>>) -> Vec<String> {
    assert!(!conf.has_errors(), "{:?}", conf.diagnostics);
    let (mut names, mut cache) = (Vec::new(), MatchCache::default());
    let matches = conf.rules.matches(process, &mut cache);
    let stats = matches.stats();
    for found in matches {
        assert!(found.name.parse::<ImageName>().is_ok(), "{}", found.name);
        assert_eq!(conf.rules.rules()[found.rule].image(), found.image);
        names.push(found.name.to_owned());
    }
    assert_eq!((stats.images, stats.step_limit_hits), (names.len(), 0));
    names
}

fn diagnostics(conf: &str) -> Vec<String> {
    let conf = Conf::parse(conf.as_bytes());
    conf.diagnostics.iter().map(|d| d.display("f").to_string()).collect()
}

/// A forked process has the command line of its parent, whose result is kept if it is long.
#[test]
fn kept_result_of_a_long_text_has_its_names() {
    let conf = Conf::parse(
        br"
java/{app}  \bjava\b.*-Dapp=(?P<app>[\w.-]+)
all         java
@comm c/{n} (?P<n>.*)
",
    );
    let long = [b"java ", &b"-cp /x.jar:".repeat(1_000)[..], b" -Dapp=shop"].concat();
    let mut cache = MatchCache::default();
    for comm in [&b"one"[..], b"two", b"three"] {
        let text = ProcessText { comm: Some(comm), ..ProcessText::from(&long) };
        let expected = ["java/shop".to_owned(), "all".into(), format!("c/{}", comm.escape_ascii())];
        let matches = conf.rules.matches(text, &mut cache);
        assert_eq!(matches.stats().is_repeated, comm != b"one");
        assert!(matches.map(|found| found.name.to_owned()).eq(expected));
    }
    // With other rules its results are others.
    let other = Conf::parse(b"other java\n").rules;
    let mut matches = other.matches(&long, &mut cache);
    assert_eq!((matches.stats().is_repeated, matches.next().unwrap().name), (false, "other"));
}

fn fields() -> ProcessText<'static> {
    ProcessText {
        command_line: Some(b"java -jar app.jar"),
        comm: Some(b"java"),
        user: Some(b"app"),
        cgroup: Some(b"/system.slice/nginx.service"),
        unit: Some(b"nginx.service"),
        container: None,
    }
}

#[test]
fn rules_on_other_fields() {
    let conf = Conf::parse(
        br"
@comm c           ^java$
@user u           app
@cgroup g         ^/system\.slice/
   @unit  web     ^nginx\.service$
@container pod    .*
line              ^java -jar
@comm no          jar
other             nginx
@unit web         x
",
    );
    // In the order of the images.
    assert_eq!(names(&conf, fields()), ["c", "u", "g", "web", "line"]);
    let fields: Vec<Field> = conf.rules.rules().iter().map(Rule::field).collect();
    assert_eq!(fields[..5], Field::ALL[1..]);
    assert!(Field::ALL.into_iter().all(|field| conf.rules.uses(field)));
    assert!(!Conf::parse(b"a b").rules.uses(Field::Comm));
    // A text that is not known is matched by no rule, not even by one that matches all.
    assert_eq!(names(&conf, b"java -jar"), ["line"]);
    // `.*` matches all, and `x` what `^nginx\.service$` does.
    assert_eq!(conf.diagnostics.len(), 2);
}

/// The space after a command line is that of the original script.
#[test]
fn other_fields_have_no_trailing_space() {
    let conf = Conf::parse(br"@comm c java\s");
    assert!(names(&conf, fields()).is_empty());
    assert_eq!(conf.rules.rules()[0].find(b"java"), Ok(None));
}

#[test]
fn five_containers_are_five_images() {
    let conf = Conf::parse(b"@container pod/{id} (?P<id>[0-9a-f]{12})");
    let mut all = Vec::new();
    for number in 0..5_u8 {
        let id = format!("{:064x}", u64::from(number) * 0x1234_5678_9abc_def0 + 7);
        let container = Some(id.as_bytes());
        all.extend(names(&conf, ProcessText { container, ..fields() }));
    }
    assert_eq!(all.len(), 5);
    assert!(all.iter().all(|name| name.len() == 16));
}

#[test]
fn diagnostics_of_fields() {
    let text = &diagnostics("@exe java x")[0];
    assert!(text.contains("unknown field") && text.contains("1 | @exe java x\n  | ^^^^"), "{text}");
    let list = "`@comm`, `@user`, `@cgroup`, `@unit`, `@container`";
    assert!(text.contains(list), "{text}");
    let text = &diagnostics("  @contaner pod .")[0];
    assert!(text.contains("write `@container`; the fields are"), "{text}");
    assert!(text.contains(":1:3\n") && text.contains("  ^^^^^^^^^"), "{text}");
    for (line, message) in [
        ("@", "unknown field"),
        ("@ a b", "unknown field"),
        ("@COMM a b", "unknown field"),
        ("@comm", "no image name after `@comm`"),
        ("@comm  ", "no image name after `@comm`"),
        ("@comm a", "image `a` has no regex"),
        ("@comm @user a", "character other than"),
    ] {
        let found = diagnostics(line);
        assert!(found.len() == 1 && found[0].contains(message), "{line}: {found:?}");
    }
    // The columns are those of the line.
    let text = &diagnostics("@unit  web  a(b")[0];
    assert!(text.contains(":1:14\n"), "{text}");
    let text = &diagnostics("@unit web/{x} a")[0];
    assert!(text.contains(":1:11\n"), "{text}");
    // A rule of another field says nothing about one of the command line.
    assert_eq!(diagnostics("a java\n@comm a java.*x\n"), Vec::<String>::new());
    assert_eq!(diagnostics("@comm a java\n@comm a java.*x\n").len(), 1);
}

#[test]
fn coverage_lists_made_names() {
    let conf = Conf::parse(b"java/{app} -Dapp=(?P<app>\\S+)\n@comm c .\n");
    let mut coverage = CoverageCheck::new(&conf.rules);
    for text in ["java -Dapp=a", "java -Dapp=b", "x -Dapp=a", "y"] {
        let process = ProcessText { comm: Some(b"c"), ..ProcessText::from(text.as_bytes()) };
        coverage.record(process);
    }
    assert_eq!(coverage.matched().collect::<Vec<_>>(), [3, 4]);
    assert_eq!(coverage.made(0).collect::<Vec<_>>(), [("java/a", 2), ("java/b", 1)]);
    assert_eq!((coverage.made(1).count(), coverage.made_further(0)), (0, 0));
    for value in 0..1_000 {
        coverage.record(format!("-Dapp=v{value}").as_bytes());
    }
    assert_eq!((coverage.made(0).count(), coverage.made_further(0)), (1_000, 2));
}
