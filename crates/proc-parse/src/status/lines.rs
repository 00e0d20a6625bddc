//! The lines of `status`: each known key and how its value is read.

use crate::cursor::Cursor;
use crate::error::{Error, Expected};
use crate::number;
use crate::state::ProcessState;

use super::{EscapedName, Ids, NsPids, SigQueue, Status};

/// Reads a value and stores it; the `u8` is the field's number, for errors.
type Store = for<'a> fn(&mut Status<'a>, &mut Cursor<'a>, u8) -> Result<(), Error>;

/// Every known key, in the order in which the kernel prints them. Those whose
/// value is skipped are here so that the search for a key stays short.
const LINES: [(&str, Store); 61] = [
    ("Name", |s, at, _| {
        s.name = Some(EscapedName::new(to_line_end(at)));
        Ok(())
    }),
    ("Umask", |s, at, n| at.number(n, octal).map(|v| s.umask = Some(v))),
    ("State", |s, at, n| {
        let &[letter] = at.chunk(n, Expected::Character)?;
        if letter == b'\n' {
            return Err(at.error(n, Expected::Character));
        }
        // The word in brackets behind the letter says the same again.
        to_line_end(at);
        s.state = Some(ProcessState::from(letter));
        Ok(())
    }),
    ("Tgid", |s, at, n| at.narrow(n).map(|v| s.tgid = Some(v))),
    ("Ngid", |s, at, n| at.narrow(n).map(|v| s.ngid = Some(v))),
    ("Pid", |s, at, n| at.narrow(n).map(|v| s.pid = Some(v))),
    ("PPid", |s, at, n| at.narrow(n).map(|v| s.ppid = Some(v))),
    ("TracerPid", |s, at, n| at.narrow(n).map(|v| s.tracer_pid = Some(v))),
    ("Uid", |s, at, n| four(at, n).map(|v| s.uid = Some(v))),
    ("Gid", |s, at, n| four(at, n).map(|v| s.gid = Some(v))),
    ("FDSize", |s, at, n| at.u64(n).map(|v| s.fd_size = Some(v))),
    ("Groups", skip),
    ("NStgid", skip),
    ("NSpid", |s, at, n| ns_pids(at, n).map(|v| s.ns_pid = Some(v))),
    ("NSpgid", skip),
    ("NSsid", skip),
    ("Kthread", skip),
    ("VmPeak", |s, at, n| kb(at, n).map(|v| s.vm_peak = Some(v))),
    ("VmSize", |s, at, n| kb(at, n).map(|v| s.vm_size = Some(v))),
    ("VmLck", |s, at, n| kb(at, n).map(|v| s.vm_lck = Some(v))),
    ("VmPin", |s, at, n| kb(at, n).map(|v| s.vm_pin = Some(v))),
    ("VmHWM", |s, at, n| kb(at, n).map(|v| s.vm_hwm = Some(v))),
    ("VmRSS", |s, at, n| kb(at, n).map(|v| s.vm_rss = Some(v))),
    ("RssAnon", |s, at, n| kb(at, n).map(|v| s.rss_anon = Some(v))),
    ("RssFile", |s, at, n| kb(at, n).map(|v| s.rss_file = Some(v))),
    ("RssShmem", |s, at, n| kb(at, n).map(|v| s.rss_shmem = Some(v))),
    ("VmData", |s, at, n| kb(at, n).map(|v| s.vm_data = Some(v))),
    ("VmStk", |s, at, n| kb(at, n).map(|v| s.vm_stk = Some(v))),
    ("VmExe", |s, at, n| kb(at, n).map(|v| s.vm_exe = Some(v))),
    ("VmLib", |s, at, n| kb(at, n).map(|v| s.vm_lib = Some(v))),
    ("VmPTE", |s, at, n| kb(at, n).map(|v| s.vm_pte = Some(v))),
    ("VmPMD", |s, at, n| kb(at, n).map(|v| s.vm_pmd = Some(v))),
    ("VmSwap", |s, at, n| kb(at, n).map(|v| s.vm_swap = Some(v))),
    ("HugetlbPages", |s, at, n| kb(at, n).map(|v| s.hugetlb_pages = Some(v))),
    ("CoreDumping", skip),
    ("THP_enabled", skip),
    ("untag_mask", skip),
    ("Threads", |s, at, n| at.u64(n).map(|v| s.threads = Some(v))),
    ("SigQ", |s, at, n| {
        let queued = at.u64(n)?;
        at.byte(n, b'/', Expected::Separator)?;
        at.u64(n).map(|limit| s.sig_queue = Some(SigQueue { queued, limit }))
    }),
    ("SigPnd", |s, at, n| at.number(n, number::hex).map(|v| s.sig_pnd = Some(v))),
    ("ShdPnd", |s, at, n| at.number(n, number::hex).map(|v| s.shd_pnd = Some(v))),
    ("SigBlk", |s, at, n| at.number(n, number::hex).map(|v| s.sig_blk = Some(v))),
    ("SigIgn", |s, at, n| at.number(n, number::hex).map(|v| s.sig_ign = Some(v))),
    ("SigCgt", |s, at, n| at.number(n, number::hex).map(|v| s.sig_cgt = Some(v))),
    ("CapInh", |s, at, n| at.number(n, number::hex).map(|v| s.cap_inh = Some(v))),
    ("CapPrm", |s, at, n| at.number(n, number::hex).map(|v| s.cap_prm = Some(v))),
    ("CapEff", |s, at, n| at.number(n, number::hex).map(|v| s.cap_eff = Some(v))),
    ("CapBnd", |s, at, n| at.number(n, number::hex).map(|v| s.cap_bnd = Some(v))),
    ("CapAmb", |s, at, n| at.number(n, number::hex).map(|v| s.cap_amb = Some(v))),
    ("NoNewPrivs", |s, at, n| flag(at, n).map(|v| s.no_new_privs = Some(v))),
    ("Seccomp", |s, at, n| at.narrow(n).map(|v| s.seccomp = Some(v))),
    ("Seccomp_filters", skip),
    ("Speculation_Store_Bypass", skip),
    ("SpeculationIndirectBranch", skip),
    ("Cpus_allowed", skip),
    ("Cpus_allowed_list", |s, at, _| {
        s.cpus_allowed_list = Some(to_line_end(at));
        Ok(())
    }),
    ("Mems_allowed", skip),
    ("Mems_allowed_list", |s, at, _| {
        s.mems_allowed_list = Some(to_line_end(at));
        Ok(())
    }),
    ("voluntary_ctxt_switches", |s, at, n| at.u64(n).map(|v| s.voluntary_ctxt_switches = Some(v))),
    ("nonvoluntary_ctxt_switches", |s, at, n| {
        at.u64(n).map(|v| s.nonvoluntary_ctxt_switches = Some(v))
    }),
    // Not a key of the kernel's: the name that errors give a line nobody knows.
    (UNKNOWN, skip),
];

