//! Nodes that are to prove what they run before they are sent anything: `https://SGX_…@host`, `SEV_…`, `TDX_…`.
//!
//! What such a node shows in the place of a certificate that an authority has issued is judged elsewhere ([`Attest`]); here is what makes the
//! judgement hold: it is made within the handshake of each connection, none is taken up again from an earlier one, and rustls verifies that the
//! peer holds the certificate's key. Nothing of a request is written before.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

use super::endpoint::Endpoint;
use super::error::{CallError, Fault};
use super::shaking::TlsFault;
use super::stream;

/// What the user part of such a node's URL begins with.
const PREFIXES: [&[u8]; 3] = [b"SGX_", b"SEV_", b"TDX_"];
/// The longest reason for a refusal that is passed on, in characters.
const LONGEST_REASON: usize = 2_000;

/// Whether the user part of a URL asks that the node attests (`https://SGX_…@host`, `SEV_…`, `TDX_…`), in whatever case and encoding it
/// is written: what nearly asks for it is no user name either.
#[must_use]
pub fn asks_to_attest(url: &Url) -> bool {
    let user: Vec<u8> = percent_decode_str(url.username()).collect();
    PREFIXES
        .iter()
        .any(|prefix| user.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)))
}

/// Knows how nodes prove what they run.
pub trait Attest: Send + Sync {
    /// Who judges the node at `url`, for as long as there is a client for it.
    ///
    /// # Errors
    /// Why it can't be judged: what of the URL or of the settings is wrong, and what to do. Quotes nothing of the URL's user part.
    fn node(&self, url: &Url) -> Result<Arc<dyn Judge>, String>;

    /// What is known of the node at `url`, for operators: how it was judged last, what it measured. Nothing if it never was, or nobody keeps
    /// that.
    fn known(&self, _url: &Url) -> Option<Value> {
        None
    }
}

/// Judges one node.
pub trait Judge: Send + Sync {
    /// A connection is about to be opened: who judges what is shown on it.
    ///
    /// # Errors
    /// Why none can be opened.
    fn begin(&self) -> Result<Box<dyn Trial>, String>;
}

/// Judges what is shown on one connection.
pub trait Trial: Send + Sync {
    /// The name to ask for (SNI) in the place of the host's; it has to be a DNS name by its letters.
    fn server_name(&self) -> Option<&str> {
        None
    }

    /// Judges the server's certificate (DER). Called within the handshake: it must not block, nor wait for anything.
    ///
    /// # Errors
    /// Why it is refused.
    fn judge(&self, certificate: &[u8]) -> Result<(), Refused>;

    /// What was judged held, and the peer has proved that it holds the certificate's key: requests go out now. For how long the connection
    /// may be used; it is then given up when it is idle next.
    fn held(&self) -> Duration;
}

/// Why a node isn't taken.
pub struct Refused {
    /// For operators.
    pub reason: String,
    /// If something is missing that is being fetched: resolves when that has ended. Another connection is then tried, once.
    pub wait: Option<Wait>,
}

/// Something that is waited for between two connections.
pub type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// [`Attest`], as settings and options have it. Clones are the same.
#[derive(Clone)]
pub struct Attestation(Arc<dyn Attest>);

impl Attestation {
    /// By what judges.
    pub fn new(attest: impl Attest + 'static) -> Self {
        Self(Arc::new(attest))
    }

    /// As [`Attest::node`].
    ///
    /// # Errors
    /// Those of [`Attest::node`].
    pub fn node(&self, url: &Url) -> Result<Arc<dyn Judge>, String> {
        self.0.node(url)
    }

    /// As [`Attest::known`].
    #[must_use]
    pub fn known(&self, url: &Url) -> Option<Value> {
        self.0.known(url)
    }
}

impl fmt::Debug for Attestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attestation")
    }
}

/// Shakes hands with a node that is to attest; `host` is whom its URL names. Offers no protocol (ALPN), as such servers know none: what is
/// spoken is HTTP/1.1. Has no limit of its own on time. The connection, and until when it may be used.
pub(super) async fn connect(
    judge: &dyn Judge,
    host: &ServerName<'static>,
    endpoint: &Endpoint,
) -> Result<(TlsStream<TcpStream>, Instant), CallError> {
    let failed = match once(judge, host, stream::tcp(endpoint).await?).await {
        Ok(stream) => return Ok(stream),
        Err(failed) => failed,
    };
    let Some(wait) = failed.wait else { return Err(failed.error) };
    wait.await;
    once(judge, host, stream::tcp(endpoint).await?).await.map_err(|failed| failed.error)
}

