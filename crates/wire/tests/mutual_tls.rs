//! Links over TLS: authorities of one's own, certificates of clients, and HTTP/2 where the server speaks it.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/authority.rs"]
mod authority;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use authority::Authority;
use bytes::Bytes;
use http::{Request, Version};
use mainstay_wire::client::{
    CallError, Clear, Client, Delivered, Fault, HttpReply, Options, ServerName, Tls, TlsFault, Transport,
    Uplink,
};
use mainstay_wire::server::{self, Handler, RequestBody, Response};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use url::Url;

/// What trusts this authority, and shows that certificate.
fn trusting(authority: &Authority, identity: Option<&(PathBuf, PathBuf)>) -> Tls {
    let identity = identity.map(|(certificate, key)| (certificate.as_path(), key.as_path()));
    Tls::from_pem(Some(&authority.file()), identity).unwrap()
}

/// Keeps what was spoken.
#[derive(Clone, Default)]
struct Listening(Arc<Mutex<Vec<Version>>>);

impl Handler for Listening {
    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response {
        self.0.lock().unwrap().push(request.version());
        Response::new(mainstay_wire::body::read(request.into_body(), 1000).await.unwrap().into())
    }
}

async fn serve(tls: server::Tls) -> (SocketAddr, Listening) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handler = Listening::default();
    let options = server::Options { tls: Some(tls), ..server::Options::default() };
    tokio::spawn(server::serve(listener, handler.clone(), options, CancellationToken::new(), Duration::ZERO));
    (address, handler)
}

/// A stream over TLS that isn't HTTP: what becomes of the peer's side, and of a byte that is echoed to ours.
async fn streamed(
    server: &server::Tls,
    client: &Tls,
    name: &str,
) -> (Option<Vec<String>>, std::io::Result<u8>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let name: ServerName = name.parse().unwrap();
    let serving = async {
        let (mut stream, names) = server.accept(theirs).await.ok()?;
        let byte = stream.read_u8().await.ok()?;
        stream.write_all(&[byte]).await.ok()?;
        stream.shutdown().await.ok()?;
        Some(names.iter().map(str::to_owned).collect())
    };
    let asking = async {
        let mut stream = client.connect(&name, ours).await?;
        stream.write_all(b"a").await?;
        stream.read_u8().await
    };
    tokio::join!(serving, asking)
}

#[tokio::test]
async fn a_stream_that_is_not_http_tells_the_names_of_its_peer() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.issue("relay.example");
    let server = server::Tls::mutual(&certificate, &key, &authority.file()).unwrap();
    let own = authority.issue("node-a");
    let (names, echoed) = streamed(&server, &trusting(&authority, Some(&own)), "relay.example").await;
    assert_eq!(names.unwrap()[0], "node-a");
    assert_eq!(echoed.unwrap(), b'a');

    let (names, refused) = streamed(&server, &trusting(&authority, None), "relay.example").await;
    assert_eq!(
        (names, refused.unwrap_err().to_string()),
        (None, "received fatal alert: CertificateRequired".into())
    );
    let forged = stranger.issue("node-a");
    let (names, refused) = streamed(&server, &trusting(&authority, Some(&forged)), "relay.example").await;
    assert!(names.is_none() && refused.unwrap_err().to_string().starts_with("received fatal alert: "));
    let (_, other) = streamed(&server, &trusting(&authority, Some(&own)), "other.example").await;
    assert!(other.unwrap_err().to_string().contains("not valid for name \"other.example\""));
    assert!("relay example".parse::<ServerName>().is_err());
}

fn url(address: SocketAddr) -> Url {
    Url::parse(&format!("https://localhost:{}/", address.port())).unwrap()
}

fn uplink(address: SocketAddr, tls: Tls) -> Uplink {
    let options = Options { tls: Some(tls), ..Options::default() };
    Uplink::new(&url(address), options, Clear::Http1).unwrap()
}

