//! §4: what the consensus client is told for newPayload and forkchoiceUpdated, through real sockets.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use mainstay_node::Operated as _;
use mainstay_sim::chain::Hash;
use mainstay_sim::{Family, Fault};
use serde_json::json;

/// Sets what a node says: V, I, S, A, E (an error −38005) or D (down).
fn say(bed: &Bed, votes: &str) {
    for (el, vote) in bed.els.iter().zip(votes.chars()) {
        let on = |fault: Fault, family| fault.on(family);
        let fault = match vote {
            'V' => Fault::Say("VALID"),
            'I' => Fault::Say("INVALID"),
            'S' => Fault::Say("SYNCING"),
            'A' => Fault::Say("ACCEPTED"),
            'E' => Fault::RpcError(-38005),
            'H' => Fault::HttpError(503, "busy".into()),
            'G' => Fault::Garbage,
            _ => panic!("{vote}"),
        };
        el.set(on(fault.clone(), Family::NewPayload));
        el.add(on(fault, Family::ForkchoiceUpdated));
    }
}

#[tokio::test]
async fn the_table_of_votes() {
    for (votes, new_payload, forkchoice) in [
        ("VVV", "VALID", "VALID"),
        ("VVS", "VALID", "VALID"),
        ("VVA", "VALID", "VALID"),
        ("VVE", "VALID", "VALID"),
        ("VVH", "VALID", "VALID"),
        ("VVG", "VALID", "VALID"),
        ("VEH", "VALID", "VALID"),
        ("VSS", "SYNCING", "SYNCING"),
        ("SSS", "SYNCING", "SYNCING"),
        ("AAA", "ACCEPTED", "SYNCING"),
        ("AAS", "SYNCING", "SYNCING"),
        ("III", "INVALID", "INVALID"),
        ("IIV", "INVALID", "INVALID"),
        ("IIS", "INVALID", "INVALID"),
        ("IEE", "INVALID", "INVALID"),
        ("VVI", "SYNCING", "SYNCING"),
        ("VIS", "SYNCING", "SYNCING"),
        ("VI", "SYNCING", "SYNCING"),
        ("IS", "SYNCING", "SYNCING"),
        ("VS", "VALID", "VALID"),
        ("VVVVI", "SYNCING", "SYNCING"),
        ("IIIVV", "INVALID", "INVALID"),
    ] {
        let mut bed = Setup::new(votes.len()).ready().await;
        say(&bed, votes);
        let block = bed.chain.grow();
        assert_eq!(status(&bed.new_payload(&block).await), new_payload, "newPayload {votes}");
        // A vote that was lost in the first round must not colour the second.
        let mut bed = Setup::new(votes.len()).ready().await;
        say(&bed, votes);
        let block = bed.chain.grow();
        assert_eq!(status(&bed.forkchoice(block.hash).await), forkchoice, "forkchoiceUpdated {votes}");
    }
}

#[tokio::test]
async fn an_answer_of_a_round_has_the_hash_of_the_block_and_nothing_else() {
    let mut bed = Setup::new(3).ready().await;
    let block = bed.chain.grow();
    let told = json!({"status":"VALID","latestValidHash":block.hash.to_string(),"validationError":null});
    assert_eq!(bed.new_payload(&block).await, told);
    assert_eq!(bed.forkchoice(block.hash).await, json!({"payloadStatus":told,"payloadId":null}));
}

#[tokio::test]
async fn invalid_comes_with_what_most_of_them_gave() {
    let mut bed = Setup::new(3).ready().await;
    let parent = bed.advance().await;
    let bad = bed.chain.grow_bad();
    let told = bed.new_payload(&bad).await;
    assert_eq!(told["status"], "INVALID");
    assert_eq!(told["latestValidHash"], parent.hash.to_string());
    assert_eq!(told["validationError"], "marked bad");
}

#[tokio::test]
async fn invalid_nodes_that_name_different_ancestors_give_null() {
    let mut bed = Setup::new(2).ready().await;
    let block = bed.chain.grow();
    let said = |hash: char| {
        let hash = format!("0x{}", hash.to_string().repeat(64));
        json!({"status":"INVALID","latestValidHash":hash,"validationError":format!("by {hash}")}).to_string()
    };
    for (el, hash) in bed.els.iter().zip(['a', 'b']) {
        el.with(|el| el.can("engine_newPayloadV4", &said(hash)));
    }
    let told = bed.new_payload(&block).await;
    assert_eq!(told, json!({"status":"INVALID","latestValidHash":null,"validationError":null}));
}

