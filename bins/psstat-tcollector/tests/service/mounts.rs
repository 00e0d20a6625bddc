//! File systems that fill up or are unmounted while the collector runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use psstat_testproc::formats::tsd;
use psstat_testproc::{TempDir, oracle};

use super::common::{
    PROGRAM, Setup, assert_on_time, conf, expected_values, parse_cycles, testproc, until, word,
};

/// A shell in a new mount namespace with a small tmpfs in the directory `$P`; its other arguments
/// are `"$@"`. `None` if that is not permitted.
fn with_tmpfs(script: &str, directory: &Path) -> Option<Command> {
    let shell = |script: &str| {
        let mut shell = Command::new("unshare");
        let script = format!("P=$0; mount -t tmpfs -o size=32k,mode=755 tmpfs $P && {script}");
        shell.args(["--mount", "sh", "-c", &script]).arg(directory);
        shell
    };
    let trial = shell("true").output();
    if !trial.as_ref().is_ok_and(|output| output.status.success()) {
        println!("skipped: no right to mount: {trial:?}");
        return None;
    }
    Some(shell(script))
}

/// The path of a file in that process's root directory.
fn path_in_root_of(pid: u32, path: &Path) -> PathBuf {
    Path::new(&format!("/proc/{pid}/root")).join(path.strip_prefix("/").unwrap())
}

/// The disk fills up in the middle of a line, and has space again later: no partial line can be
/// read as a point with another value.
#[test]
fn full_disk_never_causes_wrong_points() {
    let word = word("kept");
    let kept = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("kept {word}\n"));
    let directory = temp.join("disk");
    std::fs::create_dir(&directory).unwrap();
    let Some(mut shell) = with_tmpfs("exec \"$@\" >>$P/out", &directory) else { return };
    shell.arg(PROGRAM);
    let collector = Setup::of(shell).env("PSSTAT_INTERVAL", "1").arg("--conf").arg(&path).spawn();
    collector.wait_for_log(1, ": loaded ");
    let out = path_in_root_of(collector.pid(), &directory.join("out"));
    let ends =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).matches("collector.skipped_cycles ").count();
    until("two cycles", || std::fs::read(&out).is_ok_and(|bytes| ends(&bytes) >= 2));
    // Another file takes the remaining space.
    let filler = path_in_root_of(collector.pid(), &directory.join("filler"));
    let _ = std::fs::write(&filler, vec![0; 1 << 20]);
    collector.wait_for_log(1, "cannot write to stdout: No space left");
    std::fs::remove_file(&filler).unwrap();
    let full = ends(&std::fs::read(&out).unwrap());
    until("three more cycles", || ends(&std::fs::read(&out).unwrap()) >= full + 3);

    let text = std::fs::read_to_string(&out).unwrap();
    let (whole, _) = text.rsplit_once('\n').unwrap();
    let torn: Vec<&str> = whole.lines().filter(|line| line.ends_with(" torn")).collect();
    assert!(torn.len() <= 1, "{torn:?}");
    // The interrupted cycle is not complete; all its complete lines are valid.
    let lines: Vec<&str> = whole.lines().filter(|line| !line.ends_with(" torn")).collect();
    tsd::parse_stream(lines.iter().copied()).unwrap();
    let is_last = |line: &&str| line.contains("collector.skipped_cycles ");
    let mut ends = (0..lines.len()).rev().filter(|&at| is_last(&lines[at]));
    let [last, _, before] = [(); 3].map(|()| ends.next().unwrap());
    let cycles = parse_cycles(lines[before + 1..=last].iter().copied());
    assert_on_time(&cycles);
    let cycle = &cycles[1];
    assert_eq!(cycle.image("kept"), expected_values("kept", &[kept.pid()]));
    assert_eq!(cycle.get("collector.panics"), 0);
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
}

/// The file system with the config file is unmounted while it is watched, and mounted again.
#[test]
fn unmounted_config_keeps_rules() {
    let word = word("mounted");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let directory = temp.join("shared");
    std::fs::create_dir(&directory).unwrap();
    let conf = conf(&temp, &format!("mounted {word}\n"));
    // The test creates these files to request each step.
    let wait = |mark: &str| {
        format!("i=0; while [ $i -lt 600 -a ! -e $P.{mark} ]; do sleep 0.1; i=$((i+1)); done")
    };
    let script = format!(
        "cp -p {conf} $P/psstat.conf && \
         {{ ({}; umount -l $P; {}; mount -t tmpfs tmpfs $P; cp -p {conf} $P/psstat.conf) \
         </dev/null >/dev/null 2>&1 & exec \"$@\"; }}",
        wait("away"),
        wait("back"),
        conf = conf.display()
    );
    let Some(mut shell) = with_tmpfs(&script, &directory) else { return };
    shell.arg(PROGRAM);
    let setup = Setup::of(shell).env("PSSTAT_INTERVAL", "1");
    let collector = setup.arg("--conf").arg(directory.join("psstat.conf")).spawn();
    collector.wait_loaded(1);
    let expected = expected_values("mounted", &[testproc.pid()]);
    assert_eq!(collector.next_cycle().image("mounted"), expected);
    std::fs::write(temp.join("shared.away"), "").unwrap();
    collector.wait_for_log(1, "keeping the previous 1 rule");
    for _ in 0..2 {
        let cycle = collector.next_cycle();
        assert_eq!(cycle.image("mounted"), expected);
        assert_eq!(cycle.get("collector.conf_loaded"), 0);
    }
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
    std::fs::write(temp.join("shared.back"), "").unwrap();
    collector.wait_loaded(2);
    let cycle = collector.next_cycle();
    assert_eq!(cycle.image("mounted"), expected);
    assert_eq!(cycle.get("collector.conf_loaded"), 1);
    assert!(oracle::fds(collector.pid()).is_ok());
    collector.assert_on_time();
    assert_eq!(collector.log().len(), 3, "{:#?}", collector.log());
}

/// The size of a file has a limit (`RLIMIT_FSIZE`): the write fails, and the program continues.
#[test]
fn rlimit_fsize_is_survived() {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("none {}\n", word("unused")));
    let mut shell = Command::new("/bin/sh");
    let script = format!("ulimit -f 1; exec \"$@\" >>{}", temp.join("out").display());
    shell.args(["-c", &script, "sh", PROGRAM]);
    let setup = Setup::of(shell).args(&["--interval", "1", "--cycles", "3", "--conf"]).arg(&path);
    let mut collector = setup.spawn();
    collector.finish_on_time(3);
    assert_eq!(collector.logged("cannot write to stdout: File too large").len(), 1);
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
}
