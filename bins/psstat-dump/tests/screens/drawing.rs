//! The drawing: sizes, colors, marks, and the places that the mouse finds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crossterm::event::{KeyCode, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use psstat_dump::top::app::Mode;
use psstat_dump::top::host::Host;
use psstat_dump::top::page::Page;
use psstat_dump::top::theme::Theme;
use psstat_dump::top::{App, view};
use psstat_sampler::IoCounters;
use psstat_testproc::expected_file;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};

use crate::{app, image, press, process, screen, snapshot};

/// Images that differ in everything that has a style, in several windows.
fn busy_app() -> App {
    let mut app = App::new(PathBuf::from("/proc"));
    app.theme = Theme { has_color: true, ..Theme::default() };
    for window in 0..8_u64 {
        let at = window as f64;
        let mut one = snapshot(20.0 + 10.0 * at);
        one.time += Duration::from_secs(window);
        one.images.push(image("orders-service", 1, 240.0, (100 + 20 * window) << 20));
        one.images.push(image("a-name-that-is-longer-than-its-column", 1, 1.5, 5 << 20));
        let mut worker = process("orders-service", 300, 240.0, b"java -Xmx1g -jar /srv/orders.jar");
        worker.numbers.rss = Some((100 + 20 * window) << 20);
        worker.id.as_mut().unwrap().ppid = 21;
        one.processes.push(worker);
        let mut long = process("a-name-that-is-longer-than-its-column", 4_000_001, 1.5, b"x");
        let id = long.id.as_mut().unwrap();
        (id.command_line, id.ppid) = ("\u{202e}long ".repeat(40).into_bytes(), 300);
        one.processes.push(long);
        // One that exits, and one that starts.
        if window < 6 {
            one.processes.push(process("nginx", 22, 0.0, b"nginx: old worker"));
        } else {
            one.processes.push(process("nginx", 23, 0.0, b"nginx: new worker"));
        }
        for (number, row) in one.processes.iter_mut().enumerate() {
            let id = row.id.as_mut().unwrap();
            id.owner =
                Some(if number % 2 == 0 { b"root".to_vec() } else { b"www\x1b-data".to_vec() });
            id.state = Some(b'S');
            row.numbers.oldest = Some(Duration::from_secs(3600 * (number as u64 + 1)));
        }
        for row in one.images.iter_mut().chain(&mut one.processes) {
            let numbers = &mut row.numbers;
            (numbers.fds, numbers.threads) = (Some(17), Some(4));
            row.growth.io = Some((IoCounters { write_bytes: 3 << 20, ..done() }, 1.0));
        }
        app.host = Some(Host {
            load: Some([0.42, 1.66, 11.69]),
            cpu_percent: Some(62.0),
            cores: vec![100.0, 24.0],
            memory: Some((8 << 30, 1 << 30)),
            swap: Some((1 << 30, 1 << 29)),
        });
        app.set_snapshot(one, Duration::from_millis(12));
    }
    app
}

fn done() -> IoCounters {
    IoCounters { rchar: 2048, wchar: 512, ..IoCounters::default() }
}

const PAGE: &str = "process 300\n\nsummary\n  exe     /usr/bin/java\n  images  orders-service\n\n\
    identity\n  command line  java -Xmx1g -jar /srv/orders.jar --with a very long list of arguments \
    that does not fit into a line of a usual terminal\n";

/// The screens of each size, as files.
#[test]
fn screens_of_several_sizes() {
    for (width, height) in [(60, 15), (80, 24), (120, 40), (220, 60)] {
        let mut app = busy_app();
        let mut text = String::new();
        let mut add = |app: &mut App, title: &str, keys: &[KeyCode]| {
            press(app, keys);
            let lines = screen(app, width, height);
            assert_eq!(lines.len(), usize::from(height));
            assert!(!lines.concat().contains(['\u{1b}', '\u{202e}']));
            text.push_str(&format!("=== {title}\n{}\n", lines.join("\n")));
        };
        let letter = KeyCode::Char;
        add(&mut app, "images", &[]);
        add(&mut app, "images, one expanded", &[KeyCode::Down, letter(' ')]);
        add(&mut app, "processes", &[letter('2')]);
        add(&mut app, "tree", &[letter('3')]);
        add(&mut app, "filter", &[letter('2'), letter('/'), letter('n'), letter('g')]);
        add(&mut app, "signal", &[KeyCode::Enter, KeyCode::Home, letter('x')]);
        add(&mut app, "columns", &[KeyCode::Esc, letter('c')]);
        add(&mut app, "keys", &[KeyCode::Esc, letter('?')]);
        app.mode = Mode::Page(Page::new(PAGE));
        add(&mut app, "process", &[letter('/'), letter('j'), letter('a'), letter('r')]);
        expected_file::assert(
            Path::new(env!("CARGO_MANIFEST_DIR")),
            &format!("tests/screens/top-{width}x{height}.txt"),
            &text,
        );
    }
}

