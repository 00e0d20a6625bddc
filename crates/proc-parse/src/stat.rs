//! `/proc/PID/stat`: a process in one line. See proc_pid_stat(5).

use core::ops::RangeInclusive;
use nom::Parser;

use nom::branch::alt;
use nom::combinator::{map, peek, value};
use nom::sequence::{delimited, preceded, terminated};

use crate::error::{Error, Expected, Field, ParseResult, ProcFile, field, parse};
use crate::leaf::{
    Grammar, after_space, byte, expect, inlined, letter, line_end, signed, skipped, space,
    unsigned, until, word, zero_or_signed, zero_or_unsigned,
};
use crate::record::record;
use crate::state::ProcessState;
use crate::units::{Pages, SignedTicks, Ticks};

record! {
    /// All fields of `/proc/PID/stat` or `/proc/PID/task/TID/stat`.
    ///
    /// Fields 1 to 41 exist since Linux 2.6.0 and are required. The other eleven
    /// were added later, each in the version given, and are `None` if the kernel
    /// did not print them. Fields added after Linux 6.18 are ignored.
    ///
    /// Times are in clock ticks, `sysconf(_SC_CLK_TCK)` per second. Addresses
    /// (`startcode` and others) are 0 for a reader without ptrace permission.
    ///
    /// ```
    /// use psstat_proc_parse::{ProcessState, Stat, Ticks};
    ///
    /// let stat = Stat::parse(
    ///     b"42 (a) b) S 1 42 42 0 -1 4194304 117 0 1 0 7 3 0 0 20 0 4 0 133599 3133440 381 \
    ///       18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
    /// )?;
    /// assert_eq!(stat.comm, b"a) b");
    /// assert_eq!(stat.state, ProcessState::Sleeping);
    /// assert_eq!((stat.utime, stat.stime, stat.num_threads), (Ticks(7), Ticks(3), 4));
    /// # Ok::<(), psstat_proc_parse::Error>(())
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct StatOf<T>: Stat or OwnedStat, grammar stat of Stat {
        /// the process id.
        1 pid: i32 = terminated(signed(), space());
        /// the name of the executable, cut to 15 bytes (kernel threads: 63).
        /// Any bytes except NUL, including spaces, parentheses and newlines.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::text"))]
        2 comm: T = comm();
        /// the state.
        3 state: ProcessState = after_space(map(letter(), ProcessState::from));
        /// the parent; 0 if it is outside the pid namespace.
        4 ppid: i32 = after_space(signed());
        /// the process group.
        5 pgrp: i32 = after_space(signed());
        /// the session.
        6 session: i32 = after_space(signed());
        /// the controlling terminal, 0 for none.
        7 tty_nr: i32 = after_space(signed());
        /// the foreground process group of the terminal, -1 for none.
        8 tpgid: i32 = after_space(signed());
        /// `PF_*` flags of the kernel.
        9 flags: u32 = after_space(unsigned());
        /// minor faults.
        10 minflt: u64 = after_space(unsigned());
        /// minor faults of reaped children.
        11 cminflt: u64 = after_space(zero_or_unsigned());
        /// major faults.
        12 majflt: u64 = after_space(zero_or_unsigned());
        /// major faults of reaped children.
        13 cmajflt: u64 = after_space(zero_or_unsigned());
        /// ticks in user mode, all threads, including `guest_time`.
        14 utime: Ticks = after_space(map(unsigned(), Ticks));
        /// ticks in kernel mode, all threads.
        15 stime: Ticks = after_space(map(unsigned(), Ticks));
        /// ticks of reaped children in user mode.
        16 cutime: SignedTicks = after_space(map(zero_or_signed(), SignedTicks));
        /// ticks of reaped children in kernel mode.
        17 cstime: SignedTicks = after_space(map(zero_or_signed(), SignedTicks));
        /// kernel priority: nice + 20, negative for real-time policies.
        18 priority: i64 = after_space(signed());
        /// nice value, 19 (low) to -20 (high).
        19 nice: i64 = after_space(signed());
        /// number of threads; 0 for a process that has exited.
        20 num_threads: u64 = after_space(unsigned());
        /// always 0 since Linux 2.6.17.
        21 itrealvalue: i64 = after_space(zero_or_signed());
        /// start time, ticks since boot (before Linux 2.6: jiffies).
        22 starttime: Ticks = after_space(map(unsigned(), Ticks));
        /// virtual memory, bytes.
        23 vsize: u64 = after_space(unsigned());
        /// resident set size.
        24 rss: Pages = after_space(map(unsigned(), Pages));
        /// soft limit of the resident set, bytes; `u64::MAX` for none.
        25 rsslim: u64 = after_space(alt((unlimited(), unsigned())));
        /// start address of the code.
        26 startcode: u64 = after_space(unsigned());
        /// end address of the code.
        27 endcode: u64 = after_space(unsigned());
        /// start address of the stack.
        28 startstack: u64 = after_space(unsigned());
        /// stack pointer; 0 unless the process is exiting.
        29 kstkesp: u64 = after_space(zero_or_unsigned());
        /// instruction pointer; 0 unless the process is exiting.
        30 kstkeip: u64 = after_space(zero_or_unsigned());
        /// pending signals, the first 31 only (`status` has all).
        31 signal: u64 = after_space(zero_or_unsigned());
        /// blocked signals, the first 31.
        32 blocked: u64 = after_space(zero_or_unsigned());
        /// ignored signals, the first 31.
        33 sigignore: u64 = after_space(zero_or_unsigned());
        /// caught signals, the first 31.
        34 sigcatch: u64 = after_space(unsigned());
        /// wait channel: an address, since Linux 4.4 only 0 or 1.
        35 wchan: u64 = after_space(zero_or_unsigned());
        /// always 0.
        36 nswap: u64 = after_space(zero_or_unsigned());
        /// always 0.
        37 cnswap: u64 = after_space(zero_or_unsigned());
        /// signal sent to the parent on exit.
        38 exit_signal: i32 = after_space(signed());
        /// CPU that last ran the process.
        39 processor: i32 = after_space(signed());
        /// real-time priority, 1 to 99, or 0.
        40 rt_priority: u32 = after_space(unsigned());
        /// scheduling policy, `SCHED_*`.
        41 policy: u32 = after_space(unsigned());
        /// ticks spent waiting for block devices (Linux 2.6.18).
        42 delayacct_blkio_ticks: Option<Ticks> = later(map(zero_or_unsigned(), Ticks));
        /// ticks spent running a guest (Linux 2.6.24).
        43 guest_time: Option<Ticks> = later(map(zero_or_unsigned(), Ticks));
        /// `guest_time` of reaped children (Linux 2.6.24).
        44 cguest_time: Option<SignedTicks> = later(map(zero_or_signed(), SignedTicks));
        /// start address of the data (Linux 3.3).
        45 start_data: Option<u64> = later(unsigned());
        /// end address of the data (Linux 3.3).
        46 end_data: Option<u64> = later(unsigned());
        /// start address of the heap (Linux 3.3).
        47 start_brk: Option<u64> = later(unsigned());
        /// start address of the arguments (Linux 3.5).
        48 arg_start: Option<u64> = later(unsigned());
        /// end address of the arguments (Linux 3.5).
        49 arg_end: Option<u64> = later(unsigned());
        /// start address of the environment (Linux 3.5).
        50 env_start: Option<u64> = later(unsigned());
        /// end address of the environment (Linux 3.5).
        51 env_end: Option<u64> = later(unsigned());
        /// exit status in the form of wait(2) (Linux 3.5).
        52 exit_code: Option<i32> = terminated(later(signed()), end_of_fields());
    }
}

