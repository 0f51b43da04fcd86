//! A node that speaks RA-TLS or aTLS, over TLS of its own making, with evidence that an Intel and an AMD of the tests' own vouch for.
//!
//! It writes down what it was asked for, how each handshake ended, and every byte that reached it behind one.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

#[path = "../../../attest/tests/chips/mod.rs"]
pub mod chips;
#[path = "../../../attest/tests/common/mod.rs"]
pub mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstay_attest::measurements::encode;
use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{Acceptor, ServerSessionMemoryCache};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::LazyConfigAcceptor;

use common::{Enclave, Intel, sha256};

/// A certificate and the key that the server signs handshakes with.
pub type Identity = (Vec<u8>, KeyPair);

/// What a server shows to who asks for this name.
pub type Issue = dyn Fn(Option<&str>) -> Identity + Send + Sync;

/// One connection, as the server saw it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The name that was asked for, letter by letter as it came.
    pub name: Option<String>,
    /// Protocols that were offered.
    pub offered: usize,
    /// How the handshake ended: nothing while it goes on.
    pub shaken: Option<Result<(), String>>,
    /// Whether it took up an earlier session.
    pub resumed: bool,
    /// What came behind it.
    pub received: Vec<u8>,
    /// The other side is gone.
    pub over: bool,
}

/// TLS 1.3 alone, and 1.2 alone.
pub static VERSIONS: [&[&SupportedProtocolVersion]; 2] = [&[&TLS13], &[&TLS12]];

pub struct Peer {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Peer {
    pub async fn start(issue: impl Fn(Option<&str>) -> Identity + Send + Sync + 'static) -> Self {
        Self::speaking(rustls::ALL_VERSIONS, issue).await
    }

