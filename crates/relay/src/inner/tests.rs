//! Real sockets: who is through, who isn't, and who waits for whom.

use std::net::SocketAddr;

use mainstay_wire::client;
use mainstay_wire::socket::UnixSocket;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};

use super::*;
use crate::authority::Authority;

const SOON: Duration = Duration::from_secs(30);

fn loopback(names: &[&str]) -> Admission {
    let allow_names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    Admission {
        allow: ["127.0.0.1".parse().unwrap()].into(),
        allow_names: allow_names.into(),
        allow_uids: [].into(),
    }
}

async fn inner(admission: Admission, tls: Option<Tls>, within: Duration) -> (Inner, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (Inner::new(vec![Listener::Tcp(listener)], admission, tls, within), address)
}

fn served(authority: &Authority) -> Tls {
    let (certificate, key) = authority.issue("relay.example");
    Tls::mutual(&certificate, &key, &authority.file()).unwrap()
}

async fn next(inner: &mut Inner) -> Arrival {
    timeout(SOON, inner.next()).await.unwrap()
}

fn refusal(arrival: Arrival) -> (String, String) {
    let (peer, refusal) = arrival.err().unwrap();
    (peer.to_string(), refusal.to_string())
}

/// Shakes hands as a node called `name`, and waits for a byte.
fn node(address: SocketAddr, trusted: &Authority, issuer: &Authority, name: &str) {
    let (certificate, key) = issuer.issue(name);
    let tls = client::Tls::from_pem(Some(&trusted.file()), Some((&certificate, &key))).unwrap();
    tokio::spawn(async move {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = tls.connect(&"relay.example".parse().unwrap(), stream).await.unwrap();
        let _ = stream.write_all(b"a").await;
        let _ = stream.read_u8().await;
    });
}

#[tokio::test]
async fn over_tcp_the_address_counts() {
    let (mut inner, address) = inner(loopback(&[]), None, SOON).await;
    let mut node = TcpStream::connect(address).await.unwrap();
    let (mut stream, peer) = next(&mut inner).await.ok().unwrap();
    assert_eq!((peer.to_string(), peer.uid), ("127.0.0.1".to_owned(), None));
    assert_eq!(peer.address, Some(node.local_addr().unwrap()));
    stream.write_all(b"a").await.unwrap();
    assert_eq!(node.read_u8().await.unwrap(), b'a');

    inner.admission.allow = ["10.0.0.0/8".parse().unwrap()].into();
    let mut node = TcpStream::connect(address).await.unwrap();
    let told = refusal(next(&mut inner).await);
    assert_eq!(told, ("127.0.0.1".into(), "its address is not in allow".into()));
    assert_eq!(timeout(SOON, node.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
}

#[tokio::test]
async fn over_tls_the_certificate_counts() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (mut inner, address) = inner(loopback(&["node-a"]), Some(served(&authority)), SOON).await;
    node(address, &authority, &authority, "node-a");
    let (mut stream, peer) = next(&mut inner).await.ok().unwrap();
    assert_eq!((peer.to_string(), peer.names.contains("node-a")), ("node-a".to_owned(), true));
    assert_eq!(stream.read_u8().await.unwrap(), b'a');

    node(address, &authority, &authority, "node-b");
    let told = refusal(next(&mut inner).await);
    assert_eq!(told, ("node-b".into(), "no name of its certificate is in allow_names: node-b".into()));
    node(address, &authority, &stranger, "node-a");
    let told = refusal(next(&mut inner).await);
    assert!(told.0 == "127.0.0.1" && told.1.starts_with("TLS: invalid peer certificate"), "{told:?}");
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(&[0; 64]).await.unwrap();
    let told = refusal(next(&mut inner).await);
    assert!(told.1.starts_with("TLS: "), "{told:?}");
}

#[tokio::test]
async fn who_does_not_shake_hands_holds_up_nobody_and_is_let_go() {
    let authority = Authority::new();
    let (mut inner, address) =
        inner(loopback(&[]), Some(served(&authority)), Duration::from_millis(500)).await;
    let silent = TcpStream::connect(address).await.unwrap();
    node(address, &authority, &authority, "node-a");
    assert_eq!(next(&mut inner).await.ok().unwrap().1.to_string(), "node-a");
    let told = refusal(next(&mut inner).await);
    assert_eq!(told, ("127.0.0.1".into(), "TLS: no handshake within 500ms".into()));
    drop(silent);
}

#[tokio::test]
async fn many_that_do_not_shake_hands_push_out_each_other() {
    let authority = Authority::new();
    let (mut inner, address) = inner(loopback(&[]), Some(served(&authority)), SOON).await;
    let mut silent = Vec::new();
    for _ in 0..=crowd::MOST_OF_ONE {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let told = refusal(next(&mut inner).await);
    assert!(told.1.starts_with("too many TLS handshakes"), "{told:?}");
    assert_eq!(timeout(SOON, silent[0].read(&mut [0])).await.unwrap().unwrap_or(0), 0);
    assert_eq!(inner.handles.len(), crowd::MOST_OF_ONE);
}

#[tokio::test]
async fn who_has_shaken_hands_takes_no_place_any_more() {
    let authority = Authority::new();
    let (mut inner, address) = inner(loopback(&[]), Some(served(&authority)), SOON).await;
    for _ in 0..2 * crowd::MOST_OF_ONE {
        node(address, &authority, &authority, "node-a");
        assert!(next(&mut inner).await.is_ok());
    }
    assert!(inner.handles.is_empty());
}

#[tokio::test]
async fn over_a_unix_socket_the_user_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.sock");
    let (mut inner, _) = inner(loopback(&[]), None, SOON).await;
    inner.second = Some((Listener::Unix(UnixSocket::bind(&path).unwrap()), Pause::default()));
    let mut node = UnixStream::connect(&path).await.unwrap();
    let (mut stream, peer) = next(&mut inner).await.ok().unwrap();
    let uid = node.peer_cred().unwrap().uid();
    assert_eq!((peer.uid, peer.address, peer.to_string()), (Some(uid), None, format!("uid {uid}")));
    stream.write_all(b"a").await.unwrap();
    assert_eq!(node.read_u8().await.unwrap(), b'a');

    inner.admission.allow_uids = [uid + 1].into();
    let _node = UnixStream::connect(&path).await.unwrap();
    let told = refusal(next(&mut inner).await);
    assert_eq!(told, (format!("uid {uid}"), "its user is not in allow_uids".into()));
}
