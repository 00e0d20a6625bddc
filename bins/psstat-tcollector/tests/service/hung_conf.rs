//! A conf on a file system whose server stops answering, or vanishes.

use std::process::Command;

use psstat_testproc::TempDir;
use rustix::process::Signal;

use super::common::{Collector, Setup, testproc, truth_of, word, write_conf};
use super::fuse::Served;

/// Set in the process that has a mount namespace of its own.
const INSIDE: &str = "PSSTAT_TEST_INSIDE";

/// Runs the test of this name in a mount namespace of its own, which ends with
/// it, so that no mount is left whatever happens. True within.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"]);
    let possible = Command::new("unshare").args(["--mount", "true"]).output();
    if !possible.is_ok_and(|o| o.status.success()) || !std::path::Path::new("/dev/fuse").exists() {
        println!("skipped: no right to mount, or no /dev/fuse");
        return false;
    }
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    let output = command.env(INSIDE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"));
    false
}

/// That cycles go on. One that waited for the file would come to no end: nobody
/// answers before this returns.
fn goes_on(collector: &Collector, image: &str, pid: u32) {
    let before = collector.count();
    let cycles = collector.cycles(before + 3);
    for cycle in &cycles[before + 1..] {
        assert_eq!(cycle.image(image), truth_of(image, &[pid]));
        assert_eq!(cycle.get("collector.conf_loaded"), 0);
        assert_eq!(cycle.get("collector.rules"), 1);
    }
    collector.on_time();
}

#[test]
fn a_server_that_stops_answering_holds_nothing_up() {
    if !inside("hung_conf::a_server_that_stops_answering_holds_nothing_up") {
        return;
    }
    let word = word("hung");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let folder = temp.join("mount");
    std::fs::create_dir(&folder).unwrap();
    let served = Served::mount(&folder, "psstat.conf", &format!("one {word}\n"));
    let path = folder.join("psstat.conf");
    let mut collector = Setup::with(&path).spawn();
    collector.in_force(1);
    assert_eq!(collector.fresh().images(), ["one"]);
    // Nobody tells of this change; two looks see it.
    served.write(&format!("two {word}\n"));
    collector.in_force(2);
    assert_eq!(collector.fresh().images(), ["two"]);

    served.be_silent(true);
    collector.hear(1, "does not answer; the last 1 good rules stay in force");
    goes_on(&collector, "two", testproc.pid());
    served.write(&format!("three {word}\n"));
    served.be_silent(false);
    collector.in_force(3);
    let cycle = collector.fresh();
    assert_eq!((cycle.images(), cycle.get("collector.conf_loaded")), (vec!["three"], 1));

    // It ends at once though a thread hangs.
    served.be_silent(true);
    collector.hear(2, "does not answer");
    assert_eq!(collector.log().len(), 5, "{:#?}", collector.log());
    collector.signal(Signal::TERM);
    assert_eq!(collector.end(), Some(0));
}

/// The mount is given up while a look hangs in it, and a file lies beneath.
#[test]
fn another_file_system_is_taken_while_the_first_hangs() {
    if !inside("hung_conf::another_file_system_is_taken_while_the_first_hangs") {
        return;
    }
    let word = word("beneath");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let folder = temp.join("mount");
    std::fs::create_dir(&folder).unwrap();
    let served = Served::mount(&folder, "psstat.conf", "first x\n");
    served.be_silent(true);
    let path = folder.join("psstat.conf");
    let collector = Setup::with(&path).spawn();
    // Silent from the first.
    collector.hear(1, "does not answer; no rules are in force until it can be used");
    assert_eq!(collector.fresh().images(), [""; 0]);
    served.detach();
    write_conf(&path, &format!("second {word}\n"));
    collector.in_force(1);
    let cycle = collector.fresh();
    assert_eq!((cycle.images(), cycle.get("collector.conf_loaded")), (vec!["second"], 1));
    assert_eq!(cycle.image("second"), truth_of("second", &[testproc.pid()]));
    // When the thread that hung comes back, nobody listens to it.
    served.be_silent(false);
    assert_eq!(collector.fresh().images(), ["second"]);
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
}

#[test]
fn stale_nfs_is_logged_and_recovers() {
    if !inside("hung_conf::stale_nfs_is_logged_and_recovers") {
        return;
    }
    let word = word("vanished");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let folder = temp.join("mount");
    std::fs::create_dir(&folder).unwrap();
    let mut served = Served::mount(&folder, "psstat.conf", &format!("one {word}\n"));
    let path = folder.join("psstat.conf");
    let collector = Setup::with(&path).spawn();
    collector.in_force(1);
    served.end();
    collector.hear(1, "cannot be read: Transport endpoint is not connected");
    goes_on(&collector, "one", testproc.pid());
    drop(served);
    collector.hear(1, "cannot be read: No such file");
    let _again = Served::mount(&folder, "psstat.conf", &format!("two {word}\n"));
    collector.in_force(2);
    assert_eq!(collector.fresh().images(), ["two"]);
    assert_eq!(collector.log().len(), 4, "{:#?}", collector.log());
}
