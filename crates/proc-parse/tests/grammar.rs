//! The grammars, combined with nom's combinators as a caller would.

// Clippy knows only functions marked as tests to be tests.
#![allow(clippy::unwrap_used)]

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_till};
use nom::combinator::{all_consuming, map, opt};
use nom::multi::fold_many0;
use nom::sequence::{delimited, pair, preceded, terminated};
use psstat_proc_parse::grammar::{
    ParseError, ParseResult, cgroup, fd_target, inet_header, inet_row, io, limits_row, stat,
    stat_core, statm, status, unix_header, unix_row,
};
use psstat_proc_parse::{FdTarget, LimitValue, ProcFile, Stat};

macro_rules! fixture {
    ($name:literal) => {
        &include_bytes!(concat!("../../../fixtures/proc/6.18/", $name))[..]
    };
}

/// The error in nom's wrapper.
fn error(result: ParseResult<'_, impl std::fmt::Debug>) -> ParseError {
    match result.unwrap_err() {
        nom::Err::Error(error) | nom::Err::Failure(error) => error,
        nom::Err::Incomplete(_) => panic!("incomplete"),
    }
}

#[test]
fn files_in_sequence() {
    let text = [fixture!("worker/stat"), fixture!("worker/statm"), fixture!("worker/io")].concat();
    let (rest, (stat, statm, io)) = (stat, statm, io).parse(&text).unwrap();
    assert!(rest.is_empty());
    assert_eq!(Ok(stat), Stat::parse(fixture!("worker/stat")));
    assert!(statm.size.0 > 0 && io.rchar > 0);
}

/// The last `)` ends a name, but not that of a process further on.
#[test]
fn stat_lines_of_many_processes() {
    let numbers = " 0".repeat(38);
    let names = ["a", "b) S 1", "(c", ")", "", "d\n1 (e) R 2"];
    let text: String = names.iter().map(|name| format!("1 ({name}) S{numbers}\n")).collect();
    let all = fold_many0(stat, Vec::new, |mut all, stat| {
        all.push(stat.comm);
        all
    });
    let (rest, all) = all_consuming(all).parse(text.as_bytes()).unwrap();
    assert!(rest.is_empty());
    assert_eq!(all, names.map(str::as_bytes));
}

#[test]
fn tables_with_headers() {
    let rows = fold_many0(inet_row, || 0, |sum, row| sum + row.inode);
    let (rest, sum) = preceded(inet_header, rows).parse(fixture!("net/tcp")).unwrap();
    assert!(rest.is_empty() && sum > 0);
    let rows = fold_many0(unix_row, || 0, |sum, row| sum + row.inode);
    let (rest, sum) = preceded(opt(unix_header), rows).parse(fixture!("net/unix")).unwrap();
    assert!(rest.is_empty() && sum > 0);

    let row = "c5541c8b: 00000003 00000000 00000000 0002 03 43";
    let text = format!("{row} /a\nb\n\nc\n{row}\n");
    let (rest, (first, second)) = pair(unix_row, unix_row).parse(text.as_bytes()).unwrap();
    assert!(rest.is_empty());
    assert_eq!((first.path, second.path), (Some(&b"/a\nb\n\nc"[..]), None));
}

#[test]
fn lines_and_links_inside_another_format() {
    let link = take_till(|byte| byte == b'\n').and_then(fd_target);
    let fd = terminated(take_till(|byte| byte == b' '), tag(" -> "));
    let mut list = terminated(pair(fd, link), tag("\n"));
    let (_, (fd, target)) = list.parse(&b"3 -> socket:[12]\n4 -> x\n"[..]).unwrap();
    assert_eq!((fd, target), (&b"3"[..], FdTarget::Socket(12)));

    let text = b"Max open files            1024                 unlimited            files     \n\
        1:name=systemd:/a\n";
    let (_, (limit, group)) = pair(limits_row, cgroup).parse(&text[..]).unwrap();
    assert_eq!((limit.soft, limit.hard), (LimitValue::Value(1024), LimitValue::Unlimited));
    assert_eq!(group.path, b"/a");

    let mut either = alt((map(stat_core, |stat| stat.pid), map(statm, |_| 0)));
    assert_eq!(either.parse(&b"1 2 3 4 5 6 7\n"[..]).unwrap().1, 0);
}

#[test]
fn errors_have_file_field_and_byte() {
    let text = b"<765 406 377 five 0 123 0\n>";
    let found = error(delimited(tag("<"), statm, tag(">")).parse(&text[..]));
    assert_eq!((found.file(), found.field()), (Some(ProcFile::Statm), Some("text")));
    assert_eq!(text.len() - found.remaining(), 13);
    let located = found.locate(text).unwrap();
    assert_eq!(located.to_string(), "statm: field 4 (text) at byte 13: expected a decimal number");
    assert_eq!(
        found.to_string(),
        "statm: field text, 14 bytes before the end: expected a decimal number"
    );
    assert_eq!(size_of_val(&found), 8);

    // The caller's own parsers give the same type, without a field.
    let found = error(preceded(tag("<"), status).parse(&b"Name:\tx\n"[..]));
    assert_eq!((found.file(), found.field(), found.locate(b"Name:\tx\n")), (None, None, None));
    assert_eq!(found.remaining(), 8);

    // Of two alternatives the error is that of the longer match.
    let found = error(alt((map(statm, |_| ()), map(stat, |_| ()))).parse(&b"1 2 3 x"[..]));
    assert_eq!((found.file(), found.field()), (Some(ProcFile::Statm), Some("text")));
}
