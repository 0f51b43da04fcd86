//! The shared secret: 32 bytes, never shown.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jsonwebtoken::{DecodingKey, EncodingKey};
use subtle::ConstantTimeEq as _;

use super::Claims;

/// A secret's length in bytes, fixed by the Engine API.
const LENGTH: usize = 32;

/// A secret's file is at most this long; 64 digits, `0x` and white space need much less.
const MAX_FILE: u64 = 4096;

/// A JWT secret. Its `Debug` shows nothing of it, and it is wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret {
    signing: EncodingKey,
    verifying: DecodingKey,
    recent: Arc<Recent>,
}

/// What was last signed and last verified: a client and a node see the same token for a second or longer, and HMAC, base64
/// and JSON of it cost more than the rest of a small call.
#[derive(Default)]
struct Recent {
    signed: Mutex<Option<(Claims, String)>>,
    verified: Mutex<Option<(String, Claims)>>,
}

/// Why a secret cannot be used. Quotes nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretError {
    /// The file cannot be read.
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// Not 64 hexadecimal digits; how many characters there were, without `0x` and white space around.
    Length(usize),
    /// A character that is no hexadecimal digit; its position, from 1, after `0x`.
    NotHex(usize),
    /// The file's content is not a secret.
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Box<SecretError>,
    },
}

impl std::fmt::Display for SecretError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretError::Read { path, why } => {
                write!(f, "cannot read the JWT secret {}: {why}", path.display())
            }
            SecretError::Length(length) => {
                write!(f, "a JWT secret is 64 hexadecimal digits (32 bytes), this has {length} characters")
            }
            SecretError::NotHex(position) => {
                write!(f, "a JWT secret is 64 hexadecimal digits, character {position} is none")
            }
            SecretError::File { path, fault } => write!(f, "{}: {fault}", path.display()),
        }
    }
}

impl std::error::Error for SecretError {}

impl Secret {
    /// Reads 64 hexadecimal digits; `0x` before and white space around them is allowed.
    ///
    /// # Errors
    /// [`SecretError::Length`] or [`SecretError::NotHex`].
    pub fn from_hex(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        let mut nibbles = Vec::with_capacity(2 * LENGTH);
        for (index, digit) in digits.chars().enumerate().take(2 * LENGTH) {
            nibbles.push(digit.to_digit(16).ok_or(SecretError::NotHex(index + 1))? as u8);
        }
        let length = digits.chars().count();
        if length != 2 * LENGTH {
            return Err(SecretError::Length(length));
        }
        let bytes: Vec<u8> = nibbles.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        Ok(Self {
            signing: EncodingKey::from_secret(&bytes),
            verifying: DecodingKey::from_secret(&bytes),
            recent: Arc::default(),
        })
    }

    /// Reads a secret from a file, as [`Secret::from_hex`] does.
    ///
    /// # Errors
    /// [`SecretError::Read`] or [`SecretError::File`].
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let unreadable = |why: String| SecretError::Read { path: path.to_owned(), why };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
        match file.take(MAX_FILE).read_to_string(&mut text) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(unreadable("it is not text".to_owned()));
            }
            Err(error) => return Err(unreadable(error.to_string())),
        }
        Self::from_hex(&text)
            .map_err(|fault| SecretError::File { path: path.to_owned(), fault: Box::new(fault) })
    }

    /// The token that was last signed, if it was for these claims.
    pub(super) fn signed(&self, claims: &Claims) -> Option<String> {
        let recent = self.recent.signed.lock().unwrap_or_else(PoisonError::into_inner);
        recent.as_ref().filter(|(last, _)| last == claims).map(|(_, token)| token.clone())
    }

    pub(super) fn keep_signed(&self, claims: &Claims, token: &str) {
        let mut recent = self.recent.signed.lock().unwrap_or_else(PoisonError::into_inner);
        *recent = Some((claims.clone(), token.to_owned()));
    }

    /// The claims of `token`, if it is the one that was last verified. The comparison takes constant time: how much of a
    /// guess is right can't be learned from it.
    pub(super) fn verified(&self, token: &str) -> Option<Claims> {
        let recent = self.recent.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, claims) = recent.as_ref()?;
        bool::from(last.as_bytes().ct_eq(token.as_bytes())).then(|| claims.clone())
    }

    pub(super) fn keep_verified(&self, token: &str, claims: &Claims) {
        let mut recent = self.recent.verified.lock().unwrap_or_else(PoisonError::into_inner);
        *recent = Some((token.to_owned(), claims.clone()));
    }

    pub(super) fn signing(&self) -> &EncodingKey {
        &self.signing
    }

    pub(super) fn verifying(&self) -> &DecodingKey {
        &self.verifying
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// Two secrets are equal if they sign alike. Not in constant time: for comparing configurations, not tokens.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.signing.as_bytes() == other.signing.as_bytes()
    }
}

impl Eq for Secret {}
