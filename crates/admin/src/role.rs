//! What the admin listener knows of a role.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use mainstay_node::{Level, Refused};

/// A future without a name.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A running role. `health` and `state` are asked for at any time, on async threads: they don't block.
pub trait Role: Send + Sync + 'static {
    /// For example `engine`; the first part of its path.
    fn kind(&self) -> &'static str;
    /// Which of the roles of its kind; the second part of its path.
    fn name(&self) -> String;
    /// How well it is, and every reason why not better.
    fn health(&self) -> (Level, Vec<String>);
    /// All that there is to show, without secrets. Nodes are in the array `nodes`.
    fn state(&self) -> serde_json::Value;
    /// Changes something. Runs to its end even if who asked has gone.
    fn act(&self, action: Action) -> BoxFuture<'static, Result<(), ActError>>;
}

/// What can be asked of a role. Nodes are named by their name.
#[derive(Clone, PartialEq, Eq)]
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
        }
    }
}

/// Why an action was not done. The text is shown to who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActError {
    /// There is no such node: 404.
    NotFound(String),
    /// It can't be done as asked: 400.
    Refused(String),
    /// What the role keeps its nodes in can't be asked: 503.
    Unavailable(String),
    /// This kind of role doesn't do that: 405.
    Unsupported(String),
}

impl From<Refused> for ActError {
    fn from(refused: Refused) -> Self {
        let text = refused.to_string();
        match refused {
            Refused::NoSuchNode(_) => Self::NotFound(text),
            Refused::Bad(_) => Self::Refused(text),
            Refused::Unavailable(_) => Self::Unavailable(text),
        }
    }
}
