//! The socket tables, as `properties.rs` for the files of a process: rows are
//! parsed to the printed values, and truncated rows and chunks give an error or
//! the part before the cut.

use nom::Parser;
use nom::multi::many0_count;
use proptest::collection::vec;
use proptest::prelude::*;
use psstat_proc_parse::grammar;
use psstat_proc_parse::net::{inet, unix};

/// Numbers of all lengths.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift)
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

fn print_unix((ref_count, flags, socket_type, state, inode, path): &UnixRow) -> Vec<u8> {
    let mut text = format!(
        "0000000000000000: {ref_count:08X} 00000000 {flags:08X} {socket_type:04X} {state:02X} {inode:>5}"
    )
    .into_bytes();
    if let Some(path) = path {
        text.push(b' ');
        text.extend_from_slice(path);
    }
    text.push(b'\n');
    text
}

proptest! {
    #[test]
    fn inet_round_trip(
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
            prop_assert_eq!(row.state, inet::TcpState::from(printed.state));
            prop_assert_eq!((row.tx_queue, row.rx_queue), printed.queues);
            prop_assert_eq!((row.uid, row.inode), (printed.uid, printed.inode));
        }
        let established: Vec<u64> =
            inet::Established::new(text.as_bytes()).map(Result::unwrap).collect();
        let expected: Vec<u64> =
            rows.iter().filter(|row| row.state == 1).map(|row| row.inode).collect();
        prop_assert_eq!(established, expected);
        let after_header = &text.as_bytes()[first.len()..];
        let (rest, count) = many0_count(grammar::inet_row).parse(after_header).unwrap();
        prop_assert!(rest.is_empty() && count == rows.len());
        // A truncated chunk: the rows before the cut; the rest is not parsed.
        for end in 0..text.len() {
            let cut = &text.as_bytes()[..end];
            let mut rows = inet::Rows::new(cut);
            let before: Vec<inet::Row> = (&mut rows).map(Result::unwrap).collect();
            prop_assert_eq!(&before[..], &read[..before.len()]);
            let from = cut.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            prop_assert_eq!(rows.rest(), &cut[from..]);
        }
        // A truncated row: an error or the same row.
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
    fn unix_round_trip(rows in vec(unix_row(), 1..5), header in any::<bool>()) {
        let first = if header { &b"Num       RefCount Protocol Flags    Type St Inode Path\n"[..] }
            else { b"" };
        let text = rows.iter().fold(first.to_vec(), |text, row| [text, print_unix(row)].concat());
        let read: Vec<unix::Row<'_>> = unix::Rows::new(&text).map(Result::unwrap).collect();
        prop_assert_eq!(read.len(), rows.len());
        for (row, (ref_count, flags, socket_type, state, inode, path)) in read.iter().zip(&rows) {
            prop_assert_eq!((row.ref_count, row.flags, row.socket_type), (*ref_count, *flags, *socket_type));
            prop_assert_eq!(row.state, unix::UnixState::from(*state));
            prop_assert_eq!((row.inode, row.path), (*inode, path.as_deref()));
        }
        let established: Vec<u64> = unix::Established::new(&text).map(Result::unwrap).collect();
        let expected: Vec<u64> = rows.iter().filter(|row| row.3 == 3).map(|row| row.4).collect();
        prop_assert_eq!(established, expected);
        let (rest, count) = many0_count(grammar::unix_row).parse(&text[first.len()..]).unwrap();
        prop_assert!(rest.is_empty() && count == rows.len());
        // A truncated chunk: the rows whose first line is complete, the last path
        // as far as it goes; the rest is not parsed.
        for end in 0..text.len() {
            let cut = &text[..end];
            let from = cut.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            let mut rows = unix::Rows::new(cut);
            let before: Vec<unix::Row<'_>> = (&mut rows).map(Result::unwrap).collect();
            prop_assert_eq!(rows.rest(), &cut[from..]);
            let mut established = unix::Established::new(cut);
            let connected = read[..before.len()].iter().filter(|row| row.state == unix::UnixState::Connected);
            let inodes: Vec<u64> = (&mut established).map(Result::unwrap).collect();
            prop_assert_eq!(inodes, connected.map(|row| row.inode).collect::<Vec<_>>());
            prop_assert_eq!(established.rest(), &cut[from..]);
            if let Some((last, others)) = before.split_last() {
                prop_assert_eq!(others, &read[..others.len()]);
                let whole = read[others.len()];
                prop_assert_eq!(with_path(*last, None), with_path(whole, None));
                let (path, whole) = (last.path.unwrap_or_default(), whole.path.unwrap_or_default());
                prop_assert!(whole == path || whole.starts_with(&[path, b"\n"].concat()));
            }
        }
        // A truncated row: an error before its inode; from there on the same row
        // except for the last digits of the inode and the last bytes of the path.
        let line = print_unix(&rows[0]);
        let line = &line[..line.len() - 1];
        let inode = 18 + 9 + 9 + 9 + 5 + 3;
        for end in 0..line.len() {
            if let Ok(row) = unix::Row::parse(&line[..end]) {
                prop_assert!(end > inode, "cut at {}", end);
                let mut same = with_path(read[0], row.path);
                same.inode = row.inode;
                prop_assert_eq!(same, row);
                let path = read[0].path.unwrap_or_default();
                prop_assert!(path.starts_with(row.path.unwrap_or_default()));
            }
        }
    }

    /// Paths that contain complete rows or beginnings of rows. A line that starts as
    /// a row is a row; any other line continues the path before it.
    #[test]
    fn paths_containing_rows(
        rows in vec((unix_row(), path_of_rows()), 1..4),
    ) {
        let text: Vec<u8> = rows.into_iter().flat_map(|(row, path)| {
            print_unix(&(row.0, row.1, row.2, row.3, row.4, Some(path)))
        }).collect();
        let expected = reference(&text);
        let mut rows = unix::Rows::new(&text);
        let read: Vec<_> = (&mut rows).map(|row| row.ok().map(columns)).collect();
        prop_assert_eq!(read, expected.iter().map(|one| one.row).collect::<Vec<_>>());
        prop_assert!(rows.rest().is_empty());
        let inodes: Vec<u64> = unix::Established::new(&text).filter_map(Result::ok).collect();
        let connected: Vec<u64> = expected.iter().filter_map(|one| one.connected).collect();
        prop_assert_eq!(inodes, connected);
    }
}

