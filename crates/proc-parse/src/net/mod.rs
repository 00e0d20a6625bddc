//! The socket tables of a network namespace, `/proc/PID/net/*`, row by row.
//!
//! A table is fed as read(2) gives it: in chunks that end between two rows.
//! Each iterator here goes over the complete lines of one chunk and then has
//! the rest, an unfinished last line, in its `rest()`; with chunks from
//! the kernel it is empty, others can put it before the next chunk. A header
//! is skipped wherever a chunk begins with one.

pub mod inet;
pub mod unix;

use crate::cursor::Cursor;
use crate::error::{Error, ProcFile};

/// `LEN` bytes of `columns` from `AT` on: columns have their place, and the
/// compiler sees that it is within.
#[inline(always)]
pub(crate) fn column<const AT: usize, const LEN: usize, const N: usize>(
    columns: &[u8; N],
) -> [u8; LEN] {
    const { assert!(AT + LEN <= N) };
    core::array::from_fn(|index| columns[AT + index])
}

/// Whether all of these columns hold `separator`.
#[inline(always)]
pub(crate) fn all_are<const COUNT: usize, const N: usize>(
    columns: &[u8; N],
    places: [usize; COUNT],
    separator: u8,
) -> bool {
    places.iter().fold(0, |other, &place| other | (columns[place] ^ separator)) == 0
}

/// The complete lines of a chunk, without their ends.
#[derive(Clone, Debug)]
pub(crate) struct Lines<'a> {
    len: usize,
    pub(crate) rest: &'a [u8],
}

impl<'a> Lines<'a> {
    pub(crate) const fn new(chunk: &'a [u8]) -> Self {
        Self { len: chunk.len(), rest: chunk }
    }

    /// Where the next line begins, counted from the start of the chunk.
    pub(crate) const fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    /// The next line, which is known to have `len` bytes.
    #[inline(always)]
    pub(crate) fn line_of(&mut self, len: usize) -> Option<&'a [u8]> {
        let (line, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest.get(1..)?;
        Some(line)
    }

    /// Steps over a header, if the chunk begins with one.
    #[inline(always)]
    pub(crate) fn skip_header(&mut self, is_header: impl FnOnce(&[u8]) -> bool) {
        if self.offset() == 0 && is_header(self.rest) {
            self.next();
        }
    }

    /// What `read` makes of the next line.
    #[inline(always)]
    pub(crate) fn read<T>(
        &mut self,
        file: ProcFile,
        read: impl FnOnce(&mut Cursor<'a>) -> Result<T, Error>,
    ) -> Option<Result<T, Error>> {
        let offset = self.offset();
        let line = self.next()?;
        Some(read(&mut Cursor::new(file, line)).map_err(|error| error.offset_by(offset)))
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.line_of(memchr::memchr(b'\n', self.rest)?)
    }
}
