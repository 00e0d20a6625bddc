//! The example, run in a thread of its own: asked, its conf changed,
//! asked again.

use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Write as _};
use std::time::{Duration, Instant};

use psstat_testproc::TempDir;

#[path = "../examples/follow.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod follow;

/// Asks for a command line until the answer is as wanted, and gives what was
/// said before.
fn ask(questions: &mut PipeWriter, answers: &mut BufReader<PipeReader>, wanted: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut said = String::new();
    loop {
        assert!(Instant::now() < deadline, "not {wanted:?}: {said}");
        questions.write_all(b"/opt/lrh -c /srv/fi/x.conf\n").unwrap();
        loop {
            let mut line = String::new();
            answers.read_line(&mut line).unwrap();
            if line.trim_end() == wanted {
                return said;
            }
            said.push_str(&line);
            // Any other answer than the wanted one names no image or the old.
            if ["\n", "fi/lrh\n"].contains(&line.as_str()) {
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn it_answers_by_the_conf_as_it_is() {
    let directory = TempDir::new().unwrap();
    let path = directory.join("psstat.conf");
    std::fs::write(&path, "fi/lrh lrh.*fi/\nbad (\n").unwrap();
    let (their_questions, mut questions) = std::io::pipe().unwrap();
    let (answers, their_answers) = std::io::pipe().unwrap();
    let mut answers = BufReader::new(answers);
    let conf = path.clone();
    let example = std::thread::spawn(move || {
        follow::follow(&conf, BufReader::new(their_questions), their_answers)
    });
    let said = ask(&mut questions, &mut answers, "fi/lrh");
    assert!(said.starts_with("error: missing ), unterminated subpattern\n"), "{said}");
    assert!(said.contains("psstat.conf:2:5\n") && said.contains("1 rules are in force"), "{said}");
    std::fs::write(&path, "fi/lrh lrh.*fi/\nboth lrh\n").unwrap();
    let said = ask(&mut questions, &mut answers, "fi/lrh both");
    assert!(said.ends_with("2 rules are in force\n"), "{said}");
    drop(questions);
    example.join().unwrap().unwrap();
}
