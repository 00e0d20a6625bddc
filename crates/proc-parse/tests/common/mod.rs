//! A slow, obvious reading of the same files, with `String`s and splitting, and
//! one function a file that holds the parsers against it.

#![allow(dead_code)] // each test uses a part

use std::collections::HashMap;
use std::net::IpAddr;

use psstat_proc_parse::net::{inet, unix};
use psstat_proc_parse::{
    Cmdline, FdTarget, Ids, Io, LimitValue, Limits, Stat, StatCore, Statm, Status,
};

pub(crate) fn stat(text: &[u8]) {
    let stat = Stat::parse(text).unwrap();
    let open = text.iter().position(|&b| b == b'(').unwrap();
    let close = text.iter().rposition(|&b| b == b')').unwrap();
    assert_eq!(String::from_utf8_lossy(&text[..open]).trim(), stat.pid.to_string());
    assert_eq!(stat.comm, &text[open + 1..close]);
    let tail = String::from_utf8(text[close + 1..].to_vec()).unwrap();
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3).map(|text| text.parse::<i128>().unwrap());
    assert_eq!(fields[0], char::from(stat.state.as_byte()).to_string());
    // All of them by their names, in the order of their declaration.
    let shown = format!("{stat:?}");
    let (_, shown) = shown.trim_end_matches(" }").split_once(" state: ").unwrap();
    let shown: Vec<(&str, &str)> =
        shown.split(", ").skip(1).map(|field| field.split_once(": ").unwrap()).collect();
    assert_eq!((shown.len(), shown[0].0, shown[48].0), (49, "ppid", "exit_code"));
    for (field, (name, value)) in (4..).zip(shown) {
        let value = value.trim_start_matches("Some(").trim_end_matches(')');
        let value = (value != "None").then(|| value.parse::<i128>().unwrap());
        assert_eq!(value, number(field), "field {field}, {name}");
    }
    let core = StatCore::parse(text).unwrap();
    assert_eq!((core.pid, core.comm, core.state), (stat.pid, stat.comm, stat.state));
    assert_eq!(Some(i128::from(core.ppid)), number(4));
    assert_eq!(Some(i128::from(core.utime)), number(14));
    assert_eq!(Some(i128::from(core.stime)), number(15));
    assert_eq!(Some(i128::from(core.num_threads)), number(20));
    assert_eq!(Some(i128::from(core.starttime)), number(22));
}

pub(crate) fn statm(text: &[u8]) {
    let statm = Statm::parse(text).unwrap();
    let slow: Vec<u64> = String::from_utf8(text.to_vec())
        .unwrap()
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    let Statm { size, resident, shared, text, lib, data, dt, .. } = statm;
    assert_eq!(slow, [size, resident, shared, text, lib, data, dt]);
}

/// The lines `key: value` of a text, keys without their colon.
fn keys(text: &[u8], separator: &str) -> HashMap<String, String> {
    String::from_utf8_lossy(text)
        .lines()
        .filter_map(|line| line.split_once(separator))
        .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
        .collect()
}

pub(crate) fn io(text: &[u8]) {
    let io = Io::parse(text).unwrap();
    let slow = keys(text, ":");
    let ours = [
        ("rchar", io.rchar),
        ("wchar", io.wchar),
        ("syscr", io.syscr),
        ("syscw", io.syscw),
        ("read_bytes", io.read_bytes),
        ("write_bytes", io.write_bytes),
    ];
    for (key, value) in ours {
        assert_eq!(slow[key], value.to_string(), "{key}");
    }
    let cancelled: i128 = slow["cancelled_write_bytes"].parse().unwrap();
    let wrapped = if cancelled > i64::MAX.into() { cancelled - (1 << 64) } else { cancelled };
    assert_eq!(wrapped, io.cancelled_write_bytes.into());
}

