//! No parser panics, on random bytes and on slightly changed files.

use proptest::collection::vec;
use proptest::prelude::*;
use psstat_proc_parse::net::{inet, unix};
use psstat_proc_parse::{Cgroups, Cmdline, FdTarget, Io, Limits, Stat, StatCore, Statm, Status};

/// The original with up to three bytes changed, inserted or removed.
fn edited(original: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0..3_u8);
    vec(edit, 1..4).prop_map(move |edits| {
        let mut text = original.to_vec();
        for (place, byte, how) in edits {
            let at = place.index(text.len());
            match how {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                _ => drop(text.remove(at)),
            }
            if text.is_empty() {
                break;
            }
        }
        text
    })
}

/// Calls all parsers and accessors; only panics matter.
fn parse_as_everything(text: &[u8]) {
    let _ = (Stat::parse(text), StatCore::parse(text), Statm::parse(text), Io::parse(text));
    if let Ok(status) = Status::parse(text) {
        let _ = status.name.map(|name| name.unescaped().count());
        let _ = status.ns_pid.map(|pids| pids.iter().count());
    }
    if let Ok(limits) = Limits::parse(text) {
        let _ = (limits.rows().count(), limits.get(b"Max open files"));
    }
    if let Ok(cgroups) = Cgroups::parse(text) {
        let _ = (cgroups.iter().count(), cgroups.v2(), cgroups.get(b"memory"));
    }
    let cmdline = Cmdline::new(text);
    let _ = (cmdline.args().count(), cmdline.joined().count(), cmdline.argv0());
    let _ = FdTarget::parse(text);
    for error in inet::Rows::new(text).filter_map(Result::err) {
        assert!(error.offset() <= text.len() && !error.to_string().is_empty());
    }
    for error in unix::Rows::new(text).filter_map(Result::err) {
        assert!(error.offset() <= text.len() && !error.to_string().is_empty());
    }
    let _ = (inet::Established::new(text).count(), unix::Established::new(text).count());
    let _ = (inet::Row::parse(text), inet::established(text), unix::Row::parse(text));
    let _ = unix::established(text);
}

macro_rules! fixture {
    ($name:literal) => {
        &include_bytes!(concat!("../../../fixtures/proc/6.18/", $name))[..]
    };
}

proptest! {
    #[test]
    fn random_bytes(text in vec(any::<u8>(), 0..400)) {
        parse_as_everything(&text);
    }

    #[test]
    fn edited_files(text in prop_oneof![
        edited(fixture!("worker/stat")), edited(fixture!("worker/status")),
        edited(fixture!("worker/io")), edited(fixture!("worker/limits")),
        edited(fixture!("net/tcp")), edited(fixture!("net/tcp6")),
        edited(fixture!("net/udp")), edited(fixture!("net/unix")),
    ]) {
        parse_as_everything(&text);
    }
}
