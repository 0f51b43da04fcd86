//! The role's settings: their table, and the validated form.

use std::num::NonZeroU64;
use std::time::Duration;

use mainstay_execution::config::{Answering, Signing};
use mainstay_execution::keys;
use mainstay_settings::{Key, Kind, Listen, Problem, Section, Settings, common, tls};
use mainstay_wire::client::{Clear, Tls};
use mainstay_wire::jwt::Secret;
use mainstay_wire::server;

use crate::client::{Names, Network, Proxies};
use crate::leader::Rules;
use crate::slots::{Learned, SECONDS_PER_SLOT, Slots};
use crate::tokens::{Tokens, hosts};

/// The keys of `[sync]`.
pub static SECTION: Section = Section::role(
    "sync",
    "Many consensus clients drive many execution clients: one of them leads, all are answered",
    &[
        common::NAME.default("sync"),
        Key::new("listen", Kind::Listen, "Where the consensus clients connect").default("127.0.0.1:25590"),
        tls::TLS_CERT,
        tls::TLS_KEY,
        tls::TLS_CA,
        keys::NODES.short('n').required(),
        tls::NODE_CA,
        tls::NODE_CERT,
        tls::NODE_KEY,
        Key::new(
            "proxies",
            Kind::List(&Kind::Text),
            "Other mainstays and sync-proxies that get a copy of what the nodes get, never waited for; suffixes as in nodes",
        ),
        Key::new(
            "jwt_secret",
            Kind::Path,
            "File with the secret (64 hex digits) that consensus clients sign with, and calls to every node without one of its \
             own; without it nobody's token is verified, and nodes without a secret get the caller's",
        )
        .short('j').live(),
        Key::new(
            "answer",
            Kind::OneOf(&["first", "majority"]),
            "Who answers the leader: the first node with something to say, or all by vote",
        )
        .default("first").live(),
        Key::new(
            "mirror_mode",
            Kind::Switch,
            "Answer every call with an empty 200 at once, for a proxy that copies calls here and reads no answer",
        ),
        Key::new(
            "allow_building",
            Kind::Switch,
            "Let the leader start builds: else attributes of forkchoiceUpdated are taken out",
        ).live(),
        Key::new("request_timeout", Kind::DurationMs, "Longest wait until a consensus client is answered")
            .default("2s").live(),
        Key::new("proxy_request_timeout", Kind::DurationMs, "Longest time for a copy to one of the proxies")
            .default("2s"),
        Key::new("proxy_ca", Kind::Path, "PEM file of the authorities that proxies over https are trusted by, instead of the system's"),
        Key::new(
            "proxy_certificate",
            Kind::Path,
            "PEM file of the certificate that proxies over https are shown, if they ask for one (mTLS)",
        ),
        Key::new("proxy_key", Kind::Path, "PEM file of that certificate's private key"),
        Key::new(
            "proxy_http2",
            Kind::Switch,
            "Speak HTTP/2 to proxies over http too; over https they choose",
        ),
        Key::new(
            "clients",
            Kind::List(&Kind::Text),
            "Names of consensus clients, name=ADDRESS or name=ID (the id claim of their tokens), in order of preference",
        ),
        Key::new(
            "trusted_proxies",
            Kind::List(&Kind::Text),
            "Addresses and networks whose X-Forwarded-For is believed",
        )
        .default("127.0.0.0/8,::1").live(),
        Key::new(
            "network",
            Kind::OneOf(&["mainnet", "hoodi", "sepolia", "gnosis"]),
            "Whose slots are counted; without it and genesis_time the execution clients' blocks tell when slots begin",
        ),
        Key::new("genesis_time", Kind::Integer { min: 0, max: i64::MAX }, "When slot 0 began, in seconds since 1970"),
        Key::new(
            "seconds_per_slot",
            Kind::Integer { min: 1, max: 3600 },
            "A slot's length, where network doesn't say it [default: 12]",
        ),
        Key::new(
            "leader_timeout",
            Kind::Duration,
            "How long the leader may send nothing [default: 2 slots]",
        ).live(),
        Key::new(
            "leader_max_lag",
            Kind::Integer { min: 1, max: 1000 },
            "Slots that the leader may be behind the best consensus client for 2 slots",
        )
        .default("1").live(),
        Key::new(
            "agreement",
            Kind::Switch,
            "With three or more consensus clients follow the head that most of them name",
        ).live(),
        keys::MAJORITY,
        keys::TIMEOUT,
        keys::MIN_VOTES,
        keys::ON_DISSENT,
        keys::ON_SHORTFALL,
        keys::QUARANTINE_AFTER,
        keys::STRAGGLER_WAIT,
        keys::GETPAYLOAD_WAIT,
        keys::CAPABILITIES,
        common::MAX_LAG,
        common::RISE,
        common::FALL,
        common::PROBE_INTERVAL,
        Key::new(
            "failback_after",
            Kind::Duration,
            "How long an earlier node, or a consensus client that is preferred, has to be fit until it is used again",
        )
        .default("30s").live(),
        keys::REPLAY_BLOCKS,
        keys::REPLAY_BYTES,
        keys::EVIDENCE_DIR,
        keys::EVIDENCE_FILES,
        keys::EVIDENCE_BYTES,
        keys::MAX_BODY,
        common::MAX_CONNECTIONS.default("1024"),
        keys::NODE_TIMINGS,
        Key::new(
            "tokens",
            Kind::Tables(&TOKENS),
            "Tokens for proxies that can sign none, at /tokens/, as jwt-tokens-service gives them",
        ),
    ],
);

