//! The screens of the live view as text, at several sizes, and its keys.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use psstat_dump::measure::Snapshot;
use psstat_dump::table::row::{Growth, ProcessId, Row};
use psstat_dump::top::app::{Mode, Next};
use psstat_dump::top::{App, view};
use psstat_sampler::{Health, IoCounters, Usage};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

fn row(images: Vec<String>, id: Option<ProcessId>, procs: u64, pcpu: f64, rss: u64) -> Row {
    let mut numbers = Usage::default();
    (numbers.processes, numbers.cpu_percent, numbers.rss) = (procs, Some(pcpu), Some(rss));
    (numbers.tcp, numbers.udp, numbers.unix) = (Some(3), Some(0), Some(1));
    let done = IoCounters { rchar: 2048, wchar: 512, ..IoCounters::default() };
    let growth = Growth { io: Some((done, 1.0)), ..Growth::default() };
    Row { images, id, numbers, growth }
}

fn process(image: &str, pid: u32, pcpu: f64, command_line: &[u8]) -> Row {
    let id = ProcessId {
        pid,
        ppid: 1,
        starttime: 5,
        command_line: command_line.to_vec(),
        ..ProcessId::default()
    };
    row(vec![image.to_owned()], Some(id), 1, pcpu, 1 << 20)
}

fn image(name: &str, procs: u64, pcpu: f64, rss: u64) -> Row {
    row(vec![name.to_owned()], None, procs, pcpu, rss)
}

fn snapshot(pcpu: f64) -> Snapshot {
    Snapshot {
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        window: Some(Duration::from_secs(1)),
        images: vec![image("cron", 1, 0.0, 3 << 20), image("nginx", 2, pcpu, 9 << 20)],
        processes: vec![
            process("cron", 7, 0.0, b"/usr/sbin/cron -f"),
            process("nginx", 20, pcpu, b"nginx: worker \x1b[31mprocess"),
            process("nginx", 21, 0.0, "nginx: 日本".as_bytes()),
        ],
        total: row(Vec::new(), None, 3, pcpu, 12 << 20),
        health: Health::default(),
    }
}

fn app() -> App {
    let mut app = App::new(PathBuf::from("/proc"));
    app.set_snapshot(snapshot(25.0), Duration::from_millis(12));
    app.set_snapshot(snapshot(50.0), Duration::from_millis(12));
    app
}

fn press(app: &mut App, keys: &[KeyCode]) {
    for &code in keys {
        assert_eq!(app.key(KeyEvent::new(code, KeyModifiers::NONE)), Next::Continue);
    }
}

/// The lines of the screen without trailing spaces.
fn screen(app: &mut App, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, app)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y: u16| -> String {
        let mut line = String::new();
        let mut x = 0;
        while x < width {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            // A wide character takes two cells.
            x += if symbol.chars().all(|c| c < '\u{2e80}') { 1 } else { 2 };
        }
        line.trim_end().to_owned()
    };
    (0..height).map(row).collect()
}

#[test]
fn eighty_by_twenty_four() {
    let lines = screen(&mut app(), 80, 24);
    assert_eq!(lines.len(), 24);
    let want = [
        "2023-11-14T22:13:20Z  3 processes, 2 images, CPU 50.0 %, RSS 12.0M",
        "overhead: 12.0 ms CPU in 1.00 s (1.2 %)",
        "IMAGE             PROCS           %CPUv    RSS  RCHAR/S  WCHAR/S  CONN CPU",
        "+nginx                2 ####....   50.0   9.0M     2.0K     512B     4       ▃▅",
        "+cron                 1 ........    0.0   3.0M     2.0K     512B     4       ▁▁",
    ];
    assert_eq!(lines[..5], want);
    assert!(lines[5..23].iter().all(String::is_empty));
    assert_eq!(
        lines[23],
        "q quit  / filter  s sort  space expand  enter open  c columns  h history  ? help"
    );
}

#[test]
fn columns_switch() {
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
    press(&mut app, &[KeyCode::Char('c'), KeyCode::Char(' ')]);
    let lines = screen(&mut app, 80, 24);
    let want = [
        "IMAGE             PROCS  %CPUv  THR   FDS   FD%  STARTS  EXITS  OLDEST CPU",
        "-nginx                2   50.0   12  1021  99.7    1234   1230    3d4h      ▃▅▅",
        "   20                 1   50.0   12  1021  99.7                   3d4h nginx: w…",
        "   21                 1    0.0    -     -     -                      - nginx: …",
        "+cron                 1    0.0    -     -     -       0      0       -      ▁▁▁",
    ];
    assert_eq!(lines[2..7], want);
    // Sorted by a column that processes do not have.
    let mut sorted = String::new();
    while !sorted.contains(" OLDESTv ") {
        press(&mut app, &[KeyCode::Char('s')]);
        sorted = screen(&mut app, 80, 24)[2].clone();
    }
    assert!(screen(&mut app, 80, 24)[4].starts_with("   20"));
    press(&mut app, &[KeyCode::Char('r')]);
    assert!(screen(&mut app, 80, 24)[2].contains(" OLDEST^ "));
    press(&mut app, &[KeyCode::Char('c')]);
    assert!(screen(&mut app, 80, 24)[2].contains(" RCHAR/S "));
}

