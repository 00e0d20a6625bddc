//! Socket tables that change while they are read.

use std::sync::atomic::{AtomicBool, Ordering};

use psstat_testproc::{Config, Kind, TempDir, TestProcess};

use super::common::{Setup, conf, testproc, word};

/// Sockets of each kind that stay open, and those that are opened and closed.
const STILL: u64 = 25;
const BUSY: u64 = 400;

/// Opens and closes connections until the flag is set, and returns the number of rounds.
fn churn(busy: &mut TestProcess, over: &AtomicBool) -> u64 {
    let mut rounds = 0;
    while !over.load(Ordering::Relaxed) {
        for kind in [Kind::Tcp, Kind::UnixStream, Kind::Udp] {
            busy.open_sockets(kind, BUSY).unwrap();
        }
        for kind in [Kind::Tcp, Kind::UnixStream, Kind::Udp] {
            busy.close_sockets(kind, BUSY).unwrap();
        }
        rounds += 1;
    }
    rounds
}

fn still_sockets(still: &mut TestProcess) {
    for kind in [Kind::Tcp, Kind::UnixStream, Kind::Udp] {
        still.open_sockets(kind, STILL).unwrap();
    }
    still.quiesce().unwrap();
}

/// The number of open sockets is exact, and that of the changing ones within bounds, while
/// thousands of connections are opened and closed per second: in the collector's network namespace
/// by netlink, in another one by the text tables, which the kernel returns page by page.
#[test]
fn changing_socket_tables_give_correct_values() {
    let (still_word, busy_word) = (word("still"), word("busy"));
    let temp = TempDir::new().unwrap();
    let path = conf(
        &temp,
        &format!(
            "still-here {still_word}h\nbusy-here {busy_word}h\nstill-there {still_word}t\nbusy-there {busy_word}t\n"
        ),
    );
    let mut still_here = testproc(&format!("{still_word}h"));
    let mut busy_here = testproc(&format!("{busy_word}h"));
    still_sockets(&mut still_here);
    // The other two in a new network namespace.
    let mut still_there = testproc(&format!("{still_word}t"));
    let mut busy_there = match still_there.unshare_net() {
        Ok(()) => Some(still_there.fork_child(&Config::new(format!("{busy_word}t"))).unwrap()),
        Err(error) => {
            println!("skipped: no right to make a network namespace: {error}");
            None
        }
    };
    still_sockets(&mut still_there);
    let over = AtomicBool::new(false);
    let collector = Setup::with(&path).spawn();
    collector.wait_loaded(1);
    collector.next_cycle();
    /// Ends the churn, also after a panic.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let over = &over;
        let ends = Over(over);
        let mut churners = vec![scope.spawn(|| churn(&mut busy_here, over))];
        churners.extend(busy_there.as_mut().map(|busy| scope.spawn(|| churn(busy, over))));
        let begun = collector.count();
        let cycles = collector.cycles(begun + 6);
        for cycle in &cycles[begun + 1..] {
            let check = |place: &str| {
                // Both ends of tcp and unix sockets are here.
                for (kind, each) in [("tcp", 2), ("unix", 2), ("udp", 1)] {
                    let of =
                        |image: &str| cycle.get(&format!("net image={image}-{place} type={kind}"));
                    assert_eq!(of("still"), (STILL * each).cast_signed(), "{kind} {place}");
                    let busy = of("busy");
                    let most = (BUSY * each).cast_signed();
                    assert!((0..=most).contains(&busy), "{busy} {kind} {place}");
                }
            };
            check("here");
            if churners.len() > 1 {
                check("there");
            }
            assert_eq!(cycle.get("collector.panics"), 0);
        }
        drop(ends);
        for churner in churners {
            assert!(churner.join().unwrap() > 0);
        }
    });
    // Afterwards none of the sockets is left.
    for image in ["busy-here", "busy-there"] {
        let series = ["tcp", "udp", "unix"].map(|kind| format!("net image={image} type={kind}"));
        collector.cycle("all closed", |cycle| series.iter().all(|series| cycle.get(series) == 0));
    }
    collector.assert_on_time();
    assert_eq!(collector.log().len(), 1, "{:#?}", collector.log());
}
