//! Breaking simulated nodes by hand while `mainstay dev` runs: over HTTP on loopback, or by lines
//! typed at the terminal. Both say the same words.

mod http;
mod lines;

use std::{fmt, sync::Arc, time::Duration};

use serde::Serialize;

pub use self::lines::{HELP, Line, parse_line, stdin_lines};
use crate::{fault::Fault, server::ElHandle};

/// Where nothing else is said, a lagging node lags by this.
pub const USUAL_LAG: Duration = Duration::from_millis(800);
/// No node lags longer than this.
pub const LONGEST_LAG: Duration = Duration::from_secs(600);

/// What can be done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Its process is gone.
    Crash,
    /// It accepts and answers nothing.
    Hang,
    /// It answers so much later.
    Lag(Duration),
    /// It says INVALID where it should say VALID.
    Lie,
    /// It says SYNCING.
    Syncing,
    /// It is well again.
    Heal,
}

impl Action {
    /// Reads a verb, and for `lag` how many milliseconds (with or without `ms`).
    ///
    /// # Errors
    /// What was wrong, and what would be right.
    pub fn parse(verb: &str, milliseconds: Option<&str>) -> Result<Action, String> {
        let action = match verb {
            "crash" => Action::Crash,
            "hang" => Action::Hang,
            "lag" => Action::Lag(milliseconds.map_or(Ok(USUAL_LAG), parse_lag)?),
            "lie" => Action::Lie,
            "syncing" => Action::Syncing,
            "heal" => Action::Heal,
            _ => return Err("no such command: use crash, hang, lag, lie, syncing or heal".to_owned()),
        };
        match (action, milliseconds) {
            (Action::Lag(_), _) | (_, None) => Ok(action),
            _ => Err(format!("{verb} takes no milliseconds, only lag does")),
        }
    }

    /// Does it. Each action takes the place of the one before.
    pub fn apply(self, node: &ElHandle) {
        match self {
            Action::Crash => node.set(Fault::Down),
            Action::Hang => node.set(Fault::Hang),
            Action::Lag(by) => node.set(Fault::Lag(by)),
            Action::Lie => node.set(Fault::Lie),
            Action::Syncing => node.set(Fault::Syncing),
            Action::Heal => node.heal(),
        }
    }
}

fn parse_lag(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix("ms").unwrap_or(text);
    match number.parse().map(Duration::from_millis) {
        Ok(lag) if lag <= LONGEST_LAG && !lag.is_zero() => Ok(lag),
        _ => Err(format!("a lag is 1 to {} milliseconds, such as 800", LONGEST_LAG.as_millis())),
    }
}

/// How one node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeState {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub url: String,
    /// What is wrong with it; `None` where it is well.
    pub fault: Option<String>,
    /// Its head's number.
    pub head: u64,
    /// Its head's hash.
    pub head_hash: String,
}

impl NodeState {
    fn of(node: &ElHandle) -> NodeState {
        let head = node.head();
        NodeState {
            name: node.name().to_owned(),
            url: node.url(),
            fault: node.faults(),
            head: head.number,
            head_hash: head.hash.to_string(),
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = self.fault.as_deref().unwrap_or("well");
        write!(f, "{} {} head {}: {fault}", self.name, self.url, self.head)
    }
}

/// There is no node of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchNode {
    /// The names that there are.
    pub known: Vec<String>,
}

impl fmt::Display for NoSuchNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no such node: use {} or all", self.known.join(", "))
    }
}

impl std::error::Error for NoSuchNode {}

/// The nodes that can be broken; clones are the same.
#[derive(Clone, Debug)]
pub struct Control {
    nodes: Arc<[ElHandle]>,
}

impl Control {
    /// Control of these nodes.
    pub fn new(nodes: Vec<ElHandle>) -> Control {
        Control { nodes: nodes.into() }
    }

    /// How every node is, in the order given.
    pub fn states(&self) -> Vec<NodeState> {
        self.nodes.iter().map(NodeState::of).collect()
    }

    /// Does something to the node of this name, or to `all`; gives back how they are then.
    ///
    /// # Errors
    /// Where there is no such node.
    pub fn act(&self, name: &str, action: Action) -> Result<Vec<NodeState>, NoSuchNode> {
        let meant: Vec<&ElHandle> =
            self.nodes.iter().filter(|node| name == "all" || node.name() == name).collect();
        if meant.is_empty() {
            let known = self.nodes.iter().map(|node| node.name().to_owned()).collect();
            return Err(NoSuchNode { known });
        }
        for node in &meant {
            action.apply(node);
        }
        Ok(meant.into_iter().map(NodeState::of).collect())
    }

    /// Carries out a line typed by a person; the answer is for them to read, empty for an empty
    /// line.
    pub fn line(&self, line: &str) -> String {
        let states = match parse_line(line) {
            Ok(Line::Nothing) => return String::new(),
            Ok(Line::Help) => return HELP.to_owned(),
            Ok(Line::Nodes) => self.states(),
            Ok(Line::Act { node, action }) => match self.act(&node, action) {
                Ok(states) => states,
                Err(error) => return error.to_string(),
            },
            Err(why) => return why,
        };
        let states: Vec<String> = states.iter().map(NodeState::to_string).collect();
        states.join("\n")
    }
}

#[cfg(test)]
mod tests;
