//! Each parser compared with that of the `procfs` crate, on the same bytes. The results must be
//! equal before anything is measured, in two ways that a busy machine does not disturb.
//!
//! `parse` prints, for each, the nanoseconds of its quickest batch of many.
//! `parse NAME ROUNDS` runs one parser ROUNDS times, to count instructions under
//! `valgrind --tool=callgrind`; the difference between two counts is the cost of the
//! parser.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Instant;

use procfs::net::{TcpNetEntries, UdpNetEntries, UnixNetEntries};
use procfs::process as peer;
use procfs::{ExplicitSystemInfo, FromBufReadSI as _, FromRead as _};
use psstat_benches::{files, tables};
use psstat_proc_parse::net::{inet, unix};
use psstat_proc_parse::{
    Cmdline, FdTarget, Ids, Io, Kilobytes, LimitValue, Limits, Stat, StatCore, Statm, Status,
};

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
    run(table, |text| inet::InetRows::new(text).filter(|row| black_box(row).is_ok()).count());
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

fn parser<'a>(name: &'static str, rows: u32, run: impl Fn() + 'a) -> Parser<'a> {
    (name, rows, Box::new(run))
}

fn parsers(texts: &Texts) -> Vec<Parser<'_>> {
    let Texts { status, tcp, tcp6, udp, unix: unix_table } = texts;
    let link = b"socket:[1234567]";
    let unix_rows = |text| unix::UnixRows::new(text).filter(|row| black_box(row).is_ok()).count();
    let unix_inodes = |text| unix::Established::new(text).flatten().sum::<u64>();
    let peer_fd = |text| std::str::from_utf8(text).map(str::parse::<peer::FDTarget>);
    vec![
        parser("stat", 1, || run(files::STAT, Stat::parse)),
        parser("stat-core", 1, || run(files::STAT, StatCore::parse)),
        parser("stat-procfs", 1, || run(files::STAT, peer::Stat::from_read)),
        parser("statm", 1, || run(files::STATM, Statm::parse)),
        parser("statm-procfs", 1, || run(files::STATM, peer::StatM::from_read)),
        parser("io", 1, || run(files::IO, Io::parse)),
        parser("io-procfs", 1, || run(files::IO, peer::Io::from_read)),
        parser("status", 1, || run(status, Status::parse)),
        parser("status-procfs", 1, || run(status, peer::Status::from_read)),
        parser("cmdline", 1, || run(files::CMDLINE, arguments)),
        parser("cmdline-split", 1, || run(files::CMDLINE, split)),
        parser("limits", 1, || run(files::LIMITS, Limits::parse)),
        parser("limits-procfs", 1, || run(files::LIMITS, peer::Limits::from_read)),
        parser("fd", 1, || run(link, FdTarget::parse)),
        parser("fd-procfs", 1, move || run(link, peer_fd)),
        parser("tcp", ROWS, || count_rows(tcp)),
        parser("tcp-established", ROWS, || add_inodes(tcp)),
        parser("tcp-procfs", ROWS, || run(tcp, |text| TcpNetEntries::from_buf_read(text, &INFO))),
        parser("tcp6", ROWS, || count_rows(tcp6)),
        parser("tcp6-established", ROWS, || add_inodes(tcp6)),
        parser("tcp6-procfs", ROWS, || run(tcp6, |text| TcpNetEntries::from_buf_read(text, &INFO))),
        parser("udp", ROWS, || count_rows(udp)),
        parser("udp-established", ROWS, || add_inodes(udp)),
        parser("udp-procfs", ROWS, || run(udp, |text| UdpNetEntries::from_buf_read(text, &INFO))),
        parser("unix", ROWS, move || run(unix_table, unix_rows)),
        parser("unix-established", ROWS, move || run(unix_table, unix_inodes)),
        parser("unix-procfs", ROWS, || run(unix_table, UnixNetEntries::from_read)),
    ]
}

