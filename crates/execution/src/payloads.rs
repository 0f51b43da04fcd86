//! Payload ids: one for the consensus client (CL), behind it each builder's own.
//!
//! Clients name the same build differently (EthereumJS and geth do), so a node is only ever asked for an id that it gave.
//! The id for the CL is derived from head and attributes alone: every mainstay instance gives the same one, and a CL that
//! repeats its forkchoiceUpdated gets the same one again. It isn't used up by getPayload.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// Ids kept.
const LIMIT: usize = 256;
/// Two epochs of 32 slots of 12 s.
const LIFETIME: Duration = Duration::from_secs(2 * 32 * 12);

/// The id for the CL of a build on `head` with `attributes` (raw JSON): eight bytes as `0x` and hex digits.
#[must_use]
pub fn payload_id(head: &str, attributes: &[u8]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(head.to_ascii_lowercase().as_bytes());
    // Key order and white space are the CL's whim; a parsed object writes its keys sorted.
    match serde_json::from_slice::<serde_json::Value>(attributes) {
        Ok(value) => hasher.update(value.to_string().to_ascii_lowercase().as_bytes()),
        Err(_) => hasher.update(attributes),
    }
    let digest = hasher.finalize();
    digest.iter().take(8).fold("0x".to_owned(), |id, byte| id + &format!("{byte:02x}"))
}

#[derive(Debug)]
struct Build {
    since: Instant,
    of_node: Vec<(u64, String)>,
}

/// The builds that are known.
#[derive(Debug, Default)]
pub struct PayloadIds {
    builds: HashMap<String, Build>,
    order: VecDeque<String>,
}

impl PayloadIds {
    /// A node gave `id` for the build that the CL knows as `ours`.
    pub fn add(&mut self, ours: &str, node: u64, id: String, now: Instant) {
        self.expire(now);
        if !self.builds.contains_key(ours) {
            if self.order.len() == LIMIT
                && let Some(oldest) = self.order.pop_front()
            {
                self.builds.remove(&oldest);
            }
            self.order.push_back(ours.to_owned());
            self.builds.insert(ours.to_owned(), Build { since: now, of_node: Vec::new() });
        }
        if let Some(build) = self.builds.get_mut(ours) {
            build.of_node.retain(|(n, _)| *n != node);
            build.of_node.push((node, id));
        }
    }

    /// Each node's own id for a build; `None` if the id is unknown or expired.
    pub fn get(&mut self, ours: &str, now: Instant) -> Option<Vec<(u64, String)>> {
        self.expire(now);
        self.builds.get(&ours.to_ascii_lowercase()).map(|build| build.of_node.clone())
    }

    /// All builds, the oldest first: the id, how long it has been known, and each node's own.
    pub fn all(&self, now: Instant) -> impl Iterator<Item = (&str, Duration, &[(u64, String)])> {
        self.order.iter().filter_map(move |id| {
            let build = self.builds.get(id)?;
            Some((id.as_str(), now.saturating_duration_since(build.since), build.of_node.as_slice()))
        })
    }

    fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.order.front() {
            let old =
                self.builds.get(oldest).is_none_or(|b| now.saturating_duration_since(b.since) > LIFETIME);
            if !old {
                break;
            }
            self.builds.remove(oldest);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]
    use super::*;

    #[test]
    fn the_id_depends_on_head_and_attributes_alone() {
        let a = payload_id("0xAB", br#"{"timestamp":"0x1","prevRandao":"0x2"}"#);
        let b = payload_id("0xab", br#"{ "prevRandao": "0x2", "timestamp": "0x1" }"#);
        assert_eq!(a, b);
        assert_eq!(a.len(), 18);
        assert_ne!(a, payload_id("0xac", br#"{"timestamp":"0x1","prevRandao":"0x2"}"#));
        assert_ne!(a, payload_id("0xab", br#"{"timestamp":"0x2","prevRandao":"0x2"}"#));
    }

    #[test]
    fn asked_again_it_answers_again_and_expires_after_two_epochs() {
        let t = Instant::now();
        let mut ids = PayloadIds::default();
        ids.add("0x01", 1, "0xaa".into(), t);
        ids.add("0x01", 2, "0xbb".into(), t);
        ids.add("0x01", 1, "0xcc".into(), t);
        let both = Some(vec![(2, "0xbb".to_owned()), (1, "0xcc".to_owned())]);
        assert_eq!(ids.get("0x01", t), both);
        assert_eq!(ids.get("0x01", t + LIFETIME), both);
        assert_eq!(ids.get("0x01", t + LIFETIME + Duration::from_millis(1)), None);
        assert_eq!(ids.get("0x02", t), None);
        assert!(ids.builds.is_empty() && ids.order.is_empty());
    }

    #[test]
    fn unfetched_builds_are_bounded() {
        let t = Instant::now();
        let mut ids = PayloadIds::default();
        for i in 0..20_000 {
            ids.add(&format!("{i}"), 1, "0xaa".into(), t);
        }
        assert_eq!((ids.builds.len(), ids.order.len()), (LIMIT, LIMIT));
        assert!(ids.get("19999", t).is_some() && ids.get("0", t).is_none());
    }
}
