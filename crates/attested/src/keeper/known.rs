//! What is known of each node: the last verdict on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use mainstay_attest::{Kind, Measured, when};
use serde::{Serialize, Serializer};
use url::Url;

use crate::Judged;

/// How many nodes are known of.
const MAX_NODES: usize = 4_096;

/// The last verdict on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Known {
    /// How it attests.
    pub form: Kind,
    /// `held` or `refused`.
    pub verdict: &'static str,
    /// Which check refused it; nothing if it held.
    pub step: Option<&'static str>,
    /// Why; nothing if it held.
    pub reason: Option<String>,
    /// What was measured; nothing if it was refused.
    pub measured: Vec<Measured>,
    /// The status of its trusted computing base.
    pub tcb_status: Option<String>,
    /// What doesn't hold and is allowed not to.
    pub warnings: Vec<String>,
    /// When a connection to it was last judged.
    #[serde(serialize_with = "written")]
    pub at: SystemTime,
    /// Until when nothing that it rests on expires; nothing if it was refused.
    #[serde(serialize_with = "maybe_written")]
    pub until: Option<SystemTime>,
}

fn written<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&when::written(*time))
}

fn maybe_written<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(when::written).serialize(serializer)
}

/// By URL, user part and all: two nodes at one address may have to prove different things.
#[derive(Debug, Default)]
pub(crate) struct Nodes(HashMap<Url, Arc<Known>>);

impl Nodes {
    pub(super) fn of(&self, node: &Url) -> Option<Arc<Known>> {
        self.0.get(node).cloned()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Url, &Arc<Known>)> {
        self.0.iter()
    }

    /// Where [`MAX_NODES`] are known of the one that was judged the longest ago goes.
    pub(super) fn note(&mut self, judged: &Judged<'_>) {
        if !self.0.contains_key(judged.node) && self.0.len() >= MAX_NODES {
            let oldest = self.0.iter().min_by_key(|(_, known)| known.at).map(|(node, _)| node.clone());
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        self.0.insert(judged.node.clone(), Arc::new(Known::of(judged)));
    }
}

impl Known {
    fn of(judged: &Judged<'_>) -> Self {
        let form = judged.expectation.kind();
        match judged.verdict {
            Ok(attested) => Self {
                form,
                verdict: "held",
                step: None,
                reason: None,
                measured: attested.measured.clone(),
                tcb_status: attested.tcb_status.clone(),
                warnings: attested.warnings.clone(),
                at: judged.at,
                until: Some(attested.until),
            },
            Err(refusal) => Self {
                form,
                verdict: "refused",
                step: Some(refusal.step),
                reason: Some(refusal.reason.clone()),
                measured: Vec::new(),
                tcb_status: None,
                warnings: Vec::new(),
                at: judged.at,
                until: None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use mainstay_attest::{Expectation, Refusal, Steps};

    use super::*;

    #[test]
    fn no_more_nodes_are_known_than_there_is_room_for() {
        let mut nodes = Nodes::default();
        let refusal = Refusal::new(Steps::default(), "enclave", "another");
        let url =
            |number: usize| Url::parse(&format!("https://SGX_{}@n{number}.local", "00".repeat(32))).unwrap();
        let mut note = |number: usize, at: u64| {
            let node = url(number);
            let expectation = Expectation::of(&node).unwrap().unwrap();
            nodes.note(&Judged {
                node: &node,
                expectation: &expectation,
                certificate: b"",
                nonce: None,
                verdict: Err(&refusal),
                remembered: false,
                at: UNIX_EPOCH + Duration::from_secs(at),
            });
            nodes.0.len()
        };
        for number in 0..MAX_NODES {
            note(number, number as u64);
        }
        // One that is known takes no more room, and is no longer the oldest.
        assert_eq!(note(0, 5_000), MAX_NODES);
        assert_eq!(note(MAX_NODES, 5_001), MAX_NODES);
        assert!(nodes.of(&url(0)).is_some() && nodes.of(&url(1)).is_none() && nodes.of(&url(2)).is_some());
    }
}
