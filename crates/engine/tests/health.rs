//! §6: when a node is fit, which one is the primary, and that copies to mirrors cost nothing.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use mainstay_node::{Level, Operated};
use mainstay_sim::request;
use mainstay_sim::{El, ElHandle, ElServer, Family, Fault};

#[tokio::test]
async fn a_refused_call_makes_a_node_unfit_at_once_and_good_probes_fit_again() {
    let mut bed = Setup::new(2).set("probe_interval", "60s").ready().await;
    bed.els[1].set(Fault::Down);
    assert_eq!(bed.view("el2").condition, "fit", "nothing has shown it yet");
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "VALID");
    bed.condition("el2", "unfit").await;
    assert!(bed.view("el2").reason.contains("refused") || bed.view("el2").reason.contains("reset"));
    assert_eq!(bed.handle.health().0, Level::Degraded);
    // Probed with backoff, long before the next interval; twice good.
    bed.els[1].clear_calls();
    bed.els[1].heal();
    bed.condition("el2", "fit").await;
    let probes = bed.els[1].calls().iter().filter(|c| c.method == "eth_syncing").count();
    assert!(probes >= 2, "{probes}");
    bed.forkchoice(block.hash).await;
    bed.until("el2 votes", |bed| bed.view("el2").votes).await;
    assert_eq!(bed.handle.health(), (Level::Well, vec![]));
}

#[tokio::test]
async fn it_takes_rise_good_probes() {
    let bed = Setup::new(2).set("rise", "4").ready().await;
    bed.els[1].set(Fault::Down);
    bed.condition("el2", "unfit").await;
    bed.els[1].clear_calls();
    bed.els[1].heal();
    bed.condition("el2", "fit").await;
    let probes = bed.els[1].calls().iter().filter(|c| c.method == "eth_syncing").count();
    assert!(probes >= 4, "{probes}");
}

