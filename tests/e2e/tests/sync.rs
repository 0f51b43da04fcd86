//! Two Lodestar beacon nodes drive three geths, which have no peers, through `mainstay sync`, while all of them fail in turn and a third
//! client lies about the time and the head.
//!
//! One running network goes through all of it. What counts is each geth's head, slot by slot, against the chain of a beacon node
//! that takes no part.

use std::time::Duration;

use mainstay_e2e::connections::connections;
use mainstay_e2e::dropin::SyncProxy;
use mainstay_e2e::execution::{Execution, Genesis};
use mainstay_e2e::fleet::Fleet;
use mainstay_e2e::follower::Follower;
use mainstay_e2e::forger::{Forger, MADE_UP_IN_LOGS};
use mainstay_e2e::heads::Heads;
use mainstay_e2e::lodestar::{Chain, Lodestar};
use mainstay_e2e::nginx::Nginx;
use mainstay_e2e::snapshot::Snapshot;
use mainstay_e2e::{Failure, Lab, Result, ensure, fail, geth, scenario, until, watch};
use serde_json::json;
use tokio::task::JoinSet;

const SLOT: Duration = Duration::from_secs(3);
/// The most slots that a head may be older than the chain's.
const LAG: u64 = 2;
/// How long a fault lasts, in slots: long enough for a head that nobody moves to be too old.
const FAULT: u64 = 4;
/// What an execution client that was away gets to have the tip again; only `mainstay sync` can tell it.
const CATCH_UP: Duration = Duration::from_secs(15);
/// What a beacon node that was away gets for the same; its peer tells it.
const FOLLOWS: Duration = Duration::from_secs(30);
/// Until another leads.
const MOVES: Duration = Duration::from_secs(9);
const CLIENTS: [&str; 2] = ["cl-a", "cl-b"];
const GETHS: [&str; 3] = ["geth-1", "geth-2", "geth-3"];
/// Payloads kept, more than any fault here makes a geth miss but the last.
const REPLAY: u64 = 24;

struct Network {
    /// The producer's own.
    own: Execution,
    geths: [Execution; 3],
    sync: Follower,
    fleet: Fleet,
    heads: Heads,
}

impl Network {
    async fn start(lab: &Lab) -> Result<Network> {
        let geth = async |name| geth::start(lab, name, Genesis::Shanghai).await;
        let (own, one, two, three) =
            tokio::try_join!(geth("own"), geth(GETHS[0]), geth(GETHS[1]), geth(GETHS[2]))?;
        let geths = [one, two, three];
        let chain = Fleet::chain(&own.head().await?.hash, SLOT);
        let nodes = geths.each_ref().map(|geth| (geth.name(), geth.endpoint().url()));
        let sync = Follower::start(lab, &chain, &nodes, &["--replay-blocks", &REPLAY.to_string()]).await?;
        let followers = CLIENTS.map(|name| (name, sync.engine().url()));
        let fleet = Fleet::start(lab, chain, own.endpoint().url(), followers).await?;
        let heads = Heads::watch(&fleet.producer, &fleet.chain, &geths.each_ref());
        Ok(Network { own, geths, sync, fleet, heads })
    }

    fn now(&self) -> u64 {
        self.fleet.chain.now()
    }

    /// In each slot from `first` up to `count` slots from now the heads of all geths but `hurt` were good.
    async fn kept(&self, lab: &Lab, what: &str, first: u64, count: u64, hurt: &[usize]) -> Result<()> {
        let last = self.now() + count;
        let mut names = GETHS.to_vec();
        names.retain(|name| !hurt.iter().any(|hurt| GETHS[*hurt] == *name));
        let worst = self.heads.kept(&self.fleet.chain, &names, first, last, LAG).await;
        let worst = worst.map_err(|failure| Failure::new(format!("{what}: {failure}")))?;
        lab.say(format!("{what}: in slots {first} to {last} no head was older than {worst} slots"));
        Ok(())
    }

    /// The newest block of the chain reaches this geth in time.
    async fn caught_up(&self, geth: usize) -> Result<()> {
        let head = self.fleet.producer.head().await?;
        self.geths[geth].reaches(head.number, &head.hash, CATCH_UP).await
    }

    /// Which of the followers leads.
    async fn leader(&self) -> Result<usize> {
        let leader = self.sync.leader().await?;
        match CLIENTS.iter().position(|name| Some(*name) == leader.as_deref()) {
            Some(leader) => Ok(leader),
            None => fail!("{leader:?} leads"),
        }
    }

    /// Waits until this follower is at the tip again.
    async fn follows(&self, follower: usize) -> Result<()> {
        let follower = &self.fleet.followers[follower];
        until(&format!("{} to be at the tip", follower.name()), FOLLOWS, async || {
            let (tip, head) = (self.fleet.producer.head().await?, follower.head().await?);
            Ok((head.slot >= tip.slot).then_some(()))
        })
        .await
    }
}

