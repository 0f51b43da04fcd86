//! Whom a client believes to be who it looks for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use crate::tls::{BadTls, first};

/// Whom a client believes.
#[derive(Debug, Clone)]
pub(super) enum Trust {
    /// Who shows a certificate for the name by one of the system's authorities.
    System,
    /// By one of the authorities in this file.
    Authorities(PathBuf),
    /// Who shows the very certificate in this file, whatever name and times are in it.
    Exactly(PathBuf),
    /// Whoever answers.
    Anyone,
}

/// Believes one certificate, or any.
#[derive(Debug)]
pub(super) struct Pinned {
    only: Option<(PathBuf, CertificateDer<'static>)>,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    pub(super) fn new(only: Option<&Path>, provider: Arc<CryptoProvider>) -> Result<Self, BadTls> {
        let only = only.map(|file| Ok((file.to_owned(), first(file)?))).transpose()?;
        Ok(Self { only, provider })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.only {
            Some((file, only)) if only != end_entity => {
                Err(Error::General(format!("it shows another certificate than that in {}", file.display())))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    // Who shows a certificate has its key: without that a copy of it would do.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
