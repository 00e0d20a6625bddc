//! File systems that fill up or go away under the collector.

use std::path::{Path, PathBuf};
use std::process::Command;

use psstat_testproc::formats::tsd;
use psstat_testproc::{TempDir, oracle};

use super::common::{PROGRAM, Setup, conf, judge, on_time, testproc, truth_of, until, word};

/// A shell in a mount namespace of its own with a small tmpfs in the folder
/// `$P`; its other arguments are `"$@"`. Nothing where that is not allowed.
fn on_a_tmpfs(script: &str, folder: &Path) -> Option<Command> {
    let shell = |script: &str| {
        let mut shell = Command::new("unshare");
        let script = format!("P=$0; mount -t tmpfs -o size=32k,mode=755 tmpfs $P && {script}");
        shell.args(["--mount", "sh", "-c", &script]).arg(folder);
        shell
    };
    let trial = shell("true").output();
    if !trial.as_ref().is_ok_and(|output| output.status.success()) {
        println!("skipped: no right to mount: {trial:?}");
        return None;
    }
    Some(shell(script))
}

/// The same path as that process sees it.
fn seen_by(pid: u32, path: &Path) -> PathBuf {
    Path::new(&format!("/proc/{pid}/root")).join(path.strip_prefix("/").unwrap())
}

/// The disk fills up in the middle of a line, and has room again later: no line
/// that was cut off can be taken for a point with another value.
#[test]
fn a_disk_that_fills_up_gets_whole_lines_or_ones_that_say_so() {
    let word = word("kept");
    let kept = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("kept {word}\n"));
    let folder = temp.join("disk");
    std::fs::create_dir(&folder).unwrap();
    let Some(mut shell) = on_a_tmpfs("exec \"$@\" >>$P/out", &folder) else { return };
    shell.arg(PROGRAM);
    let collector = Setup::of(shell).env("PSSTAT_INTERVAL", "1").arg("--conf").arg(&path).spawn();
    collector.hear(1, ": loaded ");
    let out = seen_by(collector.pid(), &folder.join("out"));
    let ends =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).matches("collector.skipped_cycles ").count();
    until("two cycles", || std::fs::read(&out).is_ok_and(|bytes| ends(&bytes) >= 2));
    // Another file takes the rest.
    let filler = seen_by(collector.pid(), &folder.join("filler"));
    let _ = std::fs::write(&filler, vec![0; 1 << 20]);
    collector.hear(1, "cannot write to stdout: No space left");
    std::fs::remove_file(&filler).unwrap();
    let full = ends(&std::fs::read(&out).unwrap());
    until("three more cycles", || ends(&std::fs::read(&out).unwrap()) >= full + 3);

    let text = std::fs::read_to_string(&out).unwrap();
    let (whole, _) = text.rsplit_once('\n').unwrap();
    let torn: Vec<&str> = whole.lines().filter(|line| line.ends_with(" torn")).collect();
    assert!(torn.len() <= 1, "{torn:?}");
    // The cycle that was cut is not whole; every line of it that is there is.
    let lines: Vec<&str> = whole.lines().filter(|line| !line.ends_with(" torn")).collect();
    tsd::parse_stream(lines.iter().copied()).unwrap();
    let is_last = |line: &&str| line.contains("collector.skipped_cycles ");
    let mut ends = (0..lines.len()).rev().filter(|&at| is_last(&lines[at]));
    let [last, _, before] = [(); 3].map(|()| ends.next().unwrap());
    let cycles = judge(lines[before + 1..=last].iter().copied());
    on_time(&cycles);
    let cycle = &cycles[1];
    assert_eq!(cycle.image("kept"), truth_of("kept", &[kept.pid()]));
    assert_eq!(cycle.get("collector.panics"), 0);
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
}

/// The file system with the conf is taken away while it is watched, and comes
/// back.
#[test]
fn unmounted_config_keeps_rules() {
    let word = word("mounted");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let folder = temp.join("shared");
    std::fs::create_dir(&folder).unwrap();
    let conf = conf(&temp, &format!("mounted {word}\n"));
    // The marks beside the folder are the test's words.
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
    let Some(mut shell) = on_a_tmpfs(&script, &folder) else { return };
    shell.arg(PROGRAM);
    let setup = Setup::of(shell).env("PSSTAT_INTERVAL", "1");
    let collector = setup.arg("--conf").arg(folder.join("psstat.conf")).spawn();
    collector.in_force(1);
    let truth = truth_of("mounted", &[testproc.pid()]);
    assert_eq!(collector.fresh().image("mounted"), truth);
    std::fs::write(temp.join("shared.away"), "").unwrap();
    collector.hear(1, "keeping the previous 1 rules");
    for _ in 0..2 {
        let cycle = collector.fresh();
        assert_eq!(cycle.image("mounted"), truth);
        assert_eq!(cycle.get("collector.conf_loaded"), 0);
    }
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
    std::fs::write(temp.join("shared.back"), "").unwrap();
    collector.in_force(2);
    let cycle = collector.fresh();
    assert_eq!(cycle.image("mounted"), truth);
    assert_eq!(cycle.get("collector.conf_loaded"), 1);
    assert!(oracle::fds(collector.pid()).is_ok());
    collector.on_time();
    assert_eq!(collector.log().len(), 3, "{:#?}", collector.log());
}

/// A file may not grow without end (`RLIMIT_FSIZE`): that is a failed write,
/// and no end of the program.
#[test]
fn rlimit_fsize_is_survived() {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("none {}\n", word("nobody")));
    let mut shell = Command::new("/bin/sh");
    let script = format!("ulimit -f 1; exec \"$@\" >>{}", temp.join("out").display());
    shell.args(["-c", &script, "sh", PROGRAM]);
    let setup = Setup::of(shell).args(&["--interval", "1", "--cycles", "3", "--conf"]).arg(&path);
    let mut collector = setup.spawn();
    collector.finish_on_time(3);
    assert_eq!(collector.logged("cannot write to stdout: File too large").len(), 1);
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
}