#[test]
fn every_execution_client_keeps_the_head_within_two_slots_whoever_fails_or_lies() {
    scenario("sync", Duration::from_secs(300), async |lab| {
        let mut net = Network::start(lab).await?;
        lab.say(format!("the network is up, slot 0 in {:?}", net.fleet.chain.time_to(0)));
        tokio::time::sleep(net.fleet.chain.time_to(2)).await;
        net.kept(lab, "all are well", 2, 1, &[]).await?;

        let old = Snapshot::take(lab, &mut net.geths[0]).await?;
        net.caught_up(0).await?;
        wiped(lab, &mut net).await?;
        hung(lab, &mut net).await?;
        from_an_old_head(lab, &mut net, &old).await?;

        leader_killed_and_restarted(lab, &mut net).await?;
        leader_frozen(lab, &mut net, "the leader is frozen").await?;
        leader_parted(lab, &mut net).await?;
        forged(lab, &mut net).await?;
        restarted(lab, &mut net).await?;
        wiped_too_late(lab, &mut net).await?;

        for follower in &net.fleet.followers {
            let verdicts = follower.verdicts()?;
            let doubts: Vec<_> = verdicts.iter().filter(|(_, verdict)| verdict != "valid").collect();
            lab.say(format!("{}: {} times, not valid: {doubts:?}", follower.name(), verdicts.len()));
            ensure!(
                doubts.iter().all(|(_, verdict)| verdict != "invalid"),
                "{}: {doubts:?}",
                follower.name()
            );
        }
        let slots = watch::slots(&net.fleet.producer, 1, net.now() - 1).await?;
        lab.say(slots.to_string());
        ensure!(slots.missed.is_empty(), "the chain itself was hurt: {slots}");
        Ok(())
    });
}

/// An empty geth in the place of one; all its blocks are still kept.
async fn wiped(lab: &Lab, net: &mut Network) -> Result<()> {
    let first = net.now();
    let old = &mut net.geths[2];
    old.stop().await?;
    *old = geth::start_at(lab, "geth-3-new", Genesis::Shanghai, old.port()).await?;
    net.caught_up(2).await?;
    let number = net.geths[2].head().await?.number;
    net.kept(lab, &format!("a geth is wiped (it got all {number} blocks)"), first, 1, &[2]).await
}

/// One that takes calls and answers none, and calls that nobody waits for any more.
async fn hung(lab: &Lab, net: &mut Network) -> Result<()> {
    const CALLS: usize = 50;
    let first = net.now();
    let port = net.geths[1].port();
    let open = || connections(net.sync.process(), port);
    let before = open()?;
    let caller = net.sync.engine().called_by(CLIENTS[net.leader().await?]);
    // Where one of them answers nobody has to wait for the hung one.
    for geth in &net.geths {
        geth.freeze()?;
    }
    let head = net.fleet.producer.head().await?.hash;
    let state = json!([{ "headBlockHash": head, "safeBlockHash": head, "finalizedBlockHash": head }, null]);
    let mut calls = JoinSet::new();
    for nth in 0..CALLS {
        let (caller, state) = (caller.clone(), state.clone());
        calls.spawn(async move {
            let call = if nth % 2 == 0 {
                caller.call("engine_forkchoiceUpdatedV2", state)
            } else {
                caller.call("eth_blockNumber", json!([]))
            };
            tokio::time::timeout(Duration::from_millis(300), call).await.is_err()
        });
    }
    let abandoned = calls.join_all().await.into_iter().filter(|abandoned| *abandoned).count();
    let most = open()?;
    for geth in [0, 2] {
        net.geths[geth].thaw()?;
    }
    ensure!(abandoned > CALLS / 2, "only {abandoned} of {CALLS} calls had to be abandoned");
    // Those that were pooled before may stay, and one for the feed and one for the probes may be new.
    let wanted = before.max(2);
    until(&format!("at most {wanted} connections to a hung geth"), CATCH_UP, async || {
        let left = open()?;
        if left <= wanted { Ok(Some(())) } else { Err(Failure::new(format!("{left}"))) }
    })
    .await?;
    let now = open()?;
    let what = format!(
        "a geth is hung ({abandoned} of {CALLS} calls abandoned: {before} connections before, {most} at once, {now} after)"
    );
    net.kept(lab, &what, first, FAULT, &[1]).await?;
    net.geths[1].thaw()?;
    net.caught_up(1).await?;
    net.kept(lab, "it goes on", net.now() + 1, 1, &[]).await
}

