//! Documents in Redis.
//!
//! A document is a string without a TTL under `prefix + key`; compare and swap is a script of one key, so it works in a
//! Cluster, and against others that write with a plain SET. What is watched is read every [`POLL`], since not everyone who
//! writes tells, and at once when a mainstay has written: each publishes the document's key on `prefix +
//! "mainstay:changed"`. A user in Redis needs GET, SET, EVAL, PUBLISH and SUBSCRIBE there (and ROLE behind Sentinel).
//!
//! Every operation ends within [`OPERATION`]. After a failure the next tries to connect wait longer each time, up to half
//! a second, and what is asked meanwhile fails at once.

mod address;
mod fault;
mod link;
mod scripts;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use redis::{Value, cmd};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::board::Board;
use crate::tasks::Tasks;
use crate::{BoxFuture, MAX_DOCUMENT, Name, Seen, Store, StoreError, Swap};
pub use address::RedisAddress;
use fault::Fault;
use link::Server;
pub use scripts::RedisScripts;

/// How often documents that are watched are read.
const POLL: Duration = Duration::from_millis(500);
const _: () = assert!(POLL.as_millis() < 1000, "Store::watch promises a second");
/// How long an operation may take, connecting included.
const OPERATION: Duration = Duration::from_secs(2);
/// Before another try to subscribe.
const RESUBSCRIBE: Duration = Duration::from_secs(1);
/// What follows the prefix in the name of the channel.
const CHANNEL: &str = "mainstay:changed";

/// Keys: the document. Arguments: whether one is expected, which, the new one, channel, message. Gives 1, or what the
/// document is. A user who may not publish still changes it.
const SWAP: &str = "\
local now = redis.call('GET', KEYS[1])
if now == ARGV[3] then return 1 end
if ARGV[1] == '1' then
  if now ~= ARGV[2] then return now end
elseif now then
  return now
end
redis.call('SET', KEYS[1], ARGV[3])
redis.pcall('PUBLISH', ARGV[4], ARGV[5])
return 1";

/// Keeps documents in Redis. Clones share the connection.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
    _tasks: Arc<Tasks>,
}

struct Inner {
    server: Server,
    prefix: String,
    board: Board,
    /// Wakes the poll.
    wake: Notify,
}

impl RedisStore {
    /// Connects in the background; a Redis that can't be reached is no error. `prefix` is what all keys and the channel
    /// begin with. Call it within a tokio runtime.
    ///
    /// # Errors
    /// The file of certificates that the address names can't be read.
    pub fn open(address: RedisAddress, prefix: &str) -> Result<Self, StoreError> {
        let board = Board::new(address.to_string());
        let inner = Arc::new(Inner {
            server: Server::new(address)?,
            prefix: prefix.to_owned(),
            board,
            wake: Notify::new(),
        });
        let polling = tokio::spawn(poll(Arc::clone(&inner)));
        let listening = tokio::spawn(listen(Arc::clone(&inner)));
        let tasks = Tasks::new([polling.abort_handle(), listening.abort_handle()]);
        Ok(Self { inner, _tasks: Arc::new(tasks) })
    }
}

impl Inner {
    fn key(&self, name: &Name) -> String {
        format!("{}{}", self.prefix, name.key())
    }

    fn channel(&self) -> String {
        format!("{}{CHANNEL}", self.prefix)
    }

    /// An error that says where, and what it is about.
    fn error(&self, kind: fn(String) -> StoreError, fault: &Fault) -> StoreError {
        kind(format!("{}: {}", self.board.place(), fault.text))
    }

    async fn get(&self, name: &Name) -> Result<Option<Bytes>, StoreError> {
        let mut get = cmd("GET");
        get.arg(self.key(name));
        let deadline = Instant::now() + OPERATION;
        let mut answer = self.server.run(&get, deadline).await;
        // The server may have been restarted since it was last asked; reading twice does no harm.
        if answer.as_ref().is_err_and(|fault| fault.stale) {
            answer = self.server.run(&get, deadline).await;
        }
        match answer {
            Ok(Value::Nil) => Ok(None),
            Ok(Value::BulkString(bytes)) if bytes.len() <= MAX_DOCUMENT => Ok(Some(bytes.into())),
            Ok(_) => Err(self.foreign(name)),
            Err(fault) if fault.wrong_type => Err(self.foreign(name)),
            Err(fault) => Err(self.error(StoreError::Unreachable, &fault)),
        }
    }

