//! The examples. The interactive one runs in a thread: it classifies a command line, before and after
//! a change of its config file.

use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use psstat_testproc::{TempDir, example};

#[path = "../examples/interactive.rs"]
#[allow(dead_code, reason = "`main` is not called")]
mod interactive;

/// Sends a command line until its images are as expected; returns the output
/// before that.
fn send_until(
    input: &mut PipeWriter,
    output: &mut BufReader<PipeReader>,
    expected: &str,
) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut before = String::new();
    loop {
        assert!(Instant::now() < deadline, "not {expected:?}: {before}");
        input.write_all(b"/opt/lrh -c /srv/fi/x.conf\n").unwrap();
        loop {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            if line.trim_end() == expected {
                return before;
            }
            before.push_str(&line);
            // The other possible results: no image, or the previous one.
            if ["\n", "fi/lrh\n"].contains(&line.as_str()) {
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn example_applies_config_changes() {
    let directory = TempDir::new().unwrap();
    let path = directory.join("psstat.conf");
    std::fs::write(&path, "fi/lrh lrh.*fi/\nbad (\n").unwrap();
    let (example_input, mut input) = std::io::pipe().unwrap();
    let (output, example_output) = std::io::pipe().unwrap();
    let mut output = BufReader::new(output);
    let conf = path.clone();
    let example = std::thread::spawn(move || {
        interactive::follow(&conf, BufReader::new(example_input), example_output)
    });
    let before = send_until(&mut input, &mut output, "fi/lrh");
    assert!(before.starts_with("error: "), "{before}");
    assert!(before.contains("psstat.conf:2:5\n") && before.contains("loaded 1 rules"), "{before}");
    std::fs::write(&path, "fi/lrh lrh.*fi/\nboth lrh\n").unwrap();
    let before = send_until(&mut input, &mut output, "fi/lrh both");
    assert!(before.ends_with("loaded 2 rules\n"), "{before}");
    drop(input);
    example.join().unwrap().unwrap();
}

fn run(name: &str, conf: &Path, args: &[&str]) -> Output {
    let program = example("psstat-matcher", name).unwrap();
    Command::new(program).arg(conf).args(args).output().unwrap()
}

#[test]
fn check_prints_diagnostics_and_fails_on_errors() {
    let directory = TempDir::new().unwrap();
    let path = directory.join("psstat.conf");
    for (text, is_valid) in [("web nginx\n", true), ("web nginx\nbad (\n", false)] {
        std::fs::write(&path, text).unwrap();
        let output = run("check", &path, &[]);
        assert_eq!(output.status.success(), is_valid, "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed.contains("psstat.conf:2:5\n"), !is_valid, "{printed}");
    }
}

#[test]
fn match_line_prints_the_images_of_a_command_line() {
    let directory = TempDir::new().unwrap();
    let path = directory.join("psstat.conf");
    std::fs::write(&path, "web nginx\nroot ^nginx -g\nother httpd\n").unwrap();
    let output = run("match_line", &path, &["nginx", "-g", "daemon off;"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "web\nroot\n");
}

/// A program that is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn follow_prints_the_images_after_each_change() {
    let directory = TempDir::new().unwrap();
    let path = directory.join("psstat.conf");
    std::fs::write(&path, "web nginx\n").unwrap();
    let mut command = Command::new(example("psstat-matcher", "follow").unwrap());
    let mut running = Running(command.arg(&path).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "web");
    std::fs::write(&path, "web nginx\ndb postgres\n").unwrap();
    assert_eq!(lines.next().unwrap(), "web db");
    std::fs::write(&path, "bad (\n").unwrap();
    assert_eq!(lines.next().unwrap(), "it has no rules; the rules of before stay");
}
