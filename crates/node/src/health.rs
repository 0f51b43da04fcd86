//! How fit a node is: a state machine over what probes see and what traffic shows.
//!
//! Why it is shaped so:
//!
//! * **Out at once, back slowly.** A refused or reset connection means that the process is gone: the node is unfit with
//!   that very call, not at the next probe. Timeouts and HTTP errors may be a hiccup: the `fall`-th in a row counts.
//!   Coming back takes `rise` good probes in a row, since the second complaint of operators is a node taken back too early.
//! * **An answer is an answer.** A JSON-RPC error says nothing of health: a node that refuses a call is up.
//! * **Syncing and lagging aren't unfit.** Such a node gets every call and may even vote by what it answers; it is just
//!   not waited for and not chosen.
//! * **`eth_syncing` is not to be believed blindly.** A healthy geth answers an object while it only indexes; the
//!   probe's reader ([`crate::eth::is_syncing`]) knows the difference. A node stuck at an old head says `false`
//!   all the while; that is what `max_lag` is for.
//! * **Another chain is no illness**: it is a mistake that no waiting heals, so such a node is never used.
//!
//! Trip: `Refused`/`Reset`/`Unattested` (1), timeouts and HTTP errors (`fall` in a row, probes and traffic counted together).
//! Recovery: `rise` good probes; a lagging node also has to have been seen at the tip.
//! Probing: every `interval`; after a trip at once, then after `backoff`, doubling up to `interval`.

use std::fmt;
use std::time::{Duration, Instant};

use mainstay_wire::client::{CallError, Fault, TlsFault};
use serde::Serialize;

/// The numbers of the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Time between probes of a node that is up.
    pub interval: Duration,
    /// First time between probes of a node that just went down; doubles up to `interval`.
    pub backoff: Duration,
    /// Timeouts and HTTP errors in a row that make a node unfit.
    pub fall: u32,
    /// Good probes in a row that make it fit again.
    pub rise: u32,
    /// Blocks that a node's head may be behind the best voter's.
    pub max_lag: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            backoff: Duration::from_millis(100),
            fall: 3,
            rise: 2,
            max_lag: 2,
        }
    }
}

/// Why a node is unfit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nobody listens there.
    Refused,
    /// It can't be reached: name resolution, routing.
    Unreachable,
    /// No TLS handshake with it succeeds, for this reason: an operator has to do something about it.
    Tls(TlsFault),
    /// It didn't prove that it runs what it is to run; why, for operators.
    Unattested(String),
    /// A connection broke.
    Reset,
    /// It didn't answer in time.
    Timeout,
    /// It answered with this HTTP status.
    Http(u16),
    /// It refused the token: its secret differs, or a clock is off by more than 60 s.
    Unauthorized,
    /// What it answered can't be read.
    Unreadable,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::Tls(why) => why.fmt(f),
            Self::Unattested(why) => write!(f, "not attested: {why}"),
            Self::Reset => f.write_str("connection reset"),
            Self::Timeout => f.write_str("timed out"),
            Self::Http(status) => write!(f, "HTTP {status}"),
            Self::Unauthorized => f.write_str(
                "401: this node's jwt secret differs from the one configured here, or its clock is off by over 60 s",
            ),
            Self::Unreadable => f.write_str("unreadable answer"),
        }
    }
}

/// What a call without a whole answer says of the node.
impl From<&CallError> for Cause {
    fn from(error: &CallError) -> Self {
        match error.fault {
            Fault::Refused => Self::Refused,
            Fault::Unreachable => Self::Unreachable,
            Fault::Tls(why) => Self::Tls(why),
            Fault::Unattested => Self::Unattested(error.detail().unwrap_or_default().to_owned()),
            Fault::Reset => Self::Reset,
            Fault::Timeout => Self::Timeout,
            Fault::TooLarge | Fault::Protocol | Fault::Caller | Fault::CallerTooLarge => Self::Unreadable,
        }
    }
}

impl Cause {
    /// Whether one such event is enough.
    fn trips_at_once(&self) -> bool {
        matches!(self, Self::Refused | Self::Reset | Self::Unattested(_))
    }

