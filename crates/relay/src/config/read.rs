//! From checked values to what the role works with.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_antelope::{Id, Name, OwnedKey};
use mainstay_settings::{Problem, Settings, tls};
use mainstay_wire::network::Network;
use mainstay_wire::server::Tls;

use super::{Config, Node};
use crate::claims::{CLAIM_TTL, Place};
use crate::egress::Rules;
use crate::inner::admission::Admission;

/// A block's slot has to be over before it is old, and claims have to outlive what is let in.
const LATE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(CLAIM_TTL.as_secs() / 2);
/// Early is within a round and what nodes take.
const EARLIEST: Duration = Duration::from_secs(6);
/// A tenth of a slot.
const LONGEST_HOLD: Duration = Duration::from_millis(50);

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded by the table
pub(super) fn config(s: &Settings, problems: &mut Vec<Problem>) -> Option<Config> {
    for key in
        ["claims_timeout", "connect_timeout", "first_frame_timeout", "stall_timeout", "silence_timeout"]
    {
        if s.duration(key).is_some_and(|duration| duration.is_zero()) {
            problems.push(s.problem(key, "has to be longer than nothing"));
        }
    }
    let producers: Vec<Name> = items(s, "producer", problems);
    let outer = outer(s, problems);
    let admission = admission(s, problems);
    let tls = tls(s, problems);
    let peer_keys: Vec<OwnedKey> = items(s, "allow_peer_keys", problems);
    let claims = match Place::parse(s.text("claims")?) {
        Ok(place) => Some(place),
        Err(why) => {
            problems.push(s.problem("claims", why.to_string()));
            None
        }
    };
    let rules = Rules {
        early: s.duration("early")?,
        late: s.duration("late")?,
        rank_hold: s.duration("rank_hold")?,
        fail_open: s.switch("fail_open"),
        ..Rules::of(producers)
    };
    if rules.early > EARLIEST {
        problems.push(s.problem("early", format!("at most {EARLIEST:?}: nodes send no earlier")));
    }
    if !LATE.contains(&rules.late) {
        let what = format!("from {:?} to {:?}: claims are kept for {CLAIM_TTL:?}", LATE.start(), LATE.end());
        problems.push(s.problem("late", what));
    }
    if rules.rank_hold > LONGEST_HOLD {
        problems.push(
            s.problem("rank_hold", format!("at most {LONGEST_HOLD:?}: other nodes wait for the block")),
        );
    }
    let (chain_id, nodes) = (chain_id(s, problems), nodes(s, problems));
    Some(Config {
        name: s.text("name")?.to_owned(),
        listen: s.listen("listen")?,
        outer,
        rules,
        admission,
        tls,
        unix: s.path("unix").map(Path::to_owned),
        peer_keys: peer_keys.into_iter().collect(),
        claims: claims?,
        claims_timeout: s.duration("claims_timeout")?,
        chain_id,
        nodes,
        connect_timeout: s.duration("connect_timeout")?,
        first_frame_timeout: s.duration("first_frame_timeout")?,
        stall_timeout: s.duration("stall_timeout")?,
        silence_timeout: s.duration("silence_timeout")?,
        outer_lag: s.integer("outer_lag")? as u32,
        outer_lag_time: s.duration("outer_lag_time")?,
        spread_after: s.duration("spread_after")?,
        fan_inward: s.switch("fan_inward"),
        max_legs: s.integer("max_legs")? as usize,
        audit: s.path("audit").map(Path::to_owned),
        audit_bytes: s.size("audit_bytes")?,
    })
}

/// The items of a list that can be read.
fn items<T: FromStr<Err: Display>>(s: &Settings, key: &str, problems: &mut Vec<Problem>) -> Vec<T> {
    let mut read = Vec::new();
    for (i, text) in s.list(key).iter().enumerate() {
        match text.parse() {
            Ok(item) => read.push(item),
            Err(why) => problems.push(s.item_problem(key, i, format!("{why}"))),
        }
    }
    read
}

fn admission(s: &Settings, problems: &mut Vec<Problem>) -> Admission {
    let allow: Vec<Network> = items(s, "allow", problems);
    let uids: Vec<u32> = items(s, "allow_uids", problems);
    if s.is_set("allow_names") && !s.is_set("tls_cert") {
        problems.push(s.problem(
            "allow_names",
            "needs TLS, as the names are those in certificates: tls_cert, tls_key, tls_ca",
        ));
    }
    if s.is_set("allow_uids") && !s.is_set("unix") {
        problems.push(s.problem("allow_uids", "is for a unix socket, and there is none: unix"));
    }
    Admission { allow: allow.into(), allow_names: s.list("allow_names").into(), allow_uids: uids.into() }
}

/// Of `tls_cert`, `tls_key` and `tls_ca`, which are all there or none: TLS without certificates of clients lets everybody in.
fn tls(s: &Settings, problems: &mut Vec<Problem>) -> Option<Tls> {
    const KEYS: [&str; 3] = ["tls_cert", "tls_key", "tls_ca"];
    let missing: Vec<&str> = KEYS.into_iter().filter(|key| !s.is_set(key)).collect();
    match KEYS.into_iter().find(|key| s.is_set(key)) {
        Some(set) if !missing.is_empty() => {
            problems.push(s.problem(set, format!("goes with {}, which isn't set", missing.join(" and "))));
            None
        }
        _ => tls::LISTENER.read_served(s, problems, Tls::of_files),
    }
}

fn outer(s: &Settings, problems: &mut Vec<Problem>) -> Vec<Arc<str>> {
    let mut seen = BTreeSet::new();
    for (i, text) in s.list("outer").into_iter().enumerate() {
        if !is_endpoint(&text) {
            let what = format!("{text:?} is no HOST:PORT, for example \"sentry-1:9876\"");
            problems.push(s.item_problem("outer", i, what));
        } else if !seen.insert(text) {
            problems.push(s.item_problem("outer", i, "is named twice"));
        }
    }
    s.list("outer").into_iter().map(Arc::from).collect()
}

/// Whether a text is a host, or an address (one of IPv6 in brackets), and a port.
fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    };
    is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn chain_id(s: &Settings, problems: &mut Vec<Problem>) -> Option<Id> {
    let text = s.text("chain_id")?;
    let mut id = [0; 32];
    if const_hex::decode_to_slice(text, &mut id).is_err() {
        problems.push(s.problem("chain_id", "64 hex digits are expected, as /v1/chain/get_info tells them"));
        return None;
    }
    Some(Id(id))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded by the table
fn nodes(s: &Settings, problems: &mut Vec<Problem>) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for table in s.tables("node") {
        let Some(name) = table.text("name") else { continue };
        if nodes.iter().any(|node| &*node.name == name) {
            problems.push(table.problem("name", format!("another node is called \"{name}\" too")));
        }
        let address = table.text("address").and_then(|text| match text.parse::<Network>() {
            Ok(network) => Some(network),
            Err(why) => {
                problems.push(table.problem("address", why.to_string()));
                None
            }
        });
        let node = Node {
            name: name.into(),
            address,
            certificate: table.text("certificate").map(str::to_owned),
            agent: table.text("agent").map(str::to_owned),
            rank: table.integer("rank").unwrap_or_default() as u8,
        };
        if !["address", "certificate", "agent"].iter().any(|key| table.is_set(key)) {
            problems.push(table.problem("name", "say which node that is: address, certificate or agent"));
        }
        nodes.push(node);
    }
    nodes
}
