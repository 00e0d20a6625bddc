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

    /// What `read` makes of the next line.
    #[inline(always)]
    pub(crate) fn read<T>(
        &mut self,
        file: File,
        read: impl FnOnce(&mut Cursor<'a>) -> Result<T, Error>,
    ) -> Option<Result<T, Error>> {
        let offset = self.offset();
        let line = self.next()?;
        Some(read(&mut Cursor::new(file, line)).map_err(|error| error.behind(offset)))
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
