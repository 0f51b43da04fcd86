//! Unix sockets under the server.

use tokio::net::UnixStream;

use super::*;
use crate::socket::UnixSocket;

async fn ask(stream: &mut UnixStream, path: &str) -> String {
    let request = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") {
        reply.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(reply).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    String::from_utf8(body).unwrap()
}

/// Says who is connected, and who has gone.
#[derive(Clone, Default)]
struct Who(Arc<std::sync::Mutex<Vec<SocketAddr>>>);

impl Handler for Who {
    async fn call(&self, _: Request<RequestBody>, peer: SocketAddr) -> Response {
        Response::new(format!("{peer:?}").into())
    }

    fn closed(&self, peer: SocketAddr) {
        self.0.lock().unwrap().push(peer);
    }
}

#[tokio::test]
async fn requests_over_a_unix_socket_are_those_of_processes_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let (who, stop) = (Who::default(), CancellationToken::new());
    let socket = UnixSocket::bind(&path).unwrap();
    let served =
        tokio::spawn(serve(socket, who.clone(), Options::default(), stop.clone(), Duration::from_secs(10)));
    let mut one = UnixStream::connect(&path).await.unwrap();
    let mut other = UnixStream::connect(&path).await.unwrap();
    assert_eq!(ask(&mut one, "/").await, "[::1]:0");
    assert_eq!(ask(&mut other, "/").await, "[::1]:0");
    assert_eq!(ask(&mut one, "/").await, "[::1]:0");
    stop.cancel();
    drop((one, other));
    served.await.unwrap();
    let gone = who.0.lock().unwrap().clone();
    assert!(gone.len() == 2 && gone[0] != gone[1], "connections are told apart: {gone:?}");
    assert!(gone.iter().all(|peer| peer.ip().is_loopback() && peer.port() == 0));
}

#[tokio::test]
async fn a_stop_answers_who_has_connected_and_takes_the_file_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let socket = UnixSocket::bind_with_mode(&path, 0o600).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let stop = CancellationToken::new();
    // Nobody has accepted it yet when the stop comes.
    let mut waiting = UnixStream::connect(&path).await.unwrap();
    waiting.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n").await.unwrap();
    stop.cancel();
    let served =
        tokio::spawn(serve(socket, Echo::default(), Options::default(), stop, Duration::from_secs(10)));
    while path.exists() {
        tokio::task::yield_now().await;
    }
    assert!(UnixStream::connect(&path).await.is_err());
    waiting.write_all(b"hi").await.unwrap();
    let mut reply = String::new();
    waiting.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK") && reply.ends_with("hi"), "{reply}");
    served.await.unwrap();
}
