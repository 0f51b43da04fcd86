//! Real nodeos behind `mainstay relay`: two nodes make the blocks of one producer, while everything about them fails in turn.
//!
//! One running network goes through all of it. What counts is what reached the public side, on whatever connection: never two blocks for
//! one slot. And what is on the public chain: a loss where the nodes' blocks were the same costs no slot, after any other the next
//! round is whole with no one touching anything.
#![cfg(target_arch = "x86_64")]

use std::time::Duration;

use mainstay_e2e::etcd::Etcd;
use mainstay_e2e::gate::Gate;
use mainstay_e2e::nodeos::Begin;
use mainstay_e2e::nodeos::chain::now;
use mainstay_e2e::nodeos::devnet::Devnet;
use mainstay_e2e::nodeos::round::Round;
use mainstay_e2e::nodeos::toll::Toll;
use mainstay_e2e::{Failure, Lab, Result, ensure, fail, scenario, until};
use serde_json::Value;

/// The most rounds that it takes until the nodes' blocks differ; six transactions do it nearly always.
const TRIES: u32 = 4;
/// Before a leg ends that says nothing, 30 s.
const FROZEN: Duration = Duration::from_secs(25);

#[test]
fn no_slot_has_two_blocks_and_the_next_round_is_whole_whatever_becomes_of_the_nodes() {
    scenario("relay", Duration::from_secs(900), async |lab| run(lab, 1, &[]).await);
}

#[test]
#[ignore = "it takes half an hour"]
fn the_same_over_hundreds_of_slots() {
    scenario("relay-long", Duration::from_secs(3600), async |lab| run(lab, 500, &[]).await);
}

#[test]
#[ignore = "it takes half an hour"]
fn the_same_over_hundreds_of_slots_where_each_node_hears_its_own_peer_alone() {
    scenario("relay-alone", Duration::from_secs(3600), async |lab| {
        run(lab, 500, &["--fan-inward=false"]).await
    });
}

#[test]
#[ignore = "a scene of the first one by itself"]
fn legs_that_share_an_outer_peer_part_again() {
    scenario("relay-spread", Duration::from_secs(400), async |lab| {
        let mut net = Devnet::start(lab).await?;
        let [public, sentry] = net.outer.each_ref().map(|tap| tap.address());
        let gate = Gate::start(lab, &[public, sentry], &SPREAD_AFTER).await?;
        for taps in &net.inner {
            taps[0].lead_to(Some(gate.address()));
        }
        net.join(lab).await?;
        outer_lost(lab, &net).await?;
        outer_frozen(lab, &net, &gate).await
    });
}

/// How long an outer peer that is back has to be fit before a leg moves to it.
const SPREAD_AFTER: [&str; 2] = ["--spread-after", "10s"];
/// For that, between two rounds of ours: two cycles at most once our rounds are known, which are two more.
const SPREAD: Duration = Duration::from_secs(150);
/// The slots of a cycle in which a leg may move, and one for the look at it.
const AWAY: std::ops::RangeInclusive<u32> = 22..=42;

/// Lets everything fail in turn, over and over until so many slots of the producer have had their block.
async fn run(lab: &Lab, slots: usize, flags: &[&str]) -> Result<()> {
    let mut net = Devnet::start(lab).await?;
    without(lab, &mut net).await?;

    let [public, sentry] = net.outer.each_ref().map(|tap| tap.address());
    let flags: Vec<&str> = flags.iter().copied().chain(SPREAD_AFTER).collect();
    let mut gate = Gate::start(lab, &[public, sentry], &flags).await?;
    for taps in &net.inner {
        taps[0].lead_to(Some(gate.address()));
    }
    for node in 0..2 {
        net.follows(node).await?;
    }
    net.forget();
    let began = net.next_round();

    whole(lab, &net, "all are well", net.next_round()).await?;
    loop {
        killed_when_idle(lab, &mut net).await?;
        parted(lab, &net).await?;
        frozen(lab, &net).await?;
        winner_killed(lab, &mut net).await?;
        winner_frozen(lab, &net).await?;
        restarted(lab, &net, &mut gate).await?;
        outer_lost(lab, &net).await?;
        outer_frozen(lab, &net, &gate).await?;
        let toll = Toll::since(&net, began).await?;
        lab.say(format!("so far: {toll}"));
        if net.one_block_a_slot()? >= slots {
            break;
        }
    }
    drop(gate);
    told_by_others(lab, &net).await?;
    pair(lab, &net).await?;

    lab.say(format!("{} slots, never two blocks for one", net.one_block_a_slot()?));
    Ok(())
}

