use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::peer::{CANCEL, Peer, REFUSED_STREAM, Wish};
use super::*;
use crate::server;

fn uplink_to(address: SocketAddr, options: Options, clear: Clear) -> Uplink {
    let url = format!("http://us%20er:p%40ss@localhost:{}/path?q=1", address.port());
    Uplink::new(&Url::parse(&url).unwrap(), options, clear).unwrap()
}

async fn post(uplink: &Uplink) -> Result<HttpReply, CallError> {
    uplink.post(Bytes::from_static(b"{}"), None, soon()).await
}

/// Echoes bodies, and keeps the heads and who sent them.
#[derive(Clone, Default)]
struct Echo {
    heads: Arc<Mutex<Vec<http::request::Parts>>>,
    peers: Arc<Mutex<HashSet<SocketAddr>>>,
}

impl server::Handler for Echo {
    async fn call(&self, request: Request<server::RequestBody>, peer: SocketAddr) -> server::Response {
        let (head, body) = request.into_parts();
        self.heads.lock().unwrap().push(head);
        self.peers.lock().unwrap().insert(peer);
        server::Response::new(crate::body::read(body, 10_000_000).await.unwrap().into())
    }
}

impl Echo {
    fn last(&self) -> http::request::Parts {
        self.heads.lock().unwrap().pop().unwrap()
    }

    fn connections(&self) -> usize {
        self.peers.lock().unwrap().len()
    }
}