    /// Whether an operator has to hear of this after `before`: a node that was restarted with a wrong certificate was refused first, and
    /// without him that lasts. Others pass, or come and go.
    fn is_news_after(&self, before: &Self) -> bool {
        match (before, self) {
            (Self::Tls(before), Self::Tls(now)) => before != now,
            (_, Self::Tls(_) | Self::Unattested(_) | Self::Unauthorized) => {
                std::mem::discriminant(before) != std::mem::discriminant(self)
            }
            _ => false,
        }
    }
}

/// What a good probe saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The node says that it syncs (indexing alone isn't syncing).
    pub syncing: bool,
    /// Number of its head block.
    pub head: Option<u64>,
    /// Its chain id.
    pub chain_id: Option<u64>,
}

/// A probe's outcome.
pub type Probe = Result<Seen, Cause>;

/// The state of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Not yet probed.
    Unknown,
    /// Up, in sync, at the tip.
    Fit,
    /// Up and says that it syncs.
    Syncing,
    /// Up and more than `max_lag` blocks behind, or was so and isn't at the tip yet.
    Lagging {
        /// Blocks behind the best voter.
        behind: u64,
    },
    /// Down.
    Unfit(Cause),
    /// On another chain: never used.
    Misconfigured {
        /// The chain id of the others.
        expected: u64,
        /// Its own.
        got: u64,
    },
}

impl Condition {
    /// One word, for labels and tables.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Fit => "fit",
            Self::Syncing => "syncing",
            Self::Lagging { .. } => "lagging",
            Self::Unfit(_) => "unfit",
            Self::Misconfigured { .. } => "misconfigured",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("not probed yet"),
            Self::Fit => f.write_str("fit"),
            Self::Syncing => f.write_str("syncing"),
            Self::Lagging { behind } => write!(f, "{behind} blocks behind"),
            Self::Unfit(cause) => write!(f, "unfit: {cause}"),
            Self::Misconfigured { expected, got } => {
                write!(f, "on chain {got} while the others are on {expected}")
            }
        }
    }
}

/// What the others look like: what a node is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// The highest head of a voter.
    pub best_head: Option<u64>,
    /// The chain id that nodes should be on.
    pub chain_id: Option<u64>,
}

/// A node's health.
#[derive(Clone, Debug)]
pub struct Health {
    rules: Rules,
    condition: Condition,
    since: Instant,
    failures: u32,
    good: u32,
    was_down: bool,
    ever_left: bool,
    lagged: bool,
    pause: Duration,
    probe_at: Instant,
    seen: Seen,
}

impl Health {
    /// A node nothing is known of, to be probed at once.
    #[must_use]
    pub fn new(rules: Rules, now: Instant) -> Self {
        Self {
            rules,
            condition: Condition::Unknown,
            since: now,
            failures: 0,
            good: 0,
            was_down: false,
            ever_left: false,
            lagged: false,
            pause: rules.backoff,
            probe_at: now,
            seen: Seen::default(),
        }
    }

    /// Other numbers from now on. What was seen is judged by them when the next probe comes, which is due within the new interval.
    pub fn set_rules(&mut self, rules: Rules, now: Instant) {
        self.rules = rules;
        self.pause = self.pause.min(rules.interval);
        self.probe_at = self.probe_at.min(now + rules.interval);
    }

    /// Takes a probe's outcome. Returns the former condition if it changed, also from unfit to unfit for what an operator has to see to.
    pub fn probed(&mut self, probe: &Probe, others: Others, now: Instant) -> Option<Condition> {
        match probe {
            Ok(seen) => self.good_probe(*seen, others, now),
            Err(cause) => {
                self.good = 0;
                let change = self.failed(cause.clone(), now);
                self.probe_at = now + self.next_pause();
                change
            }
        }
    }

    /// A call was answered, be it with a JSON-RPC error. An unfit node needs good probes to come back.
    pub fn call_answered(&mut self) {
        if !matches!(self.condition, Condition::Unfit(_)) {
            self.failures = 0;
        }
    }

    /// A call failed. Returns the former condition if it changed, as [`Health::probed`] does.
    pub fn call_failed(&mut self, cause: &Cause, now: Instant) -> Option<Condition> {
        self.good = 0;
        let change = self.failed(cause.clone(), now);
        if change.as_ref().is_some_and(|before| before.word() != self.condition.word()) {
            self.pause = self.rules.backoff;
            self.probe_at = now;
        }
        change
    }

