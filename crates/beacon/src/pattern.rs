//! A request's path as metrics show it: few labels, whatever clients ask.
//!
//! The paths of ethereum/beacon-APIs, `beacon-node-oapi.yaml`, and those that it has had, without their version: a new version of a known path needs
//! nothing here.

/// Without `/eth/vN/`; what is in braces is any one segment.
static PATHS: &[&str] = &[
    "beacon/genesis",
    "beacon/states/{state_id}/root",
    "beacon/states/{state_id}/fork",
    "beacon/states/{state_id}/finality_checkpoints",
    "beacon/states/{state_id}/validators",
    "beacon/states/{state_id}/validators/{validator_id}",
    "beacon/states/{state_id}/validator_balances",
    "beacon/states/{state_id}/validator_identities",
    "beacon/states/{state_id}/builders",
    "beacon/states/{state_id}/committees",
    "beacon/states/{state_id}/sync_committees",
    "beacon/states/{state_id}/randao",
    "beacon/states/{state_id}/pending_consolidations",
    "beacon/states/{state_id}/pending_deposits",
    "beacon/states/{state_id}/pending_partial_withdrawals",
    "beacon/states/{state_id}/proposer_lookahead",
    "beacon/headers",
    "beacon/headers/{block_id}",
    "beacon/blinded_blocks",
    "beacon/blinded_blocks/{block_id}",
    "beacon/blocks",
    "beacon/blocks/{block_id}",
    "beacon/blocks/{block_id}/root",
    "beacon/blocks/{block_id}/attestations",
    "beacon/blobs/{block_id}",
    "beacon/blob_sidecars/{block_id}",
    "beacon/execution_payload_bids",
    "beacon/execution_payload_envelopes",
    "beacon/execution_payload_envelopes/{block_id}",
    "beacon/deposit_snapshot",
    "beacon/rewards/sync_committee/{block_id}",
    "beacon/rewards/blocks/{block_id}",
    "beacon/rewards/attestations/{epoch}",
    "beacon/light_client/bootstrap/{block_root}",
    "beacon/light_client/updates",
    "beacon/light_client/finality_update",
    "beacon/light_client/optimistic_update",
    "beacon/pool/attestations",
    "beacon/pool/payload_attestations",
    "beacon/pool/attester_slashings",
    "beacon/pool/proposer_slashings",
    "beacon/pool/sync_committees",
    "beacon/pool/voluntary_exits",
    "beacon/pool/bls_to_execution_changes",
    "builder/states/{state_id}/expected_withdrawals",
    "debug/beacon/data_column_sidecars/{block_id}",
    "debug/beacon/states/{state_id}",
    "debug/beacon/heads",
    "debug/fork_choice",
    "node/identity",
    "node/peers",
    "node/peers/{peer_id}",
    "node/peer_count",
    "node/version",
    "node/syncing",
    "node/health",
    "config/fork_schedule",
    "config/spec",
    "config/deposit_contract",
    "validator/duties/attester/{epoch}",
    "validator/duties/proposer/{epoch}",
    "validator/duties/sync/{epoch}",
    "validator/duties/ptc/{epoch}",
    "validator/blocks/{slot}",
    "validator/blinded_blocks/{slot}",
    "validator/attestation_data",
    "validator/payload_attestation_data",
    "validator/aggregate_attestation",
    "validator/aggregate_and_proofs",
    "validator/beacon_committee_subscriptions",
    "validator/sync_committee_subscriptions",
    "validator/beacon_committee_selections",
    "validator/sync_committee_contribution",
    "validator/sync_committee_selections",
    "validator/contribution_and_proofs",
    "validator/prepare_beacon_proposer",
    "validator/register_validator",
    "validator/proposer_preferences",
    "validator/liveness/{epoch}",
    "validator/execution_payload_bids/{slot}/{builder_index}",
    "validator/execution_payload_envelopes/{slot}/{beacon_block_root}",
    "events",
];

/// What kind of path a request's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pattern {
    /// 1 to 9.
    version: u8,
    /// In [`PATHS`]; `None`: none of them.
    path: Option<u8>,
}

impl Pattern {
    /// That of a path.
    pub(crate) fn of(path: &str) -> Self {
        let other = Self { version: 0, path: None };
        let Some(rest) = path.strip_prefix("/eth/v") else { return other };
        let (version, rest) = match rest.as_bytes() {
            [version @ b'1'..=b'9', b'/', ..] => (version - b'0', &rest[2..]),
            _ => return other,
        };
        match PATHS.iter().position(|pattern| matches(pattern, rest)) {
            Some(index) => Self { version, path: u8::try_from(index).ok() },
            None => other,
        }
    }

    /// Its label.
    pub(crate) fn label(self) -> String {
        match self.path.and_then(|index| PATHS.get(usize::from(index))) {
            Some(path) => format!("/eth/v{}/{path}", self.version),
            None => "other".to_owned(),
        }
    }
}

/// Most patterns differ from a path in its first few bytes, and every request is held against them.
fn matches(pattern: &str, path: &str) -> bool {
    let segment = |text: &[u8]| text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
    let (mut pattern, mut path) = (pattern.as_bytes(), path.as_bytes());
    loop {
        match (pattern, path) {
            ([], []) => return true,
            ([b'{', ..], [first, ..]) if *first != b'/' => {
                (pattern, path) = (&pattern[segment(pattern)..], &path[segment(path)..]);
            }
            ([expected, pattern_rest @ ..], [byte, path_rest @ ..]) if expected == byte => {
                (pattern, path) = (pattern_rest, path_rest);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_their_labels() {
        for (path, label) in [
            ("/eth/v1/node/syncing", "/eth/v1/node/syncing"),
            ("/eth/v2/beacon/blocks/head", "/eth/v2/beacon/blocks/{block_id}"),
            ("/eth/v9/validator/blocks/123", "/eth/v9/validator/blocks/{slot}"),
            (
                "/eth/v1/beacon/states/0x12/validators/7",
                "/eth/v1/beacon/states/{state_id}/validators/{validator_id}",
            ),
            ("/eth/v1/events", "/eth/v1/events"),
            ("/eth/v1/beacon/blocks/", "other"),
            ("/eth/v1/beacon/blocks/a/b", "other"),
            ("/eth/v1/beacon/blocks//root", "other"),
            ("/eth/v1/beacon/blocks/{/root", "/eth/v1/beacon/blocks/{block_id}/root"),
            ("/eth/v1/beacon/blocks/a/roots", "other"),
            ("/eth/v1/beacon/genesi", "other"),
            ("/eth/v1/beacon/genesis/", "other"),
            ("/eth/v0/events", "other"),
            ("/eth/v10/events", "other"),
            ("/eth/v1", "other"),
            ("/eth/v1/", "other"),
            ("/lighthouse/health", "other"),
            ("*", "other"),
            ("", "other"),
        ] {
            assert_eq!(Pattern::of(path).label(), label, "{path}");
        }
        assert!(PATHS.len() < 256);
    }
}