#[tokio::test]
async fn inclusion_list_satisfied_survives() {
    for satisfied in [true, false] {
        let setup =
            (0..3).fold(Setup::new(3), |s, i| s.el(i, |el| el.inclusion_list_satisfied = Some(satisfied)));
        let mut bed = setup.ready().await;
        let block = bed.chain.grow();
        assert_eq!(bed.new_payload(&block).await["inclusionListSatisfied"], satisfied);
    }
}

#[tokio::test]
async fn the_answer_does_not_wait_for_replies_that_cant_change_it() {
    let mut bed = Setup::new(3).set("straggler_wait", "0s").ready().await;
    bed.els[2].set(Fault::Hang);
    let block = bed.chain.grow();
    let (told, took) = timed(bed.new_payload(&block)).await;
    assert_eq!(told["status"], "VALID");
    assert!(took < ms(1500), "{took:?}");
    // Two INVALID of three need nobody else, however long stragglers are waited for.
    let mut bed = Setup::new(3).set("straggler_wait", "timeout").ready().await;
    bed.els[2].set(Fault::Hang);
    for el in &bed.els[..2] {
        el.set(Fault::Lie);
    }
    let block = bed.chain.grow();
    let (told, took) = timed(bed.new_payload(&block)).await;
    assert_eq!(told["status"], "INVALID");
    assert!(took < ms(1500), "{took:?}");
}

#[tokio::test]
async fn a_fixed_straggler_wait_is_kept() {
    let mut bed = Setup::new(3).set("straggler_wait", "300ms").ready().await;
    bed.els[2].set(Fault::Hang.on(Family::NewPayload));
    let block = bed.chain.grow();
    let (told, took) = timed(bed.new_payload(&block)).await;
    assert_eq!(told["status"], "VALID");
    assert!(took >= ms(300) && took < ms(1500), "{took:?}");
    let round = bed.round("engine_newPayload").await;
    assert!(round.early);
    assert_eq!(round.votes[2].1, "pending");
}

#[tokio::test]
async fn with_timeout_all_are_waited_for() {
    let mut bed = Setup::new(3).set("straggler_wait", "timeout").ready().await;
    bed.els[2].set(Fault::Lag(ms(700)).on(Family::NewPayload));
    bed.els[2].add(Fault::Lie.on(Family::NewPayload));
    let block = bed.chain.grow();
    let (told, took) = timed(bed.new_payload(&block)).await;
    assert_eq!(told["status"], "SYNCING", "its INVALID is heard");
    assert!(took >= ms(700), "{took:?}");
}

#[tokio::test]
async fn the_adaptive_wait_follows_the_nodes_own_figures() {
    let mut bed = Setup::new(3).set("straggler_wait", "adaptive").ready().await;
    // Enough answers for the nodes' own figures to be believed: some milliseconds each.
    for _ in 0..12 {
        bed.advance().await;
    }
    let usual = bed.view("el3").payload_p95_us.unwrap();
    bed.els[2].set(Fault::Hang.on(Family::NewPayload));
    let block = bed.chain.grow();
    let (told, took) = timed(bed.new_payload(&block)).await;
    assert_eq!(told["status"], "VALID");
    let most = ms(500).min(std::time::Duration::from_micros(usual * 3 / 2).max(ms(20)));
    assert!(took >= most && took < most + ms(400), "waited {took:?}, for {usual} µs");
}

#[tokio::test]
async fn who_keeps_straggling_votes_and_is_waited_for_no_more() {
    let mut bed = Setup::new(3).set("straggler_wait", "60ms").ready().await;
    bed.els[2].set(Fault::Lag(ms(200)).on(Family::NewPayload));
    for _ in 0..3 {
        let block = bed.chain.grow();
        assert_eq!(bed.new_payload(&block).await["status"], "VALID");
        // The round is over when the late reply is in.
        while bed.round("engine_newPayload").await.votes[2].1 != "VALID" {}
    }
    bed.standing("el3", "straggling").await;
    assert!(bed.view("el3").votes);
    let block = bed.chain.grow();
    let (_, took) = timed(bed.new_payload(&block)).await;
    assert!(took < ms(60), "waited {took:?}");
    // In time again: waited for again.
    bed.els[2].heal();
    while bed.view("el3").standing != "votes" {
        bed.advance().await;
        bed.round("engine_newPayload").await;
    }
}

