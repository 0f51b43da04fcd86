use std::os::unix::net::UnixListener as StdListener;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

#[test]
fn places_are_read_and_shown() {
    for (text, place, shown) in [
        ("relay.example:9876", Some(Place::Tcp("relay.example".into(), 9876)), "relay.example:9876"),
        ("10.0.0.1:1", Some(Place::Tcp("10.0.0.1".into(), 1)), "10.0.0.1:1"),
        ("[::1]:9876", Some(Place::Tcp("::1".into(), 9876)), "[::1]:9876"),
        ("unix:/run/a.sock", Some(Place::Unix("/run/a.sock".into())), "unix:/run/a.sock"),
        ("unix:", None, ""),
        ("relay", None, ""),
        (":9876", None, ""),
        ("relay:", None, ""),
        ("relay:99999", None, ""),
        ("::1:9876", None, ""),
        ("[relay]:9876", None, ""),
        ("tcp://relay:9876", None, ""),
        ("user@relay:9876", None, ""),
        (" relay:9876", None, ""),
    ] {
        let read: Result<Place, String> = text.parse();
        assert_eq!(read.as_ref().ok(), place.as_ref(), "{text}: {read:?}");
        if let Ok(read) = read {
            assert_eq!(read.to_string(), shown);
        }
    }
}

#[tokio::test]
async fn a_unix_socket_is_for_owner_and_group_and_goes_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let listener = Listener::Unix(UnixSocket::bind(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let mut client = UnixStream::connect(&path).await.unwrap();
    let Accepted::Unix(mut server) = listener.accept(&mut Pause::default()).await else { panic!() };
    client.write_all(b"a").await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'a');
    drop(listener);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    // As a process leaves it that was killed.
    drop(StdListener::bind(&path).unwrap());
    assert!(path.exists());
    let socket = UnixSocket::bind(&path).unwrap();
    let taken = UnixSocket::bind(&path).unwrap_err();
    assert!(taken.ends_with("a.sock: somebody listens on it, stop it or choose another path"), "{taken}");
    assert!(path.exists());

    // Another process has put its own there: that one stays.
    fs::remove_file(&path).unwrap();
    let other = UnixSocket::bind(&path).unwrap();
    drop(socket);
    assert!(path.exists());
    drop(other);

    fs::write(&path, "precious").unwrap();
    let file = UnixSocket::bind(&path).unwrap_err();
    assert!(file.ends_with("a.sock is there and is no socket: choose another path"), "{file}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let nowhere = UnixSocket::bind(&folder.path().join("no/a.sock")).unwrap_err();
    assert!(nowhere.ends_with("there is no such folder, make it first"), "{nowhere}");
}

#[tokio::test]
async fn a_tuned_connection_is_kept_alive() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    tune(&stream);
    assert!(stream.nodelay().unwrap());
    assert!(sockopt::socket_keepalive(&stream).unwrap());
    assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), KEEPALIVE_IDLE);
    assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), UNACKNOWLEDGED);
}
