//! Where a process has its listeners from: systemd, the process that it takes over from, or the system.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};

use listenfd::ListenFd;
use tokio::net::TcpListener;

/// Listeners that are open already, each to be used for the address that it is bound to.
#[derive(Default)]
pub(crate) struct Inherited(Vec<(SocketAddr, StdListener)>);

impl Inherited {
    /// Those that systemd opened for this process (`sd_listen_fds(3)`), if it did.
    ///
    /// # Errors
    /// What it passed is no listening TCP socket.
    pub(crate) fn of_systemd() -> Result<Self, String> {
        let mut passed = ListenFd::from_env();
        let mut inherited = Self::default();
        for nth in 0..passed.len() {
            let listener = passed.take_tcp_listener(nth).map_err(|why| {
                format!("socket {} of those that systemd passed is no listener for TCP: {why}", nth + 1)
            })?;
            inherited.add(listener.into_iter())?;
        }
        Ok(inherited)
    }

    /// And these.
    ///
    /// # Errors
    /// One isn't bound.
    pub(crate) fn add(&mut self, listeners: impl Iterator<Item = StdListener>) -> Result<(), String> {
        for listener in listeners {
            let address =
                listener.local_addr().map_err(|why| format!("a listener that was passed: {why}"))?;
            self.0.push((address, listener));
        }
        Ok(())
    }

    /// A listener for `address`: the one that is open, else a new one.
    ///
    /// # Errors
    /// It can't be bound.
    pub(crate) async fn bind(&mut self, address: SocketAddr) -> io::Result<TcpListener> {
        match self.0.iter().position(|(open, _)| serves(*open, address)) {
            Some(nth) => {
                let (_, listener) = self.0.swap_remove(nth);
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)
            }
            None => TcpListener::bind(address).await,
        }
    }

    /// Where those listen that nobody wanted.
    pub(crate) fn left(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|(address, _)| *address)
    }
}

/// Whether a listener that is open at one address does for another. A port of 0 means any, so none that is open does.
fn serves(open: SocketAddr, wanted: SocketAddr) -> bool {
    let everywhere = |address: IpAddr| address.is_unspecified();
    // systemd's `ListenStream=7000` is [::]:7000, which takes IPv4 too.
    let both = open.is_ipv6() && everywhere(open.ip()) && everywhere(wanted.ip());
    wanted.port() != 0 && open.port() == wanted.port() && (open.ip() == wanted.ip() || both)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_open_listener_serves_its_address() {
        for (open, wanted, does) in [
            ("127.0.0.1:7000", "127.0.0.1:7000", true),
            ("127.0.0.1:7000", "127.0.0.1:7001", false),
            ("127.0.0.1:7000", "127.0.0.2:7000", false),
            ("127.0.0.1:7000", "0.0.0.0:7000", false),
            ("0.0.0.0:7000", "127.0.0.1:7000", false),
            ("0.0.0.0:7000", "[::]:7000", false),
            ("[::]:7000", "0.0.0.0:7000", true),
            ("[::]:7000", "[::1]:7000", false),
            ("127.0.0.1:7000", "127.0.0.1:0", false),
        ] {
            assert_eq!(serves(open.parse().unwrap(), wanted.parse().unwrap()), does, "{open} for {wanted}");
        }
    }

    #[tokio::test]
    async fn what_is_open_is_used_once_and_what_is_not_is_opened() {
        let open = StdListener::bind("127.0.0.1:0").unwrap();
        let address = open.local_addr().unwrap();
        let mut inherited = Inherited::default();
        inherited.add([open].into_iter()).unwrap();
        let other = inherited.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        assert_ne!(other.local_addr().unwrap(), address);
        assert_eq!(inherited.left().collect::<Vec<_>>(), [address]);
        let listener = inherited.bind(address).await.unwrap();
        assert_eq!((listener.local_addr().unwrap(), inherited.left().count()), (address, 0));
        assert_eq!(inherited.bind(address).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
