//! How commands reach the admin listener of a running mainstay: over TCP, TLS or a unix socket, as `[admin]` says.
//!
//! Over TLS it is believed by the very certificate in `tls_cert`, not by a name: it is asked by an address of its machine. Where it wants a
//! certificate of its clients (`tls_ca`) it is shown its own.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mainstay_settings::{Listen, Settings, tls};
use mainstay_wire::client::{Client, Dial, Dialled, Duplex, Options, Tls};
use tokio::net::UnixStream;
use url::Url;

/// Where the admin listener of a running mainstay is asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    listen: Listen,
    /// Certificate, key and authorities for clients, as it has them.
    files: Option<(PathBuf, PathBuf, bool)>,
}

impl Asked {
    /// As `[admin]` says; `None`: it is off.
    pub(crate) fn of(admin: &Settings) -> Option<Self> {
        let listen = match admin.listen("listen")? {
            Listen::Tcp(address) => Listen::Tcp(reachable(address)),
            unix @ Listen::Unix { .. } => unix,
        };
        let (certificate, key) = (admin.path(tls::LISTENER.certificate), admin.path(tls::LISTENER.key));
        let asks_back = admin.is_set(tls::LISTENER.authorities);
        let files = certificate
            .zip(key)
            .map(|(certificate, key)| (certificate.to_owned(), key.to_owned(), asks_back));
        Some(Self { listen, files })
    }

    /// A client for it. `believe_anyone`: whoever answers will do; only for a question without a secret, whose answer is believed in
    /// nothing but that there is one.
    ///
    /// # Errors
    /// What to tell the user.
    pub(crate) fn client(&self, believe_anyone: bool) -> Result<Client, String> {
        let made = match (&self.listen, &self.files) {
            (Listen::Unix { path, .. }, _) => {
                Client::over(Arc::new(Socket(path.clone())), &url("http://localhost/")?, Options::default())
            }
            (Listen::Tcp(address), None) => {
                Client::new(&url(&format!("http://{address}/"))?, Options::default())
            }
            (Listen::Tcp(address), Some((certificate, key, asks_back))) => {
                let identity = asks_back.then_some((certificate.as_path(), key.as_path()));
                let only: Option<&Path> = (!believe_anyone).then_some(certificate);
                let tls = Tls::pinned(only, identity).map_err(|bad| format!("[admin] {bad}"))?;
                let options = Options { tls: Some(tls), ..Options::default() };
                Client::new(&url(&format!("https://{address}/"))?, options)
            }
        };
        made.map_err(|why| why.to_string())
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.listen.fmt(f)
    }
}

fn url(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|why| why.to_string())
}

/// Who listens on every address is asked on the loopback one.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Connects to a unix socket.
struct Socket(PathBuf);

impl Dial for Socket {
    fn dial(&self) -> Dialled<'_> {
        Box::pin(async { Ok(Box::new(UnixStream::connect(&self.0).await?) as Box<dyn Duplex>) })
    }
}