/// A path of letters, rows and beginnings of rows.
fn path_of_rows() -> impl Strategy<Value = Vec<u8>> {
    let row = || unix_row().prop_map(|row| [b"\n", &print_unix(&row)[..]].concat());
    let beginning = (row(), any::<proptest::sample::Index>()).prop_map(|(mut row, end)| {
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

fn with_path<'a>(mut row: unix::Row<'a>, path: Option<&'a [u8]>) -> unix::Row<'a> {
    row.path = path;
    row
}

/// Reference count, flags, type, state, inode and path.
type Columns<'a> = (u32, u32, u32, u32, u64, Option<&'a [u8]>);

fn columns(row: unix::Row<'_>) -> Columns<'_> {
    let state = u8::from(row.state).into();
    (row.ref_count, row.flags, row.socket_type.into(), state, row.inode, row.path)
}

/// A row of the reference parser.
struct ReferenceRow<'a> {
    /// All columns; `None` if one is malformed.
    row: Option<Columns<'a>>,
    /// The inode, if the socket is connected.
    connected: Option<u64>,
}

/// A line starts a row if it matches this; `?` matches any byte.
const TEMPLATE: &[u8] = b"????????????????: ???????? ???????? ???????? ???? ";

fn reference(text: &[u8]) -> Vec<ReferenceRow<'_>> {
    let mut starts = vec![];
    let mut at = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let fits = |(have, want): (&u8, &u8)| *want == b'?' || have == want;
        if line.len() > TEMPLATE.len() && line.iter().zip(TEMPLATE).all(fits) {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(&start, end)| reference_row(&text[start..end - 1])).collect()
}

fn reference_row(row: &[u8]) -> ReferenceRow<'_> {
    let hex = |at: std::ops::Range<usize>| {
        let digits = row.get(at)?;
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        let digits = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
        u32::from_str_radix(digits, 16).ok()
    };
    let state = hex(50..52).filter(|_| row.get(52) == Some(&b' '));
    let after_state = row.get(53..).unwrap_or_default();
    let spaces = after_state.iter().take_while(|byte| **byte == b' ').count();
    let digits = &after_state[spaces..];
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let inode = std::str::from_utf8(&digits[..count]).unwrap().parse::<u64>().ok();
    let path = match &digits[count..] {
        [] => Some(None),
        [b' ', path @ ..] => Some(Some(path)),
        _ => None,
    };
    let whole = || Some((hex(18..26)?, hex(36..44)?, hex(45..49)?, state?, inode?, path?));
    ReferenceRow { row: whole(), connected: inode.filter(|_| state == Some(3)) }
}
