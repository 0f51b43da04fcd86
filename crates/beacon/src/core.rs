//! The state of all guards, and the one place where findings become open and closed gates.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard as Loaded};
use http::HeaderValue;
use mainstay_wire::client::{self, BadEndpoint, Client};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::check::{Condition, Flip, Rules};
use crate::clock;
use crate::config::{Builtin, Config, Guarded};
use crate::finding::{Finding, Verdict};
use crate::fleet::{self, Chain, Fork, Known};
use crate::gate::{Gate, Gates, Opening};
use crate::guard::{Grade, Guard, Turn};
use crate::own::{self, Connect, OwnCheck};
use crate::refusal::{Reason, refusal};
use crate::telemetry::{Metrics, Telemetry};

/// Longest answer to a check.
const MAX_ANSWER: usize = 4 << 20;
/// What the check of traffic is called.
pub(crate) const TRAFFIC: &str = "traffic";

/// A guard, with what its shells need.
pub(crate) struct Post {
    /// Its place among all.
    pub(crate) index: usize,
    /// The settings that it was made of.
    pub(crate) settings: Arc<Config>,
    /// Unique among those that the guard has had: what an earlier one still sees doesn't count.
    generation: u64,
    /// Ends its rounds.
    pub(crate) over: CancellationToken,
    pub(crate) config: Guarded,
    /// For clients' requests.
    pub(crate) node: Client,
    /// For checks: its connections are its own, and its answers are small.
    pub(crate) asked: Client,
    pub(crate) execution: Option<Client>,
    /// What the operator's own checks ask with.
    pub(crate) context: own::Context,
    /// What stands before every path.
    pub(crate) prefix: String,
    /// Its name, as replies have it.
    pub(crate) served_by: Option<HeaderValue>,
    pub(crate) gates: Arc<Gates>,
    /// Names of the checks, traffic's last.
    pub(crate) checks: Vec<Arc<str>>,
    /// Which of mainstay's own checks are made, by their place in `checks`.
    builtins: Vec<Builtin>,
    /// The operator's own, after those in `checks`.
    own: Vec<Arc<OwnCheck>>,
    pub(crate) telemetry: Telemetry,
    /// Makes all checks now.
    pub(crate) recheck: Notify,
    /// How long the last answer to a check took, in microseconds; 0: none yet.
    pub(crate) latency_us: AtomicU64,
}

impl Post {
    /// The place of a check in this guard; `None` if it isn't made.
    pub(crate) fn place(&self, check: Builtin) -> Option<usize> {
        self.builtins.iter().position(|made| *made == check)
    }

    /// The operator's own checks with their places.
    pub(crate) fn own(&self) -> impl Iterator<Item = (usize, &Arc<OwnCheck>)> {
        (self.builtins.len()..).zip(&self.own)
    }

    /// Those of its checks, without that of traffic.
    fn rules(&self) -> Vec<Rules> {
        let settings = &self.settings;
        let own = self.own.iter().map(|check| check.tuning.over(settings.timing));
        let timings = self.builtins.iter().map(|check| settings.timing_of(*check)).chain(own);
        timings.map(|timing| timing.rules).collect()
    }

    /// Whether another one is before the same nodes.
    fn is_before_the_same(&self, other: &Self) -> bool {
        let execution = |post: &Self| post.config.execution_node.as_ref().map(|node| node.url.clone());
        self.config.beacon_node == other.config.beacon_node && execution(self) == execution(other)
    }

    fn traffic(&self) -> usize {
        self.checks.len() - 1
    }
}

/// What changes.
struct State {
    /// Those that see for the guards now, see [`Post`].
    generations: Vec<u64>,
    guards: Vec<Guard>,
    known: Vec<Known>,
    /// Whether the guard is open.
    open: Vec<bool>,
    /// Why the guard is as it is, since when.
    since: Vec<Instant>,
    openings: Vec<Arc<Opening>>,
    /// When the chain was learned; `None` if it is to be learned anew.
    learned: Vec<Option<Instant>>,
    /// When the operator gave it back last.
    undrained: Vec<Option<Instant>>,
}

