//! Checks of the operator's own, `[[beacon.check]]`: one question over HTTP, JSON-RPC or to a program, and what the answer is
//! expected to be ([`crate::expect`]).
//!
//! Whatever answers is judged by the expression, an HTTP error and a program that fails too: `status` is for that. What doesn't
//! answer in time or at all is a failed round. Findings name no address, no credential and nothing of what was configured.

mod command;
mod read;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Request};
use mainstay_settings::{Problem, Settings};
use mainstay_wire::client::{BadEndpoint, CallError, Client, Options};
use mainstay_wire::jwt::{self, Claims, Secret};
use serde_json::Value;
use tokio::time::timeout_at;
use url::Url;

use crate::config::{Guarded, Tuning};
use crate::expect::{Expectation, Facts, Seen};
use crate::finding::{Finding, Verdict};
use crate::rounds::unanswered;

pub use table::CHECK;

/// The most that is read of an answer, in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// A check of the operator's own.
#[derive(Clone, Debug)]
pub struct OwnCheck {
    /// In logs, metrics, replies and the API. No other check has it.
    pub name: String,
    /// What is asked.
    pub question: Question,
    /// What is expected.
    pub expect: Arc<Expectation>,
    /// A node that fails it is better than none.
    pub soft: bool,
    /// The names of the guards that it is for; empty: all.
    pub guards: Vec<String>,
    /// Each in place of the section's own.
    pub tuning: Tuning,
}

/// One of a guard's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// Its beacon node.
    Beacon,
    /// Its execution node.
    Execution,
}

/// Where an HTTP request goes.
#[derive(Clone)]
pub enum Target {
    /// To a path of a node, after the path that the node's own URL may have.
    Path(Node, String),
    /// Somewhere else; path and query there.
    Url(Client, String),
}

/// What is asked.
#[derive(Clone)]
pub enum Question {
    /// An HTTP request. Redirects aren't followed: their status is an answer.
    Http {
        /// Where it goes.
        target: Target,
        /// Its method.
        method: Method,
        /// May hold secrets: never show them.
        headers: HeaderMap,
        /// Its body.
        body: Bytes,
    },
    /// A JSON-RPC call, posted to the node's own URL.
    JsonRpc {
        /// Whom it is for. An execution node with a secret gets a token with it.
        node: Node,
        /// The whole call.
        call: Bytes,
    },
    /// A program, started without a shell.
    Command {
        /// Where it lies.
        program: PathBuf,
        /// Its arguments.
        args: Vec<String>,
    },
}

impl Question {
    /// What an answer has to be unless told otherwise.
    #[must_use]
    pub fn default_expectation(kind: &str) -> &'static str {
        match kind {
            "http" => "status >= 200 && status < 300",
            "jsonrpc" => "has(body.result) && !has(body.error)",
            _ => "status == 0",
        }
    }
}

impl std::fmt::Debug for Question {
    /// Without anything that may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http { target: Target::Path(Node::Beacon, _), .. } => "Http to the beacon node",
            Self::Http { target: Target::Path(Node::Execution, _), .. } => "Http to the execution node",
            Self::Http { .. } => "Http",
            Self::JsonRpc { node: Node::Beacon, .. } => "JsonRpc to the beacon node",
            Self::JsonRpc { node: Node::Execution, .. } => "JsonRpc to the execution node",
            Self::Command { .. } => "Command",
        })
    }
}

/// What all checks of one guard share.
#[derive(Clone, Debug)]
pub struct Context {
    facts: Facts,
    beacon: Place,
    execution: Option<Place>,
}

/// A node, as checks reach it: over connections of their own, which read no more than [`MAX_BODY`].
#[derive(Clone, Debug)]
struct Place {
    client: Client,
    /// The path of the node's URL, without a `/` at the end.
    base: String,
    /// Scheme, host and port.
    origin: String,
    secret: Option<Secret>,
}

impl Place {
    fn new(url: &Url, secret: Option<Secret>, connect: Connect<'_>) -> Result<Self, BadEndpoint> {
        let client = connect(url, options())?;
        let base = url.path().trim_end_matches('/').to_owned();
        Ok(Self { client, base, origin: url.origin().ascii_serialization(), secret })
    }

    fn token(&self, now: SystemTime) -> Option<String> {
        self.secret.as_ref().map(|secret| jwt::sign(secret, &Claims::at(now)))
    }
}

/// Makes a client: [`Client::new`], or something that takes its place in tests.
pub(crate) type Connect<'a> = &'a dyn Fn(&Url, Options) -> Result<Client, BadEndpoint>;

/// Those of a client for checks.
fn options() -> Options {
    // Node.js closes an idle connection after 5 s.
    let idle_timeout = Duration::from_secs(4);
    Options { max_idle: 2, max_reply: MAX_BODY, idle_timeout, ..Options::default() }
}

fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

impl Context {
    /// For the checks of `guard`, whose nodes `connect` makes clients for. Opens no connection.
    ///
    /// # Errors
    /// What about the URL of one of its nodes can't be used.
    pub(crate) fn new(guard: &Guarded, connect: Connect<'_>) -> Result<Self, BadEndpoint> {
        let execution = guard.execution_node.as_ref();
        Ok(Self {
            facts: Facts {
                name: guard.name.clone(),
                beacon_node: host_and_port(&guard.beacon_node),
                execution_node: execution.map(|node| host_and_port(&node.url)),
                min_peers: guard.min_peers,
                listen: guard.listen.to_string(),
                attnets: guard.attnets.map(|wanted| wanted.numbers().collect()),
            },
            beacon: Place::new(&guard.beacon_node, None, connect)?,
            execution: execution
                .map(|node| Place::new(&node.url, node.secret.clone(), connect))
                .transpose()?,
        })
    }

