use super::*;

fn impatient() -> Options {
    Options { header_timeout: Duration::from_millis(200), ..Options::default() }
}

#[tokio::test]
async fn half_a_head_is_not_waited_for() {
    let server = start(impatient(), Duration::from_secs(10)).await;
    for head in ["", "POST / HT", "PRI * HT", "POST / HTTP/1.1\r\nhost: a\r\n"] {
        assert_eq!(raw(server.address, head).await, "", "{head:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_outlives_the_limit_for_heads() {
    let server = start(impatient(), Duration::from_secs(10)).await;
    let client = server.client("/peer");
    let (_, first) = post(&client, "").await;
    // Closed only after the limit.
    assert_eq!(raw(server.address, "POST").await, "");
    assert_eq!(raw(server.address, "POST").await, "");
    assert_eq!(post(&client, "").await, (200, first));
}

#[tokio::test]
async fn on_stop_requests_in_flight_are_answered_and_the_rest_closes() {
    let server = running().await;
    let idle = server.client("/peer");
    post(&idle, "").await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let busy = server.client("/wait");
    let in_flight = tokio::spawn(async move { post(&busy, "answered").await });
    server.waiting(1).await;

    server.stop.cancel();
    // The silent connection is closed while the busy one is still served.
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
    let refused = idle.post(Bytes::new(), None, soon()).await.unwrap_err();
    assert_eq!(refused.delivered, client::Delivered::No, "{refused}");
    assert!(!in_flight.is_finished());
    assert!(!server.served.is_finished());

    server.echo.release.notify_one();
    assert_eq!(in_flight.await.unwrap(), (200, Bytes::from("answered")));
    server.served.await.unwrap();
}

#[tokio::test]
async fn on_stop_the_grace_is_a_bound() {
    let server = start(Options::default(), Duration::from_millis(50)).await;
    let busy = server.client("/wait");
    let in_flight = tokio::spawn(async move { busy.post(Bytes::new(), None, soon()).await });
    server.waiting(1).await;
    server.stop.cancel();
    server.served.await.unwrap();
    assert_eq!(in_flight.await.unwrap().unwrap_err().fault, client::Fault::Reset);
}

/// Reads a response without a body, or with one of `body` bytes.
async fn read_response(stream: &mut TcpStream, body: usize) -> String {
    let mut read = Vec::new();
    let whole = |read: &[u8]| {
        read.windows(4).position(|end| end == b"\r\n\r\n").is_some_and(|at| read.len() >= at + 4 + body)
    };
    while !whole(&read) {
        let mut piece = [0; 1000];
        let n = stream.read(&mut piece).await.unwrap();
        assert!(n > 0, "cut: {:?}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&piece[..n]);
    }
    String::from_utf8(read).unwrap()
}

const ASK: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";

/// What is on its way while the server begins to stop is lost if its connection is closed at once.
#[tokio::test(start_paused = true)]
async fn on_stop_whoever_is_about_to_ask_is_answered_and_told_to_go() {
    let server = running().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(ASK).await.unwrap();
    let first = read_response(&mut stream, 2).await;
    assert!(!first.contains("connection: close"), "{first}");
    server.stop.cancel();
    // The connection's task takes note of it; no time passes.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    stream.write_all(ASK).await.unwrap();
    let last = read_response(&mut stream, 2).await;
    assert!(last.starts_with("HTTP/1.1 200") && last.contains("connection: close\r\n"), "{last}");
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    server.served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn on_stop_idle_connections_are_closed_after_a_second() {
    let server = running().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(ASK).await.unwrap();
    read_response(&mut stream, 2).await;
    server.stop.cancel();
    let stopped = Instant::now();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    server.served.await.unwrap();
    let took = stopped.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(2), "{took:?}");
}

/// Connections that nobody has accepted yet are the system's, which resets them with the listener.
#[tokio::test]
async fn on_stop_those_who_have_connected_are_answered() {
    use std::io::{Read as _, Write as _};
    let server = running().await;
    // Nothing here lets the server have its turn.
    let mut streams: Vec<_> =
        (0..20).map(|_| std::net::TcpStream::connect(server.address).unwrap()).collect();
    for stream in &mut streams {
        stream.write_all(ASK).unwrap();
    }
    server.stop.cancel();
    server.served.await.unwrap();
    for mut stream in streams {
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 200") && reply.ends_with("hi"), "{reply:?}");
    }
}

/// Notes in which order what happens.
#[derive(Clone, Default)]
struct Noting(Arc<std::sync::Mutex<Vec<&'static str>>>);

impl Noting {
    fn note(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }

    async fn until(&self, notes: &[&str]) {
        let seen = async {
            while self.0.lock().unwrap().len() < notes.len() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), seen).await.unwrap();
        assert_eq!(*self.0.lock().unwrap(), notes);
    }
}

struct Asked(Noting);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.note("dropped");
    }
}

impl Handler for Noting {
    async fn call(&self, _: Request<RequestBody>, _: SocketAddr) -> Response {
        let _asked = Asked(self.clone());
        self.note("called");
        std::future::pending().await
    }

    fn closed(&self, _: SocketAddr) {
        self.note("closed");
    }
}

/// Whoever keeps something by connection would keep it for ever if a request came after its end.
#[tokio::test]
async fn a_connection_ends_after_its_requests() {
    for is_http2 in [false, true] {
        let (noting, listener) = (Noting::default(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, noting.clone(), Options::default(), stop, Duration::ZERO));
        let mut stream = TcpStream::connect(address).await.unwrap();
        if is_http2 {
            let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
            let connection = tokio::spawn(connection);
            let request = Request::get("http://mainstay/").body(()).unwrap();
            let _asked = sender.send_request(request, true).unwrap();
            noting.until(&["called"]).await;
            connection.abort();
            // The socket goes with it.
            connection.await.unwrap_err();
        } else {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            noting.until(&["called"]).await;
            drop(stream);
        }
        noting.until(&["called", "dropped", "closed"]).await;
    }
}
