//! `/proc/PID/status`: one line per key. See proc_pid_status(5).

mod values;

use nom::Parser;
use nom::combinator::{cut, eof, map, map_opt, not, recognize};
use nom::multi::{many0_count, many1_count};
use nom::sequence::{delimited, preceded, separated_pair, terminated};

use crate::error::{Error, Expected, Field, ParseResult, ProcFile, field, parse};
use crate::leaf::{
    Grammar, byte, expect, hex_u64, letter, line_end, octal, signed, spaces, unsigned, until, word,
};
use crate::state::ProcessState;
use crate::units::Kilobytes;

pub use values::{EscapedName, Ids, NsPids, NsPidsIter, SigQueue, Unescaped};

/// Declares the file once: the struct, the keys and the grammar of each value.
/// The lines are in the kernel's order; those after `skip` are not read.
macro_rules! lines {
    (
        $(#[$meta:meta])*
        pub struct $status:ident<$lifetime:lifetime> {
            $(
                $(#[$doc:meta])* $key:literal $field:ident: $type:ty = $parser:expr;
                $( skip $($skipped:literal)+; )?
            )+
        }
    ) => {
        $(#[$meta])*
        pub struct $status<$lifetime> {
            $( #[doc = concat!(" `", $key, "`:")] $(#[$doc])* pub $field: Option<$type>, )+
        }

        /// Each key and the parser of its value, in the kernel's order. Skipped
        /// keys are listed too: so the next key is nearly always the next entry.
        const LINES: &[(&str, Line)] = &[
            $(
                ($key, |status, input| {
                    map($parser, |value| status.$field = Some(value)).parse_complete(input)
                }),
                $( $( ($skipped, skip), )+ )?
            )+
            (UNKNOWN, skip),
        ];
    };
}

/// Parses a value up to the end of its line and stores it.
type Line = for<'a> fn(&mut Status<'a>, &'a [u8]) -> ParseResult<'a, ()>;

lines! {
    /// The lines of `/proc/PID/status` that the kernel printed.
    ///
    /// The lines depend on the kernel version, its configuration and the kind of
    /// process (kernel threads and zombies have no `Vm…` lines), so each is an
    /// `Option`; the version in parentheses is the first that prints it. Lines
    /// that are not listed here are skipped.
    ///
    /// In signal masks bit 0 is
    /// signal 1, in capability masks capability 0.
    ///
    /// ```
    /// use psstat_proc_parse::{Kilobytes, ProcessState, Status};
    ///
    /// let status = Status::parse(b"Name:\ta\\nb\nState:\tS (sleeping)\nVmRSS:\t    1668 kB\n")?;
    /// assert!(status.name.unwrap().unescaped().eq(*b"a\nb"));
    /// assert_eq!(status.state, Some(ProcessState::Sleeping));
    /// assert_eq!(status.vm_rss, Some(Kilobytes(1668)));
    /// assert_eq!(status.vm_swap, None);
    /// # Ok::<(), psstat_proc_parse::Error>(())
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize))]
    #[non_exhaustive]
    pub struct Status<'a> {
        /// `comm` of `stat`, escaped by the kernel.
        "Name" name: EscapedName<'a> = map(rest_of_line(), EscapedName::new);
        /// the file mode creation mask (Linux 4.7).
        "Umask" umask: u32 = octal();
        /// the state.
        "State" state: ProcessState = terminated(map(letter(), ProcessState::from), rest_of_line());
        /// the process id.
        "Tgid" tgid: i32 = signed();
        /// the NUMA group, 0 for none (Linux 3.13).
        "Ngid" ngid: i32 = signed();
        /// the thread id; equal to `tgid` for the first thread.
        "Pid" pid: i32 = signed();
        /// the parent.
        "PPid" ppid: i32 = signed();
        /// the tracer, 0 for none.
        "TracerPid" tracer_pid: i32 = signed();
        /// the users of the process.
        "Uid" uid: Ids = ids();
        /// the groups of the process.
        "Gid" gid: Ids = ids();
        /// allocated file descriptor slots, not the number of open ones.
        "FDSize" fd_size: u64 = unsigned();
        skip "Groups" "NStgid";
        /// the pid in each pid namespace, the innermost last (Linux 4.1).
        "NSpid" ns_pid: NsPids<'a> = ns_pids();
        skip "NSpgid" "NSsid" "Kthread";
        /// peak virtual memory.
        "VmPeak" vm_peak: Kilobytes = kb();
        /// virtual memory.
        "VmSize" vm_size: Kilobytes = kb();
        /// locked memory.
        "VmLck" vm_lck: Kilobytes = kb();
        /// pinned memory (Linux 3.2).
        "VmPin" vm_pin: Kilobytes = kb();
        /// peak resident set.
        "VmHWM" vm_hwm: Kilobytes = kb();
        /// resident set.
        "VmRSS" vm_rss: Kilobytes = kb();
        /// anonymous part of the resident set (Linux 4.5).
        "RssAnon" rss_anon: Kilobytes = kb();
        /// part of the resident set backed by files (Linux 4.5).
        "RssFile" rss_file: Kilobytes = kb();
        /// shared part of the resident set (Linux 4.5).
        "RssShmem" rss_shmem: Kilobytes = kb();
        /// data.
        "VmData" vm_data: Kilobytes = kb();
        /// stack.
        "VmStk" vm_stk: Kilobytes = kb();
        /// code of the program.
        "VmExe" vm_exe: Kilobytes = kb();
        /// code of libraries.
        "VmLib" vm_lib: Kilobytes = kb();
        /// page tables (Linux 2.6.10).
        "VmPTE" vm_pte: Kilobytes = kb();
        /// second-level page tables (Linux 4.0 to 4.14).
        "VmPMD" vm_pmd: Kilobytes = kb();
        /// swapped-out anonymous memory (Linux 2.6.34).
        "VmSwap" vm_swap: Kilobytes = kb();
        /// memory in hugetlb pages (Linux 4.4).
        "HugetlbPages" hugetlb_pages: Kilobytes = kb();
        skip "CoreDumping" "THP_enabled" "untag_mask";
        /// number of threads.
        "Threads" threads: u64 = unsigned();
        /// queued signals of the user, and their limit.
        "SigQ" sig_queue: SigQueue = sig_queue();
        /// signals pending for the thread.
        "SigPnd" sig_pnd: u64 = hex_u64();
        /// signals pending for the process.
        "ShdPnd" shd_pnd: u64 = hex_u64();
        /// blocked signals.
        "SigBlk" sig_blk: u64 = hex_u64();
        /// ignored signals.
        "SigIgn" sig_ign: u64 = hex_u64();
        /// caught signals.
        "SigCgt" sig_cgt: u64 = hex_u64();
        /// inheritable capabilities.
        "CapInh" cap_inh: u64 = hex_u64();
        /// permitted capabilities.
        "CapPrm" cap_prm: u64 = hex_u64();
        /// effective capabilities.
        "CapEff" cap_eff: u64 = hex_u64();
        /// bounding set (Linux 2.6.26).
        "CapBnd" cap_bnd: u64 = hex_u64();
        /// ambient capabilities (Linux 4.3).
        "CapAmb" cap_amb: u64 = hex_u64();
        /// whether exec cannot grant privileges (Linux 4.10).
        "NoNewPrivs" no_new_privs: bool = flag();
        /// 0 off, 1 strict, 2 filter (Linux 3.8).
        "Seccomp" seccomp: u8 = unsigned();
        skip "Seccomp_filters" "Speculation_Store_Bypass" "SpeculationIndirectBranch" "Cpus_allowed";
        /// as printed, such as `0-3,8` (Linux 2.6.26).
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::optional_text"))]
        "Cpus_allowed_list" cpus_allowed_list: &'a [u8] = rest_of_line();
        skip "Mems_allowed";
        /// as printed (Linux 2.6.26).
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::optional_text"))]
        "Mems_allowed_list" mems_allowed_list: &'a [u8] = rest_of_line();
        /// of the thread (Linux 2.6.23).
        "voluntary_ctxt_switches" voluntary_ctxt_switches: u64 = unsigned();
        /// of the thread (Linux 2.6.23).
        "nonvoluntary_ctxt_switches" nonvoluntary_ctxt_switches: u64 = unsigned();
    }
}

