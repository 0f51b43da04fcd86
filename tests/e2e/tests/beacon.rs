//! A Lodestar validator client with two beacon nodes, each behind a guard of `mainstay beacon`, while everything that belongs to the first
//! node fails in turn; and the same with `mainstay engine` between the first node and two execution clients.
//!
//! One running network goes through all of it. What counts in the end is what the chain, read from the second node, has of every epoch.

use std::time::Duration;

use mainstay_e2e::attestations::{self, Attested};
use mainstay_e2e::events::{Events, Note};
use mainstay_e2e::execution::{Execution, Genesis};
use mainstay_e2e::feed::feed;
use mainstay_e2e::guards::Guards;
use mainstay_e2e::lodestar::{SLOTS_PER_EPOCH, VALIDATORS, Validators};
use mainstay_e2e::mainstay::Mainstay;
use mainstay_e2e::pair::Pair;
use mainstay_e2e::{Failure, Lab, Result, ensure, geth, scenario, until};
use tokio::time::Instant;

const SLOT: Duration = Duration::from_secs(3);
/// How long a fault lasts after everyone has moved on, in slots.
const FAULT: u64 = 2;
/// Between a fault and the first 503. A check's round and its timeout take 2 s; the rest is for a busy machine.
const CLOSES: Duration = Duration::from_secs(10);
/// From a node's return to an open guard: it has to be at the tip, and then to stay well for `rise` and `warm_up`.
const OPENS: Duration = Duration::from_secs(45);
/// Until the validator client uses another beacon node.
const MOVES: Duration = Duration::from_secs(15);

/// Node 1 is the one that fails, and the one that the validator client prefers.
struct Network {
    /// The last one is node 2's.
    geths: Vec<Execution>,
    /// Before all of node 1's, if there are several.
    _engine: Option<Mainstay>,
    pair: Pair,
    guards: Guards,
    validators: Validators,
    /// Clients of the event stream of each guard.
    events: [Events; 2],
    /// The epochs in which a fault began.
    hurt: Vec<u64>,
}

impl Network {
    /// Starts node 1 with so many execution clients, node 2 with one.
    async fn start(lab: &Lab, of_first: usize) -> Result<Network> {
        let mut geths = Vec::new();
        for number in 1..=of_first + 1 {
            geths.push(geth::start(lab, &format!("geth-{number}"), Genesis::Shanghai).await?);
        }
        let urls: Vec<&str> = geths.iter().map(|geth| geth.endpoint().url()).collect();
        let engine = if of_first > 1 {
            let nodes: Vec<(&str, &str)> =
                geths.iter().take(of_first).map(|geth| (geth.name(), geth.endpoint().url())).collect();
            Some(Mainstay::start(lab, &nodes, &[]).await?)
        } else {
            None
        };
        let engines = [engine.as_ref().map_or(urls[0], |engine| engine.engine().url()), urls[of_first]];
        let pair = Pair::start(lab, SLOT, &geths[0].head().await?.hash, engines).await?;
        // Peers are mutual: the second node must do without where the first one has lost it.
        let guards = Guards::start(lab, &pair, [1, 0]).await?;
        for guard in [0, 1] {
            guards.opens(guard, OPENS).await?;
        }
        let urls = [guards.url(0), guards.url(1)];
        let validators = Validators::start(lab, &pair.chain, &urls)?;
        let events = urls.map(Events::listen);
        Ok(Network { geths, _engine: engine, pair, guards, validators, events, hurt: Vec::new() })
    }

    fn epoch(&self) -> u64 {
        self.pair.chain.now() / SLOTS_PER_EPOCH
    }

    /// Lets a fault begin with the next epoch, before its first attestation is due, and gives the moment.
    async fn next_epoch(&mut self) -> Instant {
        let epoch = self.epoch() + 1;
        tokio::time::sleep(self.pair.chain.time_to(epoch * SLOTS_PER_EPOCH)).await;
        self.hurt.push(epoch);
        Instant::now()
    }

    /// The first guard says 503 and `why`, the client of its event stream sees the end of it and is refused, and attestations come through
    /// the second guard.
    async fn out(&self, lab: &Lab, fault: &str, since: Instant, why: &[&str]) -> Result<()> {
        let told = self.guards.closes(0, CLOSES, why).await?;
        lab.say(format!("{fault}: closed after {:.1?}: {told}", since.elapsed()));
        self.sees(since, &[Note::Ended, Note::Refused(503)]).await?;
        self.guards.attests(1, MOVES).await
    }