/// The keys of `[sync.tokens]`.
pub static TOKENS: Section = Section::nested(
    "sync.tokens",
    "Tokens for proxies that can sign none, at /tokens/, as jwt-tokens-service gives them",
    &[
        Key::new(
            "config",
            Kind::Path,
            "The hosts and their secrets: the config.json of jwt-tokens-service, {\"host\": \"64 hex digits\"}",
        )
        .required(),
        Key::new(
            "peers",
            Kind::List(&Kind::Text),
            "Addresses and networks that get tokens, by the address of their connection",
        )
        .required(),
        Key::new("client_id", Kind::Text, "The id claim of the tokens"),
    ],
);

/// Where the clock of slots comes from.
#[derive(Clone, Debug)]
pub enum SlotClock {
    /// It is known.
    Known(Slots),
    /// The execution clients' blocks tell.
    Learned(Learned),
}

/// The validated settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: Listen,
    /// tls_cert, tls_key, tls_ca: what it serves TLS with.
    pub tls: Option<server::Tls>,
    /// What consensus clients sign with; without one nobody's token is verified.
    pub secret: Option<Secret>,
    /// The execution clients.
    pub execution: mainstay_execution::Config,
    /// Answer with an empty 200 at once.
    pub mirror_mode: bool,
    /// Names of consensus clients.
    pub names: Names,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Proxies,
    /// The clock of slots.
    pub slots: SlotClock,
    /// Who leads.
    pub leader: Rules,
    /// Tokens for proxies that can sign none.
    pub tokens: Option<Tokens>,
    /// Largest request body in bytes.
    pub max_body: usize,
    /// Connections served at once.
    pub max_connections: usize,
}

