//! `/proc/PID/stat`: a process in one line. See proc_pid_stat(5).

mod numbers;

use crate::cursor::Cursor;
use crate::error::{Error, Expected, ProcFile};
use crate::state::ProcessState;

use numbers::Numbers;

#[rustfmt::skip]
pub(crate) const FIELDS: [&str; 52] = [
    "pid", "comm", "state", "ppid", "pgrp", "session", "tty_nr", "tpgid", "flags", "minflt",
    "cminflt", "majflt", "cmajflt", "utime", "stime", "cutime", "cstime", "priority", "nice",
    "num_threads", "itrealvalue", "starttime", "vsize", "rss", "rsslim", "startcode", "endcode",
    "startstack", "kstkesp", "kstkeip", "signal", "blocked", "sigignore", "sigcatch", "wchan",
    "nswap", "cnswap", "exit_signal", "processor", "rt_priority", "policy",
    "delayacct_blkio_ticks", "guest_time", "cguest_time", "start_data", "end_data", "start_brk",
    "arg_start", "arg_end", "env_start", "env_end", "exit_code",
];

/// All of `/proc/PID/stat`, or of `/proc/PID/task/TID/stat`.
///
/// Fields 1 to 41 are there since Linux 2.6.0 and required here. The eleven
/// behind them came later, as each says, and are `None` from a kernel that did
/// not print them. Fields that a kernel after 6.18 might add are not looked at.
///
/// Times are in clock ticks, `sysconf(_SC_CLK_TCK)` a second. Addresses
/// (`startcode` and its like) are 0 for a reader without ptrace rights.
///
/// ```
/// use psstat_proc_parse::{ProcessState, Stat};
///
/// let stat = Stat::parse(
///     b"42 (a) b) S 1 42 42 0 -1 4194304 117 0 1 0 7 3 0 0 20 0 4 0 133599 3133440 381 \
///       18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
/// )?;
/// assert_eq!(stat.comm, b"a) b");
/// assert_eq!(stat.state, ProcessState::Sleeping);
/// assert_eq!((stat.utime, stat.stime, stat.num_threads), (7, 3, 4));
/// # Ok::<(), psstat_proc_parse::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat<'a> {
    /// 1: the process's id.
    pub pid: i32,
    /// 2: the executable's name, cut at 15 bytes (kernel threads: 63). Any
    /// bytes but NUL, spaces, brackets and line ends included.
    pub comm: &'a [u8],
    /// 3: what it does now.
    pub state: ProcessState,
    /// 4: the parent's pid; 0 if the parent is outside the pid namespace.
    pub ppid: i32,
    /// 5: the process group.
    pub pgrp: i32,
    /// 6: the session.
    pub session: i32,
    /// 7: the controlling terminal, 0 for none.
    pub tty_nr: i32,
    /// 8: the terminal's foreground process group, -1 for none.
    pub tpgid: i32,
    /// 9: the kernel's `PF_*` flags.
    pub flags: u32,
    /// 10: minor faults.
    pub minflt: u64,
    /// 11: minor faults of waited-for children.
    pub cminflt: u64,
    /// 12: major faults.
    pub majflt: u64,
    /// 13: major faults of waited-for children.
    pub cmajflt: u64,
    /// 14: ticks in user mode, all threads, `guest_time` included.
    pub utime: u64,
    /// 15: ticks in kernel mode, all threads.
    pub stime: u64,
    /// 16: ticks of waited-for children in user mode.
    pub cutime: i64,
    /// 17: ticks of waited-for children in kernel mode.
    pub cstime: i64,
    /// 18: the kernel's priority: nice + 20, or below 0 for real time.
    pub priority: i64,
    /// 19: nice, 19 (low) to -20 (high).
    pub nice: i64,
    /// 20: threads; 0 for a process that exited.
    pub num_threads: u64,
    /// 21: 0 since Linux 2.6.17.
    pub itrealvalue: i64,
    /// 22: ticks from boot to the process's start (before Linux 2.6 jiffies).
    pub starttime: u64,
    /// 23: virtual memory, bytes.
    pub vsize: u64,
    /// 24: resident set size, pages.
    pub rss: u64,
    /// 25: soft limit of the resident set, bytes; `u64::MAX` for none.
    pub rsslim: u64,
    /// 26: where code begins.
    pub startcode: u64,
    /// 27: where code ends.
    pub endcode: u64,
    /// 28: where the stack begins.
    pub startstack: u64,
    /// 29: the stack pointer; 0 unless the process is exiting.
    pub kstkesp: u64,
    /// 30: the instruction pointer; 0 unless the process is exiting.
    pub kstkeip: u64,
    /// 31: pending signals, the first 31 only (`status` has all).
    pub signal: u64,
    /// 32: blocked signals, likewise.
    pub blocked: u64,
    /// 33: ignored signals, likewise.
    pub sigignore: u64,
    /// 34: caught signals, likewise.
    pub sigcatch: u64,
    /// 35: where it waits: an address, since Linux 4.4 0 or 1 only.
    pub wchan: u64,
    /// 36: always 0.
    pub nswap: u64,
    /// 37: always 0.
    pub cnswap: u64,
    /// 38: the signal that its parent gets at its end.
    pub exit_signal: i32,
    /// 39: the CPU it ran on last.
    pub processor: i32,
    /// 40: real-time priority, 1 to 99, else 0.
    pub rt_priority: u32,
    /// 41: scheduling policy, `SCHED_*`.
    pub policy: u32,
    /// 42: ticks of waiting for block devices (Linux 2.6.18).
    pub delayacct_blkio_ticks: Option<u64>,
    /// 43: ticks of running a guest (Linux 2.6.24).
    pub guest_time: Option<u64>,
    /// 44: the same of waited-for children (Linux 2.6.24).
    pub cguest_time: Option<i64>,
    /// 45: where data begins (Linux 3.3).
    pub start_data: Option<u64>,
    /// 46: where data ends (Linux 3.3).
    pub end_data: Option<u64>,
    /// 47: where the heap begins (Linux 3.3).
    pub start_brk: Option<u64>,
    /// 48: where the arguments begin (Linux 3.5).
    pub arg_start: Option<u64>,
    /// 49: where the arguments end (Linux 3.5).
    pub arg_end: Option<u64>,
    /// 50: where the environment begins (Linux 3.5).
    pub env_start: Option<u64>,
    /// 51: where the environment ends (Linux 3.5).
    pub env_end: Option<u64>,
    /// 52: the status that wait(2) gives (Linux 3.5).
    pub exit_code: Option<i32>,
}