/// All of a role.
pub(crate) struct Core {
    config: ArcSwap<Config>,
    posts: Vec<ArcSwap<Post>>,
    metrics: Metrics,
    state: Mutex<State>,
    /// Somebody may become fit by time alone.
    turn: Notify,
    pub(crate) stop: CancellationToken,
}

impl Core {
    /// `connect` makes the clients for the guards' nodes.
    pub(crate) fn new(config: Config, metrics: &Metrics, connect: Connect<'_>) -> Result<Self, BadEndpoint> {
        let now = clock::now();
        let config = Arc::new(config);
        let stop = CancellationToken::new();
        let mut posts = Vec::new();
        let mut guards = Vec::new();
        for (index, guarded) in config.guards.iter().enumerate() {
            let post = post(index, guarded, &config, metrics, connect, (&stop, None))?;
            let rules = post.rules();
            let guard = Guard::new(&rules, config.timing.rules, config.warm_up, now);
            let holds = guard.checks().iter().map(|check| *check.condition() == Condition::Holds);
            post.telemetry.begins(holds, clock::unix());
            guards.push(guard);
            posts.push(ArcSwap::from_pointee(post));
        }
        let count = posts.len();
        let state = State {
            generations: vec![0; count],
            guards,
            known: vec![Known::default(); count],
            open: vec![false; count],
            since: vec![now; count],
            openings: vec![Arc::default(); count],
            learned: vec![None; count],
            undrained: vec![None; count],
        };
        let core = Self {
            config: ArcSwap::new(config),
            posts,
            metrics: metrics.clone(),
            state: Mutex::new(state),
            turn: Notify::new(),
            stop,
        };
        core.settle(&mut core.state(), now);
        Ok(core)
    }

    /// The settings of this moment.
    pub(crate) fn config(&self) -> Loaded<Arc<Config>> {
        self.config.load()
    }

    /// The posts of this moment, in the order of the guards.
    pub(crate) fn posts(&self) -> Vec<Arc<Post>> {
        self.posts.iter().map(ArcSwap::load_full).collect()
    }

    /// A guard's post of this moment; guards neither come nor go.
    pub(crate) fn post(&self, index: usize) -> Arc<Post> {
        self.posts[index].load_full()
    }

    /// Makes the posts that other settings ask for. Nothing changes yet.
    ///
    /// # Errors
    /// What about a URL can't be used.
    pub(crate) fn prepare(
        &self,
        config: &Arc<Config>,
        connect: Connect<'_>,
    ) -> Result<Vec<Post>, BadEndpoint> {
        let of = |(index, guarded): (usize, &Guarded)| {
            let old = self.post(index);
            post(index, guarded, config, &self.metrics, connect, (&self.stop, Some(&old)))
        };
        config.guards.iter().enumerate().map(of).collect()
    }