pub(crate) fn status(text: &[u8]) {
    let status = Status::parse(text).unwrap();
    let slow = keys(text, ":\t");
    let escaped = text.strip_prefix(b"Name:\t").unwrap();
    let escaped = &escaped[..escaped.iter().position(|&b| b == b'\n').unwrap()];
    assert_eq!(status.name.unwrap().as_bytes(), escaped);

    let of = |key: &str, ours: Option<String>| assert_eq!(slow.get(key), ours.as_ref(), "{key}");
    let kb = |key: &str, ours: Option<u64>| of(key, ours.map(|value| format!("{value} kB")));
    let plain = |key: &str, ours: Option<u64>| of(key, ours.map(|value| value.to_string()));
    let pid = |key: &str, ours: Option<i32>| of(key, ours.map(|value| value.to_string()));
    let mask = |key: &str, ours: Option<u64>| of(key, ours.map(|value| format!("{value:016x}")));
    let ids = |key: &str, ours: Option<Ids>| {
        of(key, ours.map(|ids| ids.to_array().map(|id| id.to_string()).join("\t")));
    };
    let list = |key: &str, ours: Option<&[u8]>| {
        of(key, ours.map(|list| String::from_utf8(list.to_vec()).unwrap()));
    };
    of("Umask", status.umask.map(|umask| format!("{umask:04o}")));
    let letter = slow.get("State").map(|state| state.as_bytes()[0]);
    assert_eq!(letter, status.state.map(psstat_proc_parse::ProcessState::as_byte));
    pid("Tgid", status.tgid);
    pid("Ngid", status.ngid);
    pid("Pid", status.pid);
    pid("PPid", status.ppid);
    pid("TracerPid", status.tracer_pid);
    ids("Uid", status.uid);
    ids("Gid", status.gid);
    plain("FDSize", status.fd_size);
    of(
        "NSpid",
        status
            .ns_pid
            .map(|pids| pids.iter().map(|pid| pid.to_string()).collect::<Vec<_>>().join("\t")),
    );
    kb("VmPeak", status.vm_peak);
    kb("VmSize", status.vm_size);
    kb("VmLck", status.vm_lck);
    kb("VmPin", status.vm_pin);
    kb("VmHWM", status.vm_hwm);
    kb("VmRSS", status.vm_rss);
    kb("RssAnon", status.rss_anon);
    kb("RssFile", status.rss_file);
    kb("RssShmem", status.rss_shmem);
    kb("VmData", status.vm_data);
    kb("VmStk", status.vm_stk);
    kb("VmExe", status.vm_exe);
    kb("VmLib", status.vm_lib);
    kb("VmPTE", status.vm_pte);
    kb("VmPMD", status.vm_pmd);
    kb("VmSwap", status.vm_swap);
    kb("HugetlbPages", status.hugetlb_pages);
    plain("Threads", status.threads);
    of("SigQ", status.sig_queue.map(|queue| format!("{}/{}", queue.queued, queue.limit)));
    mask("SigPnd", status.sig_pnd);
    mask("ShdPnd", status.shd_pnd);
    mask("SigBlk", status.sig_blk);
    mask("SigIgn", status.sig_ign);
    mask("SigCgt", status.sig_cgt);
    mask("CapInh", status.cap_inh);
    mask("CapPrm", status.cap_prm);
    mask("CapEff", status.cap_eff);
    mask("CapBnd", status.cap_bnd);
    mask("CapAmb", status.cap_amb);
    plain("NoNewPrivs", status.no_new_privs.map(u64::from));
    plain("Seccomp", status.seccomp.map(u64::from));
    list("Cpus_allowed_list", status.cpus_allowed_list);
    list("Mems_allowed_list", status.mems_allowed_list);
    plain("voluntary_ctxt_switches", status.voluntary_ctxt_switches);
    plain("nonvoluntary_ctxt_switches", status.nonvoluntary_ctxt_switches);
}

