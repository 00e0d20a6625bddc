//! Each parser compared with that of the `procfs` crate, on the same bytes. The
//! results must be equal before anything is measured.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use procfs::process as peer;
use procfs::{ExplicitSystemInfo, FromBufReadSI as _, FromRead as _};
use psstat_benches::{files, tables};
use psstat_proc_parse::net::{inet, unix};
use psstat_proc_parse::{Cmdline, FdTarget, Ids, Io, LimitValue, Limits, Stat, StatCore, Statm, Status};

const ROWS: u32 = 1_000;
const INFO: ExplicitSystemInfo = ExplicitSystemInfo {
    boot_time_secs: 0,
    ticks_per_second: 100,
    page_size: 4096,
    is_little_endian: cfg!(target_endian = "little"),
};

fn stat(criterion: &mut Criterion) {
    let text = files::STAT;
    let ours = Stat::parse(text).unwrap();
    let theirs = peer::Stat::from_read(text).unwrap();
    assert_eq!(ours.comm, theirs.comm.as_bytes());
    assert_eq!((ours.pid, ours.ppid, ours.tpgid), (theirs.pid, theirs.ppid, theirs.tpgid));
    assert_eq!((ours.utime, ours.stime), (theirs.utime, theirs.stime));
    assert_eq!(
        (ours.starttime, ours.vsize, ours.rss),
        (theirs.starttime, theirs.vsize, theirs.rss)
    );
    assert_eq!((ours.rsslim, ours.startstack), (theirs.rsslim, theirs.startstack));
    assert_eq!((ours.env_end, ours.exit_code), (theirs.env_end, theirs.exit_code));
    let core = StatCore::parse(text).unwrap();
    assert_eq!((core.utime, core.starttime), (ours.utime, ours.starttime));

    let mut group = criterion.benchmark_group("stat");
    group.bench_function("psstat", |b| b.iter(|| Stat::parse(black_box(text)).unwrap()));
    group.bench_function("psstat-core", |b| b.iter(|| StatCore::parse(black_box(text)).unwrap()));
    group.bench_function("procfs", |b| b.iter(|| peer::Stat::from_read(black_box(text)).unwrap()));
    group.finish();
}

fn statm(criterion: &mut Criterion) {
    let text = files::STATM;
    let ours = Statm::parse(text).unwrap();
    let theirs = peer::StatM::from_read(text).unwrap();
    assert_eq!(
        (ours.size, ours.resident, ours.shared),
        (theirs.size, theirs.resident, theirs.shared)
    );
    assert_eq!(
        (ours.text, ours.lib, ours.data, ours.dt),
        (theirs.text, theirs.lib, theirs.data, theirs.dt)
    );

    let mut group = criterion.benchmark_group("statm");
    group.bench_function("psstat", |b| b.iter(|| Statm::parse(black_box(text)).unwrap()));
    group.bench_function("procfs", |b| b.iter(|| peer::StatM::from_read(black_box(text)).unwrap()));
    group.finish();
}

fn io(criterion: &mut Criterion) {
    let text = files::IO;
    let ours = Io::parse(text).unwrap();
    let theirs = peer::Io::from_read(text).unwrap();
    assert_eq!((ours.rchar, ours.wchar), (theirs.rchar, theirs.wchar));
    assert_eq!((ours.syscr, ours.syscw), (theirs.syscr, theirs.syscw));
    assert_eq!((ours.read_bytes, ours.write_bytes), (theirs.read_bytes, theirs.write_bytes));

    let mut group = criterion.benchmark_group("io");
    group.bench_function("psstat", |b| b.iter(|| Io::parse(black_box(text)).unwrap()));
    group.bench_function("procfs", |b| b.iter(|| peer::Io::from_read(black_box(text)).unwrap()));
    group.finish();
}

