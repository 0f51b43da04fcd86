//! Sockets of connections that live for days, and unix sockets with their files.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

/// After so long without a byte the system asks whether the other side is still there, again as often, three times.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMES: u32 = 3;
/// What was sent and isn't acknowledged within this ends the connection.
const UNACKNOWLEDGED: u32 = 30_000;

/// Who may connect to a unix socket: its owner and its group.
const MODE: u32 = 0o660;

/// How long no connection is accepted after an error of the listener; doubled up to the longest while it lasts.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Makes a connection one that is long open and in a hurry: small writes aren't held back, and a peer that vanished without a word
/// is noticed after 30 seconds.
pub fn tune(stream: &TcpStream) {
    // Where one cannot be set only latency is lost, or time until a dead peer is noticed.
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE);
    let _ = sockopt::set_tcp_keepintvl(stream, KEEPALIVE_EVERY);
    let _ = sockopt::set_tcp_keepcnt(stream, KEEPALIVE_TIMES);
    let _ = sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED);
}

/// Where something can be connected to or listened on: `HOST:PORT` (an IPv6 address in brackets), or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A name or an address, without brackets, and a port.
    Tcp(String, u16),
    /// A unix socket's file.
    Unix(PathBuf),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(
                    "unix: is followed by the path of a socket, for example unix:/run/mainstay/relay.sock"
                        .to_owned(),
                ),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let wrong =
            || format!("\"{text}\" is not HOST:PORT (an IPv6 address in brackets, [::1]:9876) nor unix:PATH");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?.to_string(),
            None if host.contains([':', '/', '@', '[', ']']) || host.trim() != host || host.is_empty() => {
                return Err(wrong());
            }
            None => host.to_owned(),
        };
        Ok(Self::Tcp(host, port))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A unix socket that is listened on. Its file goes with it, if it is this process's.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    file: SocketFile,
}

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Of the file as it was: another one's is left alone.
    inode: Option<u64>,
    is_ours: Arc<AtomicBool>,
}

/// Says whose the file of a unix socket is while the socket is somewhere else.
#[derive(Debug, Clone)]
pub struct Ownership(Arc<AtomicBool>);

impl Ownership {
    /// It is this process's, and goes with the socket.
    pub fn take(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// It is another process's, and stays.
    pub fn give(&self) {
        self.0.store(false, Ordering::Release);
    }
}

impl UnixSocket {
    /// Listens on `path`, for the file's owner and group alone (0660). A socket that nobody listens on any more, as a process
    /// that was killed leaves it, is replaced. To be called within a runtime.
    ///
    /// # Errors
    /// What to tell the user: something else has that name, somebody listens there, or the system says no.
    pub fn bind(path: &Path) -> Result<Self, String> {
        Self::bind_with_mode(path, MODE)
    }

    /// As [`UnixSocket::bind`], for whom these permissions let.
    ///
    /// # Errors
    /// As those of [`UnixSocket::bind`].
    pub fn bind_with_mode(path: &Path, mode: u32) -> Result<Self, String> {
        let shown = path.display();
        match fs::symlink_metadata(path) {
            Ok(file) if !file.file_type().is_socket() => {
                return Err(format!("{shown} is there and is no socket: choose another path"));
            }
            Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
                Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path)
                        .map_err(|why| format!("cannot replace {shown}, on which nobody listens: {why}"))?;
                }
                Err(why) => {
                    return Err(format!("{shown} is there, and who listens on it can't be told: {why}"));
                }
                Ok(_) => {
                    return Err(format!("{shown}: somebody listens on it, stop it or choose another path"));
                }
            },
            Err(_) => {}
        }
        let why = |why: io::Error| match why.kind() {
            io::ErrorKind::NotFound => {
                format!("cannot listen on {shown}: there is no such folder, make it first")
            }
            _ => format!("cannot listen on {shown}: {why}"),
        };
        let listener = UnixListener::bind(path).map_err(why)?;
        let socket = Self { listener, file: SocketFile::new(path, true) };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(why)?;
        Ok(socket)
    }

    /// A socket that is listened on already, by another process: its file is that one's until [`Ownership::take`]. To be called within a
    /// runtime.
    ///
    /// # Errors
    /// It has no path, or the system says no.
    pub fn adopt(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let path = address.as_pathname().ok_or_else(|| io::Error::other("a unix socket without a path"))?;
        let file = SocketFile::new(path, false);
        listener.set_nonblocking(true)?;
        Ok(Self { listener: UnixListener::from_std(listener)?, file })
    }

    /// What connections are accepted on.
    #[must_use]
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// To say whose its file is, also later.
    #[must_use]
    pub fn ownership(&self) -> Ownership {
        Ownership(self.file.is_ours.clone())
    }
}

