//! Checks of the operator's own, from the settings to the gate; and the examples of docs/beacon-checks.md.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{SOON, config, refusal, start};
use http::StatusCode;
use mainstay_beacon::expect::{Facts, Seen};
use mainstay_node::Operated as _;
use mainstay_sim::beacon::{BeaconHandle, BeaconServer, BeaconState};
use mainstay_sim::{El, ElServer, Fault};
use prometheus_client::encoding::text::encode;
use tokio::time::timeout;

const ANY: &str = "/eth/v1/beacon/headers/head";
const VERSION: &str = "/eth/v1/node/version";

async fn node() -> BeaconHandle {
    BeaconServer::start("bn", BeaconState::default()).await.unwrap()
}

/// A check of the node's version, in three lines.
const NEW_ENOUGH: &str = "[[beacon.check]]\nname = \"version\"\npath = \"/eth/v1/node/version\"\nexpect = \"body.data.version.startsWith('Sim/')\"\n";

fn says(node: &BeaconHandle, version: &str) {
    let version = version.to_owned();
    node.with(|state| state.version = version);
}

#[tokio::test]
async fn a_check_of_ones_own_is_a_check_as_any_other() {
    let node = node().await;
    let role = start(config(&[node.url()], &format!("agent_check = [\"127.0.0.1:0\"]\n{NEW_ENOUGH}"))).await;
    role.until(0, "fit").await;
    let check = |name: &str| {
        let snapshot = role.handle.snapshot();
        snapshot.nodes[0].checks.iter().find(|check| check.name == name).unwrap().clone()
    };
    let version = check("version");
    assert!(version.holds && version.saw.contains("body.data.version = \"Sim/v"), "{version:?}");

    says(&node, "Other/v1");
    role.until(0, "unfit").await;
    let asked = node.count(ANY);
    let message = refusal(&role.get(0, ANY).await);
    assert!(message.contains("version: status = 200, body.data.version = \"Other/v1\", since "), "{message}");
    assert_eq!(node.count(ANY), asked, "it reached an unfit node");
    assert!(!check("version").holds && check("traffic").holds);
    let flips = role.handle.snapshot().nodes[0].flips.clone();
    assert!(flips.iter().any(|flip| flip.check.as_deref() == Some("version") && !flip.holds), "{flips:?}");
    let mut page = String::new();
    encode(&mut page, &role.registry).unwrap();
    let failing = "check_holds{beacon=\"beacon\",guard=\"beacon-1\",check=\"version\"} 0";
    assert!(page.contains(failing), "no {failing} in {page}");

    says(&node, "Sim/v2");
    role.until(0, "fit").await;
    assert_eq!(role.get(0, ANY).await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_way_of_not_answering_fails_it_and_says_so() {
    let node = node().await;
    let role = start(config(&[node.url()], &format!("{NEW_ENOUGH}timeout = \"300ms\""))).await;
    role.until(0, "fit").await;
    for (fault, told) in [
        (Fault::HttpError(500, "broken".to_owned()), "version: body is text (status = 500"),
        (Fault::Text("{\"data\":{}}".to_owned()), "version: body.data.version: no such key (status = 200)"),
        (Fault::Text("{\"data\":{\"version\":7}}".to_owned()), "version: startsWith"),
        (Fault::Garbage, "version: body is text"),
        (Fault::Empty, "version: body is null"),
        (Fault::Hang, "version: no answer within 0.3 s"),
        (Fault::Truncate, "version: connection reset"),
        (Fault::Reset, "version: connection reset"),
        (Fault::Huge(2 << 20), "version: answer too large"),
    ] {
        node.set(fault.at(VERSION));
        role.until(0, "unfit").await;
        let message = refusal(&role.get(0, ANY).await);
        assert!(message.contains(told), "{told}: {message}");
        node.heal();
        role.until(0, "fit").await;
    }
}

#[tokio::test]
async fn it_is_for_the_guards_that_it_names_and_a_soft_one_never_takes_the_last() {
    let (one, two) = (node().await, node().await);
    let nodes = [one.url(), format!("{}#name=second", two.url())];
    let soft = format!("keep_last = true\n{NEW_ENOUGH}soft = true\nguards = [\"second\"]");
    let role = start(config(&nodes, &soft)).await;
    role.until(0, "fit").await;
    role.until(1, "fit").await;
    let checks = |guard: usize| role.handle.snapshot().nodes[guard].checks.len();
    assert_eq!(checks(0) + 1, checks(1));
    says(&one, "Other");
    says(&two, "Other");
    role.until(1, "unfit").await;
    assert_eq!(role.get(0, ANY).await.status, StatusCode::OK);
    assert_eq!(one.count(VERSION), 0);
    // The first is gone for good reasons: the second is better than none.
    one.with(|state| state.is_syncing = true);
    role.until(0, "unfit").await;
    role.until(1, "kept").await;
    assert_eq!(role.get(1, ANY).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_execution_node_is_asked_by_json_rpc() {
    let node = node().await;
    let genesis = mainstay_sim::chain::Chain::new(1).tip().clone();
    let (el, _) = ElServer::start(El::new("el", genesis), None).await.unwrap();
    el.with(|el| el.can("net_peerCount", "\"0x9\""));
    let settings = format!(
        "execution_node = [{:?}]\nmax_block_age = \"off\"\n[[beacon.check]]\nname = \"el-peers\"\nmethod = \"net_peerCount\"\nexpect = \"hex(body.result) >= 9\"",
        el.url()
    );
    let role = start(config(&[node.url()], &settings)).await;
    role.until(0, "fit").await;
    el.with(|el| el.can("net_peerCount", "\"0x8\""));
    role.until(0, "unfit").await;
    let message = refusal(&role.get(0, ANY).await);
    assert!(message.contains("el-peers: status = 200, body.result = \"0x8\""), "{message}");
    el.with(|el| el.can("net_peerCount", "\"0x10\""));
    role.until(0, "fit").await;
}

#[tokio::test]
async fn a_program_is_asked_and_ends_with_the_role() {
    let node = node().await;
    let folder = tempfile::tempdir().unwrap();
    let (file, pid) = (folder.path().join("free"), folder.path().join("pid"));
    std::fs::write(&file, "12").unwrap();
    let script = format!(
        "read -r free < {0}; if [ $free = hang ]; then echo $$ > {1}.new; mv {1}.new {1}; sleep 1000; fi; echo $free",
        file.display(),
        pid.display()
    );
    let settings = format!(
        "[[beacon.check]]\nname = \"disk\"\nprogram = \"sh\"\nargs = [\"-c\", {script:?}]\nexpect = \"body >= 10\"\ntimeout = \"20s\""
    );
    let role = start(config(&[node.url()], &settings)).await;
    role.until(0, "fit").await;
    let put = |free: &str| {
        let new = folder.path().join("new");
        std::fs::write(&new, free).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    put("9");
    role.until(0, "unfit").await;
    let message = refusal(&role.get(0, ANY).await);
    assert!(message.contains("disk: status = 0, body = 9"), "{message}");
    put("10");
    role.until(0, "fit").await;

    put("hang");
    let pid = common::soon(|| std::fs::read_to_string(&pid).ok()?.trim().parse::<i32>().ok()).await;
    role.stop.cancel();
    timeout(SOON, role.task).await.unwrap().unwrap();
    common::soon(|| has_ended(pid).then_some(())).await;
}

/// Gone, or but a zombie that nobody has looked after yet.
fn has_ended(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('Z')))
}

/// Something that isn't a node is asked by its URL, and what the connection shows is no word on the beacon node.
#[tokio::test]
async fn something_else_is_asked_by_its_url() {
    let (node, relay) = (node().await, node().await);
    let settings = format!(
        "[[beacon.check]]\nname = \"relay\"\npath = \"{}/eth/v1/builder/status\"\nfall = 2",
        relay.url()
    );
    let role = start(config(&[node.url()], &settings)).await;
    role.until(0, "fit").await;
    relay.set(Fault::Down);
    role.until(0, "unfit").await;
    let message = refusal(&role.get(0, ANY).await);
    assert!(message.contains("relay: connection re") && !message.contains(&relay.url()), "{message}");
    relay.heal();
    role.until(0, "fit").await;
}

/// A block of code of the docs: what follows the fence's opening, and what it holds.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let code: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            found.push((info.to_owned(), code.join("\n")));
        }
    }
    found
}

