//! Settings that are read anew. What that means this crate doesn't know: whoever makes the listener brings what does it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use crate::access::By;
use crate::changes::Change;
use crate::handlers::Shared;
use crate::reply::{self, Error};
use crate::role::BoxFuture;

/// How long whoever asked waits to hear of it.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Reads the settings of the process anew.
pub trait Reload: Send + Sync + 'static {
    /// Reads and checks them whole, and carries out what differs, or changes nothing. `by` says who asked. Runs to its end even if who asked
    /// has gone.
    fn reload(&self, by: String) -> BoxFuture<'static, Reloaded>;
    /// What came of it last; `None`: nobody has asked yet.
    fn last(&self) -> Option<Arc<Reloaded>>;
}

/// What came of reading the settings anew. Holds no secrets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reloaded {
    /// The how manieth it was.
    pub number: u64,
    /// In milliseconds since 1970.
    pub at_ms: u64,
    /// Who asked.
    pub by: String,
    /// What came of it.
    pub outcome: Outcome,
    /// What differs from before: carried out, or what would have been.
    pub changes: Vec<Changed>,
    /// Why it was refused, a line each; empty unless it was.
    pub problems: Vec<String>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All that differs holds now.
    Applied,
    /// The settings are wrong. Nothing has changed.
    Wrong,
    /// They are right, but what differs needs a restart, or doesn't go with what was changed at run time. Nothing has changed.
    NotNow,
}

/// A setting that differs from before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changed {
    /// The kind of the role; empty for the whole process.
    pub role: String,
    /// Its name.
    pub name: String,
    /// The key as messages call it; empty where no key says it.
    pub key: String,
    /// Where it stands, `mainstay.toml:7`.
    pub origin: String,
    /// The value before; null: not set.
    pub was: Value,
    /// The value now.
    pub now: Value,
    /// What differs, in words.
    pub text: String,
}

impl Reloaded {
    /// In one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let s = |count: usize| if count == 1 { "" } else { "s" };
        match self.outcome {
            Outcome::Applied if self.changes.is_empty() => "reloaded, nothing differs".to_owned(),
            Outcome::Applied => {
                let texts: Vec<&str> = self.changes.iter().map(|change| change.text.as_str()).collect();
                format!("reloaded, {} change{}: {}", texts.len(), s(texts.len()), texts.join("; "))
            }
            Outcome::Wrong | Outcome::NotNow => {
                format!("reload refused, nothing has changed: {}", self.problems.join("; "))
            }
        }
    }

    /// As one of the last changes.
    pub(crate) fn as_change(&self) -> Change {
        Change {
            at_ms: self.at_ms,
            role: "process".to_owned(),
            name: "settings".to_owned(),
            of: String::new(),
            before: String::new(),
            now: self.summary(),
            why: self.by.clone(),
        }
    }
}

pub(crate) async fn reload(State(site): Shared, by: By) -> Result<Response<Body>, Error> {
    let reload = site.reload.clone();
    let reload =
        reload.ok_or_else(|| Error::new(StatusCode::NOT_FOUND, "there are no settings to reload here"))?;
    let task = tokio::spawn(reload.reload(by.to_string()));
    let done = match tokio::time::timeout(TIMEOUT, task).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => return Err(Error::new(StatusCode::INTERNAL_SERVER_ERROR, "failed: see the log")),
        Err(_) => {
            let what = "not done yet, but it is still being worked on";
            return Err(Error::new(StatusCode::GATEWAY_TIMEOUT, what));
        }
    };
    site.live.look_soon();
    let status = match done.outcome {
        Outcome::Applied => return Ok(reply::json(StatusCode::OK, &json!({"changes": done.changes}))),
        Outcome::Wrong => StatusCode::UNPROCESSABLE_ENTITY,
        Outcome::NotNow => StatusCode::CONFLICT,
    };
    let error = json!({"message": done.problems.join("\n"), "problems": done.problems});
    Ok(reply::json(status, &json!({"error": error})))
}
