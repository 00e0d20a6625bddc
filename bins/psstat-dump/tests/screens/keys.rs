//! The keys.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use psstat_dump::table::row::Row;
use psstat_dump::top::App;
use psstat_dump::top::app::{Mode, Next};
use psstat_dump::top::page::Page;

use crate::{app, press, screen, snapshot};

#[test]
fn columns_are_chosen() {
    let mut app = app();
    let mut with_values = snapshot(50.0);
    let values = |row: &mut Row| {
        let numbers = &mut row.numbers;
        (numbers.threads, numbers.fds, numbers.fd_percent) = (Some(12), Some(1021), Some(99.7));
        (numbers.starts, numbers.exits) = (1234, 1230);
        numbers.oldest = Some(Duration::from_secs(86_400 * 3 + 3600 * 4));
    };
    values(&mut with_values.images[1]);
    values(&mut with_values.processes[1]);
    app.set_snapshot(with_values, Duration::ZERO);
    app.settings.image_columns = vec!["pcpu", "threads", "fds", "fd%", "starts", "oldest"];
    press(&mut app, &[KeyCode::Char('g'), KeyCode::Char(' ')]);
    let lines = screen(&mut app, 80, 24);
    let want = [
        "IMAGE      PROCS  %CPUv   THR   FDS    FD%  STARTS  OLDEST CPU 0-100 %",
        "-nginx         2   50.0    12  1021   99.7    1234    3d4h",
        "   20              50.0    12  1021   99.7         nginx: worker \\x1b[31mprocess",
        "   21               0.0     -     -      -         nginx: 日本",
        "+cron          1    0.0     -     -      -       0       -",
    ];
    for (line, want) in lines[3..8].iter().zip(want) {
        let bare = line.trim_end_matches(|c: char| ('▁'..='█').contains(&c) || c == ' ');
        assert_eq!(bare, want, "{lines:?}");
    }
    // Sorted by a column that processes do not have.
    let mut sorted = String::new();
    while !sorted.contains(" OLDESTv ") {
        press(&mut app, &[KeyCode::Char('s')]);
        sorted = screen(&mut app, 80, 24)[3].clone();
    }
    assert!(screen(&mut app, 80, 24)[5].starts_with("   20"));
    press(&mut app, &[KeyCode::Char('r')]);
    assert!(screen(&mut app, 80, 24)[3].contains(" OLDEST^ "));
    // The first of the columns is left out, then the last one chosen that was not.
    press(&mut app, &[KeyCode::Char('c'), KeyCode::Char(' '), KeyCode::End, KeyCode::Char(' ')]);
    assert!(screen(&mut app, 80, 24).iter().any(|line| line.starts_with("[x] cancelled_write_")));
    press(&mut app, &[KeyCode::Esc]);
    let heading = screen(&mut app, 100, 24)[3].clone();
    assert!(!heading.contains("%CPU") && heading.contains(" CANCELLED/S "), "{heading}");
}

#[test]
fn selected_line_is_visible() {
    let mut app = app();
    press(&mut app, &[KeyCode::Char(' '), KeyCode::End]);
    let lines = screen(&mut app, 80, 6);
    assert!(lines[4].starts_with("+cron"), "{lines:?}");
    press(&mut app, &[KeyCode::Home]);
    assert!(screen(&mut app, 80, 6)[3].starts_with("-nginx"));
}

#[test]
fn sorts_and_reverses() {
    let mut app = app();
    let first = |app: &mut App| screen(app, 80, 24)[4].clone();
    let status = |app: &mut App| screen(app, 80, 24)[2].clone();
    assert!(first(&mut app).starts_with("+nginx"));
    assert_eq!(status(&mut app), "images by %CPU, descending");
    press(&mut app, &[KeyCode::Char('r')]);
    assert!(first(&mut app).starts_with("+cron"));
    assert_eq!(status(&mut app), "images by %CPU, ascending");
    press(&mut app, &[KeyCode::Char('r'), KeyCode::Char('S'), KeyCode::Char('S')]);
    assert!(first(&mut app).starts_with("+cron"));
    assert!(screen(&mut app, 80, 24)[3].starts_with("IMAGEv "));
    assert_eq!(status(&mut app), "images by IMAGE, ascending");
    press(&mut app, &[KeyCode::Char('s'), KeyCode::Char('s'), KeyCode::Char('s')]);
    assert!(screen(&mut app, 80, 24)[3].contains(" RSSv "));
    // The order remains in another view that has the column.
    press(&mut app, &[KeyCode::Char('2')]);
    assert_eq!(status(&mut app), "processes by RSS, descending");
}

