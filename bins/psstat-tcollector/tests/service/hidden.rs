//! Procfs that hide processes (`hidepid`, see proc(5)), and the two capabilities with which nothing
//! is hidden.

use std::path::{Path, PathBuf};
use std::process::Command;

use psstat_testproc::{TempDir, TestProcess};

use super::common::{
    Collector, Cycle, PROGRAM, Setup, conf, expected_values, testproc, until, word,
};

/// The user of the collector.
const OTHER_UID: u32 = 65534;
const AS_OTHER_USER: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";

/// All processes are listed within this number of cycles (docs/metrics.md).
const ALL_LISTED: usize = 8;

/// A process of the collector's user and one of another user, with a rule for each, one for both,
/// and a program that all users may run.
struct Scene {
    temp: TempDir,
    mine: TestProcess,
    theirs: TestProcess,
    conf: PathBuf,
    program: PathBuf,
}

impl Scene {
    /// `None` if the shell script is not permitted.
    fn new(script: &str) -> Option<Scene> {
        let temp = TempDir::new().unwrap();
        std::fs::create_dir(temp.join("proc")).unwrap();
        let mut trial = shell(script, &temp.join("proc"));
        let trial = trial.arg("/bin/true").output();
        if !trial.as_ref().is_ok_and(|output| output.status.success()) {
            println!("skipped: {script}: {trial:?}");
            return None;
        }
        let (own, others) = (word("own"), word("others"));
        let (mut mine, mut theirs) = (testproc(&own), testproc(&others));
        mine.setuid(OTHER_UID).unwrap();
        mine.set_dumpable(true).unwrap();
        for testproc in [&mut mine, &mut theirs] {
            testproc.open_files(5).unwrap();
            testproc.threads(2).unwrap();
            testproc.tcp_pairs(2).unwrap();
            testproc.unix_pairs(1).unwrap();
            testproc.write_bytes(10_000, 10).unwrap();
            testproc.quiesce().unwrap();
        }
        let text = format!("own {own}\nothers {others}\nboth {own}|{others}\n");
        let conf = conf(&temp, &text);
        let program = temp.join("psstat-tcollector");
        psstat_testproc::copy_program(PROGRAM, &program).unwrap();
        Some(Scene { temp, mine, theirs, conf, program })
    }

    fn start(&self, script: &str, proc: &Path) -> Collector {
        let setup = Setup::of(shell(script, proc)).env("PSSTAT_INTERVAL", "1");
        setup.arg(&self.program).arg("--proc").arg(proc).arg("--conf").arg(&self.conf).spawn()
    }

    fn assert_mine_is_complete(&self, cycle: &Cycle) {
        assert_eq!(cycle.image("own"), expected_values("own", &[self.mine.pid()]));
        assert!(cycle.printed("pcpu image=own").is_some());
    }

    /// Only the user's processes are visible.
    fn assert_theirs_is_hidden(&self, cycle: &Cycle) {
        self.assert_mine_is_complete(cycle);
        assert_eq!(cycle.get("procs image=others"), 0);
        assert_eq!(cycle.image("both"), expected_values("both", &[self.mine.pid()]));
    }
}

/// A shell in a new mount namespace; `$P` is a directory for a procfs, and the arguments are a
/// command.
fn shell(script: &str, proc: &Path) -> Command {
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", &format!("P=$0; {script} \"$@\"")]).arg(proc);
    shell
}

#[test]
fn hidepid_keeps_own_processes() {
    // 1: other users' processes are listed and cannot be read; 2: they are not listed; 4: as 2,
    // depending on ptrace permission.
    let script =
        |hidepid| format!("mount -t proc -o hidepid={hidepid} proc $P && exec {AS_OTHER_USER}");
    let Some(scene) = Scene::new(&script(2)) else { return };
    let collectors = [1, 2, 4].map(|hidepid| {
        let proc = scene.temp.join(format!("proc{hidepid}"));
        std::fs::create_dir(&proc).unwrap();
        (hidepid, scene.start(&script(hidepid), &proc))
    });
    for (hidepid, collector) in collectors {
        let cycle = collector.cycles(3).remove(2);
        scene.assert_theirs_is_hidden(&cycle);
        let (seen, denied) =
            (cycle.get("collector.processes"), cycle.get("collector.denied type=cmdline"));
        if hidepid == 1 {
            assert!(denied > 0, "of {seen} processes");
            assert_eq!(collector.logged("/proc/PID/cmdline of").len(), 1, "{:?}", collector.log());
        } else {
            assert_eq!(denied, 0, "hidepid={hidepid}");
            assert_eq!(
                collector.logged("permission denied for /proc"),
                [""; 0],
                "hidepid={hidepid}"
            );
        }
        assert_eq!(cycle.get("collector.panics"), 0);
        collector.assert_on_time();
        // The message about the loaded rules, and one for each denied file.
        let denied = collector.logged("permission denied for /proc").len();
        assert_eq!(collector.log().len(), 1 + denied, "{:#?}", collector.log());
    }
}

