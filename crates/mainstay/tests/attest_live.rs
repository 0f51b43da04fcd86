//! `mainstay attest URI` against nodes of our own, over real sockets.
#![allow(clippy::unwrap_used)]

#[path = "../../attested/tests/peer/mod.rs"]
mod peer;
mod support;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use mainstay_attest::when;
use peer::common::{Enclave, Intel, Told};
use peer::{Peer, chips, sev, sev_user, sgx, sgx_user};
use support::http::{ask, eventually};
use support::{Done, Place};

static INTEL: LazyLock<Intel> = LazyLock::new(Intel::new);
const DAY: Duration = Duration::from_secs(86_400);

#[allow(clippy::disallowed_methods, reason = "the binary judges as of now")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// A day, as collateral is dated.
fn midnight(time: SystemTime) -> &'static str {
    let written = when::written(time);
    Box::leak(format!("{}T00:00:00Z", &written[..10]).into_boxed_str())
}

async fn run(place: &Arc<Place>, arguments: &[&str]) -> Done {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let place = place.clone();
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        place.run(&arguments, &[])
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// The command line that a dump came with.
fn again<'a>(done: &'a Done, uri: &'a str) -> Vec<&'a str> {
    let line = done.out.lines().find_map(|line| line.strip_prefix("to verify it again: mainstay ")).unwrap();
    line.split(' ').map(|word| if word == "URI" { uri } else { word }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enclave_is_explained_and_kept() {
    let peer = Peer::start(sgx(&INTEL, &Enclave::default())).await;
    let place = Arc::new(Place::new());
    let told = Told { issued: midnight(now() - DAY), next: midnight(now() + 10 * DAY), ..Told::default() };
    place.file("collateral.json", &INTEL.collateral(&told).to_string());
    place.file("root.pem", &INTEL.root_pem());
    place.file(
        "mainstay.toml",
        "[attest]\nintel_root = \"root.pem\"\ncollateral_files = [\"collateral.json\"]\ncollateral_url = \"off\"\n",
    );
    let uri = peer.url(&sgx_user());
    let done = run(&place, &["attest", &uri, "--dump", "kept"]).await;
    assert_eq!((done.status, done.err.as_str()), (Some(0), ""), "{}", done.out);
    for part in [
        &*format!("https://SGX_***@{}\n", peer.address),
        "evidence     held  TCG DICE",
        "enclave      held  MRENCLAVE e5e5",
        "tcb          held  UpToDate",
        "  as expected\n",
        &format!("verified: holds until {}\n", told.next),
    ] {
        assert!(done.out.contains(part), "no {part:?} in {}", done.out);
    }
    assert_eq!(peer.received(), b"", "nothing is asked of it");
    // What was kept gives the same, whoever looks at it.
    let line = again(&done, &uri);
    let kept = run(&place, &[&line[..], &["--roots", "root.pem"]].concat()).await;
    assert_eq!(kept.status, Some(0), "{}{}", kept.out, kept.err);
    assert_eq!(run(&place, &line).await.status, Some(3), "under Intel's own root");

    let other = peer.url(&format!("SGX_{}", "00".repeat(32)));
    let done = run(&place, &["attest", &other, "--json", "--dump", "refused"]).await;
    assert_eq!(done.status, Some(3), "{}{}", done.out, done.err);
    let json: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&json["verdict"], &json["step"]), (&"refused".into(), &"enclave".into()), "{json}");
    assert_eq!(json["node"], format!("https://SGX_***@{}", peer.address));
    assert_eq!(json["dump"]["certificate"], "refused/certificate.der");
    assert!(place.path().join("refused/certificate.der").exists());

    // Without the tests' own root it is nobody's; without collateral it is refused for that.
    let done = run(&place, &["attest", &uri, "--config", "none.toml"]).await;
    assert_eq!(done.status, Some(2));
    place.file("bare.toml", "[attest]\nintel_root = \"root.pem\"\ncollateral_url = \"http://127.0.0.1:1\"\n");
    let done = run(&place, &["attest", &uri, "--config", "bare.toml"]).await;
    assert_eq!(done.status, Some(3), "{}{}", done.out, done.err);
    assert!(done.out.contains("refused: collateral"), "{}", done.out);
    place.file(
        "theirs.toml",
        "[attest]\ncollateral_files = [\"collateral.json\"]\ncollateral_url = \"off\"\n",
    );
    let done = run(&place, &["attest", &uri, "--config", "theirs.toml"]).await;
    assert_eq!(done.status, Some(3));
    assert!(done.out.contains("refused: platform"), "{}", done.out);
    assert_eq!(peer.received(), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_explained_for_its_connection_alone() {
    let peer = Peer::start(sev(now(), |_| {})).await;
    let place = Arc::new(Place::new());
    place.file("ark.pem", std::str::from_utf8(chips::ARK).unwrap());
    let uri = peer.url(&sev_user());
    let done = run(&place, &["attest", &uri, "--attest-amd-roots", "ark.pem", "--dump", "kept"]).await;
    assert_eq!((done.status, done.err.as_str()), (Some(0), ""), "{}", done.out);
    assert!(done.out.contains("nonce"), "{}", done.out);
    let line = again(&done, &uri);
    let roots = ["--roots", "ark.pem"];
    let kept = run(&place, &[&line[..], &roots].concat()).await;
    assert_eq!(kept.status, Some(0), "{}{}", kept.out, kept.err);
    let mut other: Vec<&str> = [&line[..], &roots].concat();
    let nonce = other.iter().position(|word| *word == "--nonce").unwrap();
    other[nonce + 1] = "00";
    assert!(run(&place, &other).await.out.contains("refused: nonce"));

    // The minimum is a setting.
    let newer = ["attest", &uri, "--attest-amd-roots", "ark.pem", "--attest-sev-min-microcode", "200"];
    let done = run(&place, &newer).await;
    assert_eq!(done.status, Some(3));
    assert!(done.out.contains("refused: tcb"), "{}", done.out);
    // AMD's own roots know nothing of it.
    let done = run(&place, &["attest", &uri]).await;
    assert!(done.status == Some(3) && done.out.contains("refused: chain"), "{}{}", done.out, done.err);
    assert_eq!(peer.received(), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_nothing_to_verify_that_is_told() {
    let place = Arc::new(Place::new());
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (arguments, part) in [
        (&["attest", &*format!("https://{}@{closed}", sgx_user())][..], "nothing to verify"),
        (&["attest", "https://127.0.0.1:1"], "asks for no attestation"),
        (&["attest", "verify-this"], "not a URL"),
        (&["attest", "https://SGX_00@127.0.0.1:1"], "64 hex digits"),
        (
            &["attest", &format!("https://{}@{closed}", sgx_user()), "--attest-collateral-url", "off"],
            "set [attest] collateral_url",
        ),
        (&["attest", &sgx_user(), "--attest-sev-min-snp", "256"], "256 is not between 0 and 255"),
    ] {
        let done = run(&place, arguments).await;
        assert_eq!((done.status, done.out.as_str()), (Some(2), ""), "{arguments:?}: {}", done.err);
        assert!(done.err.contains(part), "{arguments:?}: {}", done.err);
        assert!(!done.err.contains("e5e5"), "{}", done.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nodes_of_a_role_proved_is_shown() {
    let good = Peer::start(sev(now(), |_| {})).await;
    let bad = Peer::start(sev(now(), |scene| {
        scene.pcrs.insert(4, [0x44; 32]);
        scene.signed = scene.pcrs.clone();
    }))
    .await;
    let place = Arc::new(Place::new());
    place.file("ark.pem", std::str::from_utf8(chips::ARK).unwrap());
    let nodes = format!("{},{}", good.url(&sev_user()), bad.url(&sev_user()));
    let role = ["rpc", "--nodes", &nodes, "--health", "net_version", "--probe-interval", "100ms"];
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "logfmt"];
    let roots = ["--attest-amd-roots", "ark.pem"];
    let mut running = place.start(&[&role[..], &ports, &roots].concat(), &[]);
    let (there, addresses) = (place.clone(), (good.address, bad.address));
    let looked = tokio::task::spawn_blocking(move || {
        let admin = running.address("admin");
        let mut shown = serde_json::Value::Null;
        eventually("both nodes have been judged", || {
            let answer = ask(&admin, "GET", "/api/v1/rpc/rpc/nodes", "").fine();
            shown = serde_json::from_str(&answer).unwrap();
            let nodes = shown["nodes"].as_array().unwrap();
            nodes.len() == 2 && nodes.iter().all(|node| node["attestation"].is_object())
        });
        let metrics = ask(&admin, "GET", "/metrics", "").fine();
        (shown, metrics, there.run(&["status", "--admin-listen", &admin], &[]))
    });
    let (shown, metrics, status) = looked.await.unwrap();
    let proved = |address: std::net::SocketAddr| {
        let nodes = shown["nodes"].as_array().unwrap();
        let node = nodes.iter().find(|node| node["name"].as_str().unwrap().contains(&address.to_string()));
        node.unwrap()["attestation"].clone()
    };
    let (held, refused) = (proved(addresses.0), proved(addresses.1));
    assert_eq!((&held["form"], &held["verdict"]), (&"sev".into(), &"held".into()), "{held}");
    assert_eq!(held["measured"][0]["name"], "PCR 4");
    assert_eq!(
        (&refused["verdict"], &refused["step"]),
        (&"refused".into(), &"measurements".into()),
        "{refused}"
    );
    for (address, gauge) in [(addresses.0, 1), (addresses.1, 0)] {
        let line =
            format!("mainstay_attest_node_held{{node=\"https://SEV_***@{address}\",form=\"sev\"}} {gauge}");
        assert!(metrics.contains(&line), "no {line} in {metrics}");
    }
    assert!(
        metrics.contains("mainstay_attest_verdicts_total{form=\"sev\",verdict=\"measurements\"}"),
        "{metrics}"
    );
    for part in ["sev: held at ", "PCR 4 0404", "sev: REFUSED at ", " for its measurements: PCR 4 is 4444"] {
        assert!(status.out.contains(part), "no {part:?} in {}", status.out);
    }
    assert_eq!(bad.received(), b"");
}
