//! `mainstay relay tunnel` as an operator uses it.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../../../tests/authority.rs"]
mod authority;
mod support;

use authority::Authority;
use mainstay_antelope::{
    Frame, Handshake, Id, Message, Nanos, OnCurve, OwnedKey, PublicKey, Signature, Text,
};
use mainstay_wire::server::Tls;
use rustix::process::Signal;
use support::{Place, SOON};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

fn tunnel<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    [&["relay", "tunnel"], flags].concat()
}

#[test]
fn flags_that_are_wrong_are_told_all_at_once() {
    let place = Place::new();
    let (a, b) = (Authority::new(), Authority::new());
    let ((cert, key), (_, other)) = (a.issue("node-a"), b.issue("node-a"));
    let (cert, key, other, ca) = (
        cert.display().to_string(),
        key.display().to_string(),
        other.display().to_string(),
        a.file().display().to_string(),
    );
    let with = |flags: &[&str]| place.run(&tunnel(flags), &[]);
    with(&[]).refused(&["error: --relay: where is the relay? Give HOST:PORT, or several with commas"]);
    with(&["--relay", "10.0.0.1:9876"])
        .refused(&["error: --cert: the relay wants a client certificate: give --cert and --key"]);
    with(&["--relay", "10.0.0.1", "--listen", "0.0.0.0:9876", "--connect-timeout", "2m"]).refused(&[
        "error: --listen: 0.0.0.0 is reached from other machines, and whoever reaches it speaks to the relay with this node's certificate: \
         listen on 127.0.0.1, or add --listen-any if a firewall stands before it",
        "error: --relay: \"10.0.0.1\" is not HOST:PORT (an IPv6 address in brackets, [::1]:9876) nor unix:PATH",
        "error: --connect-timeout: expected more than 0s and at most 60s",
    ]);
    with(&["--relay", "10.0.0.1:1", "--cert", &cert])
        .refused(&["error: --cert: needs the certificate's private key: --key"]);
    with(&["--relay", "10.0.0.1:1", "--cert", &cert, "--key", &other, "--ca", &ca])
        .refused(&[&format!("error: --key: {other}: is not the key of the certificate in {cert}")]);
    with(&["--relay", "10.0.0.1:1", "--cert", &cert, "--key", &key, "--ca", "none.pem"])
        .refused(&["error: --ca: none.pem: cannot be read: No such file or directory (os error 2)"]);
    with(&["--relay", "10.0.0.1:1", "--cert", &cert, "--key", &key, "--name", "a b"])
        .refused(&["error: --name: \"a b\" is neither a DNS name nor an IP address"]);
}

