//! A consensus client that lies: it has the secret, so its tokens are good, and it claims to be ahead of everyone. Some of its blocks
//! are nonsense, others are as good as true ones but for their time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Result;
use crate::feed::payload;
use crate::lodestar::Chain;
use crate::rpc::{Endpoint, number, text, unix_time};

/// A head that nobody has, easy to find in a log.
pub const MADE_UP: &str = "0xf0f1f2f3f4f5f6f7f8f9fafbfcfdfefff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
/// How geth writes it down.
pub const MADE_UP_IN_LOGS: &str = "f0f1f2..fdfeff";
/// Slots ahead of the clock that it claims, beside the end of time.
const AHEAD: [u64; 4] = [2, 3, 10, 1_000];
const LIMIT: Duration = Duration::from_secs(1);
/// What an execution client gets to build a block in.
const BUILD_TIME: Duration = Duration::from_millis(100);
const NOTHING: &str = "0x0000000000000000000000000000000000000000000000000000000000000000";

/// A running forger; it ends when dropped.
pub struct Forger {
    sent: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Forger {
    /// Calls `target` from now on, again and again. The execution client at `truth` has the true chain; that at `own`, which nobody
    /// else uses, builds for it.
    pub fn start(target: Endpoint, truth: Endpoint, own: Endpoint, chain: Chain) -> Forger {
        let sent = Arc::new(AtomicU64::new(0));
        let counted = sent.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let forge = Forge { target, truth, own, chain };
            for round in 0.. {
                match forge.round(round).await {
                    Ok(()) => counted.fetch_add(1, Ordering::Relaxed),
                    Err(failure) => panic!("the forger can't go on: {failure}"),
                };
            }
        });
        Forger { sent, _tasks: tasks }
    }

    /// How many rounds of lies it has sent.
    pub fn rounds(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

struct Forge {
    target: Endpoint,
    truth: Endpoint,
    own: Endpoint,
    chain: Chain,
}

impl Forge {
    /// One lie of each kind. What is answered to them is the target's affair.
    async fn round(&self, round: usize) -> Result<()> {
        let newest = self.learn().await?;
        let head = text(&newest, "/hash")?;
        let time = match round % (AHEAD.len() + 1) {
            0 => u64::MAX,
            nth => unix_time().as_secs() + AHEAD[nth - 1] * self.chain.slot().as_secs(),
        };
        let attributes = json!({
            "timestamp": format!("{time:#x}"),
            "prevRandao": format!("{round:#066x}"),
            "suggestedFeeRecipient": "0xfefefefefefefefefefefefefefefefefefefefe",
            "withdrawals": [],
        });
        // One with a hash of its own, and one that takes a true block's hash: whoever goes by the hash alone has then heard of that block.
        let mut usurper = payload(&newest)?;
        usurper["timestamp"] = attributes["timestamp"].clone();
        let mut nonsense = usurper.clone();
        nonsense["blockHash"] = json!(format!("0xf0{round:062x}"));
        let mut lies = vec![
            ("engine_newPayloadV2", json!([usurper])),
            ("engine_newPayloadV2", json!([nonsense])),
            update(&head, &attributes),
            update(MADE_UP, &Value::Null),
            update(MADE_UP, &attributes),
        ];
        let sound = self.build(&head, &attributes).await?;
        let hash = text(&sound, "/blockHash")?;
        lies.extend([("engine_newPayloadV2", json!([sound])), update(&hash, &Value::Null)]);
        for (method, params) in lies {
            let _ = tokio::time::timeout(LIMIT, self.target.call(method, params)).await;
        }
        Ok(())
    }

    /// Brings its own execution client to the tip of the chain, and gives the block there.
    async fn learn(&self) -> Result<Value> {
        let head = |endpoint: &Endpoint| {
            let endpoint = endpoint.clone();
            async move { endpoint.call("eth_getBlockByNumber", json!(["latest", true])).await }
        };
        let (newest, own) = (head(&self.truth).await?, head(&self.own).await?);
        for next in number(&own, "/number")? + 1..=number(&newest, "/number")? {
            let params = json!([format!("{next:#x}"), true]);
            let block = self.truth.call("eth_getBlockByNumber", params).await?;
            self.own.call("engine_newPayloadV2", json!([payload(&block)?])).await?;
        }
        Ok(newest)
    }

    /// A block upon `head` with nothing wrong but its time.
    async fn build(&self, head: &str, attributes: &Value) -> Result<Value> {
        let (method, params) = update(head, attributes);
        let id = text(&self.own.call(method, params).await?, "/payloadId")?;
        tokio::time::sleep(BUILD_TIME).await;
        Ok(self.own.call("engine_getPayloadV2", json!([id])).await?["executionPayload"].take())
    }
}

fn update(head: &str, attributes: &Value) -> (&'static str, Value) {
    let state = json!({ "headBlockHash": head, "safeBlockHash": NOTHING, "finalizedBlockHash": NOTHING });
    ("engine_forkchoiceUpdatedV2", json!([state, attributes]))
}
