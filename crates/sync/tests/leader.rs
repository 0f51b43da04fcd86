//! Whose head the execution clients follow, and what payloads reach them.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use mainstay_sim::chain::Block;
use mainstay_sim::{Family, Fault};

#[tokio::test]
async fn only_the_leaders_head_reaches_the_els() {
    let bed = Setup::new(2).ready().await;
    let (a, b) = (bed.cl("a"), bed.cl("b"));
    let first = next(&bed.genesis);
    a.block(&first).await;
    bed.followed(&[0, 1], first.hash).await;
    let side = child(&bed.genesis, 2, b"side");
    assert_eq!(b.payload(&side).await["status"], "VALID");
    assert_eq!(status(&b.head(side.hash).await), "VALID", "it is told what is known");
    let second = next(&first);
    a.block(&second).await;
    bed.followed(&[0, 1], second.hash).await;
    for el in [0, 1] {
        assert_eq!(bed.told_heads(el), [first.hash.to_string(), second.hash.to_string()]);
        assert_eq!(bed.sent(el, &side), 1, "payloads are taken from all");
    }
}

#[tokio::test]
async fn a_payload_reaches_each_el_once_whoever_sends_it_and_however_often() {
    let bed = Setup::new(2).ready().await;
    let cls = ["a", "b", "c"].map(|name| bed.cl(name));
    bed.leads(&cls[0]).await;
    for el in &bed.els {
        el.set(Fault::Lag(ms(50)).on(Family::NewPayload));
    }
    for block in chain(&bed.genesis, 3) {
        let (x, y, z) = tokio::join!(cls[2].payload(&block), cls[0].payload(&block), cls[1].payload(&block));
        for cl in &cls {
            assert_eq!(cl.payload(&block).await["status"], "VALID");
        }
        for told in [x, y, z] {
            assert_eq!(told["status"], "VALID");
        }
        cls[0].head(block.hash).await;
        bed.followed(&[0, 1], block.hash).await;
        assert_eq!((bed.sent(0, &block), bed.sent(1, &block)), (1, 1));
    }
}

