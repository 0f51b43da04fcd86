//! The rpc role as its users meet it.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use support::http::{Node, answer, ask, eventually, send, send_on};
use support::{Place, Running};

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_callBundle","params":[]}"#;

fn rpc(place: &Place, flags: &[&str], variables: &[(&str, &str)]) -> Running {
    let fixed = ["rpc", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "logfmt"];
    let health = ["--health", "net_version", "--probe-interval", "100ms"];
    place.start(&[&fixed[..], &health, flags].concat(), variables)
}

fn uri(node: &str) -> String {
    format!(r#"{{"uri":"{node}"}}"#)
}

#[test]
fn requests_reach_a_node_and_nodes_come_and_go() {
    let place = Place::new();
    let (one, two) = (Node::start("one"), Node::start("two"));
    let mut running = rpc(&place, &["-n", &one.url], &[]);
    let address = running.address("rpc");
    let admin = running.address("admin");
    assert_eq!(ask(&address, "GET", "/", "").fine(), "prio-load-balancer\n");
    let reply = ask(&address, "POST", "/", CALL);
    assert!(reply.head.contains("x-priolb-simdurationus: ") && reply.head.contains("x-request-id: "));
    assert!(reply.fine().contains("one"));

    assert_eq!(ask(&address, "GET", "/nodes", "").fine(), format!("[\"{}\"]\n", one.url));
    ask(&address, "POST", "/nodes", &uri(&two.url)).fine();
    ask(&address, "DELETE", "/nodes", &uri(&one.url)).fine();
    assert!(ask(&address, "POST", "/sim", CALL).fine().contains("two"));
    assert_eq!((one.asked(), two.asked()), (1, 1));
    assert_eq!(ask(&address, "POST", "/nodes", &uri("http://127.0.0.1:1")).status, 400, "it does not answer");

    assert_eq!(ask(&admin, "GET", "/healthz", "").status, 200);
    let metrics = ask(&admin, "GET", "/metrics", "").fine();
    assert!(
        metrics.contains(r#"mainstay_rpc_requests_total{rpc="rpc",lane="low",outcome="ok"} 2"#),
        "{metrics}"
    );
    // The admin listener's own way to the same nodes.
    let name = two.url.strip_prefix("http://").unwrap();
    for action in ["drain", "uncordon", "cordon"] {
        assert!(ask(&admin, "POST", &format!("/api/v1/rpc/rpc/nodes/{name}/{action}"), "").status < 300);
    }
    assert_eq!(ask(&admin, "GET", "/healthz", "").status, 503, "its only node is cordoned");
    assert!(ask(&admin, "POST", "/api/v1/rpc/rpc/nodes", &uri(&one.url)).status < 300);
    assert!(ask(&address, "POST", "/", CALL).fine().contains("one"));
    assert_eq!(ask(&admin, "POST", "/api/v1/rpc/rpc/nodes/nobody/drain", "").status, 404);
}

#[test]
fn nodes_survive_kill_9_and_a_dead_one_stops_no_start() {
    let place = Place::new();
    let node = Node::start("one");
    let mut running = rpc(&place, &["--state-dir", "state"], &[]);
    let address = running.address("rpc");
    ask(&address, "POST", "/nodes", &uri(&node.url)).fine();
    running.signal(Signal::KILL);
    running.ended();

    let at = node.url.strip_prefix("http://").unwrap().to_owned();
    let stored = format!("[\"{}\"]\n", node.url);
    drop(node);
    let mut running = rpc(&place, &["--state-dir", "state", "--request-timeout", "300ms"], &[]);
    let (address, admin) = (running.address("rpc"), running.address("admin"));
    assert_eq!(ask(&address, "GET", "/nodes", "").fine(), stored);
    eventually("the dead node is told", || ask(&admin, "GET", "/healthz", "").status == 503);
    assert!([502, 503, 504].contains(&ask(&address, "POST", "/", CALL).status));

    let _back = Node::at(&at, "back");
    eventually("the node is used again", || ask(&address, "POST", "/", CALL).status == 200);
}

#[test]
fn while_redis_is_down_a_change_is_a_503_on_both_listeners() {
    let place = Place::new();
    let node = Node::start("one");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut running = rpc(&place, &["-n", &node.url, "--redis", &free], &[]);
    let (address, admin) = (running.address("rpc"), running.address("admin"));
    assert!(ask(&address, "POST", "/", CALL).fine().contains("one"));
    assert_eq!(ask(&admin, "GET", "/healthz", "").status, 206);
    let forced = r#"{"uri":"http://127.0.0.1:1","force":true}"#;
    let name = node.url.strip_prefix("http://").unwrap();
    for (address, method, path, body) in [
        (&address, "POST", "/nodes", forced),
        (&address, "DELETE", "/nodes", &uri(&node.url)),
        (&admin, "POST", "/api/v1/rpc/rpc/nodes", forced),
        (&admin, "DELETE", &format!("/api/v1/rpc/rpc/nodes/{name}"), ""),
    ] {
        assert_eq!(ask(address, method, path, body).status, 503, "{method} {path}");
    }
    assert_eq!(ask(&address, "GET", "/nodes", "").fine(), format!("[\"{}\"]\n", node.url));
}

#[test]
fn sigterm_under_load_loses_no_request() {
    let place = Place::new();
    let node = Node::start("one");
    let patient = ["--request-timeout", "60s", "--try-timeout", "60s", "--shutdown-grace", "60s"];
    let mut running = rpc(&place, &[&["-n", &node.url, "--node-workers", "4"][..], &patient].concat(), &[]);
    let (address, admin) = (running.address("rpc"), running.address("admin"));
    // The node is fit, and has all its slots.
    ask(&address, "POST", "/", CALL).fine();
    let closed = node.gate.write().unwrap();
    let clients: Vec<_> = (0..24).map(|_| send(&address, "POST", "/", CALL).unwrap()).collect();
    eventually("all have come in, and most wait", || {
        let state: Value = serde_json::from_str(&ask(&admin, "GET", "/api/v1/rpc/rpc", "").fine()).unwrap();
        let sum = |of: &str, field: &str| -> u64 {
            find(&state, of).iter().map(|one| one[field].as_u64().unwrap()).sum()
        };
        (sum("lanes", "waiting"), sum("nodes", "in_flight")) == (20, 4)
    });
    running.signal(Signal::TERM);
    running.line(&["msg=stopping"]);
    drop(closed);
    for client in clients {
        assert!(answer(client).expect("an answer").fine().contains("one"));
    }
    assert_eq!(running.ended(), Some(0));
}

/// Clients that keep their connections and ask again at once: each of them is told to go, and none is cut.
#[test]
fn sigterm_cuts_no_connection_that_is_in_use() {
    let place = Place::new();
    let node = Node::start("one");
    let mut running = rpc(&place, &["-n", &node.url], &[]);
    let address = running.address("rpc");
    ask(&address, "POST", "/", CALL).fine();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let address = address.clone();
            std::thread::spawn(move || asks_until_told_to_go(&address))
        })
        .collect();
    eventually("all work", || node.asked() > 300);
    running.signal(Signal::TERM);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(running.ended(), Some(0));
}

