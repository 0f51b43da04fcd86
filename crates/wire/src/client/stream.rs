//! A connection: TCP with or without TLS, or whatever else a [`Dial`] opens.

use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::either::Either;
use url::Host;

use super::endpoint::Endpoint;
use super::error::{CallError, Fault};

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

/// A connection that is being opened.
pub type Dialled<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Duplex>>> + Send + 'a>>;

/// Opens a client's connections in the place of TCP: to a node in the same process, with no socket in between.
pub trait Dial: Send + Sync {
    /// Opens one. Has no limit of its own on time.
    fn dial(&self) -> Dialled<'_>;
}

/// TCP, or what isn't asked as often: TLS, and what a [`Dial`] has opened.
pub(super) type Stream = Either<TcpStream, Box<dyn Duplex>>;

/// Resolves, connects and shakes hands. Has no limit of its own.
pub(super) async fn connect(endpoint: &Endpoint) -> Result<Stream, CallError> {
    if let Some(dial) = endpoint.dial() {
        let dialled = dial.dial().await;
        return dialled.map(Either::Right).map_err(|error| CallError::connecting(&error));
    }
    let port = endpoint.port();
    let connected = match endpoint.host() {
        Host::Domain(name) => TcpStream::connect((name.as_str(), port)).await,
        Host::Ipv4(address) => TcpStream::connect((*address, port)).await,
        Host::Ipv6(address) => TcpStream::connect((*address, port)).await,
    };
    let tcp = connected.map_err(|error| CallError::connecting(&error))?;
    // Only latency is lost where it cannot be set.
    let _ = tcp.set_nodelay(true);
    match endpoint.tls() {
        None => Ok(Either::Left(tcp)),
        Some((connector, name)) => match connector.connect(name.clone(), tcp).await {
            Ok(stream) => Ok(Either::Right(Box::new(stream))),
            Err(error) => Err(CallError::undelivered(Fault::Tls, error.to_string())),
        },
    }
}
