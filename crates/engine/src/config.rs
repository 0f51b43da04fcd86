//! The role's settings: their table, and the validated form.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_node::{NodeSpec, health};
use mainstay_settings::{Key, Kind, Origin, Problem, Section, Settings, common};
use mainstay_wire::jwt::Secret;
use url::Url;

use crate::verdict::{OnDissent, Rules};

/// The keys of `[engine]`.
pub static SECTION: Section = Section::role(
    "engine",
    "One consensus client drives many execution clients, the answer is what they agree on",
    &[
        common::NAME.default("engine"),
        Key::new("listen", Kind::Address, "Where the consensus client connects").default("127.0.0.1:7000"),
        Key::new(
            "nodes",
            Kind::List(&Kind::Text),
            "Engine API URLs of the execution clients, in order of preference, each with suffixes in any order: \
             #jwt-secret=FILE #timeout=MS #do-not-use #name=NAME #tier=primary|backup",
        )
        .short('n')
        .required(),
        Key::new(
            "jwt_secret",
            Kind::Path,
            "File with the secret (64 hex digits) that the consensus client signs with, and every node without one of its own",
        )
        .short('j'),
        Key::new("majority", Kind::Number { min: 0.0, max: 1.0 }, "Share of the votes that makes a majority")
            .default("0.6"),
        Key::new(
            "timeout",
            Kind::DurationMs,
            "Longest wait for a node, at most what the specification gives the consensus client",
        )
        .default("7500ms"),
        Key::new("min_votes", Kind::Integer { min: 1, max: 1000 }, "With fewer votes the answer is SYNCING")
            .default("1"),
        Key::new(
            "on_dissent",
            Kind::OneOf(&["syncing", "majority"]),
            "What an INVALID without an INVALID majority does: make the answer SYNCING, or be outvoted if it stands alone \
             against two or more VALID",
        )
        .default("syncing"),
        Key::new(
            "on_shortfall",
            Kind::OneOf(&["syncing", "error"]),
            "What to answer when no node voted; SYNCING only after a payload's block hash was checked",
        )
        .default("syncing"),
        Key::new(
            "quarantine_after",
            Kind::Or(&Kind::Integer { min: 1, max: 1_000_000 }, &["off"]),
            "Blocks in a row on which a node dissents alone until it loses its vote",
        )
        .default("off"),
        Key::new(
            "straggler_wait",
            Kind::Or(&Kind::Duration, &["adaptive", "timeout"]),
            "How long to wait, once VALID stands, for nodes that could still say INVALID: a duration, 1.5 times the node's own \
             95th percentile within 20 to 500 ms, or until the timeout",
        )
        .default("adaptive"),
        Key::new("getpayload_wait", Kind::Duration, "Longest wait for a better payload, at most 900ms")
            .default("800ms"),
        Key::new(
            "capabilities",
            Kind::OneOf(&["common", "primary"]),
            "What exchangeCapabilities offers: what all fit voters offer, or what the primary does",
        )
        .default("common"),
        common::MAX_LAG,
        common::RISE,
        common::FALL,
        common::PROBE_INTERVAL,
        Key::new(
            "failback_after",
            Kind::Duration,
            "How long an earlier node has to be fit until it is the primary again",
        )
        .default("30s"),
        Key::new("replay_blocks", Kind::Integer { min: 0, max: 4096 }, "Payloads kept for nodes that missed some")
            .default("64"),
        Key::new("replay_bytes", Kind::Size, "Most bytes of kept payloads").default("16MiB"),
        Key::new(
            "mirror",
            Kind::List(&Kind::Text),
            "Endpoints that get a copy of every engine call, never waited for; suffixes as in nodes",
        ),
        Key::new("evidence_dir", Kind::Path, "Folder for records of split votes; none are kept without it"),
        Key::new("evidence_files", Kind::Integer { min: 1, max: 1_000_000 }, "Most records kept").default("256"),
        Key::new("evidence_bytes", Kind::Size, "Most bytes of records kept").default("256MiB"),
        Key::new("max_body", Kind::Size, "Largest request body").default("128MiB"),
        common::MAX_CONNECTIONS.default("1024"),
        Key::new("node_timings", Kind::Switch, "Log every node's answering time at each probe"),
    ],
);

/// What to answer when nobody voted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnShortfall {
    /// SYNCING, for newPayload once the block hash has been checked.
    Syncing,
    /// A JSON-RPC error.
    Error,
}

/// How long stragglers are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StragglerWait {
    /// By each node's own figures.
    Adaptive,
    /// Until the timeout.
    Timeout,
    /// This long.
    Fixed(Duration),
}

/// A node with its secret.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Address and options.
    pub spec: NodeSpec,
    /// What calls to it are signed with.
    pub secret: Secret,
}

/// Where evidence goes.
#[derive(Clone, Debug)]
pub struct EvidenceConfig {
    /// Folder.
    pub dir: PathBuf,
    /// Most records.
    pub files: usize,
    /// Most bytes.
    pub bytes: u64,
}

