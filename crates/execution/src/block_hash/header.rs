//! The block header that a payload stands for, its RLP and its hash.

use alloy_primitives::{Address, B256, Bloom, U256, b256, keccak256};
use alloy_rlp::{Encodable, RlpEncodable};
use alloy_trie::root::{ordered_trie_root, ordered_trie_root_encoded};
use sha2::{Digest, Sha256};

use super::{
    Reason, hex,
    payload::{Request, Withdrawal},
};

/// keccak256 of the RLP of an empty list: a block after the merge has no ommers.
const NO_OMMERS: B256 = b256!("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347");
/// Bytes; the yellow paper's limit, which every client enforces.
const MAX_EXTRA_DATA: usize = 32;

/// The header in the order of its RLP. `None` and all after it are left out.
///
/// The EIPs of Amsterdam don't say which of the last two comes first; go-ethereum 1.17 does, and a payload that it built
/// is among the tests' data.
#[derive(RlpEncodable)]
#[rlp(trailing)]
pub(super) struct Header {
    parent_hash: B256,
    ommers_hash: B256,
    beneficiary: Address,
    state_root: B256,
    transactions_root: B256,
    receipts_root: B256,
    logs_bloom: Bloom,
    difficulty: U256,
    number: u64,
    gas_limit: u64,
    gas_used: u64,
    timestamp: u64,
    extra_data: alloy_primitives::Bytes,
    mix_hash: B256,
    nonce: alloy_primitives::B64,
    base_fee_per_gas: U256,
    withdrawals_root: Option<B256>,
    blob_gas_used: Option<u64>,
    excess_blob_gas: Option<u64>,
    parent_beacon_block_root: Option<B256>,
    requests_hash: Option<B256>,
    block_access_list_hash: Option<B256>,
    slot_number: Option<u64>,
}

impl Header {
    /// Builds the header, and returns it with the hash that the payload claims for it.
    pub(super) fn of(request: &Request<'_>, transactions: &[Vec<u8>]) -> Result<(Self, B256), Reason> {
        let payload = &request.payload;
        let extra_data = hex::data(payload.extra_data)?;
        if extra_data.len() > MAX_EXTRA_DATA {
            return Err("extraData is longer than 32 bytes");
        }
        let header = Header {
            parent_hash: hash(payload.parent_hash)?,
            ommers_hash: NO_OMMERS,
            beneficiary: Address::new(hex::fixed(payload.fee_recipient)?),
            state_root: hash(payload.state_root)?,
            transactions_root: ordered_trie_root_encoded(transactions),
            receipts_root: hash(payload.receipts_root)?,
            logs_bloom: Bloom::new(hex::fixed(payload.logs_bloom)?),
            difficulty: U256::ZERO,
            number: hex::quantity(payload.block_number)?,
            gas_limit: hex::quantity(payload.gas_limit)?,
            gas_used: hex::quantity(payload.gas_used)?,
            timestamp: hex::quantity(payload.timestamp)?,
            extra_data: extra_data.into(),
            mix_hash: hash(payload.prev_randao)?,
            nonce: alloy_primitives::B64::ZERO,
            base_fee_per_gas: hex::big_quantity(payload.base_fee_per_gas)?,
            withdrawals_root: payload.withdrawals.as_deref().map(withdrawals_root).transpose()?,
            blob_gas_used: payload.blob_gas_used.map(hex::quantity).transpose()?,
            excess_blob_gas: payload.excess_blob_gas.map(hex::quantity).transpose()?,
            parent_beacon_block_root: request.parent_beacon_block_root.map(hash).transpose()?,
            requests_hash: request.execution_requests.as_deref().map(requests_hash).transpose()?,
            block_access_list_hash: payload.block_access_list.map(access_list_hash).transpose()?,
            slot_number: payload.slot_number.map(hex::quantity).transpose()?,
        };
        header.is_of_one_fork(request)?;
        Ok((header, hash(payload.block_hash)?))
    }

    /// Every fork has all fields of the one before it: a gap means a chain that is not known here.
    fn is_of_one_fork(&self, request: &Request<'_>) -> Result<(), Reason> {
        let shanghai = self.withdrawals_root.is_some();
        let cancun = self.blob_gas_used.is_some();
        let prague = self.requests_hash.is_some();
        let amsterdam = self.block_access_list_hash.is_some();
        let whole = self.excess_blob_gas.is_some() == cancun
            && self.parent_beacon_block_root.is_some() == cancun
            && request.has_versioned_hashes() == cancun
            && self.slot_number.is_some() == amsterdam;
        let in_order = (shanghai || !cancun) && (cancun || !prague) && (prague || !amsterdam);
        if whole && in_order { Ok(()) } else { Err("the fields are not those of one known fork") }
    }

    /// keccak256 of the RLP.
    pub(super) fn hash(&self) -> B256 {
        let mut encoded = Vec::with_capacity(self.length());
        self.encode(&mut encoded);
        keccak256(encoded)
    }
}

fn hash(text: &str) -> Result<B256, Reason> {
    hex::fixed(text).map(B256::new)
}

/// EIP-4895.
#[derive(RlpEncodable)]
struct EncodedWithdrawal {
    index: u64,
    validator_index: u64,
    address: Address,
    amount: u64,
}

fn withdrawals_root(withdrawals: &[Withdrawal<'_>]) -> Result<B256, Reason> {
    let encoded = withdrawals
        .iter()
        .map(|withdrawal| {
            Ok(EncodedWithdrawal {
                index: hex::quantity(withdrawal.index)?,
                validator_index: hex::quantity(withdrawal.validator_index)?,
                address: Address::new(hex::fixed(withdrawal.address)?),
                amount: hex::quantity(withdrawal.amount)?,
            })
        })
        .collect::<Result<Vec<_>, Reason>>()?;
    Ok(ordered_trie_root(&encoded))
}

/// EIP-7685: sha256 over the sha256 of every request, type byte included. Requests without data are left out of the
/// list by the engine API, so one here is a malformed call.
fn requests_hash(requests: &[&str]) -> Result<B256, Reason> {
    let mut all = Sha256::new();
    for request in requests {
        let request = hex::data(request)?;
        if request.len() < 2 {
            return Err("an execution request without data");
        }
        all.update(Sha256::digest(&request));
    }
    Ok(B256::new(all.finalize().into()))
}

/// EIP-7928: keccak256 of the list's RLP, which is how the payload carries it.
fn access_list_hash(list: &str) -> Result<B256, Reason> {
    Ok(keccak256(hex::data(list)?))
}
