//! One execution client (EL) as the role holds it: its connection pool, its state, and calls to it.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use mainstay_node::{Cause, Condition, Health, NodeSpec, Tier};
use mainstay_otel::Trace;
use mainstay_wire::client::{CallError, Delivered, Transport};
use mainstay_wire::envelope::{self, Reply};
use mainstay_wire::jwt::{self, Claims, Secret};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ballot::Part;
use crate::config::NodeConfig;
use crate::feed::Feed;
use crate::latency::Latency;
use crate::standing::Standing;

/// Locks a mutex that is only ever held for a few lines without an await; a panic while it was held doesn't matter, since
/// every state in here is consistent between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who calls: what of the consensus client's token is handed on.
#[derive(Clone, Default)]
pub struct Caller {
    /// Claim `id`.
    pub id: Option<String>,
    /// Claim `clv`.
    pub clv: Option<String>,
    /// The token itself, for nodes that calls aren't signed for.
    pub token: Option<Arc<str>>,
    /// It is mainstay that asks: of nodes that calls aren't signed for with the last token that one of them took, if there is one. To
    /// be lent to nobody.
    is_mainstay: bool,
    /// Where its call stands in its trace; nothing for what outlives it.
    pub trace: Trace,
}

impl Caller {
    /// A consensus client with these claims, if it has any, and this token.
    #[must_use]
    pub fn new(id: Option<String>, clv: Option<String>, token: Option<Arc<str>>) -> Self {
        Self { id, clv, token, is_mainstay: false, trace: Trace::default() }
    }

    /// The same, for what is kept beyond the call.
    #[must_use]
    pub fn untraced(&self) -> Self {
        Self { trace: Trace::default(), ..self.clone() }
    }

    /// mainstay itself with what the caller has sent before: a node takes a token for a minute only, and others may have come since.
    #[must_use]
    pub fn repeated(&self) -> Self {
        Self { is_mainstay: true, ..self.untraced() }
    }

    /// mainstay itself: for probes.
    #[must_use]
    pub fn mainstay() -> Self {
        Self { is_mainstay: true, ..Self::default() }
    }

    /// The token for a node: its secret signs the caller's claims; without a secret it is the caller's own.
    #[must_use]
    pub fn token_for(&self, secret: Option<&Secret>) -> Option<Cow<'_, str>> {
        let Some(secret) = secret else { return self.token.as_deref().map(Cow::Borrowed) };
        let claims =
            Claims { id: self.id.clone(), clv: self.clv.clone(), ..Claims::at(crate::clock::wall()) };
        Some(Cow::Owned(jwt::sign(secret, &claims)))
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("id", &self.id).field("clv", &self.clv).finish_non_exhaustive()
    }
}

/// The last token that a node took, kept for nodes that calls aren't signed for: probes have no caller.
#[derive(Clone, Default)]
pub struct Passed(Arc<Mutex<Option<Arc<str>>>>);

impl Passed {
    fn get(&self) -> Option<Arc<str>> {
        lock(&self.0).clone()
    }

    fn took(&self, token: &Arc<str>) {
        let mut last = lock(&self.0);
        if last.as_ref() != Some(token) {
            *last = Some(token.clone());
        }
    }

    /// It is too old by now, or its sender is gone.
    fn refused(&self, token: &str) {
        let mut last = lock(&self.0);
        if last.as_deref() == Some(token) {
            *last = None;
        }
    }
}

/// What changes about a node.
#[derive(Debug)]
pub struct State {
    /// How fit it is.
    pub health: Health,
    /// What its vote is worth.
    pub standing: Standing,
    /// How fast it answers newPayload.
    pub payload_latency: Latency,
    /// How fast it answers forkchoiceUpdated.
    pub forkchoice_latency: Latency,
    /// When it last said which chain it is on.
    pub chain_seen: Option<Instant>,
    /// How fast it answered the last probe.
    pub probe_took: Option<Duration>,
    /// Its client, as `name/version`.
    pub client: Option<String>,
    /// Blocks that it lacks beyond what can be replayed.
    pub gap: Option<u64>,
    /// Replays in a row that didn't bring it to the head.
    pub replays_in_vain: u32,
}