    fn place(&self, node: Node) -> Result<&Place, Miss> {
        match node {
            Node::Beacon => Ok(&self.beacon),
            Node::Execution => self
                .execution
                .as_ref()
                .ok_or_else(|| Miss::Other("the guard has no execution node".to_owned())),
        }
    }
}

/// What an answer is made of, whoever gave it.
struct Answer {
    status: i64,
    headers: BTreeMap<String, String>,
    body: Bytes,
}

/// Why there is no answer.
enum Miss {
    /// The guard's own beacon node isn't there.
    Gone(String),
    Other(String),
}

impl OwnCheck {
    /// The checks of `[[beacon.check]]` for these guards, which aren't looked at where something is wrong with them: `None`. What is wrong
    /// with the checks is added to `problems`; nothing is asked and no program is run.
    pub fn from_tables(
        tables: &[Settings],
        guards: Option<&[Guarded]>,
        problems: &mut Vec<Problem>,
    ) -> Vec<Self> {
        read::checks(tables, guards, problems)
    }

    /// Whether it is for the guard of this name.
    #[must_use]
    pub fn is_for(&self, guard: &str) -> bool {
        self.guards.is_empty() || self.guards.iter().any(|name| name == guard)
    }

    /// Asks once. Ends by `deadline`; dropped before that it leaves nothing running.
    pub async fn ask(&self, context: &Context, deadline: Instant, now: SystemTime) -> Finding {
        let asked = timeout_at(deadline.into(), self.put(context, deadline, now)).await;
        match asked.unwrap_or_else(|_| Err(Miss::Other("timed out".to_owned()))) {
            Ok(answer) => self.judge(answer, context, deadline, now).await,
            Err(Miss::Gone(saw)) => Finding::gone(saw),
            Err(Miss::Other(saw)) => self.failed(saw),
        }
    }

    fn failed(&self, saw: String) -> Finding {
        if self.soft { Finding::soft(saw) } else { Finding::hard(saw) }
    }

    async fn put(&self, context: &Context, deadline: Instant, now: SystemTime) -> Result<Answer, Miss> {
        let (is_own, sent) = match &self.question {
            Question::Http { target, method, headers, body } => {
                let (place, client, path) = match target {
                    Target::Path(node, path) => {
                        let place = context.place(*node)?;
                        (Some(place), &place.client, format!("{}{path}", place.base))
                    }
                    Target::Url(client, path) => (None, client, path.clone()),
                };
                let mut request = Request::new(body.clone());
                *request.method_mut() = method.clone();
                *request.uri_mut() =
                    path.parse().map_err(|_| Miss::Other("the path can't be asked for".to_owned()))?;
                *request.headers_mut() = headers.clone();
                if let Some(token) = place.and_then(|place| place.token(now))
                    && !headers.contains_key(AUTHORIZATION)
                    && let Ok(value) = HeaderValue::try_from(format!("Bearer {token}"))
                {
                    request.headers_mut().insert(AUTHORIZATION, value);
                }
                let is_own = matches!(target, Target::Path(Node::Beacon, _));
                (is_own, client.send(request, deadline.into()).await)
            }
            Question::JsonRpc { node, call } => {
                let place = context.place(*node)?;
                let token = place.token(now);
                (
                    *node == Node::Beacon,
                    place.client.post(call.clone(), token.as_deref(), deadline.into()).await,
                )
            }
            Question::Command { program, args } => {
                let told = [
                    ("MAINSTAY_GUARD", context.facts.name.as_str()),
                    ("MAINSTAY_BEACON_NODE", &context.beacon.origin),
                    ("MAINSTAY_EXECUTION_NODE", context.execution.as_ref().map_or("", |place| &place.origin)),
                ];
                let (status, body) = command::run(program, args, &told).await.map_err(Miss::Other)?;
                return Ok(Answer { status, headers: BTreeMap::new(), body });
            }
        };
        match sent {
            Ok(reply) => Ok(Answer {
                status: i64::from(reply.status.as_u16()),
                headers: header_texts(&reply.headers()),
                body: reply.body,
            }),
            Err(error) => Err(missed(&error, is_own)),
        }
    }

    /// On a thread that may take its time: JSON of a mebibyte and the work that an expression may do are too long for one that
    /// serves requests.
    async fn judge(&self, answer: Answer, context: &Context, deadline: Instant, now: SystemTime) -> Finding {
        let (expect, guard) = (self.expect.clone(), context.facts.clone());
        let judging = tokio::task::spawn_blocking(move || {
            let Answer { status, headers, body } = answer;
            expect.judge(&Seen { status, headers, body: parsed(&body), now, guard })
        });
        match timeout_at(deadline.into(), judging).await {
            Ok(Ok(judged)) if judged.met => Finding::good(judged.saw),
            Ok(Ok(judged)) => self.failed(judged.saw),
            Ok(Err(_)) => self.failed("judging what came broke off".to_owned()),
            Err(_) => self.failed("timed out while judging what came".to_owned()),
        }
    }
}

fn missed(error: &CallError, is_own_beacon_node: bool) -> Miss {
    let Finding { verdict, saw } = unanswered(error);
    if is_own_beacon_node && verdict == Verdict::Gone { Miss::Gone(saw) } else { Miss::Other(saw) }
}

/// JSON if it is some, else text without white space at its end; null if there is nothing.
pub(crate) fn parsed(body: &[u8]) -> Value {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Value::Null;
    }
    serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).trim_end().to_owned()))
}

fn header_texts(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for name in headers.keys() {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        texts.insert(name.as_str().to_owned(), values.collect::<Vec<_>>().join(", "));
    }
    texts
}

#[cfg(test)]
mod tests;
