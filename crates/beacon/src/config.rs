//! The role's settings: their tables, and the validated form.

mod read;
mod table;

use std::net::SocketAddr;
use std::time::Duration;

use mainstay_settings::{Listen, Problem, Settings};
use mainstay_wire::client::{self, Attestation};
use mainstay_wire::jwt::Secret;
use mainstay_wire::server::Tls;
use url::Url;

use crate::check;
use crate::own::OwnCheck;
use crate::reading::{Subnets, SyncRules};

pub(crate) use table::ROUNDS;
pub use table::{GUARD, SECTION, TUNE};

/// A check of mainstay's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Builtin {
    /// `/eth/v1/node/syncing`.
    Syncing,
    /// `/eth/v1/node/health`.
    Health,
    /// Genesis and fork are those of the other guards.
    Chain,
    /// The execution node is in sync.
    Execution,
    /// Enough peers.
    Peers,
    /// The wanted attestation subnets.
    Subnets,
    /// The head is not behind the others'.
    Lag,
}

impl Builtin {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 7] =
        [Self::Syncing, Self::Health, Self::Chain, Self::Execution, Self::Peers, Self::Subnets, Self::Lag];

    /// Its word in settings, logs and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Syncing => "syncing",
            Self::Health => "health",
            Self::Chain => "chain",
            Self::Execution => "execution",
            Self::Peers => "peers",
            Self::Subnets => "subnets",
            Self::Lag => "lag",
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// When a check is made, and how often it has to fail or hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between the beginnings of two rounds.
    pub interval: Duration,
    /// For a round's answer.
    pub timeout: Duration,
    /// How many rounds count.
    pub rules: check::Rules,
}

/// What a check has in place of the section's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// Between the beginnings of two rounds.
    pub interval: Option<Duration>,
    /// For a round's answer.
    pub timeout: Option<Duration>,
    /// Good rounds in a row after which it holds again.
    pub rise: Option<u32>,
    /// Bad rounds in a row after which it fails.
    pub fall: Option<u32>,
}

impl Tuning {
    /// What a table has of it.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded by the tables
    pub(crate) fn read(table: &Settings, problems: &mut Vec<Problem>) -> Self {
        read::not_zero(table, &["interval", "timeout"], problems);
        let rounds = |key| table.integer(key).map(|rounds| rounds as u32);
        Self {
            interval: table.duration("interval"),
            timeout: table.duration("timeout"),
            rise: rounds("rise"),
            fall: rounds("fall"),
        }
    }

    /// Its own times and counts, the section's where it has none.
    #[must_use]
    pub fn over(self, common: Timing) -> Timing {
        Timing {
            interval: self.interval.unwrap_or(common.interval),
            timeout: self.timeout.unwrap_or(common.timeout),
            rules: check::Rules {
                rise: self.rise.unwrap_or(common.rules.rise),
                fall: self.fall.unwrap_or(common.rules.fall),
            },
        }
    }
}

/// An execution node.
#[derive(Clone, PartialEq, Eq)]
pub struct Execution {
    /// May hold credentials: never show it.
    pub url: Url,
    /// Of an Engine API port.
    pub secret: Option<Secret>,
}

/// One guard: a beacon node and the listener before it.
#[derive(Clone)]
#[allow(missing_docs)] // each field is the key of the same name in GUARD
pub struct Guarded {
    pub name: String,
    pub listen: Listen,
    /// May hold credentials: never show it.
    pub beacon_node: Url,
    pub execution_node: Option<Execution>,
    /// 0: not asked.
    pub min_peers: u64,
    pub attnets: Option<Subnets>,
    pub agent_check: Option<SocketAddr>,
    /// `tls_cert` with `tls_key`; of the section if the guard has none. `None`: clients are served without TLS.
    pub tls: Option<Tls>,
}

/// The validated settings.
#[derive(Clone)]
#[allow(missing_docs)] // each field is the key of the same name in SECTION, or the keys of its type
pub struct Config {
    pub name: String,
    pub guards: Vec<Guarded>,
    /// By [`Builtin`], in the order of [`Builtin::ALL`].
    pub timings: [Timing; Builtin::ALL.len()],
    /// The operator's own.
    pub checks: Vec<OwnCheck>,
    /// What holds where a check has no other.
    pub timing: Timing,
    pub warm_up: Duration,
    pub sync: SyncRules,
    /// `None`: not looked at.
    pub max_block_age: Option<Duration>,
    pub max_lag: u64,
    /// How many guards stay open for want of better ones; 0: none.
    pub min_fit: usize,
    pub body_max: u64,
    /// From a request's end to the head of its reply; `None`: as long as the node takes.
    pub request_timeout: Option<Duration>,
    pub node_idle_timeout: Duration,
    pub max_connections: usize,
    /// Who judges nodes that are to prove what they run; not of the role's own settings. Without one they are refused.
    pub attest: Option<Attestation>,
    /// node_ca, node_cert, node_key: for beacon nodes and execution nodes over https.
    pub node_tls: Option<client::Tls>,
}

impl Config {
    /// Validates; every problem found is added to `problems`. `None` if something is wrong.
    pub fn from_settings(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Self> {
        settings.validate(problems, read::config)
    }

    /// When a check of mainstay's own is made.
    #[must_use]
    pub fn timing_of(&self, check: Builtin) -> Timing {
        self.timings[check.index()]
    }
}

#[cfg(test)]
mod tests;