fn status(criterion: &mut Criterion) {
    let text = &*files::status();
    let ours = Status::parse(text).unwrap();
    let theirs = peer::Status::from_read(text).unwrap();
    assert!(ours.name.unwrap().unescaped().eq(theirs.name.bytes()));
    let uids = [theirs.ruid, theirs.euid, theirs.suid, theirs.fuid];
    assert_eq!(ours.uid.map(Ids::to_array), Some(uids));
    assert_eq!((ours.vm_rss, ours.rss_anon), (theirs.vmrss, theirs.rssanon));
    assert_eq!((ours.threads, ours.sig_cgt), (Some(theirs.threads), Some(theirs.sigcgt)));
    assert_eq!(ours.nonvoluntary_ctxt_switches, theirs.nonvoluntary_ctxt_switches);

    let mut group = criterion.benchmark_group("status");
    group.bench_function("psstat", |b| b.iter(|| Status::parse(black_box(text)).unwrap()));
    group
        .bench_function("procfs", |b| b.iter(|| peer::Status::from_read(black_box(text)).unwrap()));
    group.finish();
}

/// Compared with a plain split: procfs reads this file only from a live process.
fn cmdline(criterion: &mut Criterion) {
    let text = files::CMDLINE;
    let mut buffer = [0; 1024];
    let length = Cmdline::new(text).write_joined(&mut buffer);
    let arguments: Vec<&[u8]> = text.strip_suffix(b"\0").unwrap().split(|b| *b == 0).collect();
    assert_eq!(Cmdline::new(text).args().collect::<Vec<_>>(), arguments);
    assert_eq!(buffer[..length], arguments.join(&b' '));

    let mut group = criterion.benchmark_group("cmdline");
    group.bench_function("psstat-args", |b| b.iter(|| Cmdline::new(black_box(text)).args().count()));
    group.bench_function("psstat-joined", |b| {
        b.iter(|| Cmdline::new(black_box(text)).write_joined(black_box(&mut buffer)));
    });
    group.bench_function("split", |b| {
        b.iter(|| {
            let arguments: Vec<&[u8]> = black_box(text).split(|byte| *byte == 0).collect();
            arguments.join(&b' ')
        });
    });
    group.finish();
}

fn limits(criterion: &mut Criterion) {
    let text = files::LIMITS;
    let ours = Limits::parse(text).unwrap().get(b"Max open files").unwrap();
    let theirs = peer::Limits::from_read(text).unwrap().max_open_files;
    for (ours, theirs) in [(ours.soft, theirs.soft_limit), (ours.hard, theirs.hard_limit)] {
        match theirs {
            peer::LimitValue::Unlimited => assert_eq!(ours, LimitValue::Unlimited),
            peer::LimitValue::Value(value) => assert_eq!(ours, LimitValue::Value(value)),
        }
    }

    let mut group = criterion.benchmark_group("limits");
    group.bench_function("psstat", |b| {
        b.iter(|| Limits::parse(black_box(text)).unwrap().get(b"Max open files"));
    });
    group.bench_function("procfs", |b| {
        b.iter(|| peer::Limits::from_read(black_box(text)).unwrap().max_open_files);
    });
    group.finish();
}

fn fd(criterion: &mut Criterion) {
    let link = b"socket:[1234567]";
    let text = std::str::from_utf8(link).unwrap();
    assert_eq!(FdTarget::parse(link), FdTarget::Socket(1_234_567));
    assert_eq!(text.parse::<peer::FDTarget>().unwrap(), peer::FDTarget::Socket(1_234_567));

    let mut group = criterion.benchmark_group("fd socket");
    group.bench_function("psstat", |b| b.iter(|| FdTarget::parse(black_box(link))));
    group.bench_function("procfs", |b| {
        b.iter(|| black_box(text).parse::<peer::FDTarget>().unwrap());
    });
    group.finish();
}

fn tcp(criterion: &mut Criterion) {
    inet_table(criterion, "tcp, 1000 rows", &tables::tcp(ROWS), |text| {
        let entries = procfs::net::TcpNetEntries::from_buf_read(text, &INFO).unwrap().0;
        entries.into_iter().map(peer_of_tcp).collect()
    });
}

fn tcp6(criterion: &mut Criterion) {
    inet_table(criterion, "tcp6, 1000 rows", &tables::tcp6(ROWS), |text| {
        let entries = procfs::net::TcpNetEntries::from_buf_read(text, &INFO).unwrap().0;
        entries.into_iter().map(peer_of_tcp).collect()
    });
}