#[tokio::test]
async fn a_change_of_leader_brings_its_head_to_els_and_proxies() {
    let proxy = Sink::start(false).await;
    let bed = Setup::new(2).quick_slots(500).set("proxies", &proxy.url).ready().await;
    let (a, b) = (bed.cl("a"), bed.cl("b"));
    let blocks = chain(&bed.genesis, 2);
    a.block(&blocks[0]).await;
    b.block(&blocks[0]).await;
    // b is a block further, and says so only once.
    assert_eq!(b.payload(&blocks[1]).await["status"], "VALID");
    b.head(blocks[1].hash).await;
    bed.leads(&b).await;
    bed.followed(&[0, 1], blocks[1].hash).await;
    let head = format!(r#""headBlockHash":"{}""#, blocks[1].hash);
    let is_head = |body: &bytes::Bytes| String::from_utf8_lossy(body).contains(&head);
    proxy.until("the head", |proxy| proxy.bodies().iter().any(is_head)).await;
}

#[tokio::test]
async fn a_slot_ahead_of_the_clock_gains_nothing_though_it_is_the_first_call_of_all() {
    for after in [u64::MAX, 3 * PAST] {
        let bed = Setup::new(1).ready().await;
        let (forger, a) = (bed.cl("forger"), bed.cl("a"));
        let future = child(&bed.genesis, after, b"future");
        forger.payload(&future).await;
        assert_eq!(bed.leader(), None);
        forger.head(future.hash).await;
        let suspect = bed.client("forger").unwrap();
        assert_eq!((suspect.state, suspect.slot), ("suspect", None));
        assert!(suspect.reason.contains("ahead of this machine's clock"), "{suspect:?}");
        // Nothing of it is kept for nodes that come back.
        let block = next(&bed.genesis);
        a.block(&block).await;
        assert_eq!(bed.leader().as_deref(), Some("a"));
        forger.payload(&future).await;
        forger.head(future.hash).await;
        a.block(&next(&block)).await;
        bed.followed(&[0], next(&block).hash).await;
        assert!(!bed.told_heads(0).contains(&future.hash.to_string()));
    }
}

#[tokio::test]
async fn a_head_that_no_el_takes_costs_the_lead() {
    let bed = Setup::new(2).ready().await;
    let (a, b) = (bed.cl("a"), bed.cl("b"));
    let block = next(&bed.genesis);
    a.block(&block).await;
    b.block(&block).await;
    let bad = child(&block, 1, b"bad");
    assert_eq!(a.payload(&bad).await["status"], "INVALID");
    assert_eq!(b.payload(&bad).await["status"], "INVALID", "known by now");
    assert_eq!(bed.leader().as_deref(), Some("a"), "a payload alone may be somebody else's fault");
    assert_eq!(status(&a.head(bad.hash).await), "INVALID");
    bed.until("b leads", |bed| bed.leader().as_deref() == Some("b")).await;
    let suspect = bed.client("a").unwrap();
    assert_eq!(suspect.state, "suspect");
    assert!(suspect.reason.contains("no execution client takes its head"), "{suspect:?}");
    let block = next(&block);
    b.block(&block).await;
    bed.followed(&[0, 1], block.hash).await;
}

#[tokio::test]
async fn other_content_under_a_true_hash_keeps_the_true_payload_out_neither_before_nor_while_it_comes() {
    let bed = Setup::new(2).ready().await;
    let (forger, a) = (bed.cl("forger"), bed.cl("a"));
    let mut at = bed.genesis.clone();
    a.block(&next(&at)).await;
    at = next(&at);
    for while_it_comes in [false, true] {
        let block = next(&at);
        if while_it_comes {
            for el in &bed.els {
                el.set(Fault::Lag(ms(100)).on(Family::NewPayload));
            }
            let copy = forged(&block);
            let (told, ours) = tokio::join!(forger.payload(&copy), async {
                bed.els[0]
                    .wait_for(PATIENCE, |calls| calls.iter().any(|c| holds_in(c, &block)))
                    .await
                    .unwrap();
                a.payload(&block).await
            });
            assert_eq!((&told["status"], &ours["status"]), (&"INVALID".into(), &"VALID".into()));
        } else {
            assert_eq!(forger.payload(&forged(&block)).await["status"], "INVALID");
            assert_eq!(a.payload(&block).await["status"], "VALID");
        }
        for el in &bed.els {
            el.heal();
        }
        assert_eq!(status(&a.head(block.hash).await), "VALID");
        bed.followed(&[0, 1], block.hash).await;
        assert_ne!(bed.client("a").unwrap().state, "suspect");
        at = block;
    }
}

fn holds_in(call: &mainstay_sim::Received, block: &Block) -> bool {
    call.family() == Family::NewPayload && holds(&call.raw, &block.hash)
}

#[tokio::test]
async fn a_payload_that_lacks_a_field_keeps_no_place_of_the_true_one() {
    let bed = Setup::new(2).ready().await;
    let (forger, a) = (bed.cl("forger"), bed.cl("a"));
    bed.leads(&a).await;
    bed.els[1].set(Fault::Down);
    bed.condition("el2", "unfit").await;
    let block = next(&bed.genesis);
    for cl in [&forger, &a] {
        let text = String::from_utf8(block.payload.to_vec()).unwrap();
        let payload = text.replacen("\"timestamp\"", "\"timestump\"", 1).into();
        let broken = Block { payload, ..block.clone() };
        cl.post(mainstay_sim::request::new_payload(1, 4, &broken)).await;
    }
    a.block(&block).await;
    bed.els[1].heal();
    bed.followed(&[1], block.hash).await;
}

#[tokio::test]
async fn what_is_said_of_other_content_under_a_true_hash_is_held_against_no_block() {
    let bed = Setup::new(3).set("answer", "majority").set("straggler_wait", "10ms").ready().await;
    let (forger, a) = (bed.cl("forger"), bed.cl("a"));
    bed.leads(&a).await;
    let block = next(&bed.genesis);
    assert_eq!(forger.payload(&forged(&block)).await["status"], "INVALID");
    // It can take nothing back in time.
    bed.els[2].set(Fault::Lag(PATIENCE * 2).on(Family::NewPayload));
    a.block(&block).await;
}

/// Found by the simulation: where an EL was wrong about a head, which the others took, other content under the head's hash made all
/// suspect who named it.
#[tokio::test]
async fn other_content_under_the_hash_of_a_head_casts_no_suspicion_on_it() {
    let bed = Setup::new(2).ready().await;
    let (forger, a) = (bed.cl("forger"), bed.cl("a"));
    bed.leads(&a).await;
    let block = next(&bed.genesis);
    a.block(&block).await;
    bed.followed(&[0, 1], block.hash).await;
    bed.els[0].set(Fault::Lie);
    bed.els[1].set(Fault::Lag(ms(100)));
    assert_eq!(status(&a.head(block.hash).await), "INVALID", "of the one that is first");
    let rounds = |bed: &Bed| bed.handle.health().1.iter().any(|why| why.contains("disagree"));
    bed.until("the other has said VALID", rounds).await;
    // The simulated one doesn't look at the content of what it knows.
    bed.els[1].set(Fault::Down);
    bed.condition("el2", "unfit").await;
    // The first is told what is known. And the leader's word on it is no better.
    for cl in [&forger, &forger, &a] {
        assert_eq!(cl.payload(&forged(&block)).await["status"], "INVALID");
    }
    // What comes after it is judged after it.
    let bad = child(&block, 1, b"bad");
    forger.payload(&bad).await;
    forger.head(bad.hash).await;
    bed.until("all is judged", |bed| bed.client("forger").unwrap().state == "suspect").await;
    assert_eq!(bed.client("a").unwrap().state, "well");
}

#[tokio::test]
async fn an_el_that_lags_gets_no_vote_by_its_word_on_other_content_under_a_hash() {
    let bed = Setup::new(2).ready().await;
    let (forger, a) = (bed.cl("forger"), bed.cl("a"));
    bed.leads(&a).await;
    bed.els[1].set(Fault::LieSyncing.on(Family::ForkchoiceUpdated));
    let block = next(&bed.genesis);
    a.block(&block).await;
    bed.until("it has lost its vote", |bed| bed.view("el2").standing == "muted").await;
    let later = next(&block);
    assert_eq!(forger.payload(&forged(&later)).await["status"], "INVALID");
    bed.els[1].wait_for(PATIENCE, |calls| calls.iter().any(|c| holds_in(c, &later))).await.unwrap();
    // Calls after it are answered in turn.
    a.payload(&block).await;
    assert_eq!(bed.view("el2").standing, "muted");
}

/// As many as could push everything else out, each VALID, of the past and under a hash of its own.
#[tokio::test]
async fn made_up_blocks_push_no_true_one_out_of_what_is_kept() {
    let bed = Setup::new(2).set("replay_blocks", "16").ready().await;
    let (forger, a) = (bed.cl("forger"), bed.cl("a"));
    bed.leads(&a).await;
    bed.els[1].set(Fault::Down);
    bed.condition("el2", "unfit").await;
    let blocks = chain(&bed.genesis, 12);
    for block in &blocks {
        a.block(block).await;
    }
    for block in &blocks {
        for extra in [b"1", b"2", b"3"] {
            let made_up = child(block, 1, extra);
            assert_eq!(forger.payload(&made_up).await["status"], "VALID");
        }
    }
    bed.els[1].heal();
    bed.followed(&[1], blocks[11].hash).await;
    for block in &blocks {
        assert_eq!(bed.sent(1, block), 1, "{block:?} was kept");
    }
}

#[tokio::test]
async fn a_connection_for_each_call_is_no_sign_of_a_leader_that_is_gone() {
    let bed = Setup::new(1).ready().await;
    // As nginx's mirror does.
    let (b, mut at) = (bed.cl("b"), bed.genesis.clone());
    for _ in 0..5 {
        at = next(&at);
        bed.cl("a").block(&at).await;
        b.block(&at).await;
        assert_eq!(bed.leader().as_deref(), Some("a"));
        assert_eq!(bed.client("a").unwrap().state, "well");
    }
}

#[tokio::test]
async fn a_connection_that_was_kept_tells_by_its_end_that_the_leader_is_gone() {
    let bed = Setup::new(1).config(|config| config.leader.leader_timeout = ms(300)).ready().await;
    let (a, b) = (bed.cl("a"), bed.cl("b"));
    let started = tokio::time::Instant::now();
    while started.elapsed() < ms(400) {
        a.call("eth_chainId", "[]").await;
        tokio::time::sleep(ms(5)).await;
    }
    b.call("eth_chainId", "[]").await;
    drop(a);
    bed.until("a is gone", |bed| bed.client("a").unwrap().state == "gone").await;
    bed.leads(&b).await;
}
