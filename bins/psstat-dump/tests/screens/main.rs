//! The screens of the live view as text, at several sizes, and its keys.

mod drawing;
mod keys;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use psstat_dump::measure::Snapshot;
use psstat_dump::table::row::{Growth, ProcessId, Row};
use psstat_dump::top::app::Next;
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
