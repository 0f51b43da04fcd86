//! A leg: an inner connection and an outer one, and what passes between them.
//!
//! 1. The inner side says something: its first frame has its deadline. Who says nothing costs no outer connection.
//! 2. An outer peer is connected to, the next one if that fails ([`crate::outers`]).
//! 3. Frames pass both ways, in their order, as the filter says. A block that waits, for its claim or for a better node's, holds up what the same node
//!    has sent after it, and nothing else.
//! 4. Whatever ends one side ends the other, plainly: the node dials again, and gets another outer peer if this one is to blame.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_antelope::{Frame, Kind, Message};
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::clock;
use crate::core::Core;
use crate::egress::{Leg, Step};
use crate::filter::{Dropped, Filter, Inward, Outward};
use crate::inner::keys::Shown;
use crate::peer::Peer;
use crate::spread::Line;
use crate::stream::{Ended, Intake, Outlet};
use crate::{Pass, Verdict};

/// For the farewell of a connection.
const FAREWELL: Duration = Duration::from_secs(1);

/// Who ended a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Inner,
    Outer,
    Mainstay,
}

impl Side {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Inner => "inner",
            Self::Outer => "outer",
            Self::Mainstay => "mainstay",
        }
    }
}

/// Why a leg ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Ended(Ended),
    /// The side sent a `go_away`, with this reason.
    GoAway(&'static str),
    /// It didn't show a key that is asked for.
    Key(&'static str),
    /// Another leg's outer peer is so many blocks ahead of it.
    Behind(u32),
    Stopped,
}

impl Why {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Ended(Ended::Closed) => "closed",
            Self::Ended(Ended::Silent) => "silent",
            Self::Ended(Ended::Stalled) => "stalled",
            Self::Ended(Ended::NoFrame(_)) => "no_frame",
            Self::GoAway(_) => "go_away",
            Self::Key(_) => "key",
            Self::Behind(_) => "behind",
            Self::Stopped => "stopped",
        }
    }
}

/// How a leg ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) side: Side,
    pub(crate) why: Why,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Inner => "the inner node",
            Side::Outer => "the outer peer",
            Side::Mainstay => "mainstay",
        };
        match &self.why {
            Why::Ended(Ended::Closed) => write!(f, "{side} closed the connection"),
            Why::Ended(Ended::Silent) => write!(f, "{side} said nothing for too long"),
            Why::Ended(Ended::Stalled) => write!(f, "{side} took in nothing for too long"),
            Why::Ended(Ended::NoFrame(why)) => write!(f, "{side} sent what is no frame: {why}"),
            Why::GoAway(reason) => write!(f, "{side} sent go_away, {reason}"),
            Why::Key(what) => write!(f, "{side}: {what}"),
            Why::Behind(blocks) => write!(f, "{side} is {blocks} blocks behind"),
            Why::Stopped => f.write_str("mainstay stops"),
        }
    }
}

/// A place at an outer peer, given back when it is dropped.
struct Placed {
    core: Arc<Core>,
    outer: usize,
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
    let Some(Some((first, placed, stream))) = stop.run_until_cancelled(opening).await else {
        inner.part().await;
        return;
    };
    let (reader, writer) = stream.into_split();
    let mut outer = Ends::new(reader, writer, core.config().stall_timeout);
    let (leg, filter) = {
        let mut state = core.state();
        state.open(&core.config(), peer.clone(), placed.outer, clock::now())
    };
    let line = core.spread.as_ref().map(|spread| spread.opened(leg));
    let open = Open { core: core.clone(), leg };
    let name = core.config().outer[placed.outer].clone();
    core.telemetry.opened(leg, &peer, &name);
    let pass = Passage { core: &core, leg, filter: Mutex::new(filter), line, outer: placed.outer };
    let end = tokio::select! {
        biased;
        () = stop.cancelled() => End { side: Side::Mainstay, why: Why::Stopped },
        blocks = core.is_behind(leg) => End { side: Side::Outer, why: Why::Behind(blocks) },
        end = pass.outward(&mut inner.intake, &mut outer.outlet, first) => end,
        end = pass.inward(&mut outer.intake, &mut inner.outlet) => end,
    };
    if let Why::Behind(blocks) = end.why {
        core.outers().lagged(placed.outer, end.to_string(), clock::now());
        core.alarm("behind", name.clone(), format!("is {blocks} blocks behind another outer peer"));
    } else if end.side == Side::Outer {
        core.outers().failed(placed.outer, end.to_string(), clock::now());
    }
    let node = core.node(leg);
    drop((pass, open, placed));
    core.telemetry.ended(leg, &node, &name, &end);
    tokio::join!(inner.part(), outer.part());
}

fn refusal(ended: &Ended) -> (&'static str, String) {
    match ended {
        Ended::Silent => ("silent", "it said nothing for too long".to_owned()),
        Ended::NoFrame(why) => ("no_frame", format!("what it sent is no frame: {why}")),
        Ended::Closed | Ended::Stalled => ("closed", "it closed before it said anything".to_owned()),
    }
}

