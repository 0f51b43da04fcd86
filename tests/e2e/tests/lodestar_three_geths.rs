//! Lodestar with all validators drives three geths through mainstay, while the geths are killed, frozen,
//! slowed, restarted and made to lie, and mainstay itself is restarted.
//!
//! One running network goes through all of it: a chain that took no harm from one fault is the ground
//! that the next one is judged on.

use std::time::Duration;

use mainstay_e2e::execution::{Execution, Genesis};
use mainstay_e2e::lodestar::Lodestar;
use mainstay_e2e::mainstay::Mainstay;
use mainstay_e2e::proxy::{Fault, Proxy};
use mainstay_e2e::{Lab, Result, ensure, geth, scenario, until, watch};
use tokio::time::Instant;

const SLOT: Duration = Duration::from_secs(3);
/// How long each fault lasts, in slots.
const FAULT: u64 = 4;
/// What an EL that was away gets to have the tip again; it has no peers, so only mainstay can tell it.
const CATCH_UP: Duration = Duration::from_secs(15);

/// `Lodestar → tap → mainstay → a, b, faulty → c`; a is the primary.
struct Network {
    a: Execution,
    b: Execution,
    c: Execution,
    faulty: Proxy,
    mainstay: Mainstay,
    tap: Proxy,
    lodestar: Lodestar,
}

impl Network {
    async fn start(lab: &Lab) -> Result<Network> {
        let a = geth::start(lab, "a", Genesis::Shanghai).await?;
        let b = geth::start(lab, "b", Genesis::Shanghai).await?;
        let c = geth::start(lab, "c", Genesis::Shanghai).await?;
        let faulty = Proxy::start(c.endpoint().url()).await?;
        let nodes = [("a", a.endpoint().url()), ("b", b.endpoint().url()), ("c", faulty.url())];
        let mainstay = Mainstay::start(lab, &nodes, &[]).await?;
        let tap = Proxy::start(mainstay.engine().url()).await?;
        let lodestar = Lodestar::start(lab, tap.url(), &a.head().await?.hash, SLOT).await?;
        Ok(Network { a, b, c, faulty, mainstay, tap, lodestar })
    }

    /// The block that Lodestar holds for the head reaches `node` in time.
    async fn caught_up(&self, node: &Execution) -> Result<()> {
        let head = self.lodestar.head().await?;
        node.reaches(head.number, &head.hash, CATCH_UP).await
    }

    /// All three are at the tip, and are found alive.
    async fn whole(&self) -> Result<()> {
        for node in [&self.a, &self.b, &self.c] {
            self.caught_up(node).await?;
        }
        let urls = [self.a.endpoint().url(), self.b.endpoint().url(), self.faulty.url()];
        self.mainstay.alive(&urls, CATCH_UP).await
    }
}

#[test]
fn no_fault_of_one_node_costs_a_slot_and_a_liar_is_never_believed() {
    scenario("lodestar-three-geths", Duration::from_secs(330), async |lab| {
        let mut net = Network::start(lab).await?;
        lab.say("the network is up");
        let slots = watch::slots(&net.lodestar, 1, 3).await?;
        ensure!(slots.missed.is_empty(), "three healthy nodes: {slots}");
        lab.say(format!("healthy: {slots}"));

        restarted_primary(lab, &mut net).await?;
        killed_primary(lab, &mut net).await?;
        frozen_node(lab, &net).await?;
        slow_node(lab, &net).await?;

        net.lodestar.finalizes(2, SLOT * 40).await?;
        let over = net.lodestar.now() - 1;
        let slots = watch::slots(&net.lodestar, 1, over).await?;
        ensure!(slots.missed.is_empty(), "from the first slot on: {slots}");
        lab.say(format!("epoch {} is final; {slots}", net.lodestar.finalized_epoch().await?));

        lying_node(lab, &net).await?;
        restarted_mainstay(lab, &mut net).await
    });
}

async fn restarted_primary(lab: &Lab, net: &mut Network) -> Result<()> {
    let first = net.lodestar.now();
    net.a.restart_cleanly().await?;
    net.caught_up(&net.a).await?;
    let slots = watch::slots(&net.lodestar, first, first + 2).await?;
    ensure!(slots.missed.is_empty(), "the primary is restarted: {slots}");
    lab.say(format!("the primary is restarted: {slots}"));
    Ok(())
}

