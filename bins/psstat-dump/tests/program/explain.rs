//! `explain`.

use std::os::unix::ffi::OsStringExt as _;

use psstat_testproc::{Config, TempDir, TestProcess};
use serde_json::{Value, json};

use crate::run::{csv, json as json_of, run, stderr, stdout, terminal, testproc, unique};

fn conf(temp: &TempDir, text: &str) -> String {
    let path = temp.join("psstat.conf");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn marks_matches_of_a_process() {
    let name = unique("explained");
    let testproc =
        TestProcess::spawn(&Config::new(&name).arg("日本").arg("lrh.jar").arg("\x1b[31m")).unwrap();
    let temp = TempDir::new().unwrap();
    let path =
        conf(&temp, &format!("lrh lrh\\.\nfi lrh.jar fi/[a-z]+/x\n# no\nother zzz\nlrh ^{name}\n"));
    let pid = testproc.pid().to_string();
    let output = run(&["explain", &pid, "--conf", &path]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    let shown = format!("    {name} 日本 lrh.jar \\x1b[31m\n");
    let under = |marks: &str| format!("{shown}    {}{marks}\n", " ".repeat(name.len() + 6));
    for want in [
        format!("process {pid}\nmatches  lrh  lrh\\. (line 1)\n{}", under("^^^^")),
        format!(
            "no match  fi  lrh.jar fi/[a-z]+/x (line 2)\n  matches up to lrh.jar \n{}",
            under("^^^^^^^^")
        ),
        "no match  other  zzz (line 4)\n  no partial match\n".to_owned(),
        format!("matches  lrh  ^{name} (line 5)\n{shown}    {}\n", "^".repeat(name.len())),
        "2 of 4 rules match\n".to_owned(),
    ] {
        assert!(text.contains(&want), "{want}\n--\n{text}");
    }

    let (_, document) = json_of(&["explain", &pid, "--conf", &path, "--json"]);
    assert_eq!(document["command_line"], format!("{name} 日本 lrh.jar \x1b[31m"));
    let start = name.len() + " 日本 ".len();
    let rules = document["rules"].as_array().unwrap();
    assert_eq!(
        (&rules[0]["start_byte"], &rules[0]["end_byte"]),
        (&json!(start), &json!(start + 4))
    );
    assert_eq!(rules[1]["matches"], false);
    assert_eq!(rules[1]["matches_up_to"], "lrh.jar ");
    assert_eq!(rules[2]["start_byte"], Value::Null);

    let records = csv(&stdout(&run(&["explain", &pid, "--conf", &path, "--csv"])));
    let matches: Vec<&str> = records.iter().map(|record| record[4].as_str()).collect();
    assert_eq!(matches, ["matches", "true", "false", "false", "true"]);
}

/// The name that a rule makes of the process, and the groups of it.
#[test]
fn shows_made_image_and_its_groups() {
    let name = unique("making");
    let testproc = TestProcess::spawn(&Config::new(&name).arg("-v=caf\u{e9} x")).unwrap();
    let temp = TempDir::new().unwrap();
    let rule = format!("m/{{v}}/{{none}} {name} -v=(?P<v>\\w+)(?P<none>-)?");
    let path = conf(&temp, &format!("{rule}\nm/{{v}} no(?P<v>)\n"));
    let pid = testproc.pid().to_string();
    let text = stdout(&run(&["explain", &pid, "--conf", &path]));
    let line = format!("    {name} -v=caf\u{e9} x\n    ");
    let under = |from: usize, marks: &str| format!("{line}{}{marks}\n", " ".repeat(from));
    let want = format!(
        "{}  image m/caf__/_\n  {{v}}\n{}  {{none}} is not part of the match\n",
        under(0, &"^".repeat(name.len() + " -v=caf\u{e9}".chars().count())),
        under(name.len() + 4, "^^^^"),
    );
    assert!(text.contains(&want), "{want}\n--\n{text}");
    let (_, document) = json_of(&["explain", &pid, "--conf", &path, "--json"]);
    assert_eq!(document["first_image"], "m/caf__/_");
    assert_eq!(document["rules"][0]["made_image"], "m/caf__/_");
    assert_eq!(document["rules"][1]["made_image"], Value::Null);
    let records = csv(&stdout(&run(&["explain", &pid, "--conf", &path, "--csv"])));
    assert_eq!((records[1][2].as_str(), records[2][2].as_str()), ("m/caf__/_", "m/{v}"));
}

#[test]
fn rule_mode_lists_matches_and_near_misses() {
    let name = unique("ruled");
    let spawn = |arg: &str| TestProcess::spawn(&Config::new(&name).arg(arg)).unwrap();
    let (hit, near, _far) = (spawn("fi/x"), spawn("fo/x"), spawn("zz"));
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("fi {name} fi/\nother .\n"));
    let (status, document) = json_of(&["explain", "--rule", "fi", "--conf", &path, "--json"]);
    assert_eq!((status, &document["kind"]), (0, &json!("explain_rule")));
    assert_eq!(document["rules"].as_array().unwrap().len(), 1);
    let rule = &document["rules"][0];
    let pids = |list: &Value| -> Vec<Value> {
        list.as_array().unwrap().iter().map(|hit| hit["pid"].clone()).collect()
    };
    assert_eq!(pids(&rule["matches"]), [json!(hit.pid())]);
    assert_eq!(rule["matches_up_to"], format!("{name} f"));
    assert_eq!(pids(&rule["near_misses"]), [json!(near.pid())]);

    let text = stdout(&run(&["explain", "--rule", "fi", "--conf", &path]));
    assert!(text.contains("matching processes: 1\n"), "{text}");
    assert!(text.contains(&format!("processes that match up to {name} f: 1\n")), "{text}");
    let records = csv(&stdout(&run(&["explain", "--rule", "fi", "--conf", &path, "--csv"])));
    assert_eq!(records.len(), 3);
    assert_eq!((&*records[1][3], &*records[2][3]), ("true", "false"));

    let output = run(&["explain", "--rule", "absent", "--conf", &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no rule for image absent"));
}

#[test]
fn explains_mismatch() {
    let name = unique("missed");
    let long = "-Dlib=/x/".to_owned() + &"y".repeat(300);
    let words = [&long[..], "-jar", "/srv/shops/orders.jar", "--port=8080"];
    let testproc = TestProcess::spawn(&Config::new(&name).args(words)).unwrap();
    let pid = testproc.pid().to_string();
    let temp = TempDir::new().unwrap();
    let path = conf(
        &temp,
        &format!(
            "path ^{name} .*/srv/shop/orders\\.jar\ncase ORDERS\\.JAR\nport orders\\.jar --port=8090$\n\
             front ^/opt/bin/{name} -Dlib\nfar ^zookeeper \n"
        ),
    );
    let text = stdout(&run(&["explain", &pid, "--conf", &path]));
    let blank = " ".repeat(name.len());
    for want in [
        format!(
            "no match  path  ^{name} .*/srv/shop/orders\\.jar (line 1)\n  \
             near miss: unexpected `s`\n    \
             ^{name} .*/srv/shop/orders\\.jar\n    {blank}             ^\n"
        ),
        "  near miss: differs only in case".to_owned(),
        "  near miss: expected `9`, found `8`\n".to_owned(),
        "  near miss: expected `/opt/bin/`, which is missing\n".to_owned(),
        "no match  far  ^zookeeper  (line 5)\n  no partial match\n".replace("  (", " ("),
    ] {
        assert!(text.contains(&want), "{want}\n--\n{text}");
    }
    // The excerpt contains the difference, even in a long line.
    assert!(text.contains("y -jar /srv/shops/orders.jar --port=8080\n"), "{text}");

    let (_, document) = json_of(&["explain", &pid, "--conf", &path, "--json"]);
    let rule = &document["rules"][2];
    assert_eq!((&rule["near_miss"], &rule["expected"]), (&json!("mismatch"), &json!("9")));
    let line = document["command_line"].as_str().unwrap();
    assert_eq!(rule["found_start_byte"], line.find("8080").unwrap() + 2);
    assert_eq!(document["rules"][1]["near_miss"], "case");
    assert_eq!(document["rules"][4]["near_miss"], Value::Null);
    let records = csv(&stdout(&run(&["explain", &pid, "--conf", &path, "--csv"])));
    assert_eq!(records[0][8..], ["near_miss", "expected", "found", "file", "field"]);
    assert_eq!(records[3][8..], ["mismatch", "9", "8", &path, "command_line"]);

    // By the suffix, if no prefix matches.
    let text = stdout(&run(&["explain", "--rule", "front", "--conf", &path]));
    assert!(text.contains(&format!("processes that match from {name} -Dlib: 1\n")), "{text}");
    assert!(text.contains("  near miss: expected `/opt/bin/`"), "{text}");
    let (_, document) = json_of(&["explain", "--rule", "front", "--conf", &path, "--json"]);
    assert_eq!(document["rules"][0]["matches_from"], format!("{name} -Dlib"));
    assert_eq!(document["rules"][0]["matches_up_to"], Value::Null);
}

/// The excerpt was 120 characters wide on every terminal: at 80 columns the
/// line wrapped, and the carets were misplaced.
#[test]
fn marks_fit_the_terminal() {
    let name = unique("narrow");
    let words = ["日本".repeat(40), "HIT".to_owned(), "x".repeat(200)];
    let testproc = TestProcess::spawn(&Config::new(&name).args(words)).unwrap();
    let pid = testproc.pid().to_string();
    let mut explain = terminal(&["explain", &pid, "-e", "HIT"]);
    let screen = explain.wait_until(|screen| screen.contains("rules match"));
    assert_eq!(explain.wait(), Some(0));
    let lines: Vec<&str> = screen.lines().filter(|line| !line.is_empty()).collect();
    let [_, _, shown, marks, sum] = lines[..] else { panic!("{screen}") };
    assert_eq!(sum, "1 of 1 rules match");
    let before = shown.find("HIT").unwrap();
    let width: usize = shown[..before].chars().map(|c| if c > '\u{2e80}' { 2 } else { 1 }).sum();
    assert_eq!(marks, format!("{}^^^", " ".repeat(width)), "{screen}");
}

/// A rule that exceeded its step limit was reported as not matching.
#[test]
fn step_limit_is_reported_separately() {
    let name = unique("limited");
    let testproc = TestProcess::spawn(&Config::new(&name).arg("x".repeat(60))).unwrap();
    let pid = testproc.pid().to_string();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("slow ^{name} (x+x+)+(?=[yz])\nfine {name}\n"));
    let text = stdout(&run(&["explain", &pid, "--conf", &path]));
    assert!(text.contains("(line 1)\n  step limit exceeded\nmatches  fine"), "{text}");
    assert!(text.starts_with(&format!("process {pid}\nunknown  slow  ")), "{text}");
    assert!(text.ends_with("1 of 2 rules match, 1 unknown\n"), "{text}");
    let (_, document) = json_of(&["explain", &pid, "--conf", &path, "--json"]);
    let rules = &document["rules"];
    assert_eq!(
        (&rules[0]["matches"], &rules[0]["step_limit_exceeded"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(
        (&rules[1]["matches"], &rules[1]["step_limit_exceeded"]),
        (&json!(true), &json!(false))
    );
    let records = csv(&stdout(&run(&["explain", &pid, "--conf", &path, "--csv"])));
    assert_eq!((&*records[1][4], &*records[2][4]), ("", "true"));

    let of_rule = ["explain", "--rule", "slow", "--conf", &path];
    let text = stdout(&run(&of_rule));
    assert!(text.contains(&format!("(step limit exceeded): {pid}")), "{text}");
    let (status, document) = json_of(&[&of_rule[..], &["--json"]].concat());
    // A child of the test process has the same command line before its exec.
    let pids = document["rules"][0]["step_limit_exceeded"].as_array().unwrap();
    assert!(status == 1 && pids.contains(&json!(testproc.pid())), "{document}");
    let records = csv(&stdout(&run(&[&of_rule[..], &["--csv"]].concat())));
    let expected = [&pid[..], "", "", "", "", "", "", &path, "command_line", ""];
    assert_eq!(records[1][2..], expected);
}

/// Each prefix of each rule used to be compiled before the first output, which
/// took minutes for many rules.
#[test]
fn many_rules_are_time_bounded() {
    let name = unique("bounded");
    let testproc = testproc(&name);
    let pid = testproc.pid().to_string();
    let temp = TempDir::new().unwrap();
    let rule = |number: usize| format!("r{number} {}{number}\n", "nothing-of-this-kind".repeat(12));
    let path = conf(&temp, &(0..500).map(rule).collect::<String>());
    let output = run(&["explain", &pid, "--conf", &path]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("  partial match not computed (time limit)\n"), "{text}");
    assert!(text.ends_with("0 of 500 rules match\n"));
    let want = "psstat-dump: stopped searching for near misses after 3 s of CPU time\n";
    assert_eq!(stderr(&output), want);
}

/// Rules that take long, each within its limit: the last ones are not tried.
#[test]
fn expensive_rules_are_time_bounded() {
    let name = unique("expensive");
    let argument = std::ffi::OsString::from_vec(vec![0xff; 120_000]);
    let testproc = TestProcess::spawn(&Config::new(&name).arg(argument)).unwrap();
    let pid = testproc.pid().to_string();
    let temp = TempDir::new().unwrap();
    let rule = |n: usize| format!("r{n} \\W{{3,{n}}}\\w{{10}}\\W$\n");
    let first = format!("first {name}\n");
    let path = conf(&temp, &(first + &(30..130).map(rule).collect::<String>()));
    let output = run(&["explain", &pid, "--conf", &path]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("  not tried (time limit)\n"), "{text}");
    let last = text.lines().next_back().unwrap();
    assert!(last.starts_with("1 of 101 rules match, ") && last.ends_with(" unknown"), "{last}");
}

#[test]
fn without_config_uses_executable_name() {
    let name = unique("plainly");
    let testproc = testproc(&name);
    let pid = testproc.pid().to_string();
    let (status, document) = json_of(&["explain", &pid, "-e", "plainly", "--json"]);
    assert_eq!((status, &document["first_image"]), (0, &json!("match")));
    let output = run(&["explain", &pid]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains(&format!("image {name}, by executable name")));
}

#[test]
fn no_match_exits_1() {
    let name = unique("unmatched");
    let mut testproc = testproc(&name);
    let pid = testproc.pid().to_string();
    assert_eq!(run(&["explain", &pid, "-e", "^nothing$"]).status.code(), Some(1));
    testproc.exit(0).unwrap();
    let output = run(&["explain", &pid, "-e", "."]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("no command line: a zombie"));
    let output = run(&["explain", "4194305", "-e", "."]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "psstat-dump: 4194305: no such process\n");
    for wrong in [&["explain"][..], &["explain", "1", "--rule", "x"], &["explain", "1", "-e", "("]]
    {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// The shell that runs the program has the pattern in its command line.
#[test]
fn rule_mode_leaves_out_callers() {
    let word = unique("called");
    let matches = |option: &str| {
        let program = env!("CARGO_BIN_EXE_psstat-dump");
        let script =
            format!("{program} explain --rule match -e {word} {option} --json; true {word}");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        document["rules"][0]["matches"].as_array().unwrap().len()
    };
    assert_eq!((matches(""), matches("--ancestors")), (0, 1));
}

#[test]
fn rule_without_a_config_file_names_the_path() {
    let output = run(&["explain", "--rule", "x", "--class", "no-such-class"]);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2));
    for want in ["/no-such-class/shared/conf/psstat.conf", "--class", "--conf"] {
        assert!(message.contains(want), "{message}");
    }
    let output = run(&["explain", "--rule", "x"]);
    let message = stderr(&output);
    if output.status.code() == Some(2) {
        assert!(message.contains("/shared/conf/psstat.conf does not exist"), "{message}");
        assert!(message.contains("--conf") && message.contains("--class"), "{message}");
    } else {
        println!("skipped: this host has a config file");
    }
}

/// It used to be called a kernel thread or a zombie.
#[test]
fn empty_command_line_is_not_a_zombie() {
    use std::os::unix::process::CommandExt as _;
    let mut command = std::process::Command::new("cat");
    command.arg0("").stdin(std::process::Stdio::piped());
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let pid = child.id().to_string();
    let deadline = std::time::Instant::now() + psstat_testproc::TIMEOUT;
    // The arguments appear at the end of the exec.
    while std::fs::read(format!("/proc/{pid}/cmdline")).unwrap() != b"\0" {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    let text = stdout(&run(&["explain", &pid, "-e", "^$", "-e", "x"]));
    let want = format!(
        "  the command line of {{{}}} is empty\nmatches  match  ^$\n    (empty)\n\
         no match  match  x\n1 of 2 rules match\n",
        comm.trim_end()
    );
    assert!(text.ends_with(&want), "{text}");
    let (status, document) = json_of(&["explain", &pid, "--json", "-e", "^$"]);
    assert_eq!((status, &document["rules"][0]["matches"]), (0, &json!(true)));
    let (_, document) = json_of(&["explain", "--rule", "match", "--json", "-e", "^$"]);
    let found = document["rules"][0]["matches"].as_array().unwrap();
    assert!(found.iter().any(|process| process["pid"] == child.id()), "{document}");
    let (status, document) = json_of(&["explain", &pid, "--json", "-e", "x"]);
    assert_eq!((status, &document["process_kind"]), (1, &json!("process")));
    drop(child.stdin.take());
    // Not yet waited for: a zombie.
    while psstat_testproc::oracle::state(child.id()).unwrap() != 'Z' {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let (status, document) = json_of(&["explain", &pid, "--json", "-e", "^$"]);
    assert_eq!((status, &document["process_kind"]), (1, &json!("zombie")));
    child.wait().unwrap();
    if std::fs::read_to_string("/proc/2/comm").is_ok_and(|comm| comm == "kthreadd\n") {
        let (status, document) = json_of(&["explain", "2", "--json", "-e", "^$"]);
        assert_eq!((status, &document["process_kind"]), (1, &json!("kernel_thread")));
    } else {
        println!("skipped: kernel threads are not visible here");
    }
}

/// It was reported as a zombie that no rule matches, while the rule counted it.
#[test]
fn empty_command_line_without_main_thread_is_not_a_zombie() {
    let mut process = testproc("");
    process.threads(2).unwrap();
    process.leader_exit().unwrap();
    let pid = process.pid().to_string();
    assert_eq!(psstat_testproc::oracle::state(process.pid()).unwrap(), 'Z');
    let text = stdout(&run(&["explain", &pid, "-e", "^$"]));
    assert!(text.ends_with("(empty)\n1 of 1 rules match\n"), "{text}");
    let (status, document) = json_of(&["explain", &pid, "--json", "-e", "^$"]);
    assert_eq!((status, &document["process_kind"]), (0, &json!("process")));
    let (_, document) = json_of(&["explain", "--rule", "match", "--json", "-e", "^$"]);
    let found = document["rules"][0]["matches"].as_array().unwrap();
    assert!(found.iter().any(|found| found["pid"] == process.pid()), "{document}");
}