async fn from_an_old_head(lab: &Lab, net: &mut Network, old: &Snapshot) -> Result<()> {
    let first = net.now();
    old.restore(&mut net.geths[0]).await?;
    let (then, tip) = (&old.head, net.fleet.producer.head().await?);
    net.caught_up(0).await?;
    let what = format!("a geth is killed and comes back at block {} of {}", then.number, tip.number);
    net.kept(lab, &what, first, 1, &[0]).await?;
    net.kept(lab, "it goes on", net.now(), 1, &[]).await
}

async fn leader_killed_and_restarted(lab: &Lab, net: &mut Network) -> Result<()> {
    let (first, leader) = (net.now(), net.leader().await?);
    net.fleet.followers[leader].kill()?;
    let new = net.sync.another_leads(CLIENTS[leader], MOVES).await?;
    let what = format!("the leader, {}, is killed, {new} leads", CLIENTS[leader]);
    net.kept(lab, &what, first, FAULT, &[]).await?;

    let first = net.now();
    net.fleet.followers[leader].restart().await?;
    net.follows(leader).await?;
    net.kept(lab, "it is back", first, 1, &[]).await
}

async fn leader_frozen(lab: &Lab, net: &mut Network, what: &str) -> Result<()> {
    let (first, leader) = (net.now(), net.leader().await?);
    net.fleet.followers[leader].freeze()?;
    let new = net.sync.another_leads(CLIENTS[leader], MOVES).await?;
    ensure!(CLIENTS.contains(&new.as_str()), "{what}: {new} leads");
    net.kept(lab, &format!("{what}, {new} leads instead of {}", CLIENTS[leader]), first, FAULT, &[]).await?;
    let first = net.now();
    net.fleet.followers[leader].thaw()?;
    net.follows(leader).await?;
    net.kept(lab, "it goes on", first, 1, &[]).await
}

/// It lives, but hears of no block.
async fn leader_parted(lab: &Lab, net: &mut Network) -> Result<()> {
    let (first, leader) = (net.now(), net.leader().await?);
    net.fleet.part(leader).await?;
    let new = net.sync.another_leads(CLIENTS[leader], MOVES).await?;
    let what = format!("the leader, {}, has lost its peers, {new} leads", CLIENTS[leader]);
    net.kept(lab, &what, first, FAULT, &[]).await?;
    let behind = net.fleet.followers[leader].head().await?.slot;
    ensure!(behind + FAULT <= net.now() + 1, "parted, it still has the block of slot {behind}");
    let first = net.now();
    net.fleet.meet(leader);
    net.follows(leader).await?;
    net.kept(lab, "it has peers again", first, 1, &[]).await
}

async fn forged(lab: &Lab, net: &mut Network) -> Result<()> {
    const NAME: &str = "forger";
    let first = net.now();
    let target = net.sync.engine().called_by(NAME);
    let own = geth::start(lab, "forger-geth", Genesis::Shanghai).await?;
    let truth = net.own.endpoint().clone();
    let forger = Forger::start(target, truth, own.endpoint().clone(), net.fleet.chain.clone());
    // What it makes up must not take the place of what a geth needs that was away.
    net.geths[1].stop().await?;
    net.kept(lab, "a client lies about the time and the head while a geth is down", first, 3, &[1]).await?;
    net.geths[1].restart().await?;
    net.caught_up(1).await?;
    // On a busy machine the lead may pass between the two, which is no fault.
    net.leader().await?;
    leader_frozen(lab, net, "it lies while the leader is frozen").await?;

    let rounds = forger.rounds();
    ensure!(rounds > 20, "only {rounds} rounds of lies");
    let shown = net.sync.shown().await?;
    let clients =
        shown["clients"].as_array().ok_or_else(|| Failure::new(format!("no clients in {shown}")))?;
    let of_forger = clients.iter().find(|client| client["name"] == NAME);
    let of_forger = of_forger.ok_or_else(|| Failure::new(format!("no {NAME} in {shown}")))?;
    lab.say(format!("{rounds} rounds of lies; shown: {of_forger}"));
    ensure!(of_forger["state"] == "suspect" && of_forger["leads"] == false, "{of_forger}");
    for geth in &net.geths {
        let log = std::fs::read_to_string(geth.log())?;
        ensure!(!log.contains(MADE_UP_IN_LOGS), "{} was told of a head that is made up", geth.name());
    }
    let led = std::fs::read_to_string(net.sync.process().log())?;
    ensure!(!led.lines().any(|line| line.contains("to=\"forger\"")), "the forger has led for a while");
    drop(forger);
    Ok(())
}

async fn restarted(lab: &Lab, net: &mut Network) -> Result<()> {
    let first = net.now();
    net.sync.restart().await?;
    net.kept(lab, "mainstay sync is restarted", first, 3, &[]).await?;
    net.leader().await?;
    Ok(())
}

