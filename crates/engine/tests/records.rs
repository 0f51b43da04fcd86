//! §4: evidence of disagreement, and what those who watch are told.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use mainstay_execution::evidence::{Record, load};
use mainstay_node::Operated as _;
use mainstay_sim::{Family, Fault};

/// The records in a folder, once there are `n`.
async fn records(dir: &std::path::Path, n: usize) -> Vec<Record> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let entries = std::fs::read_dir(dir).map(|d| d.flatten().collect::<Vec<_>>()).unwrap_or_default();
        let mut names: Vec<String> = entries
            .iter()
            .filter_map(|e| e.file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
            .collect();
        if names.len() >= n {
            names.sort();
            return names.iter().map(|name| load(dir, name).unwrap()).collect();
        }
        assert!(tokio::time::Instant::now() < deadline, "{n} records: {names:?}");
        tokio::time::sleep(ms(5)).await;
    }
}

fn evident(n: usize) -> (Setup, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evidence").display().to_string();
    (Setup::new(n).set("evidence_dir", &path), dir)
}

/// A folder that couldn't be opened at the first disagreement is tried again at the next.
#[tokio::test]
async fn a_folder_that_is_mended_gets_the_next_record() {
    let (setup, dir) = evident(3);
    let path = dir.path().join("evidence");
    std::fs::write(&path, "in the way").unwrap();
    let mut bed = setup.ready().await;
    bed.els[1].set(Fault::Lie);
    let block = bed.chain.grow();
    bed.new_payload(&block).await;
    bed.until("the attempt", |bed| bed.handle.health().1.iter().any(|r| r.contains("disagree"))).await;
    let counted = async { while bed.metric("mainstay_engine_evidence_total").await != Some(1.0) {} };
    tokio::time::timeout(PATIENCE, counted).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let block = bed.chain.grow();
    bed.new_payload(&block).await;
    assert_eq!(records(&path, 1).await[0].block, Some(block.hash.to_string()));
}

#[tokio::test]
async fn a_split_vote_saves_who_said_what_once_a_block() {
    let (setup, dir) = evident(3);
    let mut bed = setup.ready().await;
    bed.els[1].set(Fault::Lie);
    bed.until("versions are known", |bed| bed.views().iter().all(|n| n.client.is_some())).await;
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "SYNCING");
    let dir = dir.path().join("evidence");
    let record = records(&dir, 1).await.remove(0);
    assert_eq!((record.cause.as_str(), record.verdict.as_str()), ("split vote", "SYNCING"));
    assert_eq!((record.method.as_str(), record.number), ("engine_newPayloadV4", Some(1)));
    assert_eq!(record.block.as_deref(), Some(block.hash.to_string().as_str()));
    let votes: Vec<_> = record.replies.iter().map(|r| (r.node.as_str(), r.vote.as_str())).collect();
    assert_eq!(votes, [("el1", "VALID"), ("el2", "INVALID"), ("el3", "VALID")]);
    assert!(record.replies.iter().all(|r| r.client.as_deref().is_some_and(|c| c.contains("mainstay-sim"))));
    assert!(record.replies.iter().all(|r| r.took_ms.is_some() && r.body.is_some()));
    // The same block again, by payload and as a head: known.
    bed.new_payload(&block).await;
    bed.forkchoice(block.hash).await;
    let next = bed.chain.grow();
    bed.new_payload(&next).await;
    let all = records(&dir, 2).await;
    assert_eq!(all.len(), 2);
    assert_eq!(bed.metric("mainstay_engine_evidence_total").await, Some(2.0));
    // Nodes are named, never located; no token gets in.
    for file in std::fs::read_dir(&dir).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains("127.0.0.1") && !text.contains("Bearer") && !text.contains("eyJ"));
    }
}

#[tokio::test]
async fn a_late_dissent_saves_evidence_too() {
    let (setup, dir) = evident(3);
    let mut bed = setup.set("straggler_wait", "0s").ready().await;
    bed.els[2].set(Fault::Lag(ms(150)).on(Family::NewPayload));
    bed.els[2].add(Fault::Lie);
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "VALID");
    let record = records(&dir.path().join("evidence"), 1).await.remove(0);
    assert_eq!((record.cause.as_str(), record.verdict.as_str()), ("late dissent", "VALID"));
    let late = record.replies.iter().find(|r| r.node == "el3").unwrap();
    assert_eq!(late.vote, "INVALID");
    assert!(late.took_ms >= Some(150), "{:?}", late.took_ms);
}

#[tokio::test]
async fn agreement_leaves_no_evidence() {
    let (setup, dir) = evident(3);
    let mut bed = setup.ready().await;
    bed.els[2].set(Fault::LieSyncing);
    bed.advance().await;
    let bad = bed.chain.grow_bad();
    bed.els[2].heal();
    assert_eq!(bed.new_payload(&bad).await["status"], "INVALID");
    bed.round("engine_newPayload").await;
    assert!(!dir.path().join("evidence").exists());
}

#[tokio::test]
async fn evidence_that_cant_be_saved_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    std::fs::write(&file, "x").unwrap();
    let mut bed = Setup::new(3).set("evidence_dir", file.to_str().unwrap()).ready().await;
    bed.els[1].set(Fault::Lie);
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "SYNCING");
    bed.els[1].heal();
    assert_eq!(bed.new_payload(&block).await["status"], "VALID");
}

#[tokio::test]
async fn those_who_watch_see_every_vote_and_the_verdict() {
    let mut bed = Setup::new(4).suffix(3, "#do-not-use").ready().await;
    bed.els[1].set(Fault::Lie);
    bed.els[2].set(Fault::RpcError(-32000).on(Family::NewPayload));
    let block = bed.chain.grow();
    bed.new_payload(&block).await;
    let round = bed.round("engine_newPayload").await;
    assert_eq!((round.verdict, round.number), ("SYNCING", Some(1)));
    assert_eq!(round.block.as_deref(), Some(block.hash.to_string().as_str()));
    let votes: Vec<_> =
        round.votes.iter().map(|(node, vote, at)| (node.as_str(), *vote, at.is_some())).collect();
    assert_eq!(
        votes,
        [("el1", "VALID", true), ("el2", "INVALID", true), ("el3", "error", true), ("el4", "VALID", true)]
    );
    bed.forkchoice(block.hash).await;
    let round = bed.round("engine_forkchoiceUpdated").await;
    assert_eq!((round.block.as_deref(), round.number), (Some(block.hash.to_string().as_str()), Some(1)));
}
