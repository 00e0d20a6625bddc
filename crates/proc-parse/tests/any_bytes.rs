//! No bytes make a parser panic, whether they are far from the kernel's format
//! or near to it.

use proptest::collection::vec;
use proptest::prelude::*;
use psstat_proc_parse::net::{inet, unix};
use psstat_proc_parse::{Cmdline, FdTarget, Io, Limits, Stat, StatCore, Statm, Status};

/// Bytes that look like the kernel's, with something changed.
fn near(original: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
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

/// Everything that can be asked of `text`; only panics matter.
fn read_as_everything(text: &[u8]) {
    let _ = (Stat::parse(text), StatCore::parse(text), Statm::parse(text), Io::parse(text));
    if let Ok(status) = Status::parse(text) {
        let _ = status.name.map(|name| name.unescaped().count());
        let _ = status.ns_pid.map(|pids| pids.iter().count());
    }
    if let Ok(limits) = Limits::parse(text) {
        let _ = (limits.rows().count(), limits.get(b"Max open files"));
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
    fn any_bytes_make_no_panic(text in vec(any::<u8>(), 0..400)) {
        read_as_everything(&text);
    }

    #[test]
    fn nearly_right_bytes_make_no_panic(text in prop_oneof![
        near(fixture!("worker/stat")), near(fixture!("worker/status")),
        near(fixture!("worker/io")), near(fixture!("worker/limits")),
        near(fixture!("net/tcp")), near(fixture!("net/tcp6")),
        near(fixture!("net/udp")), near(fixture!("net/unix")),
    ]) {
        read_as_everything(&text);
    }
}