record! {
    /// The fields of `/proc/PID/stat` that identify a process and count its CPU
    /// time.
    ///
    /// [`StatCore::parse`] stops after field 22 and does not read the numbers
    /// between its fields, so it costs less than half of [`Stat::parse`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct StatCoreOf<T>: StatCore or OwnedStatCore, grammar stat_core of Stat {
        /// the process id.
        1 pid: i32 = terminated(signed(), space());
        /// the name of the executable, raw bytes.
        #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::text"))]
        2 comm: T = comm();
        /// the state.
        3 state: ProcessState = after_space(map(letter(), ProcessState::from));
        /// the parent.
        4 ppid: i32 = after_space(signed());
        /// ticks in user mode.
        14 utime: Ticks = preceded(skipped_fields(5..=13), after_space(map(unsigned(), Ticks)));
        /// ticks in kernel mode.
        15 stime: Ticks = after_space(map(unsigned(), Ticks));
        /// number of threads.
        20 num_threads: u64 = preceded(skipped_fields(16..=19), after_space(unsigned()));
        /// start time, ticks since boot.
        22 starttime: Ticks =
            delimited(skipped_fields(21..=21), after_space(map(unsigned(), Ticks)), space());
    }
}

impl<'a> Stat<'a> {
    /// Parses the line.
    ///
    /// # Errors
    /// If one of the first 41 fields is missing, if a field is malformed or
    /// outside the range of its type, or if the line does not end, as in
    /// truncated text: a number that was cut short is never a value.
    #[inline]
    pub fn parse(text: &'a [u8]) -> Result<Self, Error> {
        parse(ProcFile::Stat, text, inlined(stat))
    }
}

