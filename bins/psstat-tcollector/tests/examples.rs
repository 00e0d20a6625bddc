//! The example that combines the crates, run on processes whose behavior is known.

use std::process::Command;

use psstat_testproc::formats::tsd;
use psstat_testproc::{Config, TempDir, TestProcess, example, oracle};

#[test]
fn minimal_collector_prints_points() {
    let word = format!("beating-{}", std::process::id());
    let testprocs =
        [(); 3].map(|()| TestProcess::spawn(&Config::new(format!("/opt/{word}"))).unwrap());
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, format!("minimal {word}$\nabsent no-such-{word}\nbad (\n")).unwrap();

    let program = example("psstat-tcollector", "minimal_collector").unwrap();
    let output = Command::new(program).arg(&conf).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let points: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| tsd::parse_line(line).unwrap())
        .collect();
    let sum = |of: fn(u32) -> u64| testprocs.iter().map(|testproc| of(testproc.pid())).sum::<u64>();
    let expected = [
        ("proc.stat.ps.threads", sum(|pid| oracle::threads(pid).unwrap())),
        ("proc.stat.ps.mem", sum(|pid| oracle::memory(pid).unwrap().resident)),
        ("proc.stat.ps.procs", testprocs.len() as u64),
    ];
    let mut found = points.iter();
    for (metric, value) in expected {
        for (image, value) in [("absent", 0), ("minimal", value)] {
            let point = found.next().unwrap();
            assert_eq!((point.metric.as_str(), point.tag("image")), (metric, Some(image)));
            // The kernel may reclaim pages of a sleeping process.
            let slack = if metric.ends_with(".mem") { value as f64 / 4.0 } else { 0.0 };
            assert!((point.number() - value as f64).abs() <= slack, "{points:?}");
        }
    }
    assert!(found.next().is_none(), "{points:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("psstat.conf:3:"), "{said}");
}
