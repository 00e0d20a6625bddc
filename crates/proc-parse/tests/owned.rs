//! Feature `alloc`: values that are kept without the text of the file.

#![cfg(feature = "alloc")]

use psstat_proc_parse::net::unix::{OwnedUnixRow, UnixRows};
use psstat_proc_parse::{
    Cgroups, Limits, OwnedCgroup, OwnedResourceLimit, OwnedStat, OwnedStatCore, Resource, Stat,
    StatCore, Ticks,
};

/// The files of a process are kept after their text was overwritten.
#[test]
fn values_are_kept_without_the_text() {
    let mut stat =
        b"42 (a) b) S 1 42 42 0 -1 4194304 117 0 1 0 7 3 0 0 20 0 4 0 133599 3133440 381 \
        18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
            .to_vec();
    let whole: OwnedStat = Stat::parse(&stat).unwrap().into_owned();
    let core: OwnedStatCore = StatCore::parse(&stat).unwrap().into_owned();
    stat.fill(0);
    assert_eq!(
        (whole.comm.as_slice(), whole.utime, whole.vsize),
        (&b"a) b"[..], Ticks(7), 3133440)
    );
    assert_eq!((core.comm, core.pid, core.starttime), (whole.comm.clone(), 42, Ticks(133_599)));
    // Rows of a table that is read into one buffer.
    let read = |line: &[u8]| -> (OwnedUnixRow, OwnedCgroup) {
        let cgroups = b"0::/system.slice/nginx.service\n".to_vec();
        let row = UnixRows::new(line).next().unwrap().unwrap();
        (row.into_owned(), Cgroups::parse(&cgroups).unwrap().v2().unwrap().into_owned())
    };
    let (row, cgroup) =
        read(b"0000000000000000: 00000002 00000000 00010000 0001 01 20793 /run/a b\n");
    assert_eq!((row.inode, row.path), (20793, Some(b"/run/a b".to_vec())));
    assert_eq!((cgroup.path, cgroup.hierarchy), (b"/system.slice/nginx.service".to_vec(), 0));
    let limit = |text: &[u8]| -> Option<OwnedResourceLimit> {
        Some(Limits::parse(text).ok()?.get(Resource::OpenFiles)?.into_owned())
    };
    let limit = limit(
        b"Limit                     Soft Limit           Hard Limit           Units     \n\
        Max open files            1024                 unlimited            files     \n",
    );
    assert_eq!(limit.unwrap().units, Some(b"files".to_vec()));
}