#[test]
fn filters_incrementally() {
    let mut app = app();
    press(&mut app, &[KeyCode::Char('/'), KeyCode::Char('C'), KeyCode::Char('r')]);
    let lines = screen(&mut app, 80, 24);
    assert!(lines[4].starts_with("+cron") && lines[5].is_empty(), "{lines:?}");
    assert_eq!(lines[23], "filter: Cr_");
    // By a command line.
    press(&mut app, &[KeyCode::Backspace, KeyCode::Backspace, KeyCode::Char('日')]);
    assert!(screen(&mut app, 80, 24)[4].starts_with("+nginx"));
    press(&mut app, &[KeyCode::Enter]);
    let lines = screen(&mut app, 80, 24);
    assert!(lines[2].ends_with(", filter: 日 (1 line, esc clears)"), "{lines:?}");
    press(&mut app, &[KeyCode::Char('2')]);
    let lines = screen(&mut app, 80, 24);
    assert!(lines[4].ends_with("nginx: 日本") && lines[5].is_empty(), "{lines:?}");
    press(&mut app, &[KeyCode::Char('1'), KeyCode::Esc]);
    assert!(screen(&mut app, 80, 24)[5].starts_with("+cron"));
    press(&mut app, &[KeyCode::Char('/'), KeyCode::Char('q'), KeyCode::Char('x')]);
    assert!(screen(&mut app, 80, 24)[4].is_empty());
    press(&mut app, &[KeyCode::Esc, KeyCode::Down]);
}

/// Letters with ctrl used to be inserted: ctrl-h, which some terminals send for
/// backspace, inserted an `h`.
#[test]
fn control_keys_edit_the_filter() {
    let mut app = app();
    press(&mut app, &[KeyCode::Char('/')]);
    let mut typed = |keys: &str, modifiers| {
        for key in keys.chars() {
            assert_eq!(app.key(KeyEvent::new(KeyCode::Char(key), modifiers)), Next::Continue);
        }
        app.filter.clone()
    };
    assert_eq!(typed("one two\u{3000}日本 ", KeyModifiers::NONE), "one two\u{3000}日本 ");
    assert_eq!(typed("w", KeyModifiers::CONTROL), "one two\u{3000}");
    assert_eq!(typed("w", KeyModifiers::CONTROL), "one ");
    assert_eq!(typed("h", KeyModifiers::CONTROL), "one");
    assert_eq!(typed("akq", KeyModifiers::CONTROL), "one");
    assert_eq!(typed("hux", KeyModifiers::ALT), "one");
    assert_eq!(typed("S", KeyModifiers::SHIFT), "oneS");
    assert_eq!(typed("u", KeyModifiers::CONTROL), "");
    assert_eq!(typed("hw", KeyModifiers::CONTROL), "");
    // Outside of the filter they have no effect.
    press(&mut app, &[KeyCode::Esc]);
    for key in ['q', 'p', '/', 'h'] {
        app.key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL));
    }
    let lines = screen(&mut app, 80, 24);
    assert!(lines[0].starts_with("2023-") && lines[3].ends_with(" CPU 0-100 %"), "{lines:?}");
    assert!(lines[23].starts_with("q quit"), "{lines:?}");
}

/// A command line used to be cut off at the edge of the screen.
#[test]
fn long_lines_of_a_report_are_wrapped() {
    let mut app = app();
    let long: String = (0..100).map(|number| format!("arg{number:02} ")).collect();
    let lines = ["process 7".to_owned(), long, "identity".to_owned()];
    app.mode = Mode::Page(Page::new(&lines.join("\n")));
    let rows = screen(&mut app, 80, 24);
    assert_eq!(rows[0], "process 7");
    assert!(rows[1].starts_with("arg00 ") && rows[8].ends_with("arg99"), "{rows:?}");
    assert_eq!(rows[9], "identity");
    press(&mut app, &[KeyCode::Down, KeyCode::Down]);
    assert!(screen(&mut app, 80, 24)[0].starts_with(&rows[2]));
    press(&mut app, &[KeyCode::End]);
    assert_eq!(screen(&mut app, 80, 24)[0], "identity");
    // A wider screen has fewer rows.
    assert_eq!(screen(&mut app, 1000, 24)[0], "identity");
    press(&mut app, &[KeyCode::Up]);
    assert!(screen(&mut app, 1000, 24)[0].starts_with("arg00"));
}

