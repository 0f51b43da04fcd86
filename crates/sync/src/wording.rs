//! What sync-proxy's operators look for in its log, in its words. The lines have the target `sync_proxy`: they are shown only where
//! mainstay logs in sync-proxy's form. What they say is told in ours by other events too.

use mainstay_execution::round::Round;

/// The greatest timestamp that a consensus client (CL) has sent, and who did. Pure.
#[derive(Debug, Default)]
pub(crate) struct Newest(Option<(u64, String)>);

/// A greater timestamp came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Advance {
    old: (u64, String),
    new: (u64, String),
}

impl Newest {
    /// A call with a timestamp came; `from` gives its sender.
    pub(crate) fn heard(&mut self, timestamp: u64, from: impl FnOnce() -> String) -> Option<Advance> {
        if self.0.as_ref().is_some_and(|(newest, _)| *newest >= timestamp) {
            return None;
        }
        let new = (timestamp, from());
        // Before any there is its sender with none, as there.
        let old = self.0.replace(new.clone()).unwrap_or_else(|| (0, new.1.clone()));
        Some(Advance { old, new })
    }
}

impl Advance {
    /// Logs it.
    pub(crate) fn tell(&self, method: &str) {
        let Self { old: (old_timestamp, old_addr), new: (new_timestamp, new_addr) } = self;
        tracing::info!(
            target: "sync_proxy",
            newAddr = new_addr,
            newTimestamp = new_timestamp,
            oldAddr = old_addr,
            oldTimestamp = old_timestamp,
            "new timestamp from {method} request received from beacon node"
        );
    }
}

/// What one node said where the first said something else.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference<'a> {
    first: (&'a str, &'a str),
    other: (&'a str, &'a str),
}

/// Every node whose status differs from the first one's that told any. Names and statuses; pure.
pub(crate) fn differences(round: &Round) -> impl Iterator<Item = Difference<'_>> {
    const STATUSES: [&str; 5] = ["VALID", "INVALID", "SYNCING", "ACCEPTED", "INVALID_BLOCK_HASH"];
    let mut told = round
        .votes
        .iter()
        .map(|(node, word, _)| (node.as_str(), *word))
        .filter(|(_, word)| STATUSES.contains(word));
    let first = told.next();
    told.filter_map(move |other| Some(Difference { first: first?, other }))
        .filter(|Difference { first, other }| first.1 != other.1)
}

impl Difference<'_> {
    /// Logs it; `url` gives a node's by its name.
    pub(crate) fn tell(&self, url: impl Fn(&str) -> String) {
        tracing::info!(
            target: "sync_proxy",
            primaryStatus = self.first.1,
            primaryUrl = url(self.first.0),
            secondaryStatus = self.other.1,
            secondaryUrl = url(self.other.0),
            "found difference in EL responses"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_a_greater_timestamp_is_news() {
        let mut newest = Newest::default();
        let mut heard = |timestamp, from: &str| newest.heard(timestamp, || from.to_owned());
        let at = |timestamp, from: &str| (timestamp, from.to_owned());
        assert_eq!(heard(100, "a"), Some(Advance { old: at(0, "a"), new: at(100, "a") }));
        assert_eq!(heard(100, "b"), None);
        assert_eq!(heard(99, "b"), None);
        assert_eq!(heard(112, "b"), Some(Advance { old: at(100, "a"), new: at(112, "b") }));
    }

    #[test]
    fn who_says_nothing_differs_from_nobody() {
        let votes =
            [("el1", "timeout"), ("el2", "VALID"), ("el3", "VALID"), ("el4", "SYNCING"), ("el5", "pending")];
        let round = Round {
            seq: 1,
            at: std::time::UNIX_EPOCH,
            method: "engine_newPayloadV4".into(),
            block: None,
            number: None,
            verdict: "VALID",
            early: false,
            took: Duration::ZERO,
            votes: votes.map(|(node, word)| (node.into(), word, None)).into(),
            is_true: false,
        };
        let found: Vec<_> = differences(&round).collect();
        assert_eq!(found, [Difference { first: ("el2", "VALID"), other: ("el4", "SYNCING") }]);
        let nobody = Round { votes: vec![("el1".into(), "timeout", None)], ..round };
        assert_eq!(differences(&nobody).count(), 0);
    }
}
