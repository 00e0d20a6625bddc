//! The system calls without a safe wrapper: all unsafe code of this crate.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::os::fd::AsRawFd as _;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// CPU time of a process in nanoseconds: user and system time of all its
/// threads, without its children. Linux 2.6.12 and later.
///
/// # Errors
/// `EINVAL` if there is no such process.
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

/// Closes the descriptors of this process from `first` on.
pub(crate) fn close_from(first: u32) {
    // SAFETY: the callers own no descriptor at this moment, or use none after
    // it, so no descriptor is closed that something else owns.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
}

/// Forks: the pid of the child in the parent, `None` in the child.
///
/// # Errors
/// `EBUSY` if there is more than one thread: the child would have the locks of
/// threads that it does not have.
pub(crate) fn fork() -> io::Result<Option<u32>> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: this is the only thread, so no lock is held in the child.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid.cast_unsigned())),
    }
}

/// Ignores SIGCHLD: the kernel discards exited children of this process, and
/// their io is added to no process.
pub(crate) fn ignore_children() -> io::Result<()> {
    // SAFETY: no handler is installed, so none can run.
    if unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Enters new network, mount, UTS and IPC namespaces, and sets up the loopback
/// interface; the next child is the first process of a new pid namespace. Needs
/// `CAP_SYS_ADMIN`.
pub(crate) fn enter_namespaces() -> io::Result<()> {
    use rustix::thread::UnshareFlags;
    let flags = UnshareFlags::NEWNET
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWIPC;
    // SAFETY: none of these flags unshares the fd table.
    unsafe { rustix::thread::unshare_unsafe(flags)? };
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all zeros is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    // Both flags fit.
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: the request has the name of the interface and the flags that this
    // call reads.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Allocates resident memory without huge pages; it is never freed.
pub(crate) fn make_resident(bytes: usize) -> io::Result<()> {
    let start = map(bytes)?;
    // SAFETY: the mapping made above.
    unsafe { madvise(start, bytes, Advice::LinuxNoHugepage)? };
    touch(start, bytes);
    Ok(())
}

/// Maps memory, writes to each of its pages and unmaps it.
pub(crate) fn map_touch_unmap(bytes: usize) -> io::Result<()> {
    let start = map(bytes)?;
    touch(start, bytes);
    // SAFETY: the mapping made above, to which there is no other pointer.
    unsafe { munmap(start, bytes)? };
    Ok(())
}

/// A new private mapping at an address that the kernel chooses.
fn map(bytes: usize) -> io::Result<*mut c_void> {
    let (read_write, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: a new mapping replaces no memory in use.
    Ok(unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, read_write, flags)? })
}

/// Writes to each page of a mapping from [`map`].
fn touch(start: *mut c_void, bytes: usize) {
    for at in (0..bytes).step_by(rustix::param::page_size()) {
        // SAFETY: within the mapping, which has no other reference.
        unsafe { start.cast::<u8>().add(at).write_volatile(1) };
    }
}