fn udp(criterion: &mut Criterion) {
    inet_table(criterion, "udp, 1000 rows", &tables::udp(ROWS), |text| {
        let entries = procfs::net::UdpNetEntries::from_buf_read(text, &INFO).unwrap().0;
        let entries = entries.into_iter();
        let peer = |entry: procfs::net::UdpNetEntry| Peer {
            local: entry.local_address,
            remote: entry.remote_address,
            is_established: entry.state == procfs::net::UdpState::Established,
            numbers: (entry.rx_queue, entry.uid, entry.inode),
        };
        entries.map(peer).collect()
    });
}

/// The common part of procfs's entries of tcp and udp.
struct Peer {
    local: SocketAddr,
    remote: SocketAddr,
    is_established: bool,
    numbers: (u32, u32, u64),
}

fn peer_of_tcp(entry: procfs::net::TcpNetEntry) -> Peer {
    Peer {
        local: entry.local_address,
        remote: entry.remote_address,
        is_established: entry.state == procfs::net::TcpState::Established,
        numbers: (entry.rx_queue, entry.uid, entry.inode),
    }
}

fn inet_table(
    criterion: &mut Criterion,
    name: &str,
    text: &[u8],
    theirs: impl Fn(&[u8]) -> Vec<Peer>,
) {
    let entries = theirs(text);
    assert_eq!(entries.len(), inet::Rows::new(text).count());
    for (ours, theirs) in inet::Rows::new(text).map(Result::unwrap).zip(&entries) {
        assert_eq!(SocketAddr::new(ours.local.ip, ours.local.port), theirs.local);
        assert_eq!(SocketAddr::new(ours.remote.ip, ours.remote.port), theirs.remote);
        assert_eq!((ours.rx_queue, ours.uid, ours.inode), theirs.numbers);
    }
    let established: Vec<u64> = inet::Established::new(text).map(Result::unwrap).collect();
    let also = entries.iter().filter(|entry| entry.is_established);
    assert!(also.map(|entry| entry.numbers.2).eq(established.iter().copied()));

    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(ROWS.into()));
    group.bench_function("psstat", |b| {
        b.iter(|| {
            inet::Rows::new(black_box(text)).for_each(|row| {
                black_box(row.unwrap());
            });
        });
    });
    group.bench_function("psstat-established", |b| {
        b.iter(|| inet::Established::new(black_box(text)).fold(0, |sum, row| sum ^ row.unwrap()));
    });
    group.bench_function("procfs", |b| b.iter(|| theirs(black_box(text))));
    group.finish();
}

fn unix_table(criterion: &mut Criterion) {
    let text = &*tables::unix(ROWS);
    let theirs = || procfs::net::UnixNetEntries::from_read(black_box(text)).unwrap().0;
    let entries = theirs();
    assert_eq!(entries.len(), unix::Rows::new(text).count());
    for (ours, theirs) in unix::Rows::new(text).map(Result::unwrap).zip(&entries) {
        assert_eq!((ours.inode, ours.socket_type), (theirs.inode, theirs.socket_type));
        assert_eq!(ours.path, theirs.path.as_ref().map(|path| path.as_os_str().as_encoded_bytes()));
    }

    let mut group = criterion.benchmark_group("unix, 1000 rows");
    group.throughput(Throughput::Elements(ROWS.into()));
    group.bench_function("psstat", |b| {
        b.iter(|| {
            unix::Rows::new(black_box(text)).for_each(|row| {
                black_box(row.unwrap());
            });
        });
    });
    group.bench_function("psstat-established", |b| {
        b.iter(|| unix::Established::new(black_box(text)).fold(0, |sum, row| sum ^ row.unwrap()));
    });
    group.bench_function("procfs", |b| b.iter(theirs));
    group.finish();
}

criterion_group! {
    name = parse;
    config = Criterion::default();
    targets = stat, statm, io, status, cmdline, limits, fd, tcp, tcp6, udp, unix_table
}
criterion_main!(parse);