/// What of a node's settings may change while it serves.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Its tier.
    pub tier: Tier,
    /// Lowers the deadline of calls to it.
    pub timeout: Option<Duration>,
    /// What calls to it are signed with.
    pub secret: Option<Secret>,
}

impl From<&NodeConfig> for Tuning {
    fn from(config: &NodeConfig) -> Self {
        Self { tier: config.spec.tier, timeout: config.spec.timeout, secret: config.secret.clone() }
    }
}

/// An execution client.
pub struct Node {
    /// Stable identity.
    pub id: u64,
    /// Address and name. What else it says is of the start, see [`Node::tune`].
    pub spec: NodeSpec,
    /// Its queue of voted calls.
    pub feed: Feed,
    /// Wakes its prober.
    pub probe: Notify,
    /// Ends its tasks, once the call that it has in hand is over.
    pub removed: CancellationToken,
    /// Ends that call too.
    pub given_up: CancellationToken,
    tuning: ArcSwap<Tuning>,
    passed: Passed,
    /// It has answered a call without a token, and refused none since.
    open: AtomicBool,
    transport: Arc<dyn Transport>,
    state: Mutex<State>,
}

/// A call without a usable reply.
#[derive(Clone, Debug)]
pub struct Failed {
    /// What it says of the node.
    pub cause: Cause,
    /// Whether the node may have got the call.
    pub delivered: Delivered,
    /// For logs: holds neither URL nor secret.
    pub detail: String,
}

impl Node {
    /// A node, with nothing known of it.
    #[must_use]
    pub fn new(
        id: u64,
        config: NodeConfig,
        health: mainstay_node::Rules,
        feed: Feed,
        given_up: CancellationToken,
        passed: Passed,
        transport: Arc<dyn Transport>,
    ) -> Self {
        let mut standing = Standing::default();
        standing.do_not_use = config.spec.do_not_use;
        let state = State {
            health: Health::new(health, Instant::now().into_std()),
            standing,
            payload_latency: Latency::default(),
            forkchoice_latency: Latency::default(),
            chain_seen: None,
            probe_took: None,
            client: None,
            gap: None,
            replays_in_vain: 0,
        };
        let tuning = ArcSwap::from_pointee(Tuning::from(&config));
        let spec = config.spec;
        let (probe, state) = (Notify::new(), Mutex::new(state));
        let open = AtomicBool::new(false);
        let removed = given_up.child_token();
        Self { id, spec, feed, probe, removed, given_up, tuning, passed, open, transport, state }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its tier.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tuning.load().tier
    }

    /// From the next call on another tier, timeout and secret hold, and its vote counts or doesn't.
    pub(crate) fn tune(&self, config: &NodeConfig) {
        self.tuning.store(Arc::new(Tuning::from(config)));
        self.state().standing.do_not_use = config.spec.do_not_use;
    }

    /// A secret that it shares with others is another one from the next call on.
    pub(crate) fn replace_secret(&self, old: &Secret, new: &Secret) {
        let tuning = self.tuning.load_full();
        if tuning.secret.as_ref() == Some(old) {
            self.tuning.store(Arc::new(Tuning { secret: Some(new.clone()), ..Tuning::clone(&tuning) }));
        }
    }

