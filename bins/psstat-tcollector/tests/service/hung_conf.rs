//! A conf on a file system whose server stops answering, or vanishes.

use std::path::Path;

use psstat_testproc::fuse::{FuseServer, Mode};
use psstat_testproc::{TempDir, isolated, test_name};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;

use super::common::{Collector, Setup, testproc, truth_of, word, write_conf};

/// Runs the test of this name in a mount namespace of its own, which ends with it, so that no
/// mount is left behind. True in that process.
fn inside(test: &str) -> bool {
    if !Path::new("/dev/fuse").exists() {
        println!("skipped: no /dev/fuse");
        return false;
    }
    isolated(test, &["unshare", "--mount", "--propagation", "private"])
}

fn detach(dir: &Path) {
    unmount(dir, UnmountFlags::DETACH).unwrap();
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
    if !inside(test_name!()) {
        return;
    }
    let word = word("hung");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let folder = temp.join("mount");
    std::fs::create_dir(&folder).unwrap();
    let mut server = FuseServer::mount(&folder, "psstat.conf", &format!("one {word}\n")).unwrap();
    let path = folder.join("psstat.conf");
    let mut collector = Setup::with(&path).spawn();
    collector.in_force(1);
    assert_eq!(collector.fresh().images(), ["one"]);
    // Nobody tells of this change; two looks see it.
    server.set_content(&format!("two {word}\n"));
    collector.in_force(2);
    assert_eq!(collector.fresh().images(), ["two"]);

    server.set_mode(Mode::Ignore);
    collector.hear(1, "not responding; keeping the previous 1 rules");
    goes_on(&collector, "two", testproc.pid());
    server.set_content(&format!("three {word}\n"));
    server.set_mode(Mode::Answer);
    collector.in_force(3);
    let cycle = collector.fresh();
    assert_eq!((cycle.images(), cycle.get("collector.conf_loaded")), (vec!["three"], 1));

    // It ends at once though a thread hangs.
    server.set_mode(Mode::Ignore);
    collector.hear(2, "not responding");
    assert_eq!(collector.log().len(), 5, "{:#?}", collector.log());
    collector.signal(Signal::TERM);
    assert_eq!(collector.end(), Some(0));
}

/// The mount is given up while a look hangs in it, and a file lies beneath.
#[test]
fn another_file_system_is_taken_while_the_first_hangs() {
    if !inside(test_name!()) {
        return;
    }
    let word = word("beneath");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let folder = temp.join("mount");
    std::fs::create_dir(&folder).unwrap();
    let mut server = FuseServer::mount(&folder, "psstat.conf", "first x\n").unwrap();
    server.set_mode(Mode::Ignore);
    let path = folder.join("psstat.conf");
    let collector = Setup::with(&path).spawn();
    // Silent from the first.
    collector.hear(1, "not responding; no rules until");
    assert_eq!(collector.fresh().images(), [""; 0]);
    detach(&folder);
    write_conf(&path, &format!("second {word}\n"));
    collector.in_force(1);
    let cycle = collector.fresh();
    assert_eq!((cycle.images(), cycle.get("collector.conf_loaded")), (vec!["second"], 1));
    assert_eq!(cycle.image("second"), truth_of("second", &[testproc.pid()]));
    // When the thread that hung comes back, nobody listens to it.
    server.set_mode(Mode::Answer);
    assert_eq!(collector.fresh().images(), ["second"]);
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());
}

#[test]
fn stale_nfs_is_logged_and_recovers() {
    if !inside(test_name!()) {
        return;
    }
    let word = word("vanished");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let folder = temp.join("mount");
    std::fs::create_dir(&folder).unwrap();
    let mut server = FuseServer::mount(&folder, "psstat.conf", &format!("one {word}\n")).unwrap();
    let path = folder.join("psstat.conf");
    let collector = Setup::with(&path).spawn();
    collector.in_force(1);
    server.set_mode(Mode::End);
    collector.hear(1, "cannot be read: Transport endpoint is not connected");
    goes_on(&collector, "one", testproc.pid());
    detach(&folder);
    collector.hear(1, "cannot be read: No such file");
    let _again = FuseServer::mount(&folder, "psstat.conf", &format!("two {word}\n")).unwrap();
    collector.in_force(2);
    assert_eq!(collector.fresh().images(), ["two"]);
    assert_eq!(collector.log().len(), 4, "{:#?}", collector.log());
}
