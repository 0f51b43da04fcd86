//! How execution clients are driven: each at its own pace, none behind another, and who missed something gets it.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use mainstay_node::{Level, Operated};
use mainstay_sim::{Family, Fault};

#[tokio::test]
async fn a_slow_el_gets_everything_in_order_and_keeps_nobody_waiting() {
    // Who waited for the slow one would wait beyond all patience.
    let bed = Setup::new(2).set("straggler_wait", "60s").set("request_timeout", "60s").ready().await;
    let a = bed.cl("a");
    bed.els[1].set(Fault::Lag(ms(150)).on(Family::NewPayload));
    let blocks = chain(&bed.genesis, 8);
    for block in &blocks {
        a.block(block).await;
    }
    bed.followed(&[0, 1], blocks[7].hash).await;
    for block in &blocks {
        assert_eq!((bed.sent(0, block), bed.sent(1, block)), (1, 1));
    }
    // It was always busy, so heads in between were left out.
    assert!(bed.told_heads(1).len() < bed.told_heads(0).len(), "{:?}", bed.told_heads(1));
}

#[tokio::test]
async fn an_el_that_was_away_gets_what_it_missed_and_then_the_head() {
    let bed = Setup::new(2).ready().await;
    let a = bed.cl("a");
    let blocks = chain(&bed.genesis, 12);
    a.block(&blocks[0]).await;
    bed.followed(&[1], blocks[0].hash).await;
    bed.els[1].set(Fault::Down);
    bed.condition("el2", "unfit").await;
    for block in &blocks[1..] {
        a.block(block).await;
    }
    bed.els[1].heal();
    bed.followed(&[1], blocks[11].hash).await;
    bed.until("no lag", |bed| bed.view("el2").lag == Some(0)).await;
}

#[tokio::test]
async fn payloads_are_kept_though_no_el_is_up_and_whoever_is_first_with_them() {
    let bed = Setup::new(1).set("request_timeout", "200ms").ready().await;
    let (a, b) = (bed.cl("a"), bed.cl("b"));
    bed.leads(&a).await;
    for fault in [Fault::Down, Fault::Hang] {
        let blocks = chain(&bed.els[0].head(), 6);
        bed.els[0].set(fault);
        for (i, block) in blocks.iter().enumerate() {
            // Both at once, either first, or only one of them.
            match i % 3 {
                0 => drop(tokio::join!(b.payload(block), a.payload(block))),
                1 => drop(a.payload(block).await),
                _ => drop(b.payload(block).await),
            }
            a.head(block.hash).await;
        }
        bed.els[0].heal();
        bed.followed(&[0], blocks[5].hash).await;
    }
}

/// What the only EL that is up has refused is asked again of one that comes back, without a call of anybody's.
#[tokio::test]
async fn an_el_that_is_back_is_asked_about_what_the_others_refused() {
    let bed = Setup::new(2).ready().await;
    let (a, b) = (bed.cl("a"), bed.cl("b"));
    let blocks = chain(&bed.genesis, 2);
    a.block(&blocks[0]).await;
    b.block(&blocks[0]).await;
    bed.followed(&[0, 1], blocks[0].hash).await;
    bed.els[1].set(Fault::Down);
    bed.condition("el2", "unfit").await;
    bed.els[0].set(Fault::Lie);
    assert_eq!(b.payload(&blocks[1]).await["status"], "INVALID");
    b.head(blocks[1].hash).await;
    let refused = |bed: &Bed| bed.client("b").is_some_and(|b| b.state == "suspect");
    bed.until("its head is refused", refused).await;
    assert_eq!(bed.leader().as_deref(), Some("a"));
    bed.els[1].heal();
    bed.until("its head is taken after all", |bed| bed.client("b").is_some_and(|b| b.state == "well")).await;
    assert_eq!(bed.sent(1, &blocks[1]), 1);
}

/// Found by the simulation: the others' blocks were SYNCING for ever to an EL that had missed one of them.
#[tokio::test]
async fn an_el_is_led_to_what_it_lacks_the_parents_of_though_the_leader_is_elsewhere() {
    let bed = Setup::new(2).ready().await;
    let (a, b) = (bed.cl("a"), bed.cl("b"));
    let blocks = chain(&bed.genesis, 3);
    a.block(&blocks[0]).await;
    bed.followed(&[0, 1], blocks[0].hash).await;
    bed.els[1].set(Fault::Down);
    bed.condition("el2", "unfit").await;
    assert_eq!(b.payload(&blocks[1]).await["status"], "VALID");
    bed.els[1].heal();
    bed.condition("el2", "fit").await;
    assert_eq!(b.payload(&blocks[2]).await["status"], "VALID");
    bed.until("it has the parent and is asked again", |bed| {
        (bed.sent(1, &blocks[1]), bed.sent(1, &blocks[2])) == (1, 2)
    })
    .await;
    assert_eq!(bed.leader().as_deref(), Some("a"));
}

