//! Why a handshake fails: the reason that operators are told, with real certificates, over HTTP/1.1 and HTTP/2, by TLS 1.3 and 1.2.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/authority.rs"]
mod authority;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use authority::Authority;
use bytes::Bytes;
use mainstay_wire::client::{CallError, Clear, Client, Fault, Options, Tls, TlsFault, Transport, Uplink};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, SanType, date_time_ymd};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use url::Url;

type Pair = (PathBuf, PathBuf);
type Version = &'static SupportedProtocolVersion;

/// A node that shows this certificate, speaks one version, and wants a client certificate by `wants` if there is one.
async fn node(shown: &Pair, version: Version, wants: Option<&Path>) -> SocketAddr {
    let provider = Arc::new(default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[version]).unwrap();
    let builder = match wants {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = vec![CertificateDer::from_pem_file(&shown.0).unwrap()];
    let mut config =
        builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(&shown.1).unwrap()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    listen(config).await
}

async fn listen(config: ServerConfig) -> SocketAddr {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            // What it has said stays to be read for as long as the connection is there.
            let kept = acceptor.accept(stream).into_fallible().await.err().map(|(_, stream)| stream);
            std::future::pending::<()>().await;
            drop(kept);
        }
    })
    .await
}

/// One that isn't as TLS has it.
async fn serve<T: Future<Output = ()> + Send + 'static>(
    then: impl Fn(TcpStream) -> T + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(then(stream));
        }
    });
    address
}

/// What a call to it comes to, over HTTP/1.1 and over HTTP/2.
async fn asked(address: SocketAddr, trusted: &Path, shown: Option<&Pair>) -> [CallError; 2] {
    let shown = shown.map(|(certificate, key)| (certificate.as_path(), key.as_path()));
    let tls = Tls::from_pem(Some(trusted), shown).unwrap();
    let url = Url::parse(&format!("https://localhost:{}/s3cret", address.port())).unwrap();
    let options = Options { tls: Some(tls), connect_timeout: Duration::from_secs(20), ..Options::default() };
    let client = Client::new(&url, options.clone()).unwrap();
    let uplink = Uplink::new(&url, options, Clear::Http1).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let post = async |way: &dyn Transport| way.post(Bytes::from_static(b"{}"), None, deadline).await;
    [post(&client).await.unwrap_err(), post(&uplink).await.unwrap_err()]
}

#[track_caller]
fn is(told: &[CallError], why: TlsFault, of: &str) {
    for error in told {
        assert_eq!(error.fault, Fault::Tls(why), "{of}: {error}");
        // What rustls says in full is there for who looks closer.
        assert!(error.to_string().starts_with("TLS handshake failed: "), "{of}: {error}");
        assert!(!error.to_string().contains("s3cret"), "{of}: {error}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_taken_says_why() {
    use TlsFault::{AuthorityShown, Expired, NotYetValid, UnknownAuthority, Unusable, WrongName};
    type Change = fn(&mut CertificateParams);
    let (authority, stranger) = (Authority::new(), Authority::new());
    let changes: [(Change, TlsFault); 6] = [
        (|params| params.not_after = date_time_ymd(2020, 1, 1), Expired),
        (|params| params.not_before = date_time_ymd(2999, 1, 1), NotYetValid),
        (|params| params.subject_alt_names = vec![SanType::DnsName("a.b".try_into().unwrap())], WrongName),
        // A name that stands as its common name alone counts for nothing.
        (|params| params.subject_alt_names.clear(), WrongName),
        (|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), AuthorityShown),
        (|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth], Unusable),
    ];
    let mut cases: Vec<(Pair, TlsFault)> = Vec::new();
    for (change, why) in changes {
        let pair = authority.issue_with("localhost", change);
        // The next has the same name.
        let of = |file: &Path| file.with_extension(format!("{}.pem", cases.len()));
        let kept = (of(&pair.0), of(&pair.1));
        std::fs::rename(pair.0, &kept.0).unwrap();
        std::fs::rename(pair.1, &kept.1).unwrap();
        cases.push((kept, why));
    }
    cases.push((stranger.issue("localhost"), UnknownAuthority));
    for (shown, why) in cases {
        for version in [&TLS13, &TLS12] {
            let address = node(&shown, version, None).await;
            let told = asked(address, &authority.file(), None).await;
            is(&told, why, &format!("{why:?} by {version:?}"));
        }
    }
}