/// Nothing keeps two blocks for one slot from the public side but mainstay: without it the witnesses see them.
async fn without(lab: &Lab, net: &mut Devnet) -> Result<()> {
    for taps in &net.inner {
        taps[0].lead_to(Some(net.outer[0].address().to_owned()));
    }
    net.join(lab).await?;
    for _ in 0..TRIES {
        let first = net.next_round();
        net.part(first).await?;
        net.at(first, 12).await;
        if let Err(failure) = net.one_block_a_slot() {
            lab.say(format!("without mainstay: {failure}"));
            return Ok(());
        }
    }
    fail!("the nodes made the same blocks in {TRIES} rounds")
}

/// A round with a block in each slot, which are the same from both nodes.
async fn whole(lab: &Lab, net: &Devnet, what: &str, first: u32) -> Result<Round> {
    let round = net.round(lab, what, first).await?;
    ensure!(round.filled() == 12, "{what}: {round}");
    ensure!(round.parted().is_none(), "{what}: {round}");
    Ok(round)
}

/// One is killed in a round without transactions: no slot is lost. It comes back with nothing, and gets the chain through the relay.
async fn killed_when_idle(lab: &Lab, net: &mut Devnet) -> Result<()> {
    let first = net.next_round();
    net.at(first, 4).await;
    net.nodes[0].kill()?;
    whole(lab, net, "a node is killed", first).await?;
    net.nodes[0].restart(lab, Begin::Empty).await?;
    net.follows(0).await?;
    // Now all depends on the one that came back.
    let first = net.next_round();
    net.at(first, 4).await;
    net.nodes[1].kill()?;
    whole(lab, net, "the other is killed", first).await?;
    net.nodes[1].restart(lab, Begin::Replay).await?;
    net.follows(1).await
}

/// A round in which the nodes' blocks differ from some position on.
async fn part(net: &Devnet) -> Result<(u32, usize)> {
    for _ in 0..TRIES {
        let first = net.next_round();
        net.part(first).await?;
        if let Some(winner) = net.winner(first).await {
            return Ok((first, winner));
        }
    }
    fail!("the nodes made the same blocks in {TRIES} rounds")
}

/// The node whose blocks stay in is back before its next round, in which they are the same again.
async fn parted(lab: &Lab, net: &Devnet) -> Result<()> {
    let (first, _) = part(net).await?;
    let round = net.round(lab, "the nodes part", first).await?;
    ensure!(round.filled() == 12, "the nodes part: {round}");
    for node in 0..2 {
        net.follows(node).await?;
    }
    lab.say("both are at the public head again");
    ensure!(now() < first + 60, "it took them longer than until the next round");
    Ok(())
}

/// The node whose blocks go out is killed: the rest of the round is lost, and no more.
async fn winner_killed(lab: &Lab, net: &mut Devnet) -> Result<()> {
    let (first, winner) = part(net).await?;
    net.at(first, 6).await;
    net.nodes[winner].kill()?;
    let round = net.round(lab, "the one whose blocks go out is killed", first).await?;
    ensure!(round.gaps().iter().all(|at| *at >= 5), "{round}");
    // The survivor makes it alone.
    let round = net.round(lab, "the next round", first + 60).await?;
    ensure!(round.filled() == 12, "after a kill in a parted round: {round}");
    net.nodes[winner].restart(lab, Begin::Replay).await?;
    net.follows(winner).await
}

