//! Numbers and texts as bytes.

/// Bytes that are not what a recording contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid data")]
pub(super) struct Invalid;

/// Appends a number: seven bits per byte, the lowest first; the last byte is less than 128.
pub(super) fn put(out: &mut Vec<u8>, mut number: u128) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends an unsigned number.
pub(super) fn put_count(out: &mut Vec<u8>, count: usize) {
    put(out, count as u128);
}

/// Appends a signed number: 0, -1, 1, -2 … are 0, 1, 2, 3 …
pub(super) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, zigzag(number));
}

/// Appends an optional number: 0 is absent.
pub(super) fn put_optional(out: &mut Vec<u8>, number: Option<i64>) {
    put(out, number.map_or(0, |number| 1 + zigzag(number)));
}

/// Appends bytes after their number.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn zigzag(number: i64) -> u128 {
    u128::from(((number << 1) ^ (number >> 63)) as u64)
}

fn signed(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Reads what the functions above wrote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn number(&mut self) -> Result<u128, Invalid> {
        let mut number = 0_u128;
        for shift in (0..128).step_by(7) {
            let [byte, rest @ ..] = self.0 else { return Err(Invalid) };
            self.0 = rest;
            number |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Invalid)
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, Invalid> {
        u64::try_from(self.number()?).map_err(|_| Invalid)
    }

    /// The number of things that follow, of which each takes a byte at least.
    pub(super) fn count(&mut self) -> Result<usize, Invalid> {
        let count = usize::try_from(self.number()?).map_err(|_| Invalid)?;
        if count <= self.0.len() { Ok(count) } else { Err(Invalid) }
    }

    pub(super) fn signed(&mut self) -> Result<i64, Invalid> {
        Ok(signed(self.unsigned()?))
    }

    pub(super) fn optional(&mut self) -> Result<Option<i64>, Invalid> {
        let Some(number) = self.number()?.checked_sub(1) else { return Ok(None) };
        Ok(Some(signed(u64::try_from(number).map_err(|_| Invalid)?)))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Invalid> {
        let count = self.count()?;
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Invalid)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn text(&mut self) -> Result<String, Invalid> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let numbers = [0, 1, -1, 63, -64, 64, 300, i64::MAX, i64::MIN];
        let mut out = Vec::new();
        for number in numbers {
            put_signed(&mut out, number);
            put_optional(&mut out, Some(number));
            put_optional(&mut out, None);
            put_bytes(&mut out, b"ab\0");
        }
        put(&mut out, u128::MAX);
        let mut reader = Reader(&out);
        for number in numbers {
            assert_eq!(reader.signed(), Ok(number));
            assert_eq!(reader.optional(), Ok(Some(number)));
            assert_eq!(reader.optional(), Ok(None));
            assert_eq!(reader.bytes(), Ok(&b"ab\0"[..]));
        }
        assert_eq!(reader.number(), Ok(u128::MAX));
        assert!(reader.0.is_empty());
        assert_eq!(reader.number(), Err(Invalid));
        assert_eq!(Reader(&[200, 1, 0]).count(), Err(Invalid));
        assert_eq!(Reader(&[0xff; 30]).number(), Err(Invalid));
    }
}
