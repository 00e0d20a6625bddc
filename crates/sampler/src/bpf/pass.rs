//! One pass of an iterator over requested processes.

use std::os::fd::AsFd as _;

use rustix::io::Errno;

use super::{Program, sys};

/// At most this number of processes is read in one pass of the kernel: as in `bpf/find.h`.
pub(super) const MAX_TARGETS: usize = 4096;

/// The kernel gives at most this number of bytes in one read, always whole rows.
pub(super) const BUFFER: usize = 32 * 1024;

/// Reads the rows of a request. `add` gets those of each read; false if they are incomplete.
///
/// # Errors
/// Those of the system calls.
pub(super) fn read<const WORDS: usize>(
    program: &Program<WORDS>,
    request: &[u64; WORDS],
    buffer: &mut [u8],
    mut add: impl FnMut(&[u8]) -> bool,
) -> Result<(), Errno> {
    // Until the pass ends no other one can set its request.
    let _lock = program.request(request)?;
    let iterator = sys::new_iterator(program.link())?;
    loop {
        let length = sys::read_rows(iterator.as_fd(), buffer)?;
        if length == 0 {
            return Ok(());
        }
        if !add(buffer.get(..length).unwrap_or_default()) {
            return Err(Errno::OVERFLOW);
        }
    }
}