/// One is frozen for some slots, in the first round after they had parted, in which the other's same blocks go out, and comes back with old ones.
async fn frozen(lab: &Lab, net: &Devnet) -> Result<()> {
    let first = net.next_round();
    net.at(first, 3).await;
    net.nodes[0].freeze()?;
    net.at(first, 7).await;
    net.nodes[0].thaw()?;
    let round = net.round(lab, "a node is frozen for four slots", first).await?;
    ensure!(round.filled() == 12, "a node is frozen: {round}");
    net.follows(0).await
}

/// The node whose blocks go out is frozen, where the other's can't take their place.
async fn winner_frozen(lab: &Lab, net: &Devnet) -> Result<()> {
    let (first, winner) = part(net).await?;
    net.at(first, 5).await;
    net.nodes[winner].freeze()?;
    net.at(first, 8).await;
    net.nodes[winner].thaw()?;
    let round = net.round(lab, "the one whose blocks go out is frozen", first).await?;
    ensure!(
        round.gaps().iter().all(|at| (4..10).contains(at)),
        "the one whose blocks go out is frozen: {round}"
    );
    // The other's own branch was longer for a while, so it may not be back yet.
    let round = net.round(lab, "the next round", first + 60).await?;
    ensure!(round.filled() == 12, "after the one whose blocks go out was frozen: {round}");
    for node in 0..2 {
        net.follows(node).await?;
    }
    Ok(())
}

/// mainstay is restarted in the middle of a round.
async fn restarted(lab: &Lab, net: &Devnet, gate: &mut Gate) -> Result<()> {
    let first = net.next_round();
    net.at(first, 3).await;
    gate.restart().await?;
    lab.say("mainstay is back");
    let round = net.round(lab, "mainstay is restarted", first).await?;
    ensure!(round.gaps().iter().all(|at| (2..9).contains(at)), "mainstay is restarted: {round}");
    for node in 0..2 {
        net.follows(node).await?;
    }
    Ok(())
}

/// An outer peer goes away and comes back. The round before was the one in which mainstay was restarted, so this shows too that the next
/// one is whole.
async fn outer_lost(lab: &Lab, net: &Devnet) -> Result<()> {
    let first = net.next_round();
    net.at(first, 3).await;
    net.outer[0].lead_to(None);
    let round = net.round(lab, "an outer peer is lost", first).await?;
    net.outer[0].lead_to(Some(net.public.address()));
    ensure!(round.filled() == 12, "an outer peer is lost: {round}");
    for node in 0..2 {
        net.follows(node).await?;
    }
    Ok(())
}

/// An outer peer hangs for a round, and for some slots more: its leg ends, or its node goes on by what the other one's peer says. Either way no slot is lost.
async fn outer_frozen(lab: &Lab, net: &Devnet, gate: &Gate) -> Result<()> {
    // After the last scene both are at the sentry. One goes back by itself, and its node sees nothing of that.
    let outers = net.outer.each_ref().map(|tap| tap.address());
    let dialled = || net.inner.each_ref().map(|taps| taps[0].connections());
    let before = dialled();
    until("a leg to each outer peer", SPREAD, async || {
        let legs = legs(gate).await?;
        Ok(outers.iter().all(|outer| legs.iter().any(|(_, of)| of == outer)).then_some(()))
    })
    .await?;
    let into = now() % 60;
    lab.say(format!("a leg to each outer peer, {into} slots into the cycle: {:?}", legs(gate).await?));
    ensure!(AWAY.contains(&into), "a leg moved near a round");
    for node in 0..2 {
        net.follows(node).await?;
    }
    whole(lab, net, "a leg has moved", net.next_round()).await?;
    ensure!(before == dialled(), "a node has dialled: {before:?}, {:?}", dialled());
    let first = net.next_round();
    net.at(first, 3).await;
    net.sentry.freeze()?;
    let round = net.round(lab, "an outer peer hangs", first).await?;
    ensure!(round.filled() == 12, "an outer peer hangs: {round}");
    net.at(first, 30).await;
    for node in 0..2 {
        net.follows(node).await?;
    }
    net.sentry.thaw()?;
    let round = net.round(lab, "it goes on", first + 60).await?;
    ensure!(round.filled() == 12, "an outer peer goes on: {round}");
    for node in 0..2 {
        net.follows(node).await?;
    }
    Ok(())
}

