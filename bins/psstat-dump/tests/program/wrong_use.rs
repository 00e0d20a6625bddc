//! Wrong use, and readers that go away.

use std::process::Stdio;

use crate::run::{command, run, stderr, stdout, unique};

#[test]
fn usage_errors_exit_2() {
    let cases: [(&[&str], &str); 16] = [
        (&["--nonsense"], "--nonsense"),
        (&["--columns", "pid"], "images have no column `pid`"),
        (&["-p", "--columns", "procs"], "processes have no column `procs`"),
        (&["--sort", "size"], "images have no column `size`"),
        (&["--columns", "\x1b[31m"], "\\x1b[31m"),
        (&["--interval", "0"], "--interval"),
        (&["--count", "0"], "--count"),
        (&["--json", "--csv"], "--csv"),
        (&["-e", "x", "image"], "--regex"),
        (&["not an image"], "image name"),
        (&["--proc", "/nowhere"], "cannot read /nowhere"),
        // What is typed may come from elsewhere.
        (&["--proc", "/x\x1b[31m"], "cannot read /x\\x1b[31m: "),
        (&["--conf", "/nowhere"], "/nowhere cannot be read"),
        (&["--class", "a/b"], "class may contain only"),
        (&["--class", ".."], "class may contain only"),
        (&["-p", "check"], "--processes"),
    ];
    for (args, want) in cases {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(stdout(&output), "", "{args:?}");
        let said = stderr(&output);
        assert!(said.contains(want) && !said.contains('\x1b'), "{args:?}: {said}");
    }
}

#[test]
fn directory_without_pids_is_rejected() {
    let temp = psstat_testproc::TempDir::new().unwrap();
    let empty = temp.path().to_str().unwrap();
    for verb in [&[][..], &["doctor"], &["pid", "1"], &["explain", "1", "-e", "x"]] {
        for folder in [empty, "/sys"] {
            let output = run(&[verb, &["--proc", folder]].concat());
            assert_eq!(output.status.code(), Some(2), "{verb:?} {folder}");
            let said = stderr(&output);
            let want = format!("{folder} is no procfs, nor a copy of one");
            assert!(said.contains(&want) && said.contains("mount -t proc"), "{said}");
        }
    }
}

#[test]
fn a_bad_regex_is_marked() {
    let output = run(&["-e", "日本(x"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    let lines: Vec<&str> = said.lines().collect();
    let at = lines.iter().position(|line| line.ends_with("| 日本(x")).unwrap();
    assert!(lines[at + 1].contains('^'));
    assert!(lines[at + 2].contains("= help: "));
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    for args in [&["--help"][..], &["--no-conf"], &["--no-conf", "--interval", "0.1", "--json"]] {
        let mut child =
            command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(stderr(&output), "", "{args:?}");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn a_full_disk_is_not() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command(&["--no-conf"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("cannot write the output"));
}

#[test]
fn help_and_version_are_no_failure() {
    for (args, want) in [(["--help"], "write_bytes/s"), (["--version"], "psstat-dump 0.")] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains(want));
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn the_environment_names_what_options_name() {
    let output = command(&["--no-conf"]).env("PSSTAT_PROC", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let name = unique("nobody");
    let output = command(&["-e", &name]).env("PSSTAT_CONF", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let output = command(&[]).env("PSSTAT_CONF", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
