//! The files of TLS: certificates and keys in PEM, and their renewal.
//!
//! Whoever renews a certificate (certbot, cert-manager) writes its files anew and can't be relied on to tell. So they are looked at
//! when a connection is opened, once a minute at most; what cannot be used is warned of once, and what is in use stays.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, RootCertStore};
use tokio::time::Instant;

/// The files are looked at no more often than this.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Why a certificate or its key can't be used. Quotes nothing of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTls {
    file: PathBuf,
    what: String,
}

impl BadTls {
    pub(crate) fn new(file: &Path, what: impl Into<String>) -> Self {
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

/// A certificate with its private key.
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Identity {
    /// The certificate with the chain behind it, and its key.
    pub(crate) fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), BadTls> {
        Ok((chain(&self.certificate)?, key(&self.key)?))
    }

    /// What rustls says against them, in terms of the files.
    pub(crate) fn blamed(&self, error: rustls::Error) -> BadTls {
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let what = format!("is not the key of the certificate in {}", self.certificate.display());
                BadTls::new(&self.key, what)
            }
            rustls::Error::InvalidCertificate(error) => {
                BadTls::new(&self.certificate, format!("holds no usable certificate: {error}"))
            }
            error => BadTls::new(&self.key, format!("holds no usable private key: {error}")),
        }
    }
}

/// Files that a configuration of TLS is made of.
pub(crate) trait Files {
    /// What is made of them.
    type Config;

    /// Which they are.
    fn files(&self) -> Vec<&Path>;

    /// Makes it.
    fn read(&self) -> Result<Arc<Self::Config>, BadTls>;
}

/// A configuration, read from files and read again when they change.
pub(crate) struct Renewed<F: Files> {
    pub(crate) files: F,
    state: Mutex<State<F::Config>>,
}

struct State<C> {
    config: Arc<C>,
    /// What the files were like when they were last read, and when they were last looked at.
    seen: Stamp,
    looked: Instant,
}

/// What tells that files have changed: the time of the last change and the size of each, if it is there.
type Stamp = Vec<Option<(SystemTime, u64)>>;

impl<F: Files> Renewed<F> {
    pub(crate) fn read(files: F) -> Result<Self, BadTls> {
        // Before they are read: a change in between is then seen as one.
        let seen = stamp(&files);
        let config = files.read()?;
        Ok(Self { files, state: Mutex::new(State { config, seen, looked: Instant::now() }) })
    }

    /// Reads the files again, changed or not. Connections that are open keep what they have; what cannot be used changes nothing.
    pub(crate) fn reload(&self) -> Result<(), BadTls> {
        let seen = stamp(&self.files);
        let read = self.files.read();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seen = seen;
        state.config = read?;
        Ok(())
    }

    /// What the next connection is opened with.
    pub(crate) fn current(&self, now: Instant) -> Arc<F::Config> {
        if self.is_due(now) {
            let files = self.files.files();
            let file = files.first().map(|file| file.display().to_string()).unwrap_or_default();
            match self.reload() {
                Ok(()) => tracing::info!(%file, "read a new TLS certificate"),
                Err(error) => {
                    tracing::warn!(%error, "cannot use the new TLS certificate, the old one stays in use");
                }
            }
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).config.clone()
    }

    /// Whether the files have changed, if it is time to look.
    fn is_due(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.looked) < LOOK_EVERY {
            return false;
        }
        state.looked = now;
        state.seen != stamp(&self.files)
    }
}

fn stamp<F: Files>(files: &F) -> Stamp {
    let stamp = |file: &Path| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.files().into_iter().map(stamp).collect()
}

/// The authorities whose certificates are trusted.
pub(crate) fn authorities(file: &Path) -> Result<RootCertStore, BadTls> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(file)? {
        let bad = |error| BadTls::new(file, format!("holds no usable certificate: {error}"));
        roots.add(certificate).map_err(bad)?;
    }
    Ok(roots)
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
