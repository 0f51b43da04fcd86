use super::*;

/// Hands everything on to one node, and its replies back as they come.
#[derive(Clone)]
struct Relay(Client);

const STALL: Duration = Duration::from_millis(200);

impl Handler for Relay {
    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response {
        let (parts, body) = request.into_parts();
        let body = body::read(body, LARGE).await.unwrap();
        let (lines, target) = (client::Lines::new(), &parts.uri);
        match self
            .0
            .open(client::Post { target, lines: &lines, body: &body }, Instant::now(), soon(), STALL)
            .await
        {
            Ok(reply) => {
                let mut response = Response::new(ReplyBody::streamed(reply.body));
                *response.status_mut() = reply.status;
                response
            }
            Err(error) => panic!("{error}"),
        }
    }
}

struct Line {
    node: TcpListener,
    client: TcpStream,
}

/// A node of the test's own, a relay before it, and a client's connection to that.
async fn line() -> Line {
    let node = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", node.local_addr().unwrap());
    let relay = Relay(Client::new(&Url::parse(&url).unwrap(), client::Options::default()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    tokio::spawn(serve(listener, relay, Options::default(), CancellationToken::new(), Duration::ZERO));
    Line { node, client }
}

async fn ask(client: &mut TcpStream) {
    client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
}

async fn read_until(stream: &mut TcpStream, end: &[u8]) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        read.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn a_body_is_handed_on_before_its_end_and_connections_are_used_again() {
    let Line { node, mut client } = line().await;
    ask(&mut client).await;
    let (mut upstream, _) = node.accept().await.unwrap();
    let plain = ("content-length: 6", ["one", "two"], "two");
    let chunked = ("transfer-encoding: chunked", ["3\r\none\r\n", "3\r\ntwo\r\n0\r\n\r\n"], "0\r\n\r\n");
    for (framing, [one, two], end) in [plain, chunked, plain] {
        read_until(&mut upstream, b"{}").await;
        let begin = format!("HTTP/1.1 201 Made\r\n{framing}\r\n\r\n{one}");
        upstream.write_all(begin.as_bytes()).await.unwrap();
        let begun = read_until(&mut client, one.as_bytes()).await;
        assert!(begun.starts_with("HTTP/1.1 201 ") && begun.contains(framing), "{begun}");
        upstream.write_all(two.as_bytes()).await.unwrap();
        read_until(&mut client, end.as_bytes()).await;
        ask(&mut client).await;
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_or_stalls_is_not_taken_for_whole() {
    for breaks_off in [true, false] {
        let Line { node, mut client } = line().await;
        ask(&mut client).await;
        let (mut upstream, _) = node.accept().await.unwrap();
        read_until(&mut upstream, b"{}").await;
        upstream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
            .await
            .unwrap();
        read_until(&mut client, b"one").await;
        let stays = (!breaks_off).then_some(upstream);
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
        drop(stays);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_call_to_the_node() {
    let Line { node, mut client } = line().await;
    ask(&mut client).await;
    let (mut upstream, _) = node.accept().await.unwrap();
    read_until(&mut upstream, b"{}").await;
    drop(client);
    let mut rest = Vec::new();
    upstream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}
