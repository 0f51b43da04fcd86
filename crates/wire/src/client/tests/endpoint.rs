use super::*;

#[tokio::test]
async fn what_a_post_sends() {
    let (listener, client) = node().await;
    let script = async {
        let mut stream = accept(&listener).await;
        let (head, body) = read_request(&mut stream).await.unwrap();
        assert_eq!(body, b"{}");
        let mut lines: Vec<&str> = head.lines().collect();
        assert_eq!(lines.remove(0), "POST /path?q=1 HTTP/1.1");
        lines.sort_unstable();
        let host = format!("host: {}", listener.local_addr().unwrap());
        assert_eq!(
            lines,
            [
                "",
                "accept-encoding: identity",
                "authorization: Bearer a.b.c",
                "content-length: 2",
                "content-type: application/json",
                host.as_str(),
            ]
        );
        stream.write_all(OK).await.unwrap();
    };
    let call = client.post(Bytes::from_static(b"{}"), Some("a.b.c"), soon());
    during(call, script).await.unwrap();
}

#[tokio::test]
async fn what_send_sends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://us%20er:p%40ss@localhost:{}/ignored", listener.local_addr().unwrap().port());
    let client = Client::new(&Url::parse(&url).unwrap(), Options::default()).unwrap();
    let script = async {
        let mut stream = accept(&listener).await;
        let (head, _) = read_request(&mut stream).await.unwrap();
        assert!(head.starts_with("GET /eth/v1/node/health?a=b HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("authorization: Basic dXMgZXI6cEBzcw==\r\n"), "{head}");
        assert!(head.contains("accept-encoding: gzip\r\n"), "{head}");
        assert!(head.contains("host: localhost:"), "{head}");
        assert!(!head.contains("content-length"), "{head}");
        stream.write_all(OK).await.unwrap();
    };
    let request = Request::get("http://elsewhere.example/eth/v1/node/health?a=b")
        .header("accept-encoding", "gzip")
        .header("content-length", "77")
        .body(Bytes::new())
        .unwrap();
    during(client.send(request, soon()), script).await.unwrap();
    assert!(!format!("{client:?}").contains("ss@"));
}

#[test]
fn the_host_header_has_the_port_unless_it_is_the_schemes_own() {
    for (url, host) in [
        ("http://node.example", "node.example"),
        ("http://node.example:80/", "node.example"),
        ("http://node.example:8551", "node.example:8551"),
        ("http://[::1]:8551", "[::1]:8551"),
    ] {
        let endpoint = Endpoint::new(&Url::parse(url).unwrap(), &Options::default()).unwrap();
        assert_eq!(endpoint.host_header(), host);
    }
}

#[test]
fn bad_endpoints_are_refused_without_being_quoted() {
    for url in ["ftp://user:hunter2@host/", "file:///etc/passwd", "unix:hunter2"] {
        let error = Client::new(&Url::parse(url).unwrap(), Options::default()).unwrap_err();
        assert!(matches!(error, BadEndpoint::Scheme(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
