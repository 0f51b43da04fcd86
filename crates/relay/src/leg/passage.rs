//! What passes on a leg, both ways.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use mainstay_antelope::{Frame, Kind};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::end::{End, Side, Why};
use super::reason;
use super::signs::Signs;
use crate::core::Core;
use crate::egress::{Leg, Step};
use crate::filter::{Dropped, Filter, Inward, Outward};
use crate::inner::keys::Shown;
use crate::spread::Line;
use crate::stream::{Intake, Outlet};
use crate::{Pass, Verdict};

/// Ways.
pub(super) const WAYS: u32 = 2;

/// What passes on a leg.
pub(super) struct Passage<'a> {
    pub(super) core: &'a Arc<Core>,
    pub(super) leg: Leg,
    pub(super) filter: &'a Mutex<Filter>,
    /// Where legs tell each other's nodes what they hear.
    pub(super) line: Option<&'a Line>,
    /// The place of its outer peer.
    pub(super) outer: usize,
    pub(super) signs: &'a Signs,
    /// Each way has one of the [`WAYS`] permits while it passes something on. Who has all of them may stop both, and nothing is lost.
    pub(super) at_work: &'a Semaphore,
}

impl Passage<'_> {
    pub(super) async fn outward<R, W>(
        &self,
        from: &mut Intake<R>,
        to: &mut Outlet<W>,
        first: Option<Frame>,
        shown: &mut Shown,
    ) -> End
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let inner = |ended| End { side: Side::Inner, why: Why::Ended(ended) };
        let mut decided = self.core.watch_decided();
        // When the blocks of ours were here that wait to be written.
        let mut here = Vec::new();
        let mut first = first;
        loop {
            // It is never closed.
            let working = self.at_work.acquire().await;
            let mut next = match first.take().map_or_else(|| from.here(), |first| Ok(Some(first))) {
                Ok(next) => next,
                Err(ended) => return inner(ended),
            };
            while let Some(frame) = next {
                if let Err(what) = shown.frame(&frame) {
                    return End { side: Side::Inner, why: Why::Key(what) };
                }
                if let Some(line) = self.line {
                    line.sent(&frame);
                }
                // What happens from now on may put an end to a block's waiting.
                decided.mark_unchanged();
                match self.core.outward(self.leg, self.filter, &frame) {
                    Outward::Pass => {
                        to.push(&frame);
                        self.signs.out(&frame);
                        if frame.kind() == Kind::Vote {
                            self.core.telemetry.voted();
                        }
                    }
                    Outward::PassAndClose => {
                        to.push(&frame);
                        let _ = to.flush().await;
                        return End { side: Side::Inner, why: Why::GoAway(reason(&frame)) };
                    }
                    Outward::Drop(why) => self.core.dropped(self.leg, "out", frame.kind(), why),
                    Outward::Block(block, step) => {
                        let came = Instant::now();
                        // What the node sent before it doesn't wait with it.
                        if !matches!(step, Step::Settled(_))
                            && let Err(end) = self.write(to, &mut here).await
                        {
                            return end;
                        }
                        match self.core.decide(self.leg, &block, step, &mut decided).await {
                            Verdict::Pass(Pass::Other | Pass::History) => to.push(&frame),
                            Verdict::Pass(_) => {
                                to.push(&frame);
                                here.push(came);
                            }
                            Verdict::Suppress(_) => {}
                        }
                    }
                }
                next = match from.here() {
                    Ok(next) => next,
                    Err(ended) => return inner(ended),
                };
            }
            if let Err(end) = self.write(to, &mut here).await {
                return end;
            }
            drop(working);
            if let Err(ended) = from.more(self.core.config().silence_timeout).await {
                return inner(ended);
            }
        }
    }

    /// Writes outward all that waits; `here` is since when its blocks of ours do.
    async fn write<W: AsyncWrite + Unpin>(
        &self,
        to: &mut Outlet<W>,
        here: &mut Vec<Instant>,
    ) -> Result<(), End> {
        let written = to.flush().await.map_err(|ended| End { side: Side::Outer, why: Why::Ended(ended) })?;
        self.core.telemetry.bytes_out.inc_by(written as u64);
        for came in here.drain(..) {
            self.core.telemetry.sent(came.elapsed());
        }
        Ok(())
    }

    /// `said`: what the outer peer has said before, of which nothing has passed yet.
    pub(super) async fn inward<R, W>(
        &self,
        from: &mut Intake<R>,
        to: &mut Outlet<W>,
        mut said: VecDeque<Frame>,
    ) -> End
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let outer = |why| End { side: Side::Outer, why };
        let mut greeted = false;
        // Until when the outer peer has to say something; set when all is written that it has said.
        let mut until = None;
        loop {
            let working = self.at_work.acquire().await;
            loop {
                // Before the next frame is looked at: it may build on what waits.
                self.others(to);
                let frame = match said.pop_front().map_or_else(|| from.here(), |frame| Ok(Some(frame))) {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(ended) => return outer(Why::Ended(ended)),
                };
                if !greeted {
                    greeted = true;
                    self.core.outers().well(self.outer);
                }
                match self.core.inward(self.leg, self.filter, &frame) {
                    Inward::Pass => self.pass_in(&frame, to),
                    Inward::Double(double) => {
                        self.core.doubled(self.leg, &double);
                        self.pass_in(&frame, to);
                    }
                    Inward::Drop(why) => self.core.dropped(self.leg, "in", frame.kind(), why),
                    Inward::Close => return outer(Why::GoAway(reason(&frame))),
                }
            }
            if let Some(question) = self.signs.question() {
                to.push(&question);
            }
            if let Err(end) = self.write_in(to).await {
                return end;
            }
            drop(working);
            let config = &self.core.config();
            let within = if greeted { config.silence_timeout } else { config.first_frame_timeout };
            let now = Instant::now();
            let left = until.get_or_insert(now + within).saturating_duration_since(now);
            tokio::select! {
                biased;
                more = from.more(left) => match more {
                    Ok(_) => until = None,
                    Err(ended) => return outer(Why::Ended(ended)),
                },
                () = self.woken() => {}
                () = self.signs.asked() => {}
            }
        }
    }

    /// Passes a frame of the leg's own outer peer on to its node, and tells the others of it.
    fn pass_in<W: AsyncWrite + Unpin>(&self, frame: &Frame, to: &mut Outlet<W>) {
        self.signs.inward(frame);
        let Some(line) = self.line else { return to.push(frame) };
        let heard = line.heard(frame);
        self.core.telemetry.told(frame.kind(), &heard);
        if heard.is_copy {
            self.core.dropped(self.leg, "in", frame.kind(), Dropped::Repeated);
        } else {
            to.push(frame);
        }
    }

    /// Puts what the other legs' outer peers have said behind what is to be written to the node.
    pub(super) fn others<W: AsyncWrite + Unpin>(&self, to: &mut Outlet<W>) {
        if let Some(line) = self.line {
            line.take().iter().for_each(|frame| to.push(frame));
        }
    }

    /// Waits until the other legs' outer peers have said something; for ever if that is none of its node's business.
    async fn woken(&self) {
        match self.line {
            Some(line) => line.woken().await,
            None => std::future::pending().await,
        }
    }

    /// Writes inward all that waits.
    async fn write_in<W: AsyncWrite + Unpin>(&self, to: &mut Outlet<W>) -> Result<(), End> {
        let written = to.flush().await.map_err(|ended| End { side: Side::Inner, why: Why::Ended(ended) })?;
        self.core.telemetry.bytes_in.inc_by(written as u64);
        Ok(())
    }
}
