//! A beacon node, or an execution node, in the same process: what it says, and what it ails from.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_wire::client::{Dial, Dialled, Duplex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// A way of failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ail {
    /// Nobody listens, and connections are reset.
    Refused,
    /// Closes the connection in an answer's place.
    Reset,
    /// Never answers.
    Hang,
    /// Takes so long for an answer.
    Slow(Duration),
    /// Answers this status, with the body of a good answer.
    Status(u16),
    /// Answers 200 and this.
    Body(&'static str),
    /// Closes the connection half-way through an answer's body.
    Truncated,
}

/// What a node says. The numbers of slots and peers are as the Beacon API has them.
#[derive(Clone, Debug)]
pub(super) struct Says {
    pub(super) syncing: String,
    pub(super) genesis_root: &'static str,
    pub(super) fork: &'static str,
    pub(super) peers: u64,
    pub(super) attnets: &'static str,
    pub(super) own: &'static str,
    pub(super) eth_syncing: &'static str,
    /// Of the execution node's head, in hex.
    pub(super) block_time: String,
}

impl Default for Says {
    fn default() -> Self {
        Self {
            syncing: syncing(100, "false", "false", "false"),
            genesis_root: "0x01",
            fork: "0x06000000",
            peers: 70,
            attnets: "0xffffffffffffffff",
            own: r#"{"data":{"fine":true}}"#,
            eth_syncing: "false",
            block_time: "0xffffffff".to_owned(),
        }
    }
}

/// The answer of `/eth/v1/node/syncing`.
pub(super) fn syncing(head: u64, is_syncing: &str, is_optimistic: &str, el_offline: &str) -> String {
    format!(
        r#"{{"data":{{"head_slot":"{head}","sync_distance":"0","is_syncing":{is_syncing},"is_optimistic":{is_optimistic},"el_offline":{el_offline}}}}}"#
    )
}

#[derive(Default)]
struct Inner {
    says: Says,
    /// What it ails from, and on which paths.
    ails: Option<(&'static str, Ail)>,
    /// Paths that it was asked for.
    asked: Vec<String>,
    /// Cancelled when connections are reset.
    lives: tokio_util::sync::CancellationToken,
}

/// A node. Clones are the same one.
#[derive(Clone, Default)]
pub(super) struct Node(Arc<Mutex<Inner>>);

impl Node {
    fn with<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn says(&self, change: impl FnOnce(&mut Says)) {
        self.with(|inner| change(&mut inner.says));
    }

    /// From now on, on paths that begin so.
    pub(super) fn ails(&self, path: &'static str, ail: Ail) {
        self.with(|inner| {
            inner.ails = Some((path, ail));
            if ail == Ail::Refused {
                std::mem::take(&mut inner.lives).cancel();
            }
        });
    }

    pub(super) fn heals(&self) {
        self.with(|inner| inner.ails = None);
    }

    /// How often it was asked for a path.
    pub(super) fn asked(&self, path: &str) -> usize {
        self.with(|inner| inner.asked.iter().filter(|asked| *asked == path).count())
    }

    async fn converse(self, mut stream: DuplexStream) -> io::Result<()> {
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
            stream.read_exact(&mut body).await?;
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let ail = self.with(|inner| {
                inner.asked.push(path.clone());
                inner.ails.filter(|(prefix, _)| path.starts_with(prefix)).map(|(_, ail)| ail)
            });
            let mut answer = self.with(|inner| answer(&inner.says, &path, &body));
            let mut status = 200;
            match ail {
                Some(Ail::Reset | Ail::Refused) => return Ok(()),
                Some(Ail::Hang) => std::future::pending().await,
                Some(Ail::Slow(by)) => tokio::time::sleep(by).await,
                Some(Ail::Status(other)) => status = other,
                Some(Ail::Body(other)) => answer = other.to_owned(),
                Some(Ail::Truncated) | None => {}
            }
            let length = answer.len() + usize::from(ail == Some(Ail::Truncated));
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{answer}");
            stream.write_all(answer.as_bytes()).await?;
            if ail == Some(Ail::Truncated) {
                return Ok(());
            }
        }
    }
}

impl Dial for Node {
    fn dial(&self) -> Dialled<'_> {
        let refuses = self.with(|inner| matches!(inner.ails, Some((_, Ail::Refused))));
        if refuses {
            return Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) });
        }
        let (near, far) = tokio::io::duplex(64 << 10);
        let (node, lives) = (self.clone(), self.with(|inner| inner.lives.clone()));
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = lives.cancelled() => {}
                _ = node.converse(far) => {}
            }
        });
        let near: Box<dyn Duplex> = Box::new(near);
        Box::pin(async { Ok(near) })
    }
}

fn answer(says: &Says, path: &str, body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    match path {
        "/eth/v1/node/syncing" => says.syncing.clone(),
        "/eth/v1/node/peer_count" => format!(r#"{{"data":{{"connected":"{}"}}}}"#, says.peers),
        "/eth/v1/node/identity" => {
            format!(r#"{{"data":{{"metadata":{{"attnets":"{}"}}}}}}"#, says.attnets)
        }
        "/eth/v1/beacon/genesis" => format!(
            r#"{{"data":{{"genesis_validators_root":"{}","genesis_time":"1606824023","genesis_fork_version":"0x00"}}}}"#,
            says.genesis_root
        ),
        "/eth/v1/config/spec" => r#"{"data":{"SECONDS_PER_SLOT":"12","SLOTS_PER_EPOCH":"32"}}"#.to_owned(),
        "/eth/v1/beacon/states/head/fork" => {
            format!(r#"{{"data":{{"current_version":"{}","epoch":"3"}}}}"#, says.fork)
        }
        "/own" => says.own.to_owned(),
        "/" if body.contains("eth_syncing") => {
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{}}}"#, says.eth_syncing)
        }
        "/" => format!(
            r#"{{"jsonrpc":"2.0","id":2,"result":{{"number":"0x7","timestamp":"{}"}}}}"#,
            says.block_time
        ),
        _ => "{}".to_owned(),
    }
}
