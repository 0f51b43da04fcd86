//! The certificate that a listener serves TLS with, and its renewal.
//!
//! Whoever renews a certificate (certbot, cert-manager) writes its files anew and can't be relied on to tell. So they are looked at
//! when a client connects, once a minute at most; what cannot be used is warned of once, and the certificate in use stays.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// The files are looked at no more often than this.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Why a certificate or its key can't be used. Quotes nothing of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTls {
    file: PathBuf,
    what: String,
}

impl BadTls {
    fn new(file: &Path, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), what: what.into() }
    }

    /// The file that can't be used.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }
}

impl std::fmt::Display for BadTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)
    }
}

impl std::error::Error for BadTls {}

/// A certificate with its key, read from files and read again when they change. Clones share it.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    files: Files,
    state: Mutex<State>,
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

struct State {
    config: Arc<ServerConfig>,
    /// What the files were like when they were last read, and when they were last looked at.
    seen: Stamp,
    looked: Instant,
}

/// What tells that files have changed: the time of the last change and the size of each, if it is there.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl Tls {
    /// Reads a certificate, with the chain behind it, and its private key (PKCS #8, PKCS #1 or SEC 1, not encrypted), all PEM.
    ///
    /// # Errors
    /// [`BadTls`] says which file, and what is wrong with it.
    pub fn from_pem(certificate: &Path, key: &Path) -> Result<Tls, BadTls> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        // Before they are read: a change in between is then seen as one.
        let seen = files.stamp();
        let config = files.read()?;
        let state = Mutex::new(State { config, seen, looked: Instant::now() });
        Ok(Tls(Arc::new(Shared { files, state })))
    }

    /// Reads the files again, changed or not. Connections that are open keep what they have; what cannot be used changes nothing.
    pub(super) fn reload(&self) -> Result<(), BadTls> {
        let seen = self.0.files.stamp();
        let read = self.0.files.read();
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seen = seen;
        state.config = read?;
        Ok(())
    }

    /// What the next connection is accepted with.
    pub(super) fn acceptor(&self, now: Instant) -> TlsAcceptor {
        if self.is_due(now) {
            match self.reload() {
                Ok(()) => {
                    tracing::info!(file = %self.0.files.certificate.display(), "read a new TLS certificate")
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot use the new TLS certificate, the old one stays in use");
                }
            }
        }
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(state.config.clone())
    }

    /// Whether the files have changed, if it is time to look.
    fn is_due(&self, now: Instant) -> bool {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.looked) < LOOK_EVERY {
            return false;
        }
        state.looked = now;
        state.seen != self.0.files.stamp()
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.0.files.certificate).finish_non_exhaustive()
    }
}

impl Files {
    fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key].map(|file| {
            let metadata = std::fs::metadata(file).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
    }

    fn read(&self) -> Result<Arc<ServerConfig>, BadTls> {
        let chain = chain(&self.certificate)?;
        let key = key(&self.key)?;
        let bad = |error: rustls::Error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let what = format!("is not the key of the certificate in {}", self.certificate.display());
                BadTls::new(&self.key, what)
            }
            rustls::Error::InvalidCertificate(error) => {
                BadTls::new(&self.certificate, format!("holds no usable certificate: {error}"))
            }
            error => BadTls::new(&self.key, format!("holds no usable private key: {error}")),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(bad)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(bad)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn text(file: &Path) -> Result<Vec<u8>, BadTls> {
    std::fs::read(file).map_err(|error| BadTls::new(file, format!("cannot be read: {error}")))
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, BadTls> {
    let text = text(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(BadTls::new(file, "holds no certificate (-----BEGIN CERTIFICATE-----)")),
        // What the error says may quote the file.
        Err(_) => Err(BadTls::new(file, "is not valid PEM")),
    }
}

fn key(file: &Path) -> Result<PrivateKeyDer<'static>, BadTls> {
    let text = text(file)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(_) if is_encrypted(&text) => {
            let what = "is encrypted; write it without a passphrase (openssl pkey -in FILE -out NEW), for its owner's eyes only";
            Err(BadTls::new(file, what))
        }
        Err(PemError::NoItemsFound) => {
            Err(BadTls::new(file, "holds no private key (-----BEGIN PRIVATE KEY-----)"))
        }
        Err(_) => Err(BadTls::new(file, "is not valid PEM")),
    }
}

fn is_encrypted(text: &[u8]) -> bool {
    let marks = [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"];
    marks.iter().any(|mark| text.windows(mark.len()).any(|window| window == *mark))
}
