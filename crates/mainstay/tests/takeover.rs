//! A new process in the old one's place: nobody who asks meanwhile goes without an answer.
#![allow(clippy::unwrap_used)]

#[path = "takeover/load.rs"]
mod load;
mod support;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use load::Load;
use rustix::process::Signal;
use support::http::{Node, answer, ask, eventually};
use support::{Place, Running, SOON};

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_callBundle","params":[]}"#;
const TAKEOVERS: usize = 20;

fn flags<'a>(listen: &'a str, admin: &'a str, node: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["rpc", "--listen", listen, "--admin-listen", admin, "-n", node, "--log-format", "logfmt"];
    let health = ["--health", "net_version", "--probe-interval", "100ms"];
    [&fixed[..], &health, more].concat()
}

#[test]
fn no_request_fails_while_processes_take_over_from_one_another() {
    let place = Place::new();
    let node = Node::start("node");
    let by = ["--handover", "handover.sock"];
    let any = "127.0.0.1:0";
    let mut running = place.start(&flags(any, any, &node.url, &by), &[]);
    let (address, admin) = (running.address("rpc"), running.address("admin"));
    eventually("the node is fit", || ask(&admin, "GET", "/healthz", "").status == 200);
    let load = Load::start(&address);
    load.goes_on();
    for _ in 0..TAKEOVERS {
        let mut next = place.start(&flags(&address, &admin, &node.url, &by), &[]);
        assert_eq!(next.address("rpc"), address);
        running.line(&["another process takes over, stopping"]);
        assert_eq!(running.ended(), Some(0));
        load.goes_on();
        assert_eq!(ask(&admin, "GET", "/healthz", "").status, 200);
        running = next;
    }
    load.end();
    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(0));
    assert!(!place.path().join("handover.sock").exists());
    assert!(TcpStream::connect(&address).is_err(), "nobody holds its port");
}

#[test]
fn who_takes_over_and_fails_leaves_the_other_in_place() {
    let place = Place::new();
    let node = Node::start("node");
    let by = ["--handover", "handover.sock"];
    let any = "127.0.0.1:0";
    let mut running = place.start(&flags(any, any, &node.url, &by), &[]);
    let (address, admin) = (running.address("rpc"), running.address("admin"));
    // Of another's port it gets nothing.
    let taken = TcpListener::bind(any).unwrap();
    let other = taken.local_addr().unwrap().to_string();
    place.run(&flags(&other, &admin, &node.url, &by), &[]).refused(&[&format!(
        "error: --listen: cannot listen on {other}: the port is taken, stop what uses it or choose another"
    )]);
    running.line(&["a process that wanted to take over did not", "it went away before it served"]);
    eventually("it goes on", || ask(&address, "POST", "/", CALL).status == 200);
    // What is no socket is left alone.
    let file = place.file("in-the-way", "somebody's");
    place
        .run(&flags(any, any, &node.url, &["--handover", "in-the-way"]), &[])
        .refused(&["error: --handover: in-the-way is there and is no socket, choose another path"]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "somebody's");
}

/// The binary with a socket that somebody else has opened, as systemd passes it.
fn activated(place: &Place, listener: &TcpListener, arguments: &[&str]) -> Running {
    let mut command = Command::new("sh");
    // sd_listen_fds(3): the first is 3, and the number of the process says for whom they are.
    let script = r#"exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@""#;
    command.args(["-c", script, env!("CARGO_BIN_EXE_mainstay")]).args(arguments);
    command.current_dir(place.path()).env_clear();
    command.stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())));
    Running::of(command)
}

#[test]
fn no_request_fails_while_processes_follow_one_another_on_a_socket_of_systemd() {
    let place = Place::new();
    let node = Node::start("node");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let arguments = flags(&address, "127.0.0.1:0", &node.url, &[]);
    let mut running = activated(&place, &listener, &arguments);
    assert_eq!(running.address("rpc"), address);
    let load = Load::start(&address);
    load.goes_on();
    for _ in 0..TAKEOVERS {
        running.signal(Signal::TERM);
        assert_eq!(running.ended(), Some(0));
        running = activated(&place, &listener, &arguments);
        load.goes_on();
    }
    load.end();
    // One that nothing of the configuration listens at is told, and closed.
    let mut running = activated(&place, &listener, &flags("127.0.0.1:0", "127.0.0.1:0", &node.url, &[]));
    running.line(&["a listener that was passed on is nobody's", &address]);
}

