//! Images that rules make of command lines.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use psstat_testproc::{Config, TempDir, TestProcess, oracle};

use super::common::{Cycle, Setup, conf, expected_values, word, write_conf};

fn spawn(word: &str, value: &str) -> TestProcess {
    TestProcess::spawn(&Config::new(word).arg(format!("-v={value}"))).unwrap()
}

/// Each value is an image with all metrics, in the order of the names; a process that starts counts
/// from its start.
#[test]
fn rule_makes_an_image_of_each_value() {
    let word = word("made");
    let temp = TempDir::new().unwrap();
    let text = format!("fixed {word}\nmade/{{v}} {word} -v=(?P<v>.*)\n");
    let (mut one, two) = (spawn(&word, "one"), spawn(&word, "two words"));
    one.write_bytes(70_000, 7).unwrap();
    one.quiesce().unwrap();
    let path = conf(&temp, &text);
    let collector = Setup::with(&path).spawn();
    let cycle = collector.cycles(1).remove(0);
    assert_eq!(cycle.images(), ["fixed", "made/one", "made/two_words"]);
    assert_eq!(cycle.image("made/one"), expected_values("made/one", &[one.pid()]));
    assert_eq!(cycle.get("procs image=made/two_words"), 1);
    assert_eq!(cycle.get("procs image=fixed"), 2);
    // It comes between two names that exist.
    let mut three = spawn(&word, "p");
    three.write_bytes(5_000_000, 50).unwrap();
    three.quiesce().unwrap();
    let cycle = collector.next_cycle();
    assert_eq!(cycle.images(), ["fixed", "made/one", "made/p", "made/two_words"]);
    let pids = [one.pid(), two.pid(), three.pid()];
    assert_eq!(cycle.image("made/p"), expected_values("made/p", &pids[2..]));
    // Its io is that since its start, as the kernel has it.
    let wchar = oracle::io(three.pid()).unwrap()["wchar"];
    assert!(wchar >= 5_000_000);
    assert_eq!(cycle.get("io image=made/p type=wchar"), wchar);
    assert_eq!(cycle.image("fixed"), expected_values("fixed", &pids));
    // It stays with its counters and zeros.
    drop(three);
    let cycle = collector.cycle("its exit", |cycle| procs(cycle, "made/p") == Some(0));
    let series = |image: &str| -> Vec<String> {
        let all = cycle.series(image).into_iter();
        all.map(|series| series.replace(&format!("image={image}"), "image")).collect()
    };
    assert_eq!(series("made/p"), series("made/one"));
    assert!(cycle.get("io image=made/p type=wchar") >= wchar);
    assert_eq!(cycle.get("mem image=made/p type=resident"), 0);
}

/// The number of processes of an image, if it exists.
fn procs(cycle: &Cycle, image: &str) -> Option<i64> {
    cycle.printed(&format!("procs image={image}")).map(|value| value.parse().unwrap())
}

/// An image ends some time after its last process, and its number is used again. Its counters do
/// not continue in the next image with that number.
#[test]
fn image_without_processes_ends() {
    let word = word("ends");
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("made/{{v}} {word} -v=(?P<v>.*)\n"));
    let mut one = spawn(&word, "one");
    one.write_bytes(3_000_000, 30).unwrap();
    let collector = Setup::with(&path)
        .args(&["--max-images-per-rule", "1"])
        .env("PSSTAT_TEST_IMAGE_LIFETIME", "3")
        .spawn();
    assert_eq!(collector.cycles(1)[0].images(), ["made/one"]);
    // There is no place for it yet.
    let two = spawn(&word, "two");
    assert_eq!(collector.next_cycle().images(), ["made/one", "made/other"]);
    assert_eq!(collector.logged("made/{v}: 1 images, the maximum per rule").len(), 1);
    drop((one, two));
    let cycle = collector.cycle("the exit", |cycle| procs(cycle, "made/one") == Some(0));
    assert!(cycle.get("io image=made/one type=wchar") > 0);
    collector.cycle("the end", |cycle| cycle.images().is_empty());
    let three = spawn(&word, "three");
    three.quiesce().unwrap();
    let cycle = collector.cycle("the next", |cycle| procs(cycle, "made/three").is_some());
    assert_eq!(cycle.images(), ["made/three"]);
    assert_eq!((cycle.get("starts image=made/three"), cycle.get("exits image=made/three")), (1, 0));
    assert_eq!(cycle.image("made/three"), expected_values("made/three", &[three.pid()]));
}