async fn killed_primary(lab: &Lab, net: &mut Network) -> Result<()> {
    net.a.kill()?;
    let slots = watch::no_slot_missed(&net.lodestar, FAULT, "the primary is killed").await?;
    lab.say(format!("the primary is killed: {slots}"));

    net.a.restart().await?;
    let back_at = net.a.head().await?.number;
    net.caught_up(&net.a).await?;
    net.whole().await?;
    lab.say(format!("it came back at block {back_at} and is at {}", net.a.head().await?.number));
    Ok(())
}

async fn frozen_node(lab: &Lab, net: &Network) -> Result<()> {
    net.b.freeze()?;
    let slots = watch::no_slot_missed(&net.lodestar, FAULT, "a node is frozen").await?;
    lab.say(format!("a node is frozen: {slots}"));

    net.b.thaw()?;
    net.whole().await?;
    lab.say(format!("thawed, it is at {}", net.b.head().await?.number));
    Ok(())
}

async fn slow_node(lab: &Lab, net: &Network) -> Result<()> {
    let since = Instant::now();
    net.faulty.set(Fault::Delay(Duration::from_millis(1_500)));
    let slots = watch::no_slot_missed(&net.lodestar, FAULT, "a node is slow").await?;
    let slowest = net.tap.seen(since).iter().map(|seen| seen.took).max().unwrap_or_default();
    ensure!(slowest < Duration::from_secs(1), "a slow node held an answer up for {slowest:?}");
    lab.say(format!("a node is slow: {slots}, the slowest answer in {slowest:?}"));

    net.faulty.set(Fault::None);
    net.whole().await
}

/// Two say VALID, one says INVALID: the consensus client must hear SYNCING, until the liar is cordoned.
async fn lying_node(lab: &Lab, net: &Network) -> Result<()> {
    ensure!(
        net.mainstay.evidence()?.is_empty(),
        "evidence before anyone lied: {:?}",
        net.mainstay.evidence()?
    );
    let since = Instant::now();
    let told = net.lodestar.now();
    net.faulty.set(Fault::Lie);
    until("a block that the liar called invalid to be answered with SYNCING", SLOT * 2, async || {
        let seen = net.tap.seen(since);
        Ok(seen.iter().any(|seen| seen.status == "SYNCING").then_some(()))
    })
    .await?;
    until("evidence of the disagreement", SLOT, async || {
        Ok((!net.mainstay.evidence()?.is_empty()).then_some(()))
    })
    .await?;
    let (status, why) = net.mainstay.health().await?;
    lab.say(format!("a node lies: the consensus client is told SYNCING; health {status} {why}"));
    let slots = watch::slots(&net.lodestar, told + 2, told + 3).await?;
    lab.say(format!("a node lies: {slots}"));
    never_valid_after_invalid(net, since)?;

    let cordoned = net.lodestar.now();
    net.mainstay.act("cordon", "c").await?;
    let block = watch::block_after(&net.lodestar, cordoned, 2).await?;
    lab.say(format!("cordoned in slot {cordoned}, a block in slot {}", block.slot));
    watch::no_slot_missed(&net.lodestar, 2, "the liar is cordoned").await?;

    net.faulty.set(Fault::None);
    net.mainstay.act("uncordon", "c").await?;
    net.whole().await
}

/// No block that the liar has called INVALID is called VALID from then on. (Before, it may be: the answer
/// need not wait for a straggler.)
fn never_valid_after_invalid(net: &Network, since: Instant) -> Result<()> {
    let accused = net.faulty.seen(since);
    for told in net.tap.seen(since).iter().filter(|told| told.status == "VALID") {
        // The call that was answered must have begun after the lie was out.
        let begun = told.at.checked_sub(told.took).unwrap_or(told.at);
        let lie =
            accused.iter().find(|lie| lie.status == "INVALID" && lie.block == told.block && lie.at < begun);
        ensure!(lie.is_none(), "{told:?} in spite of {lie:?}");
    }
    Ok(())
}

async fn restarted_mainstay(lab: &Lab, net: &mut Network) -> Result<()> {
    for crash in [false, true] {
        let first = net.lodestar.now();
        if crash {
            net.mainstay.crash().await?;
        } else {
            net.mainstay.restart().await?;
        }
        let slots = watch::slots(&net.lodestar, first, first + FAULT).await?;
        ensure!(slots.missed.len() <= 1, "mainstay was restarted (crash: {crash}): {slots}");
        lab.say(format!("mainstay was restarted (crash: {crash}): {slots}"));
    }
    net.whole().await
}
