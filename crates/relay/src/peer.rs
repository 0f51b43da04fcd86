//! Who is at the other end of an inner connection.

use std::fmt;
use std::net::SocketAddr;

use mainstay_wire::server::PeerNames;

/// Who is at the other end of an inner connection, by what the connection proves. What a node says of itself in its handshake isn't here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Where it connects from; `None` over a unix socket.
    pub address: Option<SocketAddr>,
    /// The names in the certificate that it has shown; none without TLS.
    pub names: PeerNames,
    /// The user whose process it is; `None` over TCP.
    pub uid: Option<u32>,
}

impl Peer {
    /// Somebody who connects over TCP.
    #[must_use]
    pub fn tcp(address: SocketAddr) -> Self {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Self { address: Some(address), ..Self::default() }
    }

    /// A process of this user, over a unix socket.
    #[must_use]
    pub fn unix(uid: Option<u32>) -> Self {
        Self { uid, ..Self::default() }
    }
}

/// The name in the certificate, else the address without the port, which is another one each time, else the user.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.names.first(), &self.address, self.uid) {
            (Some(name), ..) => f.write_str(name),
            (None, Some(address), _) => address.ip().fmt(f),
            (None, None, Some(uid)) => write!(f, "uid {uid}"),
            (None, None, None) => f.write_str("local"),
        }
    }
}