/// Connects to the outer peer that has the fewest legs, or to the next one.
async fn dial(core: &Arc<Core>) -> Option<(Placed, TcpStream)> {
    let mut tried = Vec::new();
    loop {
        let outer = core.outers().take(&tried, clock::now())?;
        let placed = Placed { core: core.clone(), outer };
        let name = &core.config().outer[outer];
        let why = match timeout(core.config().connect_timeout, TcpStream::connect(&**name)).await {
            Ok(Ok(stream)) => {
                // Only latency is lost where it cannot be set.
                let _ = stream.set_nodelay(true);
                return Some((placed, stream));
            }
            Ok(Err(why)) => why.to_string(),
            Err(_) => format!("no connection within {:?}", core.config().connect_timeout),
        };
        core.telemetry.unreachable(name, &why);
        core.outers().failed(outer, why, clock::now());
        tried.push(outer);
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

/// What passes on a leg.
struct Passage<'a> {
    core: &'a Arc<Core>,
    leg: Leg,
    filter: Mutex<Filter>,
    /// Where legs tell each other's nodes what they hear.
    line: Option<Line>,
    /// The place of its outer peer.
    outer: usize,
}

impl Passage<'_> {
    async fn outward<R, W>(&self, from: &mut Intake<R>, to: &mut Outlet<W>, first: Frame) -> End
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let inner = |ended| End { side: Side::Inner, why: Why::Ended(ended) };
        let mut decided = self.core.watch_decided();
        let mut next = Some(first);
        let mut shown = Shown::new(self.core.config().peer_keys.clone());
        // When the blocks of ours were here that wait to be written.
        let mut here = Vec::new();
        loop {
            while let Some(frame) = next {
                if let Err(what) = shown.frame(&frame) {
                    return End { side: Side::Inner, why: Why::Key(what) };
                }
                if let Some(line) = &self.line {
                    line.sent(&frame);
                }
                // What happens from now on may put an end to a block's waiting.
                decided.mark_unchanged();
                match self.core.outward(self.leg, &self.filter, &frame) {
                    Outward::Pass => {
                        to.push(&frame);
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
            next = match from.more(self.core.config().silence_timeout).await.and_then(|_| from.here()) {
                Ok(next) => next,
                Err(ended) => return inner(ended),
            };
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

    async fn inward<R, W>(&self, from: &mut Intake<R>, to: &mut Outlet<W>) -> End
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let outer = |why| End { side: Side::Outer, why };
        let mut greeted = false;
        loop {
            loop {
                // Before the next frame is looked at: it may build on what waits.
                self.others(to);
                let frame = match from.here() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(ended) => return outer(Why::Ended(ended)),
                };
                if !greeted {
                    greeted = true;
                    self.core.outers().well(self.outer);
                }
                match self.core.inward(self.leg, &self.filter, &frame) {
                    Inward::Pass => self.pass_in(&frame, to),
                    Inward::Double(double) => {
                        self.core.doubled(self.leg, &double);
                        self.pass_in(&frame, to);
                    }
                    Inward::Drop(why) => self.core.dropped(self.leg, "in", frame.kind(), why),
                    Inward::Close => return outer(Why::GoAway(reason(&frame))),
                }
            }
            if let Err(end) = self.write_in(to).await {
                return end;
            }
            let config = &self.core.config();
            let within = if greeted { config.silence_timeout } else { config.first_frame_timeout };
            let until = Instant::now() + within;
            loop {
                let left = until.saturating_duration_since(Instant::now());
                tokio::select! {
                    biased;
                    more = from.more(left) => match more {
                        Ok(_) => break,
                        Err(ended) => return outer(Why::Ended(ended)),
                    },
                    () = self.woken() => {
                        self.others(to);
                        if let Err(end) = self.write_in(to).await {
                            return end;
                        }
                    }
                }
            }
        }
    }

    /// Passes a frame of the leg's own outer peer on to its node, and tells the others of it.
    fn pass_in<W: AsyncWrite + Unpin>(&self, frame: &Frame, to: &mut Outlet<W>) {
        let Some(line) = &self.line else { return to.push(frame) };
        let heard = line.heard(frame);
        self.core.telemetry.told(frame.kind(), &heard);
        if heard.is_copy {
            self.core.dropped(self.leg, "in", frame.kind(), Dropped::Repeated);
        } else {
            to.push(frame);
        }
    }

    /// Puts what the other legs' outer peers have said behind what is to be written to the node.
    fn others<W: AsyncWrite + Unpin>(&self, to: &mut Outlet<W>) {
        if let Some(line) = &self.line {
            line.take().iter().for_each(|frame| to.push(frame));
        }
    }

    /// Waits until the other legs' outer peers have said something; for ever if that is none of its node's business.
    async fn woken(&self) {
        match &self.line {
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

/// What a `go_away` says.
fn reason(frame: &Frame) -> &'static str {
    match frame.message() {
        Ok(Message::GoAway(go_away)) => go_away.reason.name(),
        _ => "unreadable",
    }
}