impl<'a> Status<'a> {
    /// Parses all lines. Text that was truncated between two lines gives `None`
    /// for the missing lines.
    ///
    /// # Errors
    /// If the text is empty, a known line is malformed or has a number outside
    /// the range of its field, or the last line does not end, as in text that was
    /// truncated within it.
    #[inline]
    pub fn parse(text: &'a [u8]) -> Result<Self, Error> {
        parse(ProcFile::Status, text, status)
    }
}

/// The grammar of [`Status`]: lines up to the end of the input.
///
/// # Errors
/// As [`Status::parse`].
pub fn status(input: &[u8]) -> ParseResult<'_, Status<'_>> {
    let mut status = Status::default();
    let mut next = 0;
    let line = |input| line(&mut status, &mut next, input);
    let (rest, _) = many1_count(preceded(not(eof), cut(line))).parse_complete(input)?;
    Ok((rest, status))
}

/// The name of unknown keys in errors. No key contains a space.
const UNKNOWN: &str = "of an unknown line";

/// The key at this index, for error messages.
pub(crate) fn key(index: usize) -> Option<&'static str> {
    LINES.get(index).map(|(key, _)| *key)
}

/// `KEY:`, a tab, the value and the line end. `next` is the index of the expected
/// key, the one after the key of the line before.
#[inline]
fn line<'a>(status: &mut Status<'a>, next: &mut usize, input: &'a [u8]) -> ParseResult<'a, ()> {
    let (before, after) = LINES.split_at_checked(*next).unwrap_or((LINES, &[]));
    let indexed = (*next..).zip(after).chain((0..).zip(before));
    let value_of = |key: &str| input.strip_prefix(key.as_bytes())?.strip_prefix(b":\t");
    let known =
        indexed.filter_map(|(index, (key, value))| Some((index, value, value_of(key)?))).next();
    let (index, value, input) = known.unwrap_or((LINES.len() - 1, &(skip as Line), input));
    if known.is_some() {
        *next = index + 1;
    }
    // Fewer than 256 lines.
    let label = Field(ProcFile::Status, index as u8 + 1);
    let value = |input| value(status, input);
    field(label, terminated(value, line_end())).parse_complete(input)
}

