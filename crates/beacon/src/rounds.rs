//! The tasks that make the checks of a guard, one for each.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use mainstay_wire::client::{CallError, Client, Fault};
use mainstay_wire::jwt::{self, Claims};

use crate::clock;
use crate::config::{Builtin, Timing};
use crate::core::{Core, Post, slot};
use crate::finding::Finding;
use crate::own::OwnCheck;
use crate::reading::{self, Syncing, UNREADABLE};

/// How long a chain's genesis is believed without being asked again: a restart that nobody saw may have brought another.
const CHAIN_AGE: Duration = Duration::from_secs(60);

const SYNCING: &str = "/eth/v1/node/syncing";
const HEALTH: &str = "/eth/v1/node/health";
const PEER_COUNT: &str = "/eth/v1/node/peer_count";
const IDENTITY: &str = "/eth/v1/node/identity";
const GENESIS: &str = "/eth/v1/beacon/genesis";
const SPEC: &str = "/eth/v1/config/spec";
const FORK: &str = "/eth/v1/beacon/states/head/fork";

/// Starts the checks of all guards.
pub(crate) fn start(core: &Arc<Core>) {
    for post in core.posts() {
        for check in Builtin::ALL {
            // Lag is judged with every round of syncing.
            if check != Builtin::Lag
                && let Some(place) = post.place(check)
            {
                let timing = post.settings.timing_of(check);
                tokio::spawn(run(core.clone(), post.clone(), Asked::Builtin(check), place, timing));
            }
        }
        for (place, check) in post.own() {
            let timing = check.tuning.over(post.settings.timing);
            tokio::spawn(run(core.clone(), post.clone(), Asked::Own(check.clone()), place, timing));
        }
    }
}

/// What a task asks.
enum Asked {
    Builtin(Builtin),
    Own(Arc<OwnCheck>),
}

