//! Which consensus client (CL) leads: the one whose forkchoiceUpdated every execution client (EL) follows.
//!
//! Time is an argument ([`Now`]). Every event is told with a method that says whether the lead changes by it, and
//! [`Leader::next_look`] says when to [`Leader::look`] if nothing else happens. A CL is
//!
//! * *live* while it was heard within `leader_timeout` and its connection isn't gone;
//! * *suspect* ([`Suspicion`]) for `leader_timeout` after it named a slot more than one ahead of the clock (such a call
//!   counts for nothing, not even as a sign of life), or a head that no EL takes, and as long as it stays on that head;
//! * *behind* when its slot has been `max_lag` or more below the best of the live and unsuspected for two slots;
//! * *fit* when it is live, unsuspected and not behind.
//!
//! The slot of a CL is that of its head, by the payload, whoever sent it; while no CL has a head whose payload is known, the highest of
//! the payloads that it sent. (Of a new head whose payload isn't known yet that of the former one, for a third of a slot.) Attributes show how late it is, which who is cut off knows too, and not how far a CL has got: they tell nothing but a slot that
//! can't be. A slot that is one ahead is believed, and counts as the clock's until then, so that nobody is ever ahead of the honest.
//! A payload that no EL takes counts for nothing, and one that none calls VALID counts only while nobody has named a VALID
//! head of the last three slots: who makes up heads is behind those whose blocks are there, and who makes blocks that are no head of
//! anybody's is behind those who follow a chain.
//!
//! 1. The first fit CL leads at once. From then on there is always one leader, if need be one that isn't fit.
//! 2. The lead is sticky. It changes, if another CL is fit, when the leader is gone, suspect, silent for `leader_timeout`,
//!    or behind; and at once when another is a slot ahead and the leader is *silent*: it has said nothing since that other showed
//!    the slot, and a third of a slot has passed. In every slot one CL is the first to have the block; a third into the slot is when
//!    attestations to it are due.
//! 3. The next leader is the fit CL with the highest slot; of equals one that has been fit for `failback_after`, then
//!    the one named first by the operator, then the least key.
//! 4. With `agreement` and three or more CLs (live, unsuspected, with a head) the leader names the head that more than half of
//!    them name, or its parent, or a child: a step is a matter of who is quick. Where no head has more than half the
//!    other rules stand alone.
//! 5. A CL that the operator named before the leader takes the lead (back) when it is fit and up with the best: at once if it never
//!    was unfit, on another head than most, or lost the lead, else after `failback_after` of being fit without a break. CLs without names don't come
//!    back by themselves: they would change the lead for nothing.
//! 6. At most `max_strangers` CLs without names are remembered. A new one takes the place of the one not heard for longest
//!    that isn't live and doesn't lead; where there is none it isn't listened to.
//!
//! What a CL is (slot, head, suspicion) doesn't depend on the order in which different CLs were heard, and neither does,
//! without `agreement`, who follows a leader that is lost. Who leads of several fit ones hangs on who was first; where the
//! operator named them all the first named leads in the end, whatever happened before.

mod record;
mod rules;
mod words;

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

pub use self::rules::Rules;
pub use self::words::{Change, State, Suspicion, Why};

use self::record::{Count, Record, Worth};
use crate::client::Client;
use crate::hash::Hash;
use crate::slots::believable;

/// Hashes that are remembered as refused, and as VALID.
const JUDGED_KEPT: usize = 64;
/// For so many slots after one was shown that is VALID other blocks don't count.
const VALID_FOR: u32 = 3;

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// On the clock that only goes forward.
    pub at: Instant,
    /// The slot by the time of day.
    pub slot: u64,
}

/// A call of a CL's, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// newPayload.
    Payload {
        /// The block.
        hash: Hash,
        /// Its parent.
        parent: Hash,
        /// The slot that its timestamp is in.
        slot: u64,
    },
    /// forkchoiceUpdated.
    Head {
        /// The head block.
        hash: Hash,
        /// The slot that the timestamp of its attributes is in.
        building: Option<u64>,
    },
    /// Anything else: a sign of life.
    Call,
}