fn client(address: SocketAddr, tls: Tls) -> Client {
    Client::new(&url(address), Options { tls: Some(tls), ..Options::default() }).unwrap()
}

async fn post(transport: &dyn Transport) -> Result<HttpReply, CallError> {
    transport.post(Bytes::from_static(b"{}"), None, Instant::now() + Duration::from_secs(10)).await
}

#[tokio::test]
async fn who_shows_the_right_certificate_is_served_and_nobody_else() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.issue("localhost");
    let tls = server::Tls::mutual(&certificate, &key, &authority.file()).unwrap();
    let (address, listening) = serve(tls).await;

    let own = authority.issue("link");
    for _ in 0..2 {
        let uplink = uplink(address, trusting(&authority, Some(&own)));
        assert_eq!(post(&uplink).await.unwrap().body, "{}");
        assert_eq!(post(&client(address, trusting(&authority, Some(&own)))).await.unwrap().body, "{}");
    }
    assert_eq!(
        std::mem::take(&mut *listening.0.lock().unwrap()),
        [Version::HTTP_2, Version::HTTP_11, Version::HTTP_2, Version::HTTP_11]
    );

    let forged = stranger.issue("link");
    for identity in [None, Some(&forged)] {
        let tls = trusting(&authority, identity);
        for transport in
            [Box::new(uplink(address, tls.clone())) as Box<dyn Transport>, Box::new(client(address, tls))]
        {
            let error = post(&*transport).await.unwrap_err();
            // The alert that says why gets lost where the system has noticed first that nobody reads the request.
            assert!(matches!(error.fault, Fault::Tls(_) | Fault::Reset), "{error}");
        }
    }
    // And who is served by somebody else than it trusts doesn't ask.
    let transport = uplink(address, trusting(&stranger, Some(&own)));
    let error = post(&transport).await.unwrap_err();
    assert_eq!(
        (error.fault, error.delivered),
        (Fault::Tls(TlsFault::UnknownAuthority), Delivered::No),
        "{error}"
    );
    assert!(listening.0.lock().unwrap().is_empty(), "somebody was served");
}

/// With TLS 1.3 it is said only after a handshake that looked done.
#[tokio::test]
async fn who_is_refused_for_want_of_a_certificate_is_told_so() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("localhost");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.file()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_file(certificate).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        // Closed, they would take the alert with them.
        let mut refused = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            refused.push(acceptor.accept(stream).into_fallible().await.err().map(|(_, stream)| stream));
        }
    });
    let tls = trusting(&authority, None);
    for transport in
        [Box::new(uplink(address, tls.clone())) as Box<dyn Transport>, Box::new(client(address, tls))]
    {
        let error = post(&*transport).await.unwrap_err();
        assert_eq!(
            (error.fault, error.delivered),
            (Fault::Tls(TlsFault::CertificateRequired), Delivered::Maybe),
            "{error}"
        );
        assert!(error.to_string().contains("CertificateRequired"), "{error}");
    }
}

