//! Where a process has its listeners from: systemd, the process that it takes over from, or the system.

use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::PathBuf;

use listenfd::ListenFd;
use mainstay_settings::Listen;
use mainstay_wire::socket::{Listener, Ownership, UnixSocket};
use tokio::net::TcpListener;

use crate::process::cannot_listen;

/// Listeners that are open already, each to be used for the address that it is bound to.
#[derive(Default)]
pub(crate) struct Inherited {
    tcp: Vec<(SocketAddr, StdListener)>,
    unix: Vec<Adopted>,
    /// The files of the unix sockets that this process listens on, if they are not systemd's.
    files: Vec<Ownership>,
}

struct Adopted {
    path: PathBuf,
    listener: StdUnixListener,
    /// Whoever opened it removes its file too.
    is_systemds: bool,
}

impl Inherited {
    /// Those that systemd opened for this process (`sd_listen_fds(3)`), if it did.
    ///
    /// # Errors
    /// What it passed is no listening socket of TCP or a unix stream socket.
    pub(crate) fn of_systemd() -> Result<Self, String> {
        let mut passed = ListenFd::from_env();
        let mut inherited = Self::default();
        for nth in 0..passed.len() {
            let tcp = passed.take_tcp_listener(nth);
            let socket = match tcp {
                Ok(listener) => listener.map(OwnedFd::from),
                Err(_) => passed.take_unix_listener(nth).map(|listener| listener.map(OwnedFd::from)).map_err(|why| {
                    format!("socket {} of those that systemd passed is no listener for TCP or a unix socket: {why}", nth + 1)
                })?,
            };
            inherited.put(socket.into_iter(), true)?;
        }
        Ok(inherited)
    }

    /// And these, of the process that this one takes over from.
    ///
    /// # Errors
    /// One isn't bound.
    pub(crate) fn add(&mut self, listeners: impl Iterator<Item = OwnedFd>) -> Result<(), String> {
        self.put(listeners, false)
    }

    fn put(&mut self, listeners: impl Iterator<Item = OwnedFd>, is_systemds: bool) -> Result<(), String> {
        let passed = |why| format!("a listener that was passed: {why}");
        for listener in listeners {
            let listener = StdListener::from(listener);
            // Of a unix socket it has no address to tell.
            if let Ok(address) = listener.local_addr() {
                self.tcp.push((address, listener));
                continue;
            }
            let listener = StdUnixListener::from(OwnedFd::from(listener));
            let address = listener.local_addr().map_err(passed)?;
            let path = address.as_pathname().ok_or("a unix socket that was passed has no path")?.to_owned();
            self.unix.push(Adopted { path, listener, is_systemds });
        }
        Ok(())
    }

    /// A listener for that place: the one that is open, else a new one.
    ///
    /// # Errors
    /// It can't be bound; what to tell the user.
    pub(crate) async fn bind(&mut self, listen: &Listen) -> Result<Listener, String> {
        match listen {
            Listen::Tcp(address) => self.bind_tcp(*address).await.map(Listener::Tcp),
            Listen::Unix { path, mode } => {
                let open = self.unix.iter().position(|open| open.path == *path);
                let socket = match open.map(|nth| self.unix.swap_remove(nth)) {
                    Some(Adopted { listener, is_systemds, .. }) => {
                        let socket = UnixSocket::adopt(listener);
                        let socket = socket.map_err(|why| format!("cannot listen on {listen}: {why}"))?;
                        if is_systemds {
                            return Ok(Listener::Unix(socket));
                        }
                        socket
                    }
                    None => UnixSocket::bind_with_mode(path, *mode)?,
                };
                self.files.push(socket.ownership());
                Ok(Listener::Unix(socket))
            }
        }
    }

    /// The same, for an address of TCP.
    ///
    /// # Errors
    /// It can't be bound; what to tell the user.
    pub(crate) async fn bind_tcp(&mut self, address: SocketAddr) -> Result<TcpListener, String> {
        let listener = match self.tcp.iter().position(|(open, _)| serves(*open, address)) {
            Some(nth) => {
                let (_, listener) = self.tcp.swap_remove(nth);
                listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener))
            }
            None => TcpListener::bind(address).await,
        };
        listener.map_err(|why| cannot_listen(address, &why))
    }

    /// Where those listen that nobody wanted.
    pub(crate) fn left(&self) -> impl Iterator<Item = String> {
        let tcp = self.tcp.iter().map(|(address, _)| address.to_string());
        tcp.chain(self.unix.iter().map(|open| format!("unix:{}", open.path.display())))
    }

    /// Closes what nobody wanted. Gives the files of the unix sockets that are listened on; those that were passed on are the other
    /// process's yet.
    pub(crate) fn into_files(self) -> Files {
        Files(self.files)
    }
}

/// The files of the unix sockets that are listened on. They go with their listeners if they are this process's.
pub(crate) struct Files(Vec<Ownership>);

impl Files {
    /// The process that had them ends.
    pub(crate) fn take(&self) {
        self.0.iter().for_each(Ownership::take);
    }

    /// Another process has them now.
    pub(crate) fn give(&self) {
        self.0.iter().for_each(Ownership::give);
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
        inherited.add([OwnedFd::from(open)].into_iter()).unwrap();
        let other = inherited.bind_tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
        assert_ne!(other.local_addr().unwrap(), address);
        assert_eq!(inherited.left().collect::<Vec<_>>(), [address.to_string()]);
        let listener = inherited.bind_tcp(address).await.unwrap();
        assert_eq!((listener.local_addr().unwrap(), inherited.left().count()), (address, 0));
        assert!(inherited.bind_tcp(address).await.unwrap_err().contains("the port is taken"));
    }

    #[tokio::test]
    async fn the_file_of_a_unix_socket_is_that_process_s_which_serves_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let listen: Listen = format!("unix:{}", path.display()).parse().unwrap();
        let mut first = Inherited::default();
        let old = first.bind(&listen).await.unwrap();
        let passed = || rustix::io::dup(&old).unwrap();

        // One that takes over, and fails before it serves, takes nothing with it.
        let mut failed = Inherited::default();
        failed.add([passed()].into_iter()).unwrap();
        drop(failed.bind(&listen).await.unwrap());
        assert!(path.exists());

        let mut second = Inherited::default();
        second.add([passed()].into_iter()).unwrap();
        let new = second.bind(&listen).await.unwrap();
        let (old_files, new_files) = (first.into_files(), second.into_files());
        new_files.take();
        old_files.give();
        drop(old);
        assert!(path.exists(), "it is the new one's");
        drop(new);
        assert!(!path.exists());

        // systemd's stays.
        let mut third = Inherited::default();
        let opened = StdUnixListener::bind(&path).unwrap();
        third.put([OwnedFd::from(opened)].into_iter(), true).unwrap();
        let activated = third.bind(&listen).await.unwrap();
        third.into_files().take();
        drop(activated);
        assert!(path.exists());
    }
}
