//! From checked values to checks.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use mainstay_settings::{Problem, Settings};
use mainstay_wire::client::Client;
use serde_json::{Value, json};
use url::Url;

use super::{Node, OwnCheck, Question, Target, options};
use crate::config::{Builtin, Guarded, Tuning};
use crate::core::TRAFFIC;
use crate::expect::Expectation;

/// The longest name of a check, in bytes.
const MAX_NAME: usize = 64;

/// What else stands as a reason beside the names of checks.
const RESERVED: [&str; 3] = [TRAFFIC, "operator", "warm_up"];

/// Which keys belong to which kind.
const KINDS: [(&str, &[&str]); 3] = [
    ("http", &["node", "path", "method", "headers", "body"]),
    ("jsonrpc", &["node", "method", "params"]),
    ("command", &["program", "args"]),
];

/// Headers that are the client's to write.
const OURS: [HeaderName; 8] =
    [CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

pub(super) fn checks(
    tables: &[Settings],
    guards: Option<&[Guarded]>,
    problems: &mut Vec<Problem>,
) -> Vec<OwnCheck> {
    let mut checks: Vec<OwnCheck> = Vec::new();
    for table in tables {
        let Some(check) = table.validate(problems, check) else { continue };
        if checks.iter().any(|other| other.name == check.name) {
            problems.push(table.problem("name", format!("another check is called {} too", check.name)));
        }
        if let Some(guards) = guards {
            guards_of(&check, table, guards, problems);
        }
        checks.push(check);
    }
    checks
}

/// Whether there are such guards, and whether they have the node that is asked.
fn guards_of(check: &OwnCheck, table: &Settings, guards: &[Guarded], problems: &mut Vec<Problem>) {
    for (i, name) in check.guards.iter().enumerate() {
        if !guards.iter().any(|guard| guard.name == *name) {
            let known: Vec<&str> = guards.iter().map(|guard| guard.name.as_str()).collect();
            let what = format!("there is no guard {name}, there are {}", known.join(", "));
            problems.push(table.item_problem("guards", i, what));
        }
    }
    let asks_execution = match &check.question {
        Question::Http { target: Target::Path(node, _), .. } | Question::JsonRpc { node, .. } => {
            *node == Node::Execution
        }
        Question::Http { .. } | Question::Command { .. } => false,
    };
    let without = |guard: &&Guarded| check.is_for(&guard.name) && guard.execution_node.is_none();
    if asks_execution && let Some(guard) = guards.iter().find(without) {
        let what = format!(
            "guard {} has no execution node: give it one, or name those that have one in guards",
            guard.name
        );
        let place = ["node", "kind", "method"].into_iter().find(|key| table.is_set(key));
        problems.push(table.problem(place.unwrap_or("kind"), what));
    }
}

fn check(s: &Settings, problems: &mut Vec<Problem>) -> Option<OwnCheck> {
    let kind = kind(s, problems)?;
    foreign_keys(s, kind, problems);
    let tuning = Tuning::read(s, problems);
    let expect = s.text("expect").unwrap_or(Question::default_expectation(kind));
    let expect =
        Expectation::compile(expect).map_err(|why| problems.push(s.problem("expect", why.to_string())));
    let question = match kind {
        "http" => http(s, problems),
        "jsonrpc" => json_rpc(s, problems),
        _ => command(s, problems),
    };
    Some(OwnCheck {
        name: name(s, problems)?,
        question: question?,
        expect: Arc::new(expect.ok()?),
        soft: s.switch("soft"),
        guards: s.list("guards"),
        tuning,
    })
}

/// Its kind, by what it asks if it isn't said.
fn kind<'a>(s: &'a Settings, problems: &mut Vec<Problem>) -> Option<&'a str> {
    let asks = [("path", "http"), ("program", "command"), ("method", "jsonrpc")];
    let by_key = || asks.iter().find(|(key, _)| s.is_set(key)).map(|(_, kind)| *kind);
    let kind = s.text("kind").or_else(by_key);
    if kind.is_none() {
        let what = "it asks nothing: give it path (http), method (jsonrpc) or program (command)";
        // It stands nowhere: the name does.
        problems.push(Problem { origin: s.origin("name").clone(), ..s.problem("kind", what) });
    }
    kind
}

/// It stands in headers, labels of metrics and paths of the API.
fn name(s: &Settings, problems: &mut Vec<Problem>) -> Option<String> {
    let name = s.text("name")?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.len() > MAX_NAME || !name.bytes().all(is_plain) {
        let what = format!("a name has letters, digits, -, _ and . only, at most {MAX_NAME}");
        problems.push(s.problem("name", what));
    }
    if Builtin::ALL.iter().any(|builtin| builtin.word() == name) || RESERVED.contains(&name) {
        problems.push(s.problem("name", format!("{name} is a check of mainstay's own, take another name")));
    }
    Some(name.to_owned())
}

/// Keys that the kind doesn't have.
fn foreign_keys(s: &Settings, kind: &str, problems: &mut Vec<Problem>) {
    let own = KINDS.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, keys)| keys);
    let mut told: Vec<&str> = Vec::new();
    for key in KINDS.iter().flat_map(|(_, keys)| *keys) {
        if s.is_set(key) && !own.contains(key) && !told.contains(key) {
            told.push(key);
            let owners = KINDS.iter().filter(|(_, keys)| keys.contains(key)).map(|(name, _)| *name);
            let owners = owners.collect::<Vec<_>>().join(" and ");
            problems.push(s.problem(key, format!("is for kind {owners}, this check is of kind {kind}")));
        }
    }
}

