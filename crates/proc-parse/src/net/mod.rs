//! The files of a network namespace, `/proc/PID/net/*`: the socket tables, row by row, and
//! the counters of TCP ([`snmp`]) and of UDP sockets ([`sockstat`]).
//!
//! read(2) returns a table in chunks that end between two rows. Each iterator
//! here covers the complete lines of one chunk; its `rest()` is what follows, an
//! incomplete last line. For chunks from the kernel it is empty; otherwise put it
//! before the next chunk. A header is skipped at the start of any chunk.

pub mod inet;
pub mod snmp;
pub mod sockstat;
pub mod unix;

use nom::Parser;

use crate::error::{Error, ProcFile, parse};
use crate::leaf::{Grammar, inlined, line_end, until};

/// The start of a line, after any number of lines that start in another way.
#[inline(always)]
fn line_with<'a>(mut start: impl Grammar<'a, ()>) -> impl Grammar<'a, ()> {
    inlined(move |input| {
        let mut line = input;
        loop {
            let found = start.parse_complete(line);
            match (until(b'\n'), line_end()).parse_complete(line) {
                Ok((next, _)) if found.is_err() => line = next,
                _ => return found,
            }
        }
    })
}

/// The complete lines of a chunk, without their line ends.
#[derive(Clone, Debug)]
struct Lines<'a> {
    len: usize,
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    const fn new(chunk: &'a [u8]) -> Self {
        Self { len: chunk.len(), rest: chunk }
    }

    /// The offset of the next line in the chunk.
    const fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    /// Skips a header at the start of the chunk.
    #[inline(always)]
    fn skip_header(&mut self, is_header: fn(&[u8]) -> bool) {
        if self.offset() == 0 && is_header(self.rest) {
            self.next();
        }
    }

    /// Applies `grammar` to the next line. A malformed line does not hide the
    /// line after it.
    #[inline(always)]
    fn parse_next<T>(
        &mut self,
        file: ProcFile,
        grammar: impl Grammar<'a, T>,
    ) -> Option<Result<T, Error>> {
        let offset = self.offset();
        let line = self.next()?;
        Some(parse(file, line, grammar).map_err(|error| error.offset_by(offset)))
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (line, rest) = self.rest.split_at_checked(memchr::memchr(b'\n', self.rest)?)?;
        self.rest = rest.get(1..)?;
        Some(line)
    }
}
