//! What a role shows its operator and lets him do. All roles have this one form, so that whoever shows them (the admin
//! listener) needs to know none of them.

use std::fmt;

use serde::Serialize;

/// How well a role serves its clients; the greater, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it was meant to.
    Well,
    /// Its clients are served, but something that could be there isn't.
    Degraded,
    /// Its clients cannot be served.
    Down,
}

/// What can be asked of a role. Nodes are named by their name.
#[derive(Clone, PartialEq)]
pub enum Action {
    /// Add a node.
    Add {
        /// As in the configuration; may hold credentials.
        uri: String,
        /// Also if it doesn't answer, where the role asks it first.
        force: bool,
    },
    /// Forget a node.
    Remove {
        /// Which.
        node: String,
    },
    /// Give a node no new work, and let it end what it has.
    Drain {
        /// Which.
        node: String,
    },
    /// Don't rely on a node any more, whatever its health.
    Cordon {
        /// Which.
        node: String,
    },
    /// End a cordon or a drain.
    Uncordon {
        /// Which.
        node: String,
    },
    /// Check all nodes now.
    Recheck,
    /// Prefer a node to the others from the next round on, or none; of roles that have rounds.
    Prefer {
        /// Which; `None`: as the settings have it.
        node: Option<String>,
    },
    /// Another share of the votes makes a majority from the next round on, until the settings have another; of roles that let nodes vote.
    Majority {
        /// From 0 to 1.
        share: f64,
    },
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A URI may hold credentials.
            Self::Add { .. } => f.write_str("Add"),
            Self::Remove { node } => write!(f, "Remove({node:?})"),
            Self::Drain { node } => write!(f, "Drain({node:?})"),
            Self::Cordon { node } => write!(f, "Cordon({node:?})"),
            Self::Uncordon { node } => write!(f, "Uncordon({node:?})"),
            Self::Recheck => f.write_str("Recheck"),
            Self::Prefer { node: Some(node) } => write!(f, "Prefer({node:?})"),
            Self::Prefer { node: None } => f.write_str("Prefer"),
            Self::Majority { share } => write!(f, "Majority({share})"),
        }
    }
}

impl Refused {
    /// Nobody votes in this role.
    #[must_use]
    pub fn to_vote() -> Self {
        Self::Unsupported("this kind of role lets nobody vote".to_owned())
    }

    /// No node of this role can be preferred, as there are no rounds.
    #[must_use]
    pub fn to_prefer() -> Self {
        Self::Unsupported("this kind of role prefers nodes in the order of its settings".to_owned())
    }
}

/// A figure of now, for plots. Bounded: a handful for each node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Of what: a node, a lane; empty: of the role.
    pub of: String,
    /// What it is, in the words of a heading.
    pub figure: &'static str,
    /// `ms`, `blocks`; empty where it is a count.
    pub unit: &'static str,
    /// In that unit.
    pub value: f64,
}

impl Figure {
    /// A figure of something.
    #[must_use]
    pub fn new(of: impl Into<String>, figure: &'static str, unit: &'static str, value: f64) -> Self {
        Self { of: of.into(), figure, unit, value }
    }
}

/// Why an action was not done. The texts are shown to who asked: no credentials in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No node has this name.
    NoSuchNode(String),
    /// It can't be done as asked; what is wrong with it.
    Bad(String),
    /// This kind of role doesn't do that.
    Unsupported(String),
    /// What the nodes are kept in can't be asked; nothing was changed, unless the text says that nobody knows.
    Unavailable(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchNode(name) => write!(f, "no node is called {name}"),
            Self::Bad(what) | Self::Unsupported(what) | Self::Unavailable(what) => f.write_str(what),
        }
    }
}

/// A handle on a running role. `health` and `snapshot` are asked for at any time, on async threads: they don't block.
pub trait Operated: Clone + Send + Sync + 'static {
    /// What [`Operated::snapshot`] gives. Nodes are in the array `nodes`.
    type Snapshot: Serialize;

    /// For example `engine`.
    fn kind(&self) -> &'static str;
    /// Which of the roles of its kind.
    fn name(&self) -> &str;
    /// How well it is, and every reason why not better.
    fn health(&self) -> (Level, Vec<String>);
    /// All that there is to show, without secrets.
    fn snapshot(&self) -> Self::Snapshot;
    /// Changes something.
    ///
    /// # Errors
    /// Why it was not done.
    fn act(&self, action: Action) -> impl Future<Output = Result<(), Refused>> + Send;

    /// Words for the actions that [`Operated::act`] does here, as in the API's paths: `add`, `remove`, `cordon`, `drain`, `uncordon`,
    /// `recheck`, `prefer`, `majority`.
    fn actions(&self) -> &'static [&'static str] {
        &[]
    }

    /// What there is to plot now. Asked for every few seconds.
    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }

    /// What happened lately beside the state, bounded, without secrets: `rounds` and `disagreements` of roles that let nodes vote.
    fn recent(&self) -> Option<serde_json::Value> {
        None
    }

    /// What a process that takes over from this one has to know, without which its clients would lose something.
    fn memory(&self) -> Option<serde_json::Value> {
        None
    }

    /// What [`Operated::memory`] told in the process before this one, maybe of another version: what can't be read of it is left out.
    fn remember(&self, _memory: &serde_json::Value) {}
}
