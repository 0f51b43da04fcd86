//! Clients that don't read, and clients that don't stop sending.

use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::*;

/// A connection whose client takes in little at a time.
async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(256 << 10).unwrap();
    socket.connect(address).await.unwrap()
}

#[tokio::test]
async fn a_client_that_takes_in_nothing_of_its_reply_is_cut() {
    let write_timeout = Duration::from_millis(200);
    let options = Options { write_timeout, max_connections: 1, ..Options::default() };
    let server = start(options, Duration::from_secs(10)).await;
    let mut stalled = narrow(server.address).await;
    stalled.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // Served only once the other has given its place back.
    assert_eq!(post(&server.client("/"), "hello").await, (200, Bytes::from("hello")));
    let mut reply = Vec::new();
    let _ = timeout(Duration::from_secs(10), stalled.read_to_end(&mut reply)).await.unwrap();
    assert!(reply.starts_with(b"HTTP/1.1 200"));
    assert!(reply.len() < LARGE, "all of it");
}

#[tokio::test]
async fn a_client_that_takes_its_reply_in_slowly_gets_it_whole() {
    let write_timeout = Duration::from_millis(600);
    let server = start(Options { write_timeout, ..Options::default() }, Duration::from_secs(10)).await;
    let mut slow = narrow(server.address).await;
    slow.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let (mut reply, mut piece) = (0, vec![0; 128 << 10]);
    let started = Instant::now();
    while started.elapsed() < 2 * write_timeout {
        reply += slow.read(&mut piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(reply < LARGE, "it was not slow: {reply}");
    while let Ok(read @ 1..) = slow.read(&mut piece).await {
        reply += read;
    }
    assert!(reply > LARGE, "cut after {reply}");
}

/// Sends a request whose body is too large, and only then reads.
async fn send_all_then_read(address: SocketAddr, head: &str, piece: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(head.as_bytes()).await?;
    for _ in 0..LARGE / piece.len() {
        stream.write_all(piece).await?;
    }
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await?;
    Ok(reply)
}

#[tokio::test]
async fn a_request_too_large_can_be_sent_to_its_end_and_its_answer_read() {
    let server = running().await;
    let announced = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {LARGE}\r\n\r\n");
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let piece = vec![b'x'; 1 << 20];
    let chunk = [b"100000\r\n", &piece[..], b"\r\n"].concat();
    for (head, piece) in [(announced.as_str(), &piece), (chunked, &chunk)] {
        let sent = send_all_then_read(server.address, head, piece);
        let reply = timeout(Duration::from_secs(30), sent).await.unwrap();
        let reply = reply.unwrap_or_else(|error| panic!("{error}: {head}"));
        assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
    }
    // As this crate's own client does it.
    for _ in 0..10 {
        let reply = server.client("/").post(Bytes::from(vec![b'x'; LARGE / 8]), None, soon()).await;
        assert_eq!(reply.unwrap().status, 413);
    }
}

#[tokio::test]
async fn a_request_too_large_over_http2_costs_nobody_else_anything() {
    let server = running().await;
    let (mut sender, _connection) = http2(server.address).await;
    for _ in 0..10 {
        let body = Full::from(vec![b'x'; LARGE / 8]);
        let response = sender.send_request(Request::post("http://mainstay/").body(body).unwrap()).await;
        assert_eq!(response.unwrap().status(), 413);
        let response = sender.send_request(Request::post("http://mainstay/").body(Full::from("on")).unwrap());
        assert_eq!(response.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_client_that_never_stops_sending_is_cut() {
    let linger_timeout = Duration::from_millis(200);
    let options = Options { linger_timeout, max_connections: 1, ..Options::default() };
    let server = start(options, Duration::from_secs(10)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let endless = async {
        stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000000\r\n\r\n").await?;
        let piece = vec![b'x'; 1 << 20];
        loop {
            stream.write_all(&piece).await?;
        }
        #[allow(unreachable_code)]
        io::Result::Ok(())
    };
    timeout(Duration::from_secs(10), endless).await.expect("it is still read").unwrap_err();
    // Nor is one waited for that says nothing more.
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    silent.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2000\r\n\r\n").await.unwrap();
    assert_eq!(post(&server.client("/"), "hello").await, (200, Bytes::from("hello")));
}

#[tokio::test]
async fn who_has_nothing_more_to_send_is_not_waited_for() {
    let linger_timeout = Duration::from_secs(3600);
    let options = Options { linger_timeout, max_connections: 1, ..Options::default() };
    let server = start(options, Duration::from_secs(10)).await;
    let mut open = TcpStream::connect(server.address).await.unwrap();
    open.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    assert_eq!(post(&server.client("/"), "hello").await, (200, Bytes::from("hello")));
    drop(open);
}

#[tokio::test]
async fn on_stop_nobody_lingers() {
    let hour = Duration::from_secs(3600);
    let server = start(Options { linger_timeout: hour, ..Options::default() }, hour).await;
    let (idle, busy) = (server.client("/"), server.client("/wait"));
    assert_eq!(post(&idle, "hello").await.0, 200);
    let in_flight = tokio::spawn(async move { (post(&busy, "answered").await, busy) });
    server.waiting(1).await;
    server.stop.cancel();
    server.echo.release.notify_one();
    // Both clients keep their connections.
    let (reply, _busy) = in_flight.await.unwrap();
    assert_eq!(reply, (200, Bytes::from("answered")));
    timeout(Duration::from_secs(10), server.served).await.unwrap().unwrap();
    drop(idle);
}