    /// From now on these settings hold, and these posts see for the guards. A guard before the same nodes stays as open as it is, and a check
    /// that it didn't have holds until its rounds say otherwise. One before another node is closed until all its checks hold, as at the start.
    pub(crate) fn replace(&self, config: Arc<Config>, posts: Vec<Post>) {
        let now = clock::now();
        let mut state = self.state();
        self.config.store(config.clone());
        for (slot, post) in self.posts.iter().zip(posts) {
            let (old, i) = (slot.load_full(), post.index);
            let rules = post.rules();
            if old.is_before_the_same(&post) {
                let before = |check: &Arc<str>| old.checks.iter().position(|old| old == check);
                let own = post.checks.iter().take(rules.len());
                let checks: Vec<_> = rules.iter().copied().zip(own.map(before)).collect();
                state.guards[i].renew(&checks, config.timing.rules, config.warm_up, now);
            } else {
                state.guards[i].restart(&rules, config.timing.rules, config.warm_up, now);
                state.known[i] = Known::default();
                state.learned[i] = None;
            }
            let holds = state.guards[i].checks().iter().map(|check| *check.condition() == Condition::Holds);
            post.telemetry.follows(&old.telemetry, holds, clock::unix());
            state.generations[i] = post.generation;
            slot.store(Arc::new(post));
            old.over.cancel();
        }
        self.settle(&mut state, now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a round of a check that began at `began`. `reached` says that the beacon node itself answered.
    pub(crate) fn observe(&self, post: &Post, check: usize, finding: Finding, began: Instant, reached: bool) {
        let now = clock::now();
        post.telemetry.round(check, now.saturating_duration_since(began));
        let mut state = self.state();
        let i = post.index;
        if state.generations[i] != post.generation {
            return;
        }
        if finding.verdict == Verdict::Gone {
            state.learned[i] = None;
        }
        let flip = state.guards[i].observe(check, finding, now);
        tell(post, check, flip);
        if reached {
            let flip = state.guards[i].reached(began, now);
            tell(post, post.traffic(), flip);
        }
        self.settle(&mut state, now);
    }

    /// A client's request broke, for the node's sake.
    pub(crate) fn broke(&self, post: &Post, saw: &str) {
        let now = clock::now();
        let mut state = self.state();
        if state.generations[post.index] != post.generation {
            return;
        }
        state.learned[post.index] = None;
        let flip = state.guards[post.index].broke(saw, now);
        tell(post, post.traffic(), flip);
        self.settle(&mut state, now);
        drop(state);
        post.recheck.notify_waiters();
    }

    /// Judges the guard's head against the others'.
    pub(crate) fn judge_lag(&self, post: &Post) -> Finding {
        let state = self.state();
        let clock = slot(state.known[post.index].chain.as_ref());
        fleet::lag(&state.known, post.index, self.config().max_lag, clock)
    }

    /// Judges the guard's chain against the others'.
    pub(crate) fn judge_chain(&self, post: &Post) -> Finding {
        fleet::same_chain(&self.state().known, post.index)
    }

    /// The guard's node is at this slot.
    pub(crate) fn saw_head(&self, post: &Post, head: u64) {
        self.of(post, |state| state.known[post.index].head = Some(head));
    }

    /// The guard's node is on this fork.
    pub(crate) fn saw_fork(&self, post: &Post, fork: Option<Fork>) {
        self.of(post, |state| state.known[post.index].fork = fork);
    }

    /// The guard's chain was learned.
    pub(crate) fn learned(&self, post: &Post, chain: Chain) {
        self.of(post, |state| {
            state.known[post.index].chain = Some(chain);
            state.learned[post.index] = Some(clock::now());
        });
    }

    /// Changes something that a post saw, unless another one sees for the guard by now.
    fn of(&self, post: &Post, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        if state.generations[post.index] == post.generation {
            change(&mut state);
        }
    }

    /// The guard's chain, if it was learned and nothing speaks for another since; and its head.
    pub(crate) fn chain(&self, post: &Post, max_age: Duration) -> Option<(Chain, Option<u64>)> {
        let state = self.state();
        let known = &state.known[post.index];
        let learned = state.learned[post.index]?;
        (clock::now().saturating_duration_since(learned) < max_age).then_some(())?;
        Some((known.chain.clone()?, known.head))
    }

    /// The operator closes a guard, or gives it back.
    pub(crate) fn drain(&self, post: &Post, drained: bool) {
        let now = clock::now();
        let mut state = self.state();
        if state.guards[post.index].is_drained() == drained {
            return;
        }
        state.guards[post.index].set_drained(drained);
        state.undrained[post.index] = (!drained).then_some(now);
        self.settle(&mut state, now);
    }

    /// Ends all event streams: the process ends, and they would never.
    pub(crate) fn end_streams(&self) {
        for opening in &self.state().openings {
            opening.closed.cancel();
        }
    }

    /// Opens and closes what has to be.
    fn settle(&self, state: &mut State, now: Instant) {
        for (known, guard) in state.known.iter_mut().zip(&state.guards) {
            known.counts = guard.verdict() < Verdict::Hard;
        }
        let grades: Vec<Grade> = state.guards.iter().map(|guard| guard.grade(now)).collect();
        let through = fleet::let_through(&grades, &state.open, self.config().min_fit);
        for (i, post) in self.posts().iter().enumerate() {
            let open = through[i];
            if open && !state.open[i] {
                let opening = Arc::new(state.openings[i].next());
                state.openings[i] = opening.clone();
                post.gates.set(Gate::Open(opening));
                let why = if grades[i] == Grade::Good {
                    "all checks hold"
                } else {
                    "it is the last, and better than none"
                };
                turned(post, state, true, why.to_owned(), now);
            } else if !open {
                let reasons = self.reasons(post, state, now);
                post.gates.set(Gate::Closed(Arc::new(refusal(&reasons, self.back(&grades[i], now)))));
                state.openings[i].closed.cancel();
                // Who was drained, or has few peers, still answers what it has begun.
                if state.guards[i].verdict() >= Verdict::Hard {
                    state.openings[i].lost.cancel();
                }
                if state.open[i] {
                    let why: Vec<String> =
                        reasons.iter().map(|reason| format!("{}: {}", reason.check, reason.saw)).collect();
                    turned(post, state, false, why.join("; "), now);
                }
            }
            state.open[i] = open;
        }
        self.turn.notify_one();
    }

    /// Why a guard is closed.
    fn reasons(&self, post: &Post, state: &State, now: Instant) -> Vec<Reason> {
        let guard = &state.guards[post.index];
        let mut reasons = Vec::new();
        if guard.is_drained() {
            let since = clock::wall_at(state.since[post.index]);
            reasons.push(Reason { check: "operator".to_owned(), saw: "drained".to_owned(), since });
        }
        for (place, check) in guard.failing() {
            let saw = match check.condition() {
                Condition::Fails(finding) => finding.saw.clone(),
                _ => "not yet checked".to_owned(),
            };
            let since = clock::wall_at(check.since());
            reasons.push(Reason { check: post.checks[place].to_string(), saw, since });
        }
        if let Grade::Warming { until } = guard.grade(now) {
            let left = until.saturating_duration_since(now).as_secs_f64();
            let saw = format!("all checks hold again, {left:.0} s to go");
            reasons.push(Reason {
                check: "warm_up".to_owned(),
                saw,
                since: clock::wall_at(until - self.config().warm_up),
            });
        }
        reasons
    }

    /// How long it takes at least until a closed guard opens.
    fn back(&self, grade: &Grade, now: Instant) -> Duration {
        match grade {
            Grade::Warming { until } => until.saturating_duration_since(now),
            Grade::Good => Duration::ZERO,
            Grade::Soft(_) | Grade::Hard => {
                let config = self.config();
                config.timing.interval * config.timing.rules.rise + config.warm_up
            }
        }
    }

    /// Opens guards whose time has come, until the role ends.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        loop {
            let next = {
                let (state, now) = (self.state(), clock::now());
                state
                    .guards
                    .iter()
                    .filter_map(|guard| match guard.grade(now) {
                        Grade::Warming { until } => Some(until),
                        _ => None,
                    })
                    .min()
            };
            let due = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = due => {
                    let now = clock::now();
                    self.settle(&mut self.state(), now);
                }
                () = self.turn.notified() => {}
            }
        }
    }

    /// Looks at a guard as it is.
    pub(crate) fn look<T>(&self, post: &Post, look: impl FnOnce(Look<'_>) -> T) -> T {
        let (state, now) = (self.state(), clock::now());
        let i = post.index;
        look(Look {
            guard: &state.guards[i],
            known: &state.known[i],
            open: state.open[i],
            since: state.since[i],
            undrained: state.undrained[i],
            grade: state.guards[i].grade(now),
            reasons: self.reasons(post, &state, now),
        })
    }
}

