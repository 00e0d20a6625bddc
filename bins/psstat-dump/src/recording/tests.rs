//! Recordings of made-up and of real windows, and files that are cut, damaged or too large.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use psstat_sampler::{Health, IoCounters, Usage};
use psstat_testproc::TempDir;

use super::decode::Decoder;
use super::encode::{Encoder, ExitReport};
use super::fields::FIELDS;
use super::reader::ReadError;
use super::{Bounds, ExitScope, FRAMES_PER_KEY, Meta, OpenError, Recorder, Recording, segments};
use crate::measure::{Measurer, Snapshot};
use crate::selector::{Selector, Source};
use crate::table::columns::{self, Level};
use crate::table::row::{CommName, Growth, ProcessId, Row};
use crate::table::units::Style;
use crate::table::{TableStyle, csv, json, render};
use crate::terminal::Paint;

const UNBOUNDED: Bounds = Bounds { size: u64::MAX, keep: None };

/// Numbers that look random, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }

    fn value(&mut self) -> i64 {
        match self.below(6) {
            0 => 0,
            1 => self.below(10) as i64,
            2 => i64::MAX,
            3 => i64::MIN,
            _ => self.below(1 << 40) as i64,
        }
    }

    /// A row with some fields changed.
    fn change(&mut self, row: &mut Row, seconds: f64) {
        for _ in 0..self.below(4) {
            let field = &FIELDS[self.below(FIELDS.len() as u64) as usize];
            // Whole values are compared; CPU time is a number of nanoseconds in a float.
            let value = match field.name {
                "cpu_growth" | "oldest" | "youngest" => self.below(1 << 40) as i64,
                "uid" | "ppid" => self.below(1 << 20) as i64,
                "state" => i64::from(b'R'),
                "pcpu" | "fd_percent" => (self.below(1000) as f64 / 7.0).to_bits() as i64,
                "started" => 1_700_000_000_000_000_000 + self.below(1 << 40) as i64,
                _ => self.value(),
            };
            let id = row.id.is_some();
            if id || !["ppid", "uid", "state", "started"].contains(&field.name) {
                (field.set)(row, value);
            }
        }
        for seconds_of in [
            row.growth.io.as_mut().map(|(_, seconds)| seconds),
            row.growth.cpu.as_mut().map(|(_, seconds)| seconds),
            row.growth.switches.as_mut().map(|(_, seconds)| seconds),
            row.growth.faults.as_mut().map(|(_, seconds)| seconds),
        ]
        .into_iter()
        .flatten()
        {
            *seconds_of = seconds;
        }
    }

    fn process(&mut self, pid: u32) -> Row {
        let comm = match self.below(4) {
            0 => Some(CommName::Process(b"\xffname".to_vec())),
            1 => Some(CommName::KernelThread(b"kworker/0:1".to_vec())),
            _ => None,
        };
        let id = ProcessId {
            pid,
            starttime: self.below(1000),
            command_line: format!("program --number {pid} \u{1b}[31m</script>").into_bytes(),
            comm,
            ..ProcessId::default()
        };
        Row { images: self.images(), id: Some(id), ..Row::default() }
    }

    fn images(&mut self) -> Vec<String> {
        (0..self.below(3)).map(|_| format!("image-{}", self.below(5))).collect()
    }

    /// The window after this one.
    fn next(&mut self, before: &Snapshot) -> Snapshot {
        let mut next = copy(before);
        next.time += Duration::from_millis(1000 + self.below(20));
        next.window = Some(Duration::from_nanos(999_000_000 + self.below(1000)));
        let seconds = 1.0 + self.below(1000) as f64 / 3e6;
        next.health.matched = next.processes.len() as u64;
        next.health.denied.io = self.below(3);
        for _ in 0..self.below(3) {
            let pid = self.below(500) as u32;
            if next.processes.iter().all(|row| row.id.as_ref().unwrap().pid != pid) {
                let process = self.process(pid);
                next.processes.push(process);
            }
        }
        let count = next.processes.len();
        if count > 0 && (count > 20 || self.below(2) == 0) {
            let at = self.below(next.processes.len() as u64) as usize;
            next.processes.remove(at);
        }
        for name in (0..5).map(|number| format!("image-{number}")) {
            let at = next.images.iter().position(|row| row.images[0] == name);
            match (at, self.below(10)) {
                (Some(at), 0) => {
                    next.images.remove(at);
                }
                (None, 0..5) => {
                    next.images.push(Row { images: vec![name], ..Row::default() });
                }
                _ => {}
            }
        }
        if let Some(row) = next.processes.first_mut()
            && self.below(3) == 0
        {
            row.images = self.images();
            row.id.as_mut().unwrap().command_line.push(b'!');
        }
        let rows = next.images.iter_mut().chain(&mut next.processes);
        for row in rows.chain([&mut next.total]) {
            self.change(row, seconds);
            // Ages grow by the same time.
            row.numbers.oldest = row.numbers.oldest.map(|age| age + Duration::from_secs(1));
        }
        next
    }
}

