//! A try: whether an outer peer is fit to have a leg, found out besides the leg's own one, with what the leg's node itself says.
//!
//! 1. The peer is connected to.
//! 2. The node is asked where it is ([`Signs::greeting`]), and its handshake is the first thing that the peer hears, as the first one of this connection: in nothing
//!    but its generation it is another one, which isn't signed.
//! 3. The peer greets, and sends a block at the head. What it says is kept meanwhile, but for transactions, which the leg's own peer has too, and pings, which are answered here.
//!
//! If the leg is to have this peer, what it said is the first that the node hears of it: for both it is a connection that has just begun. Else the connection is closed plainly.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mainstay_antelope::{Frame, Handshake, Kind, Message, Nanos, Time};
use tokio::time::{Instant, timeout, timeout_at};

use super::passage::Passage;
use super::{Outer, Placed, connect, reason};
use crate::balance::{Outcome, Try};
use crate::core::Core;
use crate::egress::Leg;

/// For the node's answer.
const ANSWER: Duration = Duration::from_secs(2);
/// For the peer's: ten slots, as some producers may be away.
const PROOF: Duration = Duration::from_secs(5);
/// Blocks that a peer may be behind when it greets; what it lacks it is sent within [`PROOF`].
const FAR: u32 = 12;
/// Bytes that are kept of what a peer says.
const KEPT: usize = 8 * 1024 * 1024;

/// An outer peer that is fit, and what it has said so far.
pub(super) struct Candidate {
    pub(super) placed: Placed,
    pub(super) ends: Outer,
    /// What it was greeted with, as the node said it.
    pub(super) greeting: Frame,
    pub(super) said: VecDeque<Frame>,
}

impl Passage<'_> {
    /// Tries an outer peer for this leg.
    pub(super) async fn attempt(&self, tried: Try) -> Result<Candidate, Outcome> {
        if !self.signs.is_quiet() {
            return Err(Outcome::Unready("blocks are being asked for"));
        }
        let before = head(self.core, self.leg);
        let placed = Placed::at(self.core, tried.to);
        let mut ends = connect(self.core, tried.to).await.map_err(Outcome::Unfit)?;
        let greeting = match timeout(ANSWER, self.signs.greeting()).await {
            Ok(Some(greeting)) => greeting,
            Ok(None) | Err(_) => return Err(Outcome::Unready("its node doesn't say where it is")),
        };
        ends.outlet.push(&self.first(&greeting)?);
        let written = ends.outlet.flush().await;
        written.map_err(|_| Outcome::Unfit("closed the connection".to_owned()))?;
        let mut hearing = Hearing {
            core: self.core,
            leg: self.leg,
            greeted: false,
            sent: 0,
            told: 0,
            said: VecDeque::new(),
        };
        match timeout_at(Instant::now() + PROOF, hearing.prove(&mut ends)).await {
            Ok(Ok(())) => Ok(Candidate { placed, ends, greeting, said: hearing.said }),
            Ok(Err(outcome)) => {
                tokio::spawn(ends.part());
                Err(outcome)
            }
            Err(_) if head(self.core, self.leg) == before => Err(Outcome::Unready("no block was made")),
            Err(_) => Err(hearing.late()),
        }
    }

    /// The node's handshake as the first one of a connection.
    fn first(&self, greeting: &Frame) -> Result<Frame, Outcome> {
        let unready = Outcome::Unready("its node's handshake can't be read");
        let Ok(Message::Handshake(hello)) = greeting.message() else { return Err(unready) };
        let state = self.core.state();
        if state.chain() != Some(hello.chain_id) || !state.shared.egress.is_public(&hello.head_id) {
            return Err(Outcome::Unready("its node is on a branch of its own"));
        }
        drop(state);
        Message::Handshake(Handshake { generation: 1, ..hello }).frame().map_err(|_| unready)
    }
}

/// The number of the newest block that a leg's own outer peer has named or sent.
fn head(core: &Core, leg: Leg) -> u32 {
    core.state().legs().get(&leg).map_or(0, |known| known.outside.head)
}

/// What is heard of a peer.
struct Hearing<'a> {
    core: &'a Arc<Core>,
    leg: Leg,
    greeted: bool,
    /// The highest block that it has sent.
    sent: u32,
    /// Or named.
    told: u32,
    said: VecDeque<Frame>,
}

impl Hearing<'_> {
    /// Waits until it is at the head.
    async fn prove(&mut self, ends: &mut Outer) -> Result<(), Outcome> {
        let mut bytes = 0;
        loop {
            while let Some(frame) =
                ends.intake.here().map_err(|_| Outcome::Unfit("sends no frames".to_owned()))?
            {
                if frame.kind() == Kind::PackedTransaction {
                    continue;
                }
                if let Some(answer) = self.pong(&frame) {
                    ends.outlet.push(&answer);
                    continue;
                }
                bytes += frame.bytes().len();
                if bytes > KEPT {
                    return Err(Outcome::Unready("too much is said"));
                }
                let is_at_head = self.take(&frame)?;
                self.said.push_back(frame);
                if is_at_head {
                    return Ok(());
                }
            }
            let closed = |_| Outcome::Unfit("closed the connection".to_owned());
            ends.outlet.flush().await.map_err(closed)?;
            // Who says nothing is late, which is whoever waits for this to tell.
            ends.intake.more(2 * PROOF).await.map_err(closed)?;
        }
    }

    /// Takes in what it says; whether it is at the head now.
    fn take(&mut self, frame: &Frame) -> Result<bool, Outcome> {
        let unfit = |what: String| Err(Outcome::Unfit(what));
        if let Some(Ok(header)) = frame.block_header() {
            self.sent = self.sent.max(header.block_num());
            self.told = self.told.max(self.sent);
        }
        match (frame.kind(), frame.message()) {
            (Kind::GoAway, _) => return unfit(format!("sent go_away, {}", reason(frame))),
            (_, Ok(Message::Handshake(hello))) => {
                if self.core.state().chain() != Some(hello.chain_id) {
                    return unfit(format!("is on another chain, {}", hello.chain_id));
                }
                self.told = self.told.max(hello.head_num);
                if hello.head_num.saturating_add(FAR) < head(self.core, self.leg) {
                    return Err(self.late());
                }
                self.greeted = true;
            }
            _ => {}
        }
        // The other one's newest may be on its way here.
        Ok(self.greeted && self.sent.saturating_add(1) >= head(self.core, self.leg))
    }

    /// The answer to a ping.
    fn pong(&self, frame: &Frame) -> Option<Frame> {
        let (Kind::Time, Ok(Message::Time(time))) = (frame.kind(), frame.message()) else { return None };
        let now = self.core.nanos();
        let pong = Time { org: time.xmt, rec: now, xmt: now, dst: Nanos(0) };
        (time.org == Nanos(0)).then(|| Message::Time(pong).frame().ok()).flatten()
    }

    /// What is the matter with one that isn't at the head in time.
    fn late(&self) -> Outcome {
        let behind = head(self.core, self.leg).saturating_sub(self.told);
        Outcome::Unfit(match self.told {
            0 => "doesn't answer".to_owned(),
            _ if behind > 1 => format!("is {behind} blocks behind"),
            _ => "sends no blocks".to_owned(),
        })
    }
}
