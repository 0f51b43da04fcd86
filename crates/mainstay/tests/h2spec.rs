//! HTTP/2 in the clear (h2c) as each listener speaks it, judged by h2spec: RFC 9113 (its edition of RFC 7540) and RFC 7541.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use mainstay_sim::beacon::BeaconState;
use mainstay_sim::chain::genesis;
use mainstay_sim::{BeaconServer, El, ElServer};
use mainstay_wire::jwt::Secret;
use support::http::{ask, eventually};
use support::{Place, Running};
use tokio::runtime::Runtime;

/// What `tests/tools.sh` builds.
const H2SPEC: &str = "h2spec-2.2.1/h2spec";
/// How often a section is tried again in which something failed.
const TRIES: usize = 4;

/// A section of h2spec, and the case in it.
type Case = (String, String);

/// A case that may fail, as h2spec names it. Why that is no fault stands where it is listed.
struct Exception {
    section: &'static str,
    case: &'static str,
}

/// HTTP/1.1 is spoken on the same port and told apart by the first bytes. What isn't the preface of HTTP/2 is HTTP/1.1, so it is answered with 400
/// in that and the connection is closed, where h2spec wants it closed without a word.
const PREFACE: Exception = Exception { section: "http2/3.5", case: "Sends invalid connection preface" };

/// Who comes without a token is answered 401, without a body and before its own is read.
const REFUSED: [Exception; 5] = [
    // These look for DATA in the answer, which ends with its HEADERS.
    Exception { section: "generic/2", case: "Sends a WINDOW_UPDATE frame on half-closed (remote) stream" },
    Exception { section: "generic/2", case: "Sends a PRIORITY frame on half-closed (remote) stream" },
    // This fills the connection with requests that wait for their answers: here none waits.
    Exception {
        section: "http2/5.1.2",
        case: "Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded",
    },
    // What is wrong in these comes after the answer.
    Exception { section: "http2/8.1", case: "Sends a second HEADERS frame without the END_STREAM flag" },
    Exception {
        section: "http2/8.1.2.6",
        case: "Sends a HEADERS frame with the \"content-length\" header field which does not equal the DATA frame payload length",
    },
];

#[allow(clippy::disallowed_methods, reason = "tools are where the environment says")]
fn h2spec() -> PathBuf {
    let tools = std::env::var_os("E2E_TOOLS").filter(|folder| !folder.is_empty()).map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools")),
        PathBuf::from,
    );
    let path = tools.join(H2SPEC);
    assert!(
        path.exists(),
        "{} is missing: run tests/tools.sh h2spec (or set E2E_TOOLS to where it put it)",
        path.display()
    );
    path
}

/// The cases that fail each time and may not, of all that h2spec has, and how many it has. Many are two frames in a row: where the answer is out before the second comes
/// the stream is over, and that frame is rightly ignored. So what fails once is tried again.
fn failed(place: &Place, role: &str, address: &str, may: impl Fn(&Case) -> bool) -> (BTreeSet<Case>, usize) {
    let (mut failed, all) = run(place, role, address, None);
    failed.retain(|case| !may(case));
    for _ in 0..TRIES {
        let sections: BTreeSet<String> = failed.iter().map(|(section, _)| section.clone()).collect();
        let again = sections.iter().flat_map(|section| run(place, role, address, Some(section)).0);
        let again: BTreeSet<Case> = again.collect();
        failed.retain(|case| again.contains(case));
    }
    (failed, all)
}

/// Runs h2spec, or a section of it; the cases that failed, and how many there were.
fn run(place: &Place, role: &str, address: &str, section: Option<&String>) -> (BTreeSet<Case>, usize) {
    let (host, port) = address.rsplit_once(':').unwrap();
    let report = place.path().join(format!("{role}.xml"));
    let mut h2spec = Command::new(h2spec());
    // A case that fails waits for so long; one that doesn't is over at once.
    h2spec.args(["--host", host, "--port", port, "--timeout", "3", "--junit-report"]).arg(&report);
    let done = h2spec.args(section).output().unwrap();
    let report = std::fs::read_to_string(&report).unwrap_or_else(|why| panic!("{role}: {why}: {done:?}"));
    let cases: Vec<&str> = report.split("<testcase ").skip(1).collect();
    let wrong = cases.iter().filter(|case| case.contains("<failure") || case.contains("<error"));
    let named = wrong.map(|case| (attribute(case, "package"), attribute(case, "classname")));
    (named.collect(), cases.len())
}

/// The value of an attribute in a piece of XML.
fn attribute(text: &str, name: &str) -> String {
    let value = text.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap();
    value.replace("&#34;", "\"").replace("&quot;", "\"")
}

#[test]
fn every_listener_speaks_http2() {
    h2spec();
    let place = Place::new();
    let runtime = Runtime::new().unwrap();
    let guard = runtime.enter();
    #[allow(clippy::disallowed_methods, reason = "a chain has a clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let secret = Secret::from_hex(&"11".repeat(32)).unwrap();
    let el = runtime.block_on(ElServer::start(El::new("el", genesis(7, now)), Some(secret))).unwrap().0;
    let plain = runtime.block_on(ElServer::start(El::new("plain", genesis(7, now)), None)).unwrap().0;
    let state = BeaconState { genesis_time: now - 1200, ..BeaconState::default() };
    let beacon = runtime.block_on(BeaconServer::start("beacon", state)).unwrap();
    drop(guard);
    place.file(
        "m.toml",
        &format!(
            "[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"logfmt\"\n\
             [engine]\nlisten = \"127.0.0.1:0\"\njwt_secret = \"jwt.hex\"\nnodes = [\"{el}\"]\n\
             [sync]\nlisten = \"127.0.0.1:0\"\njwt_secret = \"jwt.hex\"\nnodes = [\"{el}\"]\n\
             [rpc]\nlisten = \"127.0.0.1:0\"\nnodes = [\"{plain}\"]\n\
             [beacon]\nlisten = [\"127.0.0.1:0\"]\nbeacon_node = [\"{beacon}\"]\n",
            el = el.url(),
            plain = plain.url(),
            beacon = beacon.url()
        ),
    );
    let mut running: Running = place.start(&["run", "--config", "m.toml"], &[]);
    let [engine, sync, rpc, guard, admin] =
        ["engine", "sync", "rpc", "beacon", "admin"].map(|role| running.address(role));
    // Else answers wait for a node, and h2spec for them.
    eventually("all nodes are fit", || {
        let roles = ask(&admin, "GET", "/api/v1/roles", "").fine();
        ["rpc", "engine", "beacon"].iter().all(|role| {
            let roles: serde_json::Value = serde_json::from_str(&roles).unwrap();
            roles["roles"]
                .as_array()
                .unwrap()
                .iter()
                .any(|it| it["role"] == *role && it["state"]["nodes"][0]["fit"] == true)
        })
    });

    for (role, address, exceptions) in [
        ("admin", admin, &[][..]),
        ("engine", engine, &REFUSED),
        ("sync", sync, &REFUSED),
        ("rpc", rpc, &[]),
        ("beacon", guard, &[]),
    ] {
        let may = |(section, case): &Case| {
            let is = |it: &Exception| section == it.section && case == it.case;
            is(&PREFACE) || exceptions.iter().any(is)
        };
        let (wrong, all) = failed(&place, role, &address, may);
        assert!(all > 140, "{role}: only {all} cases");
        assert!(wrong.is_empty(), "{role}: of {all} cases these fail: {wrong:#?}");
    }
}