#[tokio::test]
async fn what_http1_is_chosen_for_goes_over_it_and_begins_with_the_connection_that_asked() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("localhost");
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(certificate).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        )
        .unwrap();
    for protocols in [vec![b"http/1.1".to_vec()], Vec::new()] {
        config.alpn_protocols = protocols;
        let acceptor = TlsAcceptor::from(Arc::new(config.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                let mut stream = acceptor.accept(stream).await.unwrap();
                tokio::spawn(async move {
                    let mut read = Vec::new();
                    while let Ok(byte) = stream.read_u8().await {
                        read.push(byte);
                        if read.ends_with(b"\r\n\r\n{}") {
                            assert!(read.starts_with(b"POST / HTTP/1.1\r\n"));
                            read.clear();
                            stream
                                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                                .await
                                .unwrap();
                        }
                    }
                });
            }
        });
        let uplink = uplink(address, trusting(&authority, None));
        for _ in 0..5 {
            assert_eq!(post(&uplink).await.unwrap().body, "ok");
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn new_authorities_and_a_new_certificate_are_used_when_their_files_change() {
    let (authority, renewed) = (Authority::new(), Authority::new());
    let (certificate, key) = renewed.issue("localhost");
    let tls = server::Tls::mutual(&certificate, &key, &renewed.file()).unwrap();
    let (address, _) = serve(tls).await;

    let own = authority.issue("link");
    let client = client(address, trusting(&authority, Some(&own)));
    assert_eq!(post(&client).await.unwrap_err().fault, Fault::Tls(TlsFault::UnknownAuthority));
    let issued = renewed.issue("link");
    for (from, to) in [(renewed.file(), authority.file()), (issued.0, own.0), (issued.1, own.1)] {
        // An empty line more, for clocks of files that are coarse.
        std::fs::write(to, std::fs::read_to_string(from).unwrap() + "\n").unwrap();
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    assert_eq!(post(&client).await.unwrap().body, "{}");
}

/// Writes what is in `from` to `to`, with its size and the time of its last change as they were: as `rsync --times` and archives do.
fn put_back(from: &Path, to: &Path) {
    let before = std::fs::metadata(to).unwrap();
    let mut text = std::fs::read_to_string(from).unwrap();
    let room = usize::try_from(before.len()).unwrap() - text.len();
    text.push_str(&"\n".repeat(room));
    std::fs::write(to, text).unwrap();
    std::fs::File::options().write(true).open(to).unwrap().set_modified(before.modified().unwrap()).unwrap();
    assert_eq!(std::fs::metadata(to).unwrap().modified().unwrap(), before.modified().unwrap());
}

/// Room for another, behind it.
fn padded(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, format!("{text}{}", "\n".repeat(2000 - text.len()))).unwrap();
}

#[tokio::test]
async fn each_file_alone_is_seen_to_change_also_by_who_keeps_times_and_size() {
    let (authority, renewed) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.issue("localhost");
    let (new_certificate, new_key) = renewed.issue("localhost");
    let (ca, clients) = (authority.file(), authority.path("clients.pem"));
    std::fs::copy(&ca, &clients).unwrap();
    [&certificate, &key, &ca, &clients].into_iter().for_each(|file| padded(file));
    let server = server::Tls::mutual(&certificate, &key, &clients).unwrap();
    let client = Tls::from_pem(Some(&ca), Some((&certificate, &key))).unwrap();
    let (server, client) = (server.watched(), client.watched());
    let failures = || (server.failures(), client.failures());
    let look = || {
        server.look();
        client.look();
        failures()
    };
    assert_eq!(look(), (0, 0));
    // One's own certificate goes with its old key no more, and with the new one it does.
    put_back(&new_certificate, &certificate);
    assert_eq!(look(), (1, 1));
    put_back(&new_key, &key);
    assert_eq!(look(), (1, 1));
    // Whom one trusts: no certificate is one that can't be used.
    let nothing = authority.path("nothing.pem");
    std::fs::write(&nothing, "").unwrap();
    put_back(&nothing, &ca);
    assert_eq!(look(), (1, 2));
    put_back(&nothing, &clients);
    assert_eq!(look(), (2, 2));
    put_back(&renewed.file(), &ca);
    put_back(&renewed.file(), &clients);
    assert_eq!(look(), (2, 2));
}

#[test]
fn files_that_cannot_be_used_are_told_without_what_is_in_them() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("a");
    let (_, other) = authority.issue("b");
    let secret = std::fs::read_to_string(&key).unwrap().lines().nth(1).unwrap().to_owned();
    let nowhere = Path::new("/nowhere/ca.pem");
    let bad = |authorities: Option<&Path>, identity: Option<(&Path, &Path)>, file: &Path, what: &str| {
        let error = Tls::from_pem(authorities, identity).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.file(), file);
        assert!(text.contains(what) && text.starts_with(&format!("{}: ", file.display())), "{text}");
        assert!(!text.contains(&secret), "{text}");
    };
    let ca = authority.file();
    bad(Some(nowhere), None, nowhere, "cannot be read: No such file");
    bad(Some(&key), None, &key, "holds no certificate");
    bad(Some(&ca), Some((&certificate, &other)), &other, "is not the key of the certificate in ");
    bad(Some(&ca), Some((&key, &certificate)), &key, "holds no certificate");
    let clients = server::Tls::mutual(&certificate, &key, nowhere).unwrap_err();
    assert_eq!(clients.file(), nowhere);
    let shown = format!("{:?}", Tls::from_pem(Some(&ca), Some((&certificate, &key))).unwrap());
    assert!(shown.contains("a.cert.pem") && !shown.contains(&secret), "{shown}");
}