    /// The fault takes its time; gives the moment at which it is to end.
    async fn lasts(&self, fault: &str) -> Result<Instant> {
        tokio::time::sleep(self.pair.chain.time_to(self.pair.chain.now() + FAULT)).await;
        ensure!(self.guards.closed(0).await?.is_some(), "{fault}: open again while it lasts");
        Ok(Instant::now())
    }

    /// The first guard lets requests through, the client of its event stream hears of heads again, and attestations come through it.
    async fn back(&self, lab: &Lab, fault: &str, healed: Instant) -> Result<()> {
        self.guards.opens(0, OPENS).await?;
        let opened = Instant::now();
        lab.say(format!("{fault}: open again {:.1?} after the node's return", opened - healed));
        self.guards.attests(0, MOVES).await?;
        self.sees(opened, &[Note::Head]).await
    }

    /// The client of the first guard's event stream sees these one after the other.
    async fn sees(&self, since: Instant, wanted: &[Note]) -> Result<()> {
        until(&format!("the event stream's client to see {wanted:?}"), SLOT * 6, async || {
            let notes = self.events[0].since(since);
            let mut seen = notes.iter();
            let all = wanted.iter().all(|note| seen.any(|other| other == note));
            if all { Ok(Some(())) } else { Err(Failure::new(format!("{notes:?}"))) }
        })
        .await
    }
}

#[test]
fn a_validator_client_keeps_its_duties_while_all_that_belongs_to_one_node_fails_in_turn() {
    scenario("beacon", Duration::from_secs(420), async |lab| {
        let mut net = Network::start(lab, 1).await?;
        lab.say(format!("the network is up, slot 0 in {:?}", net.pair.chain.time_to(0)));
        tokio::time::sleep(net.pair.chain.time_to(2)).await;
        let begin = Instant::now();

        stopped_execution_client(lab, &mut net).await?;
        execution_client_that_syncs(lab, &mut net).await?;
        frozen(lab, &mut net).await?;
        killed(lab, &mut net).await?;
        restarted(lab, &mut net).await?;
        without_peers(lab, &mut net).await?;

        ensure!(net.events[1].since(begin) == [Note::Head], "{:?}", net.events[1].since(begin));
        net.validators.must_run()?;
        judge(lab, &net).await
    });
}

#[test]
fn with_a_spare_execution_client_behind_mainstay_engine_the_guard_closes_only_when_both_are_gone() {
    scenario("beacon-engine", Duration::from_secs(330), async |lab| {
        let mut net = Network::start(lab, 2).await?;
        lab.say(format!("the network is up, slot 0 in {:?}", net.pair.chain.time_to(0)));
        tokio::time::sleep(net.pair.chain.time_to(2)).await;

        one_of_two_stopped(lab, &mut net).await?;
        one_of_two_replaced(lab, &mut net).await?;
        both_stopped(lab, &mut net).await?;

        net.validators.must_run()?;
        judge(lab, &net).await
    });
}

/// The guard has stayed open all the while, and attestations come through it.
async fn unhurt(net: &Network, since: Instant) -> Result<()> {
    net.guards.attests(0, MOVES).await?;
    let notes = net.events[0].since(since);
    ensure!(notes == [Note::Head], "the event stream's client saw {notes:?}");
    let closed = net.guards.closed(0).await?;
    ensure!(closed.is_none(), "{closed:?}");
    Ok(())
}

async fn one_of_two_stopped(lab: &Lab, net: &mut Network) -> Result<()> {
    let since = net.next_epoch().await;
    net.geths[0].stop().await?;
    tokio::time::sleep(net.pair.chain.time_to(net.pair.chain.now() + FAULT)).await;
    unhurt(net, since).await?;
    net.geths[0].restart().await?;
    let head = net.geths[1].head().await?;
    net.geths[0].reaches(head.number, &head.hash, OPENS).await?;
    lab.say(format!("one of two stopped: never closed; back, it is at block {}", head.number));
    Ok(())
}

/// Here nobody feeds it but `mainstay engine`.
async fn one_of_two_replaced(lab: &Lab, net: &mut Network) -> Result<()> {
    let since = net.next_epoch().await;
    let old = &mut net.geths[0];
    old.stop().await?;
    *old = geth::start_at(lab, "geth-1-new", Genesis::Shanghai, old.port()).await?;
    let head = net.geths[1].head().await?;
    net.geths[0].reaches(head.number, &head.hash, OPENS).await?;
    unhurt(net, since).await?;
    lab.say(format!("one of two replaced: never closed; the new one got all of {} blocks", head.number));
    Ok(())
}

