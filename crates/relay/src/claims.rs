//! Who may publish a producer's slot.
//!
//! What is decided is pure ([`Ledger::judge`]) and the same wherever claims are kept. What keeps them ([`Claims`]) has one operation that
//! changes something, and it has to be one step: look at the claim, the parent and the last published, and claim.
//!
//! For a store that several relays share this is, for a chain and a producer: a claim for each slot that was published, kept for
//! [`CLAIM_TTL`] or more; the number and slot last published, kept for good; and whether an id is that of a claim. In [Redis](redis) that is one
//! script over keys of one hash tag; in [etcd](etcd) a transaction that compares "no such claim" and what was last published; in a store of documents it would be
//! one of them, compared and swapped.
//!
//! **An answer that doesn't come** may have been [`Answer::Granted`]. Nothing is lost by that: the same block that comes again is told [`Answer::Same`],
//! and a claim that nobody heard of keeps out what would be a second block for its slot.

mod etcd;
mod open;
mod redis;
mod warm;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay_antelope::{Id, Name, Slot};

use crate::clock;
use crate::highest::Highest;
use crate::siblings::{USE_TTL, User};
pub use open::{Error, Place, open};

/// A shared store keeps a claim for so long at least. Older blocks are no longer let in
/// ([`Rules::late`](crate::egress::Rules::late)), so that nobody asks for a claim that has been forgotten.
pub const CLAIM_TTL: Duration = Duration::from_secs(120);

/// How long a store has for what nothing waits for.
const UNHURRIED: Duration = Duration::from_secs(1);

/// Claims of a producer that are kept in memory, the latest: they are over four minutes of a producer that has every slot.
const KEPT: usize = 512;

/// What is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The chain.
    pub chain: Id,
    /// Whose slot.
    pub producer: Name,
    /// The slot.
    pub slot: Slot,
}

/// A wish to publish a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bid {
    /// The slot.
    pub key: Key,
    /// The block; its number is in it.
    pub id: Id,
    /// Its parent.
    pub previous: Id,
    /// Whether who asks knows that the parent is public. If not, it has to be a block that was claimed.
    pub parent_public: bool,
    /// Whether the slot may be claimed. If not, the block can only be one that was.
    pub may_win: bool,
}

/// What comes of a bid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The slot was free and is now this block's.
    Granted,
    /// It is this block's already.
    Same,
    /// Nobody claimed the parent, and it isn't known to be public.
    Orphan,
    /// It is another block's, which is told, or later ones have been published.
    Lost(Option<Id>),
}

impl Answer {
    /// What comes of a bid, by what is written down: who holds the slot, whether the parent is a block that was claimed, and what the producer has published
    /// last.
    #[must_use]
    pub fn of(bid: &Bid, holder: Option<&Id>, parent_claimed: bool, latest: Option<Published>) -> Self {
        let comes_after = latest.is_none_or(|latest| latest.is_below(bid.id.block_num(), bid.key.slot));
        match holder {
            Some(holder) if *holder == bid.id => Self::Same,
            _ if !bid.parent_public && !parent_claimed => Self::Orphan,
            Some(holder) => Self::Lost(Some(*holder)),
            None if !bid.may_win || !comes_after => Self::Lost(None),
            None => Self::Granted,
        }
    }
}

/// What a producer has published last: the highest number, and the highest slot. Nothing at or below one of them is published after it, which is what
/// nodeos does for a node alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The highest block number.
    pub number: u32,
    /// The highest slot.
    pub slot: Slot,
}

impl Published {
    /// With one more block.
    #[must_use]
    pub fn and(before: Option<Self>, number: u32, slot: Slot) -> Self {
        match before {
            Some(it) => Self { number: it.number.max(number), slot: it.slot.max(slot) },
            None => Self { number, slot },
        }
    }

    /// Whether a block comes after it.
    #[must_use]
    pub fn is_below(&self, number: u32, slot: Slot) -> bool {
        number > self.number && slot > self.slot
    }
}

/// The claims of one producer on one chain. Pure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    claims: Highest<Slot, Id, KEPT>,
    latest: Option<Published>,
}

impl Ledger {
    /// What comes of a bid. `parent_claimed`: some producer's ledger of this chain [`holds`](Ledger::holds) its parent.
    #[must_use]
    pub fn judge(&self, bid: &Bid, parent_claimed: bool) -> Answer {
        Answer::of(bid, self.claims.get(&bid.key.slot), parent_claimed, self.latest)
    }

