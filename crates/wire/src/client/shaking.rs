//! Why a TLS handshake with a node failed, as far as somebody has to do something about it: a dozen reasons with a remedy each.
//!
//! Neither texts nor words have anything of the node, its certificate or its address in them: they may be shown to anybody. What
//! rustls says in full is the detail of the call's error.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};
use serde::Serialize;

/// Why a TLS handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsFault {
    /// A certificate of the node's chain has expired.
    Expired,
    /// A certificate of the node's chain isn't valid yet.
    NotYetValid,
    /// No authority that is trusted has issued the node's certificate.
    UnknownAuthority,
    /// The node's certificate is for another name than that of the node's URL.
    WrongName,
    /// The node shows an authority's certificate (`CA:TRUE`) as its own.
    AuthorityShown,
    /// The node's certificate can't be used for another reason: revoked, not for servers, signed in a way that isn't known.
    Unusable,
    /// The node wants a client certificate, and was shown none.
    CertificateRequired,
    /// The node refuses the client certificate that it was shown.
    CertificateRefused,
    /// The node refuses the handshake, or offers nothing that is taken here.
    Refused,
    /// What answers there doesn't speak TLS.
    NoTls,
    /// The connection ended in the handshake.
    Broken,
    /// Something else.
    Other,
}

impl TlsFault {
    /// What ended a handshake, or a connection soon after it; `shows`: whether a client certificate was there to be shown.
    pub(super) fn of(error: &io::Error, shows: bool) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::InvalidCertificate(error)) => Self::of_certificate(error),
            Some(Error::NoCertificatesPresented | Error::General(_)) => Self::Unusable,
            Some(Error::AlertReceived(alert)) => Self::of_alert(*alert, shows),
            Some(Error::PeerIncompatible(_)) => Self::Refused,
            Some(Error::InvalidMessage(_)) => Self::NoTls,
            Some(_) => Self::Other,
            None => Self::Broken,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        use CertificateError as Bad;
        match error {
            Bad::Expired | Bad::ExpiredContext { .. } => Self::Expired,
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => Self::NotYetValid,
            // That of another authority with the same name, as one that was made anew has.
            Bad::UnknownIssuer | Bad::BadSignature => Self::UnknownAuthority,
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => Self::WrongName,
            // webpki's word, which rustls has none of its own for.
            Bad::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => Self::AuthorityShown,
            _ => Self::Unusable,
        }
    }

    /// The node's word that it ends the connection.
    fn of_alert(alert: AlertDescription, shows: bool) -> Self {
        use AlertDescription as Alert;
        match alert {
            Alert::CertificateRequired | Alert::NoCertificate => Self::CertificateRequired,
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied => match shows {
                true => Self::CertificateRefused,
                // Before TLS 1.3, and in Java for long after it, there is no other word for none.
                false => Self::CertificateRequired,
            },
            // What an authority of the same name has signed; for want of any there is nothing to decrypt.
            Alert::DecryptError if shows => Self::CertificateRefused,
            _ => Self::Refused,
        }
    }

    /// The same of an alert of which only rustls's text is left; `None` if that is none.
    pub(super) fn of_text(text: &str, shows: bool) -> Option<Self> {
        use AlertDescription as Alert;
        let (_, name) = text.split_once("received fatal alert: ")?;
        let told = [
            Alert::CertificateRequired,
            Alert::NoCertificate,
            Alert::BadCertificate,
            Alert::UnsupportedCertificate,
            Alert::CertificateRevoked,
            Alert::CertificateExpired,
            Alert::CertificateUnknown,
            Alert::UnknownCA,
            Alert::AccessDenied,
            Alert::DecryptError,
        ];
        let alert = told.into_iter().find(|alert| format!("{alert:?}") == name);
        Some(Self::of_alert(alert.unwrap_or(Alert::HandshakeFailure), shows))
    }

    /// The word that spans have for it (`error.type`).
    #[must_use]
    pub fn error_type(self) -> &'static str {
        match self {
            Self::Expired => "tls_expired",
            Self::NotYetValid => "tls_not_yet_valid",
            Self::UnknownAuthority => "tls_unknown_authority",
            Self::WrongName => "tls_wrong_name",
            Self::AuthorityShown => "tls_authority_shown",
            Self::Unusable => "tls_unusable",
            Self::CertificateRequired => "tls_certificate_required",
            Self::CertificateRefused => "tls_certificate_refused",
            Self::Refused => "tls_refused",
            Self::NoTls => "no_tls",
            Self::Broken => "tls_broken",
            Self::Other => "tls_other",
        }
    }

    /// What is wrong, for operators.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::Expired => "its certificate has expired",
            Self::NotYetValid => "its certificate isn't valid yet",
            Self::UnknownAuthority => "its certificate is by an authority that isn't trusted here",
            Self::WrongName => "its certificate is for another name than the one it is called by",
            Self::AuthorityShown => "it shows an authority's certificate (CA:TRUE) as its own",
            Self::Unusable => "its certificate can't be used",
            Self::CertificateRequired => "it wants a client certificate",
            Self::CertificateRefused => "it refuses our client certificate",
            Self::Refused => "it refuses the handshake",
            Self::NoTls => "what answers there doesn't speak TLS",
            Self::Broken => "the connection ended in the handshake",
            Self::Other => "the handshake failed",
        }
    }

    /// What to do about it, for operators. Keys are those of the roles.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Expired => "renew it on the node, or mend the clock here",
            Self::NotYetValid => "mend the clock, here or where it was issued, or wait",
            Self::UnknownAuthority => "name that authority's certificate in node_ca",
            Self::WrongName => {
                "call the node by a name in it (subjectAltName), or issue one for the name in its URL"
            }
            Self::AuthorityShown => "issue the node a certificate of its own, with CA:FALSE",
            Self::Unusable => {
                "issue a new one for a server; mainstay check --probe says what is wrong with it"
            }
            Self::CertificateRequired => "set node_cert and node_key",
            Self::CertificateRefused => {
                "have node_cert issued by an authority that the node trusts, and renewed before it ends"
            }
            Self::Refused => {
                "let it speak TLS 1.2 or 1.3; if it wants a client certificate, set node_cert and node_key"
            }
            Self::NoTls => "put http:// in the place of https:// in its URL, or mend the port",
            Self::Broken => {
                "read the node's log: it may want a client certificate (node_cert, node_key), or not speak TLS"
            }
            Self::Other => "mainstay check --probe says more",
        }
    }
}

