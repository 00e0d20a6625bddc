//! `record` and `--replay`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use psstat_testproc::{Config, Kind, TIMEOUT, TempDir, TestProcess, oracle, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::run::{command, csv, json as json_of, run, stderr, stdout, terminal, testproc, unique};

/// A recorder of these images; killed when dropped.
struct Recorder(Child);

impl Recorder {
    fn start(file: &Path, args: &[&str]) -> Recorder {
        let file = file.to_str().unwrap();
        let mut command = command(&[&["record", file, "--no-conf"], args].concat());
        Recorder(command.stderr(Stdio::piped()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Ends it, and returns its messages.
    fn finish(mut self) -> String {
        self.signal(Signal::TERM);
        let begin = Instant::now();
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}");
        assert!(begin.elapsed() < TIMEOUT);
        let mut messages = String::new();
        let mut stderr = self.0.stderr.take().unwrap();
        std::io::Read::read_to_string(&mut stderr, &mut messages).unwrap();
        messages
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The frames so far, as documents; none before the first one.
fn frames(file: &Path, args: &[&str]) -> Vec<Value> {
    let replay = ["--replay", file.to_str().unwrap(), "--json", "--count", "1000000"];
    let text = stdout(&run(&[&replay[..], args].concat()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits for a frame with a row for which `matches`.
fn wait_for_row(file: &Path, args: &[&str], matches: impl Fn(&Value) -> bool) -> Value {
    let mut found = None;
    wait_until("a frame", || {
        let frames = frames(file, args);
        let mut rows = frames.iter().flat_map(|frame| frame["rows"].as_array().unwrap());
        found = rows.rfind(|row| matches(row)).cloned();
        found.is_some()
    });
    found.unwrap()
}

/// Waits for the first window.
fn wait_for_file(file: &Path) {
    wait_until("a file", || std::fs::metadata(file).is_ok_and(|file| file.len() > 100));
}

#[test]
fn recorded_numbers_are_those_of_the_process() {
    let temp = TempDir::new().unwrap();
    let file = temp.join("recording");
    let name = unique("recorded");
    let recorder = Recorder::start(&file, &["--interval", "0.2"]);
    wait_for_file(&file);
    let mut process = TestProcess::spawn(&Config::new(&name).arg("\x1b[31m</script>")).unwrap();
    process.open_files(30).unwrap();
    let counts = process.open_sockets(Kind::Tcp, 3).unwrap();
    wait_for_row(&file, &["-p", &name], |row| row["tcp_established"] == counts.tcp);
    process.write_bytes(1_000_000, 10).unwrap();
    process.quiesce().unwrap();
    let written = oracle::io(process.pid()).unwrap()["wchar"];
    assert!(written > 1_000_000);
    let row = wait_for_row(&file, &["-p", &name], |row| row["wchar_bytes"] == written);
    assert_eq!(row["pid"], process.pid());
    assert_eq!(row["fds"], counts.fds);
    assert_eq!(row["images"], json!([name]));
    assert!(row["command_line"].as_str().unwrap().ends_with("\x1b[31m</script>"));
    // The written bytes are in the rate of one window.
    wait_for_row(&file, &["-p", &name], |row| {
        row["wchar_bytes_per_second"].as_f64().is_some_and(|rate| rate > 50_000.0)
    });
    let image = wait_for_row(&file, &[&name], |row| row["processes"] == 1);
    assert_eq!(image["fds"], counts.fds);
    drop(process);
    let ended = wait_for_row(&file, &[&name], |row| row["exits"] == 1);
    assert_eq!((&ended["processes"], &ended["starts"]), (&json!(0), &json!(1)));
    assert_eq!(recorder.finish(), "");

    // The other formats, and times.
    let replay = file.to_str().unwrap();
    let output = run(&["--replay", replay, "--at", "@1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("is before the recording"), "{}", stderr(&output));
    let output = run(&["--replay", replay, "--at", "yesterday"]);
    assert!(stderr(&output).contains("not a time"), "{}", stderr(&output));
    let (status, last) = json_of(&["--replay", replay, "--json"]);
    assert_eq!((status, &last["images_from"]["source"]), (0, &json!("executable")));
    let time = last["time_unix_seconds"].as_f64().unwrap();
    let at = format!("@{}", time + 0.001);
    assert_eq!(json_of(&["--replay", replay, "--json", "--at", &at]).1, last);
    let records = csv(&stdout(&run(&["--replay", replay, "--csv", "--at", &at])));
    assert_eq!(records.len(), 1 + last["rows"].as_array().unwrap().len());
    let text = stdout(&run(&["--replay", replay, "--at", "-0s"]));
    assert!(text.starts_with("IMAGE ") && text.contains("total"), "{text}");
    assert_eq!(run(&["--replay", replay, "no-such-image"]).status.code(), Some(1));
    for wrong in [&["-e", "x"][..], &["--no-conf"], &["-k"], &["doctor"], &["explain", "1"]] {
        let output = run(&[&["--replay", replay], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}

/// Whatever is in the file at the moment of a SIGKILL, all complete frames are readable, and the
/// next recorder continues.
#[test]
fn killed_recorders_leave_a_readable_file() {
    let seconds = std::env::var("PSSTAT_TEST_KILLS_SECONDS").ok();
    let seconds: u64 = seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(4);
    let temp = TempDir::new().unwrap();
    let file = temp.join("recording");
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut before, mut kills) = (0, 0_u64);
    while Instant::now() < end || kills < 3 {
        let mut recorder =
            Recorder::start(&file, &["--interval", "0.1", "--size", "1M", "--keep", "60m"]);
        wait_until("a frame", || frames(&file, &[]).len() > before || kills > 50);
        std::thread::sleep(Duration::from_millis(50 + kills * 37 % 400));
        assert_eq!(recorder.0.try_wait().unwrap(), None);
        recorder.signal(Signal::KILL);
        recorder.0.wait().unwrap();
        kills += 1;
        let output = run(&["--replay", file.to_str().unwrap(), "--json", "--count", "1000000"]);
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
        let count = stdout(&output).lines().count();
        // Later ones delete the first segments.
        assert!(count >= before || kills > 50, "{before}, then {count}");
        before = count;
    }
}

/// With a full disk, it continues, and says so once.
#[test]
fn full_disk() {
    let temp = TempDir::new().unwrap();
    let file = temp.join("recording");
    let name = unique("full");
    let _process = testproc(&name);
    // The unit depends on the shell: 4 or 8 KiB.
    let script = "ulimit -f 8; exec \"$@\"";
    let program = env!("CARGO_BIN_EXE_psstat-dump");
    let args = ["record", file.to_str().unwrap(), &name, "--no-conf", "--interval", "0.1"];
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh", program]).args(args).stdin(Stdio::null());
    shell.env_remove("PSSTAT_CONF").env_remove("PSSTAT_CLASS").env_remove("PSSTAT_PROC");
    let recorder = Recorder(shell.stderr(Stdio::piped()).spawn().unwrap());
    let size = || std::fs::metadata(&file).map_or(0, |file| file.len());
    // Until it stays the same.
    let (mut last, mut same) = (0, 0);
    wait_until("the full file", || {
        same = if size() == last && last > 0 { same + 1 } else { 0 };
        last = size();
        std::thread::sleep(Duration::from_millis(50));
        same > 15
    });
    let read = frames(&file, &[]).len();
    assert!(read > 0);
    let messages = recorder.finish();
    assert_eq!(messages.matches("cannot be written").count(), 1, "{messages}");
    assert_eq!(messages.lines().count(), 1, "{messages}");
    // A recorder without the limit continues.
    let recorder = Recorder::start(&file, &["--interval", "0.1"]);
    wait_until("more frames", || frames(&file, &[]).len() > read + 2);
    assert_eq!(recorder.finish(), "");
}

#[test]
fn one_recorder_per_file() {
    let temp = TempDir::new().unwrap();
    let file = temp.join("recording");
    let recorder = Recorder::start(&file, &["--interval", "0.1"]);
    wait_until("a frame", || !frames(&file, &[]).is_empty());
    let output = run(&["record", file.to_str().unwrap(), "--no-conf"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("another recorder writes to it"), "{}", stderr(&output));
    assert_eq!(recorder.finish(), "");
    std::fs::write(&file, "something else").unwrap();
    let output = run(&["record", file.to_str().unwrap(), "--no-conf"]);
    assert!(stderr(&output).contains("is not a recording"), "{}", stderr(&output));
    assert_eq!(std::fs::read(&file).unwrap(), b"something else");
    let missing = temp.join("missing").display().to_string();
    assert_eq!(run(&["--replay", &missing]).status.code(), Some(2));
}

/// The windows of one process with another number of open files in each.
fn recording_of_steps(file: &Path, name: &str) -> (String, u32, Vec<Value>) {
    let name = unique(name);
    let mut process = TestProcess::spawn(&Config::new(&name)).unwrap();
    let recorder = Recorder::start(file, &["--interval", "0.2", &name]);
    for _ in 0..3 {
        process.open_files(10).unwrap();
        let fds = oracle::fds(process.pid()).unwrap();
        wait_for_row(file, &[&name], |row| row["fds"] == fds);
    }
    let pid = process.pid();
    drop(process);
    wait_for_row(file, &[&name], |row| row["processes"] == 0);
    recorder.finish();
    let frames = frames(file, &[]);
    (name, pid, frames)
}

#[test]
fn live_view_of_a_recording() {
    let temp = TempDir::new().unwrap();
    let file = temp.join("recording");
    let (name, pid, frames) = recording_of_steps(&file, "steps");
    let replay = file.to_str().unwrap();
    let mut top = terminal(&["top", "--replay", replay, "--columns", "fds"]);
    let fds = |frame: usize| frames[frame]["rows"][0]["fds"].as_u64().unwrap().to_string();
    let count = frames.len();
    // The screen of a window: its number, and the descriptors of that window.
    let is_at = |frame: usize| {
        let (fds, name) = (fds(frame), name.clone());
        let number = format!("window {} of {count}", frame + 1);
        move |screen: &str| {
            let row = screen.lines().find(|line| line.starts_with(&format!("+{}", &name[..8])));
            let cells: Vec<&str> = row.unwrap_or("").split_whitespace().collect();
            screen.contains(&number) && cells.get(2) == Some(&fds.as_str())
        }
    };
    top.wait_until(is_at(0));
    // Right and left.
    top.press("\x1b[C");
    top.wait_until(is_at(1));
    top.press("\x1b[D");
    top.wait_until(is_at(0));
    top.press("}");
    top.wait_until(is_at(count - 1));
    // To a time, before the first one as well.
    let time = frames[2]["time_unix_seconds"].as_f64().unwrap();
    top.press(&format!("t@{}\r", time + 0.001));
    top.wait_until(is_at(2));
    top.press("t@5\r");
    top.wait_until(|screen| screen.contains("begins at") && screen.contains("window 3 of"));
    top.press("tx\r");
    top.wait_until(|screen| screen.contains("not a time"));
    top.press("{");
    top.wait_until(is_at(0));
    // The values of a process, as they were.
    top.press("\rj\r");
    top.wait_until(|screen| {
        screen.contains(&format!("pid                      {pid}")) && screen.contains("command")
    });
    top.press("q\x1b[C");
    top.wait_until(|screen| screen.contains("window 2 of"));
    // It plays to the end.
    top.press("k\r++ ");
    top.wait_until(|screen| screen.contains(&format!("window {count} of {count}, stopped")));
    top.press("?");
    top.wait_for("play or stop");
    top.press("xq");
    assert_eq!(top.wait(), Some(0));
}

/// Whether the kernel reports exits to root: not in a container, and not without a connector.
fn are_exits_reported() -> bool {
    let is = |namespace: &str, inode: &str| {
        let link = std::fs::read_link(format!("/proc/self/ns/{namespace}")).unwrap();
        link.to_str() == Some(&format!("{namespace}:[{inode}]"))
    };
    // NETLINK_CONNECTOR is protocol 11; the kernel's end has port 0.
    let sockets = std::fs::read_to_string("/proc/net/netlink").unwrap();
    let mut rows = sockets.lines().map(|row| row.split_whitespace().skip(1).take(2).collect());
    let has_connector = rows.any(|row: Vec<&str>| row == ["11", "0"]);
    let is_root = rustix::process::geteuid().is_root();
    is_root && has_connector && is("pid", "4026531836") && is("user", "4026531837")
}

/// Processes that are never in a window are counted, with their status.
#[test]
fn short_lived_processes() {
    if !are_exits_reported() {
        return;
    }
    let temp = TempDir::new().unwrap();
    let file = temp.join("recording");
    let recorder = Recorder::start(&file, &["--interval", "5"]);
    wait_for_file(&file);
    for _ in 0..30 {
        assert_eq!(Command::new("sh").args(["-c", "exit 3"]).status().unwrap().code(), Some(3));
    }
    wait_until("two windows", || frames(&file, &[]).len() > 1);
    recorder.finish();
    let data = data_of(&stdout(&run(&["report", file.to_str().unwrap()])));
    let count = data["short_lived"].as_u64().unwrap();
    // Some can be in the window that ends meanwhile.
    assert!(count >= 25, "{count}");
}

#[test]
fn process_of_a_recording() {
    let temp = TempDir::new().unwrap();
    let file = temp.join("recording");
    let (name, pid, frames) = recording_of_steps(&file, "rows");
    let (replay, pid) = (file.to_str().unwrap(), pid.to_string());
    let (status, document) = json_of(&["pid", &pid, "--replay", replay, "--json"]);
    assert_eq!((status, &document["kind"]), (0, &json!("recorded_process")));
    assert_eq!(document["row"]["images"], json!([name]));
    assert_eq!(document["first_unix_seconds"], frames[0]["time_unix_seconds"]);
    let ended = &document["ended"];
    let without = frames.iter().find(|frame| frame["rows"][0]["processes"] == 0).unwrap();
    assert_eq!(ended["time_unix_seconds"], without["time_unix_seconds"]);
    // The test's process ends with 0 when its handle is dropped, or is killed.
    let is_known = ended["status"] == 0 || ended["signal"] == 9;
    assert!(is_known || !are_exits_reported(), "{ended}");
    let at = format!("@{}", frames[0]["time_unix_seconds"].as_f64().unwrap() + 0.001);
    let (_, early) = json_of(&["pid", &pid, "--replay", replay, "--at", &at, "--json"]);
    assert_eq!(early["row"]["fds"], frames[0]["rows"][0]["fds"]);
    assert_ne!(early["row"]["fds"], document["row"]["fds"]);
    let text = stdout(&run(&["pid", &pid, "--replay", replay]));
    assert!(text.starts_with(&format!("process {pid}\nrecorded from")), "{text}");
    assert_eq!(run(&["pid", "4194305", "--replay", replay]).status.code(), Some(1));
    assert_eq!(run(&["pid", &pid, "--replay", replay, "--csv"]).status.code(), Some(2));
}

/// The data in a report.
fn data_of(page: &str) -> Value {
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn report_has_all_values_and_no_markup_of_others() {
    let temp = TempDir::new().unwrap();
    let file = temp.join("recording");
    let name = unique("report");
    let hostile = "</script><script>alert(1)</script><!-- {{SCRIPT}} \u{2028}\x1b[31m";
    let mut process = TestProcess::spawn(&Config::new(&name).arg(hostile).arg("--last")).unwrap();
    let recorder = Recorder::start(&file, &["--interval", "0.2", &name]);
    wait_for_row(&file, &[&name], |row| row["processes"] == 1);
    process.open_sockets(Kind::Tcp, 2).unwrap();
    process.write_bytes(500_000, 5).unwrap();
    wait_for_row(&file, &[&name], |row| {
        row["tcp_established"] == 4 && row["wchar_bytes_per_second"].as_f64() > Some(100_000.0)
    });
    let pid = process.pid();
    drop(process);
    wait_for_row(&file, &[&name], |row| row["processes"] == 0);
    recorder.finish();
    let recording = file.to_str().unwrap();
    let output = run(&["report", recording]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
    let page = stdout(&output);
    // Three elements of the page itself, of which none loads anything.
    assert_eq!(page.matches("<script").count(), 3);
    assert_eq!(page.matches("</script>").count(), 3);
    assert!(!page.contains(" src=") && !page.contains("<link") && !page.contains("alert(1)<"));
    let data = data_of(&page);
    let frames = frames(&file, &[]);
    assert_eq!(data["windows"], frames.len());
    assert_eq!(data["times"].as_array().unwrap().len(), frames.len());
    let plot = |key: &str| {
        let plots = data["plots"].as_array().unwrap();
        plots.iter().find(|plot| plot["key"] == key).unwrap()
    };
    // The points are those of the table.
    let close = |point: &Value, want: &Value| {
        let (point, want) = (point.as_f64().unwrap_or(0.0), want.as_f64().unwrap_or(0.0));
        (point - want).abs() <= 0.5 + want.abs() / 1e6
    };
    for (key, field) in [("cpu", "pcpu_percent"), ("memory", "rss_bytes")] {
        let points = plot(key)["total"].as_array().unwrap();
        for (point, frame) in points.iter().zip(&frames) {
            let want = &frame["rows"][0][field];
            assert!(close(point, want), "{key}: {point} and {want}");
        }
    }
    let lines = plot("connections")["images"].as_array().unwrap();
    assert_eq!(lines[0]["label"], name.as_str());
    let count = |frame: &Value| -> u64 {
        let fields = ["tcp_established", "udp_established", "unix_established"];
        fields.iter().filter_map(|field| frame["rows"][0][*field].as_u64()).sum()
    };
    let counts: Vec<Value> = frames.iter().map(|frame| json!(count(frame))).collect();
    assert_eq!(lines[0]["points"], json!(counts));
    let most = frames.iter().map(count).max().unwrap();
    assert!(most >= 4);
    let label = plot("connections")["processes"][0]["label"].as_str().unwrap();
    assert!(label.starts_with(&pid.to_string()), "{label}");
    let exits: f64 =
        plot("exits")["total"].as_array().unwrap().iter().flat_map(Value::as_f64).sum();
    assert!(exits > 0.0);
    let image = &data["image_rows"][0];
    assert_eq!((&image[0], &image[1], &image[6]), (&json!(name), &json!(1), &json!(most)));
    let process = &data["process_rows"][0];
    assert_eq!(process[0], pid);
    let command = process[9].as_str().unwrap();
    let escaped = "</script><script>alert(1)</script><!-- {{SCRIPT}} \\u{2028}\\x1b[31m --last";
    assert!(command.ends_with(escaped), "{command}");
    assert_eq!((&data["exit_rows"][0][1], &data["exit_count"]), (&json!(pid), &json!(1)));

    // A part of it, in a file.
    let times: Vec<f64> =
        frames.iter().map(|frame| frame["time_unix_seconds"].as_f64().unwrap()).collect();
    let path = temp.join("report.html");
    let [from, to] = [times[1] - 0.001, times[2] + 0.001].map(|time| format!("@{time}"));
    let args = ["report", recording, "--from", &from, "--to", &to, "-o", path.to_str().unwrap()];
    let output = run(&args);
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), String::new()));
    assert_eq!(data_of(&std::fs::read_to_string(&path).unwrap())["windows"], 2);
    let output = run(&["report", recording, "--to", "@5"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no window"), "{}", stderr(&output));
}

/// A recording of version 1, as the first psstat-dump with that version wrote it, and the tables that
/// it showed then.
#[test]
fn version_1_is_read() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/recording");
    let path = |name: &str| directory.join(name).display().to_string();
    let file = path("v1.recording");
    for (name, args) in [("images.jsonl", &[][..]), ("processes.jsonl", &["-p"])] {
        let args = [&["--replay", &file, "--json", "--count", "1000"], args].concat();
        let found = stdout(&run(&args));
        let expected = std::fs::read_to_string(path(name)).unwrap();
        let parse = |text: &str| -> Vec<Value> {
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let (found, expected) = (parse(&found), parse(&expected));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            // Later versions can have further fields.
            assert_contains(found, expected, name);
        }
    }
    let ended = |pid: &str| json_of(&["pid", pid, "--replay", &file, "--json"]).1["ended"].clone();
    let pids = std::fs::read_to_string(path("exits.txt")).unwrap();
    for line in pids.lines().filter(|line| !line.starts_with('#')) {
        let (pid, status) = line.split_once(' ').unwrap();
        let ended = ended(pid);
        match status.strip_prefix("signal ") {
            Some(signal) => assert_eq!(ended["signal"].to_string(), signal),
            None => assert_eq!(ended["status"].to_string(), status),
        }
    }
}

#[track_caller]
fn assert_contains(found: &Value, expected: &Value, at: &str) {
    match expected {
        Value::Object(fields) => {
            for (name, value) in fields {
                assert_contains(&found[name], value, &format!("{at}.{name}"));
            }
        }
        Value::Array(values) => {
            assert_eq!(found.as_array().map(Vec::len), Some(values.len()), "{at}");
            for (number, value) in values.iter().enumerate() {
                assert_contains(&found[number], value, &format!("{at}[{number}]"));
            }
        }
        value => assert_eq!(found, value, "{at}"),
    }
}
