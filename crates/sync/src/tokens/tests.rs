#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use http::Request;
use mainstay_wire::server;
use mainstay_wire::server::RequestBody;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;

const NGINX: &str = "10.1.2.3";

fn secret(byte: &str) -> Secret {
    Secret::from_hex(&byte.repeat(32)).unwrap()
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_000_000)
}

fn tokens(client_id: Option<&str>) -> Tokens {
    let hosts = vec![("sync_proxy_2".to_owned(), secret("5b")), ("sync-proxy-1".to_owned(), secret("5a"))];
    let peers = vec!["10.1.0.0/16".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    Tokens::new(hosts, client_id.map(str::to_owned), peers).unwrap()
}

fn asked(tokens: &Tokens, peer: &str, target: &'static str) -> Response<Bytes> {
    tokens.answer(peer.parse().unwrap(), &PathAndQuery::from_static(target), now())
}

#[test]
fn each_host_gets_a_token_by_its_own_secret() {
    for (client_id, target) in [(None, "/tokens/"), (Some("relay"), "/tokens/any/thing?x=1")] {
        let response = asked(&tokens(client_id), NGINX, target);
        assert_eq!((response.status(), response.body().as_ref()), (StatusCode::OK, &b""[..]));
        let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["authorization-sync-proxy-1", "authorization-sync_proxy_2"]);
        for (name, byte) in names.iter().zip(["5a", "5b"]) {
            let value = &response.headers()[*name];
            assert!(value.to_str().unwrap().starts_with("Bearer ") && value.is_sensitive());
            let claims = jwt::verify(&secret(byte), jwt::bearer(Some(value)).unwrap(), now()).unwrap();
            let expected = Claims { iat: 1_795_000_000, id: client_id.map(str::to_owned), clv: None };
            assert_eq!(claims, expected);
        }
    }
}

#[test]
fn only_peers_that_are_named_are_served() {
    let tokens = tokens(None);
    let nobody = Tokens::new(vec![("a".to_owned(), secret("5a"))], None, Vec::new()).unwrap();
    for (tokens, peer, status) in [
        (&tokens, "10.1.255.255", 200),
        (&tokens, "::ffff:10.1.0.1", 200),
        (&tokens, "2001:db8::1", 200),
        (&tokens, "2001:db8::2", 403),
        (&tokens, "10.2.0.1", 403),
        (&tokens, "127.0.0.1", 403),
        (&nobody, "127.0.0.1", 403),
        (&nobody, "::1", 403),
    ] {
        for target in ["/tokens/", "/tokens/x", "/tokens"] {
            let response = asked(tokens, peer, target);
            let expected = if status == 200 && target == "/tokens" { 307 } else { status };
            assert_eq!(response.status(), expected, "{peer} {target}");
            if status == 403 {
                assert!(response.headers().keys().all(|name| !name.as_str().starts_with("authorization")));
            }
        }
    }
}

#[test]
fn other_paths() {
    let tokens = tokens(None);
    for (target, location) in [("/tokens", "/tokens/"), ("/tokens?a=b", "/tokens/?a=b")] {
        let response = asked(&tokens, NGINX, target);
        assert_eq!(
            (response.status(), &response.headers()[LOCATION]),
            (StatusCode::TEMPORARY_REDIRECT, &HeaderValue::from_static(location))
        );
    }
    for target in ["/", "/token/", "/tokensx", "/x/tokens/", "/Tokens/", "*"] {
        for peer in [NGINX, "127.0.0.1"] {
            let response = asked(&tokens, peer, target);
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{target}");
            assert_eq!(response.body(), "404 page not found\n");
            assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
            assert!(!Tokens::is_at(target));
        }
    }
}

#[test]
fn names_are_written_as_go_does() {
    for (host, expected) in [
        ("sync-proxy-1", "Authorization-Sync-Proxy-1"),
        ("sync_proxy_2", "Authorization-Sync_proxy_2"),
        ("SYNC-PROXY", "Authorization-Sync-Proxy"),
        ("el1.example.ORG", "Authorization-El1.example.org"),
        ("-a--b-", "Authorization--A--B-"),
        ("10-0-0-1", "Authorization-10-0-0-1"),
    ] {
        assert_eq!(header::canonical(&format!("authorization-{host}")), expected);
        let named = header::names(vec![(host.to_owned(), ())]).unwrap();
        assert_eq!(header::canonical(named[0].0.as_str()), expected);
    }
}

