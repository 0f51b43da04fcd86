//! The TPM's own encoding (TPM 2.0 part 2): big-endian numbers, buffers behind their length.

use super::TpmError;

/// What is still to be read of a structure.
pub(super) struct Reader<'a> {
    of: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(of: &'static str, bytes: &'a [u8]) -> Self {
        Self { of, rest: bytes }
    }

    pub(super) fn malformed(&self, what: &str) -> TpmError {
        TpmError::Malformed(format!("{}: {what}", self.of))
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], TpmError> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| self.malformed("it is cut short"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TpmError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| self.malformed("it is cut short"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, TpmError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, TpmError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, TpmError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, TpmError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A TPM2B: a buffer of at most `most` bytes behind its length.
    pub(super) fn sized(&mut self, most: usize) -> Result<&'a [u8], TpmError> {
        let length = usize::from(self.u16()?);
        if length > most {
            return Err(self.malformed(&format!("a buffer of {length} bytes, {most} is the most here")));
        }
        self.bytes(length)
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), TpmError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("bytes follow its end")) }
    }
}