    /// That speaks these versions of TLS alone.
    pub async fn speaking(
        versions: &'static [&'static SupportedProtocolVersion],
        issue: impl Fn(Option<&str>) -> Identity + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (issue, all): (Arc<Issue>, _) = (Arc::new(issue), seen.clone());
        // Would let clients take up a session, if they wanted to.
        let sessions = ServerSessionMemoryCache::new(64);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let log = Log { all: all.clone(), at: all.lock().unwrap().len() };
                all.lock().unwrap().push(Seen::default());
                let (issue, sessions) = (issue.clone(), sessions.clone());
                tokio::spawn(async move {
                    serve(stream, versions, issue.as_ref(), sessions, &log).await;
                    log.note(|seen| seen.over = true);
                });
            }
        });
        Self { address, seen }
    }

    pub fn url(&self, user: &str) -> String {
        format!("https://{user}@{}", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Every byte that ever came behind a handshake.
    pub fn received(&self) -> Vec<u8> {
        self.seen().into_iter().flat_map(|seen| seen.received).collect()
    }

    /// Waits until it is as `is_so` says.
    pub async fn sees(&self, is_so: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        for _ in 0..4_000 {
            let seen = self.seen();
            if is_so(&seen) {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never came to that: {:?}", self.seen());
    }
}

struct Log {
    all: Arc<Mutex<Vec<Seen>>>,
    at: usize,
}

impl Log {
    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.all.lock().unwrap()[self.at]);
    }
}

async fn serve(
    stream: TcpStream,
    versions: &[&'static SupportedProtocolVersion],
    issue: &Issue,
    sessions: Arc<ServerSessionMemoryCache>,
    log: &Log,
) {
    // rustls tells a name in small letters; as it was sent it is in the first bytes.
    let mut first = vec![0; 4096];
    let read = stream.peek(&mut first).await.unwrap_or_default();
    let Ok(handshake) = LazyConfigAcceptor::new(Acceptor::default(), stream).await else { return };
    let hello = handshake.client_hello();
    let name = hello.server_name().map(str::to_owned);
    let offered = hello.alpn().map_or(0, Iterator::count);
    let sent = name.as_ref().and_then(|name| as_sent(&first[..read], name));
    log.note(|seen| (seen.name, seen.offered) = (sent, offered));

    let (certificate, key) = issue(name.as_deref());
    let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    // Without a look at whether the key is the certificate's: not every server here is honest.
    let signer = provider.key_provider.load_private_key(key).unwrap();
    let shown = rustls::sign::CertifiedKey::new(vec![CertificateDer::from(certificate)], signer);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)));
    config.session_storage = sessions;
    let stream = handshake.into_stream(Arc::new(config)).await;
    log.note(|seen| seen.shaken = Some(stream.as_ref().map(|_| ()).map_err(ToString::to_string)));
    let Ok(mut stream) = stream else { return };
    let resumed = stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    log.note(|seen| seen.resumed = resumed);
    let mut unread = Vec::new();
    let mut some = vec![0; 8192];
    while let Ok(read @ 1..) = stream.read(&mut some).await {
        log.note(|seen| seen.received.extend(&some[..read]));
        unread.extend(&some[..read]);
        while let Some(reply) = answered(&mut unread) {
            if stream.write_all(reply.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

fn as_sent(bytes: &[u8], name: &str) -> Option<String> {
    let found = bytes.windows(name.len()).find(|window| window.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(String::from_utf8(found.to_vec()).unwrap())
}

/// The answer to the first request that is whole.
fn answered(unread: &mut Vec<u8>) -> Option<String> {
    let end = unread.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(unread[..end].to_vec()).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    let body = unread.get(end..end + length)?.to_vec();
    unread.drain(..end + length);
    let asked: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let result = match asked["method"].as_str() {
        Some("eth_syncing") => json!(false),
        Some("eth_blockNumber") => json!("0x10"),
        Some("eth_chainId" | "net_version") => json!("0x1"),
        _ => json!("from the enclave"),
    };
    let body = json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}).to_string();
    let length = body.len();
    Some(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    ))
}

/// What the enclave of [`common::ENCLAVE`] is called in a URI.
pub fn sgx_user() -> String {
    format!("SGX_{}", common::ENCLAVE)
}

/// The user part for [`sev`].
pub fn sev_user() -> String {
    let measured = |pcr: u8| const_hex::encode([pcr; 32]);
    encode(json!({"4": measured(4), "9": measured(9), "12": measured(12)}).to_string().as_bytes()).unwrap()
}

/// The user part for [`tdx`].
pub fn tdx_user() -> String {
    let file = json!({"attestation_type": "dcap-tdx", "measurements": common::tdx::registers()});
    encode(file.to_string().as_bytes()).unwrap()
}

/// A node in an enclave, by RA-TLS.
pub fn sgx(intel: &Intel, enclave: &Enclave) -> impl Fn(Option<&str>) -> Identity + Send + Sync + use<> {
    let (certificate, key) = intel.dice(enclave);
    let key = key.serialize_der();
    move |_| (certificate.clone(), KeyPair::try_from(&key[..]).unwrap())
}

/// A node in an SEV-SNP machine, by aTLS. `change` says how it differs from one that holds.
pub fn sev(
    now: SystemTime,
    change: impl Fn(&mut chips::Scene) + Send + Sync,
) -> impl Fn(Option<&str>) -> Identity + Send + Sync {
    move |name| {
        let key = KeyPair::generate().unwrap();
        let mut scene = chips::Scene::good();
        // As Go does: what isn't base64 is nobody's nonce.
        scene.nonce = STANDARD.decode(name.unwrap_or_default()).unwrap_or_default();
        scene.key = key.public_key_der();
        change(&mut scene);
        (atls(&key, now, &[1, 3, 9900, 4, 1], scene.document().to_string()), key)
    }
}

/// A node in a TDX machine, by aTLS.
pub fn tdx(intel: Arc<Intel>, now: SystemTime) -> impl Fn(Option<&str>) -> Identity + Send + Sync {
    move |name| {
        let key = KeyPair::generate().unwrap();
        let nonce = STANDARD.decode(name.unwrap_or_default()).unwrap_or_default();
        let user_data = sha256(&key.public_key_der());
        let machine = common::tdx::Machine::new(sha256(&[&user_data[..], &nonce].concat()));
        let quote = intel.tdx_quote(&machine);
        let document = json!({"RawQuote": STANDARD.encode(quote), "UserData": STANDARD.encode(user_data)});
        (atls(&key, now, &[1, 3, 9900, 5, 99], document.to_string()), key)
    }
}

/// A certificate as a server of Constellation makes one for each connection, good for two hours either way.
fn atls(key: &KeyPair, now: SystemTime, oid: &[u64], document: String) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Constellation");
    let either_way = Duration::from_secs(2 * 3_600);
    (params.not_before, params.not_after) = ((now - either_way).into(), (now + either_way).into());
    params.custom_extensions.push(CustomExtension::from_oid_content(oid, document.into_bytes()));
    params.self_signed(key).unwrap().der().to_vec()
}
