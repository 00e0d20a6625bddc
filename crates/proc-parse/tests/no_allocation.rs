//! No parser allocates: runs each with a counting allocator.

use std::hint::black_box;

use psstat_proc_parse::net::snmp::TcpCounters;
use psstat_proc_parse::net::sockstat::udp_in_use;
use psstat_proc_parse::net::{inet, unix};
use psstat_proc_parse::{
    CgroupPath, Cgroups, Cmdline, FdTarget, Io, Limits, Resource, ResourceLimit, Stat, StatCore,
    Statm, Status,
};
use psstat_testproc::alloc::{CountingAllocator, measure};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../fixtures/proc/6.18/", $name))
    };
}

fn everything() {
    black_box(Stat::parse(fixture!("worker/stat"))).unwrap();
    black_box(StatCore::parse(fixture!("worker/stat"))).unwrap();
    black_box(Statm::parse(fixture!("worker/statm"))).unwrap();
    black_box(Io::parse(fixture!("worker/io"))).unwrap();

    let status = Status::parse(fixture!("worker/status")).unwrap();
    black_box(status.name.unwrap().unescaped().count());
    black_box(status.ns_pid.unwrap().iter().count());

    let cmdline = Cmdline::new(fixture!("worker/cmdline"));
    let mut buffer = [0; 64];
    black_box((
        cmdline.args().count(),
        cmdline.joined().count(),
        cmdline.write_joined(&mut buffer),
    ));

    let limits = Limits::parse(fixture!("worker/limits")).unwrap();
    black_box((limits.iter().count(), limits.get(Resource::OpenFiles).unwrap()));
    black_box(
        ResourceLimit::find(fixture!("worker/limits"), Resource::OpenFiles).unwrap().unwrap(),
    );

    for line in fixture!("worker/fd.txt").split(|&byte| byte == b'\n') {
        black_box(FdTarget::parse(line.splitn(3, |&byte| byte == b' ').last().unwrap()));
    }
    for table in
        [&fixture!("net/tcp")[..], fixture!("net/tcp6"), fixture!("net/udp"), fixture!("net/udp6")]
    {
        assert!(inet::InetRows::new(table).all(|row| row.is_ok()));
        assert!(inet::Established::new(table).all(|row| row.is_ok()));
    }
    black_box(TcpCounters::parse(fixture!("net/snmp"))).unwrap();
    black_box(udp_in_use(fixture!("net/sockstat"))).unwrap();
    assert!(unix::UnixRows::new(fixture!("net/unix")).all(|row| row.is_ok()));
    assert!(unix::Established::new(fixture!("net/unix")).all(|row| row.is_ok()));
    assert!(unix::States::new(fixture!("net/unix")).all(|row| row.is_ok()));

    let cgroups = Cgroups::parse(b"1:name=systemd:/a\n0::/b\n").unwrap();
    black_box((cgroups.v2().unwrap(), cgroups.get(b"name=systemd").unwrap()));
    let path = CgroupPath(b"/lxc.payload.a/system.slice/machine-a\\x2db.scope");
    black_box((cgroups.path(), path.unit().unwrap(), path.container().unwrap().bytes().count()));

    // Nor do errors.
    black_box(Stat::parse(b"1 (a) R 2 3").unwrap_err());
    black_box(Limits::parse(b"Limit").unwrap_err());
}

#[test]
fn no_parser_allocates() {
    let allocations = |run: fn()| measure(run).1.allocations;
    assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 1, "the counter counts");
    assert_eq!(allocations(everything), 0);
}
