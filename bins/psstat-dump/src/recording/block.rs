//! Blocks: the parts of a file that are written and checked as a whole.
//!
//! | bytes | |
//! |--:|---|
//! | 4 | [`MARKER`] |
//! | 4 | number of bytes of the payload |
//! | 8 | time in nanoseconds since 1970, signed |
//! | 4 | kind |
//! | 4 | CRC-32 of the 16 bytes before it and the payload |
//! | | payload |
//!
//! Numbers are little-endian.

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use super::bytes::Invalid;

/// The first bytes of a file.
pub(super) const MAGIC: [u8; 8] = *b"psstrec\n";
/// The version of the format that is written, and the latest one that is read.
pub(super) const VERSION: u32 = 1;
/// Bytes before the first block: [`MAGIC`] and the version.
pub(super) const FILE_HEADER: usize = 12;
/// The first bytes of a block.
pub(super) const MARKER: [u8; 4] = *b"\xb1psb";
/// Bytes of a block before its payload.
pub(super) const HEADER: usize = 24;
/// Maximum of a payload.
pub(super) const MAX_PAYLOAD: u32 = 64 << 20;
/// Maximum of a decompressed payload.
const MAX_DECOMPRESSED: usize = 512 << 20;

/// The kind of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The properties of the following frames; JSON, not compressed.
    Meta,
    /// A frame that does not depend on the previous one.
    Key,
    /// A frame that contains the differences to the previous one.
    Delta,
    /// One of a later version, to skip.
    Other,
}

impl Kind {
    fn number(self) -> u32 {
        match self {
            Kind::Meta => 0,
            Kind::Key => 1,
            Kind::Delta => 2,
            Kind::Other => u32::MAX,
        }
    }
}

/// The header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) length: u32,
    /// Nanoseconds since 1970.
    pub(super) time: i64,
    pub(super) kind: Kind,
    crc: u32,
}

/// A complete block.
pub(super) fn block(kind: Kind, time: i64, payload: &[u8]) -> Vec<u8> {
    let mut block = Vec::with_capacity(HEADER + payload.len());
    block.extend_from_slice(&MARKER);
    block.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    block.extend_from_slice(&time.to_le_bytes());
    block.extend_from_slice(&kind.number().to_le_bytes());
    let crc = checksum(block.get(4..).unwrap_or_default(), payload);
    block.extend_from_slice(&crc.to_le_bytes());
    block.extend_from_slice(payload);
    block
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(header);
    crc.update(payload);
    crc.sum()
}

impl Header {
    /// Parses a header. `None` if this is not one.
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Option<Header> {
        let mut rest = &bytes[..];
        let mut take = |count: usize| {
            let (taken, left) = rest.split_at_checked(count)?;
            rest = left;
            Some(taken)
        };
        if take(4)? != MARKER {
            return None;
        }
        let mut number = || take(4)?.try_into().ok().map(u32::from_le_bytes);
        let length = number()?;
        let [low, high] = [number()?, number()?].map(u64::from);
        let kind = match number()? {
            0 => Kind::Meta,
            1 => Kind::Key,
            2 => Kind::Delta,
            _ => Kind::Other,
        };
        let crc = number()?;
        (length <= MAX_PAYLOAD).then_some(Header {
            length,
            time: (low | high << 32) as i64,
            kind,
            crc,
        })
    }

    /// Whether this is the payload of the block with this header.
    pub(super) fn is_of(&self, bytes: &[u8; HEADER], payload: &[u8]) -> bool {
        let summed = bytes.get(4..HEADER - 4).unwrap_or_default();
        payload.len() as u64 == u64::from(self.length) && checksum(summed, payload) == self.crc
    }
}

/// Compresses the frames from a key frame to the next one as one stream, of which each frame is a
/// complete part.
#[derive(Debug)]
pub(super) struct Compressor(Compress);

impl Compressor {
    pub(super) fn new() -> Compressor {
        Compressor(Compress::new(Compression::new(LEVEL), false))
    }

