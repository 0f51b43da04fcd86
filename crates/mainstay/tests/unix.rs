//! Unix sockets as listeners of every role and of the admin listener, with curl as the client.
#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::Signal;
use support::http::{Node, eventually};
use support::{Done, Place, Running};

const NET_VERSION: &str = r#"{"jsonrpc":"2.0","id":1,"method":"net_version","params":[]}"#;

fn curl(socket: &Path, arguments: &[&str]) -> Done {
    let mut command = std::process::Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "30",
        "--write-out",
        " %{http_code}",
        "--unix-socket",
    ]);
    command.arg(socket).args(arguments);
    Done::from(command.output().unwrap_or_else(|error| panic!("cannot run curl ({error}): install it")))
}

fn start(place: &Place, config: &str) -> Running {
    place.file("mainstay.toml", config);
    place.start(&["run"], &[])
}

#[test]
fn every_role_and_the_admin_listener_have_one() {
    let place = Place::new();
    let node = Node::start("one");
    let socket = |name: &str| place.path().join(format!("{name}.sock"));
    let at = |name: &str| format!("unix:{}", socket(name).display());
    let node = &node.url;
    let config = format!(
        "[log]\nformat = \"logfmt\"\n\
         [admin]\nlisten = \"{}\"\nmetrics_listen = \"{}#mode=0666\"\n\
         [engine]\nlisten = \"{}\"\nnodes = [\"{node}\"]\njwt_secret = \"jwt.hex\"\n\
         [sync]\nlisten = \"{}\"\nnodes = [\"{node}\"]\njwt_secret = \"jwt.hex\"\n\
         [rpc]\nlisten = \"{}#mode=0600\"\nnodes = [\"{node}\"]\nhealth = \"net_version\"\n\
         [beacon]\nlisten = [\"{}\"]\nbeacon_node = [\"http://127.0.0.1:1\"]\n\
         [relay]\nlisten = \"{}\"\nunix = \"second.sock\"\nouter = [\"127.0.0.1:1\"]\nproducer = [\"prodx\"]\n",
        at("admin"),
        at("metrics"),
        at("engine"),
        at("sync"),
        at("rpc"),
        at("beacon"),
        at("relay"),
    );
    // As a process leaves it that was killed.
    drop(std::os::unix::net::UnixListener::bind(socket("rpc")).unwrap());
    let mut running = start(&place, &config);
    for role in ["engine", "sync", "rpc", "beacon", "relay", "metrics", "admin"] {
        assert_eq!(running.address(role), at(role));
    }
    for (role, path, status, mode) in [
        ("engine", "/", " 405", 0o660),
        ("sync", "/", " 200", 0o660),
        ("rpc", "/", " 200", 0o600),
        ("beacon", "/eth/v1/node/version", " 503", 0o660),
        ("metrics", "/metrics", " 200", 0o666),
        ("admin", "/livez", " 200", 0o660),
    ] {
        let done = curl(&socket(role), &[&format!("http://localhost{path}")]);
        assert!(done.status == Some(0) && done.out.ends_with(status), "{role}: {}{}", done.out, done.err);
        let found = std::fs::metadata(socket(role)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{role}");
    }
    // To a page of figures nobody needs a token; to change something one has to be a process of this machine, as over loopback.
    let metrics = curl(&socket("engine"), &["http://localhost/metrics"]);
    assert!(metrics.out.ends_with(" 200"), "{}", metrics.out);
    let change = ["--request", "POST", "--data", r#"{"uri":"http://127.0.0.1:2","force":true}"#];
    let url = ["http://localhost/nodes"];
    let own = curl(&socket("rpc"), &[&change[..], &url].concat());
    assert!(own.out.ends_with(" 200"), "{}", own.out);
    let passed_on =
        curl(&socket("rpc"), &[&change[..], &["--header", "X-Forwarded-For: 10.0.0.1"], &url].concat());
    assert!(passed_on.out.ends_with(" 403") || passed_on.out.ends_with(" 401"), "{}", passed_on.out);
    // Commands find their way.
    assert_eq!(place.run(&["healthcheck"], &[]).fine(), "");
    assert!(place.run(&["status", "--admin-listen", &at("admin")], &[]).out.contains("rpc"));
    UnixStream::connect(socket("relay")).unwrap();
    UnixStream::connect(socket("second")).unwrap();

    // Another one finds them taken.
    let other = place.run(&["rpc", "--nodes", node, "--listen", &at("rpc"), "--admin-listen", "off"], &[]);
    let told = format!(
        "error: --listen: {}: somebody listens on it, stop it or choose another path\n",
        socket("rpc").display()
    );
    assert_eq!((other.status, other.err), (Some(2), told));

    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(0));
    let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(left.iter().all(|file| file.extension().is_none_or(|kind| kind != "sock")), "{left:?}");
}

#[test]
fn a_new_process_takes_a_socket_over_and_its_file_stays() {
    let place = Place::new();
    let node = Node::start("one");
    let socket = place.path().join("rpc.sock");
    let config = format!(
        "handover = \"handover.sock\"\n[log]\nformat = \"logfmt\"\n[admin]\nlisten = \"off\"\n\
         [rpc]\nlisten = \"unix:{}\"\nnodes = [\"{}\"]\nhealth = \"net_version\"\n",
        socket.display(),
        node.url
    );
    let is_answered =
        || curl(&socket, &["--data", NET_VERSION, "http://localhost/"]).out.ends_with("\"one\"} 200");
    let mut running = start(&place, &config);
    running.address("rpc");
    eventually("the first serves", is_answered);
    for _ in 0..3 {
        let mut next = place.start(&["run"], &[]);
        next.address("rpc");
        running.line(&["another process takes over"]);
        assert!(is_answered());
        assert_eq!(running.ended(), Some(0));
        assert!(is_answered(), "the old one has taken nothing with it");
        running = next;
    }
    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn systemd_may_open_it_and_keeps_its_file() {
    let place = Place::new();
    let node = Node::start("one");
    let socket = place.path().join("rpc.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let at = format!("unix:{}", socket.display());
    let flags =
        ["rpc", "--listen", &at, "--nodes", &node.url, "--health", "net_version", "--admin-listen", "off"];
    // As systemd does: the socket is descriptor 3, and the variables name the process that they are for.
    let mut command = std::process::Command::new("sh");
    command.args([
        "-c",
        "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&0 </dev/null",
        env!("CARGO_BIN_EXE_mainstay"),
    ]);
    command.args(flags).args(["--log-format", "logfmt"]).stdin(std::os::fd::OwnedFd::from(listener));
    let mut running = Running::of(command);
    assert_eq!(running.address("rpc"), at);
    let done = curl(&socket, &["--data", NET_VERSION, "http://localhost/"]);
    assert!(done.out.ends_with("\"one\"} 200"), "{}{}", done.out, done.err);
    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(0));
    assert!(socket.exists(), "it is systemd's");
}

#[test]
fn an_address_that_cannot_be_one_is_told() {
    let place = Place::new();
    let run = |listen: &str| {
        place.run(&["rpc", "--nodes", "http://127.0.0.1:1", "--listen", listen, "--admin-listen", "off"], &[])
    };
    for (listen, part) in [
        ("unix:a.sock", "needs the socket's whole path after unix:"),
        ("unix:/nowhere/a.sock", "there is no such folder, make it first"),
        ("unix:/run/a.sock#mode=7", "#mode=0600"),
    ] {
        let done = run(listen);
        assert!(done.status == Some(2) && done.err.contains(part), "{listen}: {}", done.err);
    }
    let file = place.file("precious", "1");
    let done = run(&format!("unix:{}", file.display()));
    assert!(done.err.contains("is there and is no socket"), "{}", done.err);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "1");
}
