//! The dashboard in Chromium: the binary with all its roles among simulated nodes, looked at by `tests/ui/dashboard.mjs`.
#![allow(clippy::unwrap_used)]

#[path = "../../attested/tests/peer/mod.rs"]
mod peer;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_attest::uri::MrEnclave;
use mainstay_attest::when;
use mainstay_sim::beacon::BeaconState;
use mainstay_sim::chain::genesis;
use mainstay_sim::nodeos::{Nodeos, NodeosConfig};
use mainstay_sim::{BeaconServer, Cl, ClConfig, Control, El, ElHandle, ElServer};
use mainstay_wire::jwt::Secret;
use peer::common::{Enclave, Intel, Told};
use peer::{Peer, sgx, sgx_user};
use support::Place;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use url::Url;

const TOKEN: &str = "a-token-of-the-tests";
const SLOT: Duration = Duration::from_millis(500);

/// The wall clock, for slots.
#[allow(clippy::disallowed_methods)] // a chain has a clock
fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn the_dashboard_works_in_a_browser() {
    let tools = tools();
    let place = Place::new();
    let secret = Secret::from_hex(&"11".repeat(32)).unwrap();
    let runtime = Runtime::new().unwrap();
    let guard = runtime.enter();
    let first = genesis(7, wall());
    let el = |name: &str, secret: Option<Secret>| -> ElHandle {
        runtime.block_on(ElServer::start(El::new(name, first.clone()), secret)).unwrap().0
    };
    let voters: Vec<ElHandle> = ["el1", "el2", "el3"].map(|name| el(name, Some(secret.clone()))).into();
    let followers: Vec<ElHandle> = ["s1", "s2"].map(|name| el(name, Some(secret.clone()))).into();
    let served: Vec<ElHandle> = ["r1", "r2"].map(|name| el(name, None)).into();
    let beacon = |name: &str, peers| {
        let state = BeaconState { peers, genesis_time: wall() - 1200, ..BeaconState::default() };
        runtime.block_on(BeaconServer::start(name, state)).unwrap()
    };
    // The second has few peers, which its guard tells.
    let beacons = [beacon("b1", 70), beacon("b2", 3)];
    let sentry = runtime.block_on(Nodeos::listen(NodeosConfig::new("sentry"))).unwrap();

    // One enclave runs what it is to run, the other doesn't.
    let intel = Arc::new(Intel::new());
    let moment = |days: u64| -> &'static str {
        when::written(UNIX_EPOCH + Duration::from_secs(wall() + days * 86_400 - 2 * 86_400)).leak()
    };
    let told = Told { issued: moment(0), next: moment(20), ..Told::default() };
    place.file("sgx.json", &intel.collateral(&told).to_string());
    place.file("intel.pem", &intel.root_pem());
    let other = Enclave { measured: MrEnclave([1; 32]), ..Enclave::default() };
    let enclaves: Vec<Peer> = [Enclave::default(), other]
        .map(|enclave| runtime.block_on(Peer::start(sgx(&intel, &enclave))))
        .into();
    let attested: Vec<String> =
        enclaves.iter().map(|peer| format!("\"{}\"", peer.url(&sgx_user()))).collect();

    let urls = |els: &[ElHandle]| -> String {
        let urls: Vec<String> = els.iter().map(|el| format!("\"{}#name={}\"", el.url(), el.name())).collect();
        urls.join(", ")
    };
    let plain: Vec<String> = served.iter().map(|el| format!("\"{}\"", el.url())).collect();
    place.file("token", TOKEN);
    place.file(
        "m.toml",
        &format!(
            r#"
[log]
format = "logfmt"
[admin]
listen = "127.0.0.1:0"
token_file = "token"
[engine]
listen = "127.0.0.1:0"
nodes = [{voters}]
jwt_secret = "jwt.hex"
evidence_dir = "evidence"
probe_interval = "500ms"
[sync]
listen = "127.0.0.1:0"
nodes = [{followers}]
jwt_secret = "jwt.hex"
[attest]
collateral_url = "off"
collateral_files = ["sgx.json"]
intel_root = "intel.pem"
[[rpc]]
name = "rpc"
listen = "127.0.0.1:0"
nodes = [{served}]
[[rpc]]
name = "private"
listen = "127.0.0.1:0"
nodes = [{attested}]
health = "net_version"
probe_interval = "500ms"
[beacon]
listen = ["127.0.0.1:0", "127.0.0.1:0"]
beacon_node = ["{b1}", "{b2}"]
min_peers = [10]
max_sync_distance = "off"
warm_up = "0s"
[relay]
listen = "127.0.0.1:0"
outer = ["{outer}"]
producer = ["prodx"]
[[relay.node]]
name = "node-a"
agent = "node-a"
[[relay.node]]
name = "node-b"
agent = "node-b"
"#,
            voters = urls(&voters),
            followers = urls(&followers),
            served = plain.join(", "),
            attested = attested.join(", "),
            b1 = beacons[0].url(),
            b2 = beacons[1].url(),
            outer = sentry.address(),
        ),
    );
    let mut running = place.start(&["run", "--config", "m.toml"], &[]);
    let (engine, sync) = (running.address("engine"), running.address("sync"));
    let relay = running.address("relay");
    let admin = running.address("admin");
    let drive = |address: &str| {
        let url = Url::parse(&format!("http://{address}")).unwrap();
        let config = ClConfig::new(url, secret.clone(), first.clone()).slot(SLOT);
        Cl::new(config).unwrap().start()
    };
    let _driven = [drive(&engine), drive(&sync)];
    let _inner =
        ["node-a", "node-b"].map(|name| Nodeos::dial(NodeosConfig::new(name), relay.parse().unwrap()));
    let control = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let at = control.local_addr().unwrap().to_string();
    let all = voters.iter().chain(&followers).chain(&served).cloned().collect();
    tokio::spawn(Control::new(all).serve(control, CancellationToken::new()));
    drop(guard);

    let config = place.path().join("m.toml").display().to_string();
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter=spec", "--test-timeout=240000"])
        .arg(repository().join("tests/ui/dashboard.mjs"));
    node.envs([
        ("ADMIN", admin.as_str()),
        ("CONTROL", &at),
        ("CONFIG", &config),
        ("TOKEN", TOKEN),
        ("CHROMIUM", "/usr/bin/chromium"),
    ]);
    node.env("BINARY", env!("CARGO_BIN_EXE_mainstay")).env("TOOLS", &tools);
    if let Some(folder) = screenshots() {
        node.env("SCREENSHOTS", folder);
    }
    let done = node.output().expect("node has to be installed");
    let out = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{out}\n{}\n{:#?}", String::from_utf8_lossy(&done.stderr), running.seen);
    assert!(out.contains("ℹ pass 13"), "{out}");
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

// Tests' own switches are no settings of mainstay.
#[allow(clippy::disallowed_methods)]
fn tools() -> PathBuf {
    let root = match std::env::var_os("E2E_TOOLS").filter(|folder| !folder.is_empty()) {
        Some(folder) => std::path::absolute(folder).unwrap(),
        None => repository().join("target/tools"),
    };
    let tools = root.join("ui");
    assert!(tools.join("node_modules").exists(), "{} is missing: run `make tools`", tools.display());
    tools
}

#[allow(clippy::disallowed_methods)]
fn screenshots() -> Option<PathBuf> {
    std::env::var_os("UPDATE_SCREENSHOTS").map(|_| repository().join("docs/img"))
}
