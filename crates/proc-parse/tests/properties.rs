//! What holds for all texts: any bytes make no panic; what is printed as the
//! kernel prints it reads back as the same; what is cut off anywhere is an
//! error or the documented shorter result, never another value.

// Clippy knows only functions marked as tests to be tests.
#![allow(clippy::unwrap_used)]
#![allow(missing_docs)] // proptest's own items

mod common;

use proptest::collection::vec;
use proptest::prelude::*;
use psstat_proc_parse::net::{inet, unix};
use psstat_proc_parse::{Cmdline, FdTarget, Io, Limit, Limits, Stat, Statm, Status, stat};

/// Numbers of every length, not only long ones.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift)
}

fn signed() -> impl Strategy<Value = i64> {
    (any::<i64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift)
}

/// A name: any bytes but NUL, brackets and line ends more often than not.
fn comm() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => 1..=255_u8,
        1 => Just(b')'), 1 => Just(b'('), 1 => Just(b' '), 1 => Just(b'\n'), 1 => Just(b'\\'),
    ];
    vec(byte, 0..16)
}

/// Fields 4 to 52, each in the range of the type that the kernel prints.
fn stat_numbers() -> impl Strategy<Value = Vec<String>> {
    let field = |field: usize| match field {
        4..=8 | 38 | 39 | 52 => any::<i32>().prop_map(|value| value.to_string()).boxed(),
        9 | 40 | 41 => any::<u32>().prop_map(|value| value.to_string()).boxed(),
        16..=19 | 21 | 44 => signed().prop_map(|value| value.to_string()).boxed(),
        _ => number().prop_map(|value| value.to_string()).boxed(),
    };
    (4..=52).map(field).collect::<Vec<_>>()
}

fn print_stat(pid: i32, comm: &[u8], state: u8, numbers: &[String]) -> Vec<u8> {
    let mut text = format!("{pid} (").into_bytes();
    text.extend_from_slice(comm);
    text.extend_from_slice(b") ");
    text.push(state);
    for number in numbers {
        text.extend_from_slice(format!(" {number}").as_bytes());
    }
    text.push(b'\n');
    text
}

fn print_io(values: [u64; 6], cancelled: i64, with_sign: bool) -> String {
    let [rchar, wchar, syscr, syscw, read_bytes, write_bytes] = values;
    let cancelled =
        if with_sign { cancelled.to_string() } else { cancelled.cast_unsigned().to_string() };
    format!(
        "rchar: {rchar}\nwchar: {wchar}\nsyscr: {syscr}\nsyscw: {syscw}\nread_bytes: {read_bytes}\n\
         write_bytes: {write_bytes}\ncancelled_write_bytes: {cancelled}\n"
    )
}

fn print_limits(rows: &[(String, Option<u64>, Option<u64>, bool)]) -> String {
    let show = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let mut text =
        format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (name, soft, hard, units) in rows {
        text += &format!("{name:<25} {:<20} {:<20} ", show(*soft), show(*hard));
        text += &if *units { format!("{:<10}\n", "files") } else { "\n".to_owned() };
    }
    text
}

/// A row of an inet table: `width` is that of the slot, 4 for tcp, 5 for udp.
#[derive(Clone, Debug)]
struct InetRow {
    slot: u32,
    local: (Vec<u32>, u16),
    remote: (Vec<u32>, u16),
    state: u8,
    queues: (u32, u32),
    when: u64,
    uid: u32,
    timeout: i32,
    inode: u64,
}

fn inet_row() -> impl Strategy<Value = InetRow> {
    let words = prop_oneof![Just(1_usize), Just(4)];
    words
        .prop_flat_map(|words| {
            let address = move || (vec(any::<u32>(), words), any::<u16>());
            let fields = (0..100_000_u32, address(), address(), 0..14_u8);
            let rest =
                ((any::<u32>(), any::<u32>()), number(), any::<u32>(), any::<i32>(), number());
            (fields, rest)
        })
        .prop_map(|((slot, local, remote, state), (queues, when, uid, timeout, inode))| InetRow {
            slot,
            local,
            remote,
            state,
            queues,
            when,
            uid,
            timeout,
            inode,
        })
}

fn print_inet(row: &InetRow, width: usize) -> String {
    let address = |(words, port): &(Vec<u32>, u16)| {
        let words: String = words.iter().map(|word| format!("{word:08X}")).collect();
        format!("{words}:{port:04X}")
    };
    format!(
        "{:>width$}: {} {} {:02X} {:08X}:{:08X} 02:{:08X} 00000000 {:>5} {:>8} {} 1 0000000000000000 0\n",
        row.slot,
        address(&row.local),
        address(&row.remote),
        row.state,
        row.queues.0,
        row.queues.1,
        row.when,
        row.uid,
        row.timeout,
        row.inode,
    )
}

