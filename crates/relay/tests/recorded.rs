//! Rounds that two real nodes with one key made, and what a relay has to say of them.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, UNIX_EPOCH};

use mainstay_antelope::{Frame, Id, Kind, Message, Slot, Splitter};
use mainstay_relay::egress::{Egress, Leg, Rules};
use mainstay_relay::filter::{Filter, Inward, Now, Outward, Shared};

use mainstay_relay::replay::{Outcome, read, replay};
use mainstay_relay::votes::Votes;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

const DIVERGED: &str = include_str!("vectors/round_diverged.json");
const KILL_IDLE: &str = include_str!("vectors/round_kill_idle.json");
const LOST_ROUND: &str = include_str!("vectors/lost_round_trace.jsonl");

fn played(text: &str) -> Outcome {
    let recording = read(text).unwrap();
    assert_eq!(recording.producers.iter().map(ToString::to_string).collect::<Vec<String>>(), ["prodx"]);
    let outcome = replay(&recording, &recording.producers);
    for block in &outcome.blocks {
        assert!(block.recorded.is_some() && block.agrees, "{block:?}");
    }
    assert_eq!(outcome.doubles, []);
    outcome
}

/// How many blocks there are of each verdict.
fn verdicts(outcome: &Outcome) -> BTreeMap<&str, usize> {
    let mut verdicts = BTreeMap::new();
    for block in &outcome.blocks {
        *verdicts.entry(block.verdict).or_default() += 1;
    }
    verdicts
}

#[test]
fn legs_that_part_in_a_round_and_are_one_again_in_the_next() {
    let outcome = played(DIVERGED);
    assert_eq!(verdicts(&outcome), [("lost", 1), ("same", 14), ("tainted", 7), ("win", 24)].into());
}

#[test]
fn a_node_killed_in_a_round_without_transactions() {
    let outcome = played(KILL_IDLE);
    assert_eq!(verdicts(&outcome), [("same", 3), ("win", 24)].into());
    let mut slots: Vec<u32> =
        outcome.blocks.iter().filter(|block| block.passes).map(|block| block.slot.0).collect();
    slots.dedup();
    let rounds: Vec<u32> = slots.iter().map(|slot| slot / 12).collect();
    assert_eq!(rounds.iter().filter(|round| **round == rounds[0]).count(), 12);
    assert_eq!(slots.len(), 24);
}

/// All frames of both legs, with the loser's catch-up: history goes out again whenever it is asked for, the private tail never does.
#[test]
fn the_loser_of_a_round_on_its_way_back() {
    let outcome = played(LOST_ROUND);
    let verdicts = verdicts(&outcome);
    assert_eq!((verdicts["win"], verdicts["same"]), (10, 3));
    // Those that came for the first time, and those that came again.
    assert_eq!((verdicts["lost"], verdicts["tainted"]), (1 + 4, 6 + 20));
    assert_eq!(
        verdicts.keys().copied().collect::<Vec<&str>>(),
        ["lost", "other", "public", "same", "tainted", "win"]
    );
    assert_eq!(outcome.blocks.len(), 260);
}

/// Whatever isn't a block of theirs passes as it came, both ways: the loser's handshakes, the requests for what is suppressed, 71 cancels.
#[test]
#[allow(clippy::disallowed_methods, reason = "some point in time")]
fn all_that_is_no_block_passes_on_the_way_back() {
    let mut splitter = Splitter::default();
    let mut frames: Vec<(u64, bool, Frame)> = Vec::new();
    for line in LOST_ROUND.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let Some(hex) = line["hex"].as_str() else { continue };
        splitter.push(&const_hex::decode(hex).unwrap());
        let frame = splitter.split().unwrap().unwrap();
        frames.push((line["leg"].as_u64().unwrap(), line["dir"] == "inner->outer", frame));
    }
    let chain = frames.iter().find_map(|(_, _, frame)| match frame.message() {
        Ok(Message::Handshake(handshake)) => Some(handshake.chain_id),
        _ => None,
    });
    let egress = Egress::new(chain.unwrap_or(Id::ZERO), Rules::of(["prodx".parse().unwrap()]));
    let mut shared = Shared { egress, votes: Votes::default() };
    let mut legs: BTreeMap<u64, Filter> =
        [1, 2].into_iter().map(|leg| (leg, shared.opened(Leg(leg)))).collect();
    let clock = UNIX_EPOCH + Duration::from_millis(Slot(1_697_095_554).unix_millis());
    let now = Now { clock, instant: Instant::now() };
    let mut seen: HashMap<Kind, usize> = HashMap::new();
    for (leg, outward, frame) in &frames {
        let filter = legs.get_mut(leg).unwrap();
        *seen.entry(frame.kind()).or_default() += 1;
        if *outward {
            let passage = filter.outward(frame, &mut shared, now);
            assert!(passage == Outward::Pass || matches!(passage, Outward::Block(..)), "{passage:?}");
        } else {
            assert_eq!(filter.inward(frame, &mut shared, now), Inward::Pass);
        }
    }
    let counted = [
        Kind::Handshake,
        Kind::Time,
        Kind::Notice,
        Kind::Request,
        Kind::SyncRequest,
        Kind::PackedTransaction,
    ];
    assert_eq!(counted.map(|kind| seen[&kind]), [6, 6, 4, 9, 71, 8]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a recording was spoilt to, it is refused or replayed.
    #[test]
    fn a_spoilt_recording_is_no_reason_to_panic(
        which in 0..3_usize, spoilt in prop::collection::vec((any::<Index>(), prop::sample::select(b"0f9\"{}[],:-e.\\\n z".to_vec())), 1..8),
    ) {
        let mut text = [DIVERGED, KILL_IDLE, LOST_ROUND][which].as_bytes().to_vec();
        for (at, byte) in spoilt {
            let at = at.index(text.len());
            text[at] = byte;
        }
        if let Ok(recording) = read(&String::from_utf8(text).unwrap()) {
            let outcome = replay(&recording, &recording.producers);
            prop_assert!(outcome.doubles.is_empty());
        }
    }
}