/// Each leg, and the outer peer that it has.
async fn legs(gate: &Gate) -> Result<Vec<(u64, String)>> {
    let shown = gate.shown().await?;
    let legs = shown["nodes"].as_array().cloned().unwrap_or_default();
    let leg = |leg: &Value| Some((leg["leg"].as_u64()?, leg["outer"].as_str()?.to_owned()));
    legs.iter().map(leg).collect::<Option<_>>().ok_or_else(|| Failure::new("no legs are shown"))
}

/// A node whose outer peer is frozen goes on by what the other one's says, on the leg that it has.
async fn told_by_others(lab: &Lab, net: &Devnet) -> Result<()> {
    let [public, sentry] = net.outer.each_ref().map(|tap| tap.address());
    // The leg is to stay what it is.
    let flags = ["--outer-lag", "0"];
    let gate = Gate::start(lab, &[public, sentry], &flags).await?;
    for taps in &net.inner {
        taps[0].lead_to(Some(gate.address()));
    }
    for node in 0..2 {
        net.follows(node).await?;
    }
    whole(lab, net, "nodes are told by others' peers too", net.next_round()).await?;
    let before = legs(&gate).await?;
    ensure!(before.iter().any(|(_, outer)| outer == sentry), "no leg has the sentry: {before:?}");
    net.sentry.freeze()?;
    let head = net.public.chain().head().await?.number;
    for node in &net.nodes {
        until(&format!("{} to go on", node.name()), FROZEN, async || {
            Ok((node.chain().head().await?.number > head + 20).then_some(()))
        })
        .await?;
    }
    for node in 0..2 {
        net.follows(node).await?;
    }
    ensure!(legs(&gate).await? == before, "a leg ended");
    net.sentry.thaw()?;
    lab.say("a node behind a frozen peer went on by what the other peer said");
    whole(lab, net, "the sentry is back", net.next_round()).await?;
    ensure!(legs(&gate).await? == before, "a leg ended");
    Ok(())
}

/// Two relays share what has been claimed, each before an outer peer of its own; every node is connected to both. One is killed where the
/// nodes' blocks differ: not even that costs a slot.
async fn pair(lab: &Lab, net: &Devnet) -> Result<()> {
    let etcd = Etcd::start(lab).await?;
    let [public, sentry] = net.outer.each_ref().map(|tap| tap.address());
    // Not the 40 ms that it has by default: a disk that others use too may take longer, and this isn't about that.
    let flags = ["--claims", etcd.url(), "--claims-timeout", "300ms"];
    let gates = [Gate::start(lab, &[public], &flags).await?, Gate::start(lab, &[sentry], &flags).await?];
    for taps in &net.inner {
        for (tap, gate) in taps.iter().zip(&gates) {
            tap.lead_to(Some(gate.address()));
        }
    }
    for node in 0..2 {
        net.follows(node).await?;
    }
    whole(lab, net, "two relays", net.next_round()).await?;
    let (first, _) = part(net).await?;
    net.at(first, 5).await;
    let [killed, left] = gates;
    drop(killed);
    let round = net.round(lab, "one of two relays is killed", first).await?;
    ensure!(round.filled() == 12, "one of two relays is killed: {round}");
    whole(lab, net, "the next round", first + 60).await?;
    drop(left);
    Ok(())
}
