//! Listing `/proc`: which processes there are, and who each is.

use std::ops::RangeInclusive;

use crate::ids::ProcessKey;
use crate::shrink::shrink_vec;
use rustix::fd::OwnedFd;
use rustix::fs::{RawDir, SeekFrom};
use rustix::io::Errno;

/// Reads the numeric entries of a directory, by ascending number. The buffers
/// are kept from call to call.
#[derive(Debug, Default)]
pub(crate) struct ProcDirReader {
    buffer: Vec<u8>,
    pub(crate) listed: Vec<ProcessKey>,
    /// The position of each entry was its number and this; none where there
    /// was no such rule. (In procfs it is 258.)
    pub(crate) offset: Option<u64>,
}

/// An entry takes 24 or 32 bytes.
const ENTRY: usize = 32;

impl ProcDirReader {
    pub(crate) fn new() -> ProcDirReader {
        // 32 KiB hold about 1,000 entries a system call.
        ProcDirReader { buffer: Vec::with_capacity(32 * 1024), listed: Vec::new(), offset: None }
    }

    /// Lists anew from the start of `dir`.
    pub(crate) fn list(&mut self, dir: &OwnedFd) -> Result<&[ProcessKey], Errno> {
        self.listed.clear();
        rustix::fs::seek(dir, SeekFrom::Start(0))?;
        let mut entries = RawDir::new(dir, self.buffer.spare_capacity_mut());
        let mut rule = OffsetPattern::default();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if let Some(pid) = number(entry.file_name().to_bytes()) {
                self.listed.push(ProcessKey { pid, inode: entry.ino(), starttime: 0 });
                rule.observe(pid, entry.next_entry_cookie());
            }
        }
        self.offset = rule.offset.filter(|_| !rule.invalid);
        shrink_vec(&mut self.listed);
        // procfs lists by ascending pid; a folder in any order.
        if !self.listed.is_sorted_by_key(|listed| listed.pid) {
            self.listed.sort_unstable_by_key(|listed| listed.pid);
        }
        Ok(&self.listed)
    }

    /// Adds the entries with these numbers to the list, as they were found to
    /// have their positions.
    pub(crate) fn list_range(
        &mut self,
        dir: &OwnedFd,
        offset: u64,
        numbers: RangeInclusive<u32>,
    ) -> Result<(), Errno> {
        rustix::fs::seek(dir, SeekFrom::Start(u64::from(*numbers.start()) + offset))?;
        // The kernel fills the buffer, whoever is wanted.
        let wanted = (numbers.end() - numbers.start()) as usize;
        let room = wanted.saturating_mul(ENTRY).max(8 * ENTRY);
        let buffer = self.buffer.spare_capacity_mut();
        let room = room.min(buffer.len());
        let mut entries = RawDir::new(dir, &mut buffer[..room]);
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

/// Finds the rule by which entries have their positions.
#[derive(Debug, Default)]
struct OffsetPattern {
    next: Option<u64>,
    offset: Option<u64>,
    invalid: bool,
}

impl OffsetPattern {
    /// An entry, and the position of the one that follows.
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
    fn only_numbers_count() {
        assert_eq!(number(b"1"), Some(1));
        assert_eq!(number(b"4294967295"), Some(u32::MAX));
        for not in [&b""[..], b"self", b"1a", b"4294967296", b"-1", b"+1"] {
            assert_eq!(number(not), None);
        }
    }

    #[test]
    fn own_process_is_listed_and_twice_the_same() {
        let dir = rustix::fs::open("/proc", OFlags::DIRECTORY, Mode::empty()).unwrap();
        let mut lister = ProcDirReader::new();
        let own = std::process::id();
        let find = |listed: &[ProcessKey]| listed.iter().copied().find(|l| l.pid == own);
        let first = find(lister.list(&dir).unwrap());
        assert!(first.is_some());
        assert_eq!(first, find(lister.list(&dir).unwrap()));
    }
}