#[tokio::test]
async fn a_late_invalid_makes_the_next_answers_syncing_until_it_is_taken_back() {
    let mut bed = Setup::new(3).set("straggler_wait", "0s").ready().await;
    let block = bed.chain.grow();
    bed.els[2].set(Fault::Lag(ms(150)).on(Family::NewPayload).times(1));
    bed.els[2].add(Fault::Lie.on(Family::NewPayload).times(1));
    // It says nothing more of the block, so what it said stands.
    bed.els[2].add(Fault::RpcError(-32000).on(Family::ForkchoiceUpdated).times(1));
    assert_eq!(bed.new_payload(&block).await["status"], "VALID");
    while bed.round("engine_newPayload").await.votes[2].1 != "INVALID" {}
    assert_eq!(status(&bed.forkchoice(block.hash).await), "SYNCING");
    assert!(bed.metric("mainstay_engine_late_invalid_total").await == Some(1.0));
    // It thinks otherwise now.
    bed.new_payload(&block).await;
    while bed.round("engine_newPayload").await.votes[2].1 != "VALID" {}
    assert_eq!(status(&bed.forkchoice(block.hash).await), "VALID");
}

/// VALID of a block is VALID of all that it builds on: a slow node's INVALID isn't forgotten with the next block.
#[tokio::test]
async fn a_late_invalid_holds_for_the_blocks_that_build_on_it() {
    let mut bed = Setup::new(3).set("straggler_wait", "0s").ready().await;
    bed.advance().await;
    bed.els[2].set(Fault::Lag(ms(150)).on(Family::NewPayload).times(1));
    bed.els[2].add(Fault::Lie.on(Family::NewPayload).times(1));
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "VALID");
    while bed.round("engine_newPayload").await.votes[2].1 != "INVALID" {}
    // After that it has nothing to say for a while.
    bed.els[2].set(Fault::RpcError(-32000));
    let next = bed.chain.grow();
    assert_eq!(bed.new_payload(&next).await["status"], "SYNCING");
    assert_eq!(status(&bed.forkchoice(next.hash).await), "SYNCING");
    let reasons = |bed: &Bed| bed.handle.health().1.join("; ");
    bed.until("the dispute", |bed| reasons(bed).contains(&format!("disagree about {}", next.hash))).await;
    // Of a later block it says VALID.
    bed.els[2].heal();
    bed.new_payload(&next).await;
    while bed.round("engine_newPayload").await.votes[2].1 != "VALID" {}
    assert_eq!(status(&bed.forkchoice(block.hash).await), "VALID", "and by that of this one");
    bed.advance().await;
    bed.until("agreement", |bed| !reasons(bed).contains("disagree")).await;
}

/// Found while writing these: the INVALID can come in while the forkchoiceUpdated is being decided.
#[tokio::test]
async fn an_invalid_that_comes_in_during_the_next_round_counts_in_it() {
    let mut bed = Setup::new(3).set("straggler_wait", "400ms").ready().await;
    let block = bed.chain.grow();
    bed.els[2].set(Fault::Lag(ms(600)).on(Family::NewPayload));
    bed.els[2].add(Fault::Lie.on(Family::NewPayload));
    bed.els[2].add(Fault::Hang.on(Family::ForkchoiceUpdated));
    assert_eq!(bed.new_payload(&block).await["status"], "VALID");
    // Begins before the late INVALID and is decided after it.
    assert_eq!(status(&bed.forkchoice(block.hash).await), "SYNCING");
}

#[tokio::test]
async fn a_cordon_ends_what_a_late_invalid_did() {
    let mut bed = Setup::new(3).set("straggler_wait", "0s").ready().await;
    let block = bed.chain.grow();
    bed.els[2].set(Fault::Lag(ms(100)).on(Family::NewPayload));
    bed.els[2].add(Fault::Lie);
    assert_eq!(bed.new_payload(&block).await["status"], "VALID");
    while bed.round("engine_newPayload").await.votes[2].1 != "INVALID" {}
    assert_eq!(status(&bed.forkchoice(block.hash).await), "SYNCING");
    bed.handle.cordon("el3").unwrap();
    assert_eq!(status(&bed.forkchoice(block.hash).await), "VALID");
    assert_eq!(bed.new_payload(&block).await["status"], "VALID");
}

