//! Which methods change something outside, so that a second delivery of a call would do harm.

/// Somewhere in such a method: bundles and transactions by every name that builders and relays give them (`eth_sendBundle`,
/// `mev_sendBundle`, `eth_sendPrivateTransaction`, `eth_cancelBundle`, `eth_sendRawTransactionConditional`, …).
const PARTS: [&str; 6] = ["_send", "_resend", "_submit", "_cancel", "_sign", "_broadcast"];
/// Where methods begin that manage a node.
const STARTS: [&str; 5] = ["admin_", "clique_", "debug_set", "miner_", "personal_"];

/// Whether a call of `method` must not be sent again once it may have been delivered. Names that aren't known are taken for reads.
#[must_use]
pub fn is_once(method: &str) -> bool {
    PARTS.iter().any(|part| method.contains(part)) || STARTS.iter().any(|start| method.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_is_sent_once() {
        for method in [
            "eth_sendRawTransaction",
            "eth_sendRawTransactionSync",
            "eth_sendRawTransactionConditional",
            "eth_sendTransaction",
            "eth_sendBundle",
            "mev_sendBundle",
            "eth_sendPrivateTransaction",
            "eth_sendPrivateRawTransaction",
            "eth_cancelBundle",
            "eth_cancelPrivateTransaction",
            "eth_submitWork",
            "eth_resend",
            "eth_signTransaction",
            "x_broadcastTransaction",
            "personal_unlockAccount",
            "admin_addPeer",
            "clique_propose",
            "miner_start",
            "debug_setHead",
        ] {
            assert!(is_once(method), "{method}");
        }
        for method in [
            "eth_call",
            "eth_callBundle",
            "mev_simBundle",
            "eth_simulateV1",
            "eth_getBlockByNumber",
            "net_version",
            "flashbots_validateBuilderSubmissionV5",
            "debug_traceCall",
            "",
        ] {
            assert!(!is_once(method), "{method}");
        }
    }
}
