//! The role's settings: their table, and the validated form.

mod read;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use mainstay_node::health;
use mainstay_settings::{Listen, Problem, Settings};
use mainstay_store::RedisAddress;
use mainstay_wire::client::{self, Attestation};
use mainstay_wire::server::Tls;

use crate::classify::Rule;
use crate::dispatch::Options;
use crate::{retry, upstream::Upstream};

pub use read::rules;
pub use table::{RULE, SECTION, WORKERS};

/// What is asked of nodes to know whether they are fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probes {
    /// `eth_syncing`, head and chain id, by which a node that syncs or lags is unfit.
    Ethereum,
    /// `net_version`: any answer is enough.
    NetVersion,
    /// Nothing: traffic alone says who is fit.
    None,
}

/// Where the nodes API is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// On this role's port too: for loopback peers, for others with the admin token.
    Open,
    /// On the admin listener alone.
    Admin,
}

/// Where nodes are kept that were added at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Where it is.
    pub address: RedisAddress,
    /// What the keys begin with.
    pub prefix: String,
    /// Divide each node's workers over all instances that share them.
    pub shared_limits: bool,
}

/// The validated settings.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // each field is the key of the same name in SECTION, or the keys of its type
pub struct Config {
    pub name: String,
    pub listen: Listen,
    /// tls_cert, tls_key, tls_ca.
    pub tls: Option<Tls>,
    pub nodes: Vec<Upstream>,
    /// node_ca, node_cert, node_key.
    pub node_tls: Option<client::Tls>,
    /// Requests at once of a node without `_workers`.
    pub node_workers: u32,
    /// Lanes, limits, slow start.
    pub queue: Options,
    pub retry: retry::Rules,
    pub request_timeout: Duration,
    pub payload_max: usize,
    pub reading_bytes: usize,
    pub split_batches: bool,
    pub rules: Vec<Rule>,
    pub probes: Probes,
    pub health: health::Rules,
    pub forward_headers: Vec<HeaderName>,
    pub redis: Option<Redis>,
    pub state_dir: Option<PathBuf>,
    pub api: Api,
    pub error_test_api: bool,
    pub max_connections: usize,
    /// Idle connections kept to each node.
    pub node_max_idle: usize,
    pub node_idle_timeout: Duration,
    /// The value of `service` in log lines of requests.
    pub log_service: Option<String>,
    /// Who judges nodes that are to prove what they run; not of the role's own settings. Without one they are refused.
    pub attest: Option<Attestation>,
}

impl Config {
    /// Validates; every problem found is added to `problems`. `None` if something is wrong.
    pub fn from_settings(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Self> {
        settings.validate(problems, read::config)
    }
}