    /// The condition.
    #[must_use]
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Since when the condition is what it is.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether it was ever fit and then not.
    #[must_use]
    pub fn ever_left(&self) -> bool {
        self.ever_left
    }

    /// What the last good probe saw.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen
    }

    /// When to probe next.
    #[must_use]
    pub fn probe_at(&self) -> Instant {
        self.probe_at
    }

    /// Asks for a probe at once.
    pub fn probe_soon(&mut self, now: Instant) {
        self.probe_at = self.probe_at.min(now);
    }

    /// Nothing could be asked, for want of something that isn't the node's: the probe is put off.
    pub fn put_off(&mut self, now: Instant) {
        self.probe_at = now + self.rules.interval;
    }

    fn good_probe(&mut self, seen: Seen, others: Others, now: Instant) -> Option<Condition> {
        self.seen = Seen { chain_id: seen.chain_id.or(self.seen.chain_id), ..seen };
        self.failures = 0;
        self.good = self.good.saturating_add(1);
        let settled = !self.was_down || self.good >= self.rules.rise;
        // A node that has to prove itself is asked again sooner: `rise` probes need not cost `rise` intervals.
        let pause =
            if settled { self.rules.interval } else { self.rules.interval.min(self.rules.backoff * 5) };
        self.probe_at = now + pause;
        if !settled {
            return None;
        }
        self.was_down = false;
        self.pause = self.rules.backoff;
        self.turn(self.judge(others), now)
    }

    fn judge(&self, others: Others) -> Condition {
        if let (Some(expected), Some(got)) = (others.chain_id, self.seen.chain_id)
            && expected != got
        {
            return Condition::Misconfigured { expected, got };
        }
        if self.seen.syncing {
            return Condition::Syncing;
        }
        let behind = match (others.best_head, self.seen.head) {
            (Some(best), Some(head)) => best.saturating_sub(head),
            _ => 0,
        };
        if behind > self.rules.max_lag || (self.lagged && behind > 0) {
            return Condition::Lagging { behind };
        }
        Condition::Fit
    }

    fn failed(&mut self, cause: Cause, now: Instant) -> Option<Condition> {
        self.failures = self.failures.saturating_add(1);
        let down = matches!(self.condition, Condition::Unfit(_));
        // Nothing good is known of a node that was never seen: its first failure is enough.
        let first_impression = self.condition == Condition::Unknown;
        if down || first_impression || cause.trips_at_once() || self.failures >= self.rules.fall {
            self.was_down = true;
            self.good = 0;
            return self.turn(Condition::Unfit(cause), now);
        }
        None
    }

    fn turn(&mut self, to: Condition, now: Instant) -> Option<Condition> {
        self.lagged = match to {
            Condition::Lagging { .. } => true,
            Condition::Fit => false,
            _ => self.lagged,
        };
        let same = std::mem::discriminant(&to) == std::mem::discriminant(&self.condition);
        self.ever_left |= !same && self.condition == Condition::Fit;
        let before = std::mem::replace(&mut self.condition, to);
        if same {
            let is_news = matches!((&before, &self.condition), (Condition::Unfit(before), Condition::Unfit(now)) if now.is_news_after(before));
            return is_news.then_some(before);
        }
        self.since = now;
        Some(before)
    }

    fn next_pause(&mut self) -> Duration {
        if !matches!(self.condition, Condition::Unfit(_)) {
            // On the way down: ask again soon, so that `fall` failures don't take `fall` intervals.
            return self.rules.interval.min(self.rules.backoff * 5);
        }
        let pause = self.pause;
        self.pause = (self.pause * 2).min(self.rules.interval);
        pause
    }
}

/// The chain id that most of the nodes are on; of equals the one seen first in the order of the nodes.
#[must_use]
pub fn common_chain(ids: &[Option<u64>]) -> Option<u64> {
    let known: Vec<u64> = ids.iter().flatten().copied().collect();
    let count = |id: &u64| known.iter().filter(|k| *k == id).count();
    let mut best: Option<(u64, usize)> = None;
    for id in &known {
        let votes = count(id);
        if best.is_none_or(|(_, most)| votes > most) {
            best = Some((*id, votes));
        }
    }
    best.map(|(id, _)| id)
}

#[cfg(test)]
mod tests;