/// No key of a line holds a space, so this matches none.
const UNKNOWN: &str = "of an unknown line";

/// The keys alone, for error messages.
pub(crate) const FIELDS: [&str; LINES.len()] = {
    let mut names = [""; LINES.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = LINES[index].0;
        index += 1;
    }
    names
};

/// For a value that nobody asks for.
fn skip<'a>(_: &mut Status<'a>, at: &mut Cursor<'a>, _: u8) -> Result<(), Error> {
    to_line_end(at);
    Ok(())
}

/// Reads one line. `next` is where the search for its key begins: behind the
/// key of the line before, since the kernel's order is that of [`LINES`].
#[inline]
pub(super) fn line<'a>(
    status: &mut Status<'a>,
    at: &mut Cursor<'a>,
    next: &mut usize,
) -> Result<(), Error> {
    let (from_start, from_next) = LINES.split_at_checked(*next).unwrap_or((&LINES, &[]));
    let numbered = (*next..).zip(from_next).chain((0..).zip(from_start));
    let mut found = (LINES.len() - 1, None);
    for (index, (key, store)) in numbered {
        if let Some(value) = value_of(at.rest, key.as_bytes()) {
            at.rest = value;
            *next = index + 1;
            found = (index, Some(store));
            break;
        }
    }
    // Fewer than 256 lines.
    let number = found.0 as u8 + 1;
    match found.1 {
        Some(store) => store(status, at, number)?,
        None => {
            to_line_end(at);
        }
    }
    at.byte(number, b'\n', Expected::LineEnd)
}

/// What follows `KEY:` and a tab, if `line` begins so.
#[inline(always)]
fn value_of<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(key)?.strip_prefix(b":\t")
}

/// What is left of the line; stops before its end.
#[inline]
fn to_line_end<'a>(at: &mut Cursor<'a>) -> &'a [u8] {
    let end = memchr::memchr(b'\n', at.rest).unwrap_or(at.rest.len());
    let (line, rest) = at.rest.split_at_checked(end).unwrap_or((at.rest, &[]));
    at.rest = rest;
    line
}

/// `%8lu kB`.
#[inline]
fn kb(at: &mut Cursor<'_>, field: u8) -> Result<u64, Error> {
    at.skip_spaces();
    let value = at.u64(field)?;
    at.keyword(field, b" kB")?;
    Ok(value)
}

/// Four numbers with a tab between each two.
fn four(at: &mut Cursor<'_>, field: u8) -> Result<Ids, Error> {
    let mut ids = [0; 4];
    for (index, id) in ids.iter_mut().enumerate() {
        if index > 0 {
            at.byte(field, b'\t', Expected::Separator)?;
        }
        *id = at.narrow(field)?;
    }
    let [real, effective, saved, fs] = ids;
    Ok(Ids { real, effective, saved, fs })
}

/// One number or more, with a tab between each two.
fn ns_pids<'a>(at: &mut Cursor<'a>, field: u8) -> Result<NsPids<'a>, Error> {
    let all = at.rest;
    at.narrow::<i32>(field)?;
    while let Some((b'\t', rest)) = at.rest.split_first() {
        at.rest = rest;
        at.narrow::<i32>(field)?;
    }
    Ok(NsPids::new(all.get(..all.len() - at.rest.len()).unwrap_or_default()))
}

/// `0` or `1`.
fn flag(at: &mut Cursor<'_>, field: u8) -> Result<bool, Error> {
    let before = *at;
    match at.u64(field)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(before.error(field, Expected::Range)),
    }
}

/// `%#04o`.
fn octal(text: &[u8]) -> number::Parsed<'_, u32> {
    let mut value = 0_u32;
    let mut rest = text;
    while let Some((&byte @ b'0'..=b'7', after)) = rest.split_first() {
        if value >> 29 != 0 {
            return Err(Expected::Range);
        }
        value = (value << 3) | u32::from(byte - b'0');
        rest = after;
    }
    if rest.len() == text.len() { Err(Expected::Decimal) } else { Ok((value, rest)) }
}
