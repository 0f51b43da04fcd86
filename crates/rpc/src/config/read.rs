//! From checked values to what the role works with.

use std::num::NonZeroU32;

use http::HeaderName;
use mainstay_node::health;
use mainstay_settings::{Problem, Settings, tls};
use mainstay_store::RedisAddress;
use mainstay_wire::client;
use mainstay_wire::server::Tls;

use super::{Api, Config, Probes, Redis};
use crate::classify::{Retry, Rule};
use crate::dispatch::Options;
use crate::lane::{Lane, Ratio};
use crate::lanes::{Limits, Rules};
use crate::limits::Rate;
use crate::retry;
use crate::upstream::Upstream;

/// Headers that belong to one connection or are mainstay's own to write.
const NEVER_FORWARDED: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded by the table
pub(super) fn config(s: &Settings, problems: &mut Vec<Problem>) -> Option<Config> {
    let count = |name: &str| s.integer(name).unwrap_or_default() as usize;
    for key in ["request_timeout", "try_timeout", "probe_interval", "low_max_wait", "hedge_after"] {
        if s.duration(key).is_some_and(|duration| duration.is_zero()) {
            problems.push(s.problem(key, "has to be longer than nothing"));
        }
    }
    let try_timeout = s.duration("try_timeout")?;
    let hedge_after = s.duration("hedge_after");
    if hedge_after.is_some_and(|after| after >= try_timeout) {
        problems.push(s.problem("hedge_after", "has to be shorter than try_timeout, else it never happens"));
    }
    if s.switch("shared_limits") && s.text("redis").is_none() {
        problems.push(s.problem("shared_limits", "instances find each other through Redis, set redis too"));
    }
    let mut rules = rules(s);
    rules.limits.bytes = s.size("queue_bytes")? as usize;
    Some(Config {
        name: s.text("name")?.to_owned(),
        listen: s.listen("listen")?,
        tls: tls::LISTENER.read_served(s, problems, Tls::of_files),
        nodes: nodes(s, problems),
        node_tls: tls::NODES
            .read(s, problems, |files| client::Tls::of_files(files.authorities, files.identity)),
        node_workers: count("node_workers") as u32,
        queue: Options {
            rules,
            slow_start: s.duration("slow_start")?,
            refuse_when_unfit: s.switch("refuse_when_unfit"),
        },
        retry: retry::Rules { tries_max: count("retries_max") as u32, try_timeout, hedge_after },
        request_timeout: s.duration("request_timeout")?,
        payload_max: s.size("payload_max")? as usize,
        reading_bytes: s.size("reading_bytes")? as usize,
        split_batches: s.switch("split_batches"),
        rules: s.tables("rule").iter().filter_map(|table| rule(table, problems)).collect(),
        probes: match s.text("health") {
            Some("none") => Probes::None,
            Some("net_version") => Probes::NetVersion,
            _ => Probes::Ethereum,
        },
        health: health::Rules {
            interval: s.duration("probe_interval")?,
            fall: count("fall") as u32,
            rise: count("rise") as u32,
            max_lag: count("max_lag") as u64,
            ..health::Rules::default()
        },
        forward_headers: forward_headers(s, problems),
        redis: redis(s, problems),
        state_dir: s.path("state_dir").map(ToOwned::to_owned),
        api: if s.text("api") == Some("admin") { Api::Admin } else { Api::Open },
        error_test_api: s.switch("error_test_api"),
        max_connections: count("max_connections"),
        node_max_idle: count("node_max_idle"),
        node_idle_timeout: s.duration("node_idle_timeout")?,
        log_service: s.text("log_service").map(ToOwned::to_owned),
        attest: None,
    })
}

/// How requests wait, by the keys of [`crate::keys`]; the limit of bytes is the default one.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded by the table
pub fn rules(s: &Settings) -> Rules {
    let count = |name: &str| s.integer(name).unwrap_or_default() as usize;
    Rules {
        ratio: Ratio {
            fast_per_high: count("fast_track_per_high") as u32,
            drain_first: s.switch("fast_track_drain_first"),
        },
        low_max_wait: s.duration("low_max_wait"),
        limits: Limits {
            lanes: [count("fast_track_max"), count("high_max"), count("low_max")],
            items: count("queue_max"),
            ..Limits::default()
        },
    }
}

fn redis(s: &Settings, problems: &mut Vec<Problem>) -> Option<Redis> {
    match RedisAddress::parse(s.text("redis")?) {
        Ok(address) => Some(Redis {
            address,
            prefix: s.text("redis_prefix").unwrap_or_default().to_owned(),
            shared_limits: s.switch("shared_limits"),
        }),
        Err(error) => {
            problems.push(s.problem("redis", error.to_string()));
            None
        }
    }
}

fn nodes(s: &Settings, problems: &mut Vec<Problem>) -> Vec<Upstream> {
    let mut nodes: Vec<Upstream> = Vec::new();
    for (i, text) in s.list("nodes").iter().enumerate() {
        match Upstream::parse(text) {
            Ok(node) if nodes.iter().any(|other| other.is_same(&node)) => {
                let what =
                    format!("{} is listed already: write it once, with the sum of its workers", node.shown());
                problems.push(s.item_problem("nodes", i, what));
            }
            Ok(node) => nodes.push(node),
            Err(error) => problems.push(s.item_problem("nodes", i, error.to_string())),
        }
    }
    nodes
}

fn forward_headers(s: &Settings, problems: &mut Vec<Problem>) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for (i, text) in s.list("forward_headers").iter().enumerate() {
        match text.parse::<HeaderName>() {
            Ok(name) if NEVER_FORWARDED.contains(&name.as_str()) => {
                let what = format!("{name} belongs to the connection and can't be forwarded");
                problems.push(s.item_problem("forward_headers", i, what));
            }
            Ok(name) if names.contains(&name) => {}
            Ok(name) => names.push(name),
            Err(_) => problems.push(s.item_problem("forward_headers", i, "is no name of a header")),
        }
    }
    names
}

fn rule(s: &Settings, problems: &mut Vec<Problem>) -> Option<Rule> {
    let keys = s.list("keys");
    let header = match s.text("header") {
        Some(text) => match text.parse::<HeaderName>() {
            Ok(name) => Some(name),
            Err(_) => {
                problems.push(s.problem("header", "is no name of a header"));
                None
            }
        },
        None => (!keys.is_empty()).then(|| HeaderName::from_static("x-api-key")),
    };
    let number = |name: &str| s.integer(name).and_then(|n| u32::try_from(n).ok()).and_then(NonZeroU32::new);
    let rate =
        number("rate").map(|per_second| Rate { per_second, burst: number("burst").unwrap_or(per_second) });
    if rate.is_none() && s.is_set("burst") {
        problems.push(s.problem("burst", "says nothing without rate"));
    }
    let rule = Rule {
        methods: s.list("method"),
        paths: s.list("path"),
        header,
        keys,
        lane: s.text("lane").and_then(Lane::of_word),
        retry: match s.text("retry") {
            Some("always") => Some(Retry::Always),
            Some("never") => Some(Retry::Never),
            // Said in so many words it ends the search: a later rule has no say.
            Some(_) if s.is_set("retry") => Some(Retry::Safe),
            _ => None,
        },
        rate,
    };
    if rule.lane.is_none() && rule.retry.is_none() && rule.rate.is_none() {
        problems.push(s.problem("lane", "the rule does nothing, give it a lane, retry or rate"));
    }
    Some(rule)
}