impl<'a> StatCore<'a> {
    /// Parses fields 1 to 22, up to the space after the last one, and ignores the
    /// rest of the line.
    ///
    /// # Errors
    /// As [`Stat::parse`], for the fields of this struct. The fields between them
    /// must exist.
    #[inline]
    pub fn parse(text: &'a [u8]) -> Result<Self, Error> {
        parse(ProcFile::Stat, text, inlined(stat_core))
    }
}

/// The longest name, that of a kernel thread, has 63 bytes.
const MAX_COMM: usize = 63;

/// `(NAME)`. A name may contain parentheses, so the last `)` ends it. No other
/// `)` follows within the length of a name: the fields after it take at least 78
/// bytes.
#[inline(always)]
fn comm<'a>() -> impl Grammar<'a, &'a [u8]> {
    let open = expect(Expected::Paren, byte(b'('));
    let close = expect(Expected::Paren, byte(b')'));
    delimited(open, inlined(name), close)
}

fn name(input: &[u8]) -> ParseResult<'_, &[u8]> {
    let longest = input.get(..=MAX_COMM).unwrap_or(input);
    let len = memchr::memrchr(b')', longest).unwrap_or(0);
    let (name, rest) = input.split_at_checked(len).unwrap_or((&[], input));
    Ok((rest, name))
}

/// `RLIM_INFINITY`, the limit of nearly every process.
#[inline(always)]
fn unlimited<'a>() -> impl Grammar<'a, u64> {
    value(u64::MAX, word(b"18446744073709551615"))
}

/// A field that older kernels do not print: the line may end before it.
#[inline(always)]
fn later<'a, T: Clone>(field: impl Grammar<'a, T>) -> impl Grammar<'a, Option<T>> {
    alt((map(after_space(field), Some), value(None, peek(line_end()))))
}

/// The end of the line, after any fields that a later kernel prints.
#[inline(always)]
fn end_of_fields<'a>() -> impl Grammar<'a, ()> {
    alt((line_end(), value((), (space(), until(b'\n'), line_end()))))
}

/// Fields of [`Stat`] that are not read.
#[inline(always)]
fn skipped_fields<'a>(numbers: RangeInclusive<u8>) -> impl Grammar<'a, ()> {
    inlined(move |input| {
        numbers.clone().try_fold((input, ()), |(rest, ()), number| {
            field(Field(ProcFile::Stat, number), after_space(skipped())).parse_complete(rest)
        })
    })
}
