//! `mainstay relay tunnel`: nodeos speaks plain TCP, so beside the node stands this, and carries its connections to the relay over TLS
//! with a client certificate.
//!
//! Every connection that is accepted becomes one of its own to the first relay of the list that can be reached, byte for byte, both ways. What
//! passes isn't looked at. It ends when either side ends it; nodeos dials again by itself. Files of certificates are looked at when a
//! connection is opened, once a minute at most, so a renewal needs no restart.

mod carry;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mainstay_wire::client::{Duplex, ServerName, Tls};
use mainstay_wire::socket::{self, Accepted, Listener, Pause, Place};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::carry::carry;
pub use self::carry::{Carried, End, Side};

/// A node has one connection for each of its `p2p-peer-address`; more than this at once are refused.
const MAX_CONNECTIONS: usize = 64;
/// How long connections may take to be closed at the end.
const CLOSING: Duration = Duration::from_secs(3);

/// A relay, and how it is reached.
#[derive(Debug, Clone)]
pub struct Relay {
    place: Place,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    Tls { host: String, port: u16, tls: Tls, name: Box<ServerName> },
    Unix(PathBuf),
}

impl Relay {
    /// The relay at `place`: over TLS (`tls`: authorities, and the certificate to show) with a certificate for `name`, else for its host; or
    /// over a unix socket, as it is.
    ///
    /// # Errors
    /// There is no `tls` for a relay that is reached over TCP, or its host can stand in no certificate.
    pub fn new(place: Place, tls: Option<&Tls>, name: Option<&ServerName>) -> Result<Self, String> {
        let way = match (&place, tls) {
            (Place::Unix(path), _) => Way::Unix(path.clone()),
            (Place::Tcp(..), None) => {
                return Err(format!("{place} is reached over TLS only: it wants a client certificate"));
            }
            (Place::Tcp(host, port), Some(tls)) => {
                let name = match name {
                    Some(name) => name.clone(),
                    None => host
                        .parse()
                        .map_err(|why| format!("{why}: say what name the relay's certificate has"))?,
                };
                Way::Tls { host: host.clone(), port: *port, tls: tls.clone(), name: Box::new(name) }
            }
        };
        Ok(Self { place, way })
    }

    /// Connects and shakes hands. Has no limit of its own on time.
    async fn dial(&self) -> io::Result<Box<dyn Duplex>> {
        match &self.way {
            Way::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Way::Tls { host, port, tls, name } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                socket::tune(&stream);
                tls.connect(name, stream).await
            }
        }
    }
}

impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

/// Where connections are carried.
#[derive(Debug, Clone)]
pub struct Config {
    /// In order of preference: each connection goes to the first that can be reached.
    pub relays: Vec<Relay>,
    /// How long one relay may take to be looked up, connected to and shaken hands with.
    pub connect_timeout: Duration,
}

/// Carries what is accepted until `stop`, then closes all connections.
pub async fn serve(listener: Listener, config: Config, stop: CancellationToken) {
    let config = Arc::new(config);
    let mut connections = JoinSet::new();
    let mut pause = Pause::default();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(&mut pause) => {
                let (node, peer) = of(accepted);
                if connections.len() >= MAX_CONNECTIONS {
                    warn!(peer, limit = MAX_CONNECTIONS, "too many connections, closed the new one");
                    continue;
                }
                connections.spawn(carried(node, peer, config.clone(), stop.clone()));
            }
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    // What is left is cut when the set is dropped.
    let _ = timeout(CLOSING, all_ended).await;
}

/// The stream, and who is on its other side.
fn of(accepted: Accepted) -> (Box<dyn Duplex>, String) {
    match accepted {
        Accepted::Tcp(stream, peer) => {
            socket::tune(&stream);
            (Box::new(stream), peer.to_string())
        }
        Accepted::Unix(stream) => {
            let peer = match stream.peer_cred() {
                Ok(peer) => format!("unix (uid {})", peer.uid()),
                Err(_) => "unix".to_owned(),
            };
            (Box::new(stream), peer)
        }
    }
}

/// One connection from its first byte to its line in the log.
async fn carried(node: Box<dyn Duplex>, peer: String, config: Arc<Config>, stop: CancellationToken) {
    let reached = tokio::select! {
        reached = reach(&config) => reached,
        () = stop.cancelled() => return,
    };
    let (relay, stream) = match reached {
        Ok(reached) => reached,
        // Dropped, the node's connection is closed plainly, and it dials again.
        Err(why) => return warn!(peer, why, "no relay can be reached, closed the node's connection"),
    };
    let began = Instant::now();
    let Carried { to_relay, from_relay, end } = carry(node, stream, &stop).await;
    let seconds = began.elapsed().as_secs();
    info!(peer, %relay, seconds, to_relay, from_relay, why = %end, "connection ended");
}

/// The first relay that can be reached; else what every one of them said.
async fn reach(config: &Config) -> Result<(&Relay, Box<dyn Duplex>), String> {
    let mut told = Vec::new();
    for (nth, relay) in config.relays.iter().enumerate() {
        let why = match timeout(config.connect_timeout, relay.dial()).await {
            Ok(Ok(stream)) => return Ok((relay, stream)),
            Ok(Err(why)) => reason(&why),
            Err(_) => format!("no connection within {:?}", config.connect_timeout),
        };
        if nth + 1 < config.relays.len() {
            warn!(%relay, why, "a relay can't be reached, trying the next one");
        }
        told.push(format!("{relay}: {why}"));
    }
    Err(told.join("; "))
}

/// What went wrong, for the log.
fn reason(why: &io::Error) -> String {
    let text = why.to_string();
    match why.kind() {
        // rustls says it at length, with a link.
        io::ErrorKind::UnexpectedEof => {
            "closed without TLS's goodbye: it was killed, or the network cut it".to_owned()
        }
        _ if text.contains("UnknownIssuer") => {
            format!("{text}: its certificate is of no authority that is trusted here")
        }
        _ if text.contains("fatal alert") => format!("{text}: it doesn't take our certificate"),
        _ => text,
    }
}