/// The head of `/proc/PID/stat`: what tells who a process is and how much CPU
/// it used.
///
/// [`StatCore::parse`] reads to field 22 and leaves the rest alone, which takes
/// less than half of [`Stat::parse`]'s time. Fields are as in [`Stat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatCore<'a> {
    /// 1: the process's id.
    pub pid: i32,
    /// 2: the executable's name, raw bytes.
    pub comm: &'a [u8],
    /// 3: what it does now.
    pub state: ProcessState,
    /// 4: the parent's pid.
    pub ppid: i32,
    /// 14: ticks in user mode.
    pub utime: u64,
    /// 15: ticks in kernel mode.
    pub stime: u64,
    /// 20: threads.
    pub num_threads: u64,
    /// 22: ticks from boot to the process's start.
    pub starttime: u64,
}

impl<'a> Stat<'a> {
    /// Reads the whole line.
    ///
    /// The name stands between the first `(` and the last `)`, so a name may
    /// hold brackets itself.
    ///
    /// # Errors
    /// If one of the first 41 fields is missing, if a field is no number or
    /// does not fit its type, or if the line has no end, as when it was cut
    /// off: a number that was cut short is never taken for a value.
    #[inline]
    pub fn parse(text: &'a [u8]) -> Result<Self, Error> {
        let mut values = [0; 49];
        // Nearly always there is but one bracket, soon found. Where all behind
        // it has been read, numbers and the line's end, there is no other.
        let mut read = read(text, memchr::memchr(b')', text), &mut values);
        if !matches!(read, Ok((_, _, b"\n"))) {
            read = read_behind_last_bracket(text, &mut values);
        }
        let (head, count, _) = read?;
        // Whether the kernel printed this field.
        let there = |field: usize| field < 4 + count;
        let [
            ppid,
            pgrp,
            session,
            tty_nr,
            tpgid,
            flags,
            minflt,
            cminflt,
            majflt,
            cmajflt,
            utime,
            stime,
            cutime,
            cstime,
            priority,
            nice,
            num_threads,
            itrealvalue,
            starttime,
            vsize,
            rss,
            rsslim,
            startcode,
            endcode,
            startstack,
            kstkesp,
            kstkeip,
            signal,
            blocked,
            sigignore,
            sigcatch,
            wchan,
            nswap,
            cnswap,
            exit_signal,
            processor,
            rt_priority,
            policy,
            delayacct_blkio_ticks,
            guest_time,
            cguest_time,
            start_data,
            end_data,
            start_brk,
            arg_start,
            arg_end,
            env_start,
            env_end,
            exit_code,
        ] = values;
        Ok(Self {
            pid: head.pid,
            comm: head.comm,
            state: head.state,
            ppid: ppid as i32,
            pgrp: pgrp as i32,
            session: session as i32,
            tty_nr: tty_nr as i32,
            tpgid: tpgid as i32,
            flags: flags as u32,
            minflt,
            cminflt,
            majflt,
            cmajflt,
            utime,
            stime,
            cutime: cutime.cast_signed(),
            cstime: cstime.cast_signed(),
            priority: priority.cast_signed(),
            nice: nice.cast_signed(),
            num_threads,
            itrealvalue: itrealvalue.cast_signed(),
            starttime,
            vsize,
            rss,
            rsslim,
            startcode,
            endcode,
            startstack,
            kstkesp,
            kstkeip,
            signal,
            blocked,
            sigignore,
            sigcatch,
            wchan,
            nswap,
            cnswap,
            exit_signal: exit_signal as i32,
            processor: processor as i32,
            rt_priority: rt_priority as u32,
            policy: policy as u32,
            delayacct_blkio_ticks: there(42).then_some(delayacct_blkio_ticks),
            guest_time: there(43).then_some(guest_time),
            cguest_time: there(44).then_some(cguest_time.cast_signed()),
            start_data: there(45).then_some(start_data),
            end_data: there(46).then_some(end_data),
            start_brk: there(47).then_some(start_brk),
            arg_start: there(48).then_some(arg_start),
            arg_end: there(49).then_some(arg_end),
            env_start: there(50).then_some(env_start),
            env_end: there(51).then_some(env_end),
            exit_code: there(52).then_some(exit_code as i32),
        })
    }
}

