//! The certificate that a listener serves TLS with, and whose clients it takes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::client::Duplex;
use crate::names::PeerNames;
use crate::tls::{BadTls, Files, Identity, Made, Renewed, Watched, authorities, expires};

/// A certificate with its key, read from files and read again when they change. Clones share it.
#[derive(Clone)]
pub struct Tls(Arc<Renewed<Served>>);

struct Served {
    identity: Identity,
    /// Who issues the certificates that clients have to show.
    clients: Option<PathBuf>,
}

impl Tls {
    /// Reads a certificate, with the chain behind it, and its private key (PKCS #8, PKCS #1 or SEC 1, not encrypted), all PEM.
    ///
    /// # Errors
    /// [`BadTls`] says which file, and what is wrong with it.
    pub fn from_pem(certificate: &Path, key: &Path) -> Result<Tls, BadTls> {
        Self::read(certificate, key, None)
    }

    /// As [`Tls::from_pem`], and only clients are served that show a certificate which one of the authorities in `clients` (PEM)
    /// has issued (mTLS).
    ///
    /// # Errors
    /// As those of [`Tls::from_pem`].
    pub fn mutual(certificate: &Path, key: &Path, clients: &Path) -> Result<Tls, BadTls> {
        Self::read(certificate, key, Some(clients))
    }

    /// [`Tls::mutual`] if there are authorities for clients, else [`Tls::from_pem`].
    ///
    /// # Errors
    /// As those of [`Tls::from_pem`].
    pub fn read(certificate: &Path, key: &Path, clients: Option<&Path>) -> Result<Tls, BadTls> {
        let clients = clients.map(Path::to_owned);
        let identity = Identity { certificate: certificate.to_owned(), key: key.to_owned() };
        Ok(Tls(Arc::new(Renewed::read(Served { identity, clients })?)))
    }

    /// As [`Tls::read`]; the error in parts: which file, and the whole of what to tell.
    ///
    /// # Errors
    /// As those of [`Tls::from_pem`].
    pub fn of_files(
        certificate: &Path,
        key: &Path,
        clients: Option<&Path>,
    ) -> Result<Tls, (PathBuf, String)> {
        Self::read(certificate, key, clients).map_err(BadTls::into_parts)
    }

    /// Its files, for whoever watches over them.
    #[must_use]
    pub fn watched(&self) -> Watched {
        Watched::new(self.0.clone())
    }

    /// Shakes hands for a stream that isn't HTTP: the stream, and what the peer's certificate calls it (nothing where none is
    /// asked for). Has no limit of its own on time.
    ///
    /// # Errors
    /// The connection's, or rustls's on what the peer has shown.
    pub async fn accept<S: Duplex + 'static>(&self, stream: S) -> io::Result<(Box<dyn Duplex>, PeerNames)> {
        let stream = self.acceptor(Instant::now()).accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let names = certificate.map(|certificate| PeerNames::of(certificate)).unwrap_or_default();
        Ok((Box::new(stream), names))
    }

    /// Reads the files again, changed or not.
    #[cfg(test)]
    pub(super) fn reload(&self) -> Result<(), BadTls> {
        self.0.reload()
    }

    /// What the next connection is accepted with.
    pub(super) fn acceptor(&self, now: Instant) -> TlsAcceptor {
        TlsAcceptor::from(self.0.current(now))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Served { identity, clients } = &self.0.files;
        f.debug_struct("Tls")
            .field("certificate", &identity.certificate)
            .field("clients", clients)
            .finish_non_exhaustive()
    }
}

impl Files for Served {
    type Config = ServerConfig;

    fn files(&self) -> Vec<&Path> {
        let mut files: Vec<&Path> = vec![&self.identity.certificate, &self.identity.key];
        files.extend(self.clients.as_deref());
        files
    }

    fn read(&self) -> Result<Made<ServerConfig>, BadTls> {
        let (chain, key) = self.identity.read()?;
        let expires = chain.first().and_then(expires);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| self.identity.blamed(error))?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let authorities = Arc::new(authorities(file)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(authorities, provider).build();
                let bad = |error| BadTls::new(file, format!("cannot be used to check clients: {error}"));
                builder.with_client_cert_verifier(verifier.map_err(bad)?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| self.identity.blamed(error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Made { config: Arc::new(config), expires })
    }
}
