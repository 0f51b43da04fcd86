//! Calls over TLS, to a server whose issuer the system trusts and to others.
//!
//! Who is trusted is read from the system once for a process, so the test runs itself again in a process of its own with
//! `SSL_CERT_FILE` set.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "the variable is rustls-native-certs', not a setting")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mainstay_wire::client::{CallError, Client, Delivered, Fault, HttpReply, Options, TlsFault};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use url::Url;

/// What a test's own process is told by: where to write whom it trusts.
const AUTHORITY: &str = "MAINSTAY_TEST_AUTHORITY";

/// Somebody who issues certificates.
struct Authority {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    fn pem(&self) -> String {
        let text = STANDARD.encode(self.certificate.der());
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    /// A server that is called `name`. It answers each request on a connection with how many it has answered there
    /// before, and a body of the size of the request's.
    async fn server(&self, name: &str) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that doesn't trust it hangs up.
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    tokio::spawn(async move { converse(&mut stream).await });
                }
            }
        });
        address
    }
}

async fn converse(
    stream: &mut tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
) -> std::io::Result<()> {
    for answered in 0.. {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await?;
        let head = format!("HTTP/1.1 200 OK\r\nx-answered: {answered}\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
    }
    Ok(())
}

async fn post(client: &Client, body: &Bytes) -> Result<HttpReply, CallError> {
    client.post(body.clone(), Some("token"), Instant::now() + Duration::from_secs(10)).await
}

fn client(host: &str, address: SocketAddr) -> Client {
    let url = Url::parse(&format!("https://{host}:{}/", address.port())).unwrap();
    Client::new(&url, Options::default()).unwrap()
}

#[test]
fn a_server_is_called_if_its_issuer_and_its_name_are_right() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Some(path) = std::env::var_os(AUTHORITY) {
        return runtime.block_on(calls(path.as_ref()));
    }
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("trusted.pem");
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_server_is_called_if_its_issuer_and_its_name_are_right", "--nocapture"])
        .env("SSL_CERT_FILE", &trusted)
        .env(AUTHORITY, &trusted)
        .output()
        .unwrap();
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

async fn calls(trusted: &std::path::Path) {
    let authority = Authority::new();
    std::fs::write(trusted, authority.pem()).unwrap();

    for (host, name) in [("localhost", "localhost"), ("127.0.0.1", "127.0.0.1")] {
        let client = client(host, authority.server(name).await);
        // The second takes several records, and goes over the same connection.
        for (answered, size) in ["0", "1"].into_iter().zip([2, 1_000_000]) {
            let body = Bytes::from(vec![b'x'; size]);
            let reply = post(&client, &body).await.unwrap();
            assert_eq!(reply.status, 200);
            assert_eq!(reply.headers()["x-answered"], answered);
            assert!(reply.body == body);
        }
    }

    for (host, name, issuer, why) in [
        ("localhost", "elsewhere.example", &authority, TlsFault::WrongName),
        ("127.0.0.1", "localhost", &authority, TlsFault::WrongName),
        ("localhost", "localhost", &Authority::new(), TlsFault::UnknownAuthority),
    ] {
        let client = client(host, issuer.server(name).await);
        let error = post(&client, &Bytes::from_static(b"{}")).await.unwrap_err();
        assert_eq!(
            (error.fault, error.delivered),
            (Fault::Tls(why), Delivered::No),
            "{host}, {name}: {error}"
        );
    }
}
