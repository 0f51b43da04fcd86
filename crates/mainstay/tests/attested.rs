//! Nodes that prove what they run, before the binary: a server of the tests' own speaks RA-TLS and aTLS, under an Intel and an AMD of their
//! own, whom `[attest]` says to trust.
#![allow(clippy::unwrap_used)]

#[path = "../../attested/tests/peer/mod.rs"]
mod peer;
mod support;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use mainstay_attest::uri::MrEnclave;
use mainstay_attest::when;
use peer::common::{Enclave, Intel, Told};
use peer::{Identity, Peer, chips, sev, sev_user, sgx, sgx_user, tdx, tdx_user};
use serde_json::json;
use support::http::{ask, eventually};
use support::{Place, Running};
use tokio::runtime::Runtime;

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_sendPrivateTransaction","params":["0x5ec4e7"]}"#;

static INTEL: LazyLock<Arc<Intel>> = LazyLock::new(|| Arc::new(Intel::new()));
/// Servers live on it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

#[allow(clippy::disallowed_methods, reason = "the binary looks at the clock, and so do those who vouch")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn start(issue: impl Fn(Option<&str>) -> Identity + Send + Sync + 'static) -> Peer {
    RUNTIME.block_on(Peer::start(issue))
}

/// A folder with whom to trust, and collateral that is good now.
fn place() -> Place {
    let place = Place::new();
    let day = |days: u64| Duration::from_secs(days * 86_400);
    let told = |time| -> &'static str { when::written(time).leak() };
    let told = Told { issued: told(now() - day(2)), next: told(now() + day(20)), ..Told::default() };
    place.file("sgx.json", &INTEL.collateral(&told).to_string());
    place.file("intel.pem", &INTEL.root_pem());
    std::fs::write(place.path().join("amd.pem"), chips::ARK).unwrap();
    place
}

const ATTEST: &str = "\
[log]
format = \"logfmt\"
[admin]
listen = \"127.0.0.1:0\"
[attest]
collateral_url = \"off\"
collateral_files = [\"sgx.json\"]
intel_root = \"intel.pem\"
amd_roots = \"amd.pem\"
";

fn run(place: &Place, role: &str) -> Running {
    place.file("mainstay.toml", &format!("{ATTEST}{role}"));
    place.start(&["run"], &[])
}

fn uri(peer: &Peer, user: &str) -> String {
    json!({"uri": peer.url(user), "force": false}).to_string()
}

/// Nothing ever came to it behind a handshake.
#[track_caller]
fn got_nothing(peer: &Peer) {
    let seen = peer.seen();
    assert!(!seen.is_empty());
    for one in seen {
        assert_eq!(one.received, b"", "{one:?}");
        assert!(matches!(one.shaken, None | Some(Err(_))), "{one:?}");
    }
}

fn other_pcr(scene: &mut chips::Scene) {
    scene.pcrs.insert(4, [0x44; 32]);
    scene.signed = scene.pcrs.clone();
}

#[test]
fn nodes_that_prove_what_they_run_are_added_by_the_api_and_asked_and_others_get_nothing() {
    let place = place();
    let role = "[rpc]\nlisten = \"127.0.0.1:0\"\nhealth = \"net_version\"\nprobe_interval = \"100ms\"\nstate_dir = \"state\"\n";
    let mut running = run(&place, role);
    let address = running.address("rpc");
    let admin = running.address("admin");

    let enclave = start(sgx(&INTEL, &Enclave::default()));
    let machine = start(sev(now(), |_| {}));
    for (peer, user) in [(&enclave, sgx_user()), (&machine, sev_user())] {
        ask(&address, "POST", "/nodes", &uri(peer, &user)).fine();
        assert!(ask(&address, "POST", "/", CALL).fine().contains("from the enclave"));
        let received = String::from_utf8(peer.received()).unwrap();
        assert!(
            received.contains("0x5ec4e7") && !received.to_lowercase().contains("authorization"),
            "{received}"
        );
        ask(&address, "DELETE", "/nodes", &uri(peer, &user)).fine();
    }

    ask(&address, "POST", "/nodes", &uri(&enclave, &sgx_user())).fine();
    let another = Enclave { measured: MrEnclave([1; 32]), ..Enclave::default() };
    for (peer, user, reason) in [
        (start(sgx(&INTEL, &another)), sgx_user(), "enclave: MRENCLAVE is 0101"),
        (start(sev(now(), other_pcr)), sev_user(), "measurements: PCR 4 is 4444"),
    ] {
        let reply = ask(&address, "POST", "/nodes", &uri(&peer, &user));
        assert_eq!(reply.status, 400);
        assert!(reply.body.contains(&format!("not attested: {reason}")), "{}", reply.body);
        // On the list all the same it is unfit, and says why.
        ask(&address, "POST", "/nodes", &uri(&peer, &user).replace("false", "true")).fine();
        eventually("unfit with the reason", || {
            ask(&admin, "GET", "/api/v1/rpc/rpc", "").fine().contains(&format!("not attested: {reason}"))
        });
        for _ in 0..10 {
            assert!(ask(&address, "POST", "/", CALL).fine().contains("from the enclave"));
        }
        got_nothing(&peer);
    }

    // The list has it byte for byte; nobody is shown it.
    let stored: String = std::fs::read_dir(place.path().join("state"))
        .unwrap()
        .filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok())
        .collect();
    assert!(stored.contains(&enclave.url(&sgx_user())), "{stored}");
    let list = ask(&address, "GET", "/nodes", "").fine();
    assert!(list.contains(&format!("https://SGX_***@{}", enclave.address)), "{list}");
    for user in [sgx_user(), sev_user()] {
        assert!(!list.contains(&user[..12]), "{list}");
        assert!(running.seen.iter().all(|line| !line.contains(&user[..12])), "{:#?}", running.seen);
    }
}