    /// Begins a new stream.
    pub(super) fn reset(&mut self) {
        self.0.reset();
    }

    /// Appends a frame. An error cannot occur in memory.
    pub(super) fn compress(&mut self, mut frame: &[u8], out: &mut Vec<u8>) {
        loop {
            if out.capacity() - out.len() < MIN_SPACE {
                out.reserve(MIN_SPACE.max(frame.len()));
            }
            let before = self.0.total_in();
            let status = self.0.compress_vec(frame, out, FlushCompress::Sync);
            let taken = usize::try_from(self.0.total_in() - before).unwrap_or(usize::MAX);
            frame = frame.get(taken..).unwrap_or_default();
            // Space that is left means that all is written.
            if status.is_err() || (frame.is_empty() && out.len() < out.capacity()) {
                return;
            }
        }
    }
}

/// Higher levels take more CPU time for few bytes.
const LEVEL: u32 = 3;
/// Space for output.
const MIN_SPACE: usize = 4096;

/// Decompresses the frames of a stream.
#[derive(Debug)]
pub(super) struct Decompressor(Decompress);

impl Decompressor {
    pub(super) fn new() -> Decompressor {
        Decompressor(Decompress::new(false))
    }

    /// Begins a new stream.
    pub(super) fn reset(&mut self) {
        self.0.reset(false);
    }

    /// The next frame.
    pub(super) fn decompress(&mut self, mut payload: &[u8]) -> Result<Vec<u8>, Invalid> {
        let mut out = Vec::with_capacity(payload.len().saturating_mul(4).max(MIN_SPACE));
        loop {
            if out.len() == out.capacity() {
                out.reserve(out.len().max(MIN_SPACE));
            }
            if out.len() > MAX_DECOMPRESSED {
                return Err(Invalid);
            }
            let before = self.0.total_in();
            let status = self.0.decompress_vec(payload, &mut out, FlushDecompress::Sync);
            let status = status.map_err(|_| Invalid)?;
            let taken = usize::try_from(self.0.total_in() - before).unwrap_or(usize::MAX);
            payload = payload.get(taken..).unwrap_or_default();
            let is_full = out.len() == out.capacity();
            match status {
                _ if payload.is_empty() && !is_full => return Ok(out),
                Status::StreamEnd => return Err(Invalid),
                // No progress is possible.
                Status::BufError if !is_full => return Err(Invalid),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_checked() {
        let block = block(Kind::Delta, -5, b"payload");
        let header: [u8; HEADER] = block[..HEADER].try_into().unwrap();
        let parsed = Header::parse(&header).unwrap();
        assert_eq!((parsed.kind, parsed.time, parsed.length), (Kind::Delta, -5, 7));
        assert!(parsed.is_of(&header, b"payload"));
        assert!(!parsed.is_of(&header, b"payloaD") && !parsed.is_of(&header, b"payloa"));
        // Another time or kind is another checksum.
        for at in 8..20 {
            let mut other = header;
            other[at] ^= 1;
            assert!(!Header::parse(&other).unwrap().is_of(&other, b"payload"), "{at}");
        }
    }

    #[test]
    fn frames_are_complete_parts_of_a_stream() {
        let (mut compressor, mut decompressor) = (Compressor::new(), Decompressor::new());
        let mut seed = 1_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as u8
        };
        for length in [0, 1, 100, 4096, 100_000, 3, 0, 1_000_000, 17] {
            for is_random in [true, false] {
                let frame: Vec<u8> =
                    (0..length).map(|at| if is_random { random() } else { at as u8 }).collect();
                let mut payload = Vec::new();
                compressor.compress(&frame, &mut payload);
                assert_eq!(decompressor.decompress(&payload).unwrap(), frame, "{length}");
            }
        }
        compressor.reset();
        decompressor.reset();
        let mut payload = Vec::new();
        compressor.compress(b"abc", &mut payload);
        assert_eq!(decompressor.decompress(&payload).unwrap(), b"abc");
        assert!(Decompressor::new().decompress(&[7; 100]).is_err());
    }
}
