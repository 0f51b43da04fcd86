//! `mainstay doctor` against nodes and stores that are well, and against each thing that can be wrong with them.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_sim::beacon::BeaconState;
use mainstay_sim::chain::{Hash, genesis};
use mainstay_sim::nodeos::{Nodeos, NodeosConfig};
use mainstay_sim::{BeaconHandle, BeaconServer, El, ElHandle, ElServer, Fault};
use mainstay_wire::jwt::Secret;
use serde_json::Value;
use support::http::eventually;
use support::{Place, SOON};
use tokio::runtime::Runtime;

#[allow(clippy::disallowed_methods)] // a chain has a clock
fn wall() -> SystemTime {
    SystemTime::now()
}

fn seconds() -> u64 {
    wall().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A folder with a secret that nobody else may read.
fn place() -> Place {
    let place = Place::new();
    mode(&place, "jwt.hex", 0o600);
    place
}

fn mode(place: &Place, name: &str, mode: u32) {
    std::fs::set_permissions(place.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
}

fn secret() -> Secret {
    Secret::from_hex(&"11".repeat(32)).unwrap()
}

/// What was found, and the exit status.
fn doctor(place: &Place, config: &str) -> (Value, Option<i32>) {
    place.file("m.toml", config);
    let done = place.run(&["doctor", "--config", "m.toml", "--json"], &[]);
    assert_eq!(done.err, "", "{}", done.out);
    (serde_json::from_str(&done.out).unwrap(), done.status)
}

/// The findings that aren't ok, as `area weight of: what`.
fn wrong(found: &Value) -> Vec<String> {
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let all = found["findings"].as_array().unwrap();
    // Of this machine, whatever it is: its clock isn't the test's, nor are its limits.
    let ours = |one: &&Value| one["of"] != "this machine" && one["area"] != "limits";
    let wrong = all.iter().filter(ours).filter(|one| one["weight"] != "ok");
    let wrong = wrong.inspect(|one| assert!(one["remedy"].is_string(), "{one} says nothing of what to do"));
    wrong
        .map(|it| {
            format!("{} {} {}: {}", text(it, "area"), text(it, "weight"), text(it, "of"), text(it, "what"))
        })
        .collect()
}

struct Els {
    runtime: Runtime,
    all: Vec<ElHandle>,
}

impl Els {
    fn start(names: &[&str]) -> Self {
        let runtime = Runtime::new().unwrap();
        let guard = runtime.enter();
        let first = genesis(7, seconds());
        let start = |name: &&str| {
            runtime.block_on(ElServer::start(El::new(name, first.clone()), Some(secret()))).unwrap().0
        };
        let all = names.iter().map(start).collect();
        drop(guard);
        Self { runtime, all }
    }

    fn config(&self) -> String {
        let urls: Vec<String> =
            self.all.iter().map(|el| format!("\"{}#name={}\"", el.url(), el.name())).collect();
        format!(
            "[admin]\nlisten = \"127.0.0.1:0\"\n[engine]\nlisten = \"127.0.0.1:0\"\njwt_secret = \"jwt.hex\"\nnodes = [{}]\n",
            urls.join(", ")
        )
    }
}

fn beacon(runtime: &Runtime, name: &str, change: impl FnOnce(&mut BeaconState)) -> BeaconHandle {
    let mut state = BeaconState::default();
    change(&mut state);
    runtime.block_on(BeaconServer::start(name, state)).unwrap()
}

/// A redis-server or etcd of the test's own.
struct Store(Child);

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn started(command: &mut Command) -> Store {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Store(
        child.unwrap_or_else(|why| panic!("cannot run {command:?} ({why}): install it with tests/tools.sh")),
    )
}

fn redis(place: &Place, password: &str) -> (Store, u16) {
    let port = free();
    let mut command = Command::new("redis-server");
    command.args([
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--requirepass",
        password,
        "--port",
        &port.to_string(),
        "--dir",
    ]);
    let store = started(command.arg(place.path()));
    eventually("redis listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    (store, port)
}

fn etcd(place: &Place) -> (Store, u16) {
    let (port, peer) = (free(), free());
    let [client, peer] = [port, peer].map(|port| format!("http://127.0.0.1:{port}"));
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(place.path().join("etcd"));
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    let store = started(command.args(["--initial-cluster", &format!("default={peer}")]));
    let healthy = || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(SOON)).ok()?;
        write!(stream, "GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").ok()?;
        BufReader::new(stream).lines().map_while(Result::ok).find(|line| line.contains("\"true\""))
    };
    eventually("etcd is healthy", || healthy().is_some());
    (store, port)
}

#[test]
fn all_is_well_with_every_role_and_store() {
    let place = place();
    let els = Els::start(&["el1", "el2", "el3"]);
    let guard = els.runtime.enter();
    let beacons = ["b1", "b2"].map(|name| beacon(&els.runtime, name, |_| {}));
    let outer = els.runtime.block_on(Nodeos::listen(NodeosConfig::new("sentry"))).unwrap();
    let ((_redis, redis), (_etcd, etcd)) = (redis(&place, "hunter2"), etcd(&place));
    let plain = els.runtime.block_on(ElServer::start(El::new("r1", genesis(7, seconds())), None)).unwrap().0;
    let config = els.config()
        + &format!(
            "[rpc]\nlisten = \"127.0.0.1:0\"\nnodes = [\"{}\"]\nredis = \"redis://:hunter2@127.0.0.1:{redis}\"\n",
            plain.url()
        )
        + &format!(
            "[beacon]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nbeacon_node = [\"{}\", \"{}\"]\n",
            beacons[0].url(),
            beacons[1].url()
        )
        + &format!(
            "[relay]\nlisten = \"127.0.0.1:0\"\nouter = [\"{}\"]\nproducer = [\"prodx\"]\nclaims = \"etcd://127.0.0.1:{etcd}\"\n",
            outer.address()
        );
    drop(guard);
    let (found, status) = doctor(&place, &config);
    assert_eq!((wrong(&found), status), (Vec::new(), Some(0)), "{found:#}");
    let all = found["findings"].to_string();
    for part in [
        "\"of\":\"engine el3\"",
        "answers within",
        "mainstay-sim/",
        "3 nodes offer the same 20 methods",
        "2 beacon nodes have one genesis and the same forks",
        "Sim/v",
        "\"of\":\"rpc redis://127.0.0.1",
        "\"of\":\"relay etcd://127.0.0.1",
        &format!("relay {}", outer.address()),
        "mode 0600",
        "open files",
    ] {
        assert!(all.contains(part), "{part} is not in {found:#}");
    }
    assert!(!all.contains("hunter2"), "{all}");

    let done = place.run(&["doctor", "--config", "m.toml"], &[]);
    assert!(done.status == Some(0) && done.out.contains("0 failures\n"), "{}", done.out);
    assert!(done.out.contains("ok    reachability   engine el1"), "{}", done.out);
}

#[test]
fn each_fault_of_a_node_is_found_with_what_to_do() {
    let place = place();
    let els = Els::start(&["el1", "el2", "el3"]);
    let config = els.config();
    let odd = &els.all[1];
    let look = |case: &str, expected: &[&str], failed: bool| {
        let (found, status) = doctor(&place, &config);
        let told = wrong(&found);
        assert_eq!(told.len(), expected.len(), "{case}: {told:#?}");
        for (told, parts) in told.iter().zip(expected) {
            for part in parts.split('*') {
                assert!(told.contains(part), "{case}: {part:?} is not in {told:?}");
            }
        }
        assert_eq!(status, Some(i32::from(failed)), "{case}");
    };
    look("well", &[], false);
    for (fault, expected) in [
        (Fault::Down, "reachability fail engine el2: connection refused"),
        (Fault::WrongChain(5), "reachability fail engine el2: is on chain 5, the others are on 1337"),
        (
            Fault::HttpError(500, "no".to_owned()),
            "reachability fail engine el2: answered eth_chainId with HTTP 500",
        ),
        (Fault::Garbage, "reachability fail engine el2: *no JSON-RPC reply"),
        (Fault::Reset, "reachability fail engine el2: "),
        (Fault::Hang, "reachability fail engine el2: timed out"),
    ] {
        let case = format!("{fault:?}");
        odd.set(fault);
        look(&case, &[expected], true);
        odd.heal();
    }

    odd.with(|el| el.config_mut().capabilities.retain(|method| method != "engine_getBlobsV3"));
    look(
        "a method less",
        &["capabilities warn engine el2: lacks what others have: engine_getBlobsV3"],
        false,
    );
    odd.with(|el| el.config_mut().capabilities.push("engine_getBlobsV3".to_owned()));

    let forks = |next: &str| {
        format!(r#"{{"current":{{"activationTime":0,"forkId":"0x01"}},"next":{next},"last":null}}"#)
    };
    let next = format!(r#"{{"activationTime":{},"forkId":"0x02"}}"#, seconds() + 86400);
    for el in &els.all {
        el.with(|el| el.can("eth_config", &forks(&next)));
    }
    look("a fork that all know", &[], false);
    odd.with(|el| el.can("eth_config", &forks("null")));
    look(
        "a fork that one doesn't know",
        &["forks fail engine el2: knows no next fork, the others know 0x02 in "],
        true,
    );
    odd.with(|el| el.can("eth_config", &forks(&next)));

    let block = |number: u64, byte: &str, time: u64| {
        format!(r#"{{"number":"{number:#x}","hash":"0x{}","timestamp":"{time:#x}"}}"#, byte.repeat(32))
    };
    odd.with(|el| el.can("eth_getBlockByNumber", &block(9, "aa", seconds() - 7200)));
    look("a head of yesterday", &["clocks warn engine el2: its newest block is 2h"], false);
    odd.with(|el| el.can("eth_getBlockByNumber", &block(9, "aa", seconds() + 600)));
    look("a head of tomorrow", &["clocks fail engine el2: its newest block is * s ahead of our clock"], true);
    for (el, byte) in els.all.iter().zip(["aa", "bb", "aa"]) {
        el.with(|el| el.can("eth_getBlockByNumber", &block(0, byte, 5)));
    }
    look(
        "another network",
        &["forks fail engine el2: its first block is 0xbbbbbbbb…, the others' is 0xaaaaaaaa…"],
        true,
    );
}

/// Refuses every call, with a clock of its own.
fn refuses(ahead: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let head = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            // The body is read no more than the head tells that there is one.
            let _ = head.take_while(|line| !line.is_empty()).count();
            let date = httpdate::fmt_http_date(wall() + ahead);
            let _ = write!(
                stream,
                "HTTP/1.1 401 Unauthorized\r\ndate: {date}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
        }
    });
    address
}

#[test]
fn secrets_clocks_and_addresses() {
    let place = place();
    let els = Els::start(&["el1"]);
    let config = els.config();
    let found = |config: &str| {
        let (found, status) = doctor(&place, config);
        (wrong(&found).join("\n"), status)
    };
    let with = |node: &str| {
        let (before, _) = config.split_once("nodes = [").unwrap();
        format!("{before}nodes = [\"{node}\"]\n")
    };

    place.file("other.hex", &"22".repeat(32));
    mode(&place, "other.hex", 0o640);
    let (told, status) = found(&with(&format!("{}#name=odd#jwt-secret=other.hex", els.all[0].url())));
    assert!(
        told.contains(
            "reachability fail engine odd: refuses the token (HTTP 401): its secret is another one"
        ),
        "{told}"
    );
    assert_eq!(status, Some(1));

    let (told, _) = found(&with(&format!("http://{}#name=odd", refuses(Duration::from_secs(90)))));
    assert!(
        told.contains("reachability fail engine odd: refuses the token (HTTP 401): its clock is +"),
        "{told}"
    );
    assert!(told.contains("clocks fail engine odd: its clock is +"), "{told}");

    let (told, _) = found(&with(&format!("{}#name=odd", els.all[0].url().replace("http://", "https://"))));
    assert!(told.contains("reachability fail engine odd: TLS handshake failed"), "{told}");

    mode(&place, "jwt.hex", 0o644);
    let (told, status) = found(&config);
    assert!(told.contains("jwt.hex: everybody on this machine may read it (mode 0644)"), "{told}");
    assert_eq!(status, Some(0), "a warning: {told}");
    place.file("jwt.hex", "beef");
    let (told, status) = found(&config);
    assert_eq!(told.lines().count(), 1, "told once, whoever finds it: {told}");
    assert!(told.starts_with("secrets fail ") && told.contains("64 hexadecimal digits"), "{told}");
    assert_eq!(status, Some(1));
    std::fs::remove_file(place.path().join("jwt.hex")).unwrap();
    let (told, _) = found(&config);
    assert!(told.lines().count() == 1 && told.contains("jwt.hex: No such file"), "{told}");
}

#[test]
fn beacon_nodes_that_differ() {
    let place = place();
    let els = Els::start(&["el1"]);
    let guard = els.runtime.enter();
    let well = beacon(&els.runtime, "b1", |_| {});
    let same = beacon(&els.runtime, "b2", |_| {});
    let other = beacon(&els.runtime, "b3", |state| state.genesis_root = Hash::of(&[b"elsewhere"]));
    drop(guard);
    let urls =
        [well.url(), same.url(), other.url(), els.all[0].url()].map(|url| format!("\"{url}\"")).join(", ");
    let listen = ["\"127.0.0.1:0\""; 4].join(", ");
    let config =
        format!("[admin]\nlisten = \"127.0.0.1:0\"\n[beacon]\nlisten = [{listen}]\nbeacon_node = [{urls}]\n");
    let (found, status) = doctor(&place, &config);
    let told = wrong(&found);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(
        told[0].starts_with("reachability fail beacon beacon-4: answered /eth/v1/node/version"),
        "{told:#?}"
    );
    assert!(told[1].starts_with("forks fail beacon beacon-3: is on another network: "), "{told:#?}");
    assert_eq!(status, Some(1));
}

#[test]
fn stores_and_peers_that_do_not_answer() {
    let place = place();
    let (_redis, port) = redis(&place, "hunter2");
    let els = Els::start(&["el1"]);
    let guard = els.runtime.enter();
    let plain = els.runtime.block_on(ElServer::start(El::new("r1", genesis(7, seconds())), None)).unwrap().0;
    drop(guard);
    let nobody = "127.0.0.1:1";
    let config = format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[[rpc]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nnodes = [\"{url}\"]\nredis = \"redis://:wrong@127.0.0.1:{port}\"\n\
         [[rpc]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nnodes = [\"{url}\"]\nredis = \"redis://:wrong@{nobody}\"\n\
         [relay]\nlisten = \"127.0.0.1:0\"\nouter = [\"{nobody}\"]\nproducer = [\"prodx\"]\nclaims = \"etcd://root:wrong@{nobody}\"\n",
        url = plain.url()
    );
    let (found, status) = doctor(&place, &config);
    let told = wrong(&found);
    assert_eq!(told.len(), 4, "{told:#?}");
    for (of, part) in [
        (format!("rpc a redis://127.0.0.1:{port}/0: "), ""),
        (format!("rpc b redis://{nobody}/0: "), ""),
        (format!("relay etcd://{nobody}"), ""),
        (format!("relay {nobody}: "), "refused"),
    ] {
        let one =
            told.iter().find(|one| one.contains(&of)).unwrap_or_else(|| panic!("{of} is not in {told:#?}"));
        assert!(one.starts_with("reachability fail ") && one.contains(part), "{one}");
    }
    let all = found.to_string();
    assert!(!all.contains("wrong@") && !all.contains(":wrong"), "{all}");
    assert_eq!(status, Some(1));
}

#[test]
fn a_port_that_is_taken_is_told_with_its_holder() {
    let place = place();
    let els = Els::start(&["el1"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config =
        els.config().replacen("listen = \"127.0.0.1:0\"\njwt", &format!("listen = \"{address}\"\njwt"), 1);
    let (found, status) = doctor(&place, &config);
    let told = wrong(&found);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].starts_with(&format!("ports fail engine {address}: ")), "{told:#?}");
    assert!(told[0].contains(&format!("(pid {})", std::process::id())), "{told:#?}");
    assert_eq!(status, Some(1));
    drop(taken);

    // The mainstay that it is for.
    let mut running = place.start(&["run", "--config", "m.toml", "--log-format", "logfmt"], &[]);
    running.address("engine");
    let (found, status) = doctor(&place, &config);
    assert_eq!((wrong(&found), status), (Vec::new(), Some(0)));
    assert!(
        found.to_string().contains(&format!("a mainstay has it (pid {})", running.pid().as_raw_nonzero())),
        "{found:#}"
    );
}

#[test]
fn what_is_wrong_with_the_settings_is_a_finding_too() {
    let place = place();
    let els = Els::start(&["el1"]);
    let (found, status) = doctor(&place, &(els.config() + "timeot = \"5s\"\n"));
    let told = wrong(&found);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].starts_with("configuration fail settings: m.toml:") && told[0].contains("timeot"),
        "{told:#?}"
    );
    assert_eq!(status, Some(1));
    let done = place.run(&["doctor", "--config", "none.toml"], &[]);
    assert_eq!((done.status, done.out.as_str()), (Some(2), ""));
    let done = place.run(
        &[
            "doctor",
            "rpc",
            "-n",
            "http://127.0.0.1:1",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ],
        &[],
    );
    assert!(done.status == Some(1) && done.out.contains("FAIL  reachability"), "{}", done.out);
}