    /// What is there is nobody's document.
    fn foreign(&self, name: &Name) -> StoreError {
        StoreError::Unreadable(format!(
            "{}: the key {} is not a string of at most {MAX_DOCUMENT} bytes",
            self.board.place(),
            self.key(name)
        ))
    }

    async fn look(&self, name: &Name) -> Result<Option<Bytes>, StoreError> {
        let ticket = self.board.begin(name);
        let result = self.get(name).await;
        self.board.read(name, ticket, &result);
        result
    }

    async fn swap(&self, name: &Name, expected: Option<&Bytes>, value: Bytes) -> Result<Swap, StoreError> {
        StoreError::unless_small(&value)?;
        let mut swap = cmd("EVAL");
        swap.arg(SWAP).arg(1).arg(self.key(name));
        swap.arg(u8::from(expected.is_some())).arg(expected.map_or(&b""[..], |bytes| bytes));
        swap.arg(&value[..]).arg(self.channel()).arg(name.key());
        match self.server.run(&swap, Instant::now() + OPERATION).await {
            Ok(Value::Int(1)) => {
                self.board.invalidate(name);
                // Others may have had their turn since, so what was written isn't shown as it is.
                if let Err(error) = self.look(name).await {
                    self.board.post(name, Some(value));
                    self.board.read(name, self.board.begin(name), &Err(error));
                }
                Ok(Swap::Done)
            }
            Ok(Value::Nil) => Ok(Swap::Changed(None)),
            Ok(Value::BulkString(bytes)) => Ok(Swap::Changed(Some(bytes.into()))),
            Ok(_) => Err(self.foreign(name)),
            Err(fault) if fault.wrong_type => Err(self.foreign(name)),
            Err(fault) if fault.delivered => Err(self.error(StoreError::Unknown, &fault)),
            Err(fault) => Err(self.error(StoreError::Unreachable, &fault)),
        }
    }
}

impl Store for RedisStore {
    fn read<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(self.inner.look(name))
    }

    fn swap<'a>(
        &'a self,
        name: &'a Name,
        expected: Option<&'a Bytes>,
        value: Bytes,
    ) -> BoxFuture<'a, Result<Swap, StoreError>> {
        Box::pin(self.inner.swap(name, expected, value))
    }

    fn watch(&self, name: &Name) -> watch::Receiver<Seen> {
        let receiver = self.inner.board.watch(name);
        self.inner.wake.notify_one();
        receiver
    }

    fn place(&self) -> &str {
        self.inner.board.place()
    }
}

/// Reads what is watched, again and again.
async fn poll(inner: Arc<Inner>) {
    loop {
        for name in inner.board.names() {
            // The board shows how it went.
            let _ = inner.look(&name).await;
        }
        // A notification, or the time; either way everything is read.
        let _ = tokio::time::timeout(POLL, inner.wake.notified()).await;
    }
}

/// Wakes the poll when another instance says that it has written.
async fn listen(inner: Arc<Inner>) {
    let mut linked = inner.server.linked();
    loop {
        let Ok(client) = linked.wait_for(Option::is_some).await.map(|client| client.clone()) else { return };
        linked.mark_unchanged();
        let Some(client) = client else { continue };
        let subscribing = async {
            let mut pubsub = client.get_async_pubsub().await?;
            pubsub.subscribe(inner.channel()).await?;
            redis::RedisResult::Ok(pubsub.into_on_message())
        };
        if let Ok(Ok(mut messages)) = tokio::time::timeout(OPERATION, subscribing).await {
            // For what was said before.
            inner.wake.notify_one();
            loop {
                tokio::select! {
                    message = messages.next() => match message {
                        Some(_) => inner.wake.notify_one(),
                        None => break,
                    },
                    // Redis is somewhere else now, or was away: this subscription may be dead without a sign.
                    _ = linked.changed() => break,
                }
            }
        }
        let _ = tokio::time::timeout(RESUBSCRIBE, linked.changed()).await;
    }
}
