//! Reading a body that a client sends: no more than is allowed, alone and together with others, and not for ever.

use std::time::Duration;

use bytes::Bytes;
use mainstay_wire::body::{BodyError, Unread};
use mainstay_wire::server::RequestBody;

use crate::config::Config;
use crate::core::Core;
use crate::reply::Failure;

/// Longest time that a client may take to send a body, however steadily it comes.
const LONGEST: Duration = Duration::from_secs(30);

/// Reads a body of at most `most` bytes. What is larger is refused while it comes, and so is what comes while others take up all
/// the room that there is for bodies on their way.
///
/// # Errors
/// It is too large, too slow, too much, or breaks off.
pub(crate) async fn read(
    core: &Core,
    config: &Config,
    body: RequestBody,
    most: usize,
) -> Result<Bytes, Failure> {
    let read = core.arriving.read(body, most, LONGEST, config.reading_bytes).await;
    read.map_err(|unread| match unread {
        Unread::Crowded => Failure::Crowded,
        Unread::Failed(BodyError::TooLarge) => Failure::TooLarge,
        Unread::Failed(BodyError::Timeout) => Failure::BodyTimeout,
        Unread::Failed(BodyError::Aborted) => Failure::BadBody,
    })
}
