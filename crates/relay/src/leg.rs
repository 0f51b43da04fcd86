//! A leg: an inner connection and an outer one, and what passes between them.
//!
//! 1. The inner side says something: its first frame has its deadline. Who says nothing costs no outer connection.
//! 2. An outer peer is connected to, the next one if that fails ([`crate::outers`]).
//! 3. Frames pass both ways, in their order, as the filter says. A block that waits, for its claim or for a better node's, holds up what the same node
//!    has sent after it, and nothing else.
//! 4. Where another outer peer has fewer legs this one may get that in the place of its own ([`crate::balance`], `trial`). Then there is a new leg, with a number of its own,
//!    for the same inner connection; the old one's outer connection is closed when the new one is at work.
//! 5. Whatever ends one side ends the other, plainly: the node dials again, and gets another outer peer if this one is to blame.

mod end;
mod passage;
mod signs;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_antelope::{Frame, Message};
use mainstay_wire::client::Duplex;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf, split};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use self::passage::{Passage, WAYS};
use self::signs::Signs;
use self::trial::Candidate;
use crate::balance::Outcome;
use crate::clock;
use crate::core::Core;
use crate::egress::Leg;
use crate::filter::Filter;
use crate::inner::keys::Shown;
use crate::moves::Trying;
use crate::peer::Peer;
use crate::spread::Line;
use crate::stream::{Ended, Intake, Outlet};

pub(crate) use end::{End, Side, Why};

/// For the farewell of a connection.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection to an outer peer.
type Outer = Ends<ReadHalf<Box<dyn Duplex>>, WriteHalf<Box<dyn Duplex>>>;

/// A place at an outer peer, given back when it is dropped.
struct Placed {
    core: Arc<Core>,
    outer: usize,
}

impl Placed {
    /// At this one, besides those that it has.
    fn at(core: &Arc<Core>, outer: usize) -> Self {
        core.outers().hold(outer);
        Self { core: core.clone(), outer }
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        self.core.outers().left(self.outer);
    }
}

/// A leg that is open, closed when it is dropped.
struct Open {
    core: Arc<Core>,
    leg: Leg,
    filter: Mutex<Filter>,
    /// Where legs tell each other's nodes what they hear.
    line: Option<Line>,
    placed: Placed,
    /// Of its outer peer, as in the settings.
    name: Arc<str>,
}

impl Open {
    /// Opens one for who is at the inner end, with the outer peer at whose place it is.
    fn new(core: &Arc<Core>, peer: &Peer, placed: Placed) -> Self {
        let (leg, filter) = {
            let mut state = core.state();
            state.open(&core.config(), peer.clone(), placed.outer, clock::now())
        };
        let line = core.spread.as_ref().map(|spread| spread.opened(leg));
        let name = core.config().outer[placed.outer].clone();
        core.telemetry.opened();
        Self { core: core.clone(), leg, filter: Mutex::new(filter), line, placed, name }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.core.state().close(self.leg);
        self.core.telemetry.closed();
    }
}

/// Serves an inner connection, from its first byte to the end of both sides.
pub(crate) async fn serve<S>(core: Arc<Core>, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stop = core.stop.clone();
    let (reader, writer) = split(stream);
    let mut inner = Ends::new(reader, writer, core.config().stall_timeout);
    let opening = async {
        let first = match inner.intake.first(core.config().first_frame_timeout).await {
            Ok(first) => first,
            Err(ended) => {
                let (word, what) = refusal(&ended);
                core.telemetry.refused(&peer, word, &what);
                return None;
            }
        };
        let Some((placed, outer)) = dial(&core).await else {
            core.telemetry.refused(&peer, "no_outer", "no outer peer can be reached");
            return None;
        };
        Some((first, placed, outer))
    };
    let Some(Some((first, placed, mut outer))) = stop.run_until_cancelled(opening).await else {
        inner.part().await;
        return;
    };
    let mut open = Open::new(&core, &peer, placed);
    core.telemetry.begins(open.leg, &peer, &open.name);
    let (signs, at_work) = (Signs::new(), Semaphore::new(WAYS as usize));
    let mut shown = Shown::new(core.config().peer_keys.clone());
    let (mut first, mut said) = (Some(first), VecDeque::new());
    let end = loop {
        let pass = Passage {
            core: &core,
            leg: open.leg,
            filter: &open.filter,
            line: open.line.as_ref(),
            outer: open.placed.outer,
            signs: &signs,
            at_work: &at_work,
        };
        let Gets { candidate, trying, both_idle } = tokio::select! {
            biased;
            () = stop.cancelled() => break End { side: Side::Mainstay, why: Why::Stopped },
            blocks = core.is_behind(open.leg) => break End { side: Side::Outer, why: Why::Behind(blocks) },
            end = pass.outward(&mut inner.intake, &mut outer.outlet, first.take(), &mut shown) => break end,
            end = pass.inward(&mut outer.intake, &mut inner.outlet, std::mem::take(&mut said)) => break end,
            gets = pass.moved() => gets,
        };
        pass.others(&mut inner.outlet);
        let Candidate { placed, ends, greeting, said: before } = candidate;
        let next = open.moved(&peer, placed, &greeting);
        trying.done(Outcome::Moved);
        drop(both_idle);
        // Only now: the new one is open, and has greeted.
        drop(std::mem::replace(&mut open, next));
        tokio::spawn(std::mem::replace(&mut outer, ends).part());
        said = before;
    };
    if let Why::Behind(blocks) = end.why {
        core.outers().lagged(open.placed.outer, end.to_string(), clock::now());
        let what = format!("is {blocks} blocks behind another outer peer");
        core.alarm("behind", open.name.clone(), what);
    } else if end.side == Side::Outer {
        core.outers().failed(open.placed.outer, end.to_string(), clock::now());
    }
    if end.side == Side::Outer {
        core.balance().failed(open.placed.outer, clock::now());
    }
    let (leg, node, name) = (open.leg, core.node(open.leg), open.name.clone());
    drop(open);
    core.telemetry.ended(leg, &node, &name, &end);
    tokio::join!(inner.part(), outer.part());
}