#[tokio::test]
async fn timeouts_and_http_errors_make_a_node_unfit_after_the_third() {
    for fault in [Fault::Hang, Fault::HttpError(500, "x".into()), Fault::Garbage] {
        let mut bed = Setup::new(2)
            .set("probe_interval", "60s")
            .set("timeout", "200ms")
            .set("straggler_wait", "timeout")
            .ready()
            .await;
        bed.els[1].set(fault.clone().on(Family::NewPayload));
        for n in 1..=3 {
            assert_eq!(bed.view("el2").condition, "fit", "{fault}: after {} failures", n - 1);
            let block = bed.chain.grow();
            assert_eq!(bed.new_payload(&block).await["status"], "VALID");
            bed.els[1].wait_for_calls(Family::NewPayload, n, PATIENCE).await.unwrap();
            bed.round("engine_newPayload").await;
        }
        // Its probes are good, so it may be back soon: that it went is counted.
        bed.until("a change", |bed| {
            bed.view("el2").condition != "fit" || bed.view("el2").standing == "muted"
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_in_between_starts_the_count_anew() {
    let mut bed = Setup::new(2).set("probe_interval", "60s").ready().await;
    for _ in 0..3 {
        bed.els[1].set(Fault::HttpError(500, "x".into()).on(Family::NewPayload).times(2));
        for _ in 0..3 {
            let block = bed.chain.grow();
            bed.new_payload(&block).await;
            bed.round("engine_newPayload").await;
        }
    }
    assert_eq!(bed.view("el2").condition, "fit");
}

/// B23: a node that is stuck is not what it says it is.
#[tokio::test]
async fn a_node_that_lags_is_not_waited_for_until_it_is_at_the_tip() {
    let mut bed = Setup::new(3).set("max_lag", "2").ready().await;
    bed.els[2].set(Fault::StaleHead);
    for _ in 0..5 {
        bed.advance().await;
    }
    bed.condition("el3", "lagging").await;
    let view = bed.view("el3");
    assert!(!view.votes && view.lag >= Some(3), "{view:?}");
    assert!(bed.handle.health().1.iter().any(|r| r.contains("blocks behind")));
    bed.els[2].set(Fault::Hang.on(Family::NewPayload).times(1));
    let block = bed.chain.grow();
    let (told, took) = timed(bed.new_payload(&block)).await;
    assert_eq!(told["status"], "VALID");
    assert!(took < ms(900), "{took:?}");
    bed.els[2].heal();
    bed.forkchoice(block.hash).await;
    bed.condition("el3", "fit").await;
}

#[tokio::test]
async fn one_block_behind_is_no_lag_but_not_yet_the_tip_for_who_lagged() {
    let mut bed = Setup::new(2).set("max_lag", "2").ready().await;
    bed.els[1].set(Fault::StaleHead);
    for _ in 0..2 {
        bed.advance().await;
    }
    bed.handle.recheck().await;
    bed.handle.recheck().await;
    assert_eq!(bed.view("el2").condition, "fit");
    assert_eq!(bed.view("el2").lag, Some(2));
}

#[tokio::test]
async fn a_node_on_another_chain_is_never_used() {
    let mut bed = Setup::new(3).el(2, |el| el.chain_id = 5).start().await;
    bed.condition("el3", "misconfigured").await;
    let view = bed.view("el3");
    assert!(view.reason.contains('5') && view.reason.contains("1337"), "{}", view.reason);
    bed.els[2].set(Fault::Lie);
    bed.advance().await;
    for el in &bed.els[..2] {
        el.set(Fault::Down);
    }
    let reply = bed.post(request::call(1, "eth_getBlockByNumber", "[\"latest\",false]")).await;
    assert_eq!(reply.status, 503, "rather nothing than another chain's answer");
    assert_eq!(bed.handle.health().0, Level::Down);
    assert_eq!(bed.post(request::call(2, "engine_getClientVersionV1", "[{}]")).await.status, 503);
    assert_eq!(bed.post(request::call(3, "engine_getBlobsV1", "[[\"0x01\"]]")).await.status, 503);
    let asked = ["eth_getBlockByNumber", "engine_getClientVersionV1", "engine_getBlobsV1"];
    assert!(bed.els[2].calls().iter().all(|c| !asked.contains(&c.method.as_str())));
}

/// Whichever is probed first: the one that turns out to be alone is told at once, not an interval later.
#[tokio::test]
async fn a_wrong_chain_that_was_probed_first_is_found_with_the_second() {
    let bed = Setup::new(2)
        .set("probe_interval", "60s")
        .el(1, |el| el.chain_id = 5)
        .before(0, |el| el.set(Fault::Lag(ms(100)).on(Family::Eth)))
        .start()
        .await;
    bed.condition("el2", "fit").await;
    bed.condition("el1", "fit").await;
    bed.condition("el2", "misconfigured").await;
}

#[tokio::test]
async fn a_node_that_is_put_on_the_right_chain_is_used_again() {
    let mut bed = Setup::new(3).before(2, |el| el.set(Fault::WrongChain(5))).start().await;
    bed.condition("el3", "misconfigured").await;
    bed.els[2].heal();
    bed.condition("el3", "fit").await;
    bed.advance().await;
    assert!(bed.view("el3").votes);
}

/// The one that is told to be on another chain may be the one that is right: all are asked anew, not just that one.
#[tokio::test]
async fn a_node_is_used_again_once_the_others_are_on_its_chain() {
    let bed = Setup::new(2)
        .before(0, |el| el.set(Fault::WrongChain(5)))
        .before(1, |el| el.set(Fault::Lag(ms(30)).on(Family::Eth)))
        .start()
        .await;
    bed.condition("el2", "misconfigured").await;
    assert_eq!(bed.view("el1").condition, "fit");
    bed.els[0].heal();
    bed.condition("el2", "fit").await;
    bed.condition("el1", "fit").await;
}

/// Found by the simulation: one node that claimed a head far ahead left all others without a vote.
#[tokio::test]
async fn nobody_lags_behind_a_head_that_the_consensus_client_does_not_know() {
    let mut bed = Setup::new(3).set("max_lag", "2").ready().await;
    bed.advance().await;
    bed.els[2].with(|el| el.can("eth_blockNumber", "\"0x1000\""));
    bed.until("the claim", |bed| bed.view("el3").head == Some(0x1000)).await;
    // Every node is measured by it.
    bed.handle.recheck().await;
    for name in ["el1", "el2", "el3"] {
        let view = bed.view(name);
        assert_eq!((view.condition, view.lag), ("fit", Some(0)), "{view:?}");
    }
    bed.advance().await;
    assert!(bed.views().iter().all(|n| n.votes));
}

async fn primary(bed: &Bed, name: &str) {
    bed.until(&format!("{name} is the primary"), |bed| {
        bed.handle.snapshot().primary.as_deref() == Some(name)
    })
    .await;
}

/// B23: no flapping by latency.
#[tokio::test]
async fn the_primary_is_the_first_fit_node_and_stays_it() {
    let mut bed = Setup::new(3).suffix(0, "#tier=backup").ready().await;
    primary(&bed, "el2").await;
    bed.els[1].set(Fault::Lag(ms(30)));
    for _ in 0..5 {
        bed.advance().await;
        bed.handle.recheck().await;
        assert_eq!(bed.handle.snapshot().primary.as_deref(), Some("el2"), "slow is not unfit");
    }
    bed.els[1].set(Fault::Down);
    primary(&bed, "el3").await;
    bed.els[2].set(Fault::Down);
    primary(&bed, "el1").await;
}

#[tokio::test]
async fn the_primary_returns_only_after_failback_after() {
    let bed = Setup::new(2).set("failback_after", "400ms").ready().await;
    bed.els[0].set(Fault::Down);
    primary(&bed, "el2").await;
    bed.els[0].heal();
    bed.condition("el1", "fit").await;
    assert_eq!(bed.handle.snapshot().primary.as_deref(), Some("el2"), "not yet");
    let ((), took) = timed(primary(&bed, "el1")).await;
    assert!(took >= ms(300), "{took:?}");
}

#[tokio::test]
async fn a_cordoned_primary_gives_its_place_away() {
    let bed = Setup::new(2).ready().await;
    primary(&bed, "el1").await;
    bed.handle.cordon("el1").unwrap();
    assert_eq!(bed.handle.snapshot().primary.as_deref(), Some("el2"));
    result(bed.call("eth_getBlockByNumber", "[\"latest\",false]").await);
    assert!(bed.els[1].calls().iter().any(|c| c.method == "eth_getBlockByNumber"));
    assert!(bed.els[0].calls().iter().all(|c| c.method != "eth_getBlockByNumber"));
    assert!(bed.handle.cordon("nobody").is_err());
}

#[tokio::test]
async fn the_last_node_is_not_removed() {
    let bed = Setup::new(2).ready().await;
    bed.handle.remove("el1").unwrap();
    assert!(bed.handle.remove("el2").is_err());
    assert!(bed.handle.remove("el1").is_err());
    assert_eq!(bed.handle.snapshot().primary.as_deref(), Some("el2"));
}

async fn mirror() -> ElHandle {
    let genesis = mainstay_sim::chain::Chain::new(1).tip().clone();
    ElServer::start(El::new("mirror", genesis), shared_secret()).await.unwrap().0
}

#[tokio::test]
async fn mirrors_get_a_copy_of_every_engine_call_in_order() {
    let copies = mirror().await;
    let mut bed = Setup::new(2).set("mirror", &copies.url()).ready().await;
    bed.advance().await;
    bed.advance().await;
    bed.call("engine_exchangeCapabilities", "[[]]").await;
    bed.call("eth_chainId", "[]").await;
    copies.wait_for(PATIENCE, |calls| calls.len() == 5).await.unwrap();
    assert_eq!(copies.head().number, 2);
    assert!(copies.calls().iter().all(|c| c.method.starts_with("engine_")));
    assert_eq!(bed.views().len(), 2, "it is no node");
}

#[tokio::test]
async fn a_mirror_that_is_dead_or_hangs_delays_nothing() {
    for fault in [Fault::Down, Fault::Hang, Fault::Garbage, Fault::Lie] {
        let copies = mirror().await;
        copies.set(fault.clone());
        let mut bed = Setup::new(2).set("mirror", &copies.url()).ready().await;
        let ((), took) = timed(async {
            // More than its queue holds.
            for _ in 0..45 {
                bed.advance().await;
            }
        })
        .await;
        assert!(took < ms(4000), "{fault}: {took:?}");
        if fault == Fault::Hang {
            let dropped = bed.metric("mainstay_engine_mirror_dropped_total").await;
            assert!(dropped.is_some_and(|n| n >= 20.0), "{dropped:?}");
        }
    }
}
