//! What held a moment ago: results are remembered for a certificate *and* what was expected of it, for a bounded time.
//!
//! A server of RA-TLS shows one certificate for weeks, and a verdict on it costs milliseconds of CPU at every connection. One that is good for one
//! node says nothing of another node that is to be another enclave, so the expectation is part of what is looked up. Refusals aren't
//! remembered: what was missing may be there the next time. Evidence over aTLS is for one connection, so there is nothing to remember.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::checks::sha256;
use crate::{Attested, Expectation};

/// How many are remembered: a node has a few while it changes its certificate.
pub const MAX_RESULTS: usize = 1_024;

/// What is remembered.
#[derive(Debug)]
pub struct Results {
    longest: Duration,
    held: HashMap<Key, Entry>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    /// Its SHA-256.
    certificate: [u8; 32],
    expectation: Expectation,
}

#[derive(Debug)]
struct Entry {
    attested: Attested,
    from: SystemTime,
    until: SystemTime,
}

impl Results {
    /// Remembers for `longest` at most, and never beyond what a result rests on.
    #[must_use]
    pub fn new(longest: Duration) -> Self {
        Self { longest, held: HashMap::new() }
    }

    /// What a certificate (DER) was found to be for this expectation, if that still holds.
    #[must_use]
    pub fn find(&self, certificate: &[u8], expectation: &Expectation, now: SystemTime) -> Option<&Attested> {
        let entry = self.held.get(&Key::of(certificate, expectation))?;
        // A clock that was set back is no reason to believe it for longer.
        (entry.from <= now && now < entry.until).then_some(&entry.attested)
    }

    /// Remembers what was found at `now`. Where [`MAX_RESULTS`] are remembered the one that ends first goes.
    pub fn keep(
        &mut self,
        certificate: &[u8],
        expectation: &Expectation,
        attested: &Attested,
        now: SystemTime,
    ) {
        let until = now.checked_add(self.longest).unwrap_or(attested.until).min(attested.until);
        if until <= now {
            return;
        }
        let key = Key::of(certificate, expectation);
        if !self.held.contains_key(&key) && self.held.len() >= MAX_RESULTS {
            self.held.retain(|_, entry| now < entry.until);
            while self.held.len() >= MAX_RESULTS {
                let Some(first) = self.held.values().map(|entry| entry.until).min() else { break };
                self.held.retain(|_, entry| entry.until != first);
            }
        }
        self.held.insert(key, Entry { attested: attested.clone(), from: now, until });
    }
}

impl Key {
    fn of(certificate: &[u8], expectation: &Expectation) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(sha256(&[certificate]).as_ref());
        Self { certificate: hash, expectation: expectation.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uri::MrEnclave;
    use crate::{Kind, Steps, when};

    fn now() -> SystemTime {
        when::read("2026-11-22T00:00:00Z").unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn attested(until: SystemTime) -> Attested {
        Attested {
            kind: Kind::Sgx,
            steps: Steps::default(),
            measured: vec![],
            tcb_status: None,
            warnings: vec![],
            until,
        }
    }

    fn enclave(number: u8) -> Expectation {
        Expectation::Sgx(MrEnclave([number; 32]))
    }

    #[test]
    fn a_result_is_of_one_certificate_and_one_expectation() {
        let mut results = Results::new(seconds(3_600));
        let good = attested(now() + seconds(86_400));
        results.keep(b"certificate", &enclave(1), &good, now());
        assert_eq!(results.find(b"certificate", &enclave(1), now()), Some(&good));
        assert_eq!(results.find(b"certificate", &enclave(2), now()), None);
        assert_eq!(results.find(b"certificat", &enclave(1), now()), None);
    }

    #[test]
    fn it_is_remembered_for_so_long_and_never_beyond_what_it_rests_on() {
        let mut results = Results::new(seconds(3_600));
        for (lasts, remembered) in [(86_400, 3_600), (100, 100)] {
            let good = attested(now() + seconds(lasts));
            results.keep(b"c", &enclave(1), &good, now());
            let at = |offset| results.find(b"c", &enclave(1), now() + seconds(offset)).is_some();
            assert!(at(0) && at(remembered - 1) && !at(remembered), "{lasts}");
            assert_eq!(results.find(b"c", &enclave(1), now() - seconds(1)), None);
        }
        // What was taken although something had expired is good for that once.
        results.keep(b"d", &enclave(1), &attested(now()), now());
        assert_eq!(results.find(b"d", &enclave(1), now()), None);
        assert_eq!(results.held.len(), 1);
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let mut results = Results::new(seconds(3_600));
        let good = attested(now() + seconds(86_400));
        for number in 0..MAX_RESULTS as u64 {
            results.keep(&number.to_le_bytes(), &enclave(1), &good, now() + seconds(number));
        }
        let late = now() + seconds(1_100);
        // One that is there already takes no more room.
        results.keep(&5u64.to_le_bytes(), &enclave(1), &good, late);
        assert!(results.find(&0u64.to_le_bytes(), &enclave(1), late).is_some());
        results.keep(b"new", &enclave(1), &good, late);
        assert_eq!(results.held.len(), MAX_RESULTS);
        assert!(results.find(b"new", &enclave(1), late).is_some());
        assert!(results.find(&0u64.to_le_bytes(), &enclave(1), late).is_none());
        assert!(results.find(&1u64.to_le_bytes(), &enclave(1), late).is_some());
        // All those that are over go at once.
        let over = now() + seconds(3_600 + 500);
        results.keep(b"newer", &enclave(1), &good, over);
        assert!(results.held.len() < MAX_RESULTS - 400, "{}", results.held.len());
    }
}
