//! Tokens: verified, signed anew for each execution client, or handed on as they came.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use http::StatusCode;
use mainstay_node::Operated;
use mainstay_sim::{Family, Fault, request};
use mainstay_wire::jwt::{Claims, Secret};

fn other_secret() -> Secret {
    Secret::from_hex(&"77".repeat(32)).unwrap()
}

#[tokio::test]
async fn with_a_secret_tokens_are_verified_before_anything_else() {
    let bed = Setup::new(1).ready().await;
    for secret in [None, Some(other_secret())] {
        let mut stranger = bed.cl("stranger");
        stranger.secret = secret;
        let reply = stranger.post(request::new_payload(1, 4, &next(&bed.genesis))).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        assert!(!reply.body.is_empty());
    }
    assert_eq!((bed.leader(), bed.els[0].count(Family::NewPayload)), (None, 0));
}

#[tokio::test]
async fn each_el_gets_tokens_of_its_own_secret_with_the_callers_claims() {
    let bed = Setup::new(2).own_secret(1).ready().await;
    let a = bed.cl("a");
    let block = next(&bed.genesis);
    a.block(&block).await;
    bed.followed(&[0, 1], block.hash).await;
    for el in &bed.els {
        assert_eq!(el.refused(), 0);
        let call = el.calls_of(Family::NewPayload).pop().unwrap();
        assert!(matches!(call.claims, Some(Claims { id: Some(id), .. }) if id == "a"));
    }
}

#[tokio::test]
async fn without_any_secret_the_callers_token_is_handed_on() {
    let bed = Setup::new(2).pass_through().ready().await;
    let a = bed.cl("a");
    let block = next(&bed.genesis);
    a.block(&block).await;
    bed.followed(&[0, 1], block.hash).await;
    let call = bed.els[0].calls_of(Family::NewPayload).pop().unwrap();
    assert!(matches!(call.claims, Some(Claims { id: Some(id), .. }) if id == "a"), "its own token");
    // ELs that come back get what they missed with a token that was taken.
    bed.els[1].set(Fault::Down);
    bed.condition("el2", "unfit").await;
    let block = next(&block);
    a.block(&block).await;
    bed.els[1].heal();
    bed.followed(&[1], block.hash).await;
}

/// A minute after it was signed an EL takes no token any more.
#[tokio::test]
async fn what_is_sent_again_has_the_token_that_came_last() {
    let bed = Setup::new(2).pass_through().ready().await;
    let mut a = bed.cl("a");
    bed.els[1].set(Fault::Down);
    bed.condition("el2", "unfit").await;
    let block = next(&bed.genesis);
    a.age = 40;
    a.block(&block).await;
    a.age = 0;
    let before = seconds();
    a.call("eth_chainId", "[]").await;
    bed.els[1].heal();
    bed.followed(&[1], block.hash).await;
    for method in [Family::NewPayload, Family::ForkchoiceUpdated] {
        let call = bed.els[1].calls_of(method).pop().unwrap();
        assert!(
            call.claims.as_ref().is_some_and(|claims| claims.iat >= before),
            "{method:?}: {:?}",
            call.claims
        );
    }
}

#[tokio::test]
async fn a_junk_token_harms_no_el_and_keeps_no_payload_away() {
    let bed = Setup::new(2).pass_through().set("request_timeout", "500ms").ready().await;
    let (a, mut junk, mut none) = (bed.cl("a"), bed.cl("junk"), bed.cl("none"));
    junk.secret = Some(other_secret());
    none.secret = None;
    bed.leads(&a).await;
    let mut at = bed.genesis.clone();
    for cl in [&junk, &none] {
        for _ in 0..5 {
            let block = next(&at);
            // Before the true one, and beside it.
            assert_eq!(cl.payload(&block).await["status"], "SYNCING");
            cl.head(block.hash).await;
            cl.call("eth_chainId", "[]").await;
            let (_, told) = tokio::join!(cl.payload(&block), a.payload(&block));
            assert_eq!(told["status"], "VALID");
            assert_eq!(status(&a.head(block.hash).await), "VALID");
            bed.followed(&[0, 1], block.hash).await;
            assert!(bed.views().iter().all(|n| n.fit), "{:#?}", bed.views());
            assert_eq!(bed.leader(), Some(bed.shown(&a)));
            at = block;
        }
    }
}

#[tokio::test]
async fn who_has_no_good_token_doesnt_keep_the_lead_from_who_has() {
    let bed = Setup::new(1).pass_through().set("request_timeout", "300ms").quick_slots(300).start().await;
    let (a, mut junk) = (bed.cl("a"), bed.cl("junk"));
    junk.secret = Some(other_secret());
    let mut at = bed.genesis.clone();
    junk.call("eth_chainId", "[]").await;
    assert_eq!(bed.leader(), Some(bed.shown(&junk)));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while bed.leader() != Some(bed.shown(&a)) {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", bed.handle.snapshot());
        let block = next(&at);
        let _ = tokio::join!(junk.payload(&block), junk.head(block.hash));
        a.payload(&block).await;
        a.head(block.hash).await;
        at = block;
    }
    at = next(&at);
    a.payload(&at).await;
    a.head(at.hash).await;
    bed.followed(&[0], at.hash).await;
}
