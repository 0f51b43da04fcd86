//! Copies of every engine call to other endpoints: sent, never waited for, never delaying the consensus client.

use bytes::Bytes;
use mainstay_wire::client::Transport;
use mainstay_wire::jwt::Secret;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::NodeConfig;
use crate::node::Caller;
use crate::telemetry::Telemetry;

/// Copies that wait for one endpoint; more are dropped and counted.
const QUEUE: usize = 64;
/// Longest time for one copy.
const LIMIT: Duration = Duration::from_secs(8);

/// An endpoint that gets copies.
pub struct Mirror {
    name: String,
    queue: mpsc::Sender<(Bytes, Caller)>,
    telemetry: Telemetry,
}

impl Mirror {
    /// Starts the endpoint's task.
    #[must_use]
    pub fn start(
        config: &NodeConfig,
        transport: Arc<dyn Transport>,
        telemetry: &Telemetry,
        stop: &CancellationToken,
    ) -> Self {
        let (queue, copies) = mpsc::channel(QUEUE);
        let limit = config.spec.timeout.map_or(LIMIT, |own| own.min(LIMIT));
        tokio::spawn(run(transport, config.secret.clone(), copies, limit, stop.clone()));
        Self { name: config.spec.name.clone(), queue, telemetry: telemetry.clone() }
    }

    /// Sends a copy.
    pub fn copy(&self, request: &Bytes, caller: &Caller) {
        if self.queue.try_send((request.clone(), caller.clone())).is_err() {
            self.telemetry.mirror_dropped(&self.name);
        }
    }
}

async fn run(
    transport: Arc<dyn Transport>,
    secret: Option<Secret>,
    mut copies: mpsc::Receiver<(Bytes, Caller)>,
    limit: Duration,
    stop: CancellationToken,
) {
    let send = async {
        while let Some((request, caller)) = copies.recv().await {
            let token = caller.token_for(secret.as_ref());
            if let Err(error) = transport.post(request, token.as_deref(), Instant::now() + limit).await {
                tracing::debug!(%error, "a copy to a mirror failed");
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = send => {}
    }
}
