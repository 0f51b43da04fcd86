//! What is known of blocks, for consensus clients (CL) that ask about one that the execution clients (EL) were asked about
//! already: every payload goes to them once, however many CLs have it.

use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use mainstay_execution::reply::Answer;
use mainstay_execution::status::Status;

use crate::client::Client;
use crate::coming::{self, Tell};
use crate::hash::Hash;
use crate::reading::Payload;

/// Blocks that are remembered.
const BLOCKS: usize = 1024;
/// CLs that are remembered as having asked about a block.
const ASKERS: usize = 64;

/// A verdict: the payload status object as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its word.
    pub status: Status,
    /// The object.
    pub object: Bytes,
}

/// What came of asking.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// For who asked.
    pub answer: Answer,
    /// Whether it is about the block, and so for everyone who has it: of a payload that isn't what its hash says, or can't be
    /// read, only its sender is told.
    pub of_block: bool,
}

/// What is to come of asking, for all who wait for it.
pub type Coming = coming::Coming<Outcome>;

/// What to do with a payload.
#[derive(Debug)]
pub enum Step {
    /// Ask the ELs, and tell what comes of it.
    Ask(Tell<Outcome>),
    /// They were asked and haven't answered yet.
    Wait(Coming),
    /// This is known.
    Known(Verdict),
}

#[derive(Debug, Default)]
struct Block {
    verdict: Option<Verdict>,
    coming: Option<Coming>,
    payload: Option<Payload>,
    is_taken: bool,
    askers: BTreeSet<Client>,
}

/// The last blocks and what the ELs say of them.
#[derive(Debug, Default)]
pub struct Verdicts {
    blocks: HashMap<Hash, Block>,
    order: VecDeque<Hash>,
}

impl Verdicts {
    /// A CL sends a payload. VALID is known for good. Anything else is known to a CL that asks for the first time; one that asks
    /// again wants to know anew.
    pub fn payload(&mut self, hash: Hash, who: &Client) -> Step {
        let block = self.block(hash);
        let first_time = block.askers.len() < ASKERS && block.askers.insert(who.clone());
        // Whoever was to tell may be gone.
        if let Some(coming) = block.coming.clone().filter(|coming| !coming.is_in_vain()) {
            return Step::Wait(coming);
        }
        match &block.verdict {
            Some(verdict) if verdict.status == Status::Valid || first_time => Step::Known(verdict.clone()),
            _ => {
                let (tell, coming) = coming::pair();
                block.coming = Some(coming);
                Step::Ask(tell)
            }
        }
    }

    /// The ELs said this of a block.
    pub fn told(&mut self, hash: Hash, verdict: Verdict) {
        self.block(hash).verdict = Some(verdict);
    }

    /// The ELs were asked about this, which is what its hash says.
    pub(crate) fn asked(&mut self, payload: &Payload) {
        self.block(payload.hash).payload = Some(*payload);
    }

    /// What they were asked about.
    pub(crate) fn payload_of(&self, hash: Hash) -> Option<Payload> {
        self.blocks.get(&hash)?.payload
    }

    /// Some EL takes this block, whatever was told of it. Gives what it is and who has sent it, if that is known.
    pub(crate) fn taken(&mut self, hash: Hash) -> Option<(Payload, Vec<Client>)> {
        let block = self.blocks.get_mut(&hash)?;
        block.is_taken = true;
        Some((block.payload?, block.askers.iter().cloned().collect()))
    }

    /// Whether some EL takes this block.
    pub(crate) fn is_taken(&self, hash: Hash) -> bool {
        self.blocks.get(&hash).is_some_and(|block| block.is_taken)
    }

    /// The ELs have answered about a block's payload. Gives who has sent it.
    pub fn answered(&mut self, hash: Hash) -> Vec<Client> {
        let Some(block) = self.blocks.get_mut(&hash) else { return Vec::new() };
        block.coming = None;
        block.askers.iter().cloned().collect()
    }

    /// What is known of a block.
    #[must_use]
    pub fn of(&self, hash: Hash) -> Option<&Verdict> {
        self.blocks.get(&hash)?.verdict.as_ref()
    }

    fn block(&mut self, hash: Hash) -> &mut Block {
        if !self.blocks.contains_key(&hash) {
            if self.order.len() == BLOCKS
                && let Some(oldest) = self.order.pop_front()
            {
                self.blocks.remove(&oldest);
            }
            self.order.push_back(hash);
        }
        self.blocks.entry(hash).or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cl(id: &str) -> Client {
        Client::id(id).unwrap()
    }

    fn verdict(status: Status) -> Verdict {
        Verdict { status, object: Bytes::new() }
    }

    fn outcome(of_block: bool) -> Outcome {
        Outcome { answer: Answer::Result(Bytes::new()), of_block }
    }

    const HASH: Hash = Hash([1; 32]);

    #[test]
    fn a_payload_is_asked_about_once_while_others_wait() {
        let mut verdicts = Verdicts::default();
        let Step::Ask(tell) = verdicts.payload(HASH, &cl("a")) else { panic!("asked") };
        let Step::Wait(coming) = verdicts.payload(HASH, &cl("b")) else { panic!("waits") };
        assert!(matches!(verdicts.payload(HASH, &cl("a")), Step::Wait(_)), "its own repetition waits too");
        assert_eq!(verdicts.of(HASH), None);
        verdicts.told(HASH, verdict(Status::Valid));
        assert_eq!(verdicts.answered(HASH), [cl("a"), cl("b")]);
        tell.tell(outcome(true));
        assert!(coming.now().unwrap().of_block);
        for who in ["a", "b", "c"] {
            assert!(matches!(verdicts.payload(HASH, &cl(who)), Step::Known(_)), "{who}");
        }
    }

    #[test]
    fn what_may_change_is_known_once_and_asked_again_by_who_asks_again() {
        for status in [Status::Syncing, Status::Accepted, Status::Invalid, Status::InvalidBlockHash] {
            let mut verdicts = Verdicts::default();
            let Step::Ask(tell) = verdicts.payload(HASH, &cl("a")) else { panic!("asked") };
            verdicts.told(HASH, verdict(status));
            verdicts.answered(HASH);
            tell.tell(outcome(true));
            assert!(matches!(verdicts.payload(HASH, &cl("b")), Step::Known(known) if known.status == status));
            assert!(matches!(verdicts.payload(HASH, &cl("b")), Step::Ask(_)));
        }
    }

    #[test]
    fn where_nothing_was_learned_the_next_one_asks() {
        let mut verdicts = Verdicts::default();
        let Step::Ask(tell) = verdicts.payload(HASH, &cl("forger")) else { panic!("asked") };
        assert!(matches!(verdicts.payload(HASH, &cl("b")), Step::Wait(_)));
        verdicts.answered(HASH);
        tell.tell(outcome(false));
        assert!(matches!(verdicts.payload(HASH, &cl("b")), Step::Ask(_)));
        // Who was to tell is gone without a word.
        assert!(matches!(verdicts.payload(HASH, &cl("b")), Step::Ask(_)));
    }

    #[test]
    fn it_is_bounded() {
        let mut verdicts = Verdicts::default();
        for n in 0..5000u64 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_le_bytes());
            verdicts.payload(Hash(hash), &cl("a"));
            verdicts.payload(HASH, &cl(&n.to_string()));
        }
        assert!(verdicts.blocks.len() <= BLOCKS && verdicts.order.len() <= BLOCKS);
        assert!(verdicts.blocks.values().all(|block| block.askers.len() <= ASKERS));
    }
}
