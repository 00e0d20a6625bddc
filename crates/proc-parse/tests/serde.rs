//! Feature `serde`: values as JSON, with bytes as text.

#![cfg(feature = "serde")]

use psstat_proc_parse::net::{inet, unix};
use psstat_proc_parse::{Cgroups, Cmdline, FdTarget, Limits, Stat, Statm, Status};
use serde::Serialize;
use serde_json::{Value, json};

fn to_json(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

#[test]
fn stat() {
    let text =
        b"42 (a\xff) b) S 1 42 42 0 -1 4194304 117 0 1 0 7 3 0 0 20 0 4 0 133599 3133440 381 \
        18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
    let stat = to_json(Stat::parse(text).unwrap());
    assert_eq!(stat["comm"], "a\u{fffd}) b");
    assert_eq!((&stat["state"], &stat["rss"]), (&json!("sleeping"), &json!(381)));
    assert_eq!(stat.as_object().unwrap().len(), 52);
    let statm = to_json(Statm::parse(b"765 406 377 5 0 123 0\n").unwrap());
    assert_eq!((&statm["size"], &statm["dt"]), (&json!(765), &json!(0)));
}

#[test]
fn status() {
    let text = b"Name:\ta\\nb\\\\\xff\nUid:\t1\t2\t3\t4\nNSpid:\t7\t1\nVmRSS:\t    1668 kB\n";
    let status = to_json(Status::parse(text).unwrap());
    assert_eq!(status["name"], "a\nb\\\u{fffd}");
    assert_eq!(status["uid"], json!({"real": 1, "effective": 2, "saved": 3, "fs": 4}));
    assert_eq!((&status["ns_pid"], &status["vm_rss"]), (&json!([7, 1]), &json!(1668)));
    assert_eq!(status["vm_swap"], Value::Null);
}

#[test]
fn tables_and_lines() {
    let limits =
        b"Limit                     Soft Limit           Hard Limit           Units     \n\
        Max open files            1024                 unlimited            files     \n";
    let row = json!({"name": "Max open files", "soft": 1024, "hard": null, "units": "files"});
    assert_eq!(to_json(Limits::parse(limits).unwrap()), json!([row]));
    let group = json!({"hierarchy": 0, "controllers": "", "path": "/a"});
    assert_eq!(to_json(Cgroups::parse(b"0::/a\n").unwrap()), json!([group]));
    assert_eq!(to_json(Cmdline::new(b"a\0b c\0")), json!(["a", "b c"]));
    assert_eq!(to_json(FdTarget::parse(b"socket:[7]")), "socket:[7]");
}

#[test]
fn sockets() {
    let row = b"0: 0100007F:0277 00000000:0000 0A 00000000:00000000 00:00000000 00000000     \
        0        0 1145 1";
    let row = to_json(inet::InetRow::parse(row).unwrap());
    assert_eq!((&row["local"], &row["state"]), (&json!("127.0.0.1:631"), &json!("LISTEN")));
    let row = b"0000000000000000: 00000002 00000000 00010000 0001 01 20 /run/a";
    let row = to_json(unix::UnixRow::parse(row).unwrap());
    assert_eq!((&row["path"], &row["inode"]), (&json!("/run/a"), &json!(20)));
}
