//! TLS on the listener.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

/// A certificate with its key, in files, and those that were there before.
struct Issued {
    folder: TempDir,
    all: Vec<CertificateDer<'static>>,
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

impl Issued {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut issued = Self { folder, all: Vec::new() };
        issued.renew(0);
        issued
    }

    /// Writes others, in files that are longer by so many empty lines than those of the first.
    fn renew(&mut self, generation: usize) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        let lines = "\n".repeat(100 * generation);
        std::fs::write(self.certificate(), pem("CERTIFICATE", &der) + &lines).unwrap();
        std::fs::write(self.key(), pem("PRIVATE KEY", &key.serialize_der()) + &lines).unwrap();
        self.all.push(der);
    }

    fn newest(&self) -> CertificateDer<'static> {
        self.all.last().unwrap().clone()
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    fn tls(&self) -> Tls {
        Tls::from_pem(&self.certificate(), &self.key()).unwrap()
    }

    fn options(&self) -> Options {
        Options { tls: Some(self.tls()), ..Options::default() }
    }

    async fn connect(&self, address: SocketAddr, protocols: &[&str]) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for der in &self.all {
            roots.add(der.clone()).unwrap();
        }
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }
}

async fn read_reply(stream: &mut TlsStream<TcpStream>, end: &str) -> String {
    let mut reply = Vec::new();
    while !reply.ends_with(end.as_bytes()) {
        reply.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(reply).unwrap()
}

const HELLO: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";

#[tokio::test]
async fn http1_and_http2_are_served() {
    let issued = Issued::new();
    let server = start(issued.options(), Duration::from_secs(10)).await;
    for (offered, chosen) in [(&["http/1.1"][..], Some(&b"http/1.1"[..])), (&[], None)] {
        let mut stream = issued.connect(server.address, offered).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
        for _ in 0..2 {
            stream.write_all(HELLO).await.unwrap();
            assert!(read_reply(&mut stream, "hello").await.starts_with("HTTP/1.1 200 OK\r\n"));
        }
    }
    let stream = issued.connect(server.address, &["http/1.1", "h2"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let response =
        sender.send_request(Request::post("https://localhost/").body(Full::<Bytes>::from("hello")).unwrap());
    assert_eq!(body::read(response.await.unwrap().into_body(), LIMIT).await.unwrap(), "hello");
    server.stop.cancel();
    connection.await.unwrap().unwrap();
    server.served.await.unwrap();
}

#[tokio::test]
async fn who_does_not_shake_hands_does_not_keep_a_place() {
    let issued = Issued::new();
    let header_timeout = Duration::from_millis(200);
    let options = Options { header_timeout, max_connections: 1, ..issued.options() };
    let server = start(options, Duration::from_secs(10)).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    // Served once the other has been given up.
    let mut stream = issued.connect(server.address, &[]).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
    stream.write_all(HELLO).await.unwrap();
    read_reply(&mut stream, "hello").await;
    drop(stream);
    // Nor does who speaks in the clear.
    assert!(!raw_bytes(server.address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.starts_with(b"HTTP"));
    // Half a head is not waited for either.
    let mut half = issued.connect(server.address, &[]).await.unwrap();
    half.write_all(b"POST / HT").await.unwrap();
    assert_eq!(half.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test(start_paused = true)]
async fn on_stop_a_handshake_is_waited_for_a_second() {
    let issued = Issued::new();
    let hour = Duration::from_secs(3600);
    let options = Options { header_timeout: hour, ..issued.options() };
    let server = start(options, hour).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    silent.write_all(&[22, 3]).await.unwrap();
    server.stop.cancel();
    let stopped = Instant::now();
    server.served.await.unwrap();
    let took = stopped.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(2), "{took:?}");
}

async fn raw_bytes(address: SocketAddr, text: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut reply)).await.unwrap();
    reply
}

#[tokio::test]
async fn who_takes_in_nothing_is_cut_and_who_sends_too_much_is_answered() {
    let issued = Issued::new();
    let write_timeout = Duration::from_millis(200);
    let options = Options { write_timeout, max_connections: 1, ..issued.options() };
    let server = start(options, Duration::from_secs(10)).await;
    let mut stalled = issued.connect(server.address, &[]).await.unwrap();
    stalled.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // Served only once the other has given its place back.
    let mut late = issued.connect(server.address, &[]).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", LARGE / 8);
    late.write_all(head.as_bytes()).await.unwrap();
    late.write_all(&vec![b'x'; LARGE / 8]).await.unwrap();
    assert!(read_reply(&mut late, "\r\n\r\n").await.starts_with("HTTP/1.1 413 "));
    drop(stalled);
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_a_bad_one_is_not() {
    let mut issued = Issued::new();
    let tls = issued.tls();
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let first = issued.newest();
    assert_eq!(shown(&issued, &tls, after(0)).await, first);
    issued.renew(1);
    assert_eq!(shown(&issued, &tls, after(3)).await, first, "not looked at yet");
    let second = issued.newest();
    assert_eq!(shown(&issued, &tls, after(62)).await, second);
    // Half written.
    std::fs::write(issued.certificate(), "-----BEGIN CERTIFICATE-----\n").unwrap();
    assert_eq!(shown(&issued, &tls, after(124)).await, second);
    assert_eq!(shown(&issued, &tls, after(186)).await, second);
    std::fs::remove_file(issued.key()).unwrap();
    assert_eq!(shown(&issued, &tls, after(248)).await, second);
    assert!(tls.reload().is_err());
    assert_eq!(shown(&issued, &tls, after(249)).await, second);
    issued.renew(2);
    assert_eq!(shown(&issued, &tls, after(310)).await, issued.newest());
    issued.renew(3);
    tls.reload().unwrap();
    assert_eq!(shown(&issued, &tls, after(311)).await, issued.newest());
}

/// The certificate that somebody is shown who connects then.
async fn shown(issued: &Issued, tls: &Tls, then: Instant) -> CertificateDer<'static> {
    let acceptor = tls.acceptor(then);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.unwrap()
    };
    let (_open, client) = tokio::join!(server, issued.connect(address, &[]));
    client.unwrap().get_ref().1.peer_certificates().unwrap()[0].clone()
}

#[test]
fn files_that_cannot_be_used_are_told_without_what_is_in_them() {
    let (issued, other) = (Issued::new(), Issued::new());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let certificate = std::fs::read_to_string(issued.certificate()).unwrap();
    let key = std::fs::read_to_string(issued.key()).unwrap();
    let secret = key.lines().nth(1).unwrap().to_owned();
    let both = file("both.pem", &format!("{key}{certificate}"));
    Tls::from_pem(&both, &both).unwrap();
    let sec1 = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let old = format!(
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n{secret}\n-----END EC PRIVATE KEY-----\n"
    );
    let bad = |name: &str, certificate: &Path, key: &Path, what: &str| {
        let error = Tls::from_pem(certificate, key).unwrap_err().to_string();
        assert!(error.contains(what), "{name}: {error}");
        assert!(!error.contains(&secret) && !error.contains("secret"), "{name}: {error}");
        let fault = if what.contains("certificate") && !what.contains("key") { certificate } else { key };
        assert!(error.starts_with(&format!("{}: ", fault.display())), "{name}: {error}");
    };
    let (certificate, key) = (issued.certificate(), issued.key());
    bad("swapped", &key, &certificate, "holds no certificate");
    bad("twice the certificate", &certificate, &certificate, "holds no private key");
    bad("no file", &certificate, Path::new("/nowhere/key.pem"), "cannot be read: No such file");
    bad("empty", &certificate, &file("a", ""), "holds no private key");
    bad("text", &certificate, &file("b", "secret"), "holds no private key");
    bad("encrypted", &certificate, &file("c", &sec1), "is encrypted");
    bad("encrypted, the old way", &certificate, &file("d", &old), "is encrypted");
    bad("cut", &certificate, &file("e", "-----BEGIN PRIVATE KEY-----\nsecret"), "is not valid PEM");
    bad("of another", &certificate, &other.key(), "is not the key of the certificate in ");
    bad("no key", &certificate, &file("f", &pem("PRIVATE KEY", b"secret")), "holds no usable private key");
    bad("no certificate", &file("g", &pem("CERTIFICATE", b"secret")), &key, "holds no usable certificate");
    let nowhere = Tls::from_pem(Path::new("/nowhere/a.pem"), &key).unwrap_err().to_string();
    assert!(nowhere.starts_with("/nowhere/a.pem: cannot be read: No such file"), "{nowhere}");
    assert!(!format!("{:?}", issued.tls()).contains(&secret));
}
