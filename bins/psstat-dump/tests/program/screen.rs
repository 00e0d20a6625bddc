//! What a person at a terminal sees.

use psstat_testproc::{Config, TestProcess, terminal};

use crate::run::{command, unique};

/// Runs the program with a terminal of this width as both of its streams, and returns all that
/// it wrote.
fn on_a_terminal(columns: u16, args: &[&str]) -> String {
    terminal::run(columns, &mut command(args), false).0
}

#[test]
fn shows_measuring_indicator() {
    let name = unique("screen");
    let long = "word ".repeat(60);
    let _testproc =
        TestProcess::spawn(&Config::new(&name).arg(long).arg("日本語".repeat(30))).unwrap();
    for columns in [40, 80, 132] {
        let seen = on_a_terminal(columns, &["--no-conf", "-p", &name]);
        let (progress, table) = seen.split_once("\r\x1b[K").unwrap();
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

/// Whoever pipes the table still sees that it takes its second, and the table
/// has nothing of it.
#[test]
fn the_word_is_on_the_terminal_also_where_the_table_goes_elsewhere() {
    let name = unique("piped");
    let _testproc = TestProcess::spawn(&Config::new(&name)).unwrap();
    let (seen, piped) = terminal::run(80, &mut command(&["--no-conf", &name]), true);
    assert_eq!(seen, "measuring …\r\x1b[K");
    assert!(piped.starts_with("IMAGE ") && piped.contains(&name), "{piped}");
    assert!(!piped.contains("measuring") && !piped.contains('\x1b'), "{piped}");
}

#[test]
fn no_color_turns_colour_off_unless_it_is_asked_for() {
    let name = unique("plain-screen");
    let _testproc = TestProcess::spawn(&Config::new(&name)).unwrap();
    let is_coloured = |no_color: &str, color: &str| {
        let mut command = command(&["--no-conf", "--color", color, &name]);
        let (seen, _) = terminal::run(80, command.env("NO_COLOR", no_color), false);
        seen.contains("\x1b[1m")
    };
    assert!(is_coloured("", "auto"), "an empty one is none");
    assert!(!is_coloured("1", "auto"));
    assert!(!is_coloured("", "never"));
    assert!(is_coloured("1", "always"));
}
