//! Scripts of one's own, for what has to look at and change several keys in one step.

use std::fmt;

use bytes::Bytes;
use redis::{Value, cmd};
use tokio::time::Instant;

use super::address::RedisAddress;
use super::fault::Fault;
use super::link::Server;
use crate::StoreError;

/// Runs scripts in Redis, over one connection that is opened when it is needed and given up when it fails. An answer that comes
/// too late is such a failure: who reconnects finds a server that has moved, which one who waits doesn't.
pub struct RedisScripts {
    server: Server,
    place: String,
}

impl RedisScripts {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The file of certificates that the address names can't be read.
    pub fn open(address: RedisAddress) -> Result<Self, StoreError> {
        let place = address.to_string();
        Ok(Self { server: Server::new(address)?, place })
    }

    /// Runs a script; in a Cluster all its keys have one hash tag. It has to give a list of strings, in which `false` may stand for one
    /// (`None`). It may run twice, where a connection turns out to have died. Call it within a tokio runtime. What it takes to connect goes on
    /// after the deadline, for who asks next.
    ///
    /// # Errors
    /// There was no answer by `deadline`, or another one than that.
    pub async fn run(
        &self,
        script: &str,
        keys: &[String],
        arguments: &[&str],
        deadline: Instant,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut eval = cmd("EVAL");
        eval.arg(script).arg(keys.len()).arg(keys).arg(arguments);
        let mut answer = self.server.run(&eval, deadline).await;
        // The server may have been restarted since it was last asked.
        if answer.as_ref().is_err_and(|fault| fault.stale) {
            answer = self.server.run(&eval, deadline).await;
        }
        match answer {
            Ok(Value::Array(values)) => values.into_iter().map(|value| self.text(value)).collect(),
            Ok(_) => Err(self.foreign()),
            Err(fault) => Err(self.failed(&fault)),
        }
    }

    /// Where it is, for logs: no credentials in it.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    fn text(&self, value: Value) -> Result<Option<Bytes>, StoreError> {
        match value {
            Value::BulkString(bytes) => Ok(Some(bytes.into())),
            Value::Nil => Ok(None),
            _ => Err(self.foreign()),
        }
    }

    fn foreign(&self) -> StoreError {
        StoreError::Unreadable(format!("{}: the script's answer is no list of strings", self.place))
    }

    fn failed(&self, fault: &Fault) -> StoreError {
        let kind = if fault.delivered { StoreError::Unknown } else { StoreError::Unreachable };
        kind(format!("{}: {}", self.place, fault.text))
    }
}

impl fmt::Debug for RedisScripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisScripts").field(&self.place).finish()
    }
}