fn copy(snapshot: &Snapshot) -> Snapshot {
    Snapshot {
        images: snapshot.images.clone(),
        processes: snapshot.processes.clone(),
        total: snapshot.total.clone(),
        ..*snapshot
    }
}

fn empty() -> Snapshot {
    Snapshot {
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        window: None,
        images: Vec::new(),
        processes: Vec::new(),
        total: Row::default(),
        health: Health::default(),
    }
}

/// Windows after each other.
fn history(length: usize, seed: u64) -> Vec<Snapshot> {
    let mut random = Random(seed);
    let mut all = vec![empty()];
    while all.len() < length {
        let next = random.next(all.last().unwrap());
        all.push(next);
    }
    all
}

/// Compares everything but the order of rows.
#[track_caller]
fn assert_same(found: &Snapshot, want: &Snapshot) {
    let key = |row: &Row| (row.id.as_ref().map(|id| (id.pid, id.starttime)), row.images.clone());
    let sorted = |rows: &[Row]| {
        let mut rows = rows.to_vec();
        rows.sort_by_key(key);
        // A growth of nothing has no time.
        rows
    };
    assert_eq!((found.time, found.window), (want.time, want.window));
    // The others are not in the table.
    assert_eq!(json::unread(&found.health), json::unread(&want.health));
    assert_eq!(found.health.matched, want.health.matched);
    assert_eq!(found.total, want.total);
    assert_eq!(sorted(&found.images), sorted(&want.images));
    assert_eq!(sorted(&found.processes), sorted(&want.processes));
}

fn meta() -> Meta {
    Meta::of_host(1.0, serde_json::json!({"source": "executable"}))
}

fn record(path: &Path, bounds: Bounds, windows: &[Snapshot]) {
    let mut recorder = Recorder::open(path, bounds, meta(), ExitScope::None).unwrap();
    for snapshot in windows {
        recorder.record(snapshot).unwrap();
    }
}

fn file() -> (TempDir, PathBuf) {
    let temp = TempDir::new().unwrap();
    let path = temp.join("recording");
    (temp, path)
}

