//! Keeping evidence of disagreements: once a block, off the threads that serve.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use crate::config::EvidenceConfig;
use crate::evidence::{Id, Record, Reply, Store};
use crate::node::{Node, lock};
use crate::telemetry::Telemetry;

/// Blocks that are remembered as recorded.
const REMEMBERED: usize = 64;

/// A node, what it said in a word, when, and the body or what went wrong.
pub type Said = (Arc<Node>, &'static str, Duration, Result<Bytes, String>);

/// Causes of disagreements.
pub const SPLIT_VOTE: &str = "split vote";
/// See [`SPLIT_VOTE`].
pub const LATE_DISSENT: &str = "late dissent";

/// A disagreement to be kept.
pub struct Disagreement {
    /// [`SPLIT_VOTE`] or [`LATE_DISSENT`].
    pub cause: &'static str,
    /// The method.
    pub method: String,
    /// The block's hash.
    pub block: Option<String>,
    /// Its number.
    pub number: Option<u64>,
    /// What was told.
    pub verdict: String,
    /// The request.
    pub request: Bytes,
    /// What was heard.
    pub replies: Vec<Said>,
}

/// Keeps evidence.
pub struct Records {
    config: Option<EvidenceConfig>,
    store: Arc<OnceLock<Store>>,
    recorded: Mutex<VecDeque<String>>,
}

impl Records {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(config: Option<EvidenceConfig>) -> Self {
        Self { config, store: Arc::default(), recorded: Mutex::default() }
    }

    /// Keeps a disagreement, unless one of the same block has been kept.
    pub async fn keep(&self, disagreement: Disagreement, telemetry: &Telemetry) {
        let block = disagreement.block.clone().unwrap_or_default();
        {
            let mut recorded = lock(&self.recorded);
            let key = format!("{} {}", disagreement.cause, block);
            if recorded.contains(&key) {
                return;
            }
            if recorded.len() == REMEMBERED {
                recorded.pop_front();
            }
            recorded.push_back(key);
        }
        let cause = disagreement.cause;
        let Some(config) = self.config.clone() else {
            telemetry.evidence(cause, &block, None);
            return;
        };
        let store = self.store.clone();
        let saved = tokio::task::spawn_blocking(move || {
            let record = record(disagreement);
            // A folder that can't be opened now may be mended by the next time.
            let opened = match store.get() {
                Some(store) => store,
                None => {
                    let opened = Store::open(&config.dir, config.files, config.bytes);
                    let opened = opened.map_err(|e| e.to_string())?;
                    store.get_or_init(|| opened)
                }
            };
            opened.save(&record).map_err(|e| e.to_string())?;
            Ok(record.id.as_str().to_owned())
        });
        let saved = saved.await.unwrap_or_else(|e| Err(e.to_string()));
        telemetry.evidence(cause, &block, Some(&saved));
    }
}

#[allow(clippy::cast_possible_truncation)] // milliseconds since 1970 fit for a long time
fn record(d: Disagreement) -> Record {
    let millis = |d: Duration| d.as_millis() as u64;
    let time = crate::clock::wall().duration_since(UNIX_EPOCH).map(millis).unwrap_or_default();
    let replies = d.replies.into_iter().map(|(node, word, at, said)| {
        let (body, error) = match said {
            Ok(body) => (Some(body.into()), None),
            Err(error) => (None, Some(error)),
        };
        Reply {
            node: node.name().to_owned(),
            client: node.state().client.clone(),
            vote: word.to_owned(),
            took_ms: Some(millis(at)),
            status: body.is_some().then_some(200),
            error,
            body,
        }
    });
    Record {
        id: Id::new(time),
        time,
        method: d.method,
        block: d.block,
        number: d.number,
        verdict: d.verdict,
        cause: d.cause.to_owned(),
        mainstay: env!("CARGO_PKG_VERSION").to_owned(),
        replies: replies.collect(),
        request: d.request.into(),
    }
}
