//! Names of accounts: up to 13 characters in 64 bits.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::pack::packed;

/// An account's name, for example a producer's: 12 characters of five bits from the top, a 13th of four.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub u64);
packed!(Name(..));

const LETTERS: &[u8; 32] = b".12345abcdefghijklmnopqrstuvwxyz";
/// Characters of five bits.
const WIDE: usize = 12;

/// How far up the character at `i` stands.
fn shift(i: usize) -> u32 {
    if i < WIDE { 59 - 5 * i as u32 } else { 0 }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'.'; WIDE + 1];
        for (i, letter) in text.iter_mut().enumerate() {
            let mask = if i < WIDE { 0x1f } else { 0x0f };
            *letter = LETTERS[(self.0 >> shift(i) & mask) as usize];
        }
        let length = text.iter().rposition(|&letter| letter != b'.').map_or(0, |last| last + 1);
        f.write_str(std::str::from_utf8(&text[..length]).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A text that is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAName;

impl fmt::Display for NotAName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name has up to 12 characters of a-z, 1-5 and '.', and maybe a 13th up to 'j'")
    }
}

impl Error for NotAName {}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let mut value = 0;
        for (i, letter) in text.bytes().enumerate() {
            let digit = LETTERS.iter().position(|&known| known == letter).ok_or(NotAName)?;
            if i > WIDE || i == WIDE && digit > 0x0f {
                return Err(NotAName);
            }
            value |= (digit as u64) << shift(i);
        }
        Ok(Self(value))
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