#[test]
fn remount_with_hidepid_keeps_own_processes() {
    // The test creates `$P.hide` to request the remount.
    let script = format!(
        "mount -t proc proc $P || exit; \
         (i=0; while [ $i -lt 600 -a ! -e $P.hide ]; do sleep 0.1; i=$((i+1)); done; \
          mount -o remount,hidepid=2 proc $P && : >$P.hidden) </dev/null >/dev/null 2>&1 & \
         exec {AS_OTHER_USER}"
    );
    let trial = format!(
        "mount -t proc proc $P && mount -o remount,hidepid=2 proc $P && exec {AS_OTHER_USER}"
    );
    let Some(mut scene) = Scene::new(&trial) else { return };
    let proc = scene.temp.join("proc");
    let collector = scene.start(&script, &proc);
    collector.wait_loaded(1);
    let cycle = collector.next_cycle();
    scene.assert_mine_is_complete(&cycle);
    assert_eq!(cycle.get("procs image=both"), 2);
    let before = cycle.get("io image=both type=wchar");

    std::fs::write(scene.temp.join("proc.hide"), "").unwrap();
    until("the procfs hides", || scene.temp.join("proc.hidden").exists());
    scene.mine.write_bytes(777, 1).unwrap();
    scene.mine.quiesce().unwrap();
    // No process started or exited, so the change shows when all processes are listed again: some
    // cycles later, unless another process of the machine exited meanwhile.
    let begun = collector.count() + 1;
    let hides = |after: &Cycle| after.time > cycle.time && after.get("procs image=others") == 0;
    collector.cycle("others are hidden", hides);
    let first = collector.cycles(0).iter().position(hides).unwrap();
    assert!(first <= begun + ALL_LISTED + 1, "{first}, since {begun}");
    let cycle = collector.next_cycle();
    scene.assert_theirs_is_hidden(&cycle);
    let done = cycle.get("io image=both type=wchar") - before;
    assert!((777..10_000).contains(&done), "{done}: once, and the testproc's answers");
    collector.assert_on_time();
    let denied = collector.logged("permission denied for /proc").len();
    assert_eq!(collector.log().len(), 1 + denied, "{:#?}", collector.log());
}

#[test]
fn capabilities_reveal_hidden_processes() {
    let script = format!(
        "mount -t proc -o hidepid=2 proc $P && exec {AS_OTHER_USER} \
         --inh-caps +sys_ptrace,+dac_read_search --ambient-caps +sys_ptrace,+dac_read_search"
    );
    let Some(scene) = Scene::new(&script) else { return };
    let hiding = scene.start(&script, &scene.temp.join("proc"));
    // The same without a new procfs.
    let plain = script.replace("mount -t proc -o hidepid=2 proc $P && ", "");
    let open = scene.start(&plain, Path::new("/proc"));
    let (mine, theirs) = (scene.mine.pid(), scene.theirs.pid());
    for collector in [hiding, open] {
        for cycle in &collector.cycles(3)[1..] {
            for (image, pids) in
                [("own", &[mine][..]), ("others", &[theirs]), ("both", &[mine, theirs])]
            {
                assert_eq!(cycle.image(image), expected_values(image, pids));
                assert!(cycle.printed(&format!("pcpu image={image}")).is_some());
            }
            for file in ["cmdline", "io", "fd", "statm", "stat"] {
                assert_eq!(cycle.get(&format!("collector.denied type={file}")), 0, "{file}");
            }
        }
        collector.assert_on_time();
        assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
    }
}
