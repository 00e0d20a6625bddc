//! The parsers agree with the reference parsers on text in the kernel's format, on its
//! beginnings, and on any other bytes.

use nom::Parser;
use nom::multi::many0_count;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use psstat_corpus::{TARGETS, Target, check_file};
use psstat_proc_parse::net::{inet, unix};
use psstat_proc_parse::{
    CgroupPath, Cgroups, Limits, ResourceLimit, Stat, StatCore, Status, grammar,
};

/// Numbers of all lengths.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift)
}

fn signed() -> impl Strategy<Value = i64> {
    (any::<i64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift)
}

/// The ends of truncated texts.
fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 30)
}

/// Checks a file in the kernel's format, and some of its beginnings.
fn check_with_cuts(name: &str, text: &[u8], cuts: &[Index]) {
    assert!(check_file(name, text));
    let target = Target::named(if name == "tcp" { "inet" } else { name }).unwrap();
    cuts.iter().for_each(|cut| (target.check)(&text[..cut.index(text.len())]));
}

/// Any bytes except NUL, with more parentheses and newlines than at random.
fn comm() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![4 => 1..=255_u8, 5 => select(&b")( \n\\"[..])], 0..16)
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

fn print_stat(comm: &[u8], state: u8, numbers: &[String]) -> Vec<u8> {
    [b"42 (", comm, b") ", &[state, b' '], numbers.join(" ").as_bytes(), b"\n"].concat()
}

/// A line of `status`, as the kernel might print it.
fn status_line(key: &'static str) -> BoxedStrategy<String> {
    let tabs = |numbers: Vec<String>| numbers.join("\t");
    let value = match key {
        "Umask" => (0..0o1000_u32).prop_map(|mask| format!("{mask:04o}")).boxed(),
        "State" => select(&["R (running)", "S (sleeping)"][..]).prop_map(str::to_owned).boxed(),
        "Tgid" | "Ngid" | "Pid" | "PPid" | "TracerPid" => {
            any::<i32>().prop_map(|pid| pid.to_string()).boxed()
        }
        "Uid" | "Gid" => {
            any::<[u32; 4]>().prop_map(move |v| tabs(v.map(|id| id.to_string()).into())).boxed()
        }
        "NSpid" => vec(any::<i32>().prop_map(|pid| pid.to_string()), 1..5).prop_map(tabs).boxed(),
        "SigQ" => (number(), number()).prop_map(|(queued, max)| format!("{queued}/{max}")).boxed(),
        "NoNewPrivs" | "Seccomp" => (0..2_u8).prop_map(|flag| flag.to_string()).boxed(),
        "Cpus_allowed_list" | "Mems_allowed_list" => "[0-9]{1,3}([,-][0-9]{1,3}){0,5}".boxed(),
        "FDSize" | "Threads" | "voluntary_ctxt_switches" | "nonvoluntary_ctxt_switches" => {
            number().prop_map(|count| count.to_string()).boxed()
        }
        _ if key.starts_with("Sig") || key.starts_with("Cap") || key == "ShdPnd" => {
            any::<u64>().prop_map(|mask| format!("{mask:016x}")).boxed()
        }
        _ => number().prop_map(|size| format!("{size:>8} kB")).boxed(),
    };
    value.prop_map(move |value| format!("{key}:\t{value}\n")).boxed()
}

/// Any of the known lines in the kernel's order, behind `Name` and an unknown line.
fn status_lines() -> impl Strategy<Value = Vec<Option<String>>> {
    let keys = "Umask State Tgid Ngid Pid PPid TracerPid Uid Gid FDSize NSpid VmPeak VmSize VmLck \
                VmPin VmHWM VmRSS RssAnon RssFile RssShmem VmData VmStk VmExe VmLib VmPTE VmPMD \
                VmSwap HugetlbPages Threads SigQ SigPnd ShdPnd SigBlk SigIgn SigCgt CapInh CapPrm \
                CapEff CapBnd CapAmb NoNewPrivs Seccomp Cpus_allowed_list Mems_allowed_list \
                voluntary_ctxt_switches nonvoluntary_ctxt_switches";
    let lines = || keys.split(' ').map(status_line);
    prop_oneof![
        lines().map(|line| line.prop_map(Some)).collect::<Vec<_>>(),
        lines().map(option::of).collect::<Vec<_>>(),
    ]
}