#[allow(clippy::disallowed_methods, reason = "it is about a process's time")]
fn asks_until_told_to_go(address: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(support::SOON)).unwrap();
    let mut before = Instant::now();
    loop {
        let now = Instant::now();
        let sent = send_on(&mut stream, address, "POST", "/", CALL);
        let reply = sent.ok().and_then(|()| answer(stream.try_clone().unwrap()));
        let Some(reply) = reply else {
            // On a machine so busy that the connection was idle for long enough it may be closed.
            assert!(now - before > Duration::from_secs(1), "cut");
            return;
        };
        assert_eq!(reply.status, 200, "{}", reply.body);
        if reply.head.contains("connection: close") {
            return;
        }
        before = now;
    }
}

/// The array called `name`, wherever it stands.
fn find(state: &Value, name: &str) -> Vec<Value> {
    match state {
        Value::Object(fields) => match fields.get(name) {
            Some(Value::Array(found)) => found.clone(),
            _ => fields.values().flat_map(|inner| find(inner, name)).collect(),
        },
        _ => Vec::new(),
    }
}

#[test]
fn every_line_of_a_request_is_logged() {
    let place = Place::new();
    let node = Node::start("one");
    let mut running = rpc(&place, &["-n", &node.url], &[]);
    let address = running.address("rpc");
    for _ in 0..50 {
        ask(&address, "POST", "/", CALL).fine();
    }
    for _ in 0..50 {
        running.line(&["Request completed", "statusCode=200", "requestTries=1"]);
    }
}

