//! Whom a client trusts, and the certificate that it shows.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::attested::{self, Judge};
use super::endpoint::{BadEndpoint, Endpoint};
use super::error::CallError;
use super::stream::{self, Duplex};
use super::trust::{Pinned, Trust};
use crate::tls::{BadTls, Files, Identity, Made, Renewed, Watched, authorities, expires};

/// Authorities of one's own, a certificate to show, or both, read from files and read again when they change. Clones share it.
#[derive(Clone)]
pub struct Tls(Arc<Renewed<Shown>>);

struct Shown {
    trust: Trust,
    /// Shown to servers that ask for one (mTLS).
    identity: Option<Identity>,
}

impl Tls {
    /// Reads the authorities to trust in the place of the system's (none: the system's), and a certificate to show to servers
    /// that ask for one, with the chain behind it, and its private key (PKCS #8, PKCS #1 or SEC 1, not encrypted); all PEM.
    ///
    /// # Errors
    /// [`BadTls`] says which file, and what is wrong with it.
    pub fn from_pem(authorities: Option<&Path>, identity: Option<(&Path, &Path)>) -> Result<Tls, BadTls> {
        let trust = authorities.map_or(Trust::System, |file| Trust::Authorities(file.to_owned()));
        Self::of(trust, identity)
    }

    /// As [`Tls::from_pem`]; the error in parts: which file, and the whole of what to tell.
    ///
    /// # Errors
    /// As those of [`Tls::from_pem`].
    pub fn of_files(
        authorities: Option<&Path>,
        identity: Option<(&Path, &Path)>,
    ) -> Result<Tls, (PathBuf, String)> {
        Self::from_pem(authorities, identity).map_err(BadTls::into_parts)
    }

    /// Believes the server that shows the first certificate of a file, whatever names and times are in it; without a file any server,
    /// which is for questions that tell nothing and whose answers anybody may give.
    ///
    /// # Errors
    /// As those of [`Tls::from_pem`].
    pub fn pinned(certificate: Option<&Path>, identity: Option<(&Path, &Path)>) -> Result<Tls, BadTls> {
        Self::of(certificate.map_or(Trust::Anyone, |file| Trust::Exactly(file.to_owned())), identity)
    }

    fn of(trust: Trust, identity: Option<(&Path, &Path)>) -> Result<Tls, BadTls> {
        let identity = identity
            .map(|(certificate, key)| Identity { certificate: certificate.to_owned(), key: key.to_owned() });
        Ok(Tls(Arc::new(Renewed::read(Shown { trust, identity })?)))
    }

    /// Its files, for whoever watches over them.
    #[must_use]
    pub fn watched(&self) -> Watched {
        Watched::new(self.0.clone())
    }

    /// Shakes hands over a stream that isn't to be HTTP, with a server whose certificate has to be for `name`. Has no limit of its
    /// own on time.
    ///
    /// With TLS 1.3 a server refuses a client's certificate only after that: by an error when something is read.
    ///
    /// # Errors
    /// The connection's, or rustls's on what the server has shown.
    pub async fn connect<S: Duplex + 'static>(
        &self,
        name: &ServerName,
        stream: S,
    ) -> io::Result<Box<dyn Duplex>> {
        let connector = TlsConnector::from(self.0.current(Instant::now()));
        let stream = connector.with_alpn(Vec::new()).connect(name.0.clone(), stream).await?;
        Ok(Box::new(stream))
    }
}

/// The name or address that a server's certificate has to be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerName(rustls::pki_types::ServerName<'static>);

impl FromStr for ServerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = rustls::pki_types::ServerName::try_from(text.to_owned());
        name.map(Self).map_err(|_| format!("\"{text}\" is neither a DNS name nor an IP address"))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shown { trust, identity } = &self.0.files;
        f.debug_struct("Tls")
            .field("trust", trust)
            .field("certificate", &identity.as_ref().map(|identity| &identity.certificate))
            .finish_non_exhaustive()
    }
}

impl Files for Shown {
    type Config = ClientConfig;