async fn both_stopped(lab: &Lab, net: &mut Network) -> Result<()> {
    const FAULT: &str = "both execution clients stopped";
    let since = net.next_epoch().await;
    for geth in net.geths.iter_mut().take(2) {
        geth.stop().await?;
    }
    net.out(lab, FAULT, since, &["execution: HTTP 503"]).await?;
    let healed = net.lasts(FAULT).await?;
    for geth in net.geths.iter_mut().take(2) {
        geth.restart().await?;
    }
    net.back(lab, FAULT, healed).await
}

async fn stopped_execution_client(lab: &Lab, net: &mut Network) -> Result<()> {
    const FAULT: &str = "execution client stopped";
    let since = net.next_epoch().await;
    net.geths[0].stop().await?;
    net.out(lab, FAULT, since, &["execution: connection re"]).await?;
    let healed = net.lasts(FAULT).await?;
    net.geths[0].restart().await?;
    net.back(lab, FAULT, healed).await
}

/// It answers, says that it doesn't sync, and has nothing but block 0.
async fn execution_client_that_syncs(lab: &Lab, net: &mut Network) -> Result<()> {
    const FAULT: &str = "execution client replaced";
    let since = net.next_epoch().await;
    let old = &mut net.geths[0];
    old.stop().await?;
    *old = geth::start_at(lab, "geth-1-new", Genesis::Shanghai, old.port()).await?;
    net.out(lab, FAULT, since, &["execution: block 0 is", "syncing: is_optimistic: true"]).await?;
    let healed = net.lasts(FAULT).await?;
    feed(&net.geths[1], &net.geths[0], OPENS).await?;
    net.back(lab, FAULT, healed).await
}

async fn frozen(lab: &Lab, net: &mut Network) -> Result<()> {
    const FAULT: &str = "beacon node frozen";
    let since = net.next_epoch().await;
    net.pair.beacon[0].freeze()?;
    net.out(lab, FAULT, since, &["no answer within"]).await?;
    let healed = net.lasts(FAULT).await?;
    net.pair.beacon[0].thaw()?;
    net.back(lab, FAULT, healed).await
}

async fn killed(lab: &Lab, net: &mut Network) -> Result<()> {
    const FAULT: &str = "beacon node killed";
    let since = net.next_epoch().await;
    net.pair.beacon[0].kill()?;
    net.out(lab, FAULT, since, &["connection re"]).await?;
    let healed = net.lasts(FAULT).await?;
    net.pair.beacon[0].restart().await?;
    net.back(lab, FAULT, healed).await
}

/// SIGTERM, and a new start at once.
async fn restarted(lab: &Lab, net: &mut Network) -> Result<()> {
    const FAULT: &str = "beacon node restarted";
    let since = net.next_epoch().await;
    net.pair.beacon[0].stop().await?;
    let healed = Instant::now();
    net.out(lab, FAULT, since, &["connection re"]).await?;
    net.pair.beacon[0].restart().await?;
    net.back(lab, FAULT, healed).await
}

async fn without_peers(lab: &Lab, net: &mut Network) -> Result<()> {
    const FAULT: &str = "peers lost";
    let since = net.next_epoch().await;
    net.pair.part().await?;
    net.out(lab, FAULT, since, &["peers: 0 peers, at least 1"]).await?;
    let healed = net.lasts(FAULT).await?;
    net.pair.meet();
    net.back(lab, FAULT, healed).await
}

/// Every epoch from the first on: only that in which a fault began may lose more than one attestation or block.
async fn judge(lab: &Lab, net: &Network) -> Result<()> {
    let last = net.epoch();
    let mut wrong = Vec::new();
    for epoch in 0..=last {
        let of_epoch = attestations::of_epoch(&net.pair.beacon[1], epoch).await?;
        let hurt = net.hurt.contains(&epoch);
        lab.say(format!("{of_epoch}{}", if hurt { ", a fault began" } else { "" }));
        let Attested { blocks, included, .. } = of_epoch;
        // One is what a fault costs here, the rest is for a busy machine. Without guards an execution client's stop costs four blocks.
        let least = VALIDATORS - if hurt { 3 } else { 1 };
        if included < least || blocks < least {
            wrong.push(of_epoch.to_string());
        }
    }
    ensure!(wrong.is_empty(), "{wrong:?}; faults began in {:?}", net.hurt);
    net.pair.beacon[1].finalizes(last.saturating_sub(2), SLOT * 16).await
}
