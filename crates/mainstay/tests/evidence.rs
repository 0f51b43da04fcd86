//! `mainstay evidence` as an operator uses it.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use bytes::Bytes;
use mainstay_execution::evidence::{Body, Id, Record, Reply, Store};
use mainstay_sim::chain::{Chain, genesis};
use mainstay_sim::fault::Family;
use mainstay_sim::{El, ElServer, request};
use mainstay_wire::jwt::Secret;
use support::Place;

const TIME: u64 = 1_795_231_026_068;

/// Keeps a split vote on `request` in `dir`; its id.
fn keep(dir: &Path, request: Bytes) -> String {
    let reply = |node: &str, vote: &str| Reply {
        node: node.to_owned(),
        client: Some("Geth 1.17.8".to_owned()),
        vote: vote.to_owned(),
        took_ms: Some(12),
        status: Some(200),
        error: None,
        body: Some(Body::from(Bytes::from(format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"status":"{vote}","latestValidHash":null,"validationError":null}}}}"#
        )))),
    };
    let record = Record {
        id: Id::new(TIME),
        time: TIME,
        method: "engine_newPayloadV4".to_owned(),
        block: Some("0xab".to_owned()),
        number: Some(1),
        verdict: "SYNCING".to_owned(),
        cause: "split vote".to_owned(),
        mainstay: "0.1.0".to_owned(),
        request: request.into(),
        replies: vec![reply("el1", "VALID"), reply("el2", "INVALID")],
    };
    Store::open(dir, 10, 1 << 20).unwrap().save(&record).unwrap();
    record.id.to_string()
}

fn any_request() -> Bytes {
    request::new_payload(1, 4, &Chain::new(1).grow())
}

#[test]
fn records_are_listed_and_shown() {
    let place = Place::new();
    let id = keep(&place.path().join("kept"), any_request());
    let list = place.run(&["evidence", "list", "--evidence-dir", "kept"], &[]);
    let lines: Vec<&str> = list.fine().lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].starts_with(&id) && lines[1].contains("el1 VALID, el2 INVALID"), "{}", lines[1]);
    let show = place.run(&["evidence", "--evidence-dir", "kept", "show", &id[..15]], &[]);
    assert!(show.fine().contains("split vote") && show.out.contains("Geth 1.17.8"), "{}", show.out);
}

#[test]
fn the_folder_may_come_from_flag_variable_and_file() {
    let place = Place::new();
    let listed = |arguments: &[&str], variables: &[(&str, &str)]| {
        let done = place.run(&[&["evidence", "list"], arguments].concat(), variables);
        done.fine().trim_end().to_owned()
    };
    for folder in ["flag", "variable", "conf/file"] {
        std::fs::create_dir_all(place.path().join(folder)).unwrap();
    }
    // Whether the rest of the file is right is not asked here.
    place.file("conf/m.toml", "[engine]\nevidence_dir = \"file\"\nmajority = 7\n");
    let variable = [("MAINSTAY_ENGINE_EVIDENCE_DIR", "variable")];
    let named = [("MAINSTAY_CONFIG", "conf/m.toml")];
    assert_eq!(listed(&["--config", "conf/m.toml"], &[]), "no evidence in conf/file");
    assert_eq!(listed(&[], &named), "no evidence in conf/file");
    assert_eq!(listed(&["--config", "conf/m.toml"], &variable), "no evidence in variable");
    assert_eq!(
        listed(&["--config", "none.toml", "--evidence-dir", "flag"], &variable),
        "no evidence in flag"
    );
    place.file("mainstay.toml", "[engine]\nevidence_dir = \"flag\"\n");
    assert_eq!(listed(&[], &[]), "no evidence in flag");
}

#[test]
fn what_is_not_there_is_told_with_status_2() {
    let place = Place::new();
    let evidence = |arguments: &[&str]| place.run(&[&["evidence"], arguments].concat(), &[]);
    evidence(&["list"]).refused(&["error: where is it kept? Give --evidence-dir DIR, or --config FILE"]);
    let done = evidence(&["list", "--evidence-dir", "none"]);
    assert!(done.err.starts_with("error: cannot list none: "), "{}", done.err);
    assert_eq!(done.status, Some(2));
    let done = evidence(&["list", "--config", "none.toml"]);
    assert!(done.err.starts_with("error: none.toml: cannot read the config file: "), "{}", done.err);
    assert_eq!(done.status, Some(2));

    keep(&place.path().join("kept"), any_request());
    evidence(&["show", "20260101T", "--evidence-dir", "kept"])
        .refused(&["error: kept: no record is called \"20260101T\": see `mainstay evidence list`"]);
    let node = ["--node", "http://me:pw@", "--jwt-secret", "none.hex", "--evidence-dir", "kept"];
    let done = evidence(&[&["replay", "2026"], &node[..]].concat());
    assert!(done.err.contains("error: --node: expected a URL") && !done.err.contains("pw"), "{}", done.err);
    assert!(done.err.contains("error: --jwt-secret: cannot read the JWT secret none.hex: "), "{}", done.err);
    assert_eq!(done.status, Some(2));

    place.file("m.toml", "[[engine]]\nevidence_dir = \"a\"\n[[engine]]\nevidence_dir = \"b\"\n");
    evidence(&["list", "-c", "m.toml"])
        .refused(&["error: m.toml: several [[engine]] keep evidence, say which with --evidence-dir DIR"]);
    place.file("m.toml", "[engine]\n");
    evidence(&["list", "-c", "m.toml"])
        .refused(&["error: m.toml: no [engine] has an evidence_dir, give --evidence-dir DIR"]);
}

#[test]
fn a_record_is_replayed_to_a_node() {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let start = genesis(1, 0);
    let mut chain = Chain::from(start.clone());
    let id = keep(&place.path().join("kept"), request::new_payload(1, 4, &chain.grow()));
    let secret = Secret::from_hex(&"11".repeat(32)).unwrap();
    let (node, _) = runtime.block_on(ElServer::start(El::new("el9", start), secret)).unwrap();
    let replay = ["evidence", "replay", &id, "--evidence-dir", "kept", "--node", &node.url()];

    let done = place.run(&[&replay[..], &["--jwt-secret", "jwt.hex"]].concat(), &[]);
    assert!(done.fine().contains("then  verdict SYNCING, el1 VALID, el2 INVALID"), "{}", done.out);
    assert!(done.out.contains("now   VALID"), "{}", done.out);
    assert_eq!(node.count(Family::NewPayload), 1);

    // Without a token the node refuses, which is an answer too.
    assert!(place.run(&replay, &[]).fine().contains("HTTP 401"));
    node.stop();
    let done = place.run(&replay, &[]);
    assert_eq!(done.status, Some(1));
    assert!(done.err.starts_with("error: the node gave no reply: "), "{}", done.err);
}

#[test]
fn help_warns_of_moving_a_head() {
    let help = Place::new().run(&["evidence", "replay", "--help"], &[]);
    assert!(help.fine().contains("MOVES THAT NODE'S HEAD"), "{}", help.out);
}