#[test]
fn other_sizes_fit() {
    let mut app = app();
    press(&mut app, &[KeyCode::Char(' ')]);
    let wide = screen(&mut app, 120, 30);
    assert!(
        wide[3].starts_with("-nginx                           2 ####....   50.0"),
        "{}",
        wide[3]
    );
    assert!(wide[3].ends_with("▃▅"));
    assert!(wide[4].ends_with("nginx: worker \\x1b[31mprocess"), "{}", wide[4]);
    assert!(wide[5].ends_with("nginx: 日本"), "{}", wide[5]);
    let small = screen(&mut app, 40, 6);
    assert!(small[3].starts_with("-nginx       2 ####....   50.0"), "{small:?}");
    assert!(small[5].starts_with("q quit"), "{small:?}");
    for (width, height) in [(1, 1), (5, 2), (80, 1), (10, 50), (300, 100)] {
        screen(&mut app, width, height);
    }
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
    let first = |app: &mut App| screen(app, 80, 24)[3].clone();
    assert!(first(&mut app).starts_with("+nginx"));
    press(&mut app, &[KeyCode::Char('r')]);
    assert!(first(&mut app).starts_with("+cron"));
    press(&mut app, &[KeyCode::Char('r'), KeyCode::Char('S')]);
    assert!(first(&mut app).starts_with("+cron"));
    assert!(screen(&mut app, 80, 24)[2].starts_with("IMAGEv "));
    press(&mut app, &[KeyCode::Char('s'), KeyCode::Char('s')]);
    assert!(screen(&mut app, 80, 24)[2].contains(" RSSv "));
}

#[test]
fn filters_incrementally() {
    let mut app = app();
    press(&mut app, &[KeyCode::Char('/'), KeyCode::Char('C'), KeyCode::Char('r')]);
    let lines = screen(&mut app, 80, 24);
    assert!(lines[3].starts_with("+cron") && lines[4].is_empty(), "{lines:?}");
    assert_eq!(lines[23], "filter: Cr_");
    // By a command line.
    press(&mut app, &[KeyCode::Backspace, KeyCode::Backspace, KeyCode::Char('日')]);
    assert!(screen(&mut app, 80, 24)[3].starts_with("+nginx"));
    press(&mut app, &[KeyCode::Enter]);
    assert!(screen(&mut app, 80, 24)[23].starts_with("filter: 日  (esc clears)"));
    press(&mut app, &[KeyCode::Esc]);
    assert!(screen(&mut app, 80, 24)[4].starts_with("+cron"));
    press(&mut app, &[KeyCode::Char('/'), KeyCode::Char('q'), KeyCode::Char('x')]);
    assert!(screen(&mut app, 80, 24)[3].is_empty());
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
    assert!(lines[0].starts_with("2023-") && lines[2].ends_with(" CPU"), "{lines:?}");
    assert!(lines[23].starts_with("q quit"), "{lines:?}");
}

/// A command line used to be cut off at the edge of the screen.
#[test]
fn long_lines_of_a_report_are_wrapped() {
    let mut app = app();
    let long: String = (0..100).map(|number| format!("arg{number:02} ")).collect();
    let lines = vec!["process 7".to_owned(), long, "identity".to_owned()];
    app.mode = Mode::Report { lines, first: 0 };
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
fn expands_and_opens_a_report() {
    let mut app = app();
    press(&mut app, &[KeyCode::Enter]);
    let lines = screen(&mut app, 80, 24);
    assert!(lines[3].starts_with("-nginx") && lines[4].starts_with("   20"), "{lines:?}");
    press(&mut app, &[KeyCode::Left]);
    assert!(screen(&mut app, 80, 24)[4].starts_with("+cron"));

    // A real process.
    let pid = std::process::id();
    let mut real = snapshot(1.0);
    real.processes = vec![process("cron", pid, 0.0, b"self")];
    app.set_snapshot(real, Duration::ZERO);
    press(&mut app, &[KeyCode::End, KeyCode::Enter, KeyCode::Down, KeyCode::Enter]);
    let lines = screen(&mut app, 80, 24);
    assert_eq!(lines[0], format!("process {pid}"));
    assert_eq!(lines[2], "summary");
    press(&mut app, &[KeyCode::Down, KeyCode::Down]);
    assert_eq!(screen(&mut app, 80, 24)[0], "summary");
    press(&mut app, &[KeyCode::Esc]);
    assert!(screen(&mut app, 80, 24)[2].starts_with("IMAGE"));
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

#[test]
fn histories_switch_and_end_with_their_image() {
    let mut app = app();
    press(&mut app, &[KeyCode::Char('h')]);
    let lines = screen(&mut app, 80, 24);
    assert!(lines[2].ends_with(" MEMORY") && lines[3].ends_with("██"), "{lines:?}");
    press(&mut app, &[KeyCode::Char('h')]);
    let lines = screen(&mut app, 80, 24);
    assert!(lines[2].ends_with(" IO") && lines[3].ends_with("██"), "{lines:?}");
    let mut more = snapshot(1.0);
    more.images[1].numbers.tcp = Some(8);
    app.set_snapshot(more, Duration::ZERO);
    press(&mut app, &[KeyCode::Char('h')]);
    let lines = screen(&mut app, 80, 24);
    // 4 of now 9.
    assert!(lines[2].ends_with(" CONN") && lines[3].ends_with("▄▄█"), "{lines:?}");
    let mut without_cron = snapshot(1.0);
    without_cron.images.remove(0);
    app.set_snapshot(without_cron, Duration::ZERO);
    assert_eq!(app.histories.keys().collect::<Vec<_>>(), ["nginx"]);
}

#[test]
fn help_and_quit() {
    let mut app = app();
    press(&mut app, &[KeyCode::Char('?')]);
    assert!(screen(&mut app, 80, 24)[0].starts_with("up, down, j, k"));
    press(&mut app, &[KeyCode::Char('q')]);
    assert!(screen(&mut app, 80, 24)[2].starts_with("IMAGE"));
    let quit = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
    assert_eq!(app.key(quit), Next::Quit);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    press(&mut app, &[KeyCode::Char('/')]);
    assert_eq!(app.key(interrupt), Next::Quit);
}
