//! The last payloads, kept so that a node that missed some can be brought to the head.
//!
//! A real execution client without peers never recovers by itself from missed payloads: it says SYNCING to everything that
//! follows while its `eth_syncing` says false. Replaying what it missed heals it within seconds.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;

/// A payload as the consensus client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Block hash, lower case, with `0x`.
    pub hash: String,
    /// Parent's hash.
    pub parent: String,
    /// Block number.
    pub number: u64,
    /// The method's name.
    pub method: String,
    /// The request as it came.
    pub request: Bytes,
}

/// What to send to a node that is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// These payloads, in order, and then the head. May be empty: only the head.
    Replay(Vec<Payload>),
    /// It lacks more than is kept: this many blocks, as far as can be told. Its own sync has to close that.
    Gap(u64),
}

/// Who sent a payload: senders who aren't relied on share the room for it. An opaque key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sender(pub u64);

/// Senders of a payload that are remembered.
const MOST_SENDERS: usize = 16;

/// Of senders who aren't relied on this part of what may be kept is kept beside it, and as much of what no node called VALID.
const OTHERS_PART: usize = 4;

/// Payloads in the order in which they came, bounded by number and bytes.
#[derive(Debug)]
struct Shelf {
    /// Who isn't relied on shares it with others of the kind.
    is_shared: bool,
    order: VecDeque<String>,
    bytes: usize,
    max_blocks: usize,
    max_bytes: usize,
}

impl Shelf {
    fn is_over(&self) -> bool {
        self.order.len() > self.max_blocks || (self.bytes > self.max_bytes && self.order.len() > 1)
    }

    /// Takes a payload of this size off; whether it was there.
    fn take(&mut self, hash: &str, size: usize) -> bool {
        let Some(at) = self.order.iter().position(|kept| kept == hash) else { return false };
        self.order.remove(at);
        self.bytes -= size;
        true
    }
}

#[derive(Debug)]
struct Kept {
    payload: Payload,
    /// Who sent it of those who aren't relied on.
    senders: Vec<Sender>,
}

/// The last payloads, bounded by number and bytes; the oldest goes first. Those of senders who aren't relied on have a shelf of their
/// own, so that they can't push out others; and there whoever has the largest share of it makes room, so that they can't push out
/// each other's either.
#[derive(Debug)]
pub struct Blocks {
    by_hash: HashMap<String, Kept>,
    relied: Shelf,
    /// VALID to a node.
    proved: Shelf,
    /// Not yet.
    unproved: Shelf,
}

/// One of the shelves.
type Place = fn(&mut Blocks) -> &mut Shelf;

impl Blocks {
    /// Keeps at most `max_blocks` payloads and `max_bytes` bytes of them.
    #[must_use]
    pub fn new(max_blocks: usize, max_bytes: usize) -> Self {
        let shelf = |part: usize| Shelf {
            is_shared: part > 1,
            order: VecDeque::new(),
            bytes: 0,
            max_blocks: max_blocks.div_ceil(part),
            max_bytes: max_bytes / part,
        };
        Self {
            by_hash: HashMap::new(),
            relied: shelf(1),
            proved: shelf(OTHERS_PART),
            unproved: shelf(OTHERS_PART),
        }
    }

    /// Other bounds from now on; what is over them goes.
    pub fn set_limits(&mut self, max_blocks: usize, max_bytes: usize) {
        let shelves: [(Place, usize); 3] = [
            (|blocks| &mut blocks.relied, 1),
            (|blocks| &mut blocks.proved, OTHERS_PART),
            (|blocks| &mut blocks.unproved, OTHERS_PART),
        ];
        for (of, part) in shelves {
            let shelf = of(self);
            (shelf.max_blocks, shelf.max_bytes) = (max_blocks.div_ceil(part), max_bytes / part);
            self.make_room(of);
        }
    }

    /// Keeps a payload; one known already keeps its place.
    pub fn keep(&mut self, payload: Payload) {
        if self.by_hash.contains_key(&payload.hash) {
            self.rely(&payload.hash);
        } else {
            self.put(Kept { payload, senders: Vec::new() }, |blocks| &mut blocks.relied);
        }
    }

    fn put(&mut self, kept: Kept, of: fn(&mut Self) -> &mut Shelf) {
        let (hash, size) = (kept.payload.hash.clone(), kept.payload.request.len());
        self.by_hash.insert(hash.clone(), kept);
        let shelf = of(self);
        shelf.order.push_back(hash);
        shelf.bytes += size;
        self.make_room(of);
    }