/// The images of a rule whose image name stays continue across a reload; one that a reload adds
/// begins at 0.
#[test]
fn images_continue_across_a_reload() {
    let word = word("again");
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("made/{{v}} {word} -v=(?P<v>.*)\n"));
    let (mut one, ended) = (spawn(&word, "one"), spawn(&word, "ended"));
    let collector = Setup::with(&path).io_since_start().spawn();
    collector.cycles(1);
    one.write_bytes(1_000_000, 10).unwrap();
    one.quiesce().unwrap();
    drop(ended);
    collector.cycle("the exit", |cycle| procs(cycle, "made/ended") == Some(0));
    let before = collector.next_cycle().get("io image=made/one type=wchar");
    assert!(before >= 1_000_000);
    let is_reloaded = AtomicBool::new(false);
    // It writes all the time, so that what it does until the end of that cycle would show.
    let cycle = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Not without end if the reload fails.
            for _ in 0..5_000 {
                if is_reloaded.load(Ordering::Relaxed) {
                    return;
                }
                one.write_bytes(1_000, 1).unwrap();
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        write_conf(
            &path,
            &format!(
                "made/{{v}} {word} .*=(?P<v>\\w+)\nnew/{{v}} {word} -v=(?P<v>.*)\nx nothing\n"
            ),
        );
        let all = collector.cycle("the reload", |cycle| procs(cycle, "x").is_some());
        is_reloaded.store(true, Ordering::Relaxed);
        all
    });
    one.quiesce().unwrap();
    // The first cycle with the new rules, if the output was read late.
    let cycles = collector.cycles(1);
    let first = cycles.iter().find(|cycle| procs(cycle, "x").is_some()).unwrap_or(&cycle);
    assert_eq!(first.images(), ["made/ended", "made/one", "new/one", "x"]);
    assert_eq!(first.get("procs image=new/one"), 1);
    assert_eq!(first.get("io image=new/one type=wchar"), 0);
    let at_reload = first.get("io image=made/one type=wchar");
    assert!(at_reload > before, "{at_reload}");
    one.write_bytes(5_000, 5).unwrap();
    one.quiesce().unwrap();
    let cycle = collector.next_cycle();
    let written = cycle.get("io image=new/one type=wchar");
    assert!(written >= 5_000);
    assert_eq!(cycle.get("io image=made/one type=wchar"), at_reload + written);
}

/// 1,000 values of an attacker: control characters, long ones, many. The images are bounded,
/// and each line is one that tcollector takes, which `common` checks.
#[test]
fn hostile_values() {
    let word = word("hostile");
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("h/{{v}} {word}.*-v=(?P<v>(?s:.*))\n"));
    let collector = Setup::with(&path).args(&["--max-images-per-rule", "20"]).spawn();
    collector.cycles(1);
    let mut seen = BTreeSet::new();
    for round in 0..5 {
        let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let children: Vec<_> = (0..200)
            .map(|number| {
                let value = match number % 5 {
                    0 => format!("{round}-{number}\n\x1b[2J\r"),
                    1 => format!("{number}{}", "long".repeat(2_000)),
                    2 => format!("\u{202e}\u{e9}{number} image=x type=y"),
                    3 => format!("{round} {number}\t0 put a.b 1 2"),
                    _ => String::new(),
                };
                std::process::Command::new("sh")
                    .args(["-c", "read x", &word, &format!("-v={value}")])
                    .stdin(std::process::Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let cycle = collector.cycle("all processes", |cycle| {
            let has_all = cycle.get("collector.matched") == 200;
            has_all && cycle.time >= begun
        });
        let sum = cycle.images().iter().filter_map(|image| procs(&cycle, image)).sum::<i64>();
        assert_eq!(sum, 200);
        seen.extend(cycle.images().iter().map(ToString::to_string));
        for mut child in children {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }
    assert!(seen.contains("h/_") && seen.contains("h/other"), "{seen:?}");
    assert_eq!(seen.len(), 21);
    collector.cycle("all exits", |cycle| {
        cycle.images().len() == 21 && cycle.get("collector.matched") == 0
    });
    assert_eq!(collector.logged("the maximum per rule").len(), 1);
}