/// Both crates must find the same values in these texts.
fn compare(texts: &Texts) {
    let (ours, theirs) =
        (Stat::parse(files::STAT).unwrap(), peer::Stat::from_read(files::STAT).unwrap());
    assert_eq!(ours.comm, theirs.comm.as_bytes());
    assert_eq!((ours.pid, ours.ppid, ours.tpgid), (theirs.pid, theirs.ppid, theirs.tpgid));
    assert_eq!((ours.utime.0, ours.stime.0, ours.rss.0), (theirs.utime, theirs.stime, theirs.rss));
    assert_eq!((ours.starttime.0, ours.vsize), (theirs.starttime, theirs.vsize));
    assert_eq!((ours.rsslim, ours.startstack), (theirs.rsslim, theirs.startstack));
    assert_eq!((ours.env_end, ours.exit_code), (theirs.env_end, theirs.exit_code));

    let (ours, theirs) =
        (Statm::parse(files::STATM).unwrap(), peer::StatM::from_read(files::STATM).unwrap());
    assert_eq!(
        [ours.size, ours.resident, ours.shared, ours.text, ours.lib, ours.data, ours.dt]
            .map(u64::from),
        [
            theirs.size,
            theirs.resident,
            theirs.shared,
            theirs.text,
            theirs.lib,
            theirs.data,
            theirs.dt
        ]
    );

    let (ours, theirs) = (Io::parse(files::IO).unwrap(), peer::Io::from_read(files::IO).unwrap());
    assert_eq!((ours.rchar, ours.wchar), (theirs.rchar, theirs.wchar));
    assert_eq!((ours.syscr, ours.syscw), (theirs.syscr, theirs.syscw));
    assert_eq!((ours.read_bytes, ours.write_bytes), (theirs.read_bytes, theirs.write_bytes));

    let ours = Status::parse(&texts.status).unwrap();
    let theirs = peer::Status::from_read(&*texts.status).unwrap();
    assert!(ours.name.unwrap().unescaped().eq(theirs.name.bytes()));
    let uids = [theirs.ruid, theirs.euid, theirs.suid, theirs.fuid];
    assert_eq!(ours.uid.map(Ids::to_array), Some(uids));
    let kilobytes = |value: Option<Kilobytes>| value.map(u64::from);
    let memory = (kilobytes(ours.vm_rss), kilobytes(ours.rss_anon));
    assert_eq!(memory, (theirs.vmrss, theirs.rssanon));
    assert_eq!((ours.threads, ours.sig_cgt), (Some(theirs.threads), Some(theirs.sigcgt)));
    assert_eq!(ours.nonvoluntary_ctxt_switches, theirs.nonvoluntary_ctxt_switches);

    let ours =
        Limits::parse(files::LIMITS).unwrap().get(psstat_proc_parse::Resource::OpenFiles).unwrap();
    let theirs = peer::Limits::from_read(files::LIMITS).unwrap().max_open_files;
    for (ours, theirs) in [(ours.soft, theirs.soft_limit), (ours.hard, theirs.hard_limit)] {
        assert_eq!(
            ours,
            match theirs {
                peer::LimitValue::Unlimited => LimitValue::Unlimited,
                peer::LimitValue::Value(value) => LimitValue::Value(value),
            }
        );
    }

    for table in [&texts.tcp, &texts.tcp6] {
        let theirs = TcpNetEntries::from_buf_read(&**table, &INFO).unwrap().0.into_iter();
        compare_inet(
            table,
            theirs.map(|row| {
                let is_established = row.state == procfs::net::TcpState::Established;
                let numbers = (row.rx_queue, row.uid, row.inode);
                (row.local_address, row.remote_address, is_established, numbers)
            }),
        );
    }
    let theirs = UdpNetEntries::from_buf_read(&*texts.udp, &INFO).unwrap().0.into_iter();
    compare_inet(
        &texts.udp,
        theirs.map(|row| {
            let is_established = row.state == procfs::net::UdpState::Established;
            let numbers = (row.rx_queue, row.uid, row.inode);
            (row.local_address, row.remote_address, is_established, numbers)
        }),
    );

    let theirs = UnixNetEntries::from_read(&*texts.unix).unwrap().0;
    assert_eq!(unix::UnixRows::new(&texts.unix).count(), theirs.len());
    for (ours, theirs) in unix::UnixRows::new(&texts.unix).map(Result::unwrap).zip(&theirs) {
        assert_eq!((ours.inode, ours.socket_type), (theirs.inode, theirs.socket_type));
        assert_eq!(ours.path, theirs.path.as_ref().map(|path| path.as_os_str().as_encoded_bytes()));
    }
}

/// Local and remote address, whether it is established; received bytes, uid, inode.
type InetRow = (SocketAddr, SocketAddr, bool, (u32, u32, u64));

fn compare_inet(table: &[u8], theirs: impl Iterator<Item = InetRow>) {
    let theirs: Vec<InetRow> = theirs.collect();
    let address = |address: inet::Address| SocketAddr::new(address.ip, address.port);
    let ours = inet::InetRows::new(table).map(Result::unwrap).map(|row| {
        let is_established = row.state == inet::TcpState::Established;
        let numbers = (row.rx_queue, row.uid, row.inode);
        (address(row.local), address(row.remote), is_established, numbers)
    });
    assert!(ours.eq(theirs.iter().copied()));
    let established = theirs.iter().filter(|row| row.2).map(|row| row.3.2);
    assert!(inet::Established::new(table).map(Result::unwrap).eq(established));
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
    compare(&texts);
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