    fn make_room(&mut self, of: fn(&mut Self) -> &mut Shelf) {
        while of(self).is_over() {
            let Some(least) = self.least(of) else { break };
            let Some(gone) = self.by_hash.remove(&least) else { break };
            of(self).take(&least, gone.payload.request.len());
        }
    }

    /// Which payload of a full shelf goes: one of the past, else the oldest of whoever has the largest share. One that several sent is
    /// as much the one's with the smallest.
    fn least(&mut self, of: fn(&mut Self) -> &mut Shelf) -> Option<String> {
        let shelf = of(self);
        if !shelf.is_shared {
            return shelf.order.front().cloned();
        }
        let (order, max_blocks, max_bytes) = (shelf.order.clone(), shelf.max_blocks, shelf.max_bytes);
        // Who was away has as much to catch up on as there is room for: what others left lower down makes room for it. Only by numbers
        // that a node has called VALID: anybody makes up others.
        let number = |hash: &String| self.get(hash).map(|kept| kept.number);
        let highest = self.proved.order.iter().filter_map(number).max().unwrap_or_default();
        let is_past = |hash: &&String| {
            number(hash).is_some_and(|number| number.saturating_add(max_blocks as u64) <= highest)
        };
        if let Some(past) = order.iter().find(is_past) {
            return Some(past.clone());
        }
        let kept = || order.iter().filter_map(|hash| Some((hash, self.by_hash.get(hash)?)));
        // Of the room for blocks or of that for bytes, whichever is more; who sends what others send takes less by it.
        let part = |kept: &Kept| {
            let part = |of: usize, whole: usize| ((of as u64) << 24) / (whole.max(1) as u64);
            let room = part(1, max_blocks).max(part(kept.payload.request.len(), max_bytes));
            room / (kept.senders.len().max(1) as u64)
        };
        let mut sent: HashMap<Sender, u64> = HashMap::new();
        for (_, kept) in kept() {
            kept.senders.iter().for_each(|sender| *sent.entry(*sender).or_default() += part(kept));
        }
        let share = |sender: &Sender| sent.get(sender).copied();
        let shares = kept().map(|(hash, kept)| (hash, kept.senders.iter().map(share).min()));
        // Of equals the last is taken, which is to be the oldest.
        let oldest_last = shares.collect::<Vec<_>>().into_iter().rev();
        oldest_last.max_by_key(|(_, share)| *share).map(|(hash, _)| hash.clone())
    }

    /// Puts a payload that isn't relied on, or wasn't, elsewhere.
    fn move_to(&mut self, hash: &str, shelf: fn(&mut Self) -> &mut Shelf) {
        let Some(size) = self.get(hash).map(|payload| payload.request.len()) else { return };
        if (self.proved.take(hash, size) || self.unproved.take(hash, size))
            && let Some(kept) = self.by_hash.remove(hash)
        {
            self.put(kept, shelf);
        }
    }

    /// Whose payload it is can be relied on after all.
    fn rely(&mut self, hash: &str) {
        self.move_to(hash, |blocks| &mut blocks.relied);
    }

    /// A node calls it VALID.
    pub fn prove(&mut self, hash: &str) {
        if self.unproved.order.iter().any(|kept| kept == hash) {
            self.move_to(hash, |blocks| &mut blocks.proved);
        }
    }

    /// What was sent by who isn't relied on and no node has called VALID: the lowest number first, to be asked about again.
    #[must_use]
    pub fn unproved(&self) -> Vec<Payload> {
        let kept = self.unproved.order.iter().filter_map(|hash| self.get(hash));
        let mut unproved: Vec<Payload> = kept.cloned().collect();
        unproved.sort_by_key(|payload| payload.number);
        unproved
    }

    /// This is the head of who is relied on: what it builds on is relied on, too.
    pub fn follow(&mut self, head: &str) {
        if self.proved.order.is_empty() && self.unproved.order.is_empty() {
            return;
        }
        let line: Vec<String> = self.line(head).map(str::to_owned).collect();
        for block in line.iter().rev() {
            self.rely(block);
        }
    }