/// A row of `limits`.
fn limits_row() -> impl Strategy<Value = String> {
    let limit =
        || option::of(number()).prop_map(|n| n.map_or("unlimited".into(), |n| n.to_string()));
    let units = select(&["files     ", ""][..]);
    ("[A-Z][a-z ]{0,23}[a-z]", limit(), limit(), units)
        .prop_map(|(name, soft, hard, units)| format!("{name:<25} {soft:<20} {hard:<20} {units}\n"))
}

/// An address and a port.
fn address(words: usize) -> impl Strategy<Value = String> {
    (vec(any::<u32>(), words), any::<u16>()).prop_map(|(words, port)| {
        let words: String = words.iter().map(|word| format!("{word:08X}")).collect();
        format!("{words}:{port:04X}")
    })
}

/// A row of an inet table. The width of the slot is 4 for tcp, 5 for udp.
fn inet_row(width: usize) -> impl Strategy<Value = String> {
    let addresses =
        select(&[1_usize, 4][..]).prop_flat_map(|words| (address(words), address(words)));
    let queues = (any::<u32>(), any::<u32>(), any::<u32>());
    (0..100_000_u32, addresses, 0..14_u8, queues, any::<u32>(), any::<u32>(), number()).prop_map(
        move |(slot, (local, remote), state, (tx, rx, when), uid, timeout, inode)| {
            format!(
                "{slot:>width$}: {local} {remote} {state:02X} {tx:08X}:{rx:08X} 02:{when:08X} \
                 00000000 {uid:>5} {timeout:>8} {inode} 1 0000000000000000 0\n"
            )
        },
    )
}

/// A row of the unix table up to its inode.
fn unix_columns() -> impl Strategy<Value = String> {
    (any::<u32>(), any::<u32>(), any::<u16>(), 0..6_u8, number()).prop_map(
        |(references, flags, socket_type, state, inode)| {
            format!(
                "0000000000000000: {references:08X} 00000000 {flags:08X} {socket_type:04X} \
                 {state:02X} {inode:>5}"
            )
        },
    )
}

fn unix_row(path: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (unix_columns(), option::of(path)).prop_map(|(columns, path)| {
        let path = path.map(|path| [b" ", &path[..]].concat()).unwrap_or_default();
        [columns.as_bytes(), &path, b"\n"].concat()
    })
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![9 => 1..=255_u8, 1 => Just(b'\n')], 0..40)
}

/// A path that contains rows and beginnings of rows.
fn path_of_rows() -> impl Strategy<Value = Vec<u8>> {
    let row = || unix_row(path()).prop_map(|row| [b"\n", &row[..]].concat());
    let beginning = (row(), any::<Index>()).prop_map(|(mut row, end)| {
        row.truncate(end.index(row.len() + 1));
        row
    });
    let piece = prop_oneof![
        2 => "[ -~]{0,8}".prop_map(String::into_bytes),
        1 => row(),
        3 => beginning,
        1 => Just(b"\n".to_vec()),
    ];
    vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// The original with up to three bytes changed, inserted or removed.
fn edited(original: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..4).prop_map(move |edits| {
        let mut text = original.to_vec();
        for (place, byte, how) in edits {
            let at = place.index(text.len());
            match how {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                _ => drop(text.remove(at)),
            }
        }
        text
    })
}

/// Checks the text with every parser.
fn check_with_all(text: &[u8]) {
    TARGETS[..9].iter().for_each(|target| (target.check)(text));
    if let Ok(cgroups) = Cgroups::parse(text) {
        let _ = (cgroups.iter().count(), cgroups.v2(), cgroups.get(b"memory"), cgroups.path());
    }
    let path = CgroupPath(text);
    assert!(path.unit().is_none_or(|unit| text.windows(unit.len()).any(|part| part == unit)));
    assert!(path.container().is_none_or(|container| container.bytes().count() > 0));
    for error in inet::InetRows::new(text).filter_map(Result::err) {
        assert!(error.offset() <= text.len() && !error.to_string().is_empty());
    }
    for error in unix::UnixRows::new(text).filter_map(Result::err) {
        assert!(error.offset() <= text.len() && !error.to_string().is_empty());
    }
}