/// The style of the first cell of this text.
fn style_of(app: &mut App, text: &str) -> (Color, Modifier) {
    let (width, height) = (120, 40);
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, app)).unwrap();
    let buffer = terminal.backend().buffer();
    for y in 0..height {
        for x in 0..width {
            let mut symbols = (x..width).map(|x| buffer[(x, y)].symbol());
            if text.chars().all(|c| symbols.next().is_some_and(|symbol| symbol == c.to_string())) {
                return (buffer[(x, y)].fg, buffer[(x, y)].modifier);
            }
        }
    }
    panic!("no {text:?}");
}

#[test]
fn colors_have_meanings() {
    let strong = Modifier::BOLD | Modifier::UNDERLINED;
    for has_color in [true, false] {
        let mut app = busy_app();
        app.theme.has_color = has_color;
        press(&mut app, &[KeyCode::Char('2'), KeyCode::Down]);
        let color = |color| if has_color { color } else { Color::Reset };
        assert_eq!(style_of(&mut app, " 240.0"), (color(Color::Red), strong));
        assert_eq!(style_of(&mut app, "↑"), (color(Color::Magenta), Modifier::BOLD));
        assert_eq!(style_of(&mut app, "*"), (color(Color::Green), Modifier::BOLD));
        assert_eq!(style_of(&mut app, "nginx: old"), (Color::Reset, Modifier::DIM));
        assert_eq!(style_of(&mut app, "java -Xmx1g"), (Color::Reset, Modifier::empty()));
    }
    // Without attributes, the selected line has a mark.
    let mut app = busy_app();
    app.theme = Theme { has_color: false, has_attributes: false, is_unicode: false };
    let lines = screen(&mut app, 120, 40);
    assert!(lines[5].starts_with(">orders-service"), "{lines:?}");
    assert!(lines.concat().is_ascii(), "{lines:?}");
    for (x, y) in [(0, 5), (50, 5), (0, 0), (30, 4)] {
        let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
        terminal.draw(|frame| view::draw(frame, &mut app)).unwrap();
        let cell = &terminal.backend().buffer()[(x, y)];
        assert_eq!((cell.fg, cell.modifier), (Color::Reset, Modifier::empty()), "{x},{y}");
    }
}

/// An image, a process or a heading is found where it was drawn.
#[test]
fn mouse_selects_sorts_and_opens() {
    let mut app = busy_app();
    let click = |app: &mut App, column: u16, row: u16| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        app.mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE });
    };
    let lines = screen(&mut app, 120, 40);
    let at = |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap() as u16;
    click(&mut app, 1, at("+nginx"));
    click(&mut app, 1, at("+nginx"));
    assert!(screen(&mut app, 120, 40).iter().any(|line| line.starts_with("   20")));
    let heading = at("IMAGE");
    let rss = lines[usize::from(heading)].find("RSS").unwrap() as u16;
    click(&mut app, rss, heading);
    let lines = screen(&mut app, 120, 40);
    assert!(lines[3].starts_with("images by RSS, descending"), "{lines:?}");
    assert!(lines[4].contains(" RSSv "), "{lines:?}");
    click(&mut app, rss, heading);
    assert!(screen(&mut app, 120, 40)[3].starts_with("images by RSS, ascending"));
    // Below the list and outside of the screen.
    for (column, row) in [(0, 39), (500, 0), (0, u16::MAX), (u16::MAX, heading)] {
        click(&mut app, column, row);
    }
    let wheel = MouseEvent {
        kind: MouseEventKind::ScrollDown,
        column: 0,
        row: 0,
        modifiers: KeyModifiers::NONE,
    };
    press(&mut app, &[KeyCode::Home]);
    app.mouse(wheel);
    let before = screen(&mut app, 120, 40);
    press(&mut app, &[KeyCode::Home, KeyCode::Down, KeyCode::Down, KeyCode::Down]);
    assert_eq!(screen(&mut app, 120, 40), before);
}

