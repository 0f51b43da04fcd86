//! The parameters of `engine_newPayload…`, borrowed from the request.
//!
//! `deny_unknown_fields` is the point of these types: a field that is not listed belongs to a fork whose header is not
//! known here. Duplicates are refused too, so a name cannot mean one thing here and another in a client.

use alloy_primitives::B256;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Reason, hex};

/// `ExecutionPayloadV1` to `V4` in one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Payload<'a> {
    pub(super) parent_hash: &'a str,
    pub(super) fee_recipient: &'a str,
    pub(super) state_root: &'a str,
    pub(super) receipts_root: &'a str,
    pub(super) logs_bloom: &'a str,
    pub(super) prev_randao: &'a str,
    pub(super) block_number: &'a str,
    pub(super) gas_limit: &'a str,
    pub(super) gas_used: &'a str,
    pub(super) timestamp: &'a str,
    pub(super) extra_data: &'a str,
    pub(super) base_fee_per_gas: &'a str,
    pub(super) block_hash: &'a str,
    #[serde(borrow)]
    pub(super) transactions: Vec<&'a str>,
    /// Shanghai. `engine_newPayloadV2` lets a block before Shanghai have null here.
    #[serde(borrow)]
    pub(super) withdrawals: Option<Vec<Withdrawal<'a>>>,
    /// Cancun.
    pub(super) blob_gas_used: Option<&'a str>,
    /// Cancun.
    pub(super) excess_blob_gas: Option<&'a str>,
    /// Amsterdam, EIP-7928.
    pub(super) block_access_list: Option<&'a str>,
    /// Amsterdam, EIP-7843.
    pub(super) slot_number: Option<&'a str>,
}

/// `WithdrawalV1`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Withdrawal<'a> {
    pub(super) index: &'a str,
    pub(super) validator_index: &'a str,
    pub(super) address: &'a str,
    pub(super) amount: &'a str,
}

/// All parameters of the call.
pub(super) struct Request<'a> {
    pub(super) payload: Payload<'a>,
    versioned_hashes: Option<Vec<&'a str>>,
    /// Cancun.
    pub(super) parent_beacon_block_root: Option<&'a str>,
    /// Prague.
    pub(super) execution_requests: Option<Vec<&'a str>>,
}

impl<'a> Request<'a> {
    pub(super) fn parse(params: &'a [u8]) -> Result<Self, Reason> {
        let params: Vec<&RawValue> =
            serde_json::from_slice(params).map_err(|_| "the parameters are no JSON array")?;
        let mut params = params.into_iter();
        let payload = params.next().ok_or("there is no payload")?;
        let payload = serde_json::from_str(payload.get())
            .map_err(|_| "the payload is malformed or has fields of an unknown fork")?;
        let request = Request {
            payload,
            versioned_hashes: optional(params.next())?,
            parent_beacon_block_root: optional(params.next())?,
            execution_requests: optional(params.next())?,
        };
        // Bogota's fifth parameter, the inclusion list (EIP-7805), is no part of the header. A sixth may be.
        let inclusion_list: Option<Vec<&str>> = optional(params.next())?;
        if inclusion_list.is_some() && request.payload.block_access_list.is_none() {
            return Err("an inclusion list before Amsterdam");
        }
        if params.next().is_some() {
            return Err("more parameters than any known fork has");
        }
        Ok(request)
    }

    /// Whether the second parameter, which came with Cancun, is there.
    pub(super) fn has_versioned_hashes(&self) -> bool {
        self.versioned_hashes.is_some()
    }

    /// The blob versioned hashes that the caller expects; none before Cancun.
    pub(super) fn versioned_hashes(&self) -> Result<Option<Vec<B256>>, Reason> {
        self.versioned_hashes
            .as_ref()
            .map(|hashes| hashes.iter().map(|hash| hex::fixed(hash).map(B256::new)).collect())
            .transpose()
    }
}

/// A parameter that may be absent or null.
fn optional<'a, T: Deserialize<'a>>(param: Option<&'a RawValue>) -> Result<Option<T>, Reason> {
    match param {
        None => Ok(None),
        Some(param) => serde_json::from_str(param.get()).map_err(|_| "a parameter of an unknown type"),
    }
}
