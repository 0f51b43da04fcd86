//! What is read of the consensus clients' calls.

use bytes::Bytes;
use mainstay_node::eth;
use mainstay_wire::envelope;

use crate::hash::Hash;

/// A newPayload's block (paris.md `ExecutionPayloadV1` and later).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) hash: Hash,
    pub(crate) parent: Hash,
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
}

/// A forkchoiceUpdated's head (`ForkchoiceStateV1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) hash: Hash,
    /// The timestamp of its attributes.
    pub(crate) building: Option<u64>,
}

pub(crate) fn payload(params: &Bytes) -> Option<Payload> {
    let first = envelope::first_element(params)?;
    let [hash, parent, number, timestamp] =
        envelope::fields(&first, ["blockHash", "parentHash", "blockNumber", "timestamp"])?;
    Some(Payload {
        hash: read_hash(&hash?)?,
        parent: read_hash(&parent?)?,
        number: eth::quantity(&number?)?,
        timestamp: eth::quantity(&timestamp?)?,
    })
}

pub(crate) fn head(params: &Bytes) -> Option<Head> {
    let elements = envelope::elements(params)?;
    let [hash] = envelope::fields(elements.first()?, ["headBlockHash"])?;
    let attributes = elements.get(1).filter(|raw| !envelope::is_null(raw));
    let building = match attributes {
        None => None,
        Some(attributes) => {
            let [timestamp] = envelope::fields(attributes, ["timestamp"])?;
            Some(eth::quantity(&timestamp?)?)
        }
    };
    Some(Head { hash: read_hash(&hash?)?, building })
}

fn read_hash(raw: &Bytes) -> Option<Hash> {
    Hash::parse(&envelope::string(raw)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hash(byte: &str) -> String {
        format!("0x{}", byte.repeat(32))
    }

    #[test]
    fn payloads_and_heads_are_read_whatever_else_they_hold() {
        let params = format!(
            r#"[{{"extra":[{{}}],"blockHash":"{}","timestamp":"0xffffffffffffffff","blockNumber":"0x7","parentHash":"{}","transactions":["0x"]}},[],null]"#,
            hash("aB"),
            hash("01")
        );
        let payload = payload(&Bytes::from(params)).unwrap();
        assert_eq!((payload.hash, payload.parent), (Hash([0xab; 32]), Hash([1; 32])));
        assert_eq!((payload.number, payload.timestamp), (7, u64::MAX));
        for (attributes, building) in
            [("", None), (",null", None), (r#",{"timestamp":"0x10","withdrawals":[]}"#, Some(16))]
        {
            let params =
                format!(r#"[{{"headBlockHash":"{}","safeBlockHash":"0x"}}{attributes}]"#, hash("02"));
            assert_eq!(head(&Bytes::from(params)), Some(Head { hash: Hash([2; 32]), building }));
        }
    }

    #[test]
    fn what_cant_be_read_is_nothing() {
        for params in ["", "[]", "[7]", "{}", r#"[{"blockHash":"0x"}]"#, r#"[{"headBlockHash":7}]"#] {
            assert_eq!(payload(&Bytes::from(params)), None, "{params}");
            assert_eq!(head(&Bytes::from(params)), None, "{params}");
        }
    }
}