#[tokio::test]
async fn a_client_certificate_that_is_missed_or_refused_says_which() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let shown = authority.issue("localhost");
    let forged = stranger.issue("link");
    let over = authority.issue_until("over", 2020, 1, 1);
    for version in [&TLS13, &TLS12] {
        let address = node(&shown, version, Some(&authority.file())).await;
        for (own, why) in [
            (None, TlsFault::CertificateRequired),
            (Some(&forged), TlsFault::CertificateRefused),
            (Some(&over), TlsFault::CertificateRefused),
        ] {
            let told = asked(address, &authority.file(), own).await;
            is(&told, why, &format!("{own:?} by {version:?}"));
        }
    }
}

#[tokio::test]
async fn what_is_no_tls_or_ends_says_so() {
    let authority = Authority::new();
    for (answer, why) in [
        (&b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n"[..], TlsFault::NoTls),
        // A fatal alert: handshake_failure; protocol_version.
        (b"\x15\x03\x03\x00\x02\x02\x28", TlsFault::Refused),
        (b"\x15\x03\x01\x00\x02\x02\x46", TlsFault::Refused),
        (b"", TlsFault::Broken),
    ] {
        let address = serve(move |mut stream| async move {
            // The client's hello has to be read, or closing would take the answer with it.
            let mut hello = [0; 4096];
            let _ = stream.read(&mut hello).await;
            let _ = stream.write_all(answer).await;
        })
        .await;
        is(&asked(address, &authority.file(), None).await, why, &format!("{answer:?}"));
    }
}

/// Shows a certificate whatever its key.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// A copy of a certificate is anybody's.
#[tokio::test]
async fn who_shows_a_certificate_without_having_its_key_is_refused_whoever_is_trusted() {
    let authority = Authority::new();
    let (certificate, _) = authority.issue("localhost");
    let (_, other_key) = authority.issue("another");
    let key =
        default_provider().key_provider.load_private_key(PrivateKeyDer::from_pem_file(other_key).unwrap());
    let chain = vec![CertificateDer::from_pem_file(&certificate).unwrap()];
    let shown = Arc::new(CertifiedKey::new(chain, key.unwrap()));
    for version in [&TLS13, &TLS12] {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(&[version]).unwrap().with_no_client_auth();
        let address = listen(builder.with_cert_resolver(Arc::new(Shows(shown.clone())))).await;
        for tls in [
            Tls::from_pem(Some(&authority.file()), None).unwrap(),
            Tls::pinned(Some(&certificate), None).unwrap(),
            Tls::pinned(None, None).unwrap(),
        ] {
            let url = Url::parse(&format!("https://localhost:{}/", address.port())).unwrap();
            let client = Client::new(&url, Options { tls: Some(tls.clone()), ..Options::default() }).unwrap();
            let error = client.reach(Instant::now() + Duration::from_secs(30)).await.unwrap_err();
            assert!(matches!(error.fault, Fault::Tls(_)), "{tls:?} by {version:?}: {error}");
        }
    }
}

/// A server that knows a protocol of its own alone refuses whoever offers others.
#[tokio::test]
async fn a_stream_that_is_not_http_offers_no_protocol() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("localhost");
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
    let mut config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap();
    config.alpn_protocols = vec![b"its-own".to_vec()];
    let stream = TcpStream::connect(listen(config).await).await.unwrap();
    let tls = Tls::from_pem(Some(&authority.file()), None).unwrap();
    tls.connect(&"localhost".parse().unwrap(), stream).await.unwrap();
}
