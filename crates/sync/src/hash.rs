//! A block's hash as a key: 32 bytes, however it was written.

use std::fmt;

/// A block's hash, shown as `0x…` in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What a CL names that has no head yet.
    pub const ZERO: Self = Self([0; 32]);

    /// Reads `0x` and 64 hex digits of either case; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // The decoder would take another prefix off.
        let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 64)?;
        const_hex::decode_to_array(digits).ok().map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode_prefixed(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_same_in_either_case_and_nothing_else_is_one() {
        let text = format!("0x{}", "aB".repeat(32));
        let hash = Hash::parse(&text).unwrap();
        assert_eq!(hash, Hash([0xab; 32]));
        assert_eq!(hash.to_string(), text.to_lowercase());
        for bad in
            ["", "0x", "ab", &text[2..], &text[..64], &format!("{text}00"), &format!("0x{}", "zz".repeat(32))]
        {
            assert_eq!(Hash::parse(bad), None, "{bad}");
        }
        assert_eq!(Hash::parse(&format!("0x{text}")), None);
    }
}
