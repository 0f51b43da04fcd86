//! What `mainstay evidence list | show ID | replay ID --node URL` does; the binary adds the command line.

mod said;
mod table;

use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use mainstay_wire::client::{BadEndpoint, CallError, Client, Options};
use mainstay_wire::jwt::{self, Claims, Secret};
use tokio::time::Instant;
use url::Url;

use super::{Record, StoreError, id::readable, list as entries, load};
use said::{Said, clean};
use table::Table;

/// Characters of a reply's body that [`replay`] shows.
const SHOWN_OF_BODY: usize = 4_000;

/// Why a command failed. Names neither URLs nor secrets.
#[derive(Debug)]
pub enum CommandError {
    /// The directory or the record.
    Store(StoreError),
    /// The record's request is not there as it was sent, and why.
    NotReplayable(String),
    /// The URL can't be called.
    Node(BadEndpoint),
    /// There was no reply.
    Call(CallError),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::NotReplayable(note) => write!(f, "the request can't be replayed, it is kept {note}"),
            Self::Node(error) => write!(f, "--node: {error}"),
            Self::Call(error) => write!(f, "the node gave no reply: {error}"),
        }
    }
}

impl std::error::Error for CommandError {}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// `list`: one line a record, oldest first. Reads every record: blocks on the disk.
///
/// # Errors
/// Only if the directory can't be listed; an unreadable record is a line that says so.
pub fn list(dir: &Path) -> Result<String, CommandError> {
    let mut table = Table::new(["ID", "CAUSE", "METHOD", "BLOCK", "VERDICT", "VOTES"]);
    for entry in entries(dir)? {
        let id = entry.id.to_string();
        match entry.record {
            Ok(record) => table.row([
                id,
                record.cause.clone(),
                record.method.clone(),
                record.number.map_or_else(|| "?".to_owned(), |number| number.to_string()),
                record.verdict.clone(),
                votes(&record),
            ]),
            Err(error) => {
                let why = format!("unreadable: {error}");
                table.row([id, why, String::new(), String::new(), String::new(), String::new()]);
            }
        }
    }
    if table.is_empty() {
        return Ok(format!("no evidence in {}\n", dir.display()));
    }
    Ok(table.to_string())
}

/// `show`: who said what. `id` may be the beginning of a name that no other record has. Blocks on the disk.
///
/// # Errors
/// There is no such record, or it can't be read.
pub fn show(dir: &Path, id: &str) -> Result<String, CommandError> {
    Ok(describe(&load(dir, id)?))
}

/// `replay`: posts the request again, as it was, to a node, with a fresh token if there is a secret, and compares.
///
/// A forkchoiceUpdated moves the head of the node that gets it: replay to one that nobody uses.
///
/// # Errors
/// There is no such record, its request was cut off, or there was no HTTP reply within `timeout`.
pub async fn replay(
    dir: &Path,
    id: &str,
    node: &Url,
    secret: Option<&Secret>,
    now: SystemTime,
    timeout: Duration,
) -> Result<String, CommandError> {
    let record = load(dir, id)?;
    let Some(request) = record.request.verbatim() else {
        let note = record.request.note().unwrap_or("changed");
        return Err(CommandError::NotReplayable(note.to_owned()));
    };
    let client = Client::new(node, Options::default()).map_err(CommandError::Node)?;
    let token = secret.map(|secret| jwt::sign(secret, &Claims::at(now)));

    let sent = Instant::now();
    let reply =
        client.post(request.clone(), token.as_deref(), sent + timeout).await.map_err(CommandError::Call)?;
    let took = sent.elapsed();

    let body = String::from_utf8_lossy(&reply.body);
    let mut text = format!("{} of block {}\n", record.method, block(&record));
    let _ = writeln!(text, "then  verdict {}, {}", record.verdict, votes(&record));
    let _ = writeln!(
        text,
        "now   {} in {} ms, HTTP {}\n",
        Said::of_body(&reply.body),
        took.as_millis(),
        reply.status.as_u16()
    );
    let _ = writeln!(text, "{}", clean(&body, SHOWN_OF_BODY));
    Ok(text)
}

fn describe(record: &Record) -> String {
    let request = match record.request.note() {
        None => format!("{} bytes", record.request.kept().len()),
        Some(note) => format!("{} bytes kept, {note}", record.request.kept().len()),
    };
    let mut text = String::new();
    for (name, value) in [
        ("id", record.id.to_string()),
        ("time", readable(record.time)),
        ("cause", record.cause.clone()),
        ("method", record.method.clone()),
        ("block", block(record)),
        ("verdict", record.verdict.clone()),
        ("request", request),
        ("kept by", format!("mainstay {}", record.mainstay)),
    ] {
        let _ = writeln!(text, "{name:<8} {}", clean(&value, 500));
    }
    let mut table = Table::new(["NODE", "VOTE", "TOOK", "CLIENT", "SAID"]);
    for reply in &record.replies {
        table.row([
            reply.node.clone(),
            reply.vote.clone(),
            reply.took_ms.map_or_else(|| "-".to_owned(), |took| format!("{took} ms")),
            reply.client.clone().unwrap_or_else(|| "?".to_owned()),
            Said::of(reply).to_string(),
        ]);
    }
    format!("{text}\n{table}")
}

fn block(record: &Record) -> String {
    let number = record.number.map(|number| number.to_string());
    let parts: Vec<&str> = [number.as_deref(), record.block.as_deref()].into_iter().flatten().collect();
    if parts.is_empty() { "unknown".to_owned() } else { parts.join(" ") }
}

/// `geth-1 VALID, geth-2 INVALID`
fn votes(record: &Record) -> String {
    let votes: Vec<String> =
        record.replies.iter().map(|reply| format!("{} {}", reply.node, reply.vote)).collect();
    votes.join(", ")
}

#[cfg(test)]
mod tests;
