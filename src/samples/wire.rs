//! Bytes of the sample log: LEB128 numbers, zigzag signs, counted texts; and a cursor that never reads past its end.
//!
//! Deliberately absent: any meaning. Every length that is read is checked against what is left before anything is allocated.

/// Why bytes could not be read. The frame's checksum held, so this is another version's record or a defect.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken(pub(super) &'static str);

pub(super) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u64(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Reads from the front of a slice.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Broken> {
        let (first, rest) = self.rest.split_first().ok_or(Broken("a byte is missing"))?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Broken> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(Broken("a number has more than 64 bits"));
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Broken("a number has more than ten bytes"))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Broken> {
        u32::try_from(self.u64()?).map_err(|_| Broken("a number has more than 32 bits"))
    }

    pub(super) fn i64(&mut self) -> Result<i64, Broken> {
        let raw = self.u64()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Broken> {
        let (front, rest) = self.rest.split_at_checked(len).ok_or(Broken("bytes are missing"))?;
        self.rest = rest;
        Ok(front)
    }

    /// A count of things that take at least one byte each, so that it can be trusted for an allocation.
    pub(super) fn count(&mut self) -> Result<usize, Broken> {
        let count = self.u64()?;
        if count > self.rest.len() as u64 { Err(Broken("a count is larger than the record")) } else { Ok(count as usize) }
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Broken> {
        let len = self.count()?;
        std::str::from_utf8(self.take(len)?).map_err(|_| Broken("a text is not UTF-8"))
    }

    pub(super) fn bits(&mut self) -> Result<u64, Broken> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| Broken("bytes are missing"))?))
    }
}