/// In the lists of all roles: who proves it is asked, who doesn't gets nothing.
#[test]
fn every_role_verifies_its_nodes() {
    let listen = "listen = \"127.0.0.1:0\"\n";
    let signed = "jwt_secret = \"jwt.hex\"\n";
    let two = "[beacon]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n".to_owned();
    for (role, text, key) in [
        ("rpc", format!("[rpc]\n{listen}"), "nodes"),
        ("engine", format!("[engine]\n{listen}{signed}"), "nodes"),
        ("sync", format!("[sync]\n{listen}{signed}"), "nodes"),
        ("beacon", two.clone(), "beacon_node"),
        (
            "beacon",
            format!("{two}beacon_node = [\"http://127.0.0.1:1\", \"http://127.0.0.1:2\"]\n"),
            "execution_node",
        ),
    ] {
        let place = place();
        let good = start(sev(now(), |_| {}));
        let bad = start(sev(now(), other_pcr));
        let nodes = [good.url(&sev_user()), bad.url(&sev_user())];
        let mut running = run(&place, &format!("{text}{key} = {nodes:?}\n"));
        let admin = running.address("admin");
        RUNTIME.block_on(good.sees(|seen| seen.iter().any(|one| !one.received.is_empty())));
        // More than once: it isn't taken by and by either.
        RUNTIME.block_on(bad.sees(|seen| seen.iter().filter(|one| one.over).count() > 1));
        eventually("the reason is told", || {
            let told = ask(&admin, "GET", &format!("/api/v1/{role}/{role}"), "").fine();
            told.contains("not attested: measurements: PCR 4 is 4444")
        });
        got_nothing(&bad);
        let received = String::from_utf8_lossy(&good.received()).to_lowercase();
        assert!(!received.contains("authorization: basic"), "{role} {key}: {received}");
    }
}

#[test]
fn a_node_whose_collateral_nobody_has_is_refused_by_the_settings() {
    let place = place();
    let off = "[attest]\ncollateral_url = \"off\"\n[rpc]\n";
    let sgx = format!("nodes = [\"https://{}@127.0.0.1:1\"]\n", sgx_user());
    place.file("mainstay.toml", &format!("{off}{sgx}"));
    let done = place.run(&["check"], &[]);
    assert_eq!(done.status, Some(2), "{}{}", done.out, done.err);
    assert!(done.err.contains("mainstay.toml:4: [rpc] nodes: 127.0.0.1:1: "), "{}", done.err);
    assert!(done.err.contains("collateral"), "{}", done.err);
    assert!(!done.err.contains(&sgx_user()[..12]), "{}", done.err);
    // AMD's machines need none.
    place.file("mainstay.toml", &format!("{off}nodes = [\"https://{}@127.0.0.1:1\"]\n", sev_user()));
    assert_eq!(place.run(&["check"], &[]).status, Some(0));
}

#[test]
fn a_tdx_machine_is_asked_and_probed_by_check() {
    let place = place();
    place.file("tdx.json", &INTEL.tdx_collateral("UpToDate").to_string());
    let good = start(tdx(INTEL.clone(), now()));
    let bad = start(tdx(Arc::new(Intel::new()), now()));
    let probe = |peer: &Peer| {
        let nodes = format!("[rpc]\nnodes = [\"{}\"]\n", peer.url(&tdx_user()));
        place.file("mainstay.toml", &format!("{}{nodes}", ATTEST.replace("sgx.json", "tdx.json")));
        place.run(&["check", "--probe"], &[])
    };
    let done = probe(&good);
    assert_eq!(done.status, Some(0), "{}{}", done.out, done.err);
    let done = probe(&bad);
    assert_eq!(done.status, Some(1), "{}{}", done.out, done.err);
    assert!(done.out.contains("not attested: platform: "), "{}", done.out);
    got_nothing(&bad);
}