struct Running {
    address: SocketAddr,
    echo: Echo,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

async fn start(address: &str) -> Running {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (echo, stop) = (Echo::default(), CancellationToken::new());
    let (options, grace) = (server::Options::default(), Duration::from_secs(10));
    let served = tokio::spawn(server::serve(listener, echo.clone(), options, stop.clone(), grace));
    Running { address, echo, stop, served }
}

#[tokio::test]
async fn many_calls_share_one_connection() {
    let server = start("127.0.0.1:0").await;
    let uplink = uplink_to(server.address, Options::default(), Clear::Http2);
    let mut calls = JoinSet::new();
    for number in 0..600_u32 {
        let uplink = uplink.clone();
        // Some are larger than a window.
        let size = if number % 100 == 0 { 3_000_000 } else { 300 };
        let body = Bytes::from(vec![number as u8; size]);
        calls.spawn(async move {
            let reply = uplink.post(body.clone(), None, soon()).await.unwrap();
            assert!((reply.status, reply.body) == (StatusCode::OK, body));
        });
    }
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
    assert_eq!(server.echo.connections(), 1);
}

#[tokio::test]
async fn what_is_sent() {
    let server = start("127.0.0.1:0").await;
    let uplink = uplink_to(server.address, Options::default(), Clear::Http2);
    let authority = format!("localhost:{}", server.address.port());
    let sent = |head: &http::request::Parts, name: &str| {
        head.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    uplink.post(Bytes::from_static(b"{}"), Some("a.b.c"), soon()).await.unwrap();
    let head = server.echo.last();
    assert_eq!((head.method.as_str(), head.version), ("POST", http::Version::HTTP_2));
    assert_eq!(head.uri.to_string(), format!("http://{authority}/path?q=1"));
    assert_eq!(sent(&head, "authorization").as_deref(), Some("Bearer a.b.c"));
    assert_eq!(sent(&head, "content-type").as_deref(), Some("application/json"));
    assert_eq!(sent(&head, "content-length").as_deref(), Some("2"));
    assert_eq!(sent(&head, "accept-encoding").as_deref(), Some("identity"));

    let request = Request::put("http://elsewhere.example/other?a=b")
        .header("host", "elsewhere.example")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("te", "gzip")
        .header("keep-alive", "5")
        .header("proxy-connection", "close")
        .header("transfer-encoding", "chunked")
        .header("upgrade", "h2c")
        .header("x-end", "2")
        .header("content-length", "77")
        .header("accept-encoding", "gzip");
    uplink.send(request.body(Bytes::new()).unwrap(), soon()).await.unwrap();
    let head = server.echo.last();
    assert_eq!(head.method, "PUT");
    assert_eq!(head.uri.to_string(), format!("http://{authority}/other?a=b"));
    assert_eq!(sent(&head, "authorization").as_deref(), Some("Basic dXMgZXI6cEBzcw=="));
    assert_eq!(sent(&head, "accept-encoding").as_deref(), Some("gzip"));
    assert_eq!(sent(&head, "content-length").as_deref(), Some("0"));
    for hop in ["te", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "connection"] {
        assert_eq!(sent(&head, hop), None, "{hop}");
    }
    assert_eq!((sent(&head, "x-hop"), sent(&head, "x-end").as_deref()), (None, Some("2")));

    let error = uplink.post(Bytes::new(), Some("a\r\nb"), soon()).await.unwrap_err();
    assert_eq!((error.fault, error.delivered), (Fault::Protocol, Delivered::No));
    assert!(!format!("{uplink:?}").contains("ss@"));
}

#[tokio::test]
async fn in_the_clear_http1_is_spoken_unless_the_operator_knows_better() {
    let server = start("127.0.0.1:0").await;
    for (clear, version) in [(Clear::Http1, http::Version::HTTP_11), (Clear::Http2, http::Version::HTTP_2)] {
        let uplink = uplink_to(server.address, Options::default(), clear);
        assert_eq!(post(&uplink).await.unwrap().body, "{}");
        assert_eq!(server.echo.last().version, version);
    }
    // Who knows wrongly is told.
    let (listener, _) = node().await;
    let uplink = uplink_to(listener.local_addr().unwrap(), Options::default(), Clear::Http2);
    let script = async {
        let mut stream = accept(&listener).await;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await.unwrap();
        stream
    };
    let error = during(post(&uplink), script).await.unwrap_err();
    assert_eq!(error.fault, Fault::Protocol, "{error}");
}

#[tokio::test]
async fn after_a_restart_calls_go_to_the_new_server() {
    let first = start("127.0.0.1:0").await;
    let uplink = uplink_to(first.address, Options::default(), Clear::Http2);
    for _ in 0..3 {
        post(&uplink).await.unwrap();
    }
    first.stop.cancel();
    first.served.await.unwrap();
    let closed = async {
        while uplink.is_known() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed).await.expect("the end isn't noticed");
    let error = post(&uplink).await.unwrap_err();
    assert_eq!((error.fault, error.delivered), (Fault::Refused, Delivered::No));
    let second = start(&first.address.to_string()).await;
    for _ in 0..3 {
        post(&uplink).await.unwrap();
    }
    assert_eq!((first.echo.connections(), second.echo.connections()), (1, 1));
}

/// Connections without sockets, so that time can be paused; whoever waits for one gets the node's end of it.
struct Line(mpsc::Sender<DuplexStream>);

impl Dial for Line {
    fn dial(&self) -> Dialled<'_> {
        let (near, far) = duplex(1 << 20);
        let sent = self.0.try_send(far);
        Box::pin(async move {
            sent.map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionRefused))?;
            Ok(Box::new(near) as Box<dyn Duplex>)
        })
    }
}

/// An uplink, and the node's ends of its connections.
fn line(options: Options) -> (Uplink, mpsc::Receiver<DuplexStream>) {
    line_to("http://node.example/", options)
}

fn line_to(url: &str, options: Options) -> (Uplink, mpsc::Receiver<DuplexStream>) {
    let (dialled, ends) = mpsc::channel(100);
    let url = Url::parse(url).unwrap();
    (Uplink::over(Arc::new(Line(dialled)), &url, options, Clear::Http2).unwrap(), ends)
}

async fn next(ends: &mut mpsc::Receiver<DuplexStream>) -> Peer<DuplexStream> {
    Peer::accept(ends.recv().await.unwrap()).await
}