async fn run(core: Arc<Core>, post: Arc<Post>, asked: Asked, place: usize, timing: Timing) {
    let rounds = async {
        loop {
            let began = tokio::time::Instant::now();
            // Asked for before the round, so that a wish during it isn't lost.
            let wish = post.recheck.notified();
            once(&core, &post, &asked, place, began.into_std() + timing.timeout).await;
            tokio::select! {
                biased;
                () = wish => {}
                () = tokio::time::sleep_until(began + timing.interval) => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = post.over.cancelled() => {}
        () = rounds => {}
    }
}

/// Makes one round of a check.
async fn once(core: &Core, post: &Post, asked: &Asked, place: usize, deadline: Instant) {
    let began = clock::now();
    let check = match asked {
        Asked::Builtin(check) => *check,
        Asked::Own(check) => {
            let found = check.ask(&post.context, deadline, clock::wall()).await;
            return core.observe(post, place, found, began, false);
        }
    };
    let ask = Ask { post, deadline };
    let found = match check {
        Builtin::Syncing => return syncing(core, &ask, place, began).await,
        Builtin::Health => health(&ask).await,
        Builtin::Chain => chain(core, &ask).await,
        Builtin::Execution => {
            // Of another node: says nothing of the beacon node.
            let found = execution(core, &ask).await.unwrap_or_else(|found| found);
            return core.observe(post, place, found, began, false);
        }
        Builtin::Peers => peers(&ask).await,
        Builtin::Subnets => subnets(&ask).await,
        Builtin::Lag => return,
    };
    let reached = found.is_ok();
    core.observe(post, place, found.unwrap_or_else(|found| found), began, reached);
}

/// What a round has to ask with. An `Err` of its methods is a finding too: that there was no answer to judge.
struct Ask<'a> {
    post: &'a Post,
    deadline: Instant,
}

impl Ask<'_> {
    /// The body of a 200.
    async fn get(&self, path: &str) -> Result<Bytes, Finding> {
        let (status, body) = self.status(path).await?;
        match status {
            StatusCode::OK => Ok(body),
            other => Err(Finding::hard(format!("HTTP {} of {path}", other.as_u16()))),
        }
    }

    async fn status(&self, path: &str) -> Result<(StatusCode, Bytes), Finding> {
        let target = format!("{}{path}", self.post.prefix);
        let request = Request::builder()
            .method(Method::GET)
            .uri(target)
            .header(http::header::ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(|_| Finding::hard("the beacon node's address can't be asked"))?;
        let began = clock::now();
        let reply = self.post.asked.send(request, self.deadline.into()).await;
        let reply = reply.map_err(|error| unanswered(&error))?;
        let took = clock::now().saturating_duration_since(began).as_micros();
        self.post.latency_us.store(u64::try_from(took).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok((reply.status, reply.body))
    }
}

/// What a call without an answer says. The error's own details may name a host.
pub(crate) fn unanswered(error: &CallError) -> Finding {
    let saw = fault(error.fault);
    match error.fault {
        Fault::Refused | Fault::Reset => Finding::gone(saw),
        // No name of a host is in it.
        Fault::Unattested => Finding::gone(format!("{saw}: {}", error.detail().unwrap_or_default())),
        Fault::Timeout => Finding::hard(format!("no answer within {:.1} s", error.took.as_secs_f64())),
        _ => Finding::hard(saw),
    }
}

/// A fault in words.
pub(crate) fn fault(fault: Fault) -> Cow<'static, str> {
    let word = match fault {
        Fault::Refused => "connection refused",
        Fault::Unreachable => "unreachable",
        // The same for all nodes: nothing of this one, as clients are shown it.
        Fault::Tls(why) => return why.to_string().into(),
        Fault::Unattested => "not attested",
        Fault::Reset => "connection reset",
        Fault::Timeout => "no answer in time",
        Fault::TooLarge => "answer too large",
        _ => "what it answers is no HTTP",
    };
    word.into()
}

fn unreadable(path: &str) -> Finding {
    Finding::hard(format!("{UNREADABLE} of {path}"))
}

async fn syncing(core: &Core, ask: &Ask<'_>, place: usize, began: Instant) {
    // Without the chain there is no clock, by which a node is known that only just started.
    if ask.post.settings.sync.max_distance.is_some() && core.chain(ask.post, Duration::MAX).is_none() {
        // The check of the chain tells what is wrong.
        let _ = learn(core, ask).await;
    }
    let body = ask.get(SYNCING).await;
    let reached = body.is_ok();
    let read = body.and_then(|body| Syncing::read(&body).ok_or_else(|| unreadable(SYNCING)));
    let found = match read {
        Ok(said) => {
            core.saw_head(ask.post, said.head_slot);
            let chain = core.chain(ask.post, Duration::MAX);
            let found = said.judge(ask.post.settings.sync, slot(chain.as_ref().map(|(chain, _)| chain)));
            if let Some(lag) = ask.post.place(Builtin::Lag) {
                core.observe(ask.post, lag, core.judge_lag(ask.post), began, false);
            }
            found
        }
        Err(found) => found,
    };
    core.observe(ask.post, place, found, began, reached);
}

/// The node's own word. Not all have it.
async fn health(ask: &Ask<'_>) -> Result<Finding, Finding> {
    let (status, _) = ask.status(HEALTH).await?;
    match status.as_u16() {
        200 => Ok(Finding::good("HTTP 200")),
        206 => Ok(Finding::hard("HTTP 206: it syncs")),
        404 | 405 | 501 => Ok(Finding::good("not offered")),
        other => Err(Finding::hard(format!("HTTP {other} of {HEALTH}"))),
    }
}

async fn learn(core: &Core, ask: &Ask<'_>) -> Result<(), Finding> {
    let (genesis, spec) = (ask.get(GENESIS).await?, ask.get(SPEC).await?);
    let chain = reading::chain(&genesis, &spec).ok_or_else(|| unreadable(GENESIS))?;
    core.learned(ask.post, chain);
    Ok(())
}

async fn chain(core: &Core, ask: &Ask<'_>) -> Result<Finding, Finding> {
    if core.chain(ask.post, CHAIN_AGE).is_none() {
        learn(core, ask).await?;
    }
    let body = ask.get(FORK).await?;
    let Some((chain, Some(head))) = core.chain(ask.post, Duration::MAX) else {
        return Ok(core.judge_chain(ask.post));
    };
    let fork = reading::fork(&body, head, &chain).ok_or_else(|| unreadable(FORK))?;
    core.saw_fork(ask.post, Some(fork));
    Ok(core.judge_chain(ask.post))
}

async fn peers(ask: &Ask<'_>) -> Result<Finding, Finding> {
    let body = ask.get(PEER_COUNT).await?;
    let connected = reading::peer_count(&body).ok_or_else(|| unreadable(PEER_COUNT))?;
    Ok(reading::enough_peers(connected, ask.post.config.min_peers))
}

async fn subnets(ask: &Ask<'_>) -> Result<Finding, Finding> {
    let body = ask.get(IDENTITY).await?;
    let has = reading::attnets(&body).ok_or_else(|| unreadable(IDENTITY))?;
    Ok(match ask.post.config.attnets {
        Some(wanted) => has.judge(wanted),
        None => Finding::good("none wanted"),
    })
}

async fn execution(core: &Core, ask: &Ask<'_>) -> Result<Finding, Finding> {
    let (Some(client), Some(node)) = (&ask.post.execution, &ask.post.config.execution_node) else {
        return Ok(Finding::good("none named"));
    };
    let token = node.secret.as_ref().map(|secret| jwt::sign(secret, &Claims::at(clock::wall())));
    let syncing = call(client, ETH_SYNCING, token.as_deref(), ask.deadline).await?;
    let latest = call(client, LATEST, token.as_deref(), ask.deadline).await?;
    let said = reading::execution(&syncing, &latest)?;
    if said.number == 0 && core.chain(ask.post, Duration::MAX).is_none() {
        // As with syncing.
        let _ = learn(core, ask).await;
    }
    let genesis = core.chain(ask.post, Duration::MAX).map(|(chain, _)| chain.genesis_time);
    let max_age = ask.post.settings.max_block_age.map(|age| age.as_secs());
    Ok(said.judge(max_age, genesis, clock::unix().as_secs()))
}

const ETH_SYNCING: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"eth_syncing","params":[]}"#;
const LATEST: &[u8] =
    br#"{"jsonrpc":"2.0","id":2,"method":"eth_getBlockByNumber","params":["latest",false]}"#;

async fn call(
    client: &Client,
    body: &'static [u8],
    token: Option<&str>,
    deadline: Instant,
) -> Result<Bytes, Finding> {
    let reply = client.post(Bytes::from_static(body), token, deadline.into()).await;
    // Only a beacon node can be gone: `fall` counts for this one.
    let reply = reply.map_err(|error| Finding::hard(unanswered(&error).saw))?;
    match reply.status.as_u16() {
        200 => Ok(reply.body),
        401 | 403 => Err(Finding::hard(format!(
            "HTTP {}: its jwt secret differs from the one configured here, or its clock is off by over 60 s",
            reply.status.as_u16()
        ))),
        other => Err(Finding::hard(format!("HTTP {other}"))),
    }
}