impl SocketFile {
    fn new(path: &Path, is_ours: bool) -> Self {
        Self { path: path.to_owned(), inode: inode(path), is_ours: Arc::new(AtomicBool::new(is_ours)) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = self.is_ours.load(Ordering::Acquire);
        if is_ours && self.inode.is_some() && inode(&self.path) == self.inode {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|file| file.ino())
}

/// Something that connections are accepted on.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixSocket),
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(_) => f.write_str("unknown"),
            },
            Self::Unix(socket) => write!(f, "unix:{}", socket.path().display()),
        }
    }
}

/// A connection that has been accepted.
#[derive(Debug)]
pub enum Accepted {
    /// Over TCP, and from where.
    Tcp(TcpStream, SocketAddr),
    /// Over a unix socket.
    Unix(UnixStream),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixSocket> for Listener {
    fn from(socket: UnixSocket) -> Self {
        Self::Unix(socket)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(socket) => socket.listener.as_fd(),
        }
    }
}

impl Listener {
    /// The listener, if it is one of TCP.
    #[must_use]
    pub fn into_tcp(self) -> Option<TcpListener> {
        match self {
            Self::Tcp(listener) => Some(listener),
            Self::Unix(_) => None,
        }
    }

    /// Listens no more, and gives the connections that wait to be accepted: their clients may have sent requests, which closing the
    /// listener would cut off. It is closed when the iterator is dropped.
    pub fn close(self) -> impl Iterator<Item = Accepted> {
        // Not tokio's: it knows of a connection only when the system has told it of one.
        let mut listener = match self {
            Self::Tcp(listener) => Either::Left(listener.into_std()),
            // New ones are to find nobody.
            Self::Unix(UnixSocket { listener, file }) => {
                drop(file);
                Either::Right(listener.into_std())
            }
        };
        std::iter::from_fn(move || match &mut listener {
            Either::Left(listener) => {
                let (stream, peer) = listener.as_ref().ok()?.accept().ok()?;
                stream.set_nonblocking(true).ok()?;
                Some(Accepted::Tcp(TcpStream::from_std(stream).ok()?, peer))
            }
            Either::Right(listener) => {
                let (stream, _) = listener.as_ref().ok()?.accept().ok()?;
                stream.set_nonblocking(true).ok()?;
                Some(Accepted::Unix(UnixStream::from_std(stream).ok()?))
            }
        })
    }

    /// The next connection. Waits out errors of the listener.
    pub async fn accept(&self, pause: &mut Pause) -> Accepted {
        loop {
            let accepted = match self {
                Self::Tcp(listener) => {
                    listener.accept().await.map(|(stream, peer)| Accepted::Tcp(stream, peer))
                }
                Self::Unix(socket) => {
                    socket.listener.accept().await.map(|(stream, _)| Accepted::Unix(stream))
                }
            };
            match accepted {
                Ok(accepted) => {
                    pause.over();
                    return accepted;
                }
                Err(error) => pause.after(&error).await,
            }
        }
    }
}

/// What is waited after an error of a listener (no file descriptor left, say). Such pass with time, so it backs off and goes on.
#[derive(Debug)]
pub struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pause {
    /// Something was accepted.
    pub fn over(&mut self) {
        self.0 = FIRST_PAUSE;
    }

    /// Waits, unless the error tells of a connection that is gone already.
    pub async fn after(&mut self, error: &io::Error) {
        if is_of_one_connection(error) {
            return;
        }
        if self.0 == FIRST_PAUSE {
            tracing::warn!(%error, "cannot accept connections, trying on");
        }
        tokio::time::sleep(self.0).await;
        self.0 = (2 * self.0).min(LONGEST_PAUSE);
    }
}

/// Whether an error of accept tells of a connection that is gone already, not of the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests;
