//! What all legs of a relay use: what is known, the decisions, the claims.
//!
//! Locks: a leg's filter, then the state; the outer peers, and what is known of tries with them, are by themselves. None is held across an await.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use mainstay_antelope::{Frame, Id, Kind, Message, Mode, Name, Slot};
use mainstay_wire::client::Duplex;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::audit::{Audit, Decision};
use crate::balance::{Balance, Try};
use crate::claims::{Answer, Bid, BoxFuture, Claims, Unavailable};
use crate::clock::{self, Wall};
use crate::config::Config;
use crate::egress::{Block, Leg, Step, begins};
use crate::filter::{Dropped, Filter, Inward, Outward};
use crate::outers::{Outer, Outers};
use crate::spread::Spread;
use crate::state::State;
use crate::telemetry::{self, Alarm, Telemetry};
use crate::{Pass, Verdict};

/// Between two questions what was published last.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Between two looks at the outer peers, which are behind and which are another relay's: a block.
const LOOK: Duration = Duration::from_millis(500);
/// For the answer to it: it isn't one that a block waits for.
const ASK_WITHIN: Duration = Duration::from_secs(1);

/// Connects to an outer peer, `HOST:PORT`: over TCP, or to what a test has in its place.
pub(crate) type Dial = Arc<dyn Fn(Arc<str>) -> BoxFuture<'static, io::Result<Box<dyn Duplex>>> + Send + Sync>;

/// Over TCP.
pub(crate) fn tcp() -> Dial {
    Arc::new(|name| {
        Box::pin(async move {
            let stream = TcpStream::connect(&*name).await?;
            // Only latency is lost where it cannot be set.
            let _ = stream.set_nodelay(true);
            Ok(Box::new(stream) as Box<dyn Duplex>)
        })
    })
}

/// A relay without its listener.
pub(crate) struct Core {
    config: ArcSwap<Config>,
    pub(crate) telemetry: Telemetry,
    pub(crate) stop: CancellationToken,
    /// Places for inner connections.
    pub(crate) places: Arc<Semaphore>,
    pub(crate) claims: Arc<dyn Claims>,
    state: Mutex<State>,
    outers: Mutex<Outers>,
    pub(crate) balance: Mutex<Balance>,
    /// The outer peer that is being tried for a leg.
    pub(crate) tries: watch::Sender<Option<Try>>,
    pub(crate) dial: Dial,
    /// Tells that a block was decided about, or came from outside.
    decided: watch::Sender<()>,
    /// Whether the chain is known, and what was published on it last: nothing is claimed before.
    ready: watch::Sender<bool>,
    /// Legs whose outer peers are too far behind, and by how many blocks.
    lagging: watch::Sender<BTreeMap<Leg, u32>>,
    pub(crate) audit: Option<Audit>,
    /// What legs tell each other's nodes, if they do.
    pub(crate) spread: Option<Arc<Spread>>,
    pub(crate) wall: Wall,
}

impl Core {
    /// `claims` for the place that the settings name, `audit` for the file.
    pub(crate) fn start(
        config: Config,
        claims: Arc<dyn Claims>,
        audit: Option<Audit>,
        telemetry: Telemetry,
        wall: Wall,
    ) -> Arc<Self> {
        Self::start_over(config, claims, audit, telemetry, wall, tcp())
    }

    /// As [`Core::start`], with outer peers that are reached in another way.
    pub(crate) fn start_over(
        config: Config,
        claims: Arc<dyn Claims>,
        audit: Option<Audit>,
        telemetry: Telemetry,
        wall: Wall,
        dial: Dial,
    ) -> Arc<Self> {
        let core = Arc::new(Self {
            state: Mutex::new(State::new(&config)),
            outers: Mutex::new(Outers::new(config.outer.len())),
            balance: Mutex::new(Balance::of(config.spread_after)),
            tries: watch::Sender::new(None),
            dial,
            places: Arc::new(Semaphore::new(config.max_legs)),
            decided: watch::Sender::new(()),
            ready: watch::Sender::new(false),
            lagging: watch::Sender::default(),
            stop: CancellationToken::new(),
            spread: config.fan_inward.then(Arc::default),
            config: ArcSwap::from_pointee(config),
            telemetry,
            claims,
            audit,
            wall,
        });
        let chain = core.config().chain_id;
        if let Some(chain) = chain {
            core.clone().prepare(chain);
        }
        core.clone().look_at_outers();
        core
    }