/// The value of a key that the kind can't do without.
fn needed<'a>(s: &'a Settings, kind: &str, key: &str, problems: &mut Vec<Problem>) -> Option<&'a str> {
    let value = s.text(key);
    if value.is_none() {
        // It stands nowhere, so the place is that of the kind.
        let what = format!("a check of kind {kind} needs {key}");
        problems.push(s.problem("kind", what));
    }
    value
}

fn node(s: &Settings, otherwise: Node) -> Node {
    match s.text("node") {
        Some("beacon") => Node::Beacon,
        Some(_) => Node::Execution,
        None => otherwise,
    }
}

fn http(s: &Settings, problems: &mut Vec<Problem>) -> Option<Question> {
    let target = match needed(s, "http", "path", problems) {
        Some(path) => target(s, path).map_err(|what| problems.push(s.problem("path", what))).ok(),
        None => None,
    };
    let method = match s.text("method").unwrap_or("GET").parse() {
        Ok(Method::CONNECT) => Err("CONNECT is for proxies".to_owned()),
        Ok(method) => Ok(method),
        Err(_) => Err("is no method of HTTP".to_owned()),
    };
    let method = method.map_err(|what| problems.push(s.problem("method", what))).ok();
    let body = Bytes::from(s.text("body").unwrap_or_default().to_owned());
    let mut headers = headers(s, problems);
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
    if serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok() {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    }
    Some(Question::Http { target: target?, method: method?, headers, body })
}

/// Errors quote nothing: a URL may hold credentials.
fn target(s: &Settings, path: &str) -> Result<Target, String> {
    let asked = |path: &str| path.parse::<PathAndQuery>().map(|path| path.to_string());
    if path.starts_with('/') {
        let path = asked(path).map_err(|_| "is no path that can be asked for".to_owned())?;
        return Ok(Target::Path(node(s, Node::Beacon), path));
    }
    let url = Url::parse(path).map_err(|_| {
        "has to be a path, for example \"/eth/v1/node/version\", or an absolute URL".to_owned()
    })?;
    if s.is_set("node") {
        return Err("is a URL of its own, leave out node".to_owned());
    }
    let client = Client::new(&url, options()).map_err(|error| error.to_string())?;
    let target = url.query().map_or(url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    Ok(Target::Url(client, asked(&target).map_err(|_| "is no URL that can be asked for".to_owned())?))
}

fn headers(s: &Settings, problems: &mut Vec<Problem>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (i, text) in s.list("headers").iter().enumerate() {
        let mut problem = |what: String| problems.push(s.item_problem("headers", i, what));
        let Some((name, value)) = text.split_once(':') else {
            problem("is no header, write \"name: value\"".to_owned());
            continue;
        };
        match (name.trim().parse::<HeaderName>(), HeaderValue::try_from(value.trim())) {
            (Ok(name), _) if OURS.contains(&name) => {
                problem(format!("{name} belongs to the connection and can't be set"));
            }
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                headers.append(name, value);
            }
            (Err(_), _) => problem("has no name of a header before the colon".to_owned()),
            (_, Err(_)) => problem("has no value of a header after the colon".to_owned()),
        }
    }
    headers
}

fn json_rpc(s: &Settings, problems: &mut Vec<Problem>) -> Option<Question> {
    let params = match serde_json::from_str(s.text("params").unwrap_or("[]")) {
        Ok(params @ (Value::Array(_) | Value::Object(_))) => Some(params),
        Ok(_) => {
            problems.push(
                s.problem("params", "has to be a list or an object, for example \"[\\\"latest\\\", false]\""),
            );
            None
        }
        Err(error) => {
            problems.push(s.problem("params", format!("is not JSON: {error}")));
            None
        }
    };
    let method = needed(s, "jsonrpc", "method", problems)?;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params?});
    Some(Question::JsonRpc { node: node(s, Node::Execution), call: call.to_string().into() })
}

fn command(s: &Settings, problems: &mut Vec<Problem>) -> Option<Question> {
    let program = needed(s, "command", "program", problems)?;
    match locate(s, program) {
        Ok(program) => Some(Question::Command { program, args: s.list("args") }),
        Err(what) => {
            problems.push(s.problem("program", what));
            None
        }
    }
}

/// The file that a program is, which has to be there.
fn locate(s: &Settings, program: &str) -> Result<PathBuf, String> {
    if program.contains('/') {
        let path = s.origin("program").locate(Path::new(program));
        return match std::fs::metadata(&path) {
            Err(error) => Err(format!("{} can't be run: {error}", path.display())),
            Ok(_) if is_executable(&path) => Ok(path),
            Ok(_) => Err(format!("{} can't be run: it is not executable", path.display())),
        };
    }
    #[allow(
        clippy::disallowed_methods,
        reason = "the PATH by which the system finds programs is no setting of ours"
    )]
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| is_executable(path));
    found.ok_or_else(|| format!("there is no program {program} on the PATH, give its whole path"))
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
