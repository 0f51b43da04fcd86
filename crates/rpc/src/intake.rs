//! Reading a body that a client sends: no more than is allowed, and not for ever.

use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use mainstay_wire::body::{self, BodyError};
use tokio::time::timeout;

use crate::reply::Failure;

/// Longest time that a client may take to send a body, however steadily it comes.
const LONGEST: Duration = Duration::from_secs(30);

/// Reads a body of at most `most` bytes. What is larger is refused while it comes.
///
/// # Errors
/// It is too large, too slow, or breaks off.
pub(crate) async fn read(body: Incoming, most: usize) -> Result<Bytes, Failure> {
    match timeout(LONGEST, body::read(body, most)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(BodyError::TooLarge)) => Err(Failure::TooLarge),
        Err(_) | Ok(Err(BodyError::Timeout)) => Err(Failure::BodyTimeout),
        Ok(Err(BodyError::Aborted)) => Err(Failure::BadBody),
    }
}