    /// Looks again and again which outer peers are behind, which another relay uses, and whether a leg is to be moved.
    fn look_at_outers(self: Arc<Self>) {
        let stop = self.stop.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            let mut looks = every(LOOK);
            loop {
                looks.tick().await;
                let config = self.config();
                let outers = config.outer.len();
                let mut behind = vec![0; outers];
                let (lagging, shared) = {
                    let mut state = self.state();
                    for (leg, known) in state.legs() {
                        // One that has come since isn't in this list yet.
                        if let Some(behind) = behind.get_mut(known.outer) {
                            *behind = state.lag.behind(*leg).max(*behind);
                        }
                    }
                    let shared = |outer| state.shared_with(&config, outer).is_some();
                    let shared: Vec<bool> = (0..outers).map(shared).collect();
                    (state.lag.judge(clock::now()), shared)
                };
                let used: Vec<bool> = self.outers().view().map(Outer::is_used).collect();
                for (((name, blocks), is_shared), used) in
                    config.outer.iter().zip(behind).zip(shared).zip(used)
                {
                    if used {
                        self.telemetry.outer(name, blocks, is_shared);
                    } else {
                        self.telemetry.forget_outer(name);
                    }
                }
                self.lagging.send_replace(lagging);
                self.look_for_moves();
            }
        }));
    }

    /// Waits until the outer peer of a leg is too far behind; by how many blocks.
    pub(crate) async fn is_behind(&self, leg: Leg) -> u32 {
        let mut lagging = self.lagging.subscribe();
        let behind = lagging.wait_for(|lagging| lagging.contains_key(&leg)).await;
        // The sender is there as long as this is.
        behind.ok().and_then(|behind| behind.get(&leg).copied()).unwrap_or_default()
    }

    /// The settings of this moment. Outer peers keep their places in it for ever.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// From now on these settings hold; legs go on. Places in `config.outer` are those of before, with new ones behind them; of which `used` are
    /// those that new legs may go to.
    pub(crate) fn set_config(&self, config: Config, used: &[Arc<str>]) {
        let config = Arc::new(config);
        // Whoever gets a place finds its name.
        self.config.store(config.clone());
        self.outers().set(config.outer.iter().map(|name| used.contains(name)));
        self.balance().set(config.spread_after);
        self.state().reconfigure(&config);
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // What is under the lock is no worse for a panic of who held it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn outers(&self) -> MutexGuard<'_, Outers> {
        self.outers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of every block that is decided about from now on.
    pub(crate) fn watch_decided(&self) -> watch::Receiver<()> {
        self.decided.subscribe()
    }

    /// Whether claims can be asked.
    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// What is to be done with a frame of an inner node.
    pub(crate) fn outward(&self, leg: Leg, filter: &Mutex<Filter>, frame: &Frame) -> Outward {
        let mut filter = filter.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(alone) = filter.outward_alone(frame, clock::now()) {
            return alone;
        }
        let mut state = self.state();
        if let Ok(Message::Handshake(handshake)) = of_kind(frame, Kind::Handshake) {
            state.greeted_inside(&self.config(), leg, frame, &handshake);
        }
        filter.outward_shared(frame, &mut state.shared, clock::both(self.wall))
    }

    /// What is to be done with a frame of an outer peer.
    pub(crate) fn inward(self: &Arc<Self>, leg: Leg, filter: &Mutex<Filter>, frame: &Frame) -> Inward {
        let mut filter = filter.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(alone) = filter.inward_alone(frame, clock::now()) {
            return alone;
        }
        let mut state = self.state();
        let mut foreign = None;
        if let Ok(Message::Handshake(handshake)) = of_kind(frame, Kind::Handshake) {
            if state.greeted_outside(&self.config(), leg, &handshake) {
                self.telemetry.chain(handshake.chain_id);
                self.clone().prepare(handshake.chain_id);
            }
            foreign = state.chain().filter(|chain| *chain != handshake.chain_id).map(|_| handshake.chain_id);
        }
        let done = filter.inward_shared(frame, &mut state.shared, clock::both(self.wall));
        if let Some(chain) = foreign {
            let outer = state.legs().get(&leg).map_or(0, |known| known.outer);
            drop(state);
            self.alarm("chain", self.config().outer[outer].clone(), format!("is on another chain, {chain}"));
            return done;
        }
        if let Some(Ok(header)) = frame.block_header() {
            if let Some(known) = state.leg_mut(leg) {
                known.outside.head = header.block_num();
            }
            let is_live = self.is_live(header.slot);
            state.lag.sent(leg, header.block_num(), is_live);
            let gaps = self.public(&mut state, header.producer, header.slot, None);
            drop(state);
            self.missed(&gaps);
            if self.config().rules.producers.contains(&header.producer) {
                self.decided.send_replace(());
            }
        } else {
            told(&mut state, leg, frame);
        }
        done
    }

    /// A block is public. Slots of ours that nobody filled, as is certain since; blocks of long ago, as nodes that sync are sent, tell nothing of
    /// that.
    fn public(
        &self,
        state: &mut State,
        producer: Name,
        slot: Slot,
        node: Option<&Arc<str>>,
    ) -> Vec<(Name, usize)> {
        if self.is_live(slot) { state.rounds.public(producer, slot, node) } else { Vec::new() }
    }

    /// Whether a slot is about now.
    fn is_live(&self, slot: Slot) -> bool {
        let (late, now, begins) = (self.config().rules.late, (self.wall)(), begins(slot));
        let away = now.duration_since(begins).or_else(|_| begins.duration_since(now));
        away.is_ok_and(|away| away <= late)
    }

    fn missed(&self, gaps: &[(Name, usize)]) {
        for (producer, gaps) in gaps {
            self.telemetry.missed(*producer, *gaps);
        }
    }

    /// The rest of the way to a block's verdict; `decided` has been marked as seen before its first step.
    pub(crate) async fn decide(
        &self,
        leg: Leg,
        block: &Block,
        mut step: Step,
        decided: &mut watch::Receiver<()>,
    ) -> Verdict {
        let verdict = loop {
            step = match step {
                Step::Settled(verdict) => break verdict,
                Step::Hold(wait) => {
                    let _ = timeout(wait, decided.changed()).await;
                    self.state().shared.egress.before_claim(leg, block, (self.wall)())
                }
                Step::Claim(bid) => {
                    let answer = self.claim(bid).await;
                    self.state().shared.egress.after_claim(leg, block, &bid, answer)
                }
            }
        };
        self.conclude(leg, block, verdict);
        verdict
    }

    async fn claim(&self, bid: Bid) -> Result<Answer, Unavailable> {
        let asked = Instant::now();
        let asking = async {
            let mut ready = self.ready.subscribe();
            // It ends with the relay only.
            let _ = ready.wait_for(|ready| *ready).await;
            self.claims.claim(bid).await
        };
        let answer = match timeout(self.config().claims_timeout, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(Unavailable(format!("no answer within {:?}", self.config().claims_timeout))),
        };
        self.telemetry.claimed(&answer, asked.elapsed());
        if let Err(why) = &answer {
            self.state().claims_failed = Some((clock::now(), why.to_string()));
            self.alarm("claims", "claims".into(), why.to_string());
        }
        answer
    }

    /// A block has its verdict.
    fn conclude(&self, leg: Leg, block: &Block, verdict: Verdict) {
        let mut state = self.state();
        let Some(known) = state.leg_mut(leg) else { return };
        known.inner.head = block.number();
        let node = known.name.clone();
        let gaps = match verdict {
            Verdict::Pass(Pass::Win | Pass::Same | Pass::Open) => {
                self.public(&mut state, block.producer, block.slot, Some(&node))
            }
            _ => Vec::new(),
        };
        if verdict.passes() {
            state.lag.given(leg, block.number());
        }
        let chain = state.chain().unwrap_or(Id::ZERO);
        let parent_public = state.shared.egress.is_public(&block.previous);
        drop(state);
        self.missed(&gaps);
        self.telemetry.decided(leg, &node, block, verdict);
        if verdict == Verdict::Pass(Pass::Other) {
            return;
        }
        self.decided.send_replace(());
        if verdict.alarms() {
            let what = format!(
                "block {} of {} for slot {}: {verdict}",
                block.number(),
                block.producer,
                block.slot.0
            );
            self.alarm(verdict.word(), node.clone(), what);
        }
        // A node that syncs through has thousands of them, and each passes.
        if let Some(audit) = self.audit.as_ref().filter(|_| verdict != Verdict::Pass(Pass::History)) {
            let at = (self.wall)();
            let decision = Decision { at, chain, leg, node, block: *block, parent_public, verdict };
            if !audit.tell(decision) {
                let what =
                    "the file can't be written, or not as fast as there is something to write".to_owned();
                self.alarm("audit", "audit".into(), what);
            }
        }
    }

    /// A frame of a leg that is no block isn't passed on.
    pub(crate) fn dropped(&self, leg: Leg, way: &'static str, kind: Kind, why: Dropped) {
        self.telemetry.dropped(way, why);
        let what = match why {
            Dropped::Pinned(other) => {
                let other = self.node(other);
                format!("votes with a finalizer key that {other} votes with: give each node its own")
            }
            Dropped::Unreadable => format!("sent a {kind} that can't be read, which may be one of ours"),
            Dropped::Repeated | Dropped::Private | Dropped::Version => return,
        };
        let word = if why == Dropped::Unreadable { "unreadable" } else { "pinned" };
        self.alarm(word, self.node(leg), what);
    }

    /// There are two public blocks for a slot.
    pub(crate) fn doubled(&self, leg: Leg, double: &crate::egress::Double) {
        self.alarm("double", self.node(leg), telemetry::double(double));
    }

    pub(crate) fn alarm(&self, kind: &'static str, node: Arc<str>, what: String) {
        let alarm = Alarm { kind, node, what };
        self.telemetry.alarm(&alarm);
        self.state().raise(alarm, clock::now());
    }

    /// What the node of a leg is called.
    pub(crate) fn node(&self, leg: Leg) -> Arc<str> {
        self.state().legs().get(&leg).map_or_else(|| "unknown".into(), |known| known.name.clone())
    }

    /// Learns what was published last, then lets claims be asked.
    fn prepare(self: Arc<Self>, chain: Id) {
        let stop = self.stop.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            for producer in &self.config().rules.producers {
                while let Err(why) = self.learn(chain, *producer).await {
                    self.telemetry.waits_for_claims(&why);
                    tokio::time::sleep(ASK_AGAIN).await;
                }
            }
            self.ready.send_replace(true);
            self.tell_siblings();
        }));
    }

    async fn learn(&self, chain: Id, producer: Name) -> Result<(), Unavailable> {
        let latest = match timeout(ASK_WITHIN, self.claims.latest(chain, producer)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(Unavailable(format!("no answer within {ASK_WITHIN:?}"))),
        };
        if let Some(latest) = latest {
            self.state().shared.egress.published(producer, latest);
        }
        Ok(())
    }
}

/// Now and after each `period`. What was missed, as the machine had no time, isn't made up for.
pub(crate) fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// An outer peer has sent what may name a block that it has.
fn told(state: &mut State, leg: Leg, frame: &Frame) {
    if let Ok(Message::Notice(notice)) = of_kind(frame, Kind::Notice)
        && notice.known_blocks.mode != Mode::NONE
        && let Some(head) = notice.known_blocks.ids.iter().next()
    {
        state.lag.told(leg, head.block_num());
    }
    // That comes in a block's place to a node that has it from elsewhere, by another relay say.
    if let Ok(Message::BlockNotice(notice)) = of_kind(frame, Kind::BlockNotice) {
        state.lag.sent(leg, notice.id.block_num(), false);
    }
}

/// The message of a frame, if it is of a kind. Any error says that it isn't, or can't be read.
fn of_kind(frame: &Frame, kind: Kind) -> Result<Message<'_>, ()> {
    if frame.kind() == kind { frame.message().map_err(|_| ()) } else { Err(()) }
}
