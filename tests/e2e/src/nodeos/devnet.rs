//! A public node that makes the blocks of four producers, another public one beside it, and two nodes that both make those of the fifth.

use std::time::Duration;

use crate::nodeos::chain::{Chain, now, time_to};
use crate::nodeos::key::unhex;
use crate::nodeos::pack::{Action, name};
use crate::nodeos::round::{ROUND, Round, one_block_a_slot, public_slots};
use crate::nodeos::tap::Tap;
use crate::nodeos::{Nodeos, Part};
use crate::{Lab, Result, until};

const LOOK: Duration = Duration::from_millis(50);

/// Whose blocks two nodes make.
pub const PRODUCER: &str = "prodx";
/// All of the schedule, in its order.
const PRODUCERS: [&str; 5] = [PRODUCER, "prody", "prodz", "produ", "prodv"];
const CYCLE: u32 = ROUND * 5;
/// From one producer to five: two rounds of the old one at most, as everything is irreversible after one block.
const SCHEDULE_LIMIT: Duration = Duration::from_secs(90);
/// What a node gets to reach the public head, from whatever state: five rounds of others are between two of its own.
const JOINS: Duration = Duration::from_secs(60);

/// The whole network but for the relay.
pub struct Devnet {
    /// The public node that makes the others' blocks.
    pub public: Nodeos,
    /// Another public node, which makes none.
    pub sentry: Nodeos,
    /// The two that make the same producer's blocks.
    pub nodes: Vec<Nodeos>,
    /// On each node's connections; the second ones lead nowhere at first.
    pub inner: [[Tap; 2]; 2],
    /// On the connections to the public node and to the sentry.
    pub outer: [Tap; 2],
}

impl Devnet {
    /// Starts the public nodes and waits until the schedule is in force; then [`Devnet::join`].
    ///
    /// # Errors
    /// If that does not come about.
    pub async fn start(lab: &Lab) -> Result<Devnet> {
        let part = Part {
            producers: &["eosio", "prody", "prodz", "produ", "prodv"],
            first: true,
            ..Part::default()
        };
        let public = Nodeos::start(lab, "public", part).await?;
        let part = Part { peers: vec![public.address()], ..Part::default() };
        let sentry = Nodeos::start(lab, "sentry", part).await?;
        schedule(lab, public.chain()).await?;
        let outer = [
            Tap::start("to the public node", Some(public.address())).await?,
            Tap::start("to the sentry", Some(sentry.address())).await?,
        ];
        let inner = [
            [Tap::start("node-a", None).await?, Tap::start("node-a's second", None).await?],
            [Tap::start("node-b", None).await?, Tap::start("node-b's second", None).await?],
        ];
        Ok(Devnet { public, sentry, nodes: Vec::new(), inner, outer })
    }

    /// Starts the two nodes, whose taps lead somewhere by now, and waits until they are at the public head.
    ///
    /// # Errors
    /// If they don't get there.
    pub async fn join(&mut self, lab: &Lab) -> Result<()> {
        for (name, taps) in ["node-a", "node-b"].into_iter().zip(&self.inner) {
            let peers = taps.iter().map(|tap| tap.address().to_owned()).collect();
            let part = Part { producers: &[PRODUCER], peers, ..Part::default() };
            self.nodes.push(Nodeos::start(lab, name, part).await?);
        }
        for node in 0..self.nodes.len() {
            self.follows(node).await?;
        }
        Ok(())
    }

    /// Waits until the head of this node is on the public chain, and not old.
    ///
    /// # Errors
    /// If that does not come about.
    pub async fn follows(&self, node: usize) -> Result<()> {
        let node = &self.nodes[node];
        until(&format!("{} to be at the public head", node.name()), JOINS, async || {
            let (own, public) = (node.chain().head().await?, self.public.chain().head().await?);
            // In its own round it may be a few blocks ahead.
            let shared = own.number.min(public.number);
            if public.number.saturating_sub(own.number) > 2 {
                return Ok(None);
            }
            let same = node.chain().block(shared).await?.id == self.public.chain().block(shared).await?.id;
            Ok(same.then_some(()))
        })
        .await
    }