/// A CL as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Who.
    pub client: &'a Client,
    /// The highest believed slot.
    pub slot: Option<u64>,
    /// The head that it named last.
    pub head: Option<Hash>,
    /// When its last call came, whether it counted or not.
    pub last: Instant,
    /// What is thought of it.
    pub state: State,
    /// Whether it leads.
    pub leads: bool,
}

/// The head of most.
#[derive(Clone, Copy, Debug)]
struct Favourite {
    head: Hash,
    parent: Option<Hash>,
    by: usize,
    of: usize,
}

/// Who leads, and what is known of all CLs.
#[derive(Debug)]
pub struct Leader {
    rules: Rules,
    now: Now,
    records: BTreeMap<Client, Record>,
    refused: VecDeque<Hash>,
    valid: VecDeque<Hash>,
    leader: Option<Client>,
    /// The best slot by the last review.
    best: Option<u64>,
    /// The highest slot of a VALID block so far, and when it was shown.
    valid_slot: Option<u64>,
    valid_since: Option<Instant>,
    /// What counts by the last review.
    count: Count,
    /// The slot of some head is known, by the last review.
    has_heads: bool,
    favourite: Option<Favourite>,
    turned_away: u64,
}

impl Leader {
    /// Other figures from the next look on.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules.clamped();
    }

    /// Nobody was heard yet.
    #[must_use]
    pub fn new(rules: Rules, now: Now) -> Self {
        let rules = rules.clamped();
        Self {
            rules,
            now,
            records: BTreeMap::new(),
            refused: VecDeque::new(),
            valid: VecDeque::new(),
            leader: None,
            best: None,
            valid_slot: None,
            valid_since: None,
            count: Count { clock: now.slot, valid_only: false },
            has_heads: false,
            favourite: None,
            turned_away: 0,
        }
    }

    /// A CL called.
    pub fn heard(&mut self, who: &Client, heard: Heard, now: Now) -> Option<Change> {
        self.advance(now);
        if !self.make_room(who) {
            self.turned_away = self.turned_away.saturating_add(1);
            return self.review();
        }
        let (at, clock) = (self.now.at, self.now.slot);
        let rank = self.rank(who);
        let record = self.records.entry(who.clone()).or_insert_with(|| Record::new(rank, at));
        record.last = at;
        let named = match heard {
            Heard::Payload { slot, .. } => Some(slot),
            Heard::Head { building, .. } => building,
            Heard::Call => None,
        };
        if let Some(slot) = named.filter(|slot| !believable(*slot, clock)) {
            record.suspect(Suspicion::Ahead { slot, clock }, at);
            return self.review();
        }
        record.listen(at);
        let worth = |hash: Hash| match () {
            () if self.refused.contains(&hash) => Worth::Refused,
            () if self.valid.contains(&hash) => Worth::Valid,
            () => Worth::Unknown,
        };
        match heard {
            Heard::Payload { hash, parent, slot } => {
                record.sent(hash, parent, slot.min(clock), worth(hash));
            }
            Heard::Head { hash, .. } if hash != Hash::ZERO => record.named(hash, worth(hash), at),
            Heard::Head { .. } | Heard::Call => {}
        }
        self.review()
    }

    /// Every EL that answered refused this block as a payload or head: somebody said INVALID, nobody VALID or SYNCING (or
    /// ACCEPTED). Not to be told when no EL answered, nor of a payload whose hash isn't that of its contents: neither says
    /// anything about the block of that hash, and the second any stranger can send.
    pub fn refused(&mut self, hash: Hash, now: Now) -> Option<Change> {
        self.advance(now);
        self.valid.retain(|valid| *valid != hash);
        keep(&mut self.refused, hash);
        let at = self.now.at;
        self.records.values_mut().for_each(|record| record.refused(hash, at));
        self.review()
    }

    /// An EL takes this block, for VALID (`is_valid`) or SYNCING.
    pub fn taken(&mut self, hash: Hash, is_valid: bool, now: Now) -> Option<Change> {
        self.advance(now);
        self.refused.retain(|refused| *refused != hash);
        if is_valid {
            keep(&mut self.valid, hash);
        }
        let worth = if self.valid.contains(&hash) { Worth::Valid } else { Worth::Unknown };
        self.records.values_mut().for_each(|record| record.taken(hash, worth));
        self.review()
    }

    /// The ELs refuse a CL's token, which they got as it came. Not to be told when any of them took it.
    pub fn unauthorized(&mut self, who: &Client, now: Now) -> Option<Change> {
        self.advance(now);
        let at = self.now.at;
        if let Some(record) = self.records.get_mut(who) {
            record.suspect(Suspicion::Unauthorized, at);
        }
        self.review()
    }

    /// A CL's connection shows that it is gone; until it is heard again. Not to be told of a CL that opens a connection for
    /// each call (as nginx does for its `mirror`), nor of one that closes an idle one.
    pub fn gone(&mut self, who: &Client, now: Now) -> Option<Change> {
        self.advance(now);
        if let Some(record) = self.records.get_mut(who) {
            record.gone = true;
        }
        self.review()
    }

    /// Time has passed.
    pub fn look(&mut self, now: Now) -> Option<Change> {
        self.advance(now);
        self.review()
    }

    /// When the next [`Leader::look`] is due, if nothing is heard before; `None`: time alone changes nothing.
    #[must_use]
    pub fn next_look(&self) -> Option<Instant> {
        let rules = &self.rules;
        let due = |record: &Record| {
            let offence = record.offence.map(|(_, since)| since);
            let waits = [
                (record.heard, rules.leader_timeout),
                (offence, rules.leader_timeout),
                (record.behind, rules.lag_for()),
                (record.overtaken, rules.silent_for()),
                (record.former.map(|(_, since)| since), rules.silent_for()),
                (record.well, rules.failback_after),
            ];
            waits.into_iter().filter_map(|(since, wait)| since?.checked_add(wait))
        };
        let valid = self.valid_since.and_then(|since| since.checked_add(self.valid_for()));
        self.records.values().flat_map(due).chain(valid).filter(|at| *at > self.now.at).min()
    }

    /// Who leads; `None` until the first believable call.
    #[must_use]
    pub fn leader(&self) -> Option<&Client> {
        self.leader.as_ref()
    }

    /// Whether this CL leads.
    #[must_use]
    pub fn leads(&self, who: &Client) -> bool {
        self.leader.as_ref() == Some(who)
    }

    /// All CLs that are remembered, as of the last event or look, in the order of their keys.
    pub fn view(&self) -> impl Iterator<Item = Seen<'_>> {
        self.records.iter().map(|(client, record)| Seen {
            client,
            slot: self.slot(record),
            head: record.head,
            last: record.last,
            state: self.state(record),
            leads: self.leads(client),
        })
    }

    /// Calls of CLs that weren't listened to, for want of room.
    #[must_use]
    pub const fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// Instants may come in another order than they were read in.
    fn advance(&mut self, now: Now) {
        self.now = Now { at: now.at.max(self.now.at), slot: now.slot };
    }

    fn rank(&self, who: &Client) -> usize {
        self.rules.order.iter().position(|named| named == who).unwrap_or(usize::MAX)
    }

    /// Whether there is room for a CL, who may be known; forgets another if need be.
    fn make_room(&mut self, who: &Client) -> bool {
        let stranger = |record: &Record| record.rank == usize::MAX;
        if self.records.contains_key(who)
            || self.rank(who) != usize::MAX
            || self.records.values().filter(|r| stranger(r)).count() < self.rules.max_strangers
        {
            return true;
        }
        let idle = |(client, record): &(&Client, &Record)| {
            stranger(record) && !self.is_live(record) && !self.leads(client)
        };
        let oldest = self.records.iter().filter(idle).min_by_key(|(_, record)| record.last);
        let oldest = oldest.map(|(client, _)| client.clone());
        oldest.and_then(|client| self.records.remove(&client)).is_some()
    }

    fn is_past(&self, since: Instant, wait: Duration) -> bool {
        self.now.at.saturating_duration_since(since) >= wait
    }

    fn is_live(&self, record: &Record) -> bool {
        !record.gone && record.heard.is_some_and(|heard| !self.is_past(heard, self.rules.leader_timeout))
    }

    fn suspicion(&self, record: &Record) -> Option<Suspicion> {
        let offence = record.offence.filter(|(_, since)| !self.is_past(*since, self.rules.leader_timeout));
        let head = record.head.filter(|_| record.head_refused);
        offence.map(|(suspicion, _)| suspicion).or(head.map(|head| Suspicion::Refused { head }))
    }

    /// Whose head is the best there is doesn't hang on what no EL knows, as long as there are heads that one knows. (A VALID block
    /// that nobody makes its head is of no chain: anybody makes one in every slot.)
    fn weigh(&mut self) {
        let valid = Count { clock: self.now.slot, valid_only: true };
        let heads = self.records.values().filter(|r| self.counts(r)).filter_map(|r| r.head);
        let best = heads.filter_map(|head| self.slot_of(head, valid)).max();
        if best > self.valid_slot {
            (self.valid_slot, self.valid_since) = (best, Some(self.now.at));
        }
        let valid_only = self.valid_since.is_some_and(|since| !self.is_past(since, self.valid_for()));
        self.count = Count { valid_only, ..valid };
        let mut heads = self.records.values().filter(|r| self.counts(r)).filter_map(|r| r.head);
        self.has_heads = heads.any(|head| self.slot_of(head, self.count).is_some());
    }

    fn valid_for(&self) -> Duration {
        self.rules.slot.saturating_mul(VALID_FOR)
    }

    /// How far a CL has got: to its head, whoever sent that, or for a moment to its former one; while nobody names any, to the highest
    /// block that it sent.
    fn slot(&self, record: &Record) -> Option<u64> {
        let Some(head) = record.head else { return record.highest(self.count).filter(|_| !self.has_heads) };
        let of = |head| record.slot_of(head, self.count).or_else(|| self.slot_of(head, self.count));
        // A new head has no slot until an EL has taken its payload, and the first to answer may not.
        let is_new = |since: Instant| !record.head_refused && !self.is_past(since, self.rules.silent_for());
        of(head)
            .or_else(|| record.former.filter(|(_, since)| is_new(*since)).and_then(|(former, _)| of(former)))
    }

    /// The slot of a block by whoever sent it.
    fn slot_of(&self, block: Hash, count: Count) -> Option<u64> {
        self.records.values().find_map(|record| record.slot_of(block, count))
    }

    /// Live and unsuspected: what it says counts for comparing.
    fn counts(&self, record: &Record) -> bool {
        self.is_live(record) && self.suspicion(record).is_none()
    }

    fn is_behind(&self, record: &Record) -> bool {
        record.behind.is_some_and(|since| self.is_past(since, self.rules.lag_for()))
    }

    fn is_fit(&self, record: &Record) -> bool {
        self.counts(record) && !self.is_behind(record)
    }

    /// Well for so long that it may take the lead back.
    fn is_steady(&self, record: &Record) -> bool {
        record.well.is_some_and(|since| !record.fell || self.is_past(since, self.rules.failback_after))
    }

    fn names_favourite(&self, record: &Record) -> bool {
        self.favourite.is_none_or(|favourite| record.head == Some(favourite.head))
    }

    /// Names the head of most, or is a step from it.
    fn agrees(&self, record: &Record) -> bool {
        let Some(favourite) = self.favourite else { return true };
        record.head.is_some_and(|head| {
            head == favourite.head
                || favourite.parent == Some(head)
                || record.parent_of(head) == Some(favourite.head)
        })
    }

    fn state(&self, record: &Record) -> State {
        match self.suspicion(record) {
            Some(suspicion) => State::Suspect(suspicion),
            None if record.gone => State::Gone,
            None if !self.is_live(record) => State::Silent,
            None if self.is_behind(record) => State::Behind,
            None if !self.agrees(record) => State::Disagrees,
            None => State::Well,
        }
    }

    /// The head that more than half of three or more name.
    fn find_favourite(&self) -> Option<Favourite> {
        if !self.rules.agreement {
            return None;
        }
        let naming: Vec<(Hash, &Record)> =
            self.records.values().filter(|r| self.counts(r)).filter_map(|r| Some((r.head?, r))).collect();
        let of = naming.len();
        let by = |head: Hash| naming.iter().filter(|(other, _)| *other == head).count();
        let (head, _) = *naming.iter().find(|(head, _)| of >= 3 && by(*head) * 2 > of)?;
        // One that tells another parent than the rest may be lying: no parent is known then.
        let mut parents =
            naming.iter().filter(|(other, _)| *other == head).filter_map(|(_, r)| r.parent_of(head));
        let parent = parents.next().filter(|parent| parents.all(|other| other == *parent));
        Some(Favourite { head, parent, by: by(head), of })
    }

    /// Brings everything that hangs on several CLs or on time up to date, and decides.
    fn review(&mut self) -> Option<Change> {
        let at = self.now.at;
        self.favourite = self.find_favourite();
        self.weigh();
        let peers = self.records.values().filter(|r| self.counts(r) && self.names_favourite(r));
        let best = peers.filter_map(|r| self.slot(r)).max();
        let rose = best > self.best;
        self.best = best;
        let slots: Vec<Option<u64>> = self.records.values().map(|r| self.slot(r)).collect();
        for (record, slot) in self.records.values_mut().zip(slots) {
            record.compare(slot, best, rose, self.rules.max_lag, self.now);
        }
        let fit: Vec<(bool, bool)> =
            self.records.values().map(|r| (self.is_fit(r), self.agrees(r))).collect();
        for (record, (fit, agrees)) in self.records.values_mut().zip(fit) {
            record.settle(fit, agrees, at);
        }
        let (to, why) = self.decide()?;
        let from = self.leader.replace(to.clone());
        if why.is_fault()
            && let Some(record) = from.as_ref().and_then(|former| self.records.get_mut(former))
        {
            record.lost_lead(at);
        }
        Some(Change { from, to, why })
    }

    fn decide(&self) -> Option<(Client, Why)> {
        let candidates = || {
            let may = |(client, record): &(&Client, &Record)| {
                self.is_fit(record) && self.names_favourite(record) && !self.leads(client)
            };
            self.records.iter().filter(may)
        };
        let next = || {
            let worth = |(client, record): &(&Client, &Record)| {
                let slot = self.slot(record);
                (slot, self.is_steady(record), Reverse(record.rank), Reverse((*client).clone()))
            };
            candidates().max_by_key(worth).map(|(client, _)| client.clone())
        };
        let Some(leading) = self.leader.as_ref().and_then(|leader| self.records.get(leader)) else {
            return Some((next()?, Why::First));
        };
        if let Some(why) = self.fault(leading) {
            return Some((next()?, why));
        }
        let (client, record) = candidates()
            .filter(|(_, r)| r.rank < leading.rank && self.slot(r) >= self.best && self.is_steady(r))
            .min_by_key(|(_, r)| r.rank)?;
        let well_for = record.fell.then_some(self.rules.failback_after);
        Some((client.clone(), Why::Preferred { well_for }))
    }

    /// Why this one shouldn't lead, if another can.
    fn fault(&self, record: &Record) -> Option<Why> {
        if let Some(suspicion) = self.suspicion(record) {
            Some(Why::Suspect(suspicion))
        } else if record.gone {
            Some(Why::Gone)
        } else if !self.is_live(record) {
            Some(Why::Silent { wait: self.rules.leader_timeout })
        } else if self.is_behind(record) {
            let slot = self.slot(record);
            let by = slot.and_then(|slot| Some(self.best?.saturating_sub(slot)));
            Some(Why::Behind { by, wait: self.rules.lag_for() })
        } else if record.overtaken.is_some_and(|since| self.is_past(since, self.rules.silent_for())) {
            Some(Why::Overtaken { wait: self.rules.silent_for() })
        } else {
            let favourite = self.favourite.filter(|_| !self.agrees(record))?;
            Some(Why::Disagrees { head: favourite.head, by: favourite.by, of: favourite.of })
        }
    }
}

/// Keeps a hash among the last ones.
fn keep(judged: &mut VecDeque<Hash>, hash: Hash) {
    if !judged.contains(&hash) {
        if judged.len() == JUDGED_KEPT {
            judged.pop_front();
        }
        judged.push_back(hash);
    }
}

#[cfg(test)]
mod tests;
