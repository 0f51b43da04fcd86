//! How execution clients are driven: the validated form of the [`keys`](crate::keys) that roles share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_node::{NodeSpec, health};
use mainstay_settings::{Origin, Problem, Settings, tls};
use mainstay_wire::client::{Attestation, Tls};
use mainstay_wire::jwt::Secret;
use url::Url;

use crate::links::LinkConfig;
use crate::verdict::{OnDissent, Rules};

/// Who answers voted calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answering {
    /// All nodes, by vote.
    #[default]
    Vote,
    /// The first node that has something to say.
    First,
}

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
    /// What calls to it are signed with; without one they carry the caller's own token.
    pub secret: Option<Secret>,
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

/// What calls to nodes without a secret of their own are signed with.
#[derive(Clone, Debug)]
pub enum Signing {
    /// This secret.
    Shared(Secret),
    /// There is none: each node has to have its own.
    Own,
    /// There is none: such a node gets the caller's token as it came.
    PassOn,
    /// There is one that can't be read, which has been told: such a node is left out without another word.
    Unreadable,
}

impl Signing {
    /// With the secret at the path that `key` gives; `otherwise` if it gives none. What is wrong is added to the problems.
    pub fn read(s: &Settings, key: &str, otherwise: Self, problems: &mut Vec<Problem>) -> Self {
        match s.path(key).map(secret) {
            None => otherwise,
            Some(Ok(secret)) => Self::Shared(secret),
            Some(Err(error)) => {
                problems.push(s.problem(key, error));
                Self::Unreadable
            }
        }
    }

    fn of(&self, own: Option<&Path>) -> Result<Option<Secret>, NodeError> {
        match (own, self) {
            (Some(path), _) => match secret(path) {
                Ok(secret) => Ok(Some(secret)),
                Err(error) => Err(NodeError::Secret(format!("#jwt-secret: {error}"))),
            },
            (None, Self::Shared(shared)) => Ok(Some(shared.clone())),
            (None, Self::PassOn) => Ok(None),
            (None, Self::Own | Self::Unreadable) => Err(NodeError::NoSecret),
        }
    }
}

/// The validated settings.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // each field is the key of the same name in `keys`, but for those with docs of their own
pub struct Config {
    /// The role's name.
    pub name: String,
    pub nodes: Vec<NodeConfig>,
    /// For nodes that are added later.
    pub signing: Signing,
    /// Endpoints that get copies.
    pub links: Vec<LinkConfig>,
    /// Who answers voted calls.
    pub answer: Answering,
    /// Whether forkchoiceUpdated may start a build: else its attributes are taken out.
    pub allow_building: bool,
    pub rules: Rules,
    pub timeout: Duration,
    /// When a call has to be answered at the latest; nodes may take longer over voted ones, up to `timeout`.
    pub answer_within: Duration,
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
    pub node_timings: bool,
    /// Who judges nodes and links that are to prove what they run; not of the role's own settings. Without one they are refused.
    pub attest: Option<Attestation>,
    /// node_ca, node_cert, node_key: whom nodes over https are trusted to be, and as whom they are called.
    pub tls: Option<Tls>,
}

/// Longest time for one copy.
const LINK_TIMEOUT: Duration = Duration::from_secs(8);

/// Longest `getpayload_wait`: inside the second that the consensus client waits.
const MOST_PAYLOAD_WAIT: Duration = Duration::from_millis(900);

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded by the table
impl Config {
    /// Reads and validates the keys; every problem found is added to `problems`. `links` is the role's key for endpoints that get
    /// copies. `None` if something is wrong.
    pub fn read(s: &Settings, signing: Signing, links: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let count = |name: &str| s.integer(name).unwrap_or_default() as u32;
        let listed = nodes(s, "nodes", &signing, problems);
        let tls = tls::NODES.read(s, problems, |files| Tls::of_files(files.authorities, files.identity));
        let link = |node: NodeConfig| LinkConfig::new(node.spec, node.secret, LINK_TIMEOUT);
        let links = nodes(s, links, &signing, problems).into_iter().map(link).collect();
        let getpayload_wait = s.duration("getpayload_wait")?;
        if getpayload_wait > MOST_PAYLOAD_WAIT {
            problems
                .push(s.problem("getpayload_wait", "the consensus client waits 1 s: write at most 900ms"));
        }
        for key in ["timeout", "probe_interval"] {
            if s.duration(key).is_some_and(|d| d.is_zero()) {
                problems.push(s.problem(key, "has to be longer than nothing"));
            }
        }
        Some(Self {
            name: s.text("name")?.to_owned(),
            nodes: listed,
            signing,
            links,
            answer: Answering::Vote,
            allow_building: true,
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
            answer_within: s.duration("timeout")?,
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
            node_timings: s.switch("node_timings"),
            attest: None,
            tls,
        })
    }
}

fn secret(path: &Path) -> Result<Secret, String> {
    Secret::from_file(path).map_err(|e| e.to_string())
}

fn nodes(s: &Settings, key: &str, signing: &Signing, problems: &mut Vec<Problem>) -> Vec<NodeConfig> {
    let mut nodes: Vec<NodeConfig> = Vec::new();
    for (i, text) in s.list(key).iter().enumerate() {
        let base = match s.item_origin(key, i) {
            Origin::File { path, .. } => path.parent().map(Path::to_owned),
            _ => None,
        };
        let specs: Vec<&NodeSpec> = nodes.iter().map(|n| &n.spec).collect();
        match node(text, base.as_deref(), signing, &specs) {
            Ok(node) => nodes.push(node),
            Err(NodeError::NoSecret) if matches!(signing, Signing::Unreadable) => {}
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
    signing: &Signing,
    others: &[&NodeSpec],
) -> Result<NodeConfig, NodeError> {
    let spec = NodeSpec::parse(text).map_err(|e| NodeError::Spec(e.to_string()))?;
    if others.iter().any(|o| same_endpoint(&o.url, &spec.url)) {
        return Err(NodeError::Duplicate(spec.shown_url()));
    }
    if others.iter().any(|o| o.name == spec.name) {
        return Err(NodeError::SameName(spec.name));
    }
    let own = spec.jwt_secret.as_ref().map(|path| base.map_or_else(|| path.clone(), |base| base.join(path)));
    let secret = signing.of(own.as_deref())?;
    Ok(NodeConfig { spec, secret })
}

pub(crate) fn same_endpoint(a: &Url, b: &Url) -> bool {
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