/// The validated settings.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // each field is the key of the same name in SECTION
pub struct Config {
    pub name: String,
    pub listen: SocketAddr,
    pub secret: Secret,
    /// Whether `jwt_secret` was given, so that nodes added later without a secret of their own can be signed for.
    pub shared_secret: bool,
    pub nodes: Vec<NodeConfig>,
    pub mirror: Vec<NodeConfig>,
    pub rules: Rules,
    pub timeout: Duration,
    pub on_shortfall: OnShortfall,
    pub quarantine_after: Option<u32>,
    pub straggler_wait: StragglerWait,
    pub getpayload_wait: Duration,
    pub common_capabilities: bool,
    pub health: health::Rules,
    pub failback_after: Duration,
    pub replay_blocks: usize,
    pub replay_bytes: usize,
    pub evidence: Option<EvidenceConfig>,
    pub max_body: usize,
    pub max_connections: usize,
    pub node_timings: bool,
}

/// Longest `getpayload_wait`: inside the second that the consensus client waits.
const MOST_PAYLOAD_WAIT: Duration = Duration::from_millis(900);

impl Config {
    /// Validates; every problem found is added to `problems`. Reads the secrets. `None` if something is wrong.
    pub fn from_settings(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Self> {
        settings.validate(problems, read)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded by the table
fn read(s: &Settings, problems: &mut Vec<Problem>) -> Option<Config> {
    let count = |name: &str| s.integer(name).unwrap_or_default() as u32;
    let shared = s
        .path("jwt_secret")
        .and_then(|path| secret(path).map_err(|e| problems.push(s.problem("jwt_secret", e))).ok());
    let told = s.path("jwt_secret").is_some() && shared.is_none();
    let listed = nodes(s, "nodes", shared.as_ref(), told, problems);
    let mirror = nodes(s, "mirror", shared.as_ref(), told, problems);
    let getpayload_wait = s.duration("getpayload_wait")?;
    if getpayload_wait > MOST_PAYLOAD_WAIT {
        problems.push(s.problem("getpayload_wait", "the consensus client waits 1 s: write at most 900ms"));
    }
    for key in ["timeout", "probe_interval"] {
        if s.duration(key).is_some_and(|d| d.is_zero()) {
            problems.push(s.problem(key, "has to be longer than nothing"));
        }
    }
    let secret = shared.clone().or_else(|| listed.first().map(|n| n.secret.clone()))?;
    Some(Config {
        name: s.text("name")?.to_owned(),
        listen: s.address("listen")?,
        secret,
        shared_secret: shared.is_some(),
        nodes: listed,
        mirror,
        rules: Rules {
            majority: s.number("majority")?,
            min_votes: count("min_votes"),
            on_dissent: if s.text("on_dissent") == Some("majority") {
                OnDissent::Majority
            } else {
                OnDissent::Syncing
            },
        },
        timeout: s.duration("timeout")?,
        on_shortfall: if s.text("on_shortfall") == Some("error") {
            OnShortfall::Error
        } else {
            OnShortfall::Syncing
        },
        quarantine_after: s.integer("quarantine_after").map(|n| n as u32),
        straggler_wait: match (s.duration("straggler_wait"), s.text("straggler_wait")) {
            (Some(wait), _) => StragglerWait::Fixed(wait),
            (None, Some("timeout")) => StragglerWait::Timeout,
            _ => StragglerWait::Adaptive,
        },
        getpayload_wait,
        common_capabilities: s.text("capabilities") != Some("primary"),
        health: health::Rules {
            interval: s.duration("probe_interval")?,
            fall: count("fall"),
            rise: count("rise"),
            max_lag: u64::from(count("max_lag")),
            ..health::Rules::default()
        },
        failback_after: s.duration("failback_after")?,
        replay_blocks: count("replay_blocks") as usize,
        replay_bytes: s.size("replay_bytes")? as usize,
        evidence: s.path("evidence_dir").map(|dir| EvidenceConfig {
            dir: dir.to_owned(),
            files: count("evidence_files") as usize,
            bytes: s.size("evidence_bytes").unwrap_or(u64::MAX),
        }),
        max_body: s.size("max_body")? as usize,
        max_connections: count("max_connections") as usize,
        node_timings: s.switch("node_timings"),
    })
}

fn secret(path: &Path) -> Result<Secret, String> {
    Secret::from_file(path).map_err(|e| e.to_string())
}

fn nodes(
    s: &Settings,
    key: &str,
    shared: Option<&Secret>,
    told: bool,
    problems: &mut Vec<Problem>,
) -> Vec<NodeConfig> {
    let mut nodes: Vec<NodeConfig> = Vec::new();
    for (i, text) in s.list(key).iter().enumerate() {
        let base = match s.item_origin(key, i) {
            Origin::File { path, .. } => path.parent().map(Path::to_owned),
            _ => None,
        };
        let specs: Vec<&NodeSpec> = nodes.iter().map(|n| &n.spec).collect();
        match node(text, base.as_deref(), shared, &specs) {
            Ok(node) => nodes.push(node),
            Err(NodeError::NoSecret) if told => {}
            Err(error) => problems.push(s.item_problem(key, i, error.to_string())),
        }
    }
    nodes
}

/// Why a node can't be taken; the text quotes no file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeError {
    /// URL or suffix.
    Spec(String),
    /// Another node has this URL.
    Duplicate(String),
    /// Another node has this name.
    SameName(String),
    /// Neither the role nor the node has a secret.
    NoSecret,
    /// The secret can't be read.
    Secret(String),
}

impl std::fmt::Display for NodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Spec(what) | Self::Secret(what) => f.write_str(what),
            Self::Duplicate(url) => write!(f, "{url} is listed already: a node votes once"),
            Self::SameName(name) => write!(f, "another node is called {name}: give one of them #name="),
            Self::NoSecret => f.write_str("no secret: set jwt_secret, or give the node #jwt-secret=FILE"),
        }
    }
}

