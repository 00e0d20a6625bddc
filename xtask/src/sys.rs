//! The system calls that have no safe wrapper. All unsafe code of xtask is in
//! this file.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd as _;

/// CPU time of a process in nanoseconds: user and system time of all its
/// threads, not of its children. Linux 2.6.12 and later.
///
/// # Errors
/// `EINVAL` when there is no such process.
pub(crate) fn cpu_nanoseconds(pid: u32) -> io::Result<u64> {
    // CPUCLOCK_SCHED of a process.
    let clock = (!(pid.cast_signed()) << 3) | 2;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that lives across the call, and the
    // kernel checks the clock's number.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned())
}

/// Closes the descriptors of this process from `first` on: those that it got
/// from whoever started it, or, where it only waits for its end, all.
pub(crate) fn close_from(first: u32) {
    // SAFETY: the callers hold no descriptor at this moment, or use none after
    // it, so none is closed that something else believes to own.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
}

/// Copies this process: the copy's pid here, `None` in the copy.
///
/// # Errors
/// `EBUSY` where there is more than one thread: the copy would have the locks
/// of threads that it does not have.
pub(crate) fn fork() -> io::Result<Option<u32>> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: this is the only thread, so the copy is whole.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid.cast_unsigned())),
    }
}

/// Lets the kernel drop this process's children when they end: nobody reaps
/// them, and nobody inherits what they did.
pub(crate) fn ignore_children() -> io::Result<()> {
    // SAFETY: no handler is installed, so none can run.
    if unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Moves into a network namespace, with the loopback interface up, and into
/// others for mounts, names and messages; the next child is the first process
/// of a new pid namespace. Needs `CAP_SYS_ADMIN`.
pub(crate) fn enter_namespaces() -> io::Result<()> {
    use rustix::thread::UnshareFlags;
    let flags = UnshareFlags::NEWNET
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWIPC;
    // SAFETY: none of these takes a descriptor away from anybody.
    unsafe { rustix::thread::unshare_unsafe(flags)? };
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all zeros is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    // Both flags fit.
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: the request names the interface and holds the flags that this
    // call takes.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Memory of this process, every page of it resident and none of them huge.
/// It stays for good.
pub(crate) fn make_resident(bytes: usize) -> io::Result<()> {
    let start = map(bytes)?;
    // SAFETY: advice about the mapping just made.
    if unsafe { libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE) } != 0 {
        return Err(io::Error::last_os_error());
    }
    touch(start, bytes);
    Ok(())
}

/// Maps memory, writes to each of its pages and unmaps it.
pub(crate) fn map_touch_unmap(bytes: usize) -> io::Result<()> {
    let start = map(bytes)?;
    touch(start, bytes);
    // SAFETY: the mapping made above, which nobody else knows.
    if unsafe { libc::munmap(start, bytes) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A new private mapping, at an address of the kernel's choice.
fn map(bytes: usize) -> io::Result<*mut libc::c_void> {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: it is new memory, which nothing else uses.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(start) }
}

/// Writes to each page of a mapping of [`map`]'s.
fn touch(start: *mut libc::c_void, bytes: usize) {
    for at in (0..bytes).step_by(rustix::param::page_size()) {
        // SAFETY: within the mapping, which is this function's alone to write.
        unsafe { start.cast::<u8>().add(at).write_volatile(1) };
    }
}