/// What a leg gets that is moved.
struct Gets<'a> {
    candidate: Candidate,
    trying: Trying,
    /// Nothing is being passed on, as long as this is there.
    both_idle: SemaphorePermit<'a>,
}

impl<'a> Passage<'a> {
    /// Tries other outer peers for this leg when it is to, until it gets one.
    async fn moved(&self) -> Gets<'a> {
        loop {
            let trying = self.core.to_try(self.leg).await;
            let candidate = match self.attempt(trying.tried).await {
                Ok(candidate) => candidate,
                Err(outcome) => {
                    trying.done(outcome);
                    continue;
                }
            };
            if trying.tried.moves {
                // Who is passing something on has it through by then. It is never closed.
                if let Ok(both_idle) = self.at_work.acquire_many(WAYS).await
                    && self.core.is_away()
                    && self.signs.is_quiet()
                {
                    return Gets { candidate, trying, both_idle };
                }
            }
            trying.done(Outcome::Fit);
            tokio::spawn(candidate.ends.part());
        }
    }
}

impl Open {
    /// Opens the leg that is in the place of this one, for the same inner connection, with another outer peer; `greeting` is what its node has greeted that with.
    fn moved(&self, peer: &Peer, placed: Placed, greeting: &Frame) -> Self {
        let core = &self.core;
        let next = Self::new(core, peer, placed);
        // It has gone out already.
        let _ = core.outward(next.leg, &next.filter, greeting);
        if let Some(line) = &next.line {
            line.sent(greeting);
        }
        if let Some(known) = core.state().leg_mut(next.leg) {
            known.moved_from = Some(self.placed.outer);
        }
        core.telemetry.moved([self.leg, next.leg], &core.node(next.leg), [&self.name, &next.name]);
        next
    }
}

fn refusal(ended: &Ended) -> (&'static str, String) {
    match ended {
        Ended::Silent => ("silent", "it said nothing for too long".to_owned()),
        Ended::NoFrame(why) => ("no_frame", format!("what it sent is no frame: {why}")),
        Ended::Closed | Ended::Stalled => ("closed", "it closed before it said anything".to_owned()),
    }
}

/// Connects to the outer peer that has the fewest legs, or to the next one.
async fn dial(core: &Arc<Core>) -> Option<(Placed, Outer)> {
    let mut tried = Vec::new();
    loop {
        let outer = core.outers().take(&tried, clock::now())?;
        let placed = Placed { core: core.clone(), outer };
        match connect(core, outer).await {
            Ok(ends) => return Some((placed, ends)),
            Err(why) => {
                core.telemetry.unreachable(&core.config().outer[outer], &why);
                core.outers().failed(outer, why, clock::now());
                tried.push(outer);
            }
        }
    }
}

/// Connects to an outer peer, or says why that can't be reached.
async fn connect(core: &Arc<Core>, outer: usize) -> Result<Outer, String> {
    let config = core.config();
    let within = config.connect_timeout;
    match timeout(within, (core.dial)(config.outer[outer].clone())).await {
        Ok(Ok(stream)) => {
            let (reader, writer) = split(stream);
            Ok(Ends::new(reader, writer, config.stall_timeout))
        }
        Ok(Err(why)) => Err(why.to_string()),
        Err(_) => Err(format!("no connection within {within:?}")),
    }
}

/// Both halves of a connection.
struct Ends<R, W> {
    intake: Intake<R>,
    outlet: Outlet<W>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Ends<R, W> {
    fn new(reader: R, writer: W, stall: Duration) -> Self {
        Self { intake: Intake::new(reader), outlet: Outlet::new(writer, stall) }
    }

    /// Closes the connection, plainly.
    async fn part(self) {
        self.outlet.close(FAREWELL).await;
        self.intake.drain(FAREWELL).await;
    }
}

/// What a `go_away` says.
fn reason(frame: &Frame) -> &'static str {
    match frame.message() {
        Ok(Message::GoAway(go_away)) => go_away.reason.name(),
        _ => "unreadable",
    }
}
