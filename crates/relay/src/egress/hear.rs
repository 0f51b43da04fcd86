//! What the decision learns from what passes.

use std::time::SystemTime;

use mainstay_antelope::{DecodeError, Frame, Handshake, Id, Kind, Message, Mode, Name, Notice, Slot};

use super::{Block, Egress, Leg, begins};

/// Two public blocks for one slot of ours: what is never to happen. Somebody publishes who doesn't ask the same claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Double {
    /// Whose slot.
    pub producer: Name,
    /// The slot.
    pub slot: Slot,
    /// The one that was public first, and the other.
    pub ids: [Id; 2],
}

impl Egress {
    /// Takes in what an outer peer sent on a leg. Transactions, votes and whatever else there is teach nothing and aren't read.
    ///
    /// # Errors
    /// What could be learned from can't be read; nothing is learned then.
    pub fn hear_outer(
        &mut self,
        leg: Leg,
        frame: &Frame,
        now: SystemTime,
    ) -> Result<Option<Double>, DecodeError> {
        if let Some(header) = frame.block_header() {
            return Ok(self.seen(&Block::from(&header?), now));
        }
        match frame.kind() {
            Kind::Handshake | Kind::Notice | Kind::Request | Kind::SyncRequest | Kind::BlockNotice => {}
            _ => return Ok(None),
        }
        match frame.message()? {
            Message::Handshake(handshake) => self.greeted(leg, &handshake),
            Message::Notice(notice) => self.noticed(leg, &notice),
            Message::BlockNotice(notice) => self.make_public(notice.id),
            // An end of 0 takes a request back.
            Message::Request(_) => self.asked(leg),
            Message::SyncRequest(request) if request.end != 0 => self.asked(leg),
            _ => {}
        }
        Ok(None)
    }

    /// Takes in what an inner node sent on a leg.
    ///
    /// # Errors
    /// As with [`Egress::hear_outer`].
    pub fn hear_inner(&mut self, leg: Leg, frame: &Frame) -> Result<(), DecodeError> {
        if !matches!(frame.kind(), Kind::Handshake | Kind::Notice) {
            return Ok(());
        }
        let irreversible = match frame.message()? {
            Message::Handshake(handshake) if handshake.chain_id == self.chain => handshake.lib_num,
            Message::Notice(notice) => irreversible(&notice),
            _ => 0,
        };
        if let Some(told) = self.legs.get_mut(&leg) {
            told.inner = told.inner.max(irreversible);
        }
        Ok(())
    }

    /// Takes in that a block is public, from outside.
    pub fn make_public(&mut self, id: Id) {
        self.public.insert(id, true);
    }

    fn greeted(&mut self, leg: Leg, handshake: &Handshake<'_>) {
        // The connection won't last, and until then it tells of blocks that are nothing to us.
        if handshake.chain_id != self.chain {
            return;
        }
        self.make_public(handshake.lib_id);
        self.make_public(handshake.head_id);
        let nothing_of_ours = self.ours.values().all(|ours| ours.latest.is_none());
        let Some(told) = self.legs.get_mut(&leg) else { return };
        told.outer = told.outer.max(handshake.lib_num);
        if !told.greeted && nothing_of_ours {
            self.floor = self.floor.max(handshake.head_num);
        }
        told.greeted = true;
    }

    fn noticed(&mut self, leg: Leg, notice: &Notice<'_>) {
        // The second one, if there is one, is of the earliest block, and not more of it than the number.
        if let Some(head) = notice.known_blocks.ids.iter().next()
            && notice.known_blocks.mode != Mode::NONE
        {
            self.make_public(head);
        }
        if let Some(told) = self.legs.get_mut(&leg) {
            told.outer = told.outer.max(irreversible(notice));
        }
    }

    fn asked(&mut self, leg: Leg) {
        if let Some(told) = self.legs.get_mut(&leg) {
            told.sent.clear();
        }
    }

    /// Takes in a block from outside.
    pub fn seen(&mut self, block: &Block, now: SystemTime) -> Option<Double> {
        self.make_public(block.id);
        // It would put an end to all that comes before it. But a clock may be wrong, which mustn't keep a slot's winner from being known.
        if begins(block.slot).duration_since(now).is_ok_and(|ahead| ahead > self.rules.late) {
            return None;
        }
        let ours = self.ours.get(&block.producer)?;
        if let Some(first) = ours.slots.get(&block.slot) {
            let ids = [*first, block.id];
            let double = Double { producer: block.producer, slot: block.slot, ids };
            return (*first != block.id).then_some(double);
        }
        self.let_out(block.producer, block.slot, block.id);
        None
    }
}

/// The last irreversible block that a notice tells of; 0 if it tells of none.
fn irreversible(notice: &Notice<'_>) -> u32 {
    if notice.known_trx.mode == Mode::LAST_IRR_CATCH_UP { notice.known_trx.pending } else { 0 }
}