impl Config {
    /// Validates; every problem found is added to `problems`. Reads the secrets. `None` if something is wrong.
    pub fn from_settings(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Self> {
        settings.validate(problems, read)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded by the table
fn read(s: &Settings, problems: &mut Vec<Problem>) -> Option<Config> {
    let signing = Signing::read(s, "jwt_secret", Signing::PassOn, problems);
    let secret = match &signing {
        Signing::Shared(secret) => Some(secret.clone()),
        _ => None,
    };
    let execution = mainstay_execution::Config::read(s, signing, "proxies", problems);
    let names = names(s, problems);
    let trusted_proxies = Proxies::new(networks(s, "trusted_proxies", problems));
    let (slots, length) = slots(s, problems);
    let tokens = tokens(s, problems);
    let served = tls::LISTENER.read_served(s, problems, server::Tls::of_files);
    for key in ["request_timeout", "proxy_request_timeout", "leader_timeout"] {
        if s.duration(key).is_some_and(|d| d.is_zero()) {
            problems.push(s.problem(key, "has to be longer than nothing"));
        }
    }
    let mut execution = execution?;
    execution.answer = match s.text("answer") {
        Some("majority") => Answering::Vote,
        _ => Answering::First,
    };
    execution.allow_building = s.switch("allow_building");
    execution.answer_within = s.duration("request_timeout")?;
    let copies = s.duration("proxy_request_timeout")?;
    let tls = links_tls(s, problems);
    for link in &mut execution.links {
        link.timeout = link.spec.timeout.map_or(copies, |own| own.min(copies));
        link.tls = tls.clone();
        if s.switch("proxy_http2") {
            link.clear = Clear::Http2;
        }
    }
    let slot = Duration::from_secs(length.get());
    let leader = Rules {
        leader_timeout: s.duration("leader_timeout").unwrap_or(slot * 2),
        max_lag: s.integer("leader_max_lag")? as u64,
        failback_after: execution.failback_after,
        agreement: s.switch("agreement"),
        order: names.clients().cloned().collect(),
        ..Rules::new(slot)
    };
    Some(Config {
        listen: s.listen("listen")?,
        tls: served,
        secret,
        execution,
        mirror_mode: s.switch("mirror_mode"),
        names,
        trusted_proxies,
        slots,
        leader,
        tokens,
        max_body: s.size("max_body")? as usize,
        max_connections: s.integer("max_connections")? as usize,
    })
}

fn names(s: &Settings, problems: &mut Vec<Problem>) -> Names {
    let mut entries = Vec::new();
    let listed = s.list("clients");
    for (i, text) in listed.iter().enumerate() {
        match text.split_once('=') {
            Some((name, key)) => entries.push((name.trim(), key.trim())),
            None => {
                problems.push(s.item_problem("clients", i, "expected name=ADDRESS or name=ID".to_owned()))
            }
        }
    }
    Names::new(entries).unwrap_or_else(|error| {
        problems.push(s.problem("clients", error.to_string()));
        Names::default()
    })
}

fn networks(s: &Settings, key: &str, problems: &mut Vec<Problem>) -> Vec<Network> {
    let mut networks: Vec<Network> = Vec::new();
    for (i, text) in s.list(key).iter().enumerate() {
        match text.parse() {
            Ok(network) => networks.push(network),
            Err(error) => problems.push(s.item_problem(key, i, format!("{error}"))),
        }
    }
    networks
}

fn links_tls(s: &Settings, problems: &mut Vec<Problem>) -> Option<Tls> {
    let identity = match (s.path("proxy_certificate"), s.path("proxy_key")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            problems.push(s.problem("proxy_certificate", "has no key: set proxy_key too"));
            return None;
        }
        (None, Some(_)) => {
            problems.push(s.problem("proxy_key", "has no certificate: set proxy_certificate too"));
            return None;
        }
    };
    let authorities = s.path("proxy_ca");
    if identity.is_none() && authorities.is_none() {
        return None;
    }
    match Tls::from_pem(authorities, identity) {
        Ok(tls) => Some(tls),
        Err(error) => {
            let key = if identity.is_some() { "proxy_certificate" } else { "proxy_ca" };
            problems.push(s.problem(key, error.to_string()));
            None
        }
    }
}

fn tokens(s: &Settings, problems: &mut Vec<Problem>) -> Option<Tokens> {
    let [first, others @ ..] = s.tables("tokens") else { return None };
    for other in others {
        problems.push(other.problem("config", "there is one [sync.tokens]: put all hosts into one file"));
    }
    let peers = networks(first, "peers", problems);
    let client_id = first.text("client_id").map(str::to_owned);
    let made = hosts(first.path("config")?)
        .map_err(|error| error.to_string())
        .and_then(|hosts| Tokens::new(hosts, client_id, peers).map_err(|error| error.to_string()));
    match made {
        Ok(tokens) => Some(tokens),
        Err(error) => {
            problems.push(first.problem("config", error));
            None
        }
    }
}

#[allow(clippy::cast_sign_loss)] // bounded by the table
fn slots(s: &Settings, problems: &mut Vec<Problem>) -> (SlotClock, NonZeroU64) {
    let seconds = s.integer("seconds_per_slot").and_then(|seconds| NonZeroU64::new(seconds as u64));
    if let Some(slots) = s.text("network").and_then(Slots::of) {
        for key in ["genesis_time", "seconds_per_slot"] {
            if s.integer(key).is_some() {
                problems.push(s.problem(key, "is known of the network: leave out one of them"));
            }
        }
        return (SlotClock::Known(slots), slots.length());
    }
    let length = seconds.unwrap_or(SECONDS_PER_SLOT);
    match s.integer("genesis_time") {
        Some(genesis) => (SlotClock::Known(Slots::new(genesis as u64, length)), length),
        None => (SlotClock::Learned(Learned::new(length)), length),
    }
}
