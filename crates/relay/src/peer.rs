//! Who is at the other end of an inner connection.

use std::fmt;
use std::net::SocketAddr;

/// Who is at the other end of an inner connection, by what the connection proves. What a node says of itself in its handshake isn't here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Where it connects from; `None` over a unix socket.
    pub address: Option<SocketAddr>,
    /// The name in the certificate that it has shown; `None` without TLS.
    pub certificate: Option<String>,
}

impl Peer {
    /// Somebody who connects over TCP.
    #[must_use]
    pub fn tcp(address: SocketAddr) -> Self {
        Self {
            address: Some(SocketAddr::new(address.ip().to_canonical(), address.port())),
            certificate: None,
        }
    }
}

/// The name in the certificate, else the address without the port, which is another one each time.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.certificate, &self.address) {
            (Some(name), _) => f.write_str(name),
            (None, Some(address)) => address.ip().fmt(f),
            (None, None) => f.write_str("local"),
        }
    }
}
