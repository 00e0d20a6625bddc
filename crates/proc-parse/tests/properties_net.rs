//! The socket tables, as `properties.rs` does it for a process's files: printed
//! rows read back as the same, and rows and chunks that are cut off give an error
//! or what stood before the cut.

// Clippy knows only functions marked as tests to be tests.
#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;
use psstat_proc_parse::net::{inet, unix};

/// Numbers of every length, not only long ones.
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

proptest! {
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
