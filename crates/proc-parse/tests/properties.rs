//! Text in the kernel's format is parsed to the printed values; truncated text is
//! an error or the documented partial result, never another value.

use proptest::collection::vec;
use proptest::prelude::*;
use psstat_corpus::check_file;
use psstat_proc_parse::{Cgroups, Cmdline, FdTarget, Io, Limits, Stat, StatCore, Statm, Status};

/// Numbers of all lengths.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift)
}

fn signed() -> impl Strategy<Value = i64> {
    (any::<i64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift)
}

/// Any bytes except NUL, with more parentheses and newlines than at random.
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

/// The number of known lines of `status` without `Name`.
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
    fn stat_round_trip(
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
    fn truncated_stat_is_an_error(comm in comm(), numbers in stat_numbers()) {
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
    fn stat_rejects_values_out_of_range(
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
        // 2^64 - 1 fits most fields; for the others it is out of range, not -1.
        let all_ones = matches!(field, 4..=9 | 16..=19 | 21 | 38..=41 | 44 | 52) && all_ones;
        numbers[field - 4] = if all_ones { u64::MAX.to_string() } else { wrong };
        let text = print_stat(42, b"a b", b'S', &numbers);
        prop_assert!(Stat::parse(&text).is_err());
    }

    #[test]
    fn statm_round_trip(values in proptest::array::uniform7(number())) {
        let text = values.map(|value| value.to_string()).join(" ") + "\n";
        check_file("statm", text.as_bytes());
        for end in 0..text.len() {
            prop_assert!(Statm::parse(&text.as_bytes()[..end]).is_err(), "cut at {}", end);
        }
    }

    #[test]
    fn io_round_trip(
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

    /// Any of the known lines in the kernel's order, each with any value that the
    /// kernel might print, and an unknown line.
    #[test]
    fn status_round_trip(
        comm in comm(),
        (lines, present) in status_lines().prop_flat_map(|lines| {
            let present = vec(any::<bool>(), lines.len());
            (Just(lines), prop_oneof![Just(vec![true; STATUS_LINES]), present])
        }),
        cuts in vec(any::<proptest::sample::Index>(), 20),
    ) {
        let mut text = b"Name:\t".to_vec();
        for &byte in &comm {
            match byte {
                b'\n' => text.extend_from_slice(b"\\n"),
                b'\\' => text.extend_from_slice(b"\\\\"),
                other => text.push(other),
            }
        }
        text.extend_from_slice(b"\nNewerLine:\tabc: d\n");
        for (line, _) in lines.iter().zip(present).filter(|(_, present)| *present) {
            text.extend_from_slice(line.as_bytes());
        }
        check_file("status", &text);
        let status = Status::parse(&text).unwrap();
        prop_assert!(status.name.unwrap().unescaped().eq(comm));
        // Truncated between two lines: the lines before it. Within a line: an error.
        for end in cuts.iter().map(|cut| cut.index(text.len())) {
            match Status::parse(&text[..end]) {
                Ok(short) => {
                    prop_assert_eq!(text[end - 1], b'\n');
                    prop_assert!(short.tgid.is_none() || short.tgid == status.tgid);
                    prop_assert!(short.uid.is_none() || short.uid == status.uid);
                    prop_assert!(short.threads.is_none() || short.threads == status.threads);
                }
                Err(_) => prop_assert!(end == 0 || text[end - 1] != b'\n', "cut at {}", end),
            }
        }
    }

    #[test]
    fn cmdline_of_any_bytes(text in vec(prop_oneof![3 => any::<u8>(), 1 => Just(0)], 0..60)) {
        check_file("cmdline", &text);
    }

    #[test]
    fn cmdline_round_trip(args in vec(vec(1..=255_u8, 0..9), 0..6)) {
        let text: Vec<u8> = args.iter().flat_map(|arg| [&arg[..], &[0]].concat()).collect();
        prop_assert_eq!(Cmdline::new(&text).args().collect::<Vec<_>>(), args);
    }

    #[test]
    fn limits_round_trip(
        rows in vec(("[A-Z][a-z ]{0,23}[a-z]", proptest::option::of(number()),
            proptest::option::of(number()), any::<bool>()), 0..6),
    ) {
        let text = print_limits(&rows);
        check_file("limits", text.as_bytes());
        let limits = Limits::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(limits.rows().count(), rows.len());
        for end in 0..text.len() {
            let read = Limits::parse(&text.as_bytes()[..end]);
            prop_assert_eq!(read.is_ok(), end > 0 && text.as_bytes()[end - 1] == b'\n');
        }
    }

    #[test]
    fn cgroup_round_trip(
        lines in vec((any::<u32>(), "[a-z_,=]{0,12}", "/[ -~]{0,20}"), 0..6),
    ) {
        let print = |(hierarchy, controllers, path): &(u32, String, String)| {
            format!("{hierarchy}:{controllers}:{path}\n")
        };
        let text: String = lines.iter().map(print).collect();
        let groups = Cgroups::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(groups.iter().count(), lines.len());
        for (group, (hierarchy, controllers, path)) in groups.iter().zip(&lines) {
            prop_assert_eq!(group.hierarchy, *hierarchy);
            prop_assert_eq!(group.controllers, controllers.as_bytes());
            prop_assert_eq!(group.path, path.as_bytes());
            prop_assert_eq!(group.is_v2(), *hierarchy == 0 && controllers.is_empty());
        }
        for end in 1..text.len() {
            let complete = text.as_bytes()[end - 1] == b'\n';
            prop_assert_eq!(Cgroups::parse(&text.as_bytes()[..end]).is_ok(), complete);
        }
    }

    #[test]
    fn fd_target_round_trip(
        inode in number(),
        kind in proptest::sample::select(
            &["net", "mnt", "pid", "user", "uts", "ipc", "cgroup", "time"][..]),
        name in vec(1..=255_u8, 0..30),
    ) {
        let text = format!("socket:[{inode}]");
        prop_assert_eq!(FdTarget::Socket(inode).to_string(), &text[..]);
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