#[test]
fn expands_and_opens_a_page() {
    let mut app = app();
    press(&mut app, &[KeyCode::Enter]);
    let lines = screen(&mut app, 80, 24);
    assert!(lines[4].starts_with("-nginx") && lines[5].starts_with("   20"), "{lines:?}");
    press(&mut app, &[KeyCode::Left]);
    assert!(screen(&mut app, 80, 24)[5].starts_with("+cron"));
    press(&mut app, &[KeyCode::Enter, KeyCode::Down, KeyCode::Enter]);
    // It is read in another thread.
    let lines = screen(&mut app, 80, 24);
    assert!(lines[0] == "process 20" && lines[23].starts_with("reading …"), "{lines:?}");
    press(&mut app, &[KeyCode::Esc]);
    assert!(screen(&mut app, 80, 24)[3].starts_with("IMAGE"));
}

#[test]
fn pause_freezes_the_table() {
    let mut app = app();
    press(&mut app, &[KeyCode::Char('p')]);
    app.set_snapshot(snapshot(75.0), Duration::ZERO);
    let lines = screen(&mut app, 80, 24);
    assert!(lines[0].starts_with("PAUSED  2023-"), "{}", lines[0]);
    assert!(lines[0].ends_with("CPU 50.0 %, RSS 12.0M"), "{}", lines[0]);
    press(&mut app, &[KeyCode::Char('p')]);
    app.set_snapshot(snapshot(75.0), Duration::ZERO);
    assert!(screen(&mut app, 80, 24)[0].ends_with("CPU 75.0 %, RSS 12.0M"));
}

/// All rows have the same scale: an image with half of the memory has half of the bar.
#[test]
fn histories_switch_and_end_with_their_image() {
    let mut app = app();
    app.settings.plots = false;
    press(&mut app, &[KeyCode::Char('h')]);
    let lines = screen(&mut app, 80, 24);
    assert!(lines[3].ends_with(" MEMORY 0-10M") && lines[4].ends_with("▇▇"), "{lines:?}");
    assert!(lines[5].ends_with("▃▃"), "{lines:?}");
    press(&mut app, &[KeyCode::Char('h')]);
    let lines = screen(&mut app, 80, 24);
    assert!(lines[3].ends_with(" IO 0-5K") && lines[4].ends_with("▅▅"), "{lines:?}");
    let mut more = snapshot(1.0);
    more.images[1].numbers.tcp = Some(19);
    app.set_snapshot(more, Duration::ZERO);
    press(&mut app, &[KeyCode::Char('h')]);
    let lines = screen(&mut app, 80, 24);
    // 4 of 20, now 20.
    assert!(lines[3].ends_with(" CONN 0-20") && lines[4].ends_with("▂▂█"), "{lines:?}");
    let mut without_cron = snapshot(1.0);
    without_cron.images.remove(0);
    app.set_snapshot(without_cron, Duration::ZERO);
    assert_eq!(app.histories().collect::<Vec<_>>(), ["nginx"]);
}

#[test]
fn help_and_quit() {
    let mut app = app();
    press(&mut app, &[KeyCode::Char('?')]);
    assert!(screen(&mut app, 80, 24)[0].starts_with("q, ctrl-c"));
    // It can be scrolled to its end.
    press(&mut app, &[KeyCode::PageDown, KeyCode::PageDown, KeyCode::PageDown]);
    assert!(screen(&mut app, 80, 24)[22].contains("one scale for all rows"));
    press(&mut app, &[KeyCode::Char('q')]);
    assert!(screen(&mut app, 80, 24)[3].starts_with("IMAGE"));
    let quit = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
    assert_eq!(app.key(quit), Next::Quit);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    press(&mut app, &[KeyCode::Char('/')]);
    assert_eq!(app.key(interrupt), Next::Quit);
}