/// What a node says first, with this key in it.
fn handshake(key: PublicKey<'_>) -> Frame {
    Message::Handshake(Handshake {
        network_version: 1212,
        chain_id: Id([9; 32]),
        node_id: Id([5; 32]),
        key,
        time: Nanos(1),
        token: Id::ZERO,
        sig: Signature::EMPTY,
        p2p_address: Text(b"node:9801 - 0505050"),
        lib_num: 0,
        lib_id: Id::ZERO,
        head_num: 0,
        head_id: Id::ZERO,
        os: Text(b"linux"),
        agent: Text(b"node-a"),
        generation: 1,
    })
    .frame()
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_takes_nodes_by_certificate_by_socket_and_by_key() {
    let (place, authority) = (Place::new(), Authority::new());
    let outer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sentry = outer.local_addr().unwrap().to_string();
    let text = |path: std::path::PathBuf| path.display().to_string();
    let (relay_cert, relay_key) = authority.issue("relay.example");
    let (relay_cert, relay_key, ca) = (text(relay_cert), text(relay_key), text(authority.file()));
    let key = OwnedKey::K1([2; 33]).to_string();
    let own = [
        "relay",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "off",
        "--log-format",
        "logfmt",
        "--outer",
        &sentry,
        "--producer",
        "prodx",
        "--tls-cert",
        &relay_cert,
        "--tls-key",
        &relay_key,
        "--tls-ca",
        &ca,
        "--allow-names",
        "node-a",
        "--unix",
        "relay.sock",
        "--allow-peer-keys",
        &key,
    ];
    let mut relay = place.start(&own, &[]);
    let address = relay.address("relay");
    let start = |name: &str, far: &str| {
        let (cert, key) = authority.issue(name);
        let (cert, key) = (text(cert), text(key));
        let flags = [
            "--log-format",
            "logfmt",
            "--listen",
            "127.0.0.1:0",
            "--relay",
            far,
            "--cert",
            &cert,
            "--key",
            &key,
            "--ca",
            &ca,
            "--name",
            "relay.example",
        ];
        let mut tunnel = place.start(&tunnel(&flags), &[]);
        let address = tunnel.address("tunnel");
        (tunnel, address)
    };

    let ours = handshake(OnCurve::K1(&[2; 33]));
    let (_a, near) = start("node-a", &address);
    let (_local, nearest) = start("node-b", "unix:relay.sock");
    let uid = format!("uid {}", rustix::process::getuid().as_raw());
    for (address, name) in [(near, "node-a"), (nearest, uid.as_str())] {
        let mut node = TcpStream::connect(&address).await.unwrap();
        node.write_all(ours.bytes()).await.unwrap();
        let (mut peer, _) = timeout(SOON, outer.accept()).await.unwrap().unwrap();
        let mut heard = vec![0; ours.bytes().len()];
        timeout(SOON, peer.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(heard, ours.bytes()[..]);
        assert!(relay.line(&["leg opened"]).contains(name));
        // A key that isn't on the list, later on.
        node.write_all(handshake(OnCurve::K1(&[3; 33])).bytes()).await.unwrap();
        let line = relay.line(&["the key in its handshake is not in allow_peer_keys"]);
        assert!(line.contains("inner"), "{line}");
        assert_eq!(timeout(SOON, peer.read(&mut heard)).await.unwrap().unwrap_or(0), 0);
    }

    let (_b, far) = start("node-b", &address);
    let mut node = TcpStream::connect(&far).await.unwrap();
    node.write_all(ours.bytes()).await.unwrap();
    relay.line(&["inner connection refused", "no name of its certificate is in allow_names: node-b"]);
    assert_eq!(timeout(SOON, node.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
    relay.signal(Signal::TERM);
    assert_eq!(relay.ended(), Some(0));
    assert!(!place.path().join("relay.sock").exists());
}

#[test]
fn a_port_that_is_taken_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let done = Place::new().run(&tunnel(&["--relay", "unix:relay.sock", "--listen", &address]), &[]);
    assert_eq!(done.status, Some(2));
    assert_eq!(
        done.err,
        format!(
            "error: --listen: cannot listen on {address}: the port is taken, stop what uses it or choose another\n"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_carries_tells_why_a_connection_ended_and_stops() {
    let (place, authority) = (Place::new(), Authority::new());
    let (certificate, key) = authority.issue("localhost");
    let tls = Tls::mutual(&certificate, &key, &authority.file()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = format!("localhost:{}", listener.local_addr().unwrap().port());
    let (cert, key) = authority.issue("node-a");
    let (cert, key, ca) =
        (cert.display().to_string(), key.display().to_string(), authority.file().display().to_string());
    let flags = [
        "--log-format",
        "logfmt",
        "--listen",
        "127.0.0.1:0",
        "--relay",
        &relay,
        "--cert",
        &cert,
        "--key",
        &key,
        "--ca",
        &ca,
    ];
    let mut running = place.start(&tunnel(&flags), &[]);
    let address = running.address("tunnel");

    let mut node = TcpStream::connect(&address).await.unwrap();
    let (stream, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    let (mut stream, names) = timeout(SOON, tls.accept(stream)).await.unwrap().unwrap();
    assert_eq!(names.first(), Some("node-a"));
    node.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    timeout(SOON, stream.read_exact(&mut heard)).await.unwrap().unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(timeout(SOON, node.read(&mut heard)).await.unwrap().unwrap(), 0);
    drop(node);
    let line = running.line(&["connection ended"]);
    assert!(line.contains("to_relay=5 from_relay=0 why=\"the relay closed it\""), "{line}");

    // A certificate that the relay doesn't take.
    let refusing = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let other = Authority::new();
        let (certificate, key) = authority.issue("localhost");
        let tls = Tls::mutual(&certificate, &key, &other.file()).unwrap();
        assert!(tls.accept(stream).await.is_err());
    });
    let mut node = TcpStream::connect(&address).await.unwrap();
    timeout(SOON, refusing).await.unwrap().unwrap();
    assert_eq!(timeout(SOON, node.read(&mut heard)).await.unwrap().unwrap_or(0), 0);
    let line = running.line(&["connection ended"]);
    assert!(line.contains("it doesn't take our certificate"), "{line}");

    // The listener is gone with the task.
    let mut node = TcpStream::connect(&address).await.unwrap();
    assert_eq!(timeout(SOON, node.read(&mut heard)).await.unwrap().unwrap_or(0), 0);
    let line = running.line(&["no relay can be reached"]);
    assert!(line.contains("Connection refused"), "{line}");
    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(0));
    assert!(running.seen.last().unwrap().contains("msg=stopped"), "{:?}", running.seen);
}
