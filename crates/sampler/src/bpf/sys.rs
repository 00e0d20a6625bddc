//! The system calls of BPF iterators. All unsafe code of this module is in this file.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::io::Errno;

/// Commands of bpf(2).
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_ITER_CREATE: libc::c_int = 33;
/// The kind of attachment of an iterator.
const BPF_TRACE_ITER: u32 = 28;

/// The arguments of `BPF_LINK_CREATE` for an iterator.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    /// The address of an [`IterInfo`].
    iter_info: u64,
    iter_info_len: u32,
    padding: u32,
}

/// `union bpf_iter_link_info`.
#[repr(C)]
struct IterInfo {
    map_fd: u32,
}

/// The arguments of `BPF_ITER_CREATE`.
#[repr(C)]
struct IterCreate {
    link_fd: u32,
    flags: u32,
}

/// Links a program that iterates over the entries of a map, so that iterators can be made of it.
/// Needs the capabilities that loading it needs.
///
/// # Errors
/// Those of bpf(2).
pub(super) fn link_iterator(
    program: BorrowedFd<'_>,
    map: BorrowedFd<'_>,
) -> Result<OwnedFd, Errno> {
    let info = IterInfo { map_fd: number(map) };
    let arguments = LinkCreate {
        prog_fd: number(program),
        target_fd: 0,
        attach_type: BPF_TRACE_ITER,
        flags: 0,
        iter_info: std::ptr::from_ref(&info).expose_provenance() as u64,
        iter_info_len: size_of::<IterInfo>() as u32,
        padding: 0,
    };
    bpf(BPF_LINK_CREATE, &arguments)
}

/// Makes an iterator: a file that gives the rows of one pass. Needs no capabilities, so it works
/// after all are dropped. The file is closed on exec.
///
/// # Errors
/// Those of bpf(2).
pub(super) fn new_iterator(link: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    bpf(BPF_ITER_CREATE, &IterCreate { link_fd: number(link), flags: 0 })
}

/// Reads the next rows of an iterator; gives the number of bytes, 0 at the end. The kernel gives
/// whole rows.
///
/// # Errors
/// Those of read(2).
pub(super) fn read_rows(iterator: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    /// So often a read may give nothing yet, after which it is repeated.
    const MAX_RETRIES: usize = 1000;
    for _ in 0..MAX_RETRIES {
        match rustix::io::read(iterator, &mut *buffer) {
            // After a million entries without a row.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

/// Keeps the threshold above which the allocator of glibc gives free memory back at its default.
/// Otherwise it grows to twice the largest allocation that was freed, here 16 MB, and the heap of
/// the thread that loads keeps as much: `malloc_trim` does not reduce the end of such a heap.
pub(super) fn limit_free_memory() {
    #[cfg(target_env = "gnu")]
    {
        const DEFAULT: libc::c_int = 128 * 1024;
        // SAFETY: the call only sets a number of the allocator.
        unsafe {
            libc::mallopt(libc::M_TRIM_THRESHOLD, DEFAULT);
        }
    }
}

/// Gives the memory that was freed back to the system: the types of the kernel take some 20 MB
/// while the program is loaded, and nothing later takes as much.
pub(super) fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call only unmaps memory of the allocator that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// Calls bpf(2) with a command that gives a descriptor.
fn bpf<T>(command: libc::c_int, arguments: &T) -> Result<OwnedFd, Errno> {
    // SAFETY: the arguments are valid during the call and have their size, as has what the address
    // of the one in them refers to; neither command writes to them or keeps them.
    let result = unsafe {
        let arguments = std::ptr::from_ref(arguments);
        libc::syscall(libc::SYS_bpf, command, arguments, size_of::<T>())
    };
    match i32::try_from(result) {
        // SAFETY: the call has just given this descriptor, and nothing else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(errno()),
    }
}

fn errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
