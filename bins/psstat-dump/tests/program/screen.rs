//! Output on a terminal.

use std::path::Path;

use psstat_testproc::archive::Archive;
use psstat_testproc::{Config, TempDir, TestProcess, expected_file, terminal};

use crate::run::{command, unique};

/// Runs the program with stdout and stderr on a terminal of this width, and returns the output.
fn run_on_terminal(columns: u16, args: &[&str]) -> String {
    terminal::run(columns, &mut command(args), false).0
}

#[test]
fn shows_measuring_indicator() {
    let name = unique("screen");
    let long = "word ".repeat(60);
    let _testproc =
        TestProcess::spawn(&Config::new(&name).arg(long).arg("日本語".repeat(30))).unwrap();
    for columns in [40, 80, 132] {
        let screen = run_on_terminal(columns, &["--no-conf", "-p", &name]);
        let (progress, table) = screen.split_once("\r\x1b[K").unwrap();
        assert_eq!(progress, "measuring …");
        assert_eq!(table.lines().count(), 2, "{table}");
        assert!(table.starts_with("\x1b[1m"), "{table}");
        for line in table.replace("\x1b[1m", "").replace("\x1b[0m", "").lines() {
            let wide = line.chars().filter(|c| ('\u{3000}'..='\u{9fff}').contains(c)).count();
            let width = line.trim_end_matches('\r').chars().count() + wide;
            assert!(width <= usize::from(columns), "{columns}: {line}");
        }
    }
}

/// With stdout in a pipe, the message is still on the terminal, and not in the
/// pipe.
#[test]
fn measuring_indicator_with_piped_stdout() {
    let name = unique("piped");
    let _testproc = TestProcess::spawn(&Config::new(&name)).unwrap();
    let (screen, piped) = terminal::run(80, &mut command(&["--no-conf", &name]), true);
    assert_eq!(screen, "measuring …\r\x1b[K");
    assert!(piped.starts_with("IMAGE ") && piped.contains(&name), "{piped}");
    assert!(!piped.contains("measuring") && !piped.contains('\x1b'), "{piped}");
}

#[test]
fn no_color_disables_auto() {
    let name = unique("plain-screen");
    let _testproc = TestProcess::spawn(&Config::new(&name)).unwrap();
    let is_colored = |no_color: &str, color: &str| {
        let mut command = command(&["--no-conf", "--color", color, &name]);
        let (screen, _) = terminal::run(80, command.env("NO_COLOR", no_color), false);
        screen.contains("\x1b[1m")
    };
    assert!(is_colored("", "auto"), "an empty variable is ignored");
    assert!(!is_colored("1", "auto"));
    assert!(!is_colored("", "never"));
    assert!(is_colored("1", "always"));
}

/// The output of `pid` and `find` for a capture, on terminals of several widths, as a file.
#[test]
fn screens_of_pid_and_find() {
    let temp = TempDir::new().unwrap();
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let archive = crate_dir.join("../../fixtures/capture.txtar");
    Archive::read(archive).unwrap().unpack(temp.path()).unwrap();
    let [proc, conf] = ["proc", "psstat.conf"].map(|name| temp.join(name).display().to_string());
    let expected = std::fs::read_to_string(temp.join("expected.txt")).unwrap();
    let pid = expected.lines().find(|line| !line.starts_with('#')).unwrap();
    let pid = pid.split(' ').nth(1).unwrap();
    for columns in [60, 80, 120, 220] {
        let mut screens = String::new();
        for args in [&["pid", pid][..], &["find", "/dev/null"], &["find", "--listen"]] {
            let options = ["--proc", &proc, "--conf", &conf, "--color", "never"];
            let output = run_on_terminal(columns, &[args, &options].concat());
            let output = output.rsplit_once("\x1b[K").map_or(&*output, |(_, output)| output);
            let output = output.replace("\r\n", "\n");
            assert!(!output.contains('\x1b'), "{output}");
            screens.push_str(&format!("=== {}\n{output}", args.join(" ")));
        }
        // Nothing is left out on a narrow terminal, which wraps the lines.
        expected_file::assert(crate_dir, "tests/screens/pid-find.txt", &screens);
    }
}
