//! A connection: TCP with or without TLS, or whatever else a [`Dial`] opens.

use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::either::Either;
use url::Host;

use super::endpoint::Endpoint;
use super::error::{CallError, Delivered, Fault};
use super::shaking::TlsFault;

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

/// A connection that is open.
pub(super) struct Opened {
    pub(super) stream: Stream,
    /// Not to be used for another request after that.
    pub(super) until: Option<Instant>,
    /// Whether the node was shown a certificate, if it asked for one.
    pub(super) shows: bool,
}

impl Opened {
    fn new(stream: Stream) -> Self {
        Self { stream, until: None, shows: false }
    }
}

/// Resolves, connects and shakes hands, for HTTP/1.1. Has no limit of its own.
pub(super) async fn connect(endpoint: &Endpoint) -> Result<Opened, CallError> {
    if let Some(dial) = endpoint.dial() {
        let dialled = dial.dial().await;
        let stream = dialled.map(Either::Right).map_err(|error| CallError::connecting(&error))?;
        return Ok(Opened::new(stream));
    }
    match endpoint.tls() {
        None => Ok(Opened::new(Either::Left(tcp(endpoint).await?))),
        Some((connectors, name)) => {
            let (stream, until) = connectors.connect(name, endpoint, None).await?;
            Ok(Opened { stream: Either::Right(Box::new(stream)), until, shows: connectors.shows() })
        }
    }
}

/// As [`connect`], and the node chooses HTTP/2 or HTTP/1.1 if it is reached by TLS; whether it has chosen HTTP/2.
pub(super) async fn connect_either(endpoint: &Endpoint) -> Result<(Opened, bool), CallError> {
    let Some((connectors, name)) = endpoint.tls() else {
        return Ok((connect(endpoint).await?, false));
    };
    let offered = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (stream, until) = connectors.connect(name, endpoint, Some(offered)).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let opened = Opened { stream: Either::Right(Box::new(stream)), until, shows: connectors.shows() };
    Ok((opened, is_http2))
}

/// A handshake failed; `shows`: whether a client certificate was there to be shown.
pub(super) fn refused(error: &io::Error, shows: bool) -> CallError {
    CallError::undelivered(Fault::Tls(TlsFault::of(error, shows)), error.to_string())
}

/// The node's word that it ends the connection for what TLS is about, such as a client certificate that it misses: with TLS 1.3 that
/// comes only after a handshake which looked done from here.
pub(super) fn alert(error: &io::Error, shows: bool) -> Option<CallError> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(_) => Some(refused(error, shows).with(Delivered::Maybe)),
        _ => None,
    }
}

pub(super) async fn tcp(endpoint: &Endpoint) -> Result<TcpStream, CallError> {
    let port = endpoint.port();
    let connected = match endpoint.host() {
        Host::Domain(name) => TcpStream::connect((name.as_str(), port)).await,
        Host::Ipv4(address) => TcpStream::connect((*address, port)).await,
        Host::Ipv6(address) => TcpStream::connect((*address, port)).await,
    };
    let tcp = connected.map_err(|error| CallError::connecting(&error))?;
    // Only latency is lost where it cannot be set.
    let _ = tcp.set_nodelay(true);
    Ok(tcp)
}
