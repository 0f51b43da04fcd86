//! `mainstay relay tunnel` as an operator uses it.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../../relay/tests/common/authority.rs"]
#[allow(dead_code)]
mod authority;
mod support;

use authority::Authority;
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
