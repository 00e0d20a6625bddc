//! README's commands do what README states.

use std::path::Path;
use std::process::{Command, Stdio};

use psstat_testproc::binary;
use psstat_testproc::formats::tsd;

/// The arguments of `cargo run --release --bin NAME --` in README.
fn commands(name: &str) -> Vec<Vec<String>> {
    let readme = include_str!("../../../README.md");
    let run = format!("cargo run --release --bin {name}");
    let lines = readme.lines().filter_map(|line| line.strip_prefix(&run));
    lines
        .map(|rest| rest.split_whitespace().filter(|word| *word != "--").map(Into::into).collect())
        .collect()
}

fn run(program: &Path, args: &[String]) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let output = Command::new(program).args(args).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn collector_commands_print_points() {
    let commands = commands("psstat-tcollector");
    assert!(!commands.is_empty());
    // A machine without a login may have none.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "read x"]).stdin(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    for args in commands {
        assert!(args.contains(&"--once".to_owned()), "{args:?} would not end");
        let stdout = run(Path::new(env!("CARGO_BIN_EXE_psstat-tcollector")), &args);
        let points: Vec<_> = stdout
            .lines()
            .map(|line| tsd::parse_line(line).unwrap_or_else(|error| panic!("{error}")))
            .collect();
        let procs = |image: &str| {
            let mut points = points.iter();
            let of =
                points.find(|p| p.metric == "proc.stat.ps.procs" && p.tag("image") == Some(image));
            of.unwrap_or_else(|| panic!("no {image}: {stdout}")).number()
        };
        // The collector itself, a shell, and the init process, if it has a usual name.
        assert!(procs("collector") >= 1.0, "{stdout}");
        assert!(procs("shells") >= 1.0, "{stdout}");
        let first = std::fs::read("/proc/1/cmdline").unwrap_or_default();
        let usual = ["/sbin/init", "/usr/lib/systemd/systemd", "/init", "/bin/sh", "init"];
        if usual.iter().any(|name| {
            first.split(|&byte| byte == 0 || byte == b' ').next() == Some(name.as_bytes())
        }) {
            assert!(procs("init") >= 1.0, "{stdout}");
        }
    }
    drop(shell.stdin.take());
    shell.wait().unwrap();
}

#[test]
fn dump_commands_print_a_table() {
    let commands = commands("psstat-dump");
    assert!(!commands.is_empty());
    let program = binary("psstat-dump", "psstat-dump").unwrap();
    for args in commands {
        let stdout = run(&program, &args);
        assert!(stdout.starts_with("IMAGE"), "{stdout}");
        assert!(stdout.lines().count() > 1, "{stdout}");
    }
}