#[tokio::test]
async fn what_is_told_while_all_els_are_away_is_no_verdict() {
    let bed = Setup::new(1).set("request_timeout", "200ms").ready().await;
    let (a, b, c) = (bed.cl("a"), bed.cl("b"), bed.cl("c"));
    bed.leads(&a).await;
    bed.els[0].set(Fault::Down);
    let block = next(&bed.genesis);
    assert_eq!(b.payload(&block).await["status"], "SYNCING");
    bed.els[0].heal();
    bed.condition("el1", "fit").await;
    assert_eq!(c.payload(&block).await["status"], "VALID", "it is asked, now that it is back");
}

#[tokio::test]
async fn disagreement_is_kept_as_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let bed = Setup::new(3).set("evidence_dir", dir.path().to_str().unwrap()).ready().await;
    bed.els[2].set(Fault::Lie.on(Family::NewPayload));
    let a = bed.cl("a");
    let block = next(&bed.genesis);
    a.payload(&block).await;
    let kept = |_: &Bed| std::fs::read_dir(dir.path()).unwrap().count() > 0;
    bed.until("a record", kept).await;
    bed.until("it is shown", |bed| bed.handle.health().1.iter().any(|why| why.contains("disagree"))).await;
}

/// `timeout` is for the ELs, and longer than all patience here.
#[tokio::test]
async fn request_timeout_bounds_the_whole_call() {
    let bed = Setup::new(2).set("request_timeout", "200ms").set("timeout", "60s").ready().await;
    let cls = [bed.cl("a"), bed.cl("b")];
    for el in &bed.els {
        el.set(Fault::Hang);
    }
    let block = next(&bed.genesis);
    let all = async {
        for cl in &cls {
            cl.payload(&block).await;
            cl.head(block.hash).await;
            for (method, params) in [
                ("eth_chainId", "[]"),
                ("engine_exchangeCapabilities", "[[]]"),
                ("engine_getClientVersionV1", "[]"),
                ("engine_getBlobsV1", "[[]]"),
                ("engine_getPayloadBodiesByHashV1", "[[]]"),
                ("engine_newPayloadV4", "[]"),
            ] {
                cl.call(method, params).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("16 calls take 16 times 200 ms");
}

#[tokio::test]
async fn health_and_snapshot_say_who_leads_and_what_is_wrong() {
    let bed = Setup::new(2).set("max_lag", "1").ready().await;
    assert_eq!(bed.handle.health(), (Level::Degraded, vec!["no consensus client is well".to_owned()]));
    let (a, forger) = (bed.cl("a"), bed.cl("forger"));
    let block = next(&bed.genesis);
    a.block(&block).await;
    bed.followed(&[1], block.hash).await;
    bed.until("well", |bed| bed.handle.health() == (Level::Well, vec![])).await;
    let snapshot = bed.handle.snapshot();
    assert_eq!((snapshot.leader.as_deref(), snapshot.head), (Some("a"), Some(block.hash.to_string())));
    let view = bed.client("a").unwrap();
    assert_eq!((view.leads, view.state, view.slot), (true, "well", Some(1)));
    assert_eq!(view.head, Some(block.hash.to_string()));
    forger.payload(&child(&block, u64::MAX, b"")).await;
    bed.els[1].set(Fault::StaleHead);
    let mut at = block;
    for _ in 0..4 {
        at = next(&at);
        a.block(&at).await;
    }
    bed.until("lag", |bed| bed.view("el2").lag == Some(4)).await;
    let (level, reasons) = bed.handle.health();
    assert_eq!(level, Level::Degraded);
    assert!(
        reasons.iter().any(|why| why.starts_with("consensus client forger: it named slot")),
        "{reasons:?}"
    );
    assert!(reasons.iter().any(|why| why.starts_with("el2: ")), "{reasons:?}");
    assert!(
        bed.metrics().contains(r#"mainstay_sync_client_leads{sync="sync",client="a"} 1"#),
        "{}",
        bed.metrics()
    );
}

#[tokio::test]
async fn who_called_once_is_missed_only_if_the_operator_named_him() {
    let bed = Setup::new(1).quick_slots(100).set("clients", "named=b").ready().await;
    let (a, b, stranger) = (bed.cl("a"), bed.cl("b"), bed.cl("stranger"));
    let mut at = next(&bed.genesis);
    for cl in [&b, &stranger] {
        cl.block(&at).await;
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while ["named", "stranger"].iter().any(|cl| bed.client(cl).unwrap().state != "silent") {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", bed.handle.snapshot().clients);
        at = next(&at);
        a.block(&at).await;
    }
    let reasons = bed.handle.health().1;
    assert!(reasons.contains(&"consensus client named: silent".to_owned()), "{reasons:?}");
    assert!(!reasons.iter().any(|why| why.contains("stranger")), "{reasons:?}");
}