/// Asks on a connection that is kept: who was shown what, by the certificate that the server had.
async fn shown(address: SocketAddr, tls: &Tls) -> Result<HttpReply, CallError> {
    post(&client(address, tls.clone())).await
}

#[tokio::test]
async fn open_connections_stay_and_new_ones_get_the_new_certificate() {
    let (before, after) = (Authority::new(), Authority::new());
    let (certificate, key) = before.issue("localhost");
    let tls = server::Tls::from_pem(&certificate, &key).unwrap();
    let watched = tls.watched();
    let (address, _) = serve(tls).await;
    let (old, new) = (trusting(&before, None), trusting(&after, None));
    let kept = client(address, old.clone());
    post(&kept).await.unwrap();
    assert!(shown(address, &new).await.is_err());

    // The certificate is there and its key isn't yet: a pair that doesn't match.
    let (other_certificate, other_key) = after.issue("localhost");
    std::fs::copy(&other_certificate, &certificate).unwrap();
    watched.look();
    assert_eq!(watched.failures(), 1);
    watched.look();
    assert_eq!(watched.failures(), 1, "the same files aren't tried again");
    shown(address, &old).await.unwrap();
    // Half of the key.
    let whole = std::fs::read(&other_key).unwrap();
    std::fs::write(&key, &whole[..whole.len() / 2]).unwrap();
    watched.look();
    assert_eq!(watched.failures(), 2);
    shown(address, &old).await.unwrap();

    std::fs::write(&key, &whole).unwrap();
    watched.look();
    assert_eq!(watched.failures(), 2);
    shown(address, &new).await.unwrap();
    assert!(shown(address, &old).await.is_err(), "new connections are shown the new one");
    post(&kept).await.unwrap();
}

#[tokio::test]
async fn when_a_certificate_ends_is_told() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue_until("localhost", 2031, 2, 3);
    let tls = server::Tls::from_pem(&certificate, &key).unwrap();
    // date -u -d 2031-02-03 +%s
    assert_eq!(tls.watched().expires(), Some(1_927_843_200));
    assert_eq!(trusting(&authority, Some(&(certificate, key))).watched().expires(), Some(1_927_843_200));
    assert_eq!(trusting(&authority, None).watched().expires(), None);
}

#[tokio::test]
async fn one_certificate_is_believed_by_itself_and_no_other_instead() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.issue("another.example");
    let (address, _) = serve(server::Tls::from_pem(&certificate, &key).unwrap()).await;
    shown(address, &Tls::pinned(Some(&certificate), None).unwrap()).await.unwrap();
    shown(address, &Tls::pinned(None, None).unwrap()).await.unwrap();
    for other in [stranger.issue("another.example").0, authority.issue("localhost").0, authority.file()] {
        let error = shown(address, &Tls::pinned(Some(&other), None).unwrap()).await.unwrap_err();
        assert_eq!(
            (error.fault, error.delivered),
            (Fault::Tls(TlsFault::Unusable), Delivered::No),
            "{error}"
        );
        assert!(error.to_string().contains("another certificate than that in"), "{error}");
    }
}