#[tokio::test]
async fn a_lone_invalid_is_outvoted_only_where_the_owner_chose_so() {
    let mut bed = Setup::new(3).set("on_dissent", "majority").ready().await;
    bed.els[1].set(Fault::Lie);
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "VALID");
    assert_eq!(status(&bed.forkchoice(block.hash).await), "VALID");
    // Alone against one it is not outvoted.
    bed.handle.cordon("el3").unwrap();
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "SYNCING");
}

#[tokio::test]
async fn quarantine_takes_the_vote_of_who_dissents_alone_until_it_agrees() {
    let mut bed = Setup::new(3).set("quarantine_after", "2").ready().await;
    bed.els[2].set(Fault::Lie);
    for standing in ["votes", "quarantined"] {
        let block = bed.chain.grow();
        assert_eq!(bed.new_payload(&block).await["status"], "SYNCING");
        bed.round("engine_newPayload").await;
        bed.standing("el3", standing).await;
    }
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "VALID", "two are left to vote");
    bed.round("engine_newPayload").await;
    assert_eq!(bed.view("el3").standing, "quarantined");
    bed.els[2].heal();
    bed.advance().await;
    bed.standing("el3", "votes").await;
}

/// Who was quarantined as the primary serves nothing from that moment on, not from the next probe.
#[tokio::test]
async fn a_quarantined_primary_gives_its_place_away_at_once() {
    let setup = Setup::new(3).set("quarantine_after", "1").set("probe_interval", "60s");
    let mut bed = setup.ready().await;
    bed.els[0].set(Fault::Lie);
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "SYNCING");
    // Counted after its standing is judged. (To look at the nodes would choose the primary anew.)
    splits(&bed, 1.0).await;
    result(bed.call("eth_getBlockByNumber", "[\"latest\",false]").await);
    assert!(bed.els[0].calls().iter().all(|c| c.method != "eth_getBlockByNumber"));
}

/// Waits until `n` split votes have been noted, which is the last thing that a round does.
async fn splits(bed: &Bed, n: f64) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while bed.metric("mainstay_engine_evidence_total").await.is_none_or(|seen| seen < n) {
        assert!(tokio::time::Instant::now() < deadline, "no {n} split votes");
    }
}

/// A node that has no vote makes nobody a lone dissenter.
#[tokio::test]
async fn quarantine_does_not_go_by_nodes_without_a_vote() {
    let mut bed = Setup::new(3).set("quarantine_after", "1").suffix(2, "#do-not-use").ready().await;
    bed.els[1].set(Fault::Lie);
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "SYNCING", "one against one");
    splits(&bed, 1.0).await;
    assert_eq!(bed.view("el2").standing, "votes");
}

/// Nor does it keep anybody from being one.
#[tokio::test]
async fn a_lone_dissenter_gets_no_help_from_nodes_without_a_vote() {
    let mut bed = Setup::new(4).set("quarantine_after", "1").suffix(3, "#do-not-use").ready().await;
    for el in &bed.els[2..] {
        el.set(Fault::Lie);
    }
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "SYNCING");
    bed.standing("el3", "quarantined").await;
}

/// Found by the simulation: two liars, of which one was quarantined already, outvoted the honest node.
#[tokio::test]
async fn a_quarantined_node_is_no_measure_for_others() {
    let mut bed = Setup::new(3).set("quarantine_after", "1").ready().await;
    bed.els[2].set(Fault::Lie);
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "SYNCING");
    bed.standing("el3", "quarantined").await;
    bed.els[1].set(Fault::Lie);
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "SYNCING", "one against one");
    splits(&bed, 2.0).await;
    let standings: Vec<_> = bed.views().iter().map(|n| n.standing).collect();
    assert_eq!(standings, ["votes", "votes", "quarantined"]);
}

