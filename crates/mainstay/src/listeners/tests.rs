#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn an_open_listener_serves_its_address() {
    for (open, wanted, does) in [
        ("127.0.0.1:7000", "127.0.0.1:7000", true),
        ("127.0.0.1:7000", "127.0.0.1:7001", false),
        ("127.0.0.1:7000", "127.0.0.2:7000", false),
        ("127.0.0.1:7000", "0.0.0.0:7000", false),
        ("0.0.0.0:7000", "127.0.0.1:7000", false),
        ("0.0.0.0:7000", "[::]:7000", false),
        ("[::]:7000", "0.0.0.0:7000", true),
        ("[::]:7000", "[::1]:7000", false),
        ("127.0.0.1:7000", "127.0.0.1:0", false),
    ] {
        assert_eq!(serves(open.parse().unwrap(), wanted.parse().unwrap()), does, "{open} for {wanted}");
    }
}

#[tokio::test]
async fn what_is_open_is_used_once_and_what_is_not_is_opened() {
    let open = StdListener::bind("127.0.0.1:0").unwrap();
    let address = open.local_addr().unwrap();
    let mut inherited = Inherited::default();
    inherited.add([OwnedFd::from(open)].into_iter()).unwrap();
    let other = inherited.bind_tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    assert_ne!(other.local_addr().unwrap(), address);
    assert_eq!(inherited.left().collect::<Vec<_>>(), [address.to_string()]);
    let listener = inherited.bind_tcp(address).await.unwrap();
    assert_eq!((listener.local_addr().unwrap(), inherited.left().count()), (address, 0));
    assert!(inherited.bind_tcp(address).await.unwrap_err().contains("the port is taken"));
}

#[tokio::test]
async fn the_file_of_a_unix_socket_is_that_process_s_which_serves_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let listen: Listen = format!("unix:{}", path.display()).parse().unwrap();
    let mut first = Inherited::default();
    let (old, held) = first.bind(&listen).await.unwrap();
    let (old_open, new_open) = (Open::default(), Open::default());
    old_open.add(0, [held]);
    let passed = || rustix::io::dup(&old).unwrap();

    // One that takes over, and fails before it serves, takes nothing with it.
    let mut failed = Inherited::default();
    failed.add([passed()].into_iter()).unwrap();
    drop(failed.bind(&listen).await.unwrap());
    assert!(path.exists());

    let mut second = Inherited::default();
    second.add([passed()].into_iter()).unwrap();
    let (new, held) = second.bind(&listen).await.unwrap();
    new_open.add(0, [held]);
    new_open.take_files();
    old_open.give_files();
    drop(old);
    assert!(path.exists(), "it is the new one's");
    drop(new);
    assert!(!path.exists());

    // systemd's stays.
    let mut third = Inherited::default();
    let opened = StdUnixListener::bind(&path).unwrap();
    third.put([OwnedFd::from(opened)].into_iter(), &Owner::Systemd).unwrap();
    let (activated, held) = third.bind(&listen).await.unwrap();
    let open = Open::default();
    open.add(0, [held]);
    open.take_files();
    drop(activated);
    assert!(path.exists());
}

#[tokio::test]
async fn a_role_that_comes_in_place_of_another_has_its_listeners() {
    let folder = tempfile::tempdir().unwrap();
    let unix: Listen = format!("unix:{}", folder.path().join("a.sock").display()).parse().unwrap();
    let any: Listen = "127.0.0.1:0".parse().unwrap();
    let open = Open::default();
    let mut before = Vec::new();
    for listen in [&any, &unix, &any] {
        let (listener, held) = Inherited::default().bind(listen).await.unwrap();
        open.add(7, [held]);
        before.push(listener);
    }
    let addresses =
        |listeners: &[Listener]| -> Vec<String> { listeners.iter().map(ToString::to_string).collect() };
    let binds = async |listens: Vec<Listen>| {
        let held = open.of(7).unwrap();
        let wanted = Held::wanted(&held, listens);
        let mut inherited = Inherited::default();
        inherited.add_held(held).unwrap();
        let mut bound = Vec::new();
        for listen in wanted {
            bound.push(inherited.bind(&listen).await.unwrap());
        }
        let (listeners, held): (Vec<Listener>, Vec<Held>) = bound.into_iter().unzip();
        (inherited, listeners, held)
    };
    // One that isn't carried out takes nothing with it.
    drop(binds(vec![unix.clone(), any.clone()]).await);
    assert!(folder.path().join("a.sock").exists());

    let (inherited, after, held) = binds(vec![any.clone(), any.clone(), unix.clone(), any.clone()]).await;
    let (was, mut is) = (addresses(&before), addresses(&after));
    let another = is.pop().unwrap();
    assert!(!was.contains(&another));
    is.sort();
    let mut sorted = was.clone();
    sorted.sort();
    assert_eq!(is, sorted);
    inherited.pass_files();
    open.remove(7);
    open.add(8, held);
    open.take_files();
    drop(before);
    assert!(folder.path().join("a.sock").exists(), "it is the new role's");
    for address in &was {
        if let Ok(address) = address.parse::<SocketAddr>() {
            std::net::TcpStream::connect(address).unwrap();
        }
    }
    drop(after);
    assert!(!folder.path().join("a.sock").exists());
    let address: SocketAddr = was[0].parse().unwrap();
    // A handle is left.
    std::net::TcpStream::connect(address).unwrap();
    open.close();
    std::net::TcpStream::connect(address).unwrap_err();
    open.add(9, [Held::of(&StdListener::bind("127.0.0.1:0").unwrap()).unwrap()]);
    assert!(open.handles().unwrap().is_empty(), "what is closed stays so");
}