#[test]
fn what_is_wrong_is_told_with_file_and_line() {
    let place = Place::new();
    place.file(
        "m.toml",
        "[rpc]\nretries_max = 0\nnodes = [\n  \"http://a\",\n  \"ftp://b\",\n]\nshared_limits = true\nredis = \"dev\"\n\
         [[rpc.rule]]\nmethod = [\"eth_*\"]\nlane = \"middle\"\n",
    );
    for command in ["run", "check", "config"] {
        let done = place.run(&[command, "-c", "m.toml"], &[]);
        assert_eq!((done.status, done.out.as_str()), (Some(2), ""), "{command}");
        for told in [
            "error: m.toml:2: [rpc] retries_max: 0 is not between 1 and 100",
            "error: m.toml:5: [rpc] nodes: scheme \"ftp\" is not http or https",
            "error: m.toml:11: [[rpc.rule]] lane: \"middle\" is not one of",
        ] {
            assert!(done.err.contains(told), "{told}: {}", done.err);
        }
    }
    let done = place.run(&["rpc", "--nodez", "x"], &[]);
    assert_eq!(done.status, Some(2));
    place.file("state", "a file where a folder should be");
    let done =
        place.run(&["rpc", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--state-dir", "state"], &[]);
    assert_eq!(done.status, Some(2), "{}{}", done.out, done.err);
    assert!(done.err.contains("state_dir: "), "{}", done.err);
}

#[test]
fn both_roles_run_from_one_file() {
    let place = Place::new();
    let node = Node::start("one");
    let file = format!(
        "[log]\nformat = \"logfmt\"\n[admin]\nlisten = \"off\"\n\
         [engine]\nlisten = \"127.0.0.1:0\"\njwt_secret = \"jwt.hex\"\nnodes = \"http://127.0.0.1:1\"\n\
         [[rpc]]\nname = \"sim\"\nlisten = \"127.0.0.1:0\"\nhealth = \"none\"\nnodes = \"{0}\"\n\
         [[rpc]]\nname = \"val\"\nlisten = \"127.0.0.2:0\"\nhealth = \"none\"\nnodes = \"{0}\"\n",
        node.url
    );
    place.file("m.toml", &file);
    let checked = place.run(&["check", "--probe", "-c", "m.toml"], &[]);
    assert!(checked.out.contains("rpc on 127.0.0.2:0 with 1 node"), "{}", checked.out);
    let mut running = place.start(&["run", "-c", "m.toml"], &[]);
    running.address("engine");
    for _ in 0..2 {
        let address = running.address("rpc");
        assert!(ask(&address, "POST", "/", CALL).fine().contains("one"));
    }
}

/// A redis-server of the test's own.
struct Redis {
    port: u16,
    child: Child,
}

impl Redis {
    fn start(place: &Place) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string(), "--dir"])
            .arg(place.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|why| {
                panic!("cannot run redis-server ({why}): install it with tests/tools.sh, or with your system's package manager")
            });
        let redis = Self { port, child };
        eventually("redis answers", || redis.cli(&["PING"]) == "PONG");
        redis
    }

    fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").arg("-p").arg(self.port.to_string()).args(arguments).output();
        String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn nodes_are_shared_through_redis_under_prio_load_balancers_key() {
    let place = Place::new();
    let redis = Redis::start(&place);
    let (one, two) = (Node::start("one"), Node::start("two"));
    let key = "prio-load-balancer:prio-load-balancer:nodes";
    redis.cli(&["SET", key, &format!("[\"{}\"]", one.url)]);
    let at = format!("127.0.0.1:{}", redis.port);
    let mut first = rpc(&place, &[], &[("REDIS_URI", &at)]);
    let mut second = rpc(&place, &["-redis", &at], &[("REDIS_URI", "127.0.0.1:1")]);
    let (first, second) = (first.address("rpc"), second.address("rpc"));
    assert!(ask(&second, "POST", "/", CALL).fine().contains("one"));
    ask(&first, "POST", "/nodes", &uri(&two.url)).fine();
    let both = format!("[\"{}\",\"{}\"]", one.url, two.url);
    assert_eq!(redis.cli(&["GET", key]), both);
    eventually("the other one has it too", || ask(&second, "GET", "/nodes", "").fine().trim() == both);
}