pub(crate) fn cmdline(text: &[u8]) {
    let cmdline = Cmdline::new(text);
    let mut slow: Vec<&[u8]> = text.split(|&b| b == 0).collect();
    if text.last().is_none_or(|&b| b == 0) {
        slow.pop();
    }
    assert_eq!(cmdline.args().collect::<Vec<_>>(), slow);
    assert_eq!(cmdline.argv0(), slow.first().copied().unwrap_or_default());

    let mut shown: Vec<u8> = text.to_vec();
    while shown.last() == Some(&0) {
        shown.pop();
    }
    for byte in &mut shown {
        if *byte == 0 {
            *byte = b' ';
        }
    }
    assert_eq!(cmdline.joined().collect::<Vec<_>>(), shown);
    assert_eq!(cmdline.is_empty(), shown.is_empty());
    let mut buffer = vec![b'#'; text.len()];
    assert_eq!(cmdline.write_joined(&mut buffer), shown.len());
    assert_eq!(buffer[..shown.len()], shown);
    let mut short = [b'#'; 3];
    let copied = cmdline.write_joined(&mut short);
    assert_eq!(copied, shown.len().min(3));
    assert_eq!(short[..copied], shown[..copied]);
}

pub(crate) fn limits(text: &[u8]) {
    let limits = Limits::parse(text).unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(limits.rows().count(), lines.len());
    for (row, line) in limits.rows().zip(lines) {
        assert_eq!(String::from_utf8_lossy(row.name), line[..26].trim());
        let words: Vec<&str> = line[26..].split_whitespace().collect();
        assert_eq!(words[0], limit(row.soft));
        assert_eq!(words[1], limit(row.hard));
        let units = words.get(2).map(|units| units.as_bytes());
        assert_eq!(units, row.units);
        assert_eq!(limits.get(row.name), Some(row));
    }
}

pub(crate) fn limit(limit: LimitValue) -> String {
    match limit {
        LimitValue::Unlimited => "unlimited".to_owned(),
        LimitValue::Value(value) => value.to_string(),
    }
}

/// A list of `N -> target`, one a line.
pub(crate) fn fd_list(text: &[u8]) {
    for line in text.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        let arrow = line.windows(4).position(|four| four == b" -> ").unwrap();
        fd(&line[arrow + 4..]);
    }
}

pub(crate) fn fd(link: &[u8]) {
    let inode = |text: &[u8]| String::from_utf8_lossy(text).parse::<u64>().unwrap();
    let bracket = link.iter().position(|&b| b == b'[');
    let slow = if let Some(name) = link.strip_prefix(b"anon_inode:") {
        FdTarget::AnonInode(name)
    } else if link.starts_with(b"/memfd:") && link.ends_with(b" (deleted)") {
        FdTarget::Memfd(&link[7..link.len() - 10])
    } else if link.starts_with(b"/") && link.ends_with(b" (deleted)") {
        FdTarget::File { path: &link[..link.len() - 10], deleted: true }
    } else if link.starts_with(b"/dev/") {
        FdTarget::Device(link)
    } else if link.starts_with(b"/") {
        FdTarget::File { path: link, deleted: false }
    } else if let Some(bracket) = bracket.filter(|_| link.ends_with(b"]")) {
        let number = inode(&link[bracket + 1..link.len() - 1]);
        match &link[..bracket] {
            b"socket:" => FdTarget::Socket(number),
            b"pipe:" => FdTarget::Pipe(number),
            kind => FdTarget::Namespace { kind: kind.strip_suffix(b":").unwrap(), inode: number },
        }
    } else {
        FdTarget::Other(link)
    };
    assert_eq!(FdTarget::parse(link), slow);
}

/// An address column, two digits at a time, for a little-endian table.
fn address(column: &str) -> (IpAddr, u16) {
    let (ip, port) = column.split_once(':').unwrap();
    let bytes: Vec<u8> =
        (0..ip.len() / 2).map(|i| u8::from_str_radix(&ip[2 * i..2 * i + 2], 16).unwrap()).collect();
    let octets: Vec<u8> = bytes.chunks(4).flat_map(|word| word.iter().rev()).copied().collect();
    let ip = match <[u8; 4]>::try_from(&*octets) {
        Ok(octets) => IpAddr::from(octets),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(&*octets).unwrap()),
    };
    (ip, u16::from_str_radix(port, 16).unwrap())
}