#[test]
fn signals_need_a_process_and_a_question() {
    let mut app = busy_app();
    let footer = |app: &mut App| screen(app, 120, 40).pop().unwrap();
    press(&mut app, &[KeyCode::Home, KeyCode::Char('x')]);
    assert_eq!(footer(&mut app), "select a process; space expands an image");
    press(&mut app, &[KeyCode::Char('2'), KeyCode::Char('x'), KeyCode::Char('Z'), KeyCode::Enter]);
    assert_eq!(footer(&mut app), "no signal `Z`");
    press(&mut app, &[KeyCode::Char('x'), KeyCode::Char('9'), KeyCode::Enter]);
    assert!(footer(&mut app).starts_with("send SIGKILL (9) to process 300? y: yes"));
    press(&mut app, &[KeyCode::Enter]);
    assert_eq!(footer(&mut app), "no signal was sent");
    // One that has exited.
    press(&mut app, &[KeyCode::End, KeyCode::Char('x')]);
    assert_eq!(footer(&mut app), "select a process; space expands an image");
    app.settings.signals = false;
    press(&mut app, &[KeyCode::Home, KeyCode::Char('x')]);
    assert_eq!(footer(&mut app), "signals are switched off");
}

#[test]
fn windows_change_their_length() {
    let mut app = app();
    for (key, want) in [('+', 2.0), ('+', 3.0), ('-', 2.0), ('-', 1.0), ('-', 0.5), ('-', 0.2)] {
        press(&mut app, &[KeyCode::Char(key)]);
        assert_eq!(app.interval, Duration::from_secs_f64(want));
    }
    press(&mut app, &[KeyCode::Char('-')]);
    assert!(screen(&mut app, 120, 24)[1].ends_with("windows of 0.2 s"));
}

#[test]
fn any_size_is_drawn() {
    let mut app = busy_app();
    for keys in [&[][..], &[KeyCode::Char(' ')], &[KeyCode::Char('2')], &[KeyCode::Char('3')]] {
        press(&mut app, keys);
        for (width, height) in
            [(1, 1), (1, 50), (5, 2), (80, 1), (80, 2), (80, 3), (10, 50), (40, 6), (300, 100)]
        {
            screen(&mut app, width, height);
        }
    }
    for key in ['?', 'c'] {
        press(&mut app, &[KeyCode::Char(key)]);
        for (width, height) in [(1, 1), (5, 2), (80, 1), (20, 3)] {
            screen(&mut app, width, height);
        }
        press(&mut app, &[KeyCode::Esc]);
    }
    let small = screen(&mut app, 40, 6);
    assert!(small[0].starts_with("2023-") && small[5].starts_with("q quit"), "{small:?}");
}

/// A process whose parent is not shown is at the top, and a match shows its ancestors.
#[test]
fn tree_shows_parents() {
    let mut app = busy_app();
    let commands = |app: &mut App| -> Vec<String> {
        let lines = screen(app, 120, 40);
        let of_process = |line: &String| line.contains("java") || line.contains("\\u{202e}");
        lines.into_iter().filter(of_process).collect()
    };
    press(&mut app, &[KeyCode::Char('3')]);
    let lines = commands(&mut app);
    assert!(lines[0].contains(" └─java -Xmx1g"), "{lines:?}");
    assert!(lines[1].contains("   └─\\u{202e}long"), "{lines:?}");
    press(&mut app, &[KeyCode::Char('/'), KeyCode::Char('w'), KeyCode::Char('o')]);
    press(&mut app, &[KeyCode::Backspace, KeyCode::Backspace]);
    for letter in "long-er".chars().take(4) {
        press(&mut app, &[KeyCode::Char(letter)]);
    }
    let lines = screen(&mut app, 120, 40);
    assert!(lines[5].contains("nginx: 日本") && lines[6].contains("java"), "{lines:?}");
    press(&mut app, &[KeyCode::Enter, KeyCode::Down, KeyCode::Char(' ')]);
    let lines = screen(&mut app, 120, 40);
    assert!(lines[6].contains("+java") && !lines[7].contains("long"), "{lines:?}");
}