    /// Writes down a bid that was granted.
    pub fn grant(&mut self, bid: &Bid) {
        self.claims.insert(bid.key.slot, bid.id);
        self.latest = Some(Published::and(self.latest, bid.id.block_num(), bid.key.slot));
    }

    /// Whether a block is one that was claimed.
    #[must_use]
    pub fn holds(&self, id: &Id) -> bool {
        self.claims.values().any(|held| held == id)
    }

    /// What was published last.
    #[must_use]
    pub fn latest(&self) -> Option<Published> {
        self.latest
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(
    /// For people; no credentials in it.
    pub String,
);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// A future that an object-safe trait can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Keeps claims, for this process or several.
pub trait Claims: Send + Sync + 'static {
    /// Answers a bid as [`Ledger::judge`] says, and writes it down if it is granted, in one step.
    ///
    /// # Errors
    /// The answer didn't come. The bid may have been granted then.
    fn claim(&self, bid: Bid) -> BoxFuture<'_, Result<Answer, Unavailable>>;

    /// What a producer has published last.
    ///
    /// # Errors
    /// The answer didn't come.
    fn latest(&self, chain: Id, producer: Name) -> BoxFuture<'_, Result<Option<Published>, Unavailable>>;

    /// Writes down for [`USE_TTL`] that somebody uses these, each unless another one does; who that is, in their order (`None`: nobody). Two who come at
    /// the same moment may both be told so once. It has nothing to do with claims, and no deadline: who asks has one.
    ///
    /// # Errors
    /// The answer didn't come.
    fn using(&self, uses: Uses) -> BoxFuture<'_, Result<Vec<Option<User>>, Unavailable>>;
}

/// What somebody uses of a chain's producers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uses {
    /// The chain.
    pub chain: Id,
    /// Who.
    pub user: User,
    /// What: whose blocks go there, and what it is called.
    pub what: Vec<(Name, String)>,
}

/// By whom something is used, and until when.
type Used = (User, Instant);

/// Claims of one process, gone with it.
#[derive(Debug, Default)]
pub struct MemoryClaims {
    uses: Mutex<BTreeMap<(Id, Name, String), Used>>,
    // As many as there are producers in the settings, on the chains that the nodes are on.
    ledgers: Mutex<BTreeMap<(Id, Name), Ledger>>,
}

impl MemoryClaims {
    /// [`Claims::claim`], at once.
    pub fn bid(&self, bid: &Bid) -> Answer {
        let chain = bid.key.chain;
        // What is under the lock can't be left half done.
        let mut ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        let parent_claimed =
            ledgers.iter().any(|((of, _), ledger)| *of == chain && ledger.holds(&bid.previous));
        let ledger = ledgers.entry((chain, bid.key.producer)).or_default();
        let answer = ledger.judge(bid, parent_claimed);
        if answer == Answer::Granted {
            ledger.grant(bid);
        }
        answer
    }
}

impl Claims for MemoryClaims {
    fn claim(&self, bid: Bid) -> BoxFuture<'_, Result<Answer, Unavailable>> {
        Box::pin(std::future::ready(Ok(self.bid(&bid))))
    }

    fn latest(&self, chain: Id, producer: Name) -> BoxFuture<'_, Result<Option<Published>, Unavailable>> {
        let ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = ledgers.get(&(chain, producer)).and_then(Ledger::latest);
        Box::pin(std::future::ready(Ok(latest)))
    }

    fn using(&self, uses: Uses) -> BoxFuture<'_, Result<Vec<Option<User>>, Unavailable>> {
        let now = clock::now();
        let mut known = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, until)| *until > now);
        let mut users = Vec::new();
        for (producer, what) in uses.what {
            let (user, until) = known
                .entry((uses.chain, producer, what))
                .or_insert_with(|| (uses.user.clone(), now + USE_TTL));
            if user.id == uses.user.id {
                (*user, *until) = (uses.user.clone(), now + USE_TTL);
                users.push(None);
            } else {
                users.push(Some(user.clone()));
            }
        }
        Box::pin(std::future::ready(Ok(users)))
    }
}

#[cfg(test)]
mod tests;
