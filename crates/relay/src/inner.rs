//! The inner side: who may connect, and how it is known who that is.
//!
//! Whoever reaches a relay's inner side can claim slots, and no block tells whose node made it. So a connection proves who is there before it
//! becomes a leg: by its address, by a certificate (TLS, with `mainstay relay tunnel` or the like beside the node), or by the user whose process
//! it is (unix socket). [`admission`] judges, [`crowd`] bounds the handshakes that are under way, [`keys`] is about what nodes say of
//! themselves, which proves nothing and may be asked for besides.
//!
//! A handshake has a deadline and runs beside the others: one that isn't finished holds up nobody.

pub mod admission;
pub mod crowd;
pub mod keys;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use mainstay_wire::client::Duplex;
use mainstay_wire::server::{PeerNames, Tls};
use mainstay_wire::socket::{self, Accepted, Listener, Pause};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use self::admission::{Admission, Refusal};
use self::crowd::Crowd;
use crate::peer::Peer;

/// A connection that proved who is there, or failed to.
pub(crate) type Arrival = Result<(Box<dyn Duplex>, Peer), (Peer, Refusal)>;

/// What accepts inner connections.
pub(crate) struct Inner {
    first: Option<(Listener, Pause)>,
    second: Option<(Listener, Pause)>,
    admission: Admission,
    tls: Option<Tls>,
    /// For a TLS handshake.
    within: Duration,
    crowd: Crowd<IpAddr>,
    shaking: JoinSet<(u64, Arrival)>,
    handles: HashMap<u64, AbortHandle>,
}

impl Inner {
    /// `listeners`: two at most. `tls`: for what comes over TCP. `within`: how long a TLS handshake may take.
    pub(crate) fn new(
        listeners: Vec<Listener>,
        admission: Admission,
        tls: Option<Tls>,
        within: Duration,
    ) -> Self {
        let mut listeners = listeners.into_iter().map(|listener| (listener, Pause::default()));
        Self {
            first: listeners.next(),
            second: listeners.next(),
            admission,
            tls,
            within,
            crowd: Crowd::default(),
            shaking: JoinSet::new(),
            handles: HashMap::new(),
        }
    }

    /// The next one that is through. To be dropped while it waits does no harm.
    pub(crate) async fn next(&mut self) -> Arrival {
        loop {
            let accepted = tokio::select! {
                biased;
                Some(done) = self.shaking.join_next() => {
                    // One that was cut has been told of.
                    let Ok((id, arrival)) = done else { continue };
                    self.crowd.done(id);
                    self.handles.remove(&id);
                    return arrival;
                }
                accepted = accept(self.second.as_mut()) => accepted,
                accepted = accept(self.first.as_mut()) => accepted,
            };
            match accepted {
                Accepted::Unix(stream) => {
                    let peer = Peer::unix(stream.peer_cred().ok().map(|peer| peer.uid()));
                    return match self.admission.uid(peer.uid) {
                        Ok(()) => Ok((Box::new(stream), peer)),
                        Err(refusal) => Err((peer, refusal)),
                    };
                }
                Accepted::Tcp(stream, address) => {
                    socket::tune(&stream);
                    let peer = Peer::tcp(address);
                    if let Err(refusal) = self.admission.address(address.ip()) {
                        return Err((peer, refusal));
                    }
                    match self.tls.clone() {
                        None => return Ok((Box::new(stream), peer)),
                        Some(tls) => {
                            if let Some(cut) = self.shake(stream, peer, tls) {
                                return Err(cut);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Lets it shake hands. If that is one too many, the one that was cut for it.
    fn shake(&mut self, stream: TcpStream, peer: Peer, tls: Tls) -> Option<(Peer, Refusal)> {
        let source = peer.address.map_or(IpAddr::from([0, 0, 0, 0]), |address| address.ip());
        let (id, cut) = self.crowd.come(source);
        let (admission, within) = (self.admission.clone(), self.within);
        let handle =
            self.shaking.spawn(async move { (id, shaken(stream, peer, tls, &admission, within).await) });
        self.handles.insert(id, handle);
        let (cut, source) = cut?;
        if let Some(handle) = self.handles.remove(&cut) {
            handle.abort();
        }
        Some((Peer::tcp((source, 0).into()), Refusal::Crowded))
    }
}

async fn accept(from: Option<&mut (Listener, Pause)>) -> Accepted {
    match from {
        Some((listener, pause)) => listener.accept(pause).await,
        None => std::future::pending().await,
    }
}

async fn shaken(stream: TcpStream, peer: Peer, tls: Tls, admission: &Admission, within: Duration) -> Arrival {
    let (stream, names): (_, PeerNames) = match timeout(within, tls.accept(stream)).await {
        Ok(Ok(shaken)) => shaken,
        Ok(Err(why)) => return Err((peer, Refusal::Tls(why.to_string()))),
        Err(_) => return Err((peer, Refusal::Tls(format!("no handshake within {within:?}")))),
    };
    let peer = Peer { names, ..peer };
    match admission.names(&peer.names) {
        Ok(()) => Ok((stream, peer)),
        Err(refusal) => Err((peer, refusal)),
    }
}

#[cfg(test)]
mod tests;
