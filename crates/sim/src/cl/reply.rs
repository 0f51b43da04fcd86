//! What a consensus client reads out of the answers it gets. Pure.

use bytes::Bytes;
use mainstay_wire::envelope::{self, Outcome};

use super::beacon::Head;
use crate::chain::{Hash, quantity, unhex};

/// The result of a reply, or what a person should read of its error.
pub(super) fn result(body: &Bytes) -> Result<Bytes, String> {
    match envelope::parse_reply(body).map(|reply| reply.outcome) {
        Ok(Outcome::Result(result)) => Ok(result),
        Ok(Outcome::Error { code, .. }) => Err(format!("error {code}")),
        Err(error) => Err(error.to_string()),
    }
}

/// The status of a `PayloadStatus`.
pub(super) fn status(payload_status: &Bytes) -> Result<String, String> {
    let fields = envelope::fields(payload_status, ["status"]);
    let status = match &fields {
        Some([Some(status)]) => envelope::string(status),
        _ => None,
    };
    status.ok_or_else(|| "the answer has no status".to_owned())
}

/// Status and payloadId of an answer to forkchoiceUpdated.
pub(super) fn chosen(result: &Bytes) -> Result<(String, Option<String>), String> {
    match envelope::fields(result, ["payloadStatus", "payloadId"]) {
        Some([Some(payload_status), id]) => {
            let id = id.as_ref().and_then(envelope::string);
            Ok((status(&payload_status)?, id))
        }
        _ => Err("the answer has no payloadStatus".to_owned()),
    }
}

/// A payload that somebody built, as it goes back in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Built {
    pub(super) block: Head,
    pub(super) payload: Bytes,
    pub(super) versioned_hashes: Vec<Hash>,
    /// A JSON array.
    pub(super) requests: Bytes,
}

/// Reads an answer to getPayload: a bare payload in V1, an envelope later.
pub(super) fn built(result: &Bytes, version: u8) -> Option<Built> {
    let (payload, bundle, requests) = if version < 2 {
        (result.clone(), None, None)
    } else {
        let [payload, bundle, requests] =
            envelope::fields(result, ["executionPayload", "blobsBundle", "executionRequests"])?;
        (payload?, bundle, requests)
    };
    let [number, hash] = envelope::fields(&payload, ["blockNumber", "blockHash"])?;
    let block = Head {
        number: quantity(&envelope::string(&number?)?)?,
        hash: Hash::parse(&envelope::string(&hash?)?)?,
    };
    let versioned_hashes = match bundle {
        Some(bundle) => versioned_hashes(&bundle)?,
        None => Vec::new(),
    };
    let requests = requests.filter(|list| !envelope::is_null(list));
    let requests = requests.unwrap_or(Bytes::from_static(b"[]"));
    Some(Built { block, payload, versioned_hashes, requests })
}

/// EIP-4844: SHA-256 of each commitment, with the first byte set to 1.
fn versioned_hashes(bundle: &Bytes) -> Option<Vec<Hash>> {
    let [commitments] = envelope::fields(bundle, ["commitments"])?;
    let commitments = envelope::elements(&commitments?)?;
    let hash = |commitment: &Bytes| {
        let mut hash = Hash::of(&[&unhex(&envelope::string(commitment)?)?]);
        hash.0[0] = 1;
        Some(hash)
    };
    commitments.iter().map(hash).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn answers_are_read_or_named_for_what_they_lack() {
        let body = |text: &'static str| Bytes::from_static(text.as_bytes());
        let good = body(
            r#"{"jsonrpc":"2.0","id":1,"result":{"payloadStatus":{"status":"VALID"},"payloadId":"0x03"}}"#,
        );
        let read = chosen(&result(&good).unwrap()).unwrap();
        assert_eq!(read, ("VALID".to_owned(), Some("0x03".to_owned())));
        let error = body(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-38001,"message":"x"}}"#);
        assert_eq!(result(&error).unwrap_err(), "error -38001");
        assert!(result(&body("<html>")).is_err());
        assert!(chosen(&body("{}")).is_err());
        assert!(status(&body("null")).is_err());
    }

    #[test]
    fn blobs_give_versioned_hashes() {
        let text = format!(
            r#"{{"executionPayload":{{"blockNumber":"0x2","blockHash":"{}"}},
               "blobsBundle":{{"commitments":["0xaa"]}},"executionRequests":["0x00"]}}"#,
            Hash([3; 32])
        );
        let built = built(&Bytes::from(text), 5).unwrap();
        assert_eq!(built.block, Head { number: 2, hash: Hash([3; 32]) });
        assert_eq!(built.versioned_hashes[0].0[0], 1);
        assert_eq!(built.versioned_hashes[0].0[1..], Hash::of(&[&[0xaa]]).0[1..]);
        assert_eq!(&built.requests[..], b"[\"0x00\"]");
    }
}
