//! The files of TLS: certificates and keys in PEM, and their renewal.
//!
//! Whoever renews a certificate (certbot, cert-manager) writes its files anew and can't be relied on to tell. So they are looked at
//! when a connection is opened, every few seconds at most, and when somebody who watches them asks ([`Watched`]); what cannot be used is
//! warned of once, and what is in use stays.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, RootCertStore};
use tokio::time::Instant;
use x509_cert::der::Decode as _;

/// For a connection the files are looked at no more often than this.
const LOOK_EVERY: Duration = Duration::from_secs(5);

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

    /// Which file, and the whole of what to tell.
    pub(crate) fn into_parts(self) -> (PathBuf, String) {
        let told = self.to_string();
        (self.file, told)
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

/// What is made of files.
pub(crate) struct Made<C> {
    pub(crate) config: Arc<C>,
    /// Of one's own certificate, the first of its chain: in seconds since 1970.
    pub(crate) expires: Option<u64>,
}

/// When a certificate (DER) ends, in seconds since 1970; nothing of one that can't be read.
pub(crate) fn expires(certificate: &CertificateDer<'_>) -> Option<u64> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate().validity().not_after.to_unix_duration().as_secs())
}

/// Files that a configuration of TLS is made of.
pub(crate) trait Files {
    /// What is made of them.
    type Config;

    /// Which they are.
    fn files(&self) -> Vec<&Path>;

    /// Makes it.
    fn read(&self) -> Result<Made<Self::Config>, BadTls>;
}

/// A configuration, read from files and read again when they change.
pub(crate) struct Renewed<F: Files> {
    pub(crate) files: F,
    state: Mutex<State<F::Config>>,
}

struct State<C> {
    made: Made<C>,
    /// How often files that have changed could not be used.
    failures: u64,
    /// What the files were like when they were last read, and when they were last looked at.
    seen: Stamp,
    looked: Instant,
}

/// What tells that files have changed: of each, if it is there, which it is, its size, and when its content and it itself last changed.
type Stamp = Vec<Option<[i128; 4]>>;

impl<F: Files> Renewed<F> {
    pub(crate) fn read(files: F) -> Result<Self, BadTls> {
        // Before they are read: a change in between is then seen as one.
        let seen = stamp(&files);
        let made = files.read()?;
        Ok(Self { files, state: Mutex::new(State { made, failures: 0, seen, looked: Instant::now() }) })
    }

    /// Reads the files again, changed or not. Connections that are open keep what they have; what cannot be used changes nothing.
    pub(crate) fn reload(&self) -> Result<(), BadTls> {
        let seen = stamp(&self.files);
        let read = self.files.read();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seen = seen;
        state.failures += u64::from(read.is_err());
        state.made = read?;
        Ok(())
    }

    /// What the next connection is opened with.
    pub(crate) fn current(&self, now: Instant) -> Arc<F::Config> {
        if self.is_due(now) {
            self.renew();
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).made.config.clone()
    }

    /// Reads files that have changed, and tells what came of it.
    fn renew(&self) {
        let files = self.files.files();
        let file = files.first().map(|file| file.display().to_string()).unwrap_or_default();
        match self.reload() {
            Ok(()) => tracing::info!(%file, "read a new TLS certificate"),
            Err(error) => {
                tracing::warn!(%error, "cannot use the new TLS certificate, the old one stays in use");
            }
        }
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
        let file = std::fs::metadata(file).ok()?;
        let at = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let (written, changed) = (at(file.mtime(), file.mtime_nsec()), at(file.ctime(), file.ctime_nsec()));
        Some([i128::from(file.ino()), i128::from(file.size()), written, changed])
    };
    files.files().into_iter().map(stamp).collect()
}

/// The files of a listener's or a client's TLS, for whoever watches over them. Clones are the same.
#[derive(Clone)]
pub struct Watched(Arc<dyn Watch>);

trait Watch: Send + Sync {
    fn look(&self);
    fn expires(&self) -> Option<u64>;
    fn failures(&self) -> u64;
}

impl<F: Files + Send + Sync> Watch for Renewed<F>
where
    F::Config: Send + Sync,
{
    fn look(&self) {
        let seen = stamp(&self.files);
        if self.state.lock().unwrap_or_else(PoisonError::into_inner).seen != seen {
            self.renew();
        }
    }

    fn expires(&self) -> Option<u64> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).made.expires
    }

    fn failures(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failures
    }
}

impl Watched {
    pub(crate) fn new<F: Files + Send + Sync + 'static>(files: Arc<Renewed<F>>) -> Self
    where
        F::Config: Send + Sync,
    {
        Self(files)
    }

    /// Reads the files again if they have changed. Connections that are open keep what they have; what cannot be used is warned of, and
    /// what is in use stays.
    pub fn look(&self) {
        self.0.look();
    }

    /// When the certificate that is in use ends, in seconds since 1970; `None` if there is none of one's own.
    #[must_use]
    pub fn expires(&self) -> Option<u64> {
        self.0.expires()
    }

    /// How often files that had changed could not be used.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.0.failures()
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").field("expires", &self.expires()).finish_non_exhaustive()
    }
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

/// The first certificate of a file.
pub(crate) fn first(file: &Path) -> Result<CertificateDer<'static>, BadTls> {
    chain(file)?.into_iter().next().ok_or_else(|| BadTls::new(file, "holds no certificate"))
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
