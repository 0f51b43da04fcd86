//! What is told of the last rounds, and a majority that an operator sets.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use mainstay_node::{Action, Operated as _, Refused};
use mainstay_sim::{Family, Fault};
use serde_json::{Value, json};

fn recent(bed: &Bed) -> Value {
    bed.handle.recent().unwrap()
}

fn said(round: &Value) -> Vec<(&str, &str)> {
    let votes = round["votes"].as_array().unwrap();
    votes.iter().map(|vote| (vote["node"].as_str().unwrap(), vote["said"].as_str().unwrap())).collect()
}

/// The last newPayload that is told of.
fn last(recent: &Value) -> Option<&Value> {
    let mut rounds = recent["rounds"].as_array().unwrap().iter();
    rounds.rfind(|round| round["method"].as_str().unwrap().contains("newPayload"))
}

#[tokio::test]
async fn rounds_are_told_with_what_came_late() {
    let mut bed = Setup::new(3).set("straggler_wait", "20ms").ready().await;
    // Out for longer than those who watch are kept waiting.
    bed.els[2].set(Fault::Lag(ms(1500)).on(Family::NewPayload));
    let block = bed.chain.grow();
    assert_eq!(status(&bed.new_payload(&block).await), "VALID");
    let told = |said_by_last: &'static str| {
        move |bed: &Bed| {
            let recent = recent(bed);
            last(&recent).is_some_and(|round| said(round).last() == Some(&("el3", said_by_last)))
        }
    };
    bed.until("the round is told before the last has answered", told("pending")).await;
    bed.until("and again when he has", told("VALID")).await;
    let recent = recent(&bed);
    let round = last(&recent).unwrap();
    assert_eq!(said(round), [("el1", "VALID"), ("el2", "VALID"), ("el3", "VALID")]);
    assert_eq!(
        (&round["verdict"], &round["early"], &round["block"]),
        (&json!("VALID"), &json!(true), &json!(block.hash.to_string()))
    );
    assert!(round["votes"][2]["took_us"].as_u64().unwrap() > round["took_us"].as_u64().unwrap());
    assert_eq!(recent["disagreements"], json!([]));
    let figures = bed.handle.figures();
    assert!(figures.iter().any(|figure| figure.of.is_empty() && figure.figure == "time to the answer"));
}

#[tokio::test]
async fn a_disagreement_is_told_with_who_said_what() {
    let mut bed = Setup::new(3).ready().await;
    bed.els[1].set(Fault::Say("INVALID").on(Family::NewPayload));
    let block = bed.chain.grow();
    assert_eq!(status(&bed.new_payload(&block).await), "SYNCING");
    bed.until("it is told", |bed| recent(bed)["disagreements"].as_array().unwrap().len() == 1).await;
    let recent = recent(&bed);
    let one = &recent["disagreements"][0];
    assert_eq!((&one["cause"], &one["verdict"]), (&json!("split vote"), &json!("SYNCING")));
    assert_eq!(one["block"], json!(block.hash.to_string()));
    assert_eq!(said(one), [("el1", "VALID"), ("el2", "INVALID"), ("el3", "VALID")]);
}

#[tokio::test]
async fn a_majority_that_is_set_counts_from_the_next_round_on() {
    let mut bed = Setup::new(3).ready().await;
    bed.els[2].set(Fault::Say("SYNCING").on(Family::NewPayload));
    let block = bed.chain.grow();
    assert_eq!(status(&bed.new_payload(&block).await), "VALID");
    bed.handle.act(Action::Majority { share: 0.9 }).await.unwrap();
    assert_eq!(bed.handle.snapshot().majority, 0.9);
    // el3 lost its vote by SYNCING; an INVALID counts again.
    bed.els[2].set(Fault::Say("VALID").on(Family::NewPayload));
    bed.els[1].set(Fault::Say("SYNCING").on(Family::NewPayload));
    let block = bed.chain.grow();
    assert_eq!(status(&bed.new_payload(&block).await), "SYNCING");
    for wrong in [1.5, -0.1, f64::NAN] {
        let refused = bed.handle.act(Action::Majority { share: wrong }).await;
        assert!(matches!(refused, Err(Refused::Bad(_))), "{wrong}");
    }
    assert_eq!(bed.handle.snapshot().majority, 0.9);
}