#[test]
fn hosts_that_make_no_header_are_refused() {
    let names = |hosts: &[&str]| {
        let hosts = hosts.iter().map(|host| ((*host).to_owned(), secret("5a"))).collect();
        Tokens::new(hosts, None, Vec::new()).unwrap_err().to_string()
    };
    for host in ["a:8551", "", "a b", "ä", "a/b", "a\r\nx: y"] {
        assert!(names(&["fine", host]).starts_with(&format!("host {host:?} can't be part of")), "{host}");
    }
    assert_eq!(
        names(&["El-one", "b", "eL-ONE"]),
        "hosts \"El-one\" and \"eL-ONE\" would share the header Authorization-El-One: rename one"
    );
    assert!(names(&[]).starts_with("there is no host"));
}

fn read(text: &str) -> Result<Vec<(String, Secret)>, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    std::fs::write(&file, text).unwrap();
    hosts(&file).map_err(|error| {
        let text = error.to_string();
        text.strip_prefix(&format!("{}: ", file.display())).expect("names the file").to_owned()
    })
}

#[test]
fn the_other_programs_file_is_read() {
    let (bare, prefixed) = ("5a".repeat(32), format!("0x{}", "5B".repeat(32)));
    let text = format!("{{\n  \"sync-proxy-1\": \"{bare}\",\n  \"b\": \"{prefixed}\"\n}}\n");
    let expected = vec![("sync-proxy-1".to_owned(), secret("5a")), ("b".to_owned(), secret("5b"))];
    assert_eq!(read(&text).unwrap(), expected);
    assert_eq!(read("{}").unwrap(), []);
}

#[test]
fn what_is_wrong_with_a_file_is_told_without_its_secrets() {
    let good = "5a".repeat(32);
    let wrong = "hunter2";
    for (text, expected) in [
        (
            format!("{{\"a\": \"{good}\", \"b\": \"{wrong}\"}}"),
            "host \"b\": a JWT secret is 64 hexadecimal digits, character 1 is none",
        ),
        (
            format!("{{\"b\": \"{good}5a\"}}"),
            "host \"b\": a JWT secret is 64 hexadecimal digits (32 bytes), this has 66 characters",
        ),
        (format!("{{\"a\": \"{good}\", \"a\": \"{good}\"}}"), "host \"a\" is there twice"),
        (
            format!("\"{wrong}\""),
            "is not a list of hosts with their secrets (line 1, column 9): write {\"host\": \"64 hexadecimal digits\"}",
        ),
        (
            format!("{{\"a\": [\"{wrong}\"]}}"),
            "is not a list of hosts with their secrets (line 1, column 6): write {\"host\": \"64 hexadecimal digits\"}",
        ),
        (format!("{{\"a\": \"{wrong}\""), "is not JSON (line 1, column 15)"),
        (format!("{{\n{wrong}"), "is not JSON (line 2, column 1)"),
        (String::new(), "is not JSON (line 1, column 0)"),
        (" ".repeat(2_000_000), "is longer than 1024 KiB, which no list of hosts is"),
    ] {
        let error = read(&text).unwrap_err();
        assert_eq!(error, expected);
        assert!(!error.contains(wrong) && !error.contains(&good));
    }
    let missing = hosts(Path::new("/nowhere/config.json")).unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere/config.json: cannot be read: No such file"), "{missing}");
}

#[test]
fn no_secret_is_shown() {
    let shown = format!("{:?}", tokens(Some("relay")));
    assert!(shown.contains("relay") && !shown.contains("5a5a"), "{shown}");
    // Nor in the answer's own `Debug`, which ends up in logs.
    let answer = asked(&tokens(None), NGINX, "/tokens/");
    assert!(!format!("{answer:?}").contains("Bearer"), "{answer:?}");
}

#[derive(Clone)]
struct Service(std::sync::Arc<Tokens>);

impl server::Handler for Service {
    async fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> server::Response {
        let target = request.uri().path_and_query().unwrap();
        self.0.answer(peer.ip(), target, now()).map(Into::into)
    }
}

/// As a proxy hears it, byte for byte.
#[tokio::test]
async fn on_the_wire() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hosts = vec![("sync-proxy-1".to_owned(), secret("5a"))];
    let tokens = Tokens::new(hosts, None, vec!["127.0.0.1".parse().unwrap()]).unwrap();
    let options = server::Options { title_case: true, ..server::Options::default() };
    let (service, stop) = (Service(std::sync::Arc::new(tokens)), CancellationToken::new());
    tokio::spawn(server::serve(listener, service, options, stop, Duration::ZERO));
    for method in ["GET", "POST", "PUT", "OPTIONS"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "{method} /tokens/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut reply))
            .await
            .unwrap()
            .unwrap();
        // {"typ":"JWT","alg":"HS256"} and {"iat":1795000000}.
        let token = "Authorization-Sync-Proxy-1: Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpYXQiOjE3OTUwMDAwMDB9.";
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.contains(token), "{method}: {reply}");
        assert!(
            reply.contains("\r\nContent-Length: 0\r\n") && reply.ends_with("\r\n\r\n"),
            "{method}: {reply}"
        );
    }
}