    /// Keeps a payload of a sender who isn't relied on: not one of the past, and no more of his than of others'. A consensus client
    /// that catches up, or makes up blocks, must not push out what nodes at the head may miss.
    pub fn keep_recent(&mut self, payload: Payload, is_valid: bool, by: Sender) {
        if self.by_hash.contains_key(&payload.hash) {
            self.sent_too(&payload.hash, by);
            if is_valid {
                self.prove(&payload.hash);
            }
            return;
        }
        let number = |hash: &String| self.get(hash).map(|kept| kept.number);
        let highest = self.relied.order.iter().filter_map(number).max();
        let is_recent = highest
            .is_none_or(|highest| payload.number.abs_diff(highest) < self.relied.max_blocks.max(1) as u64);
        if is_recent {
            let kept = Kept { payload, senders: vec![by] };
            self.put(
                kept,
                if is_valid { |blocks| &mut blocks.proved } else { |blocks| &mut blocks.unproved },
            );
        }
    }

    /// Another sent a payload that is kept.
    pub fn sent_too(&mut self, hash: &str, by: Sender) {
        if let Some(kept) = self.by_hash.get_mut(hash)
            && kept.senders.len() < MOST_SENDERS
            && !kept.senders.contains(&by)
        {
            kept.senders.push(by);
        }
    }

    /// Forgets a payload, if it is this request that is kept of it: another may have come under the same hash.
    pub fn forget(&mut self, hash: &str, request: &Bytes) {
        let Some(size) = self.get(hash).filter(|kept| kept.request == *request).map(|_| request.len()) else {
            return;
        };
        let _ =
            self.relied.take(hash, size) || self.proved.take(hash, size) || self.unproved.take(hash, size);
        self.by_hash.remove(hash);
    }

    /// Whether a block is kept.
    #[must_use]
    pub fn get(&self, hash: &str) -> Option<&Payload> {
        self.by_hash.get(hash).map(|kept| &kept.payload)
    }

    /// The block kept last of those that are relied on.
    #[must_use]
    pub fn newest(&self) -> Option<&Payload> {
        self.relied.order.back().and_then(|hash| self.get(hash))
    }

    /// A block and those that it builds on, as far back as they are kept; the last is the parent of the oldest.
    pub fn line<'a>(&'a self, block: &'a str) -> impl Iterator<Item = &'a str> {
        let parent = |block: &&'a str| self.get(block).map(|payload| payload.parent.as_str());
        // Hashes come from outside: a ring of them must not hold us.
        std::iter::successors(Some(block), parent).take(self.by_hash.len() + 1)
    }

    /// The blocks up to `target` from where it leaves the line of `head`; none if they aren't all kept.
    #[must_use]
    pub fn branch(&self, head: &str, target: &str) -> Vec<Payload> {
        let known: HashSet<&str> = self.line(head).collect();
        let mut branch = Vec::new();
        for block in self.line(target) {
            if known.contains(block) {
                branch.reverse();
                return branch;
            }
            branch.extend(self.get(block).cloned());
        }
        Vec::new()
    }

    /// The block kept last, if it comes after `head`; else `head`. A payload comes before the forkchoiceUpdated that makes it
    /// the head, so a node that is led to the head only would miss its successor.
    #[must_use]
    pub fn tip<'a>(&'a self, head: &'a str) -> &'a str {
        let Some(newest) = self.newest() else { return head };
        let mut at = newest;
        for _ in 0..self.by_hash.len() {
            if at.parent == head {
                return &newest.hash;
            }
            let Some(parent) = self.get(&at.parent) else { break };
            at = parent;
        }
        head
    }

    /// What a node needs whose head is `head` (hash, number) to be brought to `target`.
    ///
    /// The chain from `target` back is followed to the node's head. A node on another branch gets the whole chain that is
    /// kept, if that reaches down to its number.
    #[must_use]
    pub fn plan(&self, head: (&str, u64), target: &str) -> Plan {
        let (head_hash, head_number) = head;
        let mut chain: Vec<Payload> = Vec::new();
        let mut at = target;
        while at != head_hash {
            // Hashes come from outside: a ring of them must not hold us.
            let kept = self.get(at).filter(|_| chain.len() < self.by_hash.len());
            let Some(payload) = kept else {
                return match chain.last() {
                    // Nothing of it is kept: the node may know it all the same, the head alone tells.
                    None => Plan::Replay(Vec::new()),
                    // It has the first block's parent, or a block beside it: from there on it can be led.
                    Some(first) if first.number <= head_number.saturating_add(1) => {
                        chain.reverse();
                        Plan::Replay(chain)
                    }
                    Some(first) => Plan::Gap(first.number.saturating_sub(head_number).saturating_sub(1)),
                };
            };
            chain.push(payload.clone());
            at = &payload.parent;
        }
        chain.reverse();
        Plan::Replay(chain)
    }
}

#[cfg(test)]
mod tests;