/// An empty geth whose first blocks nobody has kept: nothing brings it back, and that is told.
async fn wiped_too_late(lab: &Lab, net: &mut Network) -> Result<()> {
    let first = net.now();
    ensure!(first > REPLAY, "in slot {first} all is still kept");
    let old = &mut net.geths[2];
    old.stop().await?;
    *old = geth::start_at(lab, "geth-3-empty", Genesis::Shanghai, old.port()).await?;
    net.kept(lab, "a geth is wiped, its blocks are gone", first, 2, &[2]).await?;
    let nodes = net.sync.nodes().await?;
    let empty = nodes.iter().find(|node| node["name"] == GETHS[2]);
    let empty = empty.ok_or_else(|| Failure::new(format!("no {} in {nodes:?}", GETHS[2])))?;
    let (status, health) = net.sync.health().await?;
    lab.say(format!("shown: {empty}; health {status}: {health}"));
    ensure!(empty["fit"] == false && empty["head"] == 0 && empty["gap"].as_u64() > Some(0), "{empty}");
    ensure!(health.contains(GETHS[2]), "health says nothing of {}: {health}", GETHS[2]);
    Ok(())
}

#[test]
fn behind_the_nginx_mirror_that_sync_proxy_was_announced_with_execution_clients_follow() {
    scenario("sync-nginx", Duration::from_secs(150), async |lab| {
        let geth = async |name| geth::start(lab, name, Genesis::Shanghai).await;
        let (own, one, two, three, four) =
            tokio::try_join!(geth("own"), geth(GETHS[0]), geth(GETHS[1]), geth(GETHS[2]), geth("geth-4"))?;
        // The third geth hears of the chain through both.
        let last = SyncProxy::start(lab, "sync-proxy-2", &[three.endpoint().url()], &[]).await?;
        let builders = [one.endpoint().url(), two.endpoint().url()];
        let mut sync = SyncProxy::start(lab, "sync-proxy-1", &builders, &[last.url()]).await?;
        // To the fourth the beacon node's tokens are no good, nor to mainstay before it.
        let with_tokens = Follower::start_with_tokens(lab, four.endpoint().url(), "sync-proxy-1").await?;
        let addresses = [("MAIN", own.endpoint().url()), ("SYNC", with_tokens.url())];
        let inner = Nginx::start(lab, "mirror-tokens", &addresses).await?;
        let nginx = Nginx::start(lab, "mirror", &[("MAIN", inner.url()), ("SYNC", sync.url())]).await?;
        let chain = Chain::soon(&own.head().await?.hash, SLOT, 1);
        let lodestar = Lodestar::start_producer(lab, "lodestar", nginx.url(), &chain).await?;
        let heads = Heads::watch(&lodestar, &chain, &[&one, &two, &three, &four]);
        let kept = async |what: &str, names: &[&str], first: u64, count: u64| {
            let last = chain.now() + count;
            let worst = heads.kept(&chain, names, first, last, LAG).await;
            let worst = worst.map_err(|failure| Failure::new(format!("{what}: {failure}")))?;
            lab.say(format!("{what}: in slots {first} to {last} no head was older than {worst} slots"));
            Ok::<_, Failure>(())
        };
        tokio::time::sleep(chain.time_to(1)).await;
        let all = [GETHS[0], GETHS[1], GETHS[2], "geth-4"];
        kept("mirrored", &all, 1, 3).await?;
        let leader = with_tokens.leader().await?;
        ensure!(leader.as_deref() == Some("nginx"), "{leader:?} leads");

        // The first one's answer is what it would wait for, and nginx waits 100 ms.
        let first = chain.now();
        one.freeze()?;
        kept("the first geth is hung", &all[1..], first, FAULT).await?;
        one.thaw()?;
        // Until nothing is under way to it any more: what mainstay has still to bring it dies with mainstay. And none of them may miss
        // a block by the crash, so it comes early in a slot.
        until("the tip of a slot that has just begun on all of them", CATCH_UP, async || {
            let slot = chain.now() + 1;
            tokio::time::sleep(chain.time_to(slot)).await;
            let tip = until("the slot's block", SLOT, async || lodestar.block(slot).await).await?;
            for geth in [&one, &two, &three, &four] {
                geth.reaches(tip.number, &tip.hash, SLOT / 2).await?;
            }
            Ok((chain.now() == slot).then_some(()))
        })
        .await?;

        let first = chain.now();
        sync.crash().await?;
        kept("mainstay is killed and restarted", &all, first, 3).await?;

        let slots = watch::slots(&lodestar, 1, chain.now() - 1).await?;
        ensure!(slots.missed.is_empty(), "what is mirrored hurt the chain itself: {slots}");
        lab.say(slots.to_string());
        Ok(())
    });
}