#[test]
fn a_service_manager_is_told_how_it_goes() {
    let place = Place::new();
    let node = Node::start("node");
    let manager = UnixDatagram::bind(place.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let told = || {
        let mut text = [0; 100];
        let length = manager.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).trim().to_owned()
    };
    let any = "127.0.0.1:0";
    let by = ["--handover", "handover.sock"];
    let socket = place.path().join("notify");
    let variables = [("NOTIFY_SOCKET", socket.to_str().unwrap())];
    let beats = [variables[0], ("WATCHDOG_USEC", "200000")];
    let mut running = place.start(&flags(any, any, &node.url, &by), &beats);
    let address = running.address("rpc");
    assert_eq!(told(), "READY=1");
    for _ in 0..3 {
        assert_eq!(told(), "WATCHDOG=1");
    }
    let mut next = place.start(&flags(&address, any, &node.url, &by), &variables);
    let main = loop {
        match told() {
            beat if beat == "WATCHDOG=1" => {}
            other => break other,
        }
    };
    assert_eq!(main, format!("MAINPID={}\nREADY=1", next.pid().as_raw_nonzero()));
    assert_eq!(running.ended(), Some(0));
    next.address("rpc");
    next.signal(Signal::TERM);
    assert_eq!(next.ended(), Some(0));
    let last = loop {
        match told() {
            beat if beat == "WATCHDOG=1" => {}
            other => break other,
        }
    };
    assert_eq!(last, "STOPPING=1");
}

/// An engine's payload id is its own: without it the new process couldn't say whom to ask for the payload of a proposal under way.
#[test]
fn a_payload_that_is_being_built_is_fetched_from_the_next_process() {
    let place = Place::new();
    let by = ["--handover", "handover.sock", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let builder = Builder::start();
    let fixed = ["engine", "-n", &builder.url, "-j", "jwt.hex", "--log-format", "logfmt"];
    let mut running = place.start(&[&fixed[..], &by].concat(), &[]);
    let address = running.address("engine");
    let attributes = r#"{"timestamp":"0x1","prevRandao":"0x02","suggestedFeeRecipient":"0x03","withdrawals":[],"parentBeaconBlockRoot":"0x04"}"#;
    let head = format!("0x{}", "11".repeat(32));
    let state =
        format!(r#"{{"headBlockHash":"{head}","safeBlockHash":"{head}","finalizedBlockHash":"{head}"}}"#);
    let built = engine_call(&address, "engine_forkchoiceUpdatedV3", &format!("[{state},{attributes}]"));
    let id = built["result"]["payloadId"].as_str().unwrap_or_else(|| panic!("{built}")).to_owned();
    assert_ne!(id, Builder::ID);

    let listen = ["--listen", &address, "--handover", "handover.sock", "--admin-listen", "127.0.0.1:0"];
    let mut next = place.start(&[&fixed[..], &listen].concat(), &[]);
    next.address("engine");
    assert_eq!(running.ended(), Some(0));
    let payload = engine_call(&address, "engine_getPayloadV3", &format!("[\"{id}\"]"));
    assert_eq!(payload["result"]["blockValue"], "0x7", "{payload} {:#?}", next.seen);
}

/// An execution client that builds one payload.
struct Builder {
    url: String,
}

impl Builder {
    const ID: &str = "0x00000000000000aa";

    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || support::http::answers(stream, Self::answer));
            }
        });
        Self { url }
    }

    fn answer(body: &str) -> Option<String> {
        let call: serde_json::Value = serde_json::from_str(body).unwrap();
        let result = match call["method"].as_str().unwrap() {
            "engine_forkchoiceUpdatedV3" => format!(
                r#"{{"payloadStatus":{{"status":"VALID","latestValidHash":null,"validationError":null}},"payloadId":"{}"}}"#,
                Self::ID
            ),
            "engine_getPayloadV3" if body.contains(Self::ID) => {
                r#"{"executionPayload":{},"blockValue":"0x7"}"#.into()
            }
            "eth_syncing" => "false".into(),
            _ => {
                let error = r#"{"code":-32601,"message":"no"}"#;
                return Some(format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, call["id"]));
            }
        };
        Some(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, call["id"]))
    }
}

#[allow(clippy::disallowed_methods, reason = "a token holds the time")]
fn engine_call(address: &str, method: &str, params: &str) -> serde_json::Value {
    let secret = mainstay_wire::jwt::Secret::from_hex(&"11".repeat(32)).unwrap();
    let claims = mainstay_wire::jwt::Claims::at(std::time::SystemTime::now());
    let token = mainstay_wire::jwt::sign(&secret, &claims);
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    serde_json::from_str(&answer(stream).unwrap().body).unwrap()
}

/// Two relays at once could let two blocks of a slot out.
#[test]
fn a_relay_takes_nodes_only_when_the_one_before_it_has_ended() {
    let place = Place::new();
    let flags = |listen| {
        let fixed = ["relay", "--outer", "127.0.0.1:1", "--producer", "prodx", "--log-format", "logfmt"];
        [&fixed[..], &["--listen", listen, "--admin-listen", "127.0.0.1:0", "--handover", "handover.sock"]]
            .concat()
    };
    let mut running = place.start(&flags("127.0.0.1:0"), &[]);
    let address = running.address("relay");
    // It says nothing, so it keeps its place until the relay ends.
    let node = TcpStream::connect(&address).unwrap();
    let mut next = place.start(&flags(&address), &[]);
    running.line(&["another process takes over, stopping"]);
    assert_eq!(running.ended(), Some(0));
    drop(node);
    let mut node = TcpStream::connect(&address).unwrap();
    node.write_all(&[0xff; 8]).unwrap();
    next.line(&["inner connection refused", "no frame"]);
}
