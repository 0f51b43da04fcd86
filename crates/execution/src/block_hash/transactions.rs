//! The payload's transactions: their bytes, and the blob hashes that the type-3 ones carry (EIP-4844).

use alloy_primitives::B256;
use alloy_rlp::{Decodable, Header};

use super::{Reason, hex, payload::Payload};

/// The type byte of a blob transaction.
const BLOB_TRANSACTION: u8 = 3;
/// Where `blob_versioned_hashes` stands in the list of a blob transaction's fields.
const VERSIONED_HASHES_AT: usize = 10;

const UNREADABLE: Reason = "a blob transaction cannot be read";

/// The transactions as they stand in the trie (EIP-2718: type byte and payload, or a legacy RLP list).
pub(super) fn decode(payload: &Payload<'_>) -> Result<Vec<Vec<u8>>, Reason> {
    payload
        .transactions
        .iter()
        .map(|text| match hex::data(text)? {
            bytes if bytes.is_empty() => Err("an empty transaction"),
            bytes => Ok(bytes),
        })
        .collect()
}

/// The versioned hashes of all blob transactions, in order.
pub(super) fn versioned_hashes(transactions: &[Vec<u8>]) -> Result<Vec<B256>, Reason> {
    let mut hashes = Vec::new();
    for transaction in transactions {
        if let Some((&BLOB_TRANSACTION, fields)) = transaction.split_first() {
            collect(fields, &mut hashes).map_err(|_| UNREADABLE)?;
        }
    }
    Ok(hashes)
}

fn collect(mut transaction: &[u8], hashes: &mut Vec<B256>) -> alloy_rlp::Result<()> {
    let mut fields = Header::decode_bytes(&mut transaction, true)?;
    for _ in 0..VERSIONED_HASHES_AT {
        skip(&mut fields)?;
    }
    let mut list = Header::decode_bytes(&mut fields, true)?;
    while !list.is_empty() {
        hashes.push(B256::decode(&mut list)?);
    }
    Ok(())
}

/// Steps over one string or list.
fn skip(input: &mut &[u8]) -> alloy_rlp::Result<()> {
    let header = Header::decode(input)?;
    // `Header::decode` has checked that the payload is there; a single byte stays in the input as its own payload.
    *input = input.get(header.payload_length..).ok_or(alloy_rlp::Error::InputTooShort)?;
    Ok(())
}
