//! `mainstay beacon`: a guard before each of some beacon nodes.

use std::ops::Deref;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::Value;

use crate::pair::Pair;
use crate::program::Program;
use crate::rpc::{LIMIT, exchange};
use crate::{Failure, Lab, Result, ensure, until};

/// A running `mainstay beacon`; what any role can do is [`Program`]'s.
pub struct Guards(Program);

impl Deref for Guards {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.0
    }
}

impl Guards {
    /// Starts a guard before each beacon node of `pair`, which wants so many peers, and waits until it listens.
    ///
    /// # Errors
    /// If the binary is missing or does not serve in time.
    pub async fn start(lab: &Lab, pair: &Pair, min_peers: [u64; 2]) -> Result<Guards> {
        let mut flags = Vec::new();
        let mut add = |flag: &str, value: String| flags.extend([flag.to_owned(), value]);
        for ((beacon, engine), peers) in pair.beacon.iter().zip(&pair.engines).zip(min_peers) {
            add("--beacon-node", beacon.api().to_owned());
            add("--execution-node", engine.clone());
            add("--min-peers", peers.to_string());
        }
        add("--jwt-secret", lab.secret.path().display().to_string());
        // Slots of 3 s: what holds for 12 s is a quarter of it here.
        add("--warm-up", "3s".to_owned());
        add("--max-block-age", "15s".to_owned());
        Ok(Guards(Program::start_with(lab, "beacon", pair.beacon.len(), flags).await?))
    }

    /// Where validator clients reach the node of guard `index`.
    pub fn url(&self, index: usize) -> &str {
        &self.0.urls()[index]
    }

    /// What guard `index` answers to any request: `None` if its node does, else why it is closed.
    ///
    /// # Errors
    /// If it does not answer, or with a 503 that is not its own.
    pub async fn closed(&self, index: usize) -> Result<Option<String>> {
        let request = Request::get(format!("{}/eth/v1/node/version", self.url(index))).body(Bytes::new())?;
        let (status, body) = exchange(request, LIMIT).await?;
        if status != StatusCode::SERVICE_UNAVAILABLE {
            ensure!(status.is_success(), "guard {index}: {status}");
            return Ok(None);
        }
        let body: Value = serde_json::from_slice(&body)?;
        let failures = body["failures"].as_array().filter(|failures| !failures.is_empty());
        ensure!(body["code"] == 503 && failures.is_some(), "guard {index} says {body}");
        Ok(body["message"].as_str().map(str::to_owned))
    }

    /// Waits until guard `index` is closed for one of these reasons (parts of what it says), and gives all that it says.
    ///
    /// # Errors
    /// If it is not after `limit`; says what it said.
    pub async fn closes(&self, index: usize, limit: Duration, why: &[&str]) -> Result<String> {
        until(&format!("guard {index} to close with {why:?}"), limit, async || {
            match self.closed(index).await? {
                Some(told) if why.iter().any(|why| told.contains(why)) => Ok(Some(told)),
                told => Err(Failure::new(told.unwrap_or_else(|| "it is open".to_owned()))),
            }
        })
        .await
    }

    /// Waits until guard `index` lets requests through.
    ///
    /// # Errors
    /// If it does not after `limit`; says what it said.
    pub async fn opens(&self, index: usize, limit: Duration) -> Result<()> {
        until(&format!("guard {index} to open"), limit, async || match self.closed(index).await? {
            None => Ok(Some(())),
            Some(why) => Err(Failure::new(why)),
        })
        .await
    }

    /// Waits until the node behind guard `index` has taken one more post of attestations.
    ///
    /// # Errors
    /// If it has not after `limit`.
    pub async fn attests(&self, index: usize, limit: Duration) -> Result<()> {
        let guard = format!("guard=\"beacon-{}\"", index + 1);
        let labels = [&*guard, "path=\"/eth/v1/beacon/pool/attestations\"", "status=\"200\"", "by=\"node\""];
        let taken = async || self.metric("mainstay_beacon_requests_total", &labels).await;
        let before = taken().await?;
        until(&format!("attestations to come through guard {index}"), limit, async || {
            Ok((taken().await? > before).then_some(()))
        })
        .await
    }
}