/// RFC 7541, 7.1.3: whoever compresses the request anew keeps them out of its tables too.
#[tokio::test(start_paused = true)]
async fn tokens_and_passwords_are_never_indexed() {
    // Such a field, of the name that is the 23rd in HPACK's static table: authorization (6.2.3).
    const NEVER_INDEXED: &[u8] = &[0x1f, 23 - 15];
    let (uplink, mut ends) = line_to("http://user:password@node.example/", Options::default());
    let script = async {
        let mut peer = next(&mut ends).await;
        for _ in 0..4 {
            let id = peer.request().await;
            assert!(peer.fields.windows(2).any(|field| field == NEVER_INDEXED), "{:x?}", peer.fields);
            peer.answer(id, b"ok").await;
        }
        peer
    };
    let calls = async {
        for token in [Some("a.b.c"), None, Some("a.b.c"), None] {
            uplink.post(Bytes::from_static(b"{}"), token, soon()).await.unwrap();
        }
    };
    during(calls, script).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_node_that_goes_away_has_not_taken_goes_to_the_next_connection() {
    let (uplink, mut ends) = line(Options::default());
    let script = async {
        let mut first = next(&mut ends).await;
        let (taken, lost) = (first.request().await, first.request().await);
        first.go_away(taken).await;
        let mut second = next(&mut ends).await;
        let again = second.request().await;
        // A new call doesn't go to the old one either.
        let call = post(&uplink);
        let answers = async {
            let id = second.request().await;
            second.answer(id, b"new").await;
            second.answer(again, b"again").await;
            first.answer(taken, b"taken").await;
        };
        let (new, ()) = tokio::join!(call, answers);
        assert_eq!(new.unwrap().body, "new");
        assert!(lost > taken);
        (first, second)
    };
    let calls = async { tokio::join!(post(&uplink), post(&uplink)) };
    let (taken, lost) = during(calls, script).await;
    assert_eq!((taken.unwrap().body, lost.unwrap().body), (Bytes::from("taken"), Bytes::from("again")));
    assert!(ends.try_recv().is_err(), "no third connection");
}

#[tokio::test(start_paused = true)]
async fn what_a_node_may_have_taken_is_not_sent_twice() {
    for goes_away in [false, true] {
        let (uplink, mut ends) = line(Options::default());
        let script = async {
            let mut peer = next(&mut ends).await;
            let id = peer.request().await;
            if goes_away {
                peer.go_away(id).await;
            }
        };
        let error = during(post(&uplink), script).await.unwrap_err();
        assert_eq!((error.fault, error.delivered), (Fault::Reset, Delivered::Maybe), "{error}");
        assert!(ends.try_recv().is_err(), "sent again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_tried_once_more_on_the_same_connection() {
    let (uplink, mut ends) = line(Options::default());
    let script = async {
        let mut peer = next(&mut ends).await;
        for _ in 0..3 {
            let id = peer.request().await;
            peer.reset(id, REFUSED_STREAM).await;
        }
        let id = peer.request().await;
        peer.answer(id, b"at last").await;
        peer
    };
    let calls = async {
        let error = post(&uplink).await.unwrap_err();
        assert_eq!((error.fault, error.delivered), (Fault::Reset, Delivered::No), "{error}");
        assert_eq!(post(&uplink).await.unwrap().body, "at last");
    };
    during(calls, script).await;
    assert!(ends.try_recv().is_err(), "one connection");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_costs_a_call_its_time_and_no_connection() {
    let (uplink, mut ends) = line(Options::default());
    let script = async {
        let mut peer = next(&mut ends).await;
        let id = peer.request().await;
        assert_eq!(peer.wish().await, Some(Wish::Reset(id, CANCEL)));
        let id = peer.request().await;
        peer.answer(id, b"ok").await;
        peer
    };
    let calls = async {
        let (started, limit) = (Instant::now(), Duration::from_secs(2));
        let error = uplink.post(Bytes::from_static(b"{}"), None, started + limit).await.unwrap_err();
        assert_eq!((error.fault, error.delivered), (Fault::Timeout, Delivered::Maybe));
        assert_eq!(error.took.as_secs(), 2);
        assert_eq!(post(&uplink).await.unwrap().body, "ok");
    };
    during(calls, script).await;
    assert!(ends.try_recv().is_err(), "one connection");
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_pings_are_not_answered_ends() {
    let (uplink, mut ends) = line(Options::default());
    let script = async {
        let mut peer = next(&mut ends).await;
        peer.request().await;
        // Frozen from here on.
        let mut second = next(&mut ends).await;
        let id = second.request().await;
        second.answer(id, b"ok").await;
        (peer, second)
    };
    let calls = async {
        let started = Instant::now();
        let deadline = started + Duration::from_secs(60);
        let error = uplink.post(Bytes::from_static(b"{}"), None, deadline).await.unwrap_err();
        assert_eq!((error.fault, error.delivered), (Fault::Timeout, Delivered::Maybe), "{error}");
        assert!(started.elapsed() < Duration::from_secs(12), "within a slot");
        assert_eq!(post(&uplink).await.unwrap().body, "ok");
    };
    during(calls, script).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_watched_and_kept() {
    let (uplink, mut ends) = line(Options::default());
    let (idle, mut over) = mpsc::channel::<()>(1);
    let script = async {
        let mut peer = next(&mut ends).await;
        for _ in 0..2 {
            let id = peer.request().await;
            peer.answer(id, b"ok").await;
        }
        // Acknowledges pings as long as it is asked for the next wish; then it doesn't.
        tokio::select! {
            _ = peer.wish() => panic!("wanted nothing"),
            _ = over.recv() => peer,
        }
    };
    let calls = async {
        post(&uplink).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        post(&uplink).await.unwrap();
        idle.send(()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert!(!uplink.is_known(), "it is dead");
    };
    during(calls, script).await;
    assert!(ends.try_recv().is_err(), "one connection");
}

#[tokio::test(start_paused = true)]
async fn calls_at_once_open_one_connection_and_are_bounded() {
    let (uplink, mut ends) = line(Options::default());
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut calls = JoinSet::new();
    for _ in 0..300 {
        let uplink = uplink.clone();
        calls.spawn(async move { uplink.post(Bytes::from_static(b"{}"), None, deadline).await });
    }
    let script = async {
        let mut peer = next(&mut ends).await;
        let mut requests = 0;
        while let Ok(Some(Wish::Request(_))) = tokio::time::timeout_at(deadline, peer.wish()).await {
            requests += 1;
        }
        (peer, requests)
    };
    let ended = async {
        let (mut sent, mut waited) = (0, 0);
        while let Some(ended) = calls.join_next().await {
            match ended.unwrap().unwrap_err().delivered {
                Delivered::Maybe => sent += 1,
                Delivered::No => waited += 1,
            }
        }
        (sent, waited)
    };
    let ((sent, waited), (_peer, requests)) = tokio::join!(ended, script);
    assert_eq!((sent, waited, requests), (256, 44, 256));
    assert!(ends.try_recv().is_err(), "one connection");
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_too_large_costs_its_call_only() {
    let (uplink, mut ends) = line(Options { max_reply: 3, ..Options::default() });
    let script = async {
        let mut peer = next(&mut ends).await;
        for body in [&b"four"[..], b"ok!"] {
            let id = peer.request().await;
            peer.answer(id, body).await;
        }
        peer
    };
    let calls = async {
        assert_eq!(post(&uplink).await.unwrap_err().fault, Fault::TooLarge);
        assert_eq!(post(&uplink).await.unwrap().body, "ok!");
    };
    during(calls, script).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_there() {
    let (uplink, ends) = line(Options::default());
    drop(ends);
    let error = post(&uplink).await.unwrap_err();
    assert_eq!((error.fault, error.delivered), (Fault::Refused, Delivered::No));
    let error = uplink.post(Bytes::new(), None, Instant::now()).await.unwrap_err();
    assert_eq!((error.fault, error.delivered), (Fault::Timeout, Delivered::No));
}
