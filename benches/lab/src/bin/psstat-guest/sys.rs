//! The system call without a safe wrapper.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;

/// Uses a device as swap space.
pub(crate) fn swap_on(device: &CStr) -> io::Result<()> {
    // SAFETY: the path ends with a NUL, and the kernel only reads it.
    if unsafe { libc::swapon(device.as_ptr(), 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