/// Reads one node; `base` is the folder that a relative `#jwt-secret=` starts from.
///
/// # Errors
/// See [`NodeError`].
pub fn node(
    text: &str,
    base: Option<&Path>,
    shared: Option<&Secret>,
    others: &[&NodeSpec],
) -> Result<NodeConfig, NodeError> {
    let spec = NodeSpec::parse(text).map_err(|e| NodeError::Spec(e.to_string()))?;
    if others.iter().any(|o| same_endpoint(&o.url, &spec.url)) {
        return Err(NodeError::Duplicate(spec.shown_url()));
    }
    if others.iter().any(|o| o.name == spec.name) {
        return Err(NodeError::SameName(spec.name));
    }
    let secret = match (&spec.jwt_secret, shared) {
        (Some(path), _) => {
            let path = base.map_or_else(|| path.clone(), |base| base.join(path));
            secret(&path).map_err(|e| NodeError::Secret(format!("#jwt-secret: {e}")))?
        }
        (None, Some(shared)) => shared.clone(),
        (None, None) => return Err(NodeError::NoSecret),
    };
    Ok(NodeConfig { spec, secret })
}

fn same_endpoint(a: &Url, b: &Url) -> bool {
    let key = |u: &Url| {
        (
            u.scheme().to_owned(),
            u.host_str().map(str::to_owned),
            u.port_or_known_default(),
            u.path().to_owned(),
        )
    };
    key(a) == key(b)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mainstay_settings::{Flags, Sources, resolve};

    fn config(flags: &[(&'static str, &str)]) -> Result<Config, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("jwt.hex");
        std::fs::write(&file, "11".repeat(32)).unwrap();
        let mut given = Flags::default();
        for (key, value) in flags {
            let value = value.replace("JWT", file.to_str().unwrap());
            given.set(key, format!("--{key}"), value.split(',').map(str::to_owned).collect());
        }
        let mut problems = Vec::new();
        let sources = Sources { flags: &given, ..Sources::default() };
        let settings = resolve(&SECTION, &sources, &mut problems);
        let config = Config::from_settings(&settings, &mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn defaults_are_executionbackups_but_for_the_address() {
        let config =
            config(&[("nodes", "http://127.0.0.1:1,http://127.0.0.1:2#tier=backup"), ("jwt_secret", "JWT")])
                .unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:7000");
        assert_eq!(config.rules, Rules::default());
        assert_eq!(config.timeout, Duration::from_millis(7500));
        assert_eq!(config.straggler_wait, StragglerWait::Adaptive);
        assert_eq!(config.quarantine_after, None);
        assert_eq!(config.health, health::Rules::default());
        assert!(config.common_capabilities);
        assert_eq!(config.nodes.len(), 2);
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let problems = config(&[
            ("nodes", "http://127.0.0.1:1,http://127.0.0.1:1/,http://a#jwt-secret=/nonexistent,ftp://x,http://127.0.0.1:1#timeout=x"),
            ("jwt_secret", "JWT"),
            ("getpayload_wait", "2s"),
        ])
        .unwrap_err();
        for part in ["listed already", "/nonexistent", "scheme", "milliseconds", "at most 900ms"] {
            assert!(problems.iter().any(|p| p.contains(part)), "{part}: {problems:#?}");
        }
    }

    #[test]
    fn a_secret_is_needed_unless_every_node_has_its_own() {
        let problems = config(&[("nodes", "http://127.0.0.1:1")]).unwrap_err();
        assert!(problems[0].contains("no secret"), "{problems:?}");
        let own = config(&[("nodes", "http://127.0.0.1:1#jwt-secret=JWT")]).unwrap();
        assert!(!own.shared_secret);
        let problems =
            config(&[("nodes", "http://127.0.0.1:1"), ("jwt_secret", "/nonexistent")]).unwrap_err();
        assert_eq!(problems.len(), 1, "one cause, one message: {problems:?}");
    }
}