struct Failed {
    error: CallError,
    wait: Option<Wait>,
}

impl Failed {
    fn unattested(reason: &str, wait: Option<Wait>) -> Self {
        // Parts of it may be the server's own words.
        let reason: String =
            reason.chars().take(LONGEST_REASON).map(|c| if c.is_control() { '?' } else { c }).collect();
        Self { error: CallError::undelivered(Fault::Unattested, reason), wait }
    }
}

async fn once(
    judge: &dyn Judge,
    host: &ServerName<'static>,
    tcp: TcpStream,
) -> Result<(TlsStream<TcpStream>, Instant), Failed> {
    let trial: Arc<dyn Trial> = judge.begin().map_err(|why| Failed::unattested(&why, None))?.into();
    let name = match trial.server_name() {
        None => host.clone(),
        Some(name) => ServerName::try_from(name.to_owned())
            .map_err(|_| Failed::unattested("the name to ask the server for is no DNS name", None))?,
    };
    let verifier = Arc::new(Verifier::new(trial.clone()));
    let config = configured(verifier.clone()).map_err(|why| Failed::unattested(&why.to_string(), None))?;
    match TlsConnector::from(Arc::new(config)).connect(name, tcp).await {
        Ok(stream) => Ok((stream, Instant::now() + trial.held())),
        Err(error) => Err(match verifier.refused() {
            Some(Refused { reason, wait }) => Failed::unattested(&reason, wait),
            None => {
                let mut error = stream::refused(&error, false);
                // No authority has a say here: it doesn't hold the certificate's key.
                if error.fault == Fault::Tls(TlsFault::UnknownAuthority) {
                    error.fault = Fault::Tls(TlsFault::Unusable);
                }
                Failed { error, wait: None }
            }
        }),
    }
}

/// For one connection: what it remembers of it ends with it.
fn configured(verifier: Arc<Verifier>) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(verifier.provider.clone());
    let builder = builder.with_safe_default_protocol_versions()?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

/// Has the certificate judged by the trial, and the peer's signature over the handshake verified by rustls, against that certificate's key.
struct Verifier {
    trial: Arc<dyn Trial>,
    provider: Arc<CryptoProvider>,
    refused: Mutex<Option<Refused>>,
}

impl Verifier {
    fn new(trial: Arc<dyn Trial>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Self { trial, provider, refused: Mutex::default() }
    }

    fn refused(&self) -> Option<Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.trial.judge(certificate) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(refused) => {
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{BadEndpoint, Clear, Client, Options, Uplink};
    use super::*;

    #[test]
    fn a_node_that_is_to_attest_is_never_called_as_any_other() {
        let hex = "f9".repeat(32);
        for user in [
            &*format!("SGX_{hex}"),
            "SGX_",
            "sgx_00",
            "S%47X_00",
            "SGX%5F00",
            "SGX_00:password",
            "SEV_H4sIAAAA==",
            "SEV_H4sIAAAA%3D%3D",
            "TDX_H4sIAAAA",
            "tDx_",
        ] {
            for scheme in ["http", "https"] {
                let url = Url::parse(&format!("{scheme}://{user}@127.0.0.1:1/")).unwrap();
                assert!(asks_to_attest(&url), "{url}");
                let refused = Client::new(&url, Options::default()).unwrap_err();
                assert_eq!(refused, BadEndpoint::Attested, "{url}");
                assert!(!refused.to_string().contains(&hex));
                let refused = Uplink::new(&url, Options::default(), Clear::default()).unwrap_err();
                assert_eq!(refused, BadEndpoint::Attested, "{url}");
            }
        }
    }

    #[test]
    fn others_are_user_names() {
        for user in ["", "me@", "SGX@", "xSGX_00@", ":SGX_00@", "SG@", "%FF@"] {
            let url = Url::parse(&format!("http://{user}127.0.0.1:1/SGX_00")).unwrap();
            assert!(!asks_to_attest(&url), "{url}");
            assert!(Client::new(&url, Options::default()).is_ok(), "{url}");
        }
    }
}
