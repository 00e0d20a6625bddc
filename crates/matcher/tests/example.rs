//! The example, run in a thread: classifies a command line, before and after a
//! change of its config file.

use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Write as _};
use std::time::{Duration, Instant};

use psstat_testproc::TempDir;

#[path = "../examples/follow.rs"]
#[allow(dead_code, reason = "`main` is not called")]
mod follow;

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
        follow::follow(&conf, BufReader::new(example_input), example_output)
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