#[test]
fn any_frame_is_what_was_recorded() {
    let (_temp, path) = file();
    let all = history(200, 7);
    record(&path, UNBOUNDED, &all);
    let mut recording = Recording::open(&path).unwrap();
    assert_eq!(recording.len(), all.len());
    for (number, want) in all.iter().enumerate() {
        assert_eq!(recording.time(number), Some(want.time));
        assert_same(&recording.frame(number).unwrap().snapshot, want);
    }
    // In any order, and the same one again.
    let mut random = Random(3);
    for _ in 0..50 {
        let number = random.below(all.len() as u64) as usize;
        assert_same(&recording.frame(number).unwrap().snapshot, &all[number]);
        assert_same(&recording.frame(number).unwrap().snapshot, &all[number]);
    }
    assert_eq!(recording.find(all[9].time), Some(9));
    assert_eq!(recording.find(all[9].time + Duration::from_millis(500)), Some(9));
    assert_eq!(recording.find(all[0].time - Duration::from_secs(1)), None);
    assert_eq!(recording.damaged(), 0);
    // The exits are the processes that are missing in the next frame.
    for (number, pair) in all.windows(2).enumerate() {
        let pid = |row: &Row| row.id.as_ref().map(|id| id.pid).unwrap();
        let rest: Vec<u32> = pair[1].processes.iter().map(pid).collect();
        let mut want: Vec<u32> = pair[0].processes.iter().map(pid).collect();
        want.retain(|pid| !rest.contains(pid));
        let exits = recording.frame(number + 1).unwrap().exits;
        let mut found: Vec<u32> = exits.exits.iter().map(|exit| exit.id.pid).collect();
        want.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, want);
        assert!(!exits.are_reported);
    }
}

#[test]
fn recorder_continues_after_a_torn_end() {
    let (_temp, path) = file();
    let all = history(6, 8);
    record(&path, UNBOUNDED, &all[..3]);
    let complete = std::fs::read(&path).unwrap();
    record(&path, UNBOUNDED, &all[3..4]);
    let longer = std::fs::read(&path).unwrap();
    // Killed at any byte of a write, the first one included.
    for length in 0..=longer.len() {
        std::fs::write(&path, &longer[..length]).unwrap();
        let frames = match Recording::open(&path) {
            Ok(recording) => recording.len(),
            Err(ReadError::Empty) => 0,
            Err(error) => panic!("{length}: {error}"),
        };
        if length >= complete.len() {
            assert_eq!(frames, if length == longer.len() { 4 } else { 3 });
        }
        record(&path, UNBOUNDED, &all[4..]);
        let mut recording = Recording::open(&path).unwrap();
        assert_eq!(recording.len(), frames + 2, "{length}");
        for (number, want) in (0..frames).chain(4..6).enumerate() {
            assert_same(&recording.frame(number).unwrap().snapshot, &all[want]);
        }
        assert_eq!(recording.damaged(), 0);
    }
}

#[test]
fn damage_costs_the_frames_up_to_the_next_key_frame() {
    let (_temp, path) = file();
    let length = 3 * FRAMES_PER_KEY as usize;
    let all = history(length, 9);
    record(&path, UNBOUNDED, &all);
    let bytes = std::fs::read(&path).unwrap();
    let mut random = Random(5);
    for _ in 0..10 {
        let at = 12 + random.below(bytes.len() as u64 - 12) as usize;
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << random.below(8);
        std::fs::write(&path, &damaged).unwrap();
        let Ok(mut recording) = Recording::open(&path) else {
            // The meta block.
            continue;
        };
        let mut found = 0;
        for number in 0..recording.len() {
            if let Some(frame) = recording.frame(number) {
                let want = all.iter().find(|one| one.time == frame.snapshot.time).unwrap();
                assert_same(&frame.snapshot, want);
                found += 1;
            }
        }
        assert!(found >= length - FRAMES_PER_KEY as usize, "{at}: {found}");
    }
}

#[test]
fn invalid_frames_are_errors() {
    let fields: Vec<String> = FIELDS.iter().map(|field| field.name.to_owned()).collect();
    let mut encoder = Encoder::new();
    let mut random = Random(4);
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for (number, snapshot) in history(30, 10).iter().enumerate() {
        let mut frame = Vec::new();
        encoder.encode(snapshot, &ExitReport::default(), number == 0, &mut frame);
        frames.push(frame);
    }
    for _ in 0..3000 {
        let mut decoder = Decoder::new(&fields);
        for (number, frame) in frames.iter().enumerate() {
            let mut frame = frame.clone();
            match random.below(3) {
                0 => frame.truncate(random.below(1 + frame.len() as u64) as usize),
                1 => {
                    let at = random.below(frame.len() as u64) as usize;
                    frame[at] = random.below(256) as u8;
                }
                _ => {}
            }
            // Any result but a panic.
            if decoder.decode(&frame, number == 0).is_err() {
                break;
            }
            decoder.snapshot();
        }
    }
}

