//! The system calls that have no safe wrapper. All unsafe code of this crate
//! is in this file.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::Errno;

/// CPU time of a process in nanoseconds: user and system time of all its
/// threads, including exited ones; not of its children.
///
/// Reads the clock `(~pid << 3) | 2` (`CPUCLOCK_SCHED` of a process), which
/// needs no privilege and no open file. `pid` is a number of the *caller's* pid
/// namespace. Linux 2.6.12 and later.
///
/// # Errors
/// `EINVAL` when there is no such process.
pub(crate) fn process_cpu_time_ns(pid: u32) -> Result<u64, Errno> {
    process_clock_ns(pid, 2)
}

/// User time, and user and system time, of a process in nanoseconds by the samples that the kernel
/// takes at each tick; of all its threads, not of its children.
///
/// Reads the clocks `(~pid << 3) | 1` (`CPUCLOCK_VIRT`) and `| 0` (`CPUCLOCK_PROF`).
///
/// # Errors
/// `EINVAL` when there is no such process.
pub(crate) fn process_cpu_samples_ns(pid: u32) -> Result<(u64, u64), Errno> {
    Ok((process_clock_ns(pid, 1)?, process_clock_ns(pid, 0)?))
}

/// One of the three CPU clocks of a process in nanoseconds.
fn process_clock_ns(pid: u32, which: libc::clockid_t) -> Result<u64, Errno> {
    let clock = (!(pid.cast_signed()) << 3) | which;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec during the call, and the kernel checks
    // the clock's number.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    if result != 0 {
        return Err(Errno::INVAL);
    }
    // CPU clocks start at 0 and never pass 2^63 ns (292 years).
    Ok(widen(time.tv_sec).cast_unsigned() * 1_000_000_000 + widen(time.tv_nsec).cast_unsigned())
}

/// The fields of `timespec` have 32 bits on some architectures.
fn widen(number: impl Into<i64>) -> i64 {
    number.into()
}

/// Gives the calling thread a private descriptor table with only stdin, stdout,
/// stderr and `kept` (Linux 5.9 and later; before, a full copy).
///
/// With a table shared by threads each lookup of a descriptor costs more, and a
/// stuck thread would keep all descriptors open.
pub(crate) fn unshare_fd_table(kept: Option<BorrowedFd<'_>>) {
    // The first hash map of a thread needs random numbers. Where getrandom is refused, std reads
    // them from a descriptor of /dev/urandom that it opened once and that the private table does
    // not have. Later maps of the thread derive their keys from the first ones.
    let _ = std::hash::RandomState::new();
    const CLOSE_RANGE_UNSHARE: libc::c_uint = 2;
    let kept = kept.map_or(2, |kept| kept.as_raw_fd().cast_unsigned().max(2));
    // SAFETY: the calling thread has just started and owns no other descriptor.
    // After the table is unshared, those of other threads stay open in their
    // table. `unshare` is the same step for kernels without close_range.
    unsafe {
        let (beyond, last) = (kept + 1, libc::c_uint::MAX);
        if libc::syscall(libc::SYS_close_range, beyond, last, CLOSE_RANGE_UNSHARE) != 0 {
            libc::unshare(libc::CLONE_FILES);
        } else if kept > 3 {
            libc::syscall(libc::SYS_close_range, 3, kept - 1, 0);
        }
    }
}

/// Unblocks these signals in the calling thread.
pub(crate) fn unblock_signals(signals: &[i32]) {
    // SAFETY: `sigemptyset` initializes the set before it is used, and the set is valid during
    // each call. A number that is not a signal is an error, which changes nothing.
    unsafe {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}
