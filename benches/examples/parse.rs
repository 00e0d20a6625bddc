//! Parses one file so many times, for a count of instructions:
//! `parse stat 1000` under `valgrind --tool=callgrind`. The count of zero
//! rounds, taken away, leaves the parser's own.

use std::hint::black_box;

use psstat_benches::{files, tables};
use psstat_proc_parse::net::{inet, unix};
use psstat_proc_parse::{FdTarget, Io, Limits, Stat, Statm, Status, stat};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let rounds: u32 = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(0);
    let (tcp, unix_table, status) = (tables::tcp(100), tables::unix(100), files::status());
    let one = || match what.as_str() {
        "stat" => assert!(black_box(Stat::parse(black_box(files::STAT))).is_ok()),
        "core" => assert!(black_box(stat::Core::parse(black_box(files::STAT))).is_ok()),
        "statm" => assert!(black_box(Statm::parse(black_box(files::STATM))).is_ok()),
        "io" => assert!(black_box(Io::parse(black_box(files::IO))).is_ok()),
        "status" => assert!(black_box(Status::parse(black_box(&status))).is_ok()),
        "limits" => assert!(black_box(Limits::parse(black_box(files::LIMITS))).is_ok()),
        "fd" => {
            assert!(matches!(FdTarget::parse(black_box(b"socket:[1234567]")), FdTarget::Socket(_)))
        }
        "tcp100" => inet::Rows::new(&tcp).for_each(|row| assert!(black_box(row).is_ok())),
        "tcp100-established" => inet::Established::new(&tcp).for_each(|row| assert!(row.is_ok())),
        "unix100" => unix::Rows::new(&unix_table).for_each(|row| assert!(black_box(row).is_ok())),
        "unix100-established" => {
            unix::Established::new(&unix_table).for_each(|row| assert!(row.is_ok()));
        }
        other => panic!("no parser is called {other:?}"),
    };
    (0..rounds).for_each(|_| one());
}
