//! Usage errors, and readers that close the pipe.

use std::process::Stdio;

use crate::run::{command, run, stderr, stdout, unique};

#[test]
fn usage_errors_exit_2() {
    let cases: [(&[&str], &str); 27] = [
        (&["--nonsense"], "--nonsense"),
        (&["--columns", "pid"], "no column `pid` for images: only processes have it; add -p"),
        (&["-p", "--columns", "processes"], "only images have it; omit -p"),
        (&["--sort", "banana"], "no column `banana` for images; available: "),
        (&["--sort", "WRTIE/S"], "did you mean `write_bytes/s`? "),
        (&["--columns", "\x1b[31m"], "\\x1b[31m"),
        (&["--interval", "0"], "--interval"),
        (&["--count", "0"], "--count"),
        (&["--json", "--csv"], "--csv"),
        (&["-e", "x", "image"], "--regex"),
        (&["-e", "app="], "write `app\\=`"),
        (&["-e", "a=x", "-e", "(", "-e", "b"], "-e (2 of 3): missing )"),
        (&["explain", "1", "-e", "app="], "write `app\\=`"),
        (&["not an image"], "image name"),
        (&["--proc", "/nowhere"], "cannot read /nowhere"),
        // Arguments are escaped.
        (&["--proc", "/x\x1b[31m"], "cannot read /x\\x1b[31m: "),
        (&["--conf", "/nowhere"], "/nowhere cannot be read"),
        (&["--class", "a/b"], "class may contain only"),
        (&["--class", ".."], "class may contain only"),
        (&["-p", "check"], "--processes"),
        (&["explain", "nginx"], "not a process id"),
        (&["pid", "0"], "not a process id"),
        (&["tpo"], "did you mean the command `top`?"),
        (&["chekc", "x.conf"], "did you mean the command `check`?"),
        (&["fnid", ":8080"], "`fnid` is not a command; did you mean `psstat-dump find`?"),
        (&["Explian", "--rule", "x"], "did you mean `psstat-dump explain`?"),
        (&["captrue", "--pid"], "did you mean `psstat-dump capture`?"),
    ];
    for (args, want) in cases {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(stdout(&output), "", "{args:?}");
        let message = stderr(&output);
        assert!(message.contains(want) && !message.contains('\x1b'), "{args:?}: {message}");
    }
}

/// The names in the heading, in any case, and those of `ps`.
#[test]
fn columns_by_any_name() {
    let heading = |args: &[&str]| {
        let output = run(&[&["--no-conf"], args].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output).lines().next().unwrap().to_owned()
    };
    let columns = "IMAGE,%CPU,write/s,RSS,mem,fd_limit_percent";
    let args = ["--columns", columns, "--sort", "WRITE/S"];
    let names: Vec<String> = heading(&args).split_whitespace().map(str::to_owned).collect();
    assert_eq!(names, ["IMAGE", "%CPU", "WRITE/S", "RSS", "RSS", "FD%"]);
    assert!(heading(&["-p", "--columns", "PID,cmd", "--sort", "Thr"]).contains("COMMAND"));
}

#[test]
fn help_has_examples_and_explains_images() {
    for command in ["pid", "explain", "find", "top", "doctor", "capture", "record", "check"] {
        let help = stdout(&run(&[command, "--help"]));
        assert!(help.contains("Examples:\n") && help.contains(&format!("psstat-dump {command}")));
        let explained = help.contains("An image is a group of processes");
        assert!(explained || !help.contains("IMAGE"), "{help}");
    }
    let help = stdout(&run(&["--help"]));
    assert!(help.find("An image is a").unwrap() < help.find("Usage:").unwrap());
    assert!(help.contains("Examples:\n"));
}

/// A script can monitor such an image while it has no process.
#[test]
fn image_names_similar_to_commands() {
    for args in [&["tpo", "--json"][..], &["nothing-of-this-name"]] {
        assert_eq!(run(args).status.code(), Some(1), "{args:?}");
    }
}

#[test]
fn directory_without_pids_is_rejected() {
    let temp = psstat_testproc::TempDir::new().unwrap();
    let empty = temp.path().to_str().unwrap();
    for command in [&[][..], &["doctor"], &["pid", "1"], &["explain", "1", "-e", "x"]] {
        for dir in [empty, "/sys"] {
            let output = run(&[command, &["--proc", dir]].concat());
            assert_eq!(output.status.code(), Some(2), "{command:?} {dir}");
            let message = stderr(&output);
            let want = format!("{dir} is not a procfs");
            assert!(message.contains(&want) && message.contains("mount -t proc"), "{message}");
        }
    }
}

#[test]
fn invalid_regex_is_underlined() {
    let output = run(&["-e", "日本(x"]);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    let lines: Vec<&str> = message.lines().collect();
    let at = lines.iter().position(|line| line.ends_with("| 日本(x")).unwrap();
    assert!(lines[at + 1].contains('^'));
    assert!(lines[at + 2].contains("= help: "));
    // Below the regex of a named image.
    let message = stderr(&run(&["-e", "name=ab(c"]));
    assert!(message.contains("  | name=ab(c\n  |        ^\n"), "{message}");
}

#[test]
fn closed_pipe_exits_0() {
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
fn full_disk_exits_2() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command(&["--no-conf"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("cannot write the output"));
}

#[test]
fn help_and_version_exit_0() {
    for (args, want) in [(["--help"], "write_bytes/s"), (["--version"], "psstat-dump 0.")] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains(want));
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn options_from_the_environment() {
    let output = command(&["--no-conf"]).env("PSSTAT_PROC", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let name = unique("absent");
    let output = command(&["-e", &name]).env("PSSTAT_CONF", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let output = command(&[]).env("PSSTAT_CONF", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// A small stack limit, and a filter of system calls, were a crash.
#[test]
fn starts_with_little() {
    // The environment is part of the stack, and the kernel moves its start by up to 8 KiB.
    let mut small = std::process::Command::new("/bin/sh");
    small.env_clear().args([
        "-c",
        "ulimit -s 16; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_psstat-dump"),
    ]);
    let output = small.args(["--no-conf", "--csv", "-p", "--columns", "pid"]).output().unwrap();
    let pids = stdout(&output);
    let own = std::process::id().to_string();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(pids.lines().any(|line| line.split(',').any(|field| field == own)), "{pids}");
    assert_eq!(stderr(&output), "");
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        return println!("skipped: no strace");
    }
    let run = |calls: &str, error: &str| {
        let mut filtered = std::process::Command::new("strace");
        let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:error={error}"));
        filtered.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
        filtered.arg(env!("CARGO_BIN_EXE_psstat-dump")).args(["--no-conf", "--csv"]);
        filtered.output().unwrap()
    };
    for (calls, error, message) in [
        ("getrandom", "EACCES", "psstat-dump: no random numbers: "),
        ("clone3,clone", "EPERM", "psstat-dump: cannot start the thread"),
    ] {
        let output = run(calls, error);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
        assert!(stderr(&output).starts_with(message), "{}", stderr(&output));
    }
    for error in ["EPERM", "ENOSYS"] {
        let output = run("nanosleep,clock_nanosleep", error);
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
        assert!(stdout(&output).lines().count() > 1);
    }
}
