//! A config file on a file system whose server stops responding or is stopped.

use std::path::Path;

use psstat_testproc::fuse::{FuseServer, Mode};
use psstat_testproc::{TempDir, isolated, test_name};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;

use super::common::{Collector, Setup, expected_values, testproc, word, write_conf};

/// Runs the test of this name in a new mount namespace, which ends with it, so that no mount is
/// left. True in that process.
pub(crate) fn inside(test: &str) -> bool {
    if !Path::new("/dev/fuse").exists() {
        println!("skipped: no /dev/fuse");
        return false;
    }
    isolated(test, &["unshare", "--mount", "--propagation", "private"])
}

fn detach(dir: &Path) {
    unmount(dir, UnmountFlags::DETACH).unwrap();
}

/// Asserts that cycles continue. A cycle that waited for the file would not end, because the server
/// does not respond before this returns.
fn assert_continues(collector: &Collector, image: &str, pid: u32) {
    let before = collector.count();
    let cycles = collector.cycles(before + 3);
    for cycle in &cycles[before + 1..] {
        assert_eq!(cycle.image(image), expected_values(image, &[pid]));
        assert_eq!(cycle.get("collector.conf_loaded"), 0);
        assert_eq!(cycle.get("collector.rules"), 1);
    }
    collector.assert_on_time();
}

#[test]
fn stuck_file_system_does_not_delay_cycles() {
    if !inside(test_name!()) {
        return;
    }
    let word = word("hung");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let directory = temp.join("mount");
    std::fs::create_dir(&directory).unwrap();
    let mut server =
        FuseServer::mount(&directory, "psstat.conf", &format!("one {word}\n")).unwrap();
    let path = directory.join("psstat.conf");
    let mut collector = Setup::with(&path).spawn();
    collector.wait_loaded(1);
    assert_eq!(collector.next_cycle().images(), ["one"]);
    // The kernel reports no event for this change; two reads detect it.
    server.set_content(&format!("two {word}\n"));
    collector.wait_loaded(2);
    assert_eq!(collector.next_cycle().images(), ["two"]);

    server.set_mode(Mode::Ignore);
    collector.wait_for_log(1, "not responding; keeping the previous 1 rule");
    assert_continues(&collector, "two", testproc.pid());
    server.set_content(&format!("three {word}\n"));
    server.set_mode(Mode::Answer);
    collector.wait_loaded(3);
    let cycle = collector.next_cycle();
    assert_eq!((cycle.images(), cycle.get("collector.conf_loaded")), (vec!["three"], 1));

    // It exits at once although a thread is stuck.
    server.set_mode(Mode::Ignore);
    collector.wait_for_log(2, "not responding");
    assert_eq!(collector.log().len(), 5, "{:#?}", collector.log());
    collector.signal(Signal::TERM);
    assert_eq!(collector.end(), Some(0));
}

/// The mount is detached while a read is stuck in it, and there is another file below it.
#[test]
fn config_loads_from_another_file_system_while_one_is_stuck() {
    if !inside(test_name!()) {
        return;
    }
    let word = word("beneath");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let directory = temp.join("mount");
    std::fs::create_dir(&directory).unwrap();
    let mut server = FuseServer::mount(&directory, "psstat.conf", "first x\n").unwrap();
    server.set_mode(Mode::Ignore);
    let path = directory.join("psstat.conf");
    let collector = Setup::with(&path).spawn();
    // The server never responded.
    collector.wait_for_log(1, "not responding; no rules until");
    assert_eq!(collector.next_cycle().images(), [""; 0]);
    detach(&directory);
    write_conf(&path, &format!("second {word}\n"));
    collector.wait_loaded(1);
    let cycle = collector.next_cycle();
    assert_eq!((cycle.images(), cycle.get("collector.conf_loaded")), (vec!["second"], 1));
    assert_eq!(cycle.image("second"), expected_values("second", &[testproc.pid()]));
    // When the stuck thread continues, its result is ignored.
    server.set_mode(Mode::Answer);
    assert_eq!(collector.next_cycle().images(), ["second"]);
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
}

#[test]
fn stale_nfs_is_logged_and_recovers() {
    if !inside(test_name!()) {
        return;
    }
    let word = word("restarted");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let directory = temp.join("mount");
    std::fs::create_dir(&directory).unwrap();
    let mut server =
        FuseServer::mount(&directory, "psstat.conf", &format!("one {word}\n")).unwrap();
    let path = directory.join("psstat.conf");
    let collector = Setup::with(&path).spawn();
    collector.wait_loaded(1);
    server.set_mode(Mode::End);
    collector.wait_for_log(1, "cannot be read: Transport endpoint is not connected");
    assert_continues(&collector, "one", testproc.pid());
    detach(&directory);
    collector.wait_for_log(1, "cannot be read: No such file");
    let _again = FuseServer::mount(&directory, "psstat.conf", &format!("two {word}\n")).unwrap();
    collector.wait_loaded(2);
    assert_eq!(collector.next_cycle().images(), ["two"]);
    assert_eq!(collector.log().len(), 4, "{:#?}", collector.log());
}
