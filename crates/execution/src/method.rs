//! Which family a method belongs to, and how long the consensus client (CL) waits for it.
//!
//! Routing is by family, never by version: a version that doesn't exist yet works on the day it ships. Deadlines are those
//! of execution-apis (`timeout` of each request in `src/engine/*.md`), less a margin, so that the CL always has an answer
//! before it gives up.

use std::time::Duration;

/// What kind of call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `engine_newPayloadVN`: voted on.
    NewPayload,
    /// `engine_forkchoiceUpdatedVN`: voted on.
    ForkchoiceUpdated,
    /// `engine_getPayloadVN`: the best of those who build.
    GetPayload,
    /// `engine_getBlobsVN`: merged.
    GetBlobs,
    /// `engine_getPayloadBodiesByHashVN`, `…ByRangeVN`: nulls filled from other nodes.
    PayloadBodies,
    /// `engine_getClientVersionVN`: one flat array.
    ClientVersion,
    /// `engine_exchangeCapabilities`.
    Capabilities,
    /// `engine_exchangeTransitionConfigurationVN`: the primary's answer.
    TransitionConfiguration,
    /// `engine_getInclusionListVN`: the primary's answer.
    InclusionList,
    /// Any other method: the primary's answer.
    Other,
}

/// A method's family and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Its family.
    pub family: Family,
    /// The number after `V`; 0 where there is none.
    pub version: u32,
}

impl Method {
    /// Reads a method's name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let Some(rest) = name.strip_prefix("engine_") else {
            return Self { family: Family::Other, version: 0 };
        };
        let (stem, version) = match rest.rsplit_once('V') {
            Some((stem, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                (stem, digits.parse().unwrap_or(u32::MAX))
            }
            _ => (rest, 0),
        };
        let family = match stem {
            "newPayload" => Family::NewPayload,
            "forkchoiceUpdated" => Family::ForkchoiceUpdated,
            "getPayload" => Family::GetPayload,
            "getBlobs" => Family::GetBlobs,
            "getPayloadBodiesByHash" | "getPayloadBodiesByRange" => Family::PayloadBodies,
            "getClientVersion" => Family::ClientVersion,
            "exchangeCapabilities" => Family::Capabilities,
            "exchangeTransitionConfiguration" => Family::TransitionConfiguration,
            "getInclusionList" => Family::InclusionList,
            _ => Family::Other,
        };
        Self { family, version }
    }

    /// How long the CL can be kept waiting: the spec's timeout less [`Method::margin`].
    #[must_use]
    pub fn patience(self) -> Duration {
        self.spec_timeout() - self.margin()
    }

    fn spec_timeout(self) -> Duration {
        Duration::from_secs(match self.family {
            Family::NewPayload if self.version >= 5 => 6,
            Family::NewPayload | Family::ForkchoiceUpdated => 8,
            Family::GetPayload
            | Family::GetBlobs
            | Family::ClientVersion
            | Family::Capabilities
            | Family::TransitionConfiguration
            | Family::InclusionList => 1,
            Family::PayloadBodies => 10,
            // The spec gives no timeout for eth_ methods; CLs use 8 s or more for them.
            Family::Other => 8,
        })
    }

    /// Time kept for the way of the answer to the CL.
    fn margin(self) -> Duration {
        if self.spec_timeout() <= Duration::from_secs(1) {
            Duration::from_millis(100)
        } else {
            Duration::from_millis(500)
        }
    }

    /// Whether the votes of the nodes make the answer.
    #[must_use]
    pub fn is_voted(self) -> bool {
        matches!(self.family, Family::NewPayload | Family::ForkchoiceUpdated)
    }
}

/// A label of bounded cardinality for metrics: the method's own name where it looks like one, else `other`.
#[must_use]
pub fn label(name: &str) -> &str {
    let plain = |s: &str| s.len() <= 48 && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let known = Method::of(name).family != Family::Other && Method::of(name).version <= 32;
    let common = matches!(
        name,
        "eth_blockNumber"
            | "eth_call"
            | "eth_chainId"
            | "eth_getCode"
            | "eth_getBlockByHash"
            | "eth_getBlockByNumber"
            | "eth_getLogs"
            | "eth_sendRawTransaction"
            | "eth_syncing"
    );
    if (known && plain(name)) || common { name } else { "other" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_by_name_not_by_version() {
        for (name, family, version) in [
            ("engine_newPayloadV1", Family::NewPayload, 1),
            ("engine_newPayloadV99", Family::NewPayload, 99),
            ("engine_newPayload", Family::NewPayload, 0),
            ("engine_newPayloadWithWitnessV1", Family::Other, 1),
            ("engine_forkchoiceUpdatedV7", Family::ForkchoiceUpdated, 7),
            ("engine_getPayloadV6", Family::GetPayload, 6),
            ("engine_getPayloadBodiesByRangeV2", Family::PayloadBodies, 2),
            ("engine_getBlobsV3", Family::GetBlobs, 3),
            ("engine_exchangeCapabilities", Family::Capabilities, 0),
            ("engine_getClientVersionV1", Family::ClientVersion, 1),
            ("engine_exchangeTransitionConfigurationV1", Family::TransitionConfiguration, 1),
            ("engine_getInclusionListV1", Family::InclusionList, 1),
            ("engine_V1", Family::Other, 1),
            ("eth_newPayloadV1", Family::Other, 0),
            ("newPayloadV1", Family::Other, 0),
            ("", Family::Other, 0),
        ] {
            assert_eq!(Method::of(name), Method { family, version }, "{name}");
        }
        assert_eq!(Method::of("engine_newPayloadV99999999999").version, u32::MAX);
    }

    #[test]
    fn patience_is_inside_what_the_spec_gives_the_cl() {
        for (name, ms) in [
            ("engine_newPayloadV4", 7500),
            ("engine_newPayloadV5", 5500),
            ("engine_newPayloadV6", 5500),
            ("engine_forkchoiceUpdatedV4", 7500),
            ("engine_getPayloadV5", 900),
            ("engine_getBlobsV2", 900),
            ("engine_getClientVersionV1", 900),
            ("engine_exchangeCapabilities", 900),
            ("engine_getPayloadBodiesByHashV1", 9500),
            ("eth_getLogs", 7500),
        ] {
            assert_eq!(Method::of(name).patience().as_millis(), ms, "{name}");
        }
    }

    #[test]
    fn labels_are_bounded() {
        assert_eq!(label("engine_newPayloadV4"), "engine_newPayloadV4");
        assert_eq!(label("eth_chainId"), "eth_chainId");
        for odd in ["engine_newPayloadV4000", "engine_x", "foo", "engine_newPayloadV1\n", "eth_foo"] {
            assert_eq!(label(odd), "other", "{odd}");
        }
    }
}