fn ip(words: &[u32]) -> std::net::IpAddr {
    let octets: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    match <[u8; 4]>::try_from(&*octets) {
        Ok(octets) => octets.into(),
        Err(_) => <[u8; 16]>::try_from(&*octets).unwrap().into(),
    }
}

type UnixRow = (u32, u32, u16, u8, u64, Option<Vec<u8>>);

fn unix_row() -> impl Strategy<Value = UnixRow> {
    let path = proptest::option::of(vec(prop_oneof![9 => 1..=255_u8, 1 => Just(b'\n')], 0..40));
    (any::<u32>(), any::<u32>(), any::<u16>(), 0..6_u8, number(), path)
}

fn print_unix((ref_count, flags, type_, state, inode, path): &UnixRow) -> Vec<u8> {
    let mut text = format!(
        "0000000000000000: {ref_count:08X} 00000000 {flags:08X} {type_:04X} {state:02X} {inode:>5}"
    )
    .into_bytes();
    if let Some(path) = path {
        text.push(b' ');
        text.extend_from_slice(path);
    }
    text.push(b'\n');
    text
}

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
    let _ = (Stat::parse(text), stat::Core::parse(text), Statm::parse(text), Io::parse(text));
    if let Ok(status) = Status::parse(text) {
        let _ = status.name.map(|name| name.unescaped().count());
        let _ = status.ns_pid.map(Iterator::count);
    }
    if let Ok(limits) = Limits::parse(text) {
        let _ = (limits.rows().count(), limits.max_open_files());
    }
    let cmdline = Cmdline(text);
    let _ = (cmdline.args().count(), cmdline.text().count(), cmdline.program());
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

    #[test]
    fn stat_reads_what_was_printed(
        pid in any::<i32>(),
        comm in comm(),
        state in proptest::sample::select(&b"RSDTtZXIPKWx"[..]),
        numbers in stat_numbers(),
        count in prop_oneof![Just(38_usize), Just(39), Just(41), Just(44), Just(49)],
    ) {
        let text = print_stat(pid, &comm, state, &numbers[..count]);
        common::stat(&text);
        prop_assert_eq!(Stat::parse(&text).unwrap().comm, &comm[..]);
    }

    #[test]
    fn stat_cut_off_anywhere_is_an_error(comm in comm(), numbers in stat_numbers()) {
        let text = print_stat(42, &comm, b'S', &numbers);
        for end in 0..text.len() {
            prop_assert!(Stat::parse(&text[..end]).is_err(), "cut at {}", end);
        }
        let whole = stat::Core::parse(&text).unwrap();
        for end in 0..text.len() {
            if let Ok(core) = stat::Core::parse(&text[..end]) {
                prop_assert_eq!(core, whole);
            }
        }
    }

    #[test]
    fn stat_refuses_what_a_field_cannot_hold(
        numbers in stat_numbers(),
        field in 4..=52_usize,
        all_ones in any::<bool>(),
        wrong in prop_oneof![
            Just("18446744073709551616".to_owned()), Just("-9223372036854775809".to_owned()),
            Just("99999999999999999999999".to_owned()), Just("-".to_owned()),
            Just("+1".to_owned()), Just("1a".to_owned()), Just(String::new()),
        ],
    ) {
        let mut numbers = numbers;
        // All ones is a number for most fields, and not -1 for the others.
        let all_ones = matches!(field, 4..=9 | 16..=19 | 21 | 38..=41 | 44 | 52) && all_ones;
        numbers[field - 4] = if all_ones { u64::MAX.to_string() } else { wrong };
        let text = print_stat(42, b"a b", b'S', &numbers);
        prop_assert!(Stat::parse(&text).is_err());
    }

    #[test]
    fn statm_reads_what_was_printed(values in proptest::array::uniform7(number())) {
        let text = values.map(|value| value.to_string()).join(" ") + "\n";
        common::statm(text.as_bytes());
        for end in 0..text.len() {
            prop_assert!(Statm::parse(&text.as_bytes()[..end]).is_err(), "cut at {}", end);
        }
    }

    #[test]
    fn io_reads_what_was_printed(
        values in proptest::array::uniform6(number()),
        cancelled in signed(),
        with_sign in any::<bool>(),
    ) {
        let text = print_io(values, cancelled, with_sign);
        common::io(text.as_bytes());
        let io = Io::parse(text.as_bytes()).unwrap();
        prop_assert_eq!((io.rchar, io.cancelled_write_bytes), (values[0], cancelled));
        for end in 0..text.len() {
            prop_assert!(Io::parse(&text.as_bytes()[..end]).is_err(), "cut at {}", end);
        }
    }

    #[test]
    fn status_reads_what_was_printed(
        comm in comm(),
        (umask, tgid, uid) in (0..0o1000_u32, any::<i32>(), any::<[u32; 4]>()),
        pids in vec(any::<i32>(), 1..4),
        (size, threads, queued, limit) in (number(), number(), number(), number()),
        (mask, flag, seccomp) in (any::<u64>(), any::<bool>(), 0..3_u8),
    ) {
        let pid_list = pids.iter().map(ToString::to_string).collect::<Vec<_>>().join("\t");
        let ids = uid.map(|id| id.to_string()).join("\t");
        let mut text = b"Name:\t".to_vec();
        for &byte in &comm {
            match byte {
                b'\n' => text.extend_from_slice(b"\\n"),
                b'\\' => text.extend_from_slice(b"\\\\"),
                other => text.push(other),
            }
        }
        text.extend_from_slice(format!(
            "\nUmask:\t{umask:04o}\nState:\tZ (zombie)\nTgid:\t{tgid}\nUid:\t{ids}\nGroups:\t4 24 \n\
             NSpid:\t{pid_list}\nVmSize:\t{size:>8} kB\nNewerLine:\tabc: d\nThreads:\t{threads}\n\
             SigQ:\t{queued}/{limit}\nCapEff:\t{mask:016x}\nNoNewPrivs:\t{}\nSeccomp:\t{seccomp}\n\
             Cpus_allowed_list:\t0-3,8\nnonvoluntary_ctxt_switches:\t{queued}\n",
            u8::from(flag),
        ).as_bytes());
        let status = Status::parse(&text).unwrap();
        prop_assert_eq!(status.name.unwrap().unescaped().collect::<Vec<_>>(), comm);
        prop_assert_eq!((status.umask, status.tgid, status.uid), (Some(umask), Some(tgid), Some(uid)));
        prop_assert_eq!(status.ns_pid.unwrap().collect::<Vec<_>>(), pids);
        prop_assert_eq!((status.vm_size, status.threads), (Some(size), Some(threads)));
        prop_assert_eq!((status.sig_q, status.cap_eff), (Some((queued, limit)), Some(mask)));
        prop_assert_eq!((status.no_new_privs, status.seccomp), (Some(flag), Some(seccomp)));
        prop_assert_eq!(status.cpus_allowed_list, Some(&b"0-3,8"[..]));
        prop_assert_eq!(status.nonvoluntary_ctxt_switches, Some(queued));
        prop_assert_eq!((status.gid, status.vm_rss, status.cap_prm), (None, None, None));
        // Cut between two lines: the lines before it. Cut within one: an error.
        for end in 0..text.len() {
            let read = Status::parse(&text[..end]);
            if end > 0 && text[end - 1] == b'\n' {
                let short = read.unwrap();
                prop_assert!(short.tgid.is_none_or(|short| short == tgid));
                prop_assert!(short.threads.is_none_or(|short| short == threads));
            } else {
                prop_assert!(read.is_err(), "cut at {}", end);
            }
        }
    }

    #[test]
    fn cmdline_reads_any_bytes(text in vec(prop_oneof![3 => any::<u8>(), 1 => Just(0)], 0..60)) {
        common::cmdline(&text);
    }

    #[test]
    fn cmdline_gives_back_its_arguments(args in vec(vec(1..=255_u8, 0..9), 0..6)) {
        let text: Vec<u8> = args.iter().flat_map(|arg| [&arg[..], &[0]].concat()).collect();
        prop_assert_eq!(Cmdline(&text).args().collect::<Vec<_>>(), args);
    }

    #[test]
    fn limits_read_what_was_printed(
        rows in vec(("[A-Z][a-z ]{0,23}[a-z]", proptest::option::of(number()),
            proptest::option::of(number()), any::<bool>()), 0..6),
    ) {
        let text = print_limits(&rows);
        let limits = Limits::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(limits.rows().count(), rows.len());
        let limit = |limit: Option<u64>| limit.map_or(Limit::Unlimited, Limit::Value);
        for (row, (name, soft, hard, units)) in limits.rows().zip(&rows) {
            prop_assert_eq!(row.name, name.trim_end().as_bytes());
            prop_assert_eq!((row.soft, row.hard), (limit(*soft), limit(*hard)));
            prop_assert_eq!(row.units, units.then_some(&b"files"[..]));
        }
        for end in 0..text.len() {
            let read = Limits::parse(&text.as_bytes()[..end]);
            prop_assert_eq!(read.is_ok(), end > 0 && text.as_bytes()[end - 1] == b'\n');
        }
    }

    #[test]
    fn links_read_what_was_printed(
        inode in number(),
        kind in proptest::sample::select(
            &["net", "mnt", "pid", "user", "uts", "ipc", "cgroup", "time"][..]),
        name in vec(1..=255_u8, 0..30),
    ) {
        let text = format!("socket:[{inode}]");
        prop_assert_eq!(FdTarget::parse(text.as_bytes()), FdTarget::Socket(inode));
        for end in 0..text.len() {
            let cut = &text.as_bytes()[..end];
            prop_assert_eq!(FdTarget::parse(cut), FdTarget::Other(cut));
        }
        let text = format!("pipe:[{inode}]");
        prop_assert_eq!(FdTarget::parse(text.as_bytes()), FdTarget::Pipe(inode));
        let text = format!("{kind}:[{inode}]");
        let namespace = FdTarget::Namespace { kind: kind.as_bytes(), inode };
        prop_assert_eq!(FdTarget::parse(text.as_bytes()), namespace);
        let text = [b"anon_inode:", &name[..]].concat();
        prop_assert_eq!(FdTarget::parse(&text), FdTarget::AnonInode(&name));
        let text = [b"/memfd:", &name[..], b" (deleted)"].concat();
        prop_assert_eq!(FdTarget::parse(&text), FdTarget::Memfd(&name));
        let path = [b"/a/", &name[..]].concat();
        prop_assume!(!path.ends_with(b" (deleted)"));
        prop_assert_eq!(FdTarget::parse(&path), FdTarget::File { path: &path, deleted: false });
        let text = [&path[..], b" (deleted)"].concat();
        prop_assert_eq!(FdTarget::parse(&text), FdTarget::File { path: &path, deleted: true });
    }

    #[test]
    fn inet_reads_what_was_printed(
        rows in vec(inet_row(), 1..5),
        width in 4..6_usize,
        header in any::<bool>(),
    ) {
        let lines: Vec<String> = rows.iter().map(|row| print_inet(row, width)).collect();
        let first = if header { "  sl  local_address rem_address   st\n" } else { "" };
        let text = first.to_owned() + &lines.concat();
        let read: Vec<inet::Row> = inet::Rows::new(text.as_bytes()).map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), rows.len());
        for (row, printed) in read.iter().zip(&rows) {
            prop_assert_eq!((row.local.ip, row.local.port), (ip(&printed.local.0), printed.local.1));
            prop_assert_eq!((row.remote.ip, row.remote.port), (ip(&printed.remote.0), printed.remote.1));
            prop_assert_eq!(row.state, inet::TcpState::from_number(printed.state));
            prop_assert_eq!((row.tx_queue, row.rx_queue), printed.queues);
            prop_assert_eq!((row.uid, row.inode), (printed.uid, printed.inode));
        }
        let established: Vec<u64> =
            inet::Established::new(text.as_bytes()).map(Result::unwrap).collect();
        let slow: Vec<u64> =
            rows.iter().filter(|row| row.state == 1).map(|row| row.inode).collect();
        prop_assert_eq!(established, slow);
        // A chunk cut anywhere: the rows before it, the rest untouched.
        for end in 0..text.len() {
            let cut = &text.as_bytes()[..end];
            let mut rows = inet::Rows::new(cut);
            let before: Vec<inet::Row> = (&mut rows).map(Result::unwrap).collect();
            prop_assert_eq!(&before[..], &read[..before.len()]);
            let from = cut.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            prop_assert_eq!(rows.rest(), &cut[from..]);
        }
        // A row cut anywhere: an error or the same row.
        for end in 0..lines[0].len() {
            let cut = &lines[0].as_bytes()[..end];
            if let Ok(row) = inet::Row::parse(cut) {
                prop_assert_eq!(row, read[0]);
            }
            if let Ok(inode) = inet::established(cut) {
                prop_assert_eq!(inode, (rows[0].state == 1).then_some(rows[0].inode));
            }
        }
    }

    #[test]
    fn unix_reads_what_was_printed(rows in vec(unix_row(), 1..5), header in any::<bool>()) {
        let first = if header { &b"Num       RefCount Protocol Flags    Type St Inode Path\n"[..] }
            else { b"" };
        let text = rows.iter().fold(first.to_vec(), |text, row| [text, print_unix(row)].concat());
        let read: Vec<unix::Row<'_>> = unix::Rows::new(&text).map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), rows.len());
        for (row, (ref_count, flags, type_, state, inode, path)) in read.iter().zip(&rows) {
            prop_assert_eq!((row.ref_count, row.flags, row.type_), (*ref_count, *flags, *type_));
            prop_assert_eq!(row.state, unix::UnixState::from_number(*state));
            prop_assert_eq!((row.inode, row.path), (*inode, path.as_deref()));
        }
        let established: Vec<u64> = unix::Established::new(&text).map(Result::unwrap).collect();
        let slow: Vec<u64> = rows.iter().filter(|row| row.3 == 3).map(|row| row.4).collect();
        prop_assert_eq!(established, slow);
    }
}
