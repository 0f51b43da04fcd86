//! The role's settings: their tables, and the validated form.

mod read;
mod table;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mainstay_antelope::Id;
use mainstay_settings::{Listen, Problem, Settings};
use mainstay_wire::network::Network;
use mainstay_wire::server::Tls;

use crate::claims::Place;
use crate::egress::Rules;
use crate::inner::admission::Admission;
use crate::inner::keys::PeerKeys;
use crate::peer::Peer;

pub use table::{NODE, SECTION};

/// What is told of an inner node, so that it has a name and a rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is called in logs, metrics and the API.
    pub name: Arc<str>,
    /// Where it connects from, if that tells it from others.
    pub address: Option<Network>,
    /// The name in its certificate, if that does.
    pub certificate: Option<String>,
    /// What it calls itself (`agent-name` of nodeos), if that does. Whoever connects can say it, so it is for names and ranks only.
    pub agent: Option<String>,
    /// The lowest is the best.
    pub rank: u8,
}

impl Node {
    /// Whether a peer is this node; what it calls itself isn't known before its handshake.
    #[must_use]
    pub fn is(&self, peer: &Peer, agent: Option<&str>) -> bool {
        let at = |address: IpAddr| self.address.is_some_and(|network| network.contains(address));
        (self.address.is_none() || peer.address.is_some_and(|address| at(address.ip())))
            && self.certificate.as_ref().is_none_or(|name| peer.names.contains(name))
            && (self.agent.is_none() || self.agent.as_deref() == agent)
    }
}

/// The validated settings.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // each field is the key of the same name in SECTION
pub struct Config {
    pub name: String,
    pub listen: Listen,
    /// `HOST:PORT` each.
    pub outer: Vec<Arc<str>>,
    /// Producers, early, late, rank_hold, fail_open.
    pub rules: Rules,
    /// allow, allow_names, allow_uids.
    pub admission: Admission,
    /// tls_cert, tls_key, tls_ca.
    pub tls: Option<Tls>,
    pub unix: Option<PathBuf>,
    /// allow_peer_keys.
    pub peer_keys: PeerKeys,
    pub claims: Place,
    pub claims_timeout: Duration,
    /// `None`: what the first outer peer says that is heard.
    pub chain_id: Option<Id>,
    pub nodes: Vec<Node>,
    pub connect_timeout: Duration,
    pub first_frame_timeout: Duration,
    pub stall_timeout: Duration,
    pub silence_timeout: Duration,
    /// Blocks; 0: never.
    pub outer_lag: u32,
    pub outer_lag_time: Duration,
    /// 0: never.
    pub spread_after: Duration,
    pub fan_inward: bool,
    pub max_legs: usize,
    pub audit: Option<PathBuf>,
    pub audit_bytes: u64,
}

impl Config {
    /// Validates; every problem found is added to `problems`. `None` if something is wrong.
    pub fn from_settings(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Self> {
        settings.validate(problems, read::config)
    }

    /// What is told of a peer.
    #[must_use]
    pub fn node(&self, peer: &Peer, agent: Option<&str>) -> Option<&Node> {
        self.nodes.iter().find(|node| node.is(peer, agent))
    }
}

#[cfg(test)]
mod tests;