pub(crate) fn inet(text: &[u8]) {
    if cfg!(target_endian = "big") {
        return; // the tables at hand were printed by little-endian machines
    }
    let mut rows = inet::Rows::new(text);
    let mut established = inet::Established::new(text);
    let text = String::from_utf8(text.to_vec()).unwrap();
    for line in text.lines().skip(1) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let row = rows.next().unwrap().unwrap();
        assert_eq!(inet::Row::parse(line.as_bytes()), Ok(row));
        assert_eq!((row.local.ip, row.local.port), address(columns[1]));
        assert_eq!((row.remote.ip, row.remote.port), address(columns[2]));
        let state = u8::from_str_radix(columns[3], 16).unwrap();
        assert_eq!(row.state, inet::TcpState::from(state));
        assert_eq!(format!("{:08X}:{:08X}", row.tx_queue, row.rx_queue), columns[4]);
        assert_eq!(row.uid.to_string(), columns[7]);
        assert_eq!(row.inode.to_string(), columns[9]);
        let inode = (columns[3] == "01").then_some(row.inode);
        assert_eq!(inet::established(line.as_bytes()), Ok(inode));
        if let Some(inode) = inode {
            assert_eq!(established.next(), Some(Ok(inode)));
        }
    }
    assert!(rows.next().is_none() && rows.rest().is_empty());
    assert!(established.next().is_none() && established.rest().is_empty());
}

/// The rows of `unix`, read slowly: columns, and the path with its line ends.
fn unix_rows(text: &[u8]) -> Vec<(Vec<String>, Option<Vec<u8>>)> {
    let mut rows: Vec<(Vec<String>, Option<Vec<u8>>)> = Vec::new();
    let body = text.strip_suffix(b"\n").unwrap();
    for line in body.split(|&b| b == b'\n').skip(1) {
        let lossy: String = line.iter().map(|&b| char::from(b)).collect();
        let columns: Vec<String> =
            lossy.split_whitespace().take(7).map(ToOwned::to_owned).collect();
        if columns.len() == 7 && columns[0].ends_with(':') && columns[1].len() == 8 {
            // Six columns of fixed width, then the inode, padded on the left.
            let inode_end = lossy.find(&format!(" {} ", columns[6]));
            let path = inode_end
                .filter(|_| lossy.split_whitespace().count() > 7)
                .map(|at| line[at + columns[6].len() + 2..].to_vec());
            rows.push((columns, path));
        } else {
            let path = rows.last_mut().unwrap().1.as_mut().unwrap();
            path.push(b'\n');
            path.extend_from_slice(line);
        }
    }
    rows
}

pub(crate) fn unix(text: &[u8]) {
    let mut rows = unix::Rows::new(text);
    let mut established = unix::Established::new(text);
    for (columns, path) in unix_rows(text) {
        let row = rows.next().unwrap().unwrap();
        assert_eq!(format!("{:08X}", row.ref_count), columns[1]);
        assert_eq!(format!("{:08X}", row.flags), columns[3]);
        assert_eq!(format!("{:04X}", row.socket_type), columns[4]);
        let state = u8::from_str_radix(&columns[5], 16).unwrap();
        assert_eq!(row.state, unix::UnixState::from(state));
        assert_eq!(row.inode.to_string(), columns[6]);
        assert_eq!(row.path, path.as_deref());
        if state == 3 {
            assert_eq!(established.next(), Some(Ok(row.inode)));
        }
    }
    assert!(rows.next().is_none() && rows.rest().is_empty());
    assert!(established.next().is_none() && established.rest().is_empty());
}

/// The check for a file of this name, if there is one.
pub(crate) fn check_for(name: &str) -> Option<fn(&[u8])> {
    Some(match name {
        "stat" => stat,
        "statm" => statm,
        "io" => io,
        "status" => status,
        "cmdline" => cmdline,
        "limits" => limits,
        "fd.txt" => fd_list,
        "tcp" | "tcp6" | "udp" | "udp6" => inet,
        "unix" => unix,
        _ => return None,
    })
}
