//! Error messages and offsets. The inputs of the corpus have the special cases.

use psstat_proc_parse::net::{inet, unix};
use psstat_proc_parse::{Expected, Io, Limits, ProcFile, Stat, Statm, Status};

/// A line of Linux 2.6.9 with 41 fields; Linux 2.6.18 printed one more.
const OLD: &str = "7 (x) S 1 7 7 0 -1 64 1 0 0 0 5 6 0 0 15 0 1 0 99 1024 25 4294967295 1 2 3 4 5 \
                   0 0 0 0 0 0 0 17 0 0 0";

fn assert_message<T: std::fmt::Debug>(read: Result<T, psstat_proc_parse::Error>, message: &str) {
    assert_eq!(read.unwrap_err().to_string(), message);
}

#[test]
fn messages_name_file_field_and_byte() {
    assert_message(
        Stat::parse(OLD.replacen(" 5 6 ", " x 6 ", 1).as_bytes()),
        "stat: field 14 (utime) at byte 30: expected a decimal number",
    );
    assert_message(
        Stat::parse(b"7 (x S 1"),
        "stat: field 2 (comm) at byte 3: expected a parenthesis around the name",
    );
    assert_message(
        Stat::parse(OLD.as_bytes()),
        "stat: field 42 (delayacct_blkio_ticks) at byte 101: expected a separator",
    );
    assert_message(
        Stat::parse(format!("{}\n", OLD.replacen(" 64 ", " 4294967296 ", 1)).as_bytes()),
        "stat: field 9 (flags) at byte 19: expected a number in the field's range",
    );
    assert_message(Statm::parse(b""), "statm: field 1 (size) at byte 0: expected a decimal number");
    assert_message(
        Io::parse(b"rchar: 1\nwhar: 2\n"),
        "io: field 2 (wchar) at byte 9: expected the field's keyword",
    );
    assert_message(
        Status::parse(b"Name:\tx\nVmRSS:\t   12 MB\n"),
        "status: field VmRSS at byte 20: expected the field's keyword",
    );
    assert_message(
        Status::parse(b"Name:\tx\nNewer:\t1"),
        "status: field of an unknown line at byte 16: expected the end of the line",
    );
    assert_message(
        Limits::parse(b"x"),
        "limits: field 5 (header) at byte 0: expected the field's keyword",
    );
    assert_message(
        inet::InetRow::parse(b"   0: 0100007F:0G77 "),
        "inet: field 2 (local_address) at byte 15: expected a hexadecimal number",
    );
    assert_message(
        unix::UnixRow::parse(b"0000000000000000: 0000000x 0"),
        "unix: field 2 (RefCount) at byte 18: expected a hexadecimal number",
    );
}

#[test]
fn error_accessors_and_size() {
    let error = Statm::parse(b"1 2 3 4 5 6 7").unwrap_err();
    assert_eq!(
        (error.file(), error.field(), error.field_number()),
        (ProcFile::Statm, "dt", Some(7))
    );
    assert_eq!((error.offset(), error.expected()), (13, Expected::LineEnd));
    assert_eq!(size_of_val(&error), 8);
}

#[test]
fn rows_after_a_malformed_row() {
    let good = "   1: 0100007F:0277 00000000:0000 01 00000000:00000000 00:00000000 00000000     \
                0        0 1145 1 00000000a8ab655e 100 0 0 10 0\n";
    let table = format!("{}{good}{}", good.replace("0277", "02G7"), &good[..40]);
    let mut rows = inet::InetRows::new(table.as_bytes());
    assert_eq!(rows.next().unwrap().unwrap_err().field(), "local_address");
    assert_eq!(rows.next().unwrap().unwrap().inode, 1145);
    assert!(rows.next().is_none());
    assert_eq!(rows.rest(), &good.as_bytes()[..40]);

    // The state of the second row is malformed; the offset is that in the chunk.
    let table = format!("{good}{}{good}", good.replace(" 01 ", " 0x "));
    let inodes: Vec<_> = inet::Established::new(table.as_bytes()).collect();
    assert_eq!((inodes[0], inodes[2]), (Ok(1145), Ok(1145)));
    assert_eq!(inodes[1].unwrap_err().offset(), good.len() + 34);
}
