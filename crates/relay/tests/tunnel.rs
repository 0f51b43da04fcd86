//! The tunnel between sockets: a node in the clear on one side, a relay over TLS on the other.
#![allow(clippy::unwrap_used, unreachable_pub, dead_code)]

#[path = "../../../tests/authority.rs"]
mod authority;

use std::net::SocketAddr;
use std::time::Duration;

use authority::Authority;
use mainstay_relay::tunnel::{Config, Relay, serve};
use mainstay_wire::client::{self, Duplex};
use mainstay_wire::server;
use mainstay_wire::socket::{Listener, Place, UnixSocket};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(30);

/// A relay's listener, and what it wants to be shown.
struct Far {
    listener: TcpListener,
    tls: server::Tls,
}

impl Far {
    async fn new(authority: &Authority) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (certificate, key) = authority.issue("relay.example");
        let tls = server::Tls::mutual(&certificate, &key, &authority.file()).unwrap();
        Self { listener, tls }
    }

    fn place(&self) -> Place {
        Place::Tcp("127.0.0.1".into(), self.listener.local_addr().unwrap().port())
    }

    /// The next node that has shaken hands, and its name.
    async fn next(&self) -> (Box<dyn Duplex>, String) {
        let (stream, _) = timeout(SOON, self.listener.accept()).await.unwrap().unwrap();
        let (stream, names) = timeout(SOON, self.tls.accept(stream)).await.unwrap().unwrap();
        (stream, names.first().unwrap().to_owned())
    }
}

/// How a node shows itself.
fn shown(trusted: &Authority, issuer: &Authority, name: &str) -> client::Tls {
    let (certificate, key) = issuer.issue(name);
    client::Tls::from_pem(Some(&trusted.file()), Some((&certificate, &key))).unwrap()
}

fn relay(place: Place, tls: &client::Tls) -> Relay {
    Relay::new(place, Some(tls), Some(&"relay.example".parse().unwrap())).unwrap()
}