    /// Its state; hold it for a few lines only.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Its condition.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.state().health.condition().clone()
    }

    /// Its part in the next round.
    #[must_use]
    pub fn part(&self) -> Part {
        let state = self.state();
        state.standing.part(state.health.condition())
    }

    /// Fit, and the operator lets it serve.
    #[must_use]
    pub fn serves(&self) -> bool {
        let state = self.state();
        *state.health.condition() == Condition::Fit && state.standing.may_serve()
    }

    /// The operator lets it serve, and it isn't on another chain. It may be down.
    #[must_use]
    pub fn may_be_asked(&self) -> bool {
        let state = self.state();
        state.standing.may_serve() && !matches!(state.health.condition(), Condition::Misconfigured { .. })
    }

    /// The shorter of its own timeout and `limit`.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Duration {
        self.tuning.load().timeout.map_or(limit, |own| own.min(limit))
    }

    /// Whether calls to it are signed here; else they carry the caller's token.
    #[must_use]
    pub fn signs(&self) -> bool {
        self.tuning.load().secret.is_some()
    }

    /// Whether it can be asked without a caller: calls are signed for it, there is a caller's token that it took, or it wants none.
    #[must_use]
    pub fn takes_probes(&self) -> bool {
        self.signs() || self.open.load(Ordering::Relaxed) || self.passed.get().is_some()
    }

    /// Calls it and reads the reply's envelope. Health is not touched: see [`Node::traffic`].
    ///
    /// # Errors
    /// [`Failed`]: no reply by `deadline`, or one that isn't JSON-RPC.
    pub async fn call(&self, body: Bytes, caller: &Caller, deadline: Instant) -> Result<Reply, Failed> {
        let tuning = self.tuning.load_full();
        let secret = tuning.secret.as_ref();
        let kept = if secret.is_none() && caller.is_mainstay { self.passed.get() } else { None };
        let token = kept.as_deref().map(Cow::Borrowed).or_else(|| caller.token_for(secret));
        let reply = match self.traced(&body, token.as_deref(), &caller.trace) {
            None => self.transport.post(body, token.as_deref(), deadline).await,
            Some(request) => self.transport.send(request, deadline).await,
        };
        let reply = reply.map_err(|e| Failed::from(&e))?;
        let status = reply.status.as_u16();
        let failed = |cause: Cause| Failed { detail: cause.to_string(), cause, delivered: Delivered::Maybe };
        if matches!(status, 401 | 403) {
            if let Some(token) = token {
                self.passed.refused(&token);
            }
            self.open.store(false, Ordering::Relaxed);
            return Err(Failed { delivered: Delivered::No, ..failed(Cause::Unauthorized) });
        }
        if let (None, None, Some(token)) = (secret, &kept, &caller.token) {
            self.passed.took(token);
        }
        if token.is_none() {
            self.open.store(true, Ordering::Relaxed);
        }
        match envelope::parse_reply(&reply.body) {
            Ok(read) => Ok(read),
            Err(_) if status != 200 => Err(failed(Cause::Http(status))),
            Err(_) => Err(failed(Cause::Unreadable)),
        }
    }

    /// The call with the header fields of its trace, if it is in one.
    fn traced(&self, body: &Bytes, token: Option<&str>, trace: &Trace) -> Option<Request<Bytes>> {
        if !trace.is_on() {
            return None;
        }
        let url = &self.spec.url;
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let mut request = Request::post(target).header(CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in trace.fields() {
            request = request.header(name, value);
        }
        request.body(body.clone()).ok()
    }

    /// Takes what a call showed of the node's health. Returns the former condition if it changed.
    pub fn traffic<T>(&self, outcome: &Result<T, Failed>) -> Option<Condition> {
        let failed = match outcome {
            Ok(_) => {
                self.state().health.call_answered();
                return None;
            }
            // The caller's token, not the node, is no good.
            Err(failed) if !self.signs() && failed.cause == Cause::Unauthorized => return None,
            Err(failed) => failed,
        };
        let change = self.state().health.call_failed(&failed.cause, Instant::now().into_std());
        if change.is_some() {
            self.probe.notify_one();
        }
        change
    }
}

impl From<&CallError> for Failed {
    fn from(error: &CallError) -> Self {
        Self { cause: error.into(), delivered: error.delivered, detail: error.to_string() }
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("id", &self.id).field("name", &self.spec.name).finish_non_exhaustive()
    }
}
