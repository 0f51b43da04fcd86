//! Whose votes go out: a finalizer key votes on one leg.
//!
//! In Savanna votes decide what is final, and each node keeps in a file of its own what its key has voted for. A key that two nodes
//! share is not made safe by any relay: each knows nothing of what the other has said. What a relay can do is to let one of them speak:
//! a key is pinned to the first leg that votes with it, until that leg is gone.
//!
//! A node that is connected to two relays passes on to one what it heard by the other, so votes of other finalizers come from inside too. A
//! key that was heard from outside before any leg of ours used it is somebody else's and never pinned.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_antelope::Vote;

use crate::egress::Leg;

/// Keys that are kept of either sort; more than there are finalizers on any chain.
const KEPT: usize = 1024;

type Key = [u8; 96];

/// The finalizer keys that have been heard.
#[derive(Clone, Debug, Default)]
pub struct Votes {
    pins: BTreeMap<Key, Leg>,
    others: BTreeSet<Key>,
}

impl Votes {
    /// A leg votes. The leg that may, if it is another one.
    pub fn cast(&mut self, leg: Leg, vote: &Vote<'_>) -> Result<(), Leg> {
        let key = vote.finalizer_key.0;
        if self.others.contains(key) {
            return Ok(());
        }
        match self.pins.get(key) {
            Some(pinned) if *pinned != leg => Err(*pinned),
            Some(_) => Ok(()),
            None => {
                if self.pins.len() < KEPT {
                    self.pins.insert(*key, leg);
                }
                Ok(())
            }
        }
    }

    /// A vote came from outside.
    pub fn heard(&mut self, vote: &Vote<'_>) {
        let key = vote.finalizer_key.0;
        if !self.pins.contains_key(key) && self.others.len() < KEPT {
            self.others.insert(*key);
        }
    }

    /// A leg is gone: its keys may be used on another.
    pub fn closed(&mut self, leg: Leg) {
        self.pins.retain(|_, pinned| *pinned != leg);
    }
}

#[cfg(test)]
mod tests {
    use mainstay_antelope::{Fixed, Id};

    use super::*;

    const A: Leg = Leg(1);
    const B: Leg = Leg(2);

    fn vote(key: &Key) -> Vote<'_> {
        Vote { block_id: Id::ZERO, strong: true, finalizer_key: Fixed(key), sig: Fixed(&[0; 192]) }
    }

    #[test]
    fn a_key_votes_on_one_leg_until_that_is_gone() {
        let mut votes = Votes::default();
        assert_eq!(votes.cast(A, &vote(&[1; 96])), Ok(()));
        assert_eq!(votes.cast(B, &vote(&[1; 96])), Err(A));
        assert_eq!(votes.cast(B, &vote(&[2; 96])), Ok(()));
        // Its votes come back from outside.
        votes.heard(&vote(&[1; 96]));
        assert_eq!(votes.cast(B, &vote(&[1; 96])), Err(A));
        votes.closed(B);
        assert_eq!(votes.cast(B, &vote(&[1; 96])), Err(A));
        votes.closed(A);
        assert_eq!(votes.cast(B, &vote(&[1; 96])), Ok(()));
        assert_eq!(votes.cast(A, &vote(&[1; 96])), Err(B));
    }

    #[test]
    fn keys_of_others_are_not_pinned() {
        let mut votes = Votes::default();
        votes.heard(&vote(&[3; 96]));
        assert_eq!((votes.cast(A, &vote(&[3; 96])), votes.cast(B, &vote(&[3; 96]))), (Ok(()), Ok(())));
    }

    #[test]
    fn keys_are_bounded_and_the_first_stay() {
        let mut votes = Votes::default();
        let key = |number: usize| {
            let mut key = [0; 96];
            key[..8].copy_from_slice(&number.to_le_bytes());
            key
        };
        for number in 0..2 * KEPT {
            assert_eq!(votes.cast(A, &vote(&key(number))), Ok(()));
            votes.heard(&vote(&key(number + 4 * KEPT)));
        }
        assert_eq!((votes.pins.len(), votes.others.len()), (KEPT, KEPT));
        assert_eq!(votes.cast(B, &vote(&key(0))), Err(A));
    }
}