struct Tunnel {
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Tunnel {
    async fn to(relays: Vec<Relay>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let config = Config { relays, connect_timeout: SOON };
        let served = tokio::spawn(serve(Listener::Tcp(listener), config, stop.clone()));
        Self { address, stop, served }
    }

    async fn node(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// Nothing more comes, whether closed plainly or cut.
async fn ended(stream: &mut (impl AsyncRead + Unpin)) {
    assert_eq!(timeout(SOON, stream.read(&mut [0; 1])).await.unwrap().unwrap_or(0), 0);
}

#[tokio::test]
async fn bytes_go_both_ways_and_the_relay_knows_whose_they_are() {
    let authority = Authority::new();
    let far = Far::new(&authority).await;
    let tls = shown(&authority, &authority, "node-a");
    let tunnel = Tunnel::to(vec![relay(far.place(), &tls)]).await;
    let mut node = tunnel.node().await;
    let (mut stream, name) = far.next().await;
    assert_eq!(name, "node-a");

    // More than any buffer on the way holds.
    let large: Vec<u8> = (0..4_000_000_u32).map(|i| (i / 7) as u8).collect();
    let sending = async {
        node.write_all(&large).await.unwrap();
        node.shutdown().await.unwrap();
        let mut back = Vec::new();
        node.read_to_end(&mut back).await.unwrap();
        back
    };
    let answering = async {
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        // The node has ended its direction; the other one still stands.
        stream.write_all(&got).await.unwrap();
        stream.shutdown().await.unwrap();
        got
    };
    let (back, got) = timeout(SOON, async { tokio::join!(sending, answering) }).await.unwrap();
    assert!(got == large && back == large);
}

#[tokio::test]
async fn a_relay_that_is_away_or_not_the_right_one_is_passed_over() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (far, wrong) = (Far::new(&authority).await, Far::new(&stranger).await);
    let gone = Far::new(&authority).await.place();
    let tls = shown(&authority, &authority, "node-a");
    let relays = vec![relay(gone, &tls), relay(wrong.place(), &tls), relay(far.place(), &tls)];
    let accepting = tokio::spawn(async move {
        let (stream, _) = wrong.listener.accept().await.unwrap();
        wrong.tls.accept(stream).await.is_err()
    });
    let tunnel = Tunnel::to(relays).await;
    let mut node = tunnel.node().await;
    let (mut stream, _) = far.next().await;
    assert!(accepting.await.unwrap());
    node.write_all(b"a").await.unwrap();
    assert_eq!(timeout(SOON, stream.read_u8()).await.unwrap().unwrap(), b'a');
}

#[tokio::test]
async fn one_that_shakes_no_hands_is_waited_for_no_longer_than_set() {
    let authority = Authority::new();
    let (far, silent) = (Far::new(&authority).await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let tls = shown(&authority, &authority, "node-a");
    let place = Place::Tcp("127.0.0.1".into(), silent.local_addr().unwrap().port());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let relays = vec![relay(place, &tls), relay(far.place(), &tls)];
    let config = Config { relays, connect_timeout: Duration::from_millis(200) };
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    tokio::spawn(serve(Listener::Tcp(listener), config, stop));
    let _node = TcpStream::connect(address).await.unwrap();
    assert_eq!(far.next().await.1, "node-a");
}

#[tokio::test]
async fn where_no_relay_is_the_node_is_let_go() {
    let authority = Authority::new();
    let gone = Far::new(&authority).await.place();
    let tunnel = Tunnel::to(vec![relay(gone, &shown(&authority, &authority, "node-a"))]).await;
    for _ in 0..3 {
        ended(&mut tunnel.node().await).await;
    }
}

#[tokio::test]
async fn a_node_whose_certificate_is_refused_is_let_go() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let far = Far::new(&authority).await;
    let tunnel = Tunnel::to(vec![relay(far.place(), &shown(&authority, &stranger, "node-a"))]).await;
    let mut node = tunnel.node().await;
    let (stream, _) = timeout(SOON, far.listener.accept()).await.unwrap().unwrap();
    assert!(far.tls.accept(stream).await.is_err());
    ended(&mut node).await;
}

#[tokio::test]
async fn on_stop_everything_is_closed() {
    let authority = Authority::new();
    let far = Far::new(&authority).await;
    let tunnel = Tunnel::to(vec![relay(far.place(), &shown(&authority, &authority, "node-a"))]).await;
    let mut node = tunnel.node().await;
    let (mut stream, _) = far.next().await;
    tunnel.stop.cancel();
    // A goodbye of TLS, too: nothing looks cut off.
    assert_eq!(timeout(SOON, stream.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    ended(&mut node).await;
    timeout(SOON, tunnel.served).await.unwrap().unwrap();
    assert!(TcpStream::connect(tunnel.address).await.is_err());
}

#[tokio::test]
async fn unix_sockets_on_both_sides_and_no_more_connections_than_it_has_room_for() {
    let folder = tempfile::tempdir().unwrap();
    let (near, far) = (folder.path().join("near.sock"), folder.path().join("far.sock"));
    let listener = tokio::net::UnixListener::bind(&far).unwrap();
    let config =
        Config { relays: vec![Relay::new(Place::Unix(far), None, None).unwrap()], connect_timeout: SOON };
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    tokio::spawn(serve(Listener::Unix(UnixSocket::bind(&near).unwrap()), config, stop));
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut node = UnixStream::connect(&near).await.unwrap();
        let (mut relay, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
        node.write_all(b"a").await.unwrap();
        assert_eq!(timeout(SOON, relay.read_u8()).await.unwrap().unwrap(), b'a');
        held.push((node, relay));
    }
    ended(&mut UnixStream::connect(&near).await.unwrap()).await;
    let (mut node, relay) = held.pop().unwrap();
    drop(relay);
    ended(&mut node).await;
    drop(node);
    // Its place is free once it has ended.
    timeout(SOON, async {
        loop {
            let _node = UnixStream::connect(&near).await.unwrap();
            if timeout(Duration::from_millis(100), listener.accept()).await.is_ok() {
                break;
            }
        }
    })
    .await
    .unwrap();
}

#[test]
fn a_relay_over_tcp_wants_tls_and_a_name() {
    let authority = Authority::new();
    let tls = shown(&authority, &authority, "node-a");
    let place: Place = "relay.example:9876".parse().unwrap();
    let none = Relay::new(place.clone(), None, None).unwrap_err();
    assert_eq!(none, "relay.example:9876 is reached over TLS only: it wants a client certificate");
    assert_eq!(Relay::new(place, Some(&tls), None).unwrap().to_string(), "relay.example:9876");
    let odd = Relay::new(Place::Tcp("relay example".into(), 1), Some(&tls), None).unwrap_err();
    assert!(odd.ends_with("say what name the relay's certificate has"), "{odd}");
}
