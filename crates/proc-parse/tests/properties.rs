//! What is printed as the kernel prints it reads back as the same; what is cut
//! off anywhere is an error or the documented shorter result, never another
//! value.

use proptest::collection::vec;
use proptest::prelude::*;
use psstat_corpus::check_file;
use psstat_proc_parse::{
    Cmdline, FdTarget, Ids, Io, LimitValue, Limits, SigQueue, Stat, StatCore, Statm, Status,
};

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

/// How many lines of `status` are read, `Name` aside.
const STATUS_LINES: usize = 46;

fn status_lines() -> impl Strategy<Value = Vec<String>> {
    let kb = |key: &'static str| number().prop_map(move |v| format!("{key}:\t{v:>8} kB\n")).boxed();
    let count = |key: &'static str| number().prop_map(move |v| format!("{key}:\t{v}\n")).boxed();
    let pid = |key: &'static str| any::<i32>().prop_map(move |v| format!("{key}:\t{v}\n")).boxed();
    let mask =
        |key: &'static str| any::<u64>().prop_map(move |v| format!("{key}:\t{v:016x}\n")).boxed();
    let ids = |key: &'static str| {
        let ids = any::<[u32; 4]>();
        ids.prop_map(move |v| format!("{key}:\t{}\n", v.map(|id| id.to_string()).join("\t")))
            .boxed()
    };
    let list = |key: &'static str| {
        "[0-9]{1,3}([,-][0-9]{1,3}){0,5}".prop_map(move |v| format!("{key}:\t{v}\n")).boxed()
    };
    let lines = [
        vec![(0..0o1000_u32).prop_map(|v| format!("Umask:\t{v:04o}\n")).boxed()],
        vec![
            proptest::sample::select(&["R (running)", "S (sleeping)", "Z (zombie)"][..])
                .prop_map(|v| format!("State:\t{v}\n"))
                .boxed(),
        ],
        ["Tgid", "Ngid", "Pid", "PPid", "TracerPid"].map(pid).to_vec(),
        ["Uid", "Gid"].map(ids).to_vec(),
        vec![count("FDSize")],
        vec![
            vec(any::<i32>(), 1..5)
                .prop_map(|v| v.iter().map(ToString::to_string).collect::<Vec<_>>().join("\t"))
                .prop_map(|v| format!("NSpid:\t{v}\n"))
                .boxed(),
        ],
        ["VmPeak", "VmSize", "VmLck", "VmPin", "VmHWM", "VmRSS", "RssAnon", "RssFile", "RssShmem"]
            .map(kb)
            .to_vec(),
        ["VmData", "VmStk", "VmExe", "VmLib", "VmPTE", "VmPMD", "VmSwap", "HugetlbPages"]
            .map(kb)
            .to_vec(),
        vec![count("Threads")],
        vec![(number(), number()).prop_map(|(q, most)| format!("SigQ:\t{q}/{most}\n")).boxed()],
        ["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"].map(mask).to_vec(),
        ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(mask).to_vec(),
        vec![any::<bool>().prop_map(|v| format!("NoNewPrivs:\t{}\n", u8::from(v))).boxed()],
        vec![(0..3_u8).prop_map(|v| format!("Seccomp:\t{v}\n")).boxed()],
        ["Cpus_allowed_list", "Mems_allowed_list"].map(list).to_vec(),
        ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"].map(count).to_vec(),
    ];
    lines.concat()
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

proptest! {
    #[test]
    fn stat_reads_what_was_printed(
        pid in any::<i32>(),
        comm in comm(),
        state in proptest::sample::select(&b"RSDTtZXIPKWx"[..]),
        numbers in stat_numbers(),
        count in prop_oneof![Just(38_usize), Just(39), Just(41), Just(44), Just(49)],
    ) {
        let text = print_stat(pid, &comm, state, &numbers[..count]);
        check_file("stat", &text);
        prop_assert_eq!(Stat::parse(&text).unwrap().comm, &comm[..]);
    }

    #[test]
    fn stat_cut_off_anywhere_is_an_error(comm in comm(), numbers in stat_numbers()) {
        let text = print_stat(42, &comm, b'S', &numbers);
        for end in 0..text.len() {
            prop_assert!(Stat::parse(&text[..end]).is_err(), "cut at {}", end);
        }
        let whole = StatCore::parse(&text).unwrap();
        for end in 0..text.len() {
            if let Ok(core) = StatCore::parse(&text[..end]) {
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
        check_file("statm", text.as_bytes());
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
        check_file("io", text.as_bytes());
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
        prop_assert_eq!((status.umask, status.tgid, status.uid.map(Ids::to_array)), (Some(umask), Some(tgid), Some(uid)));
        prop_assert_eq!(status.ns_pid.unwrap().iter().collect::<Vec<_>>(), pids);
        prop_assert_eq!((status.vm_size, status.threads), (Some(size), Some(threads)));
        prop_assert_eq!((status.sig_queue, status.cap_eff), (Some(SigQueue { queued, limit }), Some(mask)));
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

    /// Any of the lines that are read, in the kernel's order, each with any
    /// value that the kernel might print there.
    #[test]
    fn status_reads_each_of_its_lines(
        (lines, there) in status_lines().prop_flat_map(|lines| {
            let there = vec(any::<bool>(), lines.len());
            (Just(lines), prop_oneof![Just(vec![true; STATUS_LINES]), there])
        }),
    ) {
        let mut text = "Name:\tit\n".to_owned();
        for (line, _) in lines.iter().zip(there).filter(|(_, there)| *there) {
            text.push_str(line);
        }
        check_file("status", text.as_bytes());
    }

    #[test]
    fn cmdline_reads_any_bytes(text in vec(prop_oneof![3 => any::<u8>(), 1 => Just(0)], 0..60)) {
        check_file("cmdline", &text);
    }

    #[test]
    fn cmdline_gives_back_its_arguments(args in vec(vec(1..=255_u8, 0..9), 0..6)) {
        let text: Vec<u8> = args.iter().flat_map(|arg| [&arg[..], &[0]].concat()).collect();
        prop_assert_eq!(Cmdline::new(&text).args().collect::<Vec<_>>(), args);
    }

    #[test]
    fn limits_read_what_was_printed(
        rows in vec(("[A-Z][a-z ]{0,23}[a-z]", proptest::option::of(number()),
            proptest::option::of(number()), any::<bool>()), 0..6),
    ) {
        let text = print_limits(&rows);
        let limits = Limits::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(limits.rows().count(), rows.len());
        let limit = |limit: Option<u64>| limit.map_or(LimitValue::Unlimited, LimitValue::Value);
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
}
