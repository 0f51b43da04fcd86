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
        while of(self).is_over() {
            let Some(least) = self.least(of) else { break };
            let Some(gone) = self.by_hash.remove(&least) else { break };
            of(self).take(&least, gone.payload.request.len());
        }
    }

    /// Which payload of a full shelf goes: the oldest of whoever has the largest share. One that several sent is as much the one's
    /// with the smallest.
    fn least(&mut self, of: fn(&mut Self) -> &mut Shelf) -> Option<String> {
        let shelf = of(self);
        if !shelf.is_shared {
            return shelf.order.front().cloned();
        }
        let (order, max_blocks, max_bytes) = (shelf.order.clone(), shelf.max_blocks, shelf.max_bytes);
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payload(hash: &str, parent: &str, number: u64, size: usize) -> Payload {
        Payload {
            hash: hash.into(),
            parent: parent.into(),
            number,
            method: "engine_newPayloadV4".into(),
            request: Bytes::from(vec![0; size]),
        }
    }

    fn chain(n: u64, blocks: &mut Blocks) {
        for i in 1..=n {
            blocks.keep(payload(&format!("h{i}"), &format!("h{}", i - 1), i, 10));
        }
    }

    fn numbers(plan: &Plan) -> Vec<u64> {
        match plan {
            Plan::Replay(payloads) => payloads.iter().map(|p| p.number).collect(),
            Plan::Gap(gap) => panic!("a gap of {gap}"),
        }
    }

    #[test]
    fn the_replay_starts_after_the_nodes_own_head() {
        let mut blocks = Blocks::new(64, 1 << 20);
        chain(31, &mut blocks);
        let plan = blocks.plan(("h15", 15), "h31");
        assert_eq!(numbers(&plan), (16..=31).collect::<Vec<_>>());
        assert!(numbers(&blocks.plan(("h31", 31), "h31")).is_empty());
    }

    #[test]
    fn the_tip_is_the_newest_block_that_comes_after_the_head() {
        let mut blocks = Blocks::new(64, 1 << 20);
        assert_eq!(blocks.tip("h3"), "h3");
        chain(5, &mut blocks);
        assert_eq!(blocks.tip("h5"), "h5");
        assert_eq!(blocks.tip("h3"), "h5");
        assert_eq!(blocks.tip("h0"), "h5");
        assert_eq!(blocks.tip("elsewhere"), "elsewhere");
        blocks.keep(payload("x5", "h4", 5, 10));
        assert_eq!(blocks.tip("h5"), "h5", "a branch isn't followed");
    }

    #[test]
    fn the_line_of_a_block_goes_back_as_far_as_blocks_are_kept() {
        let mut blocks = Blocks::new(3, 1 << 20);
        chain(5, &mut blocks);
        let line = |block| blocks.line(block).collect::<Vec<_>>();
        assert_eq!(line("h5"), ["h5", "h4", "h3", "h2"]);
        assert_eq!(line("h3"), ["h3", "h2"]);
        assert_eq!(line("x"), ["x"]);
        let mut ring = Blocks::new(3, 1 << 20);
        ring.keep(payload("a", "b", 1, 10));
        ring.keep(payload("b", "a", 2, 10));
        assert_eq!(ring.line("a").collect::<Vec<_>>(), ["a", "b", "a"]);
    }

    #[test]
    fn a_branch_begins_where_it_leaves_the_line_of_a_head() {
        let mut blocks = Blocks::new(64, 1 << 20);
        chain(5, &mut blocks);
        for (hash, parent, number) in [("x4", "h3", 4), ("x5", "x4", 5), ("far", "?", 9)] {
            blocks.keep_recent(payload(hash, parent, number, 10), false, Sender(1));
        }
        let branch = |head, target| {
            blocks.branch(head, target).into_iter().map(|payload| payload.hash).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(branch("h5", "x5"), "x4 x5");
        assert_eq!(branch("h3", "x5"), "x4 x5");
        assert_eq!(branch("x4", "x5"), "x5");
        assert_eq!(branch("h2", "h5"), "h3 h4 h5");
        assert_eq!(branch("h0", "h1"), "h1", "the head itself needn't be kept");
        for (head, target) in [("h5", "h2"), ("h5", "h5"), ("h5", "far"), ("h5", "?"), ("elsewhere", "h5")] {
            assert_eq!(branch(head, target), "", "{head} {target}");
        }
    }

    #[test]
    fn what_others_send_is_kept_where_it_is_recent_and_pushes_nothing_out() {
        let mut blocks = Blocks::new(8, 1 << 20);
        blocks.keep_recent(payload("x", "?", 1 << 60, 10), true, Sender(0));
        chain(10, &mut blocks);
        let kept = |blocks: &Blocks, hash: &str| blocks.get(hash).is_some();
        for n in [2, 18, 1 << 60] {
            blocks.keep_recent(payload("y", "?", n, 10), true, Sender(0));
            assert!(!kept(&blocks, "y"), "{n}");
        }
        for n in 3..=17 {
            for i in 0..9 {
                blocks.keep_recent(payload(&format!("{n} {i}"), "h9", n, 10), i % 2 == 0, Sender(i));
            }
        }
        assert!((3..=10).all(|n| kept(&blocks, &format!("h{n}"))));
        for shelf in [&blocks.proved, &blocks.unproved] {
            assert_eq!(shelf.order.len(), 2);
        }
        assert_eq!(blocks.relied.order.len(), 8);
        assert_eq!(blocks.newest().map(|p| p.number), Some(10));
    }

    /// Of the room for blocks of senders who aren't relied on.
    fn unproved(blocks: &Blocks) -> Vec<String> {
        blocks.unproved().into_iter().map(|payload| payload.hash).collect()
    }

    #[test]
    fn whoever_of_the_others_sent_most_makes_room() {
        let mut blocks = Blocks::new(16, 1 << 20);
        let mut sent = |hash: &str, number: u64, by: u64| {
            blocks.keep_recent(payload(hash, "?", number, 10), false, Sender(by));
            unproved(&blocks).join(" ")
        };
        // Blocks that a liar makes up while a slot is missed, all of one number, take no room from the true one.
        assert_eq!(
            [sent("x1", 7, 1), sent("x2", 7, 1), sent("x3", 7, 1), sent("t7", 7, 2)][3],
            "x1 x2 x3 t7"
        );
        assert_eq!(sent("x4", 7, 1), "x2 x3 t7 x4");
        assert_eq!(sent("t8", 8, 2), "x3 t7 x4 t8");
        assert_eq!(sent("x5", 6, 1), "x5 t7 x4 t8");
        // A block that several sent is as much of the one's who has sent least, be the liar the first to send it.
        assert_eq!([sent("t9", 9, 1), sent("t9", 9, 2), sent("t9", 9, 3)][2], "x5 t7 t8 t9");
        assert_eq!([sent("t7", 7, 3), sent("x6", 9, 1)][1], "t7 t8 t9 x6");
        assert_eq!(sent("x7", 9, 1), "t7 t8 t9 x7");
    }

    #[test]
    fn one_large_payload_is_a_large_share() {
        let mut blocks = Blocks::new(64, 400);
        for (hash, size, by) in [("t1", 10, 1), ("t2", 10, 1), ("large", 79, 2), ("t3", 10, 1)] {
            blocks.keep_recent(payload(hash, "?", 1, size), false, Sender(by));
        }
        assert_eq!(unproved(&blocks), ["t1", "t2", "t3"]);
    }

    #[test]
    fn what_a_node_calls_valid_is_no_longer_to_be_asked_about() {
        let mut blocks = Blocks::new(16, 1 << 20);
        for (hash, number) in [("b", 2), ("a", 1), ("c", 3)] {
            blocks.keep_recent(payload(hash, "?", number, 10), false, Sender(1));
        }
        blocks.keep(payload("d", "c", 4, 10));
        assert_eq!(unproved(&blocks), ["a", "b", "c"], "parents first");
        ["b", "d", "nobody"].iter().for_each(|hash| blocks.prove(hash));
        blocks.keep_recent(payload("c", "?", 3, 10), true, Sender(2));
        assert_eq!(unproved(&blocks), ["a"]);
        assert_eq!((blocks.proved.order.len(), blocks.relied.order.len()), (2, 1));
    }

    #[test]
    fn what_is_sent_by_others_first_stays_once_it_is_relied_on() {
        let mut blocks = Blocks::new(8, 1 << 20);
        let others = |blocks: &mut Blocks| {
            (0..9).for_each(|n| blocks.keep_recent(payload(&format!("x{n}"), "?", n, 10), true, Sender(n)));
        };
        for n in [1, 2] {
            let sent = payload(&format!("h{n}"), &format!("h{}", n - 1), n, 10);
            blocks.keep_recent(sent, n == 1, Sender(n));
        }
        // Its head says so, of what it builds on as well.
        blocks.follow("h2");
        others(&mut blocks);
        assert_eq!(numbers(&blocks.plan(("h0", 0), "h2")), [1, 2]);
        // Or that it sends it, too.
        blocks.keep_recent(payload("h3", "h2", 3, 10), true, Sender(1));
        blocks.keep(payload("h3", "h2", 3, 99));
        others(&mut blocks);
        assert_eq!(numbers(&blocks.plan(("h0", 0), "h3")), [1, 2, 3]);
        assert_eq!((blocks.relied.order.len(), blocks.relied.bytes), (3, 30));
    }

    #[test]
    fn what_is_forgotten_can_come_again_and_is_the_very_request() {
        let mut blocks = Blocks::new(8, 1 << 20);
        let request = |size| Bytes::from(vec![0; size]);
        let ways: [fn(&mut Blocks, Payload); 3] = [
            Blocks::keep,
            |b, p| b.keep_recent(p, true, Sender(1)),
            |b, p| b.keep_recent(p, false, Sender(1)),
        ];
        for keep in ways {
            keep(&mut blocks, payload("h7", "h6", 7, 10));
            blocks.forget("h7", &request(11));
            assert!(blocks.get("h7").is_some(), "other content under its hash");
            blocks.forget("nobody", &request(10));
            blocks.forget("h7", &request(10));
            assert_eq!((blocks.get("h7"), blocks.relied.bytes, blocks.unproved.bytes), (None, 0, 0));
            assert_eq!(blocks.proved.bytes, 0);
        }
    }

    #[test]
    fn a_deeper_gap_is_left_to_the_node() {
        let mut blocks = Blocks::new(10, 1 << 20);
        chain(31, &mut blocks);
        assert_eq!(blocks.plan(("h15", 15), "h31"), Plan::Gap(6));
        assert_eq!(numbers(&blocks.plan(("h21", 21), "h31")).len(), 10);
        assert_eq!(blocks.plan(("h20", 20), "h31"), Plan::Gap(1));
    }

    #[test]
    fn a_node_on_a_branch_is_led_back() {
        let mut blocks = Blocks::new(64, 1 << 20);
        chain(20, &mut blocks);
        blocks.keep(payload("x19", "h18", 19, 10));
        assert_eq!(numbers(&blocks.plan(("x19", 19), "h20")), (1..=20).collect::<Vec<_>>());
        assert_eq!(numbers(&blocks.plan(("h20", 20), "x19")), (1..=19).collect::<Vec<_>>());
        assert_eq!(blocks.plan(("h20", 20), "unknown"), Plan::Replay(vec![]));
    }

    #[test]
    fn bounded_by_number_and_bytes_but_the_newest_always_stays() {
        let mut blocks = Blocks::new(64, 100);
        chain(30, &mut blocks);
        assert_eq!(blocks.relied.order.len(), 10);
        blocks.keep(payload("big", "h30", 31, 5000));
        assert_eq!(blocks.relied.order.len(), 1);
        assert_eq!(blocks.newest().map(|p| p.number), Some(31));
    }

    proptest! {
        #[test]
        fn accounts_stay_right(steps in prop::collection::vec((0u64..40, 0u64..40, 1usize..60), 0..200)) {
            let mut blocks = Blocks::new(8, 200);
            for (hash, parent, size) in steps {
                let sent = payload(&hash.to_string(), &parent.to_string(), hash, size);
                match size % 5 {
                    0 => blocks.forget(&sent.hash, &sent.request),
                    1 => blocks.follow(&sent.hash),
                    2 => blocks.keep_recent(sent, size % 2 == 0, Sender(parent % 4)),
                    3 if size % 2 == 0 => blocks.prove(&sent.hash),
                    _ => blocks.keep(sent),
                }
                let shelves = [&blocks.relied, &blocks.proved, &blocks.unproved];
                prop_assert_eq!(shelves.map(|shelf| shelf.order.len()).iter().sum::<usize>(), blocks.by_hash.len());
                for shelf in shelves {
                    let sizes = shelf.order.iter().map(|hash| blocks.by_hash[hash].payload.request.len());
                    prop_assert_eq!(shelf.bytes, sizes.sum::<usize>());
                }
                prop_assert!(shelves.iter().zip([8, 2, 2]).all(|(shelf, most)| shelf.order.len() <= most));
                // Always ends, also where hashes form a ring.
                if let Some(newest) = blocks.newest().map(|p| p.hash.clone()) { let _ = blocks.plan(("none", 3), &newest); }
            }
        }
    }
}
