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
use crate::error::{Error, File};

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

    /// Steps over a header, if the chunk begins with one.
    #[inline(always)]
    pub(crate) fn skip_header(&mut self, is_header: impl FnOnce(&[u8]) -> bool) {
        if self.offset() == 0 && is_header(self.rest) {
            self.next();
        }
    }

    /// What `read` makes of the next line. It is given the text from the
    /// line's start on and must not go beyond the line's end; the end is then
    /// looked for from where it stopped, which is less to look through.
    #[inline(always)]
    pub(crate) fn read<T>(
        &mut self,
        file: File,
        read: impl FnOnce(&mut Cursor<'a>) -> Result<T, Error>,
    ) -> Option<Result<T, Error>> {
        let mut at = Cursor::new(file, self.rest);
        let row = read(&mut at);
        let from = if row.is_ok() { at.rest } else { self.rest };
        let end = memchr::memchr(b'\n', from)?;
        let row = row.map_err(|error| error.behind(self.offset()));
        self.rest = from.get(end + 1..)?;
        Some(row)
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..)?;
        Some(line)
    }
}
