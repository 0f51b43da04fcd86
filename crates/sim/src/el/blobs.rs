//! `engine_getBlobs`.

use bytes::Bytes;
use mainstay_wire::envelope;

use super::{Answer, El, payloads::version_of};

/// A blob of the pool with its proofs, as hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The blob.
    pub blob: String,
    /// Its KZG proof, for `engine_getBlobsV1`.
    pub proof: String,
    /// Its cell proofs, for `engine_getBlobsV2` and later.
    pub proofs: Vec<String>,
}

impl Blob {
    /// A small stand-in, told from others by `text`.
    pub fn toy(text: &str) -> Blob {
        let text = crate::chain::hex(text.as_bytes());
        Blob { proofs: vec![text.clone(), text.clone()], proof: text.clone(), blob: text }
    }
}

const MOST_BLOBS: usize = 128;

impl El {
    pub(super) fn get_blobs(&self, method: &str, arguments: &[Bytes]) -> Answer {
        let Some(hashes) = arguments.first().and_then(envelope::elements) else {
            return Answer::bad_params("argument 0 is not a list of versioned hashes");
        };
        if hashes.len() > MOST_BLOBS {
            return Answer::error(-38004, "Too large request");
        }
        let version = version_of(method, "engine_getBlobsV");
        let found: Vec<Option<String>> = hashes
            .iter()
            .map(|hash| {
                let hash = envelope::string(hash)?.to_lowercase();
                self.blobs.get(&hash).map(|blob| shown(blob, version))
            })
            .collect();
        // V2 is all or nothing; the others answer position by position.
        if version == 2 && found.iter().any(Option::is_none) {
            return Answer::json("null");
        }
        let list: Vec<String> =
            found.into_iter().map(|blob| blob.unwrap_or_else(|| "null".to_owned())).collect();
        Answer::json(format!("[{}]", list.join(",")))
    }
}

fn shown(blob: &Blob, version: u32) -> String {
    if version == 1 {
        format!("{{\"blob\":\"{}\",\"proof\":\"{}\"}}", blob.blob, blob.proof)
    } else {
        let proofs = crate::request::requests_json(&blob.proofs);
        format!("{{\"blob\":\"{}\",\"proofs\":{proofs}}}", blob.blob)
    }
}