/// Every `toml` block of the docs is read as it stands; the blocks after it that say `holds` or `fails` are put to its expression.
#[test]
fn the_examples_of_the_docs_do_what_they_say() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/beacon-checks.md");
    let docs = std::fs::read_to_string(&file).unwrap();
    let nodes = ["http://10.0.0.1:5052#name=beacon-1".to_owned(), "http://10.0.0.2:5052".to_owned()];
    let mut settings = None;
    let (mut examples, mut answers) = (0, 0);
    for (info, code) in blocks(&docs) {
        let words: Vec<&str> = info.split_whitespace().collect();
        if words == ["toml"] {
            let guards =
                "execution_node = [\"http://10.0.0.1:8545\", \"http://10.0.0.2:8545\"]\nmin_peers = [64]";
            let config = config(&nodes, &format!("{guards}\n{code}"));
            assert_eq!(config.checks.len(), 1, "{code}");
            examples += 1;
            settings = Some(config);
            continue;
        }
        let Some(verdict) = words.iter().find(|word| ["holds", "fails"].contains(word)) else { continue };
        let config = settings.as_ref().unwrap();
        let check = &config.checks[0];
        let program = code.is_empty() || words[0] == "text";
        let status = words.iter().find_map(|word| word.parse().ok()).unwrap_or(if program { 0 } else { 200 });
        let seen = Seen {
            status,
            headers: Default::default(),
            body: serde_json::from_str(&code).unwrap_or_else(|_| code.clone().into()),
            now: std::time::UNIX_EPOCH + Duration::from_secs(1_795_231_030),
            guard: Facts { min_peers: 64, name: "beacon-1".to_owned(), ..Facts::default() },
        };
        let judged = check.expect.judge(&seen);
        assert_eq!(judged.met, *verdict == "holds", "{}: {code}: {}", check.name, judged.saw);
        answers += 1;
    }
    assert!(examples >= 5 && answers >= 2 * examples, "{examples} examples, {answers} answers");
}
