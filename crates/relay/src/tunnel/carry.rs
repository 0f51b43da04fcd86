//! Bytes from one connection to another, both ways, with bounds.

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::reason;

/// What is held of one direction at most, in bytes. What isn't taken on isn't read either, so the other side feels it.
const BUFFER: usize = 64 * 1024;
/// Who takes in nothing for so long is cut off.
const STALLED: Duration = Duration::from_secs(30);
/// Once one side has ended its direction, the other may go on for as long as something comes this often.
const LINGERS: Duration = Duration::from_secs(30);
/// How long both may take to be told goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The node's.
    Node,
    /// The relay's.
    Relay,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Node => Self::Relay,
            Self::Relay => Self::Node,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "the node",
            Self::Relay => "the relay",
        })
    }
}

/// Why a connection ended.
#[derive(Debug)]
pub enum End {
    /// One side closed it, and then the other.
    Closed(Side),
    /// One side closed it, and the other neither did nor sent anything.
    Left(Side),
    /// An error on this side.
    Failed(Side, io::Error),
    /// This side took in nothing.
    Stalled(Side),
    /// The process stops.
    Stopped,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(side) => write!(f, "{side} closed it"),
            Self::Left(side) => write!(f, "{side} closed it, {} didn't within {LINGERS:?}", side.other()),
            Self::Failed(side, why) => write!(f, "{side}: {}", reason(why)),
            Self::Stalled(side) => write!(f, "{side} took in nothing for {STALLED:?}"),
            Self::Stopped => f.write_str("the tunnel stops"),
        }
    }
}

/// What a connection came to.
#[derive(Debug)]
pub struct Carried {
    /// Bytes that went to the relay.
    pub to_relay: u64,
    /// Bytes that came from it.
    pub from_relay: u64,
    /// Why no more did.
    pub end: End,
}

/// Carries until both sides have ended their direction, one fails or stalls, or `stop`; then closes both.
pub(super) async fn carry<N, R>(node: N, relay: R, stop: &CancellationToken) -> Carried
where
    N: AsyncRead + AsyncWrite + Send,
    R: AsyncRead + AsyncWrite + Send,
{
    let (sent, got) = (AtomicU64::new(0), AtomicU64::new(0));
    let (mut from_node, mut to_node) = split(node);
    let (mut from_relay, mut to_relay) = split(relay);
    let end = {
        let mut outward = pin!(one_way(Side::Node, &mut from_node, &mut to_relay, &sent));
        let mut inward = pin!(one_way(Side::Relay, &mut from_relay, &mut to_node, &got));
        let carried = async {
            let (first, ended) = tokio::select! {
                ended = outward.as_mut() => (Side::Node, ended),
                ended = inward.as_mut() => (Side::Relay, ended),
            };
            if let Err(end) = ended {
                return end;
            }
            loop {
                let moved = || sent.load(Ordering::Relaxed) + got.load(Ordering::Relaxed);
                let before = moved();
                // What goes wrong from here on comes of its being closed already.
                tokio::select! {
                    _ = outward.as_mut(), if first == Side::Relay => return End::Closed(first),
                    _ = inward.as_mut(), if first == Side::Node => return End::Closed(first),
                    () = sleep(LINGERS) => {
                        if moved() == before {
                            return End::Left(first);
                        }
                    }
                }
            }
        };
        tokio::select! {
            end = carried => end,
            () = stop.cancelled() => End::Stopped,
        }
    };
    let _ = timeout(GOODBYE, async { tokio::join!(to_node.shutdown(), to_relay.shutdown()) }).await;
    Carried { to_relay: sent.into_inner(), from_relay: got.into_inner(), end }
}

/// Carries what comes from a side to the other one until it ends, and ends that direction there too.
async fn one_way(
    side: Side,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: &AtomicU64,
) -> Result<(), End> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await.map_err(|why| End::Failed(side, why))?;
        if read == 0 {
            return in_time(side.other(), to.shutdown()).await;
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let taken = in_time(side.other(), to.write(rest)).await?;
            if taken == 0 {
                return Err(End::Failed(side.other(), io::ErrorKind::WriteZero.into()));
            }
            rest = &rest[taken..];
            moved.fetch_add(taken as u64, Ordering::Relaxed);
        }
        // TLS may hold back what the socket doesn't take.
        in_time(side.other(), to.flush()).await?;
    }
}

async fn in_time<T>(side: Side, writing: impl Future<Output = io::Result<T>>) -> Result<T, End> {
    match timeout(STALLED, writing).await {
        Ok(written) => written.map_err(|why| End::Failed(side, why)),
        Err(_) => Err(End::Stalled(side)),
    }
}

#[cfg(test)]
mod tests;
