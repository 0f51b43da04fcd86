//! §4: what each execution client is sent, and in which order: one FIFO, replacement of heads, replay of what was missed,
//! and who gets calls without a vote.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use mainstay_sim::chain::{Block, Recipe};
use mainstay_sim::{ElHandle, Family, Fault};

/// The voted calls that a node got, as `p1 h1 …`: payloads and heads by their block's number.
fn order(el: &ElHandle, blocks: &[Block]) -> String {
    let number = |raw: &[u8], key: &str| {
        let text = String::from_utf8_lossy(raw).into_owned();
        let named = |b: &Block| text.contains(&format!("\"{key}\":\"{}\"", b.hash));
        blocks.iter().find(|b| named(b)).map_or("?".to_owned(), |b| b.number.to_string())
    };
    let calls = el.calls();
    let words = calls.iter().filter_map(|call| match call.family() {
        Family::NewPayload => Some(format!("p{}", number(&call.raw, "blockHash"))),
        Family::ForkchoiceUpdated => Some(format!("h{}", number(&call.raw, "headBlockHash"))),
        _ => None,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// B24 and finding 1 of real clients: an early answer must not reorder calls for a slow node.
#[tokio::test]
async fn a_slow_node_never_sees_a_head_before_its_payload() {
    let mut bed = Setup::new(3).set("straggler_wait", "0s").ready().await;
    bed.els[2].set(Fault::Lag(ms(60)).on(Family::NewPayload));
    for _ in 0..5 {
        bed.advance().await;
    }
    let tip = bed.chain.tip().clone();
    bed.els[2].wait_until(PATIENCE, |el| el.head().hash == tip.hash).await.unwrap();
    let seen = order(&bed.els[2], bed.chain.blocks());
    let payloads: Vec<&str> = seen.split(' ').filter(|w| w.starts_with('p')).collect();
    assert_eq!(payloads, ["p1", "p2", "p3", "p4", "p5"], "{seen}");
    for n in 1..=5 {
        let (payload, head) = (seen.find(&format!("p{n}")).unwrap(), seen.find(&format!("h{n}")));
        assert!(head.is_none_or(|head| payload < head), "{seen}");
    }
    assert_eq!(bed.view("el3").standing, "straggling", "and it was never muted");
}

#[tokio::test]
async fn a_newer_head_takes_the_place_of_older_ones_still_queued() {
    let mut bed = Setup::new(3).set("straggler_wait", "0s").ready().await;
    bed.els[2].set(Fault::Hang.on(Family::NewPayload).times(1));
    for _ in 0..4 {
        bed.advance().await;
    }
    bed.els[2].wait_for_calls(Family::NewPayload, 1, PATIENCE).await.unwrap();
    bed.els[2].heal();
    let tip = bed.chain.tip().clone();
    bed.els[2].wait_until(PATIENCE, |el| el.head().hash == tip.hash).await.unwrap();
    assert_eq!(order(&bed.els[2], bed.chain.blocks()), "p1 p2 p3 p4 h4");
    assert_eq!(order(&bed.els[0], bed.chain.blocks()), "p1 h1 p2 h2 p3 h3 p4 h4");
}

#[tokio::test]
async fn a_head_with_attributes_is_not_replaced_by_the_same_head_without() {
    let mut bed = Setup::new(3).set("straggler_wait", "0s").ready().await;
    bed.els[2].set(Fault::Hang.on(Family::NewPayload).times(1));
    let block = bed.chain.grow();
    bed.new_payload(&block).await;
    bed.build_on(block.hash, &bed.chain.next_attributes()).await;
    bed.forkchoice(block.hash).await;
    bed.els[2].heal();
    bed.els[2].wait_for_calls(Family::ForkchoiceUpdated, 2, PATIENCE).await.unwrap();
    assert_eq!(order(&bed.els[2], bed.chain.blocks()), "p1 h1 h1");
    assert!(
        String::from_utf8_lossy(&bed.els[2].calls_of(Family::ForkchoiceUpdated)[0].raw).contains("timestamp")
    );
}

/// Finding 2 of real clients: without peers it never recovers by itself.
#[tokio::test]
async fn a_node_that_comes_back_gets_what_it_missed_and_then_the_head() {
    let mut bed = Setup::new(3).ready().await;
    bed.advance().await;
    bed.els[2].set(Fault::Down);
    for _ in 0..10 {
        bed.advance().await;
    }
    bed.condition("el3", "unfit").await;
    bed.els[2].clear_calls();
    bed.els[2].heal();
    let tip = bed.chain.tip().clone();
    bed.els[2].wait_until(PATIENCE, |el| el.head().hash == tip.hash).await.unwrap();
    let seen = order(&bed.els[2], bed.chain.blocks());
    assert_eq!(seen, "p2 p3 p4 p5 p6 p7 p8 p9 p10 p11 h11", "without a call of the consensus client");
    bed.standing("el3", "votes").await;
    bed.until("el3 votes", |bed| bed.view("el3").votes).await;
    assert_eq!(bed.view("el3").gap, None);
}

/// Finding 11: after a crash it can be behind where it died.
#[tokio::test]
async fn a_replay_starts_at_the_nodes_own_head() {
    let mut bed = Setup::new(3).ready().await;
    for _ in 0..6 {
        bed.advance().await;
    }
    bed.els[2].set(Fault::Down);
    bed.condition("el3", "unfit").await;
    // It has forgotten the last blocks.
    let old = bed.chain.blocks()[3].clone();
    let genesis = bed.chain.blocks()[0].clone();
    bed.els[2].with(|el| {
        *el = mainstay_sim::El::new("el3", genesis);
    });
    for block in &bed.chain.blocks()[1..=3] {
        assert!(bed.els[2].with(|el| el.follow(block)));
    }
    assert_eq!(bed.els[2].head(), old);
    bed.els[2].clear_calls();
    bed.els[2].heal();
    let tip = bed.chain.tip().clone();
    bed.els[2].wait_until(PATIENCE, |el| el.head().hash == tip.hash).await.unwrap();
    assert_eq!(order(&bed.els[2], bed.chain.blocks()), "p4 p5 p6 h6");
}

#[tokio::test]
async fn syncing_where_another_says_valid_costs_the_vote_and_brings_a_replay() {
    let mut bed = Setup::new(3).ready().await;
    // It lost blocks that it had, and nothing shows it but its answers.
    for _ in 0..3 {
        bed.advance().await;
    }
    let genesis = bed.chain.blocks()[0].clone();
    bed.els[2].with(|el| *el = mainstay_sim::El::new("el3", genesis));
    bed.els[2].clear_calls();
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "VALID");
    bed.els[2].wait_until(PATIENCE, |el| el.head().number == 3).await.unwrap();
    bed.standing("el3", "votes").await;
    assert_eq!(order(&bed.els[2], bed.chain.blocks()), "p4 p1 p2 p3 p4 h3", "with the block to come");
    assert_eq!(status(&bed.forkchoice(block.hash).await), "VALID");
    assert_eq!(bed.view("el3").standing, "votes");
}

#[tokio::test]
async fn a_node_that_goes_on_syncing_has_no_vote_until_valid() {
    let mut bed = Setup::new(3).ready().await;
    bed.els[1].set(Fault::LieSyncing);
    bed.els[2].set(Fault::LieSyncing);
    // One VALID of three: no majority yet, and then the two have lost their votes.
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "SYNCING");
    bed.standing("el2", "muted").await;
    bed.standing("el3", "muted").await;
    bed.advance().await;
    assert!(bed.els[2].count(Family::NewPayload) >= 2, "it still gets every call");
    bed.els[1].heal();
    bed.advance().await;
    bed.standing("el2", "votes").await;
    assert_eq!(bed.view("el3").standing, "muted");
}

/// A late reply of one round must not take back what a later round gave.
#[tokio::test]
async fn a_node_is_muted_once_for_one_answer() {
    let mut bed = Setup::new(4).set("straggler_wait", "50ms").set("timeout", "600ms").ready().await;
    bed.els[2].set(Fault::LieSyncing.on(Family::NewPayload).times(1));
    bed.els[1].set(Fault::Hang.on(Family::NewPayload).times(1));
    let block = bed.chain.grow();
    assert_eq!(bed.new_payload(&block).await["status"], "VALID");
    // el3 is led back at once, el2's silence ends the round only at its timeout.
    bed.forkchoice(block.hash).await;
    bed.standing("el3", "votes").await;
    let calls = bed.els[2].count(Family::ForkchoiceUpdated);
    while bed.round("engine_newPayload").await.votes[1].1 != "timeout" {}
    bed.handle.recheck().await;
    assert_eq!(bed.view("el3").standing, "votes");
    assert_eq!(bed.els[2].count(Family::ForkchoiceUpdated), calls, "and nothing is replayed again");
}

#[tokio::test]
async fn a_gap_deeper_than_what_is_kept_is_shown_and_left_to_the_node() {
    let mut bed = Setup::new(3).set("replay_blocks", "4").ready().await;
    bed.els[2].set(Fault::Down);
    for _ in 0..10 {
        bed.advance().await;
    }
    bed.condition("el3", "unfit").await;
    bed.els[2].clear_calls();
    bed.els[2].heal();
    bed.until("the gap", |bed| bed.view("el3").gap == Some(6)).await;
    assert!(!bed.view("el3").votes);
    assert_eq!(bed.els[2].count(Family::NewPayload), 0);
    // Its own sync closes it.
    for block in &bed.chain.blocks()[1..] {
        bed.els[2].with(|el| el.follow(block));
    }
    bed.advance().await;
    bed.until("el3 votes", |bed| bed.view("el3").votes && bed.view("el3").gap.is_none()).await;
}

#[tokio::test]
async fn what_is_kept_for_replays_is_bounded_by_bytes_too() {
    let padding = 30_000;
    let mut bed = Setup::new(2).set("replay_bytes", "100KiB").ready().await;
    bed.els[1].set(Fault::Down);
    for _ in 0..6 {
        let block = bed.chain.grow_with(&Recipe { padding, ..Default::default() });
        assert_eq!(bed.new_payload(&block).await["status"], "VALID");
        assert_eq!(status(&bed.forkchoice(block.hash).await), "VALID");
    }
    bed.condition("el2", "unfit").await;
    bed.els[1].clear_calls();
    bed.els[1].heal();
    bed.until("the gap", |bed| bed.view("el2").gap == Some(3)).await;
    assert_eq!(bed.els[1].count(Family::NewPayload), 0);
    // The newest is kept whatever its size.
    let mut bed = Setup::new(2).set("replay_bytes", "1KiB").ready().await;
    bed.els[1].set(Fault::Down);
    let block = bed.chain.grow_with(&Recipe { padding, ..Default::default() });
    assert_eq!(bed.new_payload(&block).await["status"], "VALID");
    assert_eq!(status(&bed.forkchoice(block.hash).await), "VALID");
    bed.condition("el2", "unfit").await;
    bed.els[1].heal();
    bed.els[1].wait_until(PATIENCE, |el| el.head().hash == block.hash).await.unwrap();
}

#[tokio::test]
async fn a_replay_that_fails_is_tried_again() {
    let mut bed = Setup::new(3).ready().await;
    bed.els[2].set(Fault::Down);
    for _ in 0..3 {
        bed.advance().await;
    }
    bed.condition("el3", "unfit").await;
    // It comes back and takes its time until payloads work: the probe sees it fit.
    bed.els[2].set(Fault::RpcError(-32603).on(Family::ForkchoiceUpdated).times(1));
    let tip = bed.chain.tip().clone();
    bed.els[2].wait_until(PATIENCE, |el| el.head().hash == tip.hash).await.unwrap();
    bed.standing("el3", "votes").await;
}

/// Replays in vain are tried less and less often; a node that comes back starts anew.
#[tokio::test]
async fn a_node_that_comes_back_again_is_not_made_to_wait() {
    let mut bed = Setup::new(3).ready().await;
    bed.els[2].set(Fault::Down);
    for _ in 0..3 {
        bed.advance().await;
    }
    bed.condition("el3", "unfit").await;
    bed.els[2].set(Fault::RpcError(-32000));
    bed.until("a replay in vain", |bed| bed.view("el3").replays_in_vain == 1).await;
    bed.els[2].set(Fault::Down);
    bed.condition("el3", "unfit").await;
    let tip = bed.chain.tip().clone();
    bed.els[2].heal();
    bed.els[2].wait_until(ms(1500), |el| el.head().hash == tip.hash).await.unwrap();
    assert_eq!(bed.view("el3").replays_in_vain, 0);
}

/// Nor one that its operator puts back.
#[tokio::test]
async fn a_node_that_is_uncordoned_is_not_made_to_wait() {
    let mut bed = Setup::new(3).ready().await;
    bed.advance().await;
    bed.handle.cordon("el3").unwrap();
    bed.els[2].set(Fault::RpcError(-32000));
    bed.advance().await;
    // Its client lost some blocks, and says so.
    bed.els[2].set(Fault::Syncing.on(Family::NewPayload));
    bed.els[2].add(Fault::RpcError(-32000).on(Family::ForkchoiceUpdated));
    bed.advance().await;
    bed.until("a replay in vain", |bed| bed.view("el3").replays_in_vain == 1).await;
    let tip = bed.chain.tip().clone();
    bed.els[2].heal();
    bed.handle.uncordon("el3").unwrap();
    bed.els[2].wait_until(ms(1500), |el| el.head().hash == tip.hash).await.unwrap();
}

#[tokio::test]
async fn do_not_use_and_cordoned_nodes_get_every_call_and_no_vote() {
    let mut bed = Setup::new(3).suffix(1, "#do-not-use").ready().await;
    bed.handle.cordon("el3").unwrap();
    bed.els[1].set(Fault::Lie);
    bed.els[2].set(Fault::Lag(ms(400)).on(Family::NewPayload));
    let block = bed.chain.grow();
    let (told, took) = timed(bed.new_payload(&block)).await;
    assert_eq!(told["status"], "VALID");
    assert!(took < ms(400), "nobody waits for them: {took:?}");
    for (i, standing) in [(1, "do-not-use"), (2, "cordoned")] {
        bed.els[i].wait_for_calls(Family::NewPayload, 1, PATIENCE).await.unwrap();
        let view = &bed.views()[i];
        assert_eq!((view.standing, view.votes), (standing, false));
    }
    bed.handle.uncordon("el3").unwrap();
    assert!(bed.view("el3").votes);
}

/// A node without a vote needs what it missed as well: it may be put back any time.
#[tokio::test]
async fn cordoned_nodes_are_led_back_to_the_head_too() {
    let mut bed = Setup::new(2).ready().await;
    bed.handle.cordon("el2").unwrap();
    for _ in 0..3 {
        bed.advance().await;
    }
    bed.els[1].wait_until(PATIENCE, |el| el.head().number == 3).await.unwrap();
    let genesis = bed.chain.blocks()[0].clone();
    bed.els[1].with(|el| *el = mainstay_sim::El::new("el2", genesis));
    bed.advance().await;
    bed.els[1].wait_until(PATIENCE, |el| el.head().number == 4).await.unwrap();
}

#[tokio::test]
async fn a_drained_node_gets_nothing_until_it_is_put_back() {
    let mut bed = Setup::new(3).ready().await;
    bed.handle.drain("el3").unwrap();
    bed.els[2].clear_calls();
    // Also not when it comes back from a restart, which is what it was drained for.
    bed.els[2].set(Fault::Down);
    bed.advance().await;
    bed.condition("el3", "unfit").await;
    bed.els[2].heal();
    bed.condition("el3", "fit").await;
    for _ in 0..3 {
        bed.advance().await;
    }
    assert_eq!(order(&bed.els[2], bed.chain.blocks()), "");
    bed.handle.uncordon("el3").unwrap();
    bed.els[2].wait_until(PATIENCE, |el| el.head().number == 4).await.unwrap();
    bed.standing("el3", "votes").await;
    assert_eq!(order(&bed.els[2], bed.chain.blocks()), "p1 p2 p3 p4 h4");
}

#[tokio::test]
async fn a_payload_that_the_chain_left_out_is_not_replayed() {
    let mut bed = Setup::new(3).ready().await;
    bed.advance().await;
    bed.els[2].set(Fault::Down);
    bed.condition("el3", "unfit").await;
    let good = bed.chain.tip().clone();
    let bad = bed.chain.grow_bad();
    assert_eq!(bed.new_payload(&bad).await["status"], "INVALID");
    bed.chain = mainstay_sim::chain::Chain::from(good);
    bed.advance().await;
    bed.els[2].clear_calls();
    bed.els[2].heal();
    bed.els[2].wait_until(PATIENCE, |el| el.head().number == 2).await.unwrap();
    assert!(
        bed.els[2].calls().iter().all(|c| !String::from_utf8_lossy(&c.raw).contains(&bad.hash.to_string()))
    );
}

#[tokio::test]
async fn the_round_goes_on_when_the_consensus_client_goes_away() {
    let mut bed = Setup::new(2).ready().await;
    for el in &bed.els {
        el.set(Fault::Lag(ms(150)).on(Family::NewPayload));
    }
    let block = bed.chain.grow();
    tokio::select! {
        biased;
        _ = bed.new_payload(&block) => panic!("answered"),
        () = tokio::time::sleep(ms(50)) => {}
    }
    for el in &bed.els {
        el.wait_until(PATIENCE, |el| el.knows(block.hash)).await.unwrap();
    }
    assert_eq!(bed.round("engine_newPayload").await.verdict, "VALID");
}

/// Calls that a node was taken out with don't keep their round open.
#[tokio::test]
async fn a_round_ends_when_its_last_node_is_removed() {
    let mut bed = Setup::new(2).set("straggler_wait", "timeout").set("timeout", "5s").ready().await;
    bed.els[1].set(Fault::Hang.on(Family::NewPayload));
    let block = bed.chain.grow();
    let remove = async {
        bed.els[1].wait_for_calls(Family::NewPayload, 1, PATIENCE).await.unwrap();
        bed.handle.remove("el2").unwrap();
    };
    let ((told, took), ()) = tokio::join!(timed(bed.new_payload(&block)), remove);
    assert_eq!(told["status"], "VALID");
    assert!(took < ms(3000), "{took:?}");
    assert_eq!(bed.views().len(), 1);
    bed.advance().await;
}

/// Found by the simulation: with nobody else to say VALID, a node that lost blocks stayed behind for ever.
#[tokio::test]
async fn the_only_node_is_led_to_the_head_though_nobody_says_valid() {
    let mut bed = Setup::new(1).ready().await;
    for _ in 0..5 {
        bed.advance().await;
    }
    let genesis = bed.chain.blocks()[0].clone();
    bed.els[0].with(|el| *el = mainstay_sim::El::new("el1", genesis));
    let tip = bed.chain.tip().clone();
    assert_eq!(status(&bed.forkchoice(tip.hash).await["payloadStatus"]), "SYNCING");
    bed.els[0].wait_until(PATIENCE, |el| el.head().hash == tip.hash).await.unwrap();
    assert_eq!(status(&bed.forkchoice(tip.hash).await["payloadStatus"]), "VALID");
}

/// Found by the simulation: ACCEPTED was taken for a sign of missing blocks.
#[tokio::test]
async fn accepted_costs_no_vote_and_brings_no_replay() {
    let mut bed = Setup::new(3).ready().await;
    bed.advance().await;
    bed.els[2].set(Fault::Say("ACCEPTED").on(Family::NewPayload));
    bed.els[2].clear_calls();
    let block = bed.chain.grow();
    assert_eq!(status(&bed.new_payload(&block).await), "VALID");
    assert_eq!(status(&bed.forkchoice(block.hash).await["payloadStatus"]), "VALID");
    bed.els[2].wait_for_calls(Family::ForkchoiceUpdated, 1, PATIENCE).await.unwrap();
    assert!(bed.view("el3").votes, "{:?}", bed.view("el3"));
    assert_eq!(bed.els[2].count(Family::NewPayload), 1, "no replay");
}

/// Found by the simulation: a block that some node called INVALID was forgotten, and nobody could be led over the hole.
#[tokio::test]
async fn a_block_that_was_called_invalid_leaves_no_hole_in_a_replay() {
    for (liars, told) in [(1, "SYNCING"), (2, "INVALID")] {
        let mut bed = Setup::new(3).ready().await;
        bed.advance().await;
        bed.els[2].set(Fault::Down);
        bed.condition("el3", "unfit").await;
        for el in &bed.els[..liars] {
            el.set(Fault::Lie.on(Family::NewPayload).times(1));
        }
        let block = bed.chain.grow();
        assert_eq!(bed.new_payload(&block).await["status"], told);
        // They think otherwise of its child, and the chain goes on over both.
        let tip = bed.advance().await;
        bed.els[2].clear_calls();
        bed.els[2].heal();
        bed.els[2].wait_until(PATIENCE, |el| el.head().hash == tip.hash).await.unwrap();
        assert_eq!(order(&bed.els[2], bed.chain.blocks()), "p2 p3 h3", "after {told}");
    }
}

/// Three nodes, of which the third has missed this block and is down.
async fn behind() -> (Bed, Block) {
    let mut bed = Setup::new(3).ready().await;
    bed.els[2].set(Fault::Down);
    let block = bed.advance().await;
    bed.condition("el3", "unfit").await;
    bed.els[2].clear_calls();
    (bed, block)
}

/// Found by the simulation: what a node says of a block in a replay counts as what it says in a round.
#[tokio::test]
async fn an_invalid_in_a_replay_makes_the_next_answers_syncing_until_it_is_taken_back() {
    let (bed, block) = behind().await;
    let silent_on_heads = Fault::RpcError(-32000).on(Family::ForkchoiceUpdated);
    bed.els[2].set(silent_on_heads.clone());
    bed.els[2].add(Fault::Lie.on(Family::NewPayload));
    bed.until("a replay in vain", |bed| bed.view("el3").replays_in_vain == 1).await;
    assert_eq!(status(&bed.forkchoice(block.hash).await), "SYNCING");
    // It comes back once more, and thinks otherwise in that replay.
    bed.els[2].set(Fault::Down);
    bed.condition("el3", "unfit").await;
    bed.els[2].clear_calls();
    bed.els[2].set(silent_on_heads);
    bed.els[2].wait_for_calls(Family::ForkchoiceUpdated, 1, PATIENCE).await.unwrap();
    assert_eq!(order(&bed.els[2], bed.chain.blocks()), "p1 h1");
    assert_eq!(status(&bed.forkchoice(block.hash).await), "VALID");
}

#[tokio::test]
async fn an_invalid_head_in_a_replay_makes_the_next_answers_syncing() {
    let (bed, block) = behind().await;
    bed.els[2].set(Fault::Lie.on(Family::ForkchoiceUpdated));
    bed.standing("el3", "votes").await;
    assert_eq!(order(&bed.els[2], bed.chain.blocks()), "p1 h1");
    // From now on it says nothing of the head, so its word in the replay stands.
    bed.els[2].set(Fault::RpcError(-32000).on(Family::ForkchoiceUpdated));
    assert_eq!(status(&bed.forkchoice(block.hash).await), "SYNCING");
}
