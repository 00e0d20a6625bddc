//! Output on a terminal.

use psstat_testproc::{Config, TestProcess, terminal};

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