#[tokio::test]
async fn fewer_votes_than_min_votes_give_syncing() {
    let mut bed = Setup::new(3).set("min_votes", "2").ready().await;
    bed.els[1].set(Fault::RpcError(-32000));
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "VALID");
    bed.els[2].set(Fault::RpcError(-32000));
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "SYNCING");
    assert_eq!(status(&bed.forkchoice(block.hash).await), "SYNCING");
}

#[tokio::test]
async fn the_same_error_of_all_voters_is_the_answer() {
    let mut bed = Setup::new(3).ready().await;
    for el in &bed.els {
        el.set(Fault::RpcError(-38005));
    }
    let block = bed.chain.grow();
    let reply = bed.json(mainstay_sim::request::new_payload(77, 4, &block)).await;
    assert_eq!(reply, json!({"jsonrpc":"2.0","id":77,"error":{"code":-38005,"message":"Unsupported fork"}}));
    // Another code of one of them says nothing.
    bed.els[2].set(Fault::RpcError(-32602));
    assert_eq!(status(&bed.forkchoice(block.hash).await), "SYNCING");
}

#[tokio::test]
async fn without_a_vote_a_payload_is_syncing_once_its_hash_was_checked() {
    let bed = Setup::new(2).ready().await;
    for el in &bed.els {
        el.set(Fault::Down);
    }
    for name in [
        "new_payload_v2_capella",
        "new_payload_v3_cancun",
        "new_payload_v4_osaka_blobs",
        "new_payload_v5_amsterdam_requests",
    ] {
        let told = result(bed.json(recorded(name)).await);
        assert_eq!(told, json!({"status":"SYNCING","latestValidHash":null,"validationError":null}), "{name}");
        let text = String::from_utf8(recorded(name).to_vec()).unwrap();
        let told = result(bed.json(text.replacen("\"gasLimit\":\"0x", "\"gasLimit\":\"0x1", 1)).await);
        assert_eq!((&told["status"], &told["latestValidHash"]), (&"INVALID".into(), &json!(null)), "{name}");
        assert!(told["validationError"].as_str().unwrap().contains("mismatch"), "{told}");
    }
    assert_eq!(status(&bed.forkchoice(Hash::of(&[b"head"])).await), "SYNCING");
}

/// What can't be judged is not called SYNCING: it would be imported unchecked.
#[tokio::test]
async fn without_a_vote_a_payload_of_an_unknown_fork_is_an_error() {
    let bed = Setup::new(1).ready().await;
    bed.els[0].set(Fault::Down);
    let text = String::from_utf8(recorded("new_payload_v4_osaka").to_vec()).unwrap();
    let reply = bed.post(text.replacen("\"gasLimit\"", "\"fromTheFuture\":1,\"gasLimit\"", 1)).await;
    assert_eq!(reply.status, 503);
    assert_eq!(code(&serde_json::from_slice(&reply.body).unwrap()), -32000);
}

#[tokio::test]
async fn without_a_vote_the_owner_may_want_an_error() {
    let bed = Setup::new(2).set("on_shortfall", "error").ready().await;
    for el in &bed.els {
        el.set(Fault::Down);
    }
    for body in [
        recorded("new_payload_v4_osaka"),
        mainstay_sim::request::forkchoice_updated(
            36,
            3,
            mainstay_sim::request::Forkchoice::head(Hash::of(&[b"head"])),
            None,
        ),
    ] {
        let reply = bed.post(body).await;
        assert_eq!(reply.status, 503);
        let reply = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((code(&reply), &reply["id"]), (-32000, &36.into()));
    }
}

#[tokio::test]
async fn a_fresh_chain_starts_whatever_eth_syncing_says() {
    for fault in [Fault::Indexing, Fault::Syncing] {
        let mut setup = Setup::new(3);
        for i in 0..3 {
            let fault = fault.clone();
            setup = setup.before(i, move |el| el.set(fault.on(Family::Eth)));
        }
        let mut bed = setup.start().await;
        bed.until("probed", |bed| bed.views().iter().all(|n| n.condition != "unknown")).await;
        for _ in 0..3 {
            bed.advance().await;
        }
        assert!(bed.els.iter().all(|el| el.head().number == 3));
    }
}

#[tokio::test]
async fn the_first_calls_after_the_start_wait_for_no_probe() {
    let mut bed = Setup::new(3).start().await;
    bed.advance().await;
    assert!(bed.els.iter().all(|el| el.head().number == 1));
}
