//! The harness itself, with no mainstay in between: what fails here is no fault of mainstay's.

use std::time::Duration;

use mainstay_e2e::execution::Genesis;
use mainstay_e2e::lodestar::Lodestar;
use mainstay_e2e::minicl::MiniCl;
use mainstay_e2e::proxy::{Fault, Proxy};
use mainstay_e2e::{ensure, ethereumjs, geth, scenario, watch};
use tokio::time::Instant;

#[test]
fn lodestar_drives_one_geth() {
    scenario("direct-lodestar", Duration::from_secs(120), async |lab| {
        let started = Instant::now();
        let geth = geth::start(lab, "geth", Genesis::Shanghai).await?;
        lab.say("geth answers");
        let tap = Proxy::start(geth.endpoint().url()).await?;
        let genesis = geth.head().await?;
        let lodestar = Lodestar::start(lab, tap.url(), &genesis.hash, Duration::from_secs(2)).await?;
        lab.say("Lodestar answers");
        let slots = watch::slots(&lodestar, 1, 4).await?;
        ensure!(slots.missed.is_empty(), "{slots}");
        lab.say(slots.to_string());

        let head = lodestar.head().await?;
        geth.reaches(head.number, &head.hash, Duration::from_secs(2)).await?;
        let heard = tap.seen(started);
        ensure!(heard.iter().any(|seen| seen.block == head.hash && seen.status == "VALID"), "{heard:?}");

        // Told SYNCING for some slots, Lodestar goes on when that is over.
        tap.set(Fault::Syncing);
        let told = lodestar.now() + 1;
        let slots = watch::slots(&lodestar, told + 1, told + 3).await?;
        ensure!(slots.missed.len() == 3, "told SYNCING, Lodestar proposes: {slots}");
        tap.set(Fault::None);
        let healed = lodestar.now();
        let block = watch::block_after(&lodestar, healed, 2).await?;
        lab.say(format!("told SYNCING {slots}; healed in slot {healed}, a block in slot {}", block.slot));

        // A lie stops the chain, else the tests with mainstay would prove nothing.
        tap.set(Fault::Lie);
        let told = lodestar.now() + 1;
        let slots = watch::slots(&lodestar, told + 1, told + 2).await?;
        ensure!(slots.missed.len() == 2, "the liar was not believed: {slots}");
        lab.say(format!("with a liar {slots}"));
        Ok(())
    });
}

#[test]
fn minicl_drives_one_geth() {
    scenario("direct-minicl", Duration::from_secs(60), async |lab| {
        let mut geth = geth::start(lab, "geth", Genesis::Osaka).await?;
        let mut cl = MiniCl::new(geth.endpoint().clone(), Genesis::Osaka).await?;
        for _ in 0..10 {
            cl.step().await?;
        }
        ensure!(geth.head().await?.hash == cl.head().hash, "geth is not at {:?}", cl.head());
        lab.say("ten Osaka blocks");

        geth.freeze()?;
        let frozen = tokio::time::timeout(Duration::from_secs(1), geth.head()).await;
        ensure!(frozen.is_err(), "a frozen geth answers: {frozen:?}");
        geth.thaw()?;
        let kept = geth.head().await?;
        geth.restart_cleanly().await?;
        ensure!(geth.head().await? == kept, "geth lost blocks in a clean restart");
        for _ in 0..3 {
            cl.step().await?;
        }
        geth.restart().await?;
        let back = geth.head().await?.number;
        ensure!(back >= kept.number, "geth lost blocks that it had written down: {back} < {}", kept.number);
        lab.say(format!("killed at {}, back at {back}", cl.head().number));
        Ok(())
    });
}

#[test]
fn minicl_drives_ethereumjs() {
    scenario("direct-ethereumjs", Duration::from_secs(120), async |lab| {
        // It builds no Osaka payloads (it has no getPayloadV5), it only imports them.
        let straggler = ethereumjs::start(lab, "ethereumjs", Genesis::Shanghai).await?;
        lab.say("EthereumJS answers");
        let mut cl = MiniCl::new(straggler.endpoint().clone(), Genesis::Shanghai).await?;
        for _ in 0..3 {
            cl.step().await?;
        }
        ensure!(straggler.head().await?.hash == cl.head().hash, "EthereumJS is not at {:?}", cl.head());
        Ok(())
    });
}