#[test]
fn size_is_bounded() {
    let (temp, path) = file();
    let bounds = Bounds { size: 80_000, keep: None };
    let all = history(1500, 11);
    let mut recorder = Recorder::open(&path, bounds, meta(), ExitScope::None).unwrap();
    let size = || -> u64 {
        let entries = std::fs::read_dir(temp.path()).unwrap();
        entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    };
    let mut written = 0;
    for (number, snapshot) in all.iter().enumerate() {
        let recorded = recorder.record(snapshot).unwrap();
        written += recorded.bytes;
        if number % 50 == 0 {
            assert_eq!(recorded.total, size());
            assert!(size() <= bounds.size, "{}", size());
        }
    }
    assert!(written > 2 * bounds.size, "{written}");
    drop(recorder);
    let mut recording = Recording::open(&path).unwrap();
    let first = all.len() - recording.len();
    // At least three quarters of the space are used.
    assert!(size() > bounds.size * 3 / 4 && first > 0);
    for number in (0..recording.len()).step_by(17).chain([recording.len() - 1]) {
        assert_same(&recording.frame(number).unwrap().snapshot, &all[first + number]);
    }
    // Each file alone.
    let numbers = segments::numbers(&path).unwrap();
    assert!(numbers.len() > 4, "{numbers:?}");
    let alone = temp.join("alone");
    std::fs::copy(segments::path_of(&path, numbers[1]), &alone).unwrap();
    assert!(Recording::open(&alone).unwrap().frame(0).is_some());
    // A recorder with a smaller bound deletes more.
    std::fs::remove_file(&alone).unwrap();
    record(&path, Bounds { size: 40_000, keep: None }, &all[..1]);
    assert!(size() <= 40_000, "{}", size());
}

#[test]
fn time_is_bounded() {
    let (_temp, path) = file();
    let keep = Duration::from_secs(400);
    let all = history(1000, 12);
    record(&path, Bounds { size: u64::MAX, keep: Some(keep) }, &all);
    let recording = Recording::open(&path).unwrap();
    let kept = all.last().unwrap().time.duration_since(recording.time(0).unwrap()).unwrap();
    assert!(kept >= keep && kept < keep.mul_f64(1.26), "{kept:?}");
}

#[test]
fn other_files_are_not_touched() {
    let (temp, path) = file();
    std::fs::write(&path, "not a recording").unwrap();
    let open = |path: &Path| Recorder::open(path, UNBOUNDED, meta(), ExitScope::None);
    assert!(matches!(open(&path), Err(OpenError::NotRecording)));
    assert!(matches!(Recording::open(&path), Err(ReadError::NotRecording)));
    assert_eq!(std::fs::read(&path).unwrap(), b"not a recording");
    assert!(matches!(open(temp.path()), Err(OpenError::Io(_))));
    let path = temp.join("other");
    // A name like a segment's.
    std::fs::write(segments::path_of(&path, 1), "mine").unwrap();
    let bounds = Bounds { size: 1, keep: Some(Duration::from_secs(1)) };
    record(&path, bounds, &history(20, 13));
    assert_eq!(std::fs::read(segments::path_of(&path, 1)).unwrap(), b"mine");
    let first = open(&path).unwrap();
    assert!(matches!(open(&path), Err(OpenError::Locked)));
    drop(first);
    assert!(open(&path).is_ok());
}