/// Reads a line in which the bracket behind the name is at `bracket`. Gives the
/// head, how many numbers follow it, and what is left of the text.
#[inline(always)]
fn read<'a>(
    text: &'a [u8],
    bracket: Option<usize>,
    values: &mut [u64; 49],
) -> Result<(Head<'a>, usize, &'a [u8]), Error> {
    let (head, mut at) = Head::parse(text, bracket)?;
    let mut numbers = Numbers::new(text);
    let count = numbers.read(&mut at, values)?;
    numbers.check(values)?;
    match at.rest {
        [b'\n', ..] => Ok((head, count, at.rest)),
        // Fields that a later kernel added.
        [b' ', more @ ..] if more.ends_with(b"\n") => Ok((head, count, at.rest)),
        _ => Err(at.error(52, Expected::LineEnd)),
    }
}

#[cold]
#[inline(never)]
fn read_behind_last_bracket<'a>(
    text: &'a [u8],
    values: &mut [u64; 49],
) -> Result<(Head<'a>, usize, &'a [u8]), Error> {
    *values = [0; 49];
    read(text, memchr::memrchr(b')', text), values)
}

impl<'a> StatCore<'a> {
    /// Reads fields 1 to 22; what follows the space behind them is not looked
    /// at.
    ///
    /// # Errors
    /// As [`Stat::parse`], for these fields.
    #[inline]
    pub fn parse(text: &'a [u8]) -> Result<Self, Error> {
        let bracket = memchr::memrchr(b')', text);
        let (Head { pid, comm, state }, mut at) = Head::parse(text, bracket)?;
        let mut numbers = Numbers::new(text);
        let mut values = [0; 19];
        numbers.read(&mut at, &mut values)?;
        at.byte(22, b' ', Expected::Separator)?;
        let [ppid, _, _, _, _, _, _, _, _, _, utime, stime, _, _, _, _, num_threads, _, starttime] =
            values;
        numbers.check(&[ppid])?;
        let ppid = ppid as i32;
        Ok(Self { pid, comm, state, ppid, utime, stime, num_threads, starttime })
    }
}

/// Fields 1 to 3.
struct Head<'a> {
    pid: i32,
    comm: &'a [u8],
    state: ProcessState,
}

impl<'a> Head<'a> {
    /// `bracket` is where the one behind the name stands.
    #[inline(always)]
    fn parse(text: &'a [u8], bracket: Option<usize>) -> Result<(Self, Cursor<'a>), Error> {
        let mut cursor = Cursor::new(ProcFile::Stat, text);
        let at = &mut cursor;
        let pid = at.narrow(1)?;
        at.byte(1, b' ', Expected::Separator)?;
        at.byte(2, b'(', Expected::Paren)?;
        let start = text.len() - at.rest.len();
        let name =
            bracket.and_then(|bracket| at.rest.split_at_checked(bracket.checked_sub(start)?));
        let Some((comm, behind)) = name else {
            return Err(at.error(2, Expected::Paren));
        };
        at.rest = behind;
        at.byte(2, b')', Expected::Paren)?;
        at.byte(3, b' ', Expected::Separator)?;
        let &[state] = at.chunk(3, Expected::Character)?;
        Ok((Self { pid, comm, state: ProcessState::from(state) }, cursor))
    }
}
