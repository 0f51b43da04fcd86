//! What the checks of every kind of evidence share: how one fails, and what the evidence is bound to.

use ring::digest::{self, SHA256};

use crate::{Refusal, Steps};

/// A check that doesn't hold: a word for it, and why.
#[derive(Debug)]
pub(crate) struct Fault {
    step: &'static str,
    reason: String,
}

impl Fault {
    pub(crate) fn new(step: &'static str, reason: impl Into<String>) -> Self {
        Self { step, reason: reason.into() }
    }

    /// The refusal, after what held.
    pub(crate) fn after(self, steps: Steps) -> Refusal {
        Refusal::new(steps, self.step, self.reason)
    }
}

/// The connection that evidence over aTLS is bound to.
///
/// Whoever verifies a connection sets both. Either may be missing where kept evidence is looked at whose connection is gone; that is warned
/// of, as anyone can show old evidence.
#[derive(Clone, Copy, Debug, Default)]
pub struct Session<'a> {
    /// The nonce that this side chose for this connection.
    pub nonce: Option<&'a [u8]>,
    /// The peer's public key, a SubjectPublicKeyInfo in DER.
    pub key: Option<&'a [u8]>,
}

impl Session<'_> {
    /// Holds the user data of evidence against the peer's key.
    pub(crate) fn bound(&self, user_data: &[u8], steps: &mut Steps) -> Result<(), Fault> {
        // Its length is what keeps it and the nonce behind it apart when both are hashed.
        if user_data.len() != 32 {
            return Err(Fault::new(
                "key",
                format!("the user data has {} bytes, a SHA-256 hash has 32", user_data.len()),
            ));
        }
        let Some(key) = self.key else { return Ok(()) };
        let expected = digest::digest(&SHA256, key);
        if expected.as_ref() != user_data {
            return Err(Fault::new(
                "key",
                format!(
                    "the evidence was made for another key ({}) than the one of this connection ({})",
                    const_hex::encode(user_data),
                    const_hex::encode(expected)
                ),
            ));
        }
        steps.held("key", "the evidence is for the key of this connection");
        Ok(())
    }

    /// What the evidence is to be made for: `sha256(user data ‖ nonce)`; nothing if the nonce isn't known.
    pub(crate) fn extra_data(&self, user_data: &[u8]) -> Option<digest::Digest> {
        self.nonce.map(|nonce| sha256(&[user_data, nonce]))
    }

    /// What is left open where something isn't known.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.nonce.is_none() {
            warnings.push("the nonce isn't known, so the evidence may be an old one".to_owned());
        }
        if self.key.is_none() {
            warnings
                .push("the connection's key isn't known, so the evidence may be another node's".to_owned());
        }
        warnings
    }
}

pub(crate) fn sha256(parts: &[&[u8]]) -> digest::Digest {
    let mut context = digest::Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    context.finish()
}