macro_rules! fixture {
    ($name:literal) => {
        &include_bytes!(concat!("../../../fixtures/proc/6.18/", $name))[..]
    };
}

proptest! {
    #[test]
    fn random_bytes(text in vec(any::<u8>(), 0..400)) {
        check_with_all(&text);
    }

    #[test]
    fn edited_files(text in prop_oneof![
        edited(fixture!("worker/stat")), edited(fixture!("worker/status")),
        edited(fixture!("worker/io")), edited(fixture!("worker/limits")),
        edited(fixture!("net/tcp")), edited(fixture!("net/tcp6")),
        edited(fixture!("net/udp")), edited(fixture!("net/unix")),
    ]) {
        check_with_all(&text);
    }

    #[test]
    fn stat(
        comm in comm(),
        state in select(&b"RSDTtZXIPKWx"[..]),
        numbers in stat_numbers(),
        count in select(&[38_usize, 39, 41, 44, 49][..]),
        cuts in cuts(),
    ) {
        let text = print_stat(&comm, state, &numbers[..count]);
        check_with_cuts("stat", &text, &cuts);
        prop_assert_eq!(Stat::parse(&text).unwrap().comm, &comm[..]);
        let whole = StatCore::parse(&text).unwrap();
        for cut in cuts.iter().map(|cut| cut.index(text.len())) {
            prop_assert!(Stat::parse(&text[..cut]).is_err(), "cut at {}", cut);
            prop_assert!(StatCore::parse(&text[..cut]).is_ok_and(|core| core == whole)
                || StatCore::parse(&text[..cut]).is_err());
        }
    }

    #[test]
    fn stat_out_of_range(
        mut numbers in stat_numbers(),
        field in 4..=52_usize,
        all_ones in any::<bool>(),
        wrong in select(&["18446744073709551616", "-9223372036854775809",
            "99999999999999999999999", "-", "+1", "1a", ""][..]),
    ) {
        // 2^64 - 1 fits most fields; for the others it is out of range, not -1.
        let all_ones = matches!(field, 4..=9 | 16..=19 | 21 | 38..=41 | 44 | 52) && all_ones;
        numbers[field - 4] = if all_ones { u64::MAX.to_string() } else { wrong.to_owned() };
        prop_assert!(Stat::parse(&print_stat(b"a b", b'S', &numbers)).is_err());
    }

    #[test]
    fn statm(values in proptest::array::uniform7(number()), cuts in cuts()) {
        let text = values.map(|value| value.to_string()).join(" ") + "\n";
        check_with_cuts("statm", text.as_bytes(), &cuts);
    }

    #[test]
    fn io(
        values in proptest::array::uniform6(number()),
        cancelled in signed(),
        with_sign in any::<bool>(),
        cuts in cuts(),
    ) {
        let keys = ["rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes"];
        let lines = keys.iter().zip(values).map(|(key, value)| format!("{key}: {value}\n"));
        let cancelled =
            if with_sign { cancelled.to_string() } else { cancelled.cast_unsigned().to_string() };
        let text = lines.collect::<String>() + &format!("cancelled_write_bytes: {cancelled}\n");
        check_with_cuts("io", text.as_bytes(), &cuts);
    }

    #[test]
    fn status(comm in comm(), lines in status_lines(), cuts in cuts()) {
        let mut text = b"Name:\t".to_vec();
        for byte in &comm {
            match byte {
                b'\n' => text.extend_from_slice(b"\\n"),
                b'\\' => text.extend_from_slice(b"\\\\"),
                other => text.push(*other),
            }
        }
        text.extend_from_slice(b"\nNewerLine:\tabc: d\n");
        lines.iter().flatten().for_each(|line| text.extend_from_slice(line.as_bytes()));
        check_with_cuts("status", &text, &cuts);
        prop_assert!(Status::parse(&text).unwrap().name.unwrap().unescaped().eq(comm));
        // Only a text that is truncated between two lines is accepted.
        for end in cuts.iter().map(|cut| cut.index(text.len())).filter(|&end| end > 0) {
            prop_assert_eq!(Status::parse(&text[..end]).is_ok(), text[end - 1] == b'\n');
        }
    }

    #[test]
    fn cmdline(text in vec(prop_oneof![3 => any::<u8>(), 1 => Just(0)], 0..60)) {
        check_file("cmdline", &text);
    }

    #[test]
    fn limits(rows in vec(limits_row(), 0..6), cuts in cuts()) {
        let header =
            format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
        let text = header + &rows.concat();
        check_with_cuts("limits", text.as_bytes(), &cuts);
        let limits = Limits::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(limits.iter().count(), rows.len());
        for row in limits {
            prop_assert_eq!(ResourceLimit::find_by_name(text.as_bytes(), row.name), Ok(limits.get_by_name(row.name)));
        }
        prop_assert_eq!(ResourceLimit::find_by_name(text.as_bytes(), b"max"), Ok(None));
    }

    #[test]
    fn cgroup(lines in vec((any::<u32>(), "[a-z_,=]{0,12}", "/[ -~]{0,20}"), 0..6)) {
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
    fn fd_links(
        kind in select(&["socket", "pipe", "net", "mnt", "pid", "user", "uts", "ipc", "cgroup",
            "time", "other"][..]),
        inode in number(),
        start in select(&["anon_inode:", "/memfd:", "/dev/", "/a/"][..]),
        name in vec(1..=255_u8, 0..30),
        end in select(&["", " (deleted)"][..]),
    ) {
        let check = Target::named("fd").unwrap().check;
        for link in [
            format!("{kind}:[{inode}]").as_bytes(),
            &[start.as_bytes(), &name, end.as_bytes()].concat(),
        ] {
            (0..=link.len()).for_each(|end| check(&link[..end]));
        }
    }

    #[test]
    fn inet_tables(
        rows in (4..6_usize).prop_flat_map(|width| vec(inet_row(width), 1..5)),
        header in select(&["", "  sl  local_address rem_address   st\n"][..]),
        cuts in cuts(),
    ) {
        let text = header.to_owned() + &rows.concat();
        check_with_cuts("tcp", text.as_bytes(), &cuts);
        let read = inet::InetRows::new(text.as_bytes());
        prop_assert_eq!(read.count(), rows.len());
        let after_header = &text.as_bytes()[header.len()..];
        let (rest, count) = many0_count(grammar::inet_row).parse(after_header).unwrap();
        prop_assert!(rest.is_empty() && count == rows.len());
        // A truncated row: an error or the same row.
        let whole = rows[0].trim_end().as_bytes();
        for cut in (0..whole.len()).map(|end| &whole[..end]) {
            if let Ok(row) = inet::InetRow::parse(cut) {
                prop_assert_eq!(Ok(row), inet::InetRow::parse(whole));
            }
            if let Ok(inode) = inet::established(cut) {
                prop_assert_eq!(Ok(inode), inet::established(whole));
            }
        }
    }

    #[test]
    fn unix_tables(
        rows in vec(unix_row(path()), 1..5),
        header in select(&["", "Num       RefCount Protocol Flags    Type St Inode Path\n"][..]),
        cuts in cuts(),
    ) {
        let text = [header.as_bytes(), &rows.concat()].concat();
        check_with_cuts("unix", &text, &cuts);
        prop_assert_eq!(unix::UnixRows::new(&text).count(), rows.len());
        let (rest, count) = many0_count(grammar::unix_row).parse(&text[header.len()..]).unwrap();
        prop_assert!(rest.is_empty() && count == rows.len());
    }

    /// A line that starts as a row is a row; any other line continues the path before it.
    #[test]
    fn paths_containing_rows(rows in vec(unix_row(path_of_rows()), 1..4), cuts in cuts()) {
        let text = rows.concat();
        let check = Target::named("unix").unwrap().check;
        check(&text);
        cuts.iter().for_each(|cut| check(&text[..cut.index(text.len())]));
    }
}
