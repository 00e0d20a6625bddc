//! Lists directories of procfs: processes, threads, descriptors.

use std::ops::RangeInclusive;

use rustix::fd::OwnedFd;
use rustix::fs::{RawDir, SeekFrom};
use rustix::io::Errno;

use crate::ids::ProcessKey;
use crate::read::outcome::Outcome;
use crate::shrink::shrink_vec;

/// Reads the numeric entries of a directory, by ascending number. The buffers are reused.
#[derive(Debug, Default)]
pub(crate) struct ProcDirReader {
    buffer: Vec<u8>,
    pub(crate) listed: Vec<ProcessKey>,
    /// The position of each entry is its number plus this; `None` if that is not so. (In procfs
    /// it is 258.)
    pub(crate) offset: Option<u64>,
}

/// The size of an entry is 24 or 32 bytes.
const ENTRY: usize = 32;

impl ProcDirReader {
    pub(crate) fn new() -> ProcDirReader {
        // 32 KiB contain about 1,000 entries per system call.
        ProcDirReader { buffer: Vec::with_capacity(32 * 1024), listed: Vec::new(), offset: None }
    }

    /// Lists all of `dir`.
    pub(crate) fn list(&mut self, dir: &OwnedFd) -> Result<&[ProcessKey], Errno> {
        self.listed.clear();
        rustix::fs::seek(dir, SeekFrom::Start(0))?;
        let mut entries = RawDir::new(dir, self.buffer.spare_capacity_mut());
        let mut pattern = OffsetPattern::default();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if let Some(pid) = number(entry.file_name().to_bytes()) {
                self.listed.push(ProcessKey { pid, inode: entry.ino(), starttime: 0 });
                pattern.observe(pid, entry.next_entry_cookie());
            }
        }
        self.offset = pattern.offset.filter(|_| !pattern.invalid);
        shrink_vec(&mut self.listed);
        // procfs lists by ascending pid, other file systems in any order.
        if !self.listed.is_sorted_by_key(|listed| listed.pid) {
            self.listed.sort_unstable_by_key(|listed| listed.pid);
        }
        Ok(&self.listed)
    }

    /// The number of entries of `dir`.
    pub(crate) fn count(&mut self, dir: &OwnedFd) -> Outcome<u64> {
        Outcome::from(self.list(dir).map(<[ProcessKey]>::len)).map(|entries| entries as u64)
    }

    /// Adds the entries with these numbers to the list, by their positions.
    pub(crate) fn list_range(
        &mut self,
        dir: &OwnedFd,
        offset: u64,
        numbers: RangeInclusive<u32>,
    ) -> Result<(), Errno> {
        rustix::fs::seek(dir, SeekFrom::Start(u64::from(*numbers.start()) + offset))?;
        // The kernel fills the buffer, beyond the range too.
        let size = (numbers.end() - numbers.start()) as usize;
        let size = size.saturating_mul(ENTRY).max(8 * ENTRY);
        let buffer = self.buffer.spare_capacity_mut();
        let size = size.min(buffer.len());
        let mut entries = RawDir::new(dir, &mut buffer[..size]);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let Some(pid) = number(entry.file_name().to_bytes()) else { continue };
            if pid > *numbers.end() {
                break;
            }
            if numbers.contains(&pid) {
                self.listed.push(ProcessKey { pid, inode: entry.ino(), starttime: 0 });
            }
        }
        Ok(())
    }
}

/// Determines the difference between the positions and the numbers of entries.
#[derive(Debug, Default)]
struct OffsetPattern {
    next: Option<u64>,
    offset: Option<u64>,
    invalid: bool,
}

impl OffsetPattern {
    /// Adds an entry, with the position of the next one.
    fn observe(&mut self, number: u32, next: u64) {
        if let Some(position) = self.next.replace(next) {
            let offset = position.checked_sub(u64::from(number));
            self.invalid |= offset.is_none() || self.offset.is_some_and(|o| Some(o) != offset);
            self.offset = offset;
        }
    }
}

fn number(name: &[u8]) -> Option<u32> {
    if name.is_empty() {
        return None;
    }
    name.iter().try_fold(0u32, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};

    #[test]
    fn names_that_are_numbers() {
        assert_eq!(number(b"1"), Some(1));
        assert_eq!(number(b"4294967295"), Some(u32::MAX));
        for name in [&b""[..], b"self", b"1a", b"4294967296", b"-1", b"+1"] {
            assert_eq!(number(name), None);
        }
    }

    #[test]
    fn this_process_is_listed_with_the_same_inode() {
        let dir = rustix::fs::open("/proc", OFlags::DIRECTORY, Mode::empty()).unwrap();
        let mut dir_reader = ProcDirReader::new();
        let pid = std::process::id();
        let mut find = || dir_reader.list(&dir).unwrap().iter().copied().find(|l| l.pid == pid);
        let first = find();
        assert!(first.is_some());
        assert_eq!(first, find());
    }
}
