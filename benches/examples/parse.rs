//! Each parser and its peer without criterion, in two ways that a busy machine does
//! not disturb.
//!
//! `parse` prints, for each, the nanoseconds of its quickest batch of many.
//! `parse NAME ROUNDS` runs one parser ROUNDS times, to count instructions under
//! `valgrind --tool=callgrind`; the difference between two counts is the cost of the
//! parser.

use std::hint::black_box;
use std::time::Instant;

use procfs::process as peer;
use procfs::{ExplicitSystemInfo, FromBufReadSI as _, FromRead as _};
use psstat_benches::{files, tables};
use psstat_proc_parse::net::{inet, unix};
use psstat_proc_parse::{Cmdline, FdTarget, Io, Limits, Stat, StatCore, Statm, Status};

const INFO: ExplicitSystemInfo = ExplicitSystemInfo {
    boot_time_secs: 0,
    ticks_per_second: 100,
    page_size: 4096,
    is_little_endian: cfg!(target_endian = "little"),
};

/// Rows per table.
const ROWS: u32 = 100;

type Parser<'a> = (&'static str, u32, Box<dyn Fn() + 'a>);

/// `black_box` on the way in and on the way out.
fn run<'a, T>(text: &'a [u8], parse: impl FnOnce(&'a [u8]) -> T) {
    black_box(parse(black_box(text)));
}

/// Generated texts; the others are constants.
struct Texts {
    status: Vec<u8>,
    tcp: Vec<u8>,
    tcp6: Vec<u8>,
    udp: Vec<u8>,
    unix: Vec<u8>,
}

fn count_rows(table: &[u8]) {
    run(table, |text| inet::Rows::new(text).filter(|row| black_box(row).is_ok()).count());
}

fn add_inodes(table: &[u8]) {
    run(table, |text| inet::Established::new(text).flatten().sum::<u64>());
}

/// The arguments of a command line, split and joined.
fn arguments(text: &[u8]) -> (usize, usize) {
    let mut buffer = [0; 1024];
    (Cmdline::new(text).args().count(), black_box(Cmdline::new(text).write_joined(&mut buffer)))
}

/// The same with the standard library.
fn split(text: &[u8]) -> (usize, Vec<u8>) {
    let arguments: Vec<&[u8]> = text.split(|byte| *byte == 0).collect();
    (arguments.len(), arguments.join(&b' '))
}

fn parsers(texts: &Texts) -> Vec<Parser<'_>> {
    let Texts { status, tcp, tcp6, udp, unix: unix_table } = texts;
    let link = b"socket:[1234567]";
    vec![
        ("stat", 1, Box::new(|| run(files::STAT, Stat::parse))),
        ("stat-core", 1, Box::new(|| run(files::STAT, StatCore::parse))),
        ("stat-procfs", 1, Box::new(|| run(files::STAT, peer::Stat::from_read))),
        ("statm", 1, Box::new(|| run(files::STATM, Statm::parse))),
        ("statm-procfs", 1, Box::new(|| run(files::STATM, peer::StatM::from_read))),
        ("io", 1, Box::new(|| run(files::IO, Io::parse))),
        ("io-procfs", 1, Box::new(|| run(files::IO, peer::Io::from_read))),
        ("status", 1, Box::new(|| run(status, Status::parse))),
        ("status-procfs", 1, Box::new(|| run(status, peer::Status::from_read))),
        ("cmdline", 1, Box::new(|| run(files::CMDLINE, arguments))),
        ("cmdline-split", 1, Box::new(|| run(files::CMDLINE, split))),
        ("limits", 1, Box::new(|| run(files::LIMITS, Limits::parse))),
        ("limits-procfs", 1, Box::new(|| run(files::LIMITS, peer::Limits::from_read))),
        ("fd", 1, Box::new(|| run(link, FdTarget::parse))),
        (
            "fd-procfs",
            1,
            Box::new(|| {
                run(link, |text| std::str::from_utf8(text).map(str::parse::<peer::FDTarget>))
            }),
        ),
        ("tcp", ROWS, Box::new(|| count_rows(tcp))),
        ("tcp-established", ROWS, Box::new(|| add_inodes(tcp))),
        (
            "tcp-procfs",
            ROWS,
            Box::new(|| run(tcp, |text| procfs::net::TcpNetEntries::from_buf_read(text, &INFO))),
        ),
        ("tcp6", ROWS, Box::new(|| count_rows(tcp6))),
        ("tcp6-established", ROWS, Box::new(|| add_inodes(tcp6))),
        (
            "tcp6-procfs",
            ROWS,
            Box::new(|| run(tcp6, |text| procfs::net::TcpNetEntries::from_buf_read(text, &INFO))),
        ),
        ("udp", ROWS, Box::new(|| count_rows(udp))),
        ("udp-established", ROWS, Box::new(|| add_inodes(udp))),
        (
            "udp-procfs",
            ROWS,
            Box::new(|| run(udp, |text| procfs::net::UdpNetEntries::from_buf_read(text, &INFO))),
        ),
        (
            "unix",
            ROWS,
            Box::new(|| {
                run(unix_table, |text| {
                    unix::Rows::new(text).filter(|row| black_box(row).is_ok()).count()
                });
            }),
        ),
        (
            "unix-established",
            ROWS,
            Box::new(|| {
                run(unix_table, |text| unix::Established::new(text).flatten().sum::<u64>())
            }),
        ),
        ("unix-procfs", ROWS, Box::new(|| run(unix_table, procfs::net::UnixNetEntries::from_read))),
    ]
}

/// Nanoseconds per run (per row for tables) in the quickest batch.
fn quickest(rows: u32, parse: &dyn Fn()) -> f64 {
    let runs = (200 / rows).max(1);
    (0..3_000)
        .map(|_| {
            let start = Instant::now();
            (0..runs).for_each(|_| parse());
            start.elapsed().as_nanos() as f64 / f64::from(runs * rows)
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() {
    let texts = Texts {
        status: files::status(),
        tcp: tables::tcp(ROWS),
        tcp6: tables::tcp6(ROWS),
        udp: tables::udp(ROWS),
        unix: tables::unix(ROWS),
    };
    let parsers = parsers(&texts);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => {
            for (name, rows, parse) in &parsers {
                println!("{name:18} {:8.1} ns", quickest(*rows, parse));
            }
        }
        [name, rounds] => {
            let rounds: u32 = rounds.parse().expect("a number of rounds");
            let (_, _, parse) = parsers
                .iter()
                .find(|parser| parser.0 == name)
                .unwrap_or_else(|| panic!("no parser is called {name:?}"));
            (0..rounds).for_each(|_| parse());
        }
        _ => panic!("give nothing, or a parser's name and a number of rounds"),
    }
}