    fn files(&self) -> Vec<&Path> {
        let identity = self.identity.iter().flat_map(|identity| [&*identity.certificate, &*identity.key]);
        let trusted = match &self.trust {
            Trust::Authorities(file) | Trust::Exactly(file) => Some(file.as_path()),
            Trust::System | Trust::Anyone => None,
        };
        identity.chain(trusted).collect()
    }

    fn read(&self) -> Result<Made<ClientConfig>, BadTls> {
        configured(&self.trust, self.identity.as_ref())
    }
}

/// How a client opens its connections: by files, by what the system trusts, or to a node that proves what it runs.
#[derive(Clone)]
pub(super) enum Connectors {
    System(Arc<ClientConfig>),
    Own(Tls),
    Attested(Arc<dyn Judge>),
}

impl Connectors {
    pub(super) fn new(own: Option<&Tls>) -> Result<Self, BadEndpoint> {
        match own {
            Some(own) => Ok(Self::Own(own.clone())),
            None => Ok(Self::System(system().map_err(BadEndpoint::Roots)?)),
        }
    }

    /// Connects and shakes hands. Offers the protocols of `offered`, HTTP/1.1 without. Has no limit of its own on time. The connection, and
    /// until when it may be used if that is limited.
    pub(super) async fn connect(
        &self,
        name: &rustls::pki_types::ServerName<'static>,
        endpoint: &Endpoint,
        offered: Option<Vec<Vec<u8>>>,
    ) -> Result<(TlsStream<TcpStream>, Option<Instant>), CallError> {
        let config = match self {
            Self::System(config) => config.clone(),
            Self::Own(Tls(renewed)) => renewed.current(Instant::now()),
            Self::Attested(judge) => {
                let (stream, until) = attested::connect(judge.as_ref(), name, endpoint).await?;
                return Ok((stream, Some(until)));
            }
        };
        let connector = TlsConnector::from(config);
        let tcp = stream::tcp(endpoint).await?;
        let shaken = match offered {
            Some(offered) => connector.with_alpn(offered).connect(name.clone(), tcp).await,
            None => connector.connect(name.clone(), tcp).await,
        };
        shaken.map(|stream| (stream, None)).map_err(|error| stream::refused(&error, self.shows()))
    }

    /// Whether a server that asks for a certificate is shown one.
    pub(super) fn shows(&self) -> bool {
        matches!(self, Self::Own(Tls(renewed)) if renewed.files.identity.is_some())
    }
}

/// The process's own; one for all, so that they share tickets.
fn system() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let config = || configured(&Trust::System, None).map(|made| made.config).map_err(|bad| bad.to_string());
    CONFIG.get_or_init(config).clone()
}

/// Reading them takes milliseconds, so it is done once.
fn system_roots() -> Result<Arc<RootCertStore>, String> {
    static ROOTS: OnceLock<Result<Arc<RootCertStore>, String>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let loaded = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(loaded.certs);
        if usable == 0 {
            let why = loaded.errors.first().map(ToString::to_string);
            return Err(why.unwrap_or_else(|| "none are installed".to_owned()));
        }
        Ok(Arc::new(roots))
    });
    roots.clone()
}

fn configured(trust: &Trust, identity: Option<&Identity>) -> Result<Made<ClientConfig>, BadTls> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| BadTls::new(Path::new("TLS"), error.to_string()))?;
    let pinned = |only: Option<&Path>| Ok(Arc::new(Pinned::new(only, provider.clone())?));
    let builder = match trust {
        Trust::System => {
            let why = |why| BadTls::new(Path::new("the system's certificates"), why);
            builder.with_root_certificates(system_roots().map_err(why)?)
        }
        Trust::Authorities(file) => builder.with_root_certificates(Arc::new(authorities(file)?)),
        Trust::Exactly(file) => builder.dangerous().with_custom_certificate_verifier(pinned(Some(file))?),
        Trust::Anyone => builder.dangerous().with_custom_certificate_verifier(pinned(None)?),
    };
    let mut ends = None;
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = identity.read()?;
            ends = chain.first().and_then(expires);
            builder.with_client_auth_cert(chain, key).map_err(|error| identity.blamed(error))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Made { config: Arc::new(config), expires: ends })
}