impl std::fmt::Display for TlsFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TLS: {}: {}", self.what(), self.remedy())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use bytes::Bytes;
    use http::Request;
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    use tokio::time::Instant;
    use tokio_util::either::Either;
    use url::Url;

    use super::super::endpoint::Endpoint;
    use super::super::h2::Connection;
    use super::super::link::Link;
    use super::super::outgoing::Outgoing;
    use super::super::stream::Opened;
    use super::super::{Fault, Options};
    use super::*;

    const ALERTS: [(AlertDescription, TlsFault, TlsFault); 13] = {
        use AlertDescription as Alert;
        use TlsFault::{CertificateRefused, CertificateRequired, Refused};
        //                           with a certificate    without
        [
            (Alert::CertificateRequired, CertificateRequired, CertificateRequired),
            (Alert::NoCertificate, CertificateRequired, CertificateRequired),
            (Alert::BadCertificate, CertificateRefused, CertificateRequired),
            (Alert::UnsupportedCertificate, CertificateRefused, CertificateRequired),
            (Alert::CertificateRevoked, CertificateRefused, CertificateRequired),
            (Alert::CertificateExpired, CertificateRefused, CertificateRequired),
            (Alert::CertificateUnknown, CertificateRefused, CertificateRequired),
            (Alert::UnknownCA, CertificateRefused, CertificateRequired),
            (Alert::AccessDenied, CertificateRefused, CertificateRequired),
            (Alert::DecryptError, CertificateRefused, Refused),
            (Alert::HandshakeFailure, Refused, Refused),
            (Alert::ProtocolVersion, Refused, Refused),
            (Alert::InternalError, Refused, Refused),
        ]
    };

    #[test]
    fn an_alert_says_the_same_as_an_error_and_as_its_text() {
        for (alert, with, without) in ALERTS {
            for (shows, wanted) in [(true, with), (false, without)] {
                let error = io::Error::new(io::ErrorKind::InvalidData, Error::AlertReceived(alert));
                assert_eq!(TlsFault::of(&error, shows), wanted, "{alert:?}");
                assert_eq!(TlsFault::of_text(&error.to_string(), shows), Some(wanted), "{alert:?}");
            }
        }
        assert_eq!(TlsFault::of_text("connection reset by peer", false), None);
    }

    #[test]
    fn what_is_no_word_of_tls_is_a_connection_that_ended() {
        let ended = io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
        assert_eq!(TlsFault::of(&ended, true), TlsFault::Broken);
        let other = io::Error::new(io::ErrorKind::InvalidData, Error::FailedToGetRandomBytes);
        assert_eq!(TlsFault::of(&other, true), TlsFault::Other);
    }

    /// A connection whose handshake is over, to a node that then says what Java says of a certificate that isn't there.
    struct Alerting;

    impl AsyncRead for Alerting {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let alert = Error::AlertReceived(AlertDescription::BadCertificate);
            Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, alert)))
        }
    }

    impl AsyncWrite for Alerting {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_certificate_that_was_never_shown_is_not_called_refused_after_the_handshake_either() {
        let url = Url::parse("http://node/").unwrap();
        for (shows, why) in [(true, TlsFault::CertificateRefused), (false, TlsFault::CertificateRequired)] {
            let opened = || Opened { stream: Either::Right(Box::new(Alerting)), until: None, shows };
            let endpoint = Endpoint::new(&url, &Options::default()).unwrap();
            let request = Outgoing::json(&endpoint, Bytes::from_static(b"{}"), None);
            let failed = Link::over(opened()).begin(&request).await.err().unwrap();
            assert_eq!(failed.error.fault, Fault::Tls(why));
            let connection = Connection::over(opened()).await.unwrap();
            let request = Request::post("http://node/").body(Bytes::from_static(b"{}")).unwrap();
            let deadline = Instant::now() + Duration::from_secs(20);
            let error = connection.send(request, 1_000, deadline).await.unwrap_err();
            assert_eq!(error.fault, Fault::Tls(why));
        }
    }
}