/// A guard as it is.
pub(crate) struct Look<'a> {
    pub(crate) guard: &'a Guard,
    pub(crate) known: &'a Known,
    pub(crate) open: bool,
    pub(crate) since: Instant,
    pub(crate) undrained: Option<Instant>,
    pub(crate) grade: Grade,
    pub(crate) reasons: Vec<Reason>,
}

/// The slot that it is now.
pub(crate) fn slot(chain: Option<&Chain>) -> Option<u64> {
    chain?.slot(u64::try_from(clock::unix().as_millis()).ok()?)
}

fn tell(post: &Post, check: usize, flip: Option<Flip>) {
    if let Some(flip) = flip {
        post.telemetry.check_flipped(check, flip.holds, &flip.saw, clock::unix());
    }
}

fn turned(post: &Post, state: &mut State, fit: bool, why: String, now: Instant) {
    post.telemetry.guard_flipped(fit, &why, clock::unix());
    state.since[post.index] = now;
    state.guards[post.index].note(Turn { at: now, check: None, good: fit, saw: why });
}

fn post(
    index: usize,
    guarded: &Guarded,
    config: &Arc<Config>,
    metrics: &Metrics,
    connect: Connect<'_>,
    (stop, old): (&CancellationToken, Option<&Post>),
) -> Result<Post, BadEndpoint> {
    let made = |check: &Builtin| match check {
        Builtin::Syncing | Builtin::Health | Builtin::Chain => true,
        Builtin::Execution => guarded.execution_node.is_some(),
        Builtin::Peers => guarded.min_peers > 0,
        Builtin::Subnets => guarded.attnets.is_some(),
        Builtin::Lag => config.guards.len() > 1,
    };
    let builtins: Vec<Builtin> = Builtin::ALL.into_iter().filter(made).collect();
    let own: Vec<Arc<OwnCheck>> =
        config.checks.iter().filter(|check| check.is_for(&guarded.name)).cloned().map(Arc::new).collect();
    let names = builtins.iter().map(|check| check.word()).chain(own.iter().map(|check| check.name.as_str()));
    let checks: Vec<Arc<str>> = names.chain([TRAFFIC]).map(Arc::from).collect();
    let connect: Connect<'_> = &|url, options| {
        let (idle_timeout, attest, tls) =
            (config.node_idle_timeout, config.attest.clone(), config.node_tls.clone());
        connect(url, client::Options { idle_timeout, attest, tls, ..options })
    };
    let asked = client::Options { max_reply: MAX_ANSWER, ..client::Options::default() };
    let execution = match &guarded.execution_node {
        Some(execution) => Some(connect(&execution.url, asked.clone())?),
        None => None,
    };
    // Connections to a node that stays are kept.
    let same = old.filter(|old| old.config.beacon_node == guarded.beacon_node);
    let (node, asked) = match same {
        Some(old) => (old.node.clone(), old.asked.clone()),
        None => {
            let node = connect(&guarded.beacon_node, client::Options::default())?;
            (node, connect(&guarded.beacon_node, asked)?)
        }
    };
    Ok(Post {
        index,
        settings: config.clone(),
        generation: old.map_or(0, |old| old.generation + 1),
        over: stop.child_token(),
        node,
        asked,
        execution,
        prefix: guarded.beacon_node.path().trim_end_matches('/').to_owned(),
        // The config has none that can't stand in a header.
        served_by: HeaderValue::from_str(&guarded.name).ok(),
        gates: old.map_or_else(
            || Arc::new(Gates::new(refusal(&[], config.timing.interval))),
            |old| old.gates.clone(),
        ),
        telemetry: Telemetry::new(&config.name, &guarded.name, &checks, metrics),
        checks,
        builtins,
        own,
        context: own::Context::new(guarded, connect)?,
        recheck: Notify::new(),
        latency_us: AtomicU64::new(0),
        config: guarded.clone(),
    })
}