    /// The first slot of the next round of the producer.
    pub fn next_round(&self) -> u32 {
        (now() / CYCLE + 1) * CYCLE
    }

    /// Waits until position `position` of the round from slot `first` on begins.
    pub async fn at(&self, first: u32, position: u32) {
        tokio::time::sleep(time_to(first + position)).await;
    }

    /// Waits until the round from slot `first` on is over, and tells what became of it. No slot has ever had two blocks.
    ///
    /// # Errors
    /// If one has, or the public node does not answer.
    pub async fn round(&self, lab: &Lab, what: &str, first: u32) -> Result<Round> {
        self.at(first, ROUND).await;
        let public = self.public.chain();
        // Its own blocks go on, so one after the round comes in any case.
        let chain = until("a block after the round", JOINS, async || {
            let blocks = public.since(first).await?;
            Ok(blocks.last().is_some_and(|last| last.slot >= first + ROUND).then_some(blocks))
        })
        .await?;
        let [a, b] = self.inner.each_ref().map(|taps| taps.each_ref());
        let mut round = Round::of(first, name(PRODUCER), [&a, &b], &self.outer.each_ref());
        round.on(&chain)?;
        lab.say(format!("{what}: {round}"));
        self.one_block_a_slot()?;
        Ok(round)
    }

    /// No slot of the producer has ever had two blocks on the public side, and every node was treated well.
    ///
    /// # Errors
    /// If not so.
    pub fn one_block_a_slot(&self) -> Result<usize> {
        for tap in self.inner.iter().flatten() {
            tap.polite()?;
        }
        one_block_a_slot(name(PRODUCER), &self.outer.each_ref())
    }

    /// The slots of the producer of which a block has reached the public side.
    pub(crate) fn public_slots(&self) -> Vec<u32> {
        public_slots(name(PRODUCER), &self.outer.each_ref())
    }

    /// The node whose block went out where the nodes' blocks differ, in the round from slot `first` on; `None` if the round is over and
    /// they never did.
    pub async fn winner(&self, first: u32) -> Option<usize> {
        while now() < first + ROUND {
            let [a, b] = self.inner.each_ref().map(|taps| taps.each_ref());
            let round = Round::of(first, name(PRODUCER), [&a, &b], &self.outer.each_ref());
            if let Some(winner) = round.winner() {
                return Some(winner);
            }
            tokio::time::sleep(LOOK).await;
        }
        None
    }

    /// Begins anew with what is known of every connection.
    pub fn forget(&self) {
        self.inner.iter().flatten().chain(&self.outer).for_each(Tap::forget);
    }

    /// Hands transactions to the public node from the beginning of the round from slot `first` on: enough to make the nodes' blocks
    /// differ, as each notes down what time they took.
    ///
    /// # Errors
    /// If the node refuses them.
    pub async fn part(&self, first: u32) -> Result<()> {
        const TRANSACTIONS: u32 = 6;
        self.at(first, 0).await;
        let public = self.public.chain();
        let mut pushes = Vec::new();
        for nth in 0..TRANSACTIONS {
            pushes.push(Action::new_account(&account(first, nth), &public.key()));
        }
        for push in &pushes {
            public.push(push).await?;
        }
        Ok(())
    }
}

/// An account's name that nobody had before.
fn account(slot: u32, nth: u32) -> String {
    let mut number = u64::from(slot) << 8 | u64::from(nth);
    let mut name = String::new();
    for _ in 0..11 {
        name.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
    }
    name.push('z');
    name
}

async fn schedule(lab: &Lab, public: &Chain) -> Result<()> {
    let wasm = std::fs::read_to_string(lab.tools.devnet.join("antelope/setprods_wasm.hex"))?;
    public.push(&Action::set_code(&unhex(wasm.trim())?)).await?;
    for producer in PRODUCERS {
        public.push(&Action::new_account(producer, &public.key())).await?;
    }
    public.push(&Action::set_producers(&PRODUCERS, &public.key())).await?;
    until("the schedule to be in force", SCHEDULE_LIMIT, async || {
        Ok((public.schedule().await? == PRODUCERS).then_some(()))
    })
    .await?;
    lab.say("the schedule is in force");
    Ok(())
}