/// A value that is not read.
fn skip<'a>(_: &mut Status<'a>, input: &'a [u8]) -> ParseResult<'a, ()> {
    map(rest_of_line(), |_| ()).parse_complete(input)
}

#[inline(always)]
fn rest_of_line<'a>() -> impl Grammar<'a, &'a [u8]> {
    until(b'\n')
}

/// `%8lu kB`.
#[inline(always)]
fn kb<'a>() -> impl Grammar<'a, Kilobytes> {
    map(delimited(spaces(), unsigned(), word(b" kB")), Kilobytes)
}

/// Four numbers separated by tabs.
#[inline(always)]
fn ids<'a>() -> impl Grammar<'a, Ids> {
    let next = || preceded(byte(b'\t'), unsigned());
    map((unsigned(), next(), next(), next()), |(real, effective, saved, fs)| Ids {
        real,
        effective,
        saved,
        fs,
    })
}

/// Numbers separated by tabs, of which there is at least one.
#[inline(always)]
fn ns_pids<'a>() -> impl Grammar<'a, NsPids<'a>> {
    let more = many0_count(preceded(byte(b'\t'), cut(signed::<i32>())));
    map(recognize((signed::<i32>(), more)), NsPids::new)
}

/// `QUEUED/LIMIT`.
#[inline(always)]
fn sig_queue<'a>() -> impl Grammar<'a, SigQueue> {
    let numbers = separated_pair(unsigned(), byte(b'/'), unsigned());
    map(numbers, |(queued, limit)| SigQueue { queued, limit })
}

/// `0` or `1`.
#[inline(always)]
fn flag<'a>() -> impl Grammar<'a, bool> {
    let flag = map_opt(unsigned(), |number: u64| match number {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    });
    expect(Expected::Range, flag)
}
