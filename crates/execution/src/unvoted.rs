//! What can be said of a payload without any execution client: whether its hash is its block's.

use bytes::Bytes;

use crate::block_hash::{self, Check};
use crate::status::{PayloadStatus, Status};

/// Parameters up to this many bytes are hashed where they are: handing them to another thread would cost more.
const HASHED_IN_PLACE: usize = 16 << 10;

/// The status for the parameters of a newPayload that nobody voted on: SYNCING once the block hash has been checked, INVALID if that
/// is wrong. `None` if it can't be told: SYNCING would let the payload be imported unchecked.
pub async fn status(params: &Bytes) -> Option<PayloadStatus> {
    match check(params).await {
        Check::Match => Some(PayloadStatus::SYNCING),
        Check::Mismatch { expected, got } => {
            let text = format!("block hash mismatch: the payload says {expected}, its header gives {got}");
            let validation_error = serde_json::to_vec(&text).ok().map(Bytes::from);
            Some(PayloadStatus { status: Status::Invalid, validation_error, ..PayloadStatus::SYNCING })
        }
        Check::Unknown(_) => None,
    }
}

async fn check(params: &Bytes) -> Check {
    if params.len() <= HASHED_IN_PLACE {
        return block_hash::check(params);
    }
    let params = params.clone();
    // Hashing takes milliseconds for a large payload: not on a thread that serves.
    let check = tokio::task::spawn_blocking(move || block_hash::check(&params)).await;
    check.unwrap_or(Check::Unknown("the check failed"))
}