#[test]
fn later_versions_are_neither_read_nor_changed() {
    let (_temp, path) = file();
    record(&path, UNBOUNDED, &history(3, 14));
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[2], 8).unwrap();
    let later = std::fs::read(&path).unwrap();
    assert!(matches!(Recording::open(&path), Err(ReadError::Version(2))));
    record(&path, UNBOUNDED, &history(2, 15));
    assert_eq!(std::fs::read(segments::path_of(&path, 1)).unwrap(), later);
    assert_eq!(Recording::open(&path).unwrap().len(), 2);
}

/// Killed between the two steps of a change of files, it has two names.
#[test]
fn file_with_two_names() {
    let (_temp, path) = file();
    let all = history(3, 16);
    record(&path, UNBOUNDED, &all[..2]);
    std::fs::hard_link(&path, segments::path_of(&path, 1)).unwrap();
    assert_eq!(Recording::open(&path).unwrap().len(), 2);
    record(&path, UNBOUNDED, &all[2..]);
    assert_eq!(Recording::open(&path).unwrap().len(), 3);
    assert!(segments::numbers(&path).unwrap().is_empty());
}

/// The tables of a recording are those of the windows that were recorded.
#[test]
fn replay_equals_the_table() {
    let (_temp, path) = file();
    let proc = Path::new("/proc");
    let selector = Selector::new(Source::Executable, &[], proc, false);
    let all_columns: Vec<_> = columns::columns(Level::Process).collect();
    let groups = columns::groups(all_columns.iter().copied());
    let mut measurer = Measurer::new(proc, Duration::from_millis(200), selector, groups).unwrap();
    measurer.set_kernel_threads(true);
    let mut recorder = Recorder::open(&path, UNBOUNDED, meta(), ExitScope::All).unwrap();
    let mut windows = Vec::new();
    for _ in 0..4 {
        let due = measurer.open();
        psstat_support::sleep::sleep_until(due);
        let snapshot = measurer.close();
        recorder.record(&snapshot).unwrap();
        windows.push(snapshot);
    }
    let mut recording = Recording::open(&path).unwrap();
    assert_eq!(recording.len(), windows.len());
    let tables = |mut snapshot: Snapshot| {
        let mut tables = Vec::new();
        for level in [Level::Image, Level::Process] {
            let columns: Vec<_> = columns::columns(level).collect();
            let rows = match level {
                Level::Image => &mut snapshot.images,
                Level::Process => &mut snapshot.processes,
            };
            columns::sort(rows, columns::find("pcpu", level).unwrap(), false);
            let style = TableStyle { style: Style::Human, width: None, paint: Paint::PLAIN };
            tables.push(render(&columns, rows, Some(&snapshot.total), style));
            tables.push(csv::rows(&columns, rows, 0.0));
            tables.extend(rows.iter().map(|row| json::row(&columns, row).to_string()));
        }
        tables.push(json::unread(&snapshot.health).to_string());
        tables
    };
    for (number, snapshot) in windows.into_iter().enumerate() {
        let recorded = recording.frame(number).unwrap().snapshot;
        assert_same(&recorded, &snapshot);
        assert_eq!(tables(recorded), tables(snapshot));
    }
}

/// An absent value is not 0.
#[test]
fn rows_without_a_number_differ_from_zero() {
    let (_temp, path) = file();
    let mut windows = vec![empty(), empty()];
    windows[1].time += Duration::from_secs(1);
    let mut usage = Usage::default();
    usage.io = Some(IoCounters::default());
    usage.tcp = Some(0);
    let id = ProcessId { pid: 5, ..ProcessId::default() };
    let growth = Growth { io: Some((IoCounters::default(), 1.0)), ..Growth::default() };
    let row = Row { images: Vec::new(), id: Some(id), numbers: usage, growth };
    windows[0].processes.push(row.clone());
    windows[1].processes.push(Row { numbers: Usage::default(), growth: Growth::default(), ..row });
    record(&path, UNBOUNDED, &windows);
    let mut recording = Recording::open(&path).unwrap();
    for (number, want) in windows.iter().enumerate() {
        assert_same(&recording.frame(number).unwrap().snapshot, want);
    }
}
