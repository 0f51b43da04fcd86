//! Reading a body that a client sends: no more than is allowed, and not for ever.

use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use mainstay_wire::body::{self, BodyError};

use crate::reply::Failure;

/// Longest time that a client may take to send a body, however steadily it comes.
const LONGEST: Duration = Duration::from_secs(30);

/// Reads a body of at most `most` bytes. What is larger is refused while it comes.
///
/// # Errors
/// It is too large, too slow, or breaks off.
pub(crate) async fn read(body: Incoming, most: usize) -> Result<Bytes, Failure> {
    body::read_in(body, most, LONGEST).await.map_err(|error| match error {
        BodyError::TooLarge => Failure::TooLarge,
        BodyError::Timeout => Failure::BodyTimeout,
        BodyError::Aborted => Failure::BadBody,
    })
}
